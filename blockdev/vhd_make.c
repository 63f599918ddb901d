/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making a VHD. See vhd_internal.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "blockdev/vhd_internal.h"

#define SECONDS_TO_2000 946684800u
#define DEFAULT_BLOCK (2u << 20)

/* Cylinders, heads and sectors, as the appendix of the specification counts them. They may come to
 * less than the size; who reads images goes by current_size. */
static void set_chs(struct vhd_footer *f, uint64_t size_bytes)
{
	uint64_t sectors = MIN(size_bytes / VHD_SECTOR, 65535ull * 16 * 255);
	uint64_t tracks, heads = 16, per_track = 255;

	if (sectors < 65535ull * 16 * 63) {
		per_track = 17;
		tracks = sectors / per_track;
		heads = MAX(DIV_ROUND_UP(tracks, 1024), 4u);
		if (heads > 16 || tracks >= heads * 1024) {
			per_track = sectors / 31 < 16 * 1024 ? 31 : 63;
			heads = 16;
		}
	}
	tracks = sectors / per_track;
	f->cylinders = be16_of((uint16_t)(tracks / heads));
	f->heads = (uint8_t)heads;
	f->sectors = (uint8_t)per_track;
}

static int fill_footer(struct vhd_footer *f, const struct image_info *spec)
{
	*f = (struct vhd_footer){
		.features = be32_of(2), /* reserved, always set */
		.version = be32_of(0x00010000),
		.header_off = be64_of(spec->fixed ? UINT64_MAX : VHD_SECTOR),
		.timestamp = be32_of((uint32_t)(clock_real_ns() / 1000000000 - SECONDS_TO_2000)),
		.creator_version = be32_of(0x00060001),
		.original_size = be64_of(spec->size_bytes),
		.current_size = be64_of(spec->size_bytes),
		.type = be32_of(spec->fixed ? VHD_FIXED : VHD_DYNAMIC),
	};
	memcpy(f->cookie, "conectix", 8);
	/* Some readers go by the cylinders unless they know the creator's size to be exact. */
	memcpy(f->creator, "win ", 4);
	memcpy(f->creator_os, "Wi2k", 4);
	set_chs(f, spec->size_bytes);
	if (getrandom(f->uuid, sizeof(f->uuid), 0) != sizeof(f->uuid))
		return -EIO;
	f->checksum = be32_of(vhd_checksum(f, sizeof(*f), offsetof(struct vhd_footer, checksum)));
	return 0;
}

struct make {
	const struct image_info *spec;
	struct vhd_footer footer;
};

static int write_fixed(struct bdev_queue *queue, struct make *m)
{
	uint64_t end = m->spec->size_bytes;
	struct bdev *bdev = bdev_queue_bdev(queue);
	int err = bdev_grow(bdev, end + VHD_SECTOR);

	/* On a device the footer stands at its end, too. */
	if (!err)
		err = bdev_pwrite(queue, &m->footer, VHD_SECTOR,
			bdev_geom(bdev).size_bytes - VHD_SECTOR);
	return err ? err : bdev_flush_sync(queue);
}

static int write_dynamic(struct bdev_queue *queue, struct make *m)
{
	uint32_t block = m->spec->block_bytes ? m->spec->block_bytes : DEFAULT_BLOCK;
	uint64_t nr = DIV_ROUND_UP(m->spec->size_bytes, block);
	uint64_t table = VHD_SECTOR + sizeof(struct vhd_header);
	uint64_t table_bytes = ALIGN_UP(nr * 4, VHD_SECTOR), end = table + table_bytes;
	struct bdev *bdev = bdev_queue_bdev(queue);
	struct vhd_header h = { .next_off = be64_of(UINT64_MAX), .table_off = be64_of(table),
		.version = be32_of(0x00010000), .nr_entries = be32_of((uint32_t)nr),
		.block_bytes = be32_of(block) };
	uint8_t *meta = malloc(end);
	int err;

	if (!meta)
		return -ENOMEM;
	memcpy(h.cookie, "cxsparse", 8);
	h.checksum = be32_of(vhd_checksum(&h, sizeof(h), offsetof(struct vhd_header, checksum)));
	memcpy(meta, &m->footer, VHD_SECTOR);
	memcpy(meta + VHD_SECTOR, &h, sizeof(h));
	memset(meta + table, 0xff, table_bytes);
	err = bdev_grow(bdev, ALIGN_UP(end + VHD_SECTOR, VHD_END_ALIGN));
	if (!err)
		err = bdev_pwrite(queue, meta, end, 0);
	if (!err)
		err = bdev_pwrite(queue, &m->footer, VHD_SECTOR,
			bdev_geom(bdev).size_bytes - VHD_SECTOR);
	free(meta);
	return err ? err : bdev_flush_sync(queue);
}

static int write_image(struct bdev_queue *queue, void *arg)
{
	struct make *m = arg;

	return m->spec->fixed ? write_fixed(queue, m) : write_dynamic(queue, m);
}

int vhd_make(struct bdev *bdev, const struct image_info *spec, char **ret_error)
{
	struct make m = { .spec = spec };
	uint32_t block = spec->block_bytes;
	int err = image_check_size(spec, VHD_SECTOR, VHD_MAX_BYTES, ret_error);

	if (err)
		return err;
	if (block && (block < VHD_MIN_BLOCK || block > VHD_MAX_BLOCK || (block & (block - 1))))
		return bdev_fail(ret_error, -EINVAL, "a VHD cannot have blocks of %u bytes", block);
	if (bdev_geom(bdev).block_bytes != VHD_SECTOR)
		return bdev_fail(ret_error, -ENOTSUP, "a VHD needs a device of 512-byte blocks");
	err = fill_footer(&m.footer, spec);
	return err ? err : image_with_queue(bdev, write_image, &m);
}
