/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making a VHDX. See vhdx_internal.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blockdev/vhdx_internal.h"

#define DEFAULT_BLOCK (32u << 20)
#define LOG_OFF VHDX_MB
#define LOG_BYTES VHDX_MB
#define META_OFF (2ull * VHDX_MB)
#define META_BYTES VHDX_MB
#define BAT_OFF (3ull * VHDX_MB)

struct make {
	bool fixed;
	uint64_t size_bytes, nr_blocks, nr_entries, chunk_ratio, bat_region, file_bytes;
	uint32_t block_bytes, sector_bytes;
	uint8_t *buf; /* a MiB */
};

static void put_headers(struct make *m)
{
	static const char creator[] = "csvfs";
	struct vhdx_file_id *id = (struct vhdx_file_id *)m->buf;
	struct vhdx_header h = { .magic = { 'h', 'e', 'a', 'd' }, .version = le16_of(1),
		.log_bytes = le32_of(LOG_BYTES), .log_off = le64_of(LOG_OFF) };

	memcpy(id->magic, "vhdxfile", 8);
	for (size_t i = 0; creator[i]; i++)
		id->creator[i] = le16_of((uint16_t)creator[i]);
	vhdx_new_guid(&h.file_write_guid);
	vhdx_new_guid(&h.data_write_guid);
	for (unsigned int i = 0; i < 2; i++) {
		h.sequence = le64_of(i + 1);
		vhdx_seal_header(&h);
		memcpy(m->buf + VHDX_HEADER_OFF(i), &h, sizeof(h));
	}
}

static void put_regions(struct make *m)
{
	struct vhdx_regions *t = (struct vhdx_regions *)(m->buf + VHDX_REGIONS_OFF(0));

	*t = (struct vhdx_regions){ .magic = { 'r', 'e', 'g', 'i' }, .nr = le32_of(2) };
	t->e[0] = (struct vhdx_region){ VHDX_REGION_BAT, le64_of(BAT_OFF),
		le32_of((uint32_t)m->bat_region), le32_of(1) };
	t->e[1] = (struct vhdx_region){ VHDX_REGION_META, le64_of(META_OFF), le32_of(META_BYTES),
		le32_of(1) };
	t->checksum = le32_of(vhdx_checksum(t, sizeof(*t), offsetof(struct vhdx_regions, checksum)));
	memcpy(m->buf + VHDX_REGIONS_OFF(1), t, sizeof(*t));
}

static void put_item(struct make *m, struct vhdx_guid guid, const void *data, uint32_t bytes,
	uint32_t flags)
{
	struct vhdx_meta *t = (struct vhdx_meta *)m->buf;
	uint32_t i = le16_get(t->nr), off = VHDX_TABLE_BYTES;

	if (i)
		off = le32_get(t->e[i - 1].off) + le32_get(t->e[i - 1].bytes);
	t->e[i] = (struct vhdx_meta_entry){ guid, le32_of(off), le32_of(bytes),
		le32_of(flags | VHDX_META_REQUIRED), le32_of(0) };
	t->nr = le16_of((uint16_t)(i + 1));
	memcpy(m->buf + off, data, bytes);
}

static void put_meta(struct make *m)
{
	struct le32 params[2] = { le32_of(m->block_bytes),
		le32_of(m->fixed ? VHDX_LEAVE_ALLOCATED : 0) };
	struct le64 size = le64_of(m->size_bytes);
	struct le32 logical = le32_of(m->sector_bytes), physical = le32_of(4096);
	struct vhdx_guid id;

	vhdx_new_guid(&id);
	memcpy(m->buf, "metadata", 8);
	put_item(m, (struct vhdx_guid)VHDX_META_PARAMS, params, sizeof(params), 0);
	put_item(m, (struct vhdx_guid)VHDX_META_SIZE, &size, sizeof(size), VHDX_META_DISK);
	put_item(m, (struct vhdx_guid)VHDX_META_ID, &id, sizeof(id), VHDX_META_DISK);
	put_item(m, (struct vhdx_guid)VHDX_META_LOGICAL, &logical, sizeof(logical), VHDX_META_DISK);
	put_item(m, (struct vhdx_guid)VHDX_META_PHYSICAL, &physical, sizeof(physical),
		VHDX_META_DISK);
}

