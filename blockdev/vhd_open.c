/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening a VHD: every field is hostile. See vhd_internal.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blockdev/vhd_internal.h"

uint32_t vhd_checksum(const void *data, size_t len, size_t sum_off)
{
	const uint8_t *p = data;
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i++)
		if (i < sum_off || i >= sum_off + 4)
			sum += p[i];
	return ~sum;
}

static bool footer_ok(const struct vhd_footer *f)
{
	return memcmp(f->cookie, "conectix", 8) == 0 &&
	       be32_get(f->checksum) ==
		       vhd_checksum(f, sizeof(*f), offsetof(struct vhd_footer, checksum));
}

/* The one at the end, or its copy at the start (V2). */
static int load_footer(struct vhd *v, struct bdev_queue *queue, uint64_t size, char **ret_error)
{
	int err;

	if (size < 2 * VHD_SECTOR)
		return bdev_fail(ret_error, -ERR_CORRUPT, "not a VHD: too small");
	err = bdev_pread(queue, &v->footer, VHD_SECTOR, size - VHD_SECTOR);
	if (err || footer_ok(&v->footer))
		return err;
	err = bdev_pread(queue, &v->footer, VHD_SECTOR, 0);
	if (err)
		return err;
	v->no_footer = true;
	if (!footer_ok(&v->footer) || be32_get(v->footer.type) == VHD_FIXED)
		return bdev_fail(ret_error, -ERR_CORRUPT,
			"not a VHD, or damaged: neither its last sector nor its first is a footer");
	return 0;
}

static int no_parent(const struct vhd_header *h, char **ret_error)
{
	char name[257] = "";

	for (size_t i = 0; i < ARRAY_SIZE(h->parent_name); i++) {
		uint16_t c = be16_get(h->parent_name[i]);

		name[i] = (char)(c >= ' ' && c < 127 ? c : c ? '?' : '\0');
	}
	return bdev_fail(ret_error, -ENOTSUP,
		"a differencing VHD, of the parent \"%s\": merge it with its parent first", name);
}

static int load_header(struct vhd *v, struct bdev_queue *queue, uint64_t size, char **ret_error)
{
	uint64_t off = be64_get(v->footer.header_off), table_end;
	struct vhd_header h;
	int err;

	if (off % VHD_SECTOR || !range_ok(off, sizeof(h), size))
		return bdev_fail(ret_error, -ERR_CORRUPT, "damaged VHD: no header at %#llx",
			(unsigned long long)off);
	err = bdev_pread(queue, &h, sizeof(h), off);
	if (err)
		return err;
	if (memcmp(h.cookie, "cxsparse", 8) != 0 ||
		be32_get(h.checksum) !=
			vhd_checksum(&h, sizeof(h), offsetof(struct vhd_header, checksum)))
		return bdev_fail(ret_error, -ERR_CORRUPT, "damaged VHD: a wrong header checksum");
	if (be32_get(v->footer.type) == VHD_DIFFERENCING)
		return no_parent(&h, ret_error);
	v->block_bytes = be32_get(h.block_bytes);
	v->nr_entries = be32_get(h.nr_entries);
	v->table_off = be64_get(h.table_off);
	if (v->block_bytes < VHD_MIN_BLOCK || v->block_bytes > VHD_MAX_BLOCK ||
		(v->block_bytes & (v->block_bytes - 1)))
		return bdev_fail(ret_error, -ERR_CORRUPT, "damaged VHD: blocks of %u bytes",
			v->block_bytes);
	v->bitmap_bytes = ALIGN_UP(v->block_bytes / VHD_SECTOR / 8, VHD_SECTOR);
	v->bat_bytes = ALIGN_UP((uint64_t)v->nr_entries * 4, VHD_SECTOR);
	if (v->table_off % VHD_SECTOR || !range_ok(v->table_off, v->bat_bytes, size) ||
		v->bat_bytes > VHD_MAX_TABLE ||
		(uint64_t)v->nr_entries * v->block_bytes < be64_get(v->footer.current_size))
		return bdev_fail(ret_error, -ERR_CORRUPT, "damaged VHD: a wrong block table");
	table_end = v->table_off + v->bat_bytes;
	v->next_off = MAX(MAX(table_end, off + sizeof(h)), VHD_SECTOR);
	return 0;
}