/* The piece of the BAT from entry first on. */
static void put_bat(struct make *m, uint64_t first)
{
	struct le64 *e = (struct le64 *)m->buf;
	uint64_t end = MIN(first + VHDX_MB / sizeof(*e), m->nr_entries);

	for (uint64_t i = first; i < end && m->fixed; i++, e++) {
		uint64_t chunk = i / (m->chunk_ratio + 1), in = i % (m->chunk_ratio + 1);
		uint64_t block = chunk * m->chunk_ratio + in;

		if (in != m->chunk_ratio)
			*e = le64_of((BAT_OFF + m->bat_region + block * m->block_bytes) | VHDX_PRESENT);
	}
}

static int put(struct make *m, struct bdev_queue *queue, uint64_t off)
{
	int err = bdev_pwrite(queue, m->buf, VHDX_MB, off);

	memset(m->buf, 0, VHDX_MB);
	return err;
}

/* The first MiB last: without it nothing is a VHDX. */
static int write_image(struct bdev_queue *queue, void *arg)
{
	struct make *m = arg;
	int err = bdev_grow(bdev_queue_bdev(queue), m->file_bytes);

	if (!err)
		err = put(m, queue, LOG_OFF);
	if (!err) {
		put_meta(m);
		err = put(m, queue, META_OFF);
	}
	for (uint64_t at = 0; at < m->bat_region && !err; at += VHDX_MB) {
		put_bat(m, at / sizeof(struct le64));
		err = put(m, queue, BAT_OFF + at);
	}
	if (!err)
		err = bdev_flush_sync(queue);
	if (!err) {
		put_headers(m);
		put_regions(m);
		err = put(m, queue, 0);
	}
	return err ? err : bdev_flush_sync(queue);
}

int vhdx_make(struct bdev *bdev, const struct image_info *spec, char **ret_error)
{
	struct make m = { .fixed = spec->fixed, .size_bytes = spec->size_bytes,
		.sector_bytes = spec->sector_bytes ? spec->sector_bytes : 512,
		.block_bytes = spec->block_bytes ? spec->block_bytes : DEFAULT_BLOCK };
	int err;

	if (m.sector_bytes != 512 && m.sector_bytes != 4096)
		return bdev_fail(ret_error, -EINVAL, "a VHDX has sectors of 512 or 4096 bytes");
	if (m.block_bytes < VHDX_MIN_BLOCK || m.block_bytes > VHDX_MAX_BLOCK ||
		(m.block_bytes & (m.block_bytes - 1)))
		return bdev_fail(ret_error, -EINVAL, "a VHDX cannot have blocks of %u bytes",
			m.block_bytes);
	err = image_check_size(spec, m.sector_bytes, VHDX_MAX_BYTES, ret_error);
	if (err)
		return err;
	m.chunk_ratio = VHDX_CHUNK_SECTORS * m.sector_bytes / m.block_bytes;
	m.nr_blocks = DIV_ROUND_UP(m.size_bytes, m.block_bytes);
	m.nr_entries = m.nr_blocks + (m.nr_blocks - 1) / m.chunk_ratio;
	m.bat_region = ALIGN_UP(m.nr_entries * sizeof(struct le64), (uint64_t)VHDX_MB);
	m.file_bytes = BAT_OFF + m.bat_region + (m.fixed ? m.nr_blocks * m.block_bytes : 0);
	m.buf = calloc(1, VHDX_MB);
	if (!m.buf)
		return -ENOMEM;
	err = image_with_queue(bdev, write_image, &m);
	free(m.buf);
	return err;
}