static int compare_u64(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* No block may reach past the end, into the metadata, or into another block. */
static int check_bat(struct vhd *v, uint64_t size, char **ret_error)
{
	uint64_t whole = (uint64_t)v->bitmap_bytes + v->block_bytes, nr = 0;
	uint64_t header = be64_get(v->footer.header_off);
	uint64_t *offs = calloc((size_t)v->nr_entries + 1, sizeof(*offs));
	int err = 0;

	if (!offs)
		return -ENOMEM;
	for (uint32_t i = 0; i < v->nr_entries && !err; i++) {
		uint64_t off = (uint64_t)be32_get(v->bat[i]) * VHD_SECTOR;

		if (be32_get(v->bat[i]) == VHD_UNUSED)
			continue;
		if (off < VHD_SECTOR || !range_ok(off, whole, size) ||
			(off < header + sizeof(struct vhd_header) && header < off + whole) ||
			(off < v->table_off + v->bat_bytes && v->table_off < off + whole))
			err = bdev_fail(ret_error, -ERR_CORRUPT,
				"damaged VHD: block %u lies where it cannot be", i);
		offs[nr++] = off;
	}
	qsort(offs, nr, sizeof(*offs), compare_u64);
	for (uint64_t i = 1; i < nr && !err; i++)
		if (offs[i] - offs[i - 1] < whole)
			err = bdev_fail(ret_error, -ERR_CORRUPT,
				"damaged VHD: two blocks at the same place");
	if (nr && !err)
		v->next_off = MAX(v->next_off, offs[nr - 1] + whole);
	free(offs);
	return err;
}

int vhd_load(struct vhd *v, struct bdev_queue *queue, char **ret_error)
{
	uint64_t size = bdev_geom(bdev_queue_bdev(queue)).size_bytes, bytes;
	int err = load_footer(v, queue, size, ret_error);

	if (err)
		return err;
	bytes = be64_get(v->footer.current_size);
	if (bytes == 0 || bytes % VHD_SECTOR || bytes > VHD_MAX_BYTES)
		return bdev_fail(ret_error, -ERR_CORRUPT, "damaged VHD: a size of %llu bytes",
			(unsigned long long)bytes);
	switch (be32_get(v->footer.type)) {
	case VHD_FIXED:
		return bytes <= size - VHD_SECTOR ? 0 : bdev_fail(ret_error, -ERR_CORRUPT,
			"damaged VHD: cut off, its disk is larger than the image");
	case VHD_DYNAMIC:
	case VHD_DIFFERENCING:
		break;
	default:
		return bdev_fail(ret_error, -ERR_CORRUPT, "damaged VHD: of type %u",
			be32_get(v->footer.type));
	}
	v->dynamic = true;
	err = load_header(v, queue, size, ret_error);
	if (err)
		return err;
	v->bat = malloc(v->bat_bytes);
	v->full = calloc(v->nr_entries, 1);
	if (!v->bat || !v->full)
		return -ENOMEM;
	err = bdev_pread(queue, v->bat, v->bat_bytes, v->table_off);
	return err ? err : check_bat(v, size, ret_error);
}

/* V2: behind the blocks, where the file ends on a page. A device that cannot grow does without. */
static int restore_footer(struct vhd *v, struct bdev_queue *queue)
{
	struct bdev *lower = bdev_queue_bdev(queue);
	uint64_t size = MAX(bdev_geom(lower).size_bytes, v->next_off + VHD_SECTOR);
	int err = bdev_grow(lower, ALIGN_UP(size, VHD_END_ALIGN));

	if (err == -ENOSPC && !v->no_footer)
		return 0;
	size = bdev_geom(lower).size_bytes;
	if ((err && err != -ENOSPC) || size < v->next_off + VHD_SECTOR)
		return err == -ENOSPC ? 0 : err;
	err = bdev_pwrite(queue, &v->footer, VHD_SECTOR, size - VHD_SECTOR);
	return err ? err : bdev_flush_sync(queue);
}

static void set_geom(struct vhd *v)
{
	struct bdev *bdev = &v->bdev;

	bdev->own_size = true;
	bdev->geom.size_bytes = be64_get(v->footer.current_size);
	atomic_store(&bdev->size_bytes, bdev->geom.size_bytes);
}

struct load {
	struct vhd *v;
	char **ret_error;
};

static int load(struct bdev_queue *queue, void *arg)
{
	struct load *l = arg;
	struct bdev *lower = bdev_queue_bdev(queue);
	int err = vhd_load(l->v, queue, l->ret_error);

	if (err || !l->v->dynamic || (atomic_load(&lower->caps) & BDEV_READONLY))
		return err;
	if (l->v->no_footer || bdev_geom(lower).size_bytes % VHD_END_ALIGN)
		err = restore_footer(l->v, queue);
	return err;
}

int bdev_vhd_new(struct bdev *lower, struct bdev **ret_bdev, char **ret_error)
{
	struct vhd tmp = { 0 }, *v;
	struct bdev *bdev;
	int err;

	if (lower->geom.block_bytes != VHD_SECTOR)
		return bdev_fail(ret_error, -ENOTSUP,
			"%s: a VHD needs a device of 512-byte blocks, this one has %u", lower->name,
			lower->geom.block_bytes);
	err = image_with_queue(lower, load, &(struct load){ &tmp, ret_error });
	if (!err)
		err = bdev_filter_new(&bdev_vhd_ops, lower, &bdev);
	if (err) {
		free(tmp.bat);
		free(tmp.full);
		return err;
	}
	v = container_of(bdev, struct vhd, bdev);
	memcpy((char *)v + sizeof(v->bdev), (char *)&tmp + sizeof(v->bdev),
		sizeof(*v) - sizeof(v->bdev));
	pthread_mutex_init(&v->lock, NULL);
	list_init(&v->waiters);
	set_geom(v);
	*ret_bdev = bdev;
	return 0;
}

void vhd_info(const struct bdev *bdev, struct image_info *ret_info)
{
	struct vhd *v = container_of(bdev, struct vhd, bdev);

	ret_info->format = IMAGE_VHD;
	ret_info->fixed = !v->dynamic;
	if (!v->dynamic)
		return;
	ret_info->block_bytes = v->block_bytes;
	ret_info->nr_blocks = DIV_ROUND_UP(ret_info->size_bytes, v->block_bytes);
	pthread_mutex_lock(&v->lock);
	for (uint64_t i = 0; i < ret_info->nr_blocks; i++)
		ret_info->nr_allocated += be32_get(v->bat[i]) != VHD_UNUSED;
	pthread_mutex_unlock(&v->lock);
}
