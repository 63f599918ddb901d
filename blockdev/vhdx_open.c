/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening a VHDX: every field is hostile. See vhdx_internal.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blockdev/vhdx_internal.h"

#define MAX_ITEM (1u << 20)

static int damaged(char **ret_error, const char *what)
{
	return bdev_fail(ret_error, -ERR_CORRUPT, "damaged VHDX: %s", what);
}

static bool guid_eq(const struct vhdx_guid *a, const struct vhdx_guid *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* ---- space (X6) ---- */

bool vhdx_mark(struct vhdx *v, uint64_t off, uint64_t len)
{
	bool was_free = true;

	for (uint64_t mb = off / VHDX_MB; mb < DIV_ROUND_UP(off + len, VHDX_MB); mb++) {
		if (mb >= v->nr_mb)
			break;
		was_free &= !(v->used[mb / 8] >> mb % 8 & 1);
		v->used[mb / 8] |= (uint8_t)(1u << mb % 8);
	}
	return was_free;
}

/* A region of the file: whole MiB, and not the first one. */
static bool may_lie(uint64_t off, uint64_t len, uint64_t size)
{
	return len > 0 && off % VHDX_MB == 0 && len % VHDX_MB == 0 && off >= VHDX_MB &&
	       range_ok(off, len, size) && off + len <= VHDX_MAX_MB * VHDX_MB;
}

/* What is known to be used before the regions are read. */
static int init_used(struct vhdx *v, uint64_t size)
{
	v->nr_mb = MIN(DIV_ROUND_UP(size, VHDX_MB), VHDX_MAX_MB);
	v->used = calloc(1, v->nr_mb / 8 + 1);
	if (!v->used)
		return -ENOMEM;
	vhdx_mark(v, 0, VHDX_MB);
	vhdx_mark(v, le64_get(v->header.log_off), le32_get(v->header.log_bytes));
	return 0;
}

void vhdx_free_patches(struct vhdx *v)
{
	for (size_t i = 0; i < v->nr_patches; i++)
		free(v->patches[i].data);
	free(v->patches);
	v->patches = NULL;
	v->nr_patches = 0;
}

int vhdx_pread(struct vhdx *v, struct bdev_queue *queue, void *buf, uint64_t len, uint64_t off)
{
	int err = bdev_pread(queue, buf, len, off);

	for (size_t i = 0; i < v->nr_patches && !err; i++) {
		const struct vhdx_patch *p = &v->patches[i];
		uint64_t from = MAX(off, p->off), to = MIN(off + len, p->off + p->len);

		if (from >= to)
			continue;
		if (p->data)
			memcpy((char *)buf + (from - off), p->data + (from - p->off), to - from);
		else
			memset((char *)buf + (from - off), 0, to - from);
	}
	return err;
}

/* ---- headers ---- */

void vhdx_seal_header(struct vhdx_header *h)
{
	h->checksum = le32_of(vhdx_checksum(h, sizeof(*h), offsetof(struct vhdx_header, checksum)));
}

int vhdx_write_headers(struct vhdx *v, struct bdev_queue *queue)
{
	int err = 0;

	for (int i = 0; i < 2 && !err; i++) {
		v->slot ^= 1;
		v->header.sequence = le64_of(le64_get(v->header.sequence) + 1);
		vhdx_seal_header(&v->header);
		err = bdev_pwrite(queue, &v->header, sizeof(v->header), VHDX_HEADER_OFF(v->slot));
		if (!err && (bdev_geom(bdev_queue_bdev(queue)).caps & BDEV_CAN_FLUSH))
			err = bdev_flush_sync(queue);
	}
	return err;
}

static int load_header(struct vhdx *v, struct bdev_queue *queue, uint64_t size, char **ret_error)
{
	struct vhdx_header h;
	bool found = false;
	int err;

	if (size < VHDX_MB)
		return bdev_fail(ret_error, -ERR_CORRUPT, "not a VHDX: too small");
	for (unsigned int i = 0; i < 2; i++) {
		err = bdev_pread(queue, &h, sizeof(h), VHDX_HEADER_OFF(i));
		if (err)
			return err;
		if (memcmp(h.magic, "head", 4) != 0 ||
			le32_get(h.checksum) !=
				vhdx_checksum(&h, sizeof(h), offsetof(struct vhdx_header, checksum)) ||
			(found && le64_get(h.sequence) <= le64_get(v->header.sequence)))
			continue;
		found = true;
		v->header = h;
		v->slot = i;
	}
	if (!found)
		return damaged(ret_error, "neither of its headers is right");
	if (le16_get(v->header.version) != 1)
		return bdev_fail(ret_error, -ENOTSUP, "a VHDX of version %u",
			le16_get(v->header.version));
	if (le16_get(v->header.log_version) != 0 && !vhdx_guid_is_zero(&v->header.log_guid))
		return bdev_fail(ret_error, -ENOTSUP, "a VHDX whose log has version %u",
			le16_get(v->header.log_version));
	if (!may_lie(le64_get(v->header.log_off), le32_get(v->header.log_bytes), size))
		return damaged(ret_error, "its log lies where it cannot be");
	return 0;
}

/* ---- regions ---- */

static int read_regions(struct vhdx *v, struct bdev_queue *queue, struct vhdx_regions *t,
	char **ret_error)
{
	for (int i = 0; i < 2; i++) {
		int err = vhdx_pread(v, queue, t, sizeof(*t), VHDX_REGIONS_OFF(i));

		if (err)
			return err;
		if (memcmp(t->magic, "regi", 4) == 0 && le32_get(t->nr) <= VHDX_MAX_ENTRIES &&
			le32_get(t->checksum) == vhdx_checksum(t, sizeof(*t),
				offsetof(struct vhdx_regions, checksum)))
			return 0;
	}
	return damaged(ret_error, "neither of its region tables is right");
}

static int load_regions(struct vhdx *v, struct bdev_queue *queue, uint64_t size, char **ret_error)
{
	static const struct vhdx_guid bat = VHDX_REGION_BAT, meta = VHDX_REGION_META;
	struct vhdx_regions *t = malloc(sizeof(*t));
	int err = t ? read_regions(v, queue, t, ret_error) : -ENOMEM;

	for (uint32_t i = 0; !err && i < le32_get(t->nr); i++) {
		const struct vhdx_region *e = &t->e[i];
		uint64_t off = le64_get(e->off), len = le32_get(e->bytes);

		if (!may_lie(off, len, size) || !vhdx_mark(v, off, len)) {
			err = damaged(ret_error, "a region lies where it cannot be");
		} else if (guid_eq(&e->guid, &bat) && !v->bat_off) {
			v->bat_off = off;
			v->bat_region_bytes = len;
		} else if (guid_eq(&e->guid, &meta) && !v->meta_off) {
			v->meta_off = off;
			v->meta_bytes = len;
		} else if (le32_get(e->required) & 1) {
			err = bdev_fail(ret_error, -ENOTSUP,
				"a VHDX with a required region that is not known");
		}
	}
	if (!err && (!v->bat_off || !v->meta_off))
		err = damaged(ret_error, "it has no BAT or no metadata");
	free(t);
	return err;
}

/* ---- metadata ---- */

struct items {
	struct le32 params[2];
	struct le64 size;
	struct vhdx_guid id;
	struct le32 logical, physical;
};

static int load_item(struct vhdx *v, struct bdev_queue *queue, const struct vhdx_meta_entry *e,
	struct items *items, uint32_t *found, char **ret_error)
{
	const struct {
		struct vhdx_guid guid;
		void *at;
		uint32_t bytes;
	} known[] = {
		{ VHDX_META_PARAMS, items->params, sizeof(items->params) },
		{ VHDX_META_SIZE, &items->size, sizeof(items->size) },
		{ VHDX_META_ID, &items->id, sizeof(items->id) },
		{ VHDX_META_LOGICAL, &items->logical, sizeof(items->logical) },
		{ VHDX_META_PHYSICAL, &items->physical, sizeof(items->physical) },
	};
	static const struct vhdx_guid parent = VHDX_META_PARENT;
	uint32_t off = le32_get(e->off), bytes = le32_get(e->bytes);
	uint8_t page[2 * VHDX_PAGE];
	int err;

	if (bytes > MAX_ITEM || (bytes && (off < VHDX_TABLE_BYTES || !range_ok(off, bytes, v->meta_bytes))))
		return damaged(ret_error, "an item of metadata lies where it cannot be");
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (!guid_eq(&e->guid, &known[i].guid))
			continue;
		if (bytes != known[i].bytes || (*found & 1u << i))
			return damaged(ret_error, "an item of metadata has a wrong size or is there twice");
		*found |= 1u << i;
		/* Whole pages, within the region, which is of whole MiB. */
		uint64_t at = v->meta_off + off, from = ALIGN_DOWN(at, VHDX_PAGE);
		err = vhdx_pread(v, queue, page,
			ALIGN_UP(at + bytes, (uint64_t)VHDX_PAGE) - from, from);
		if (!err)
			memcpy(known[i].at, page + (at - from), bytes);
		return err;
	}
	if ((le32_get(e->flags) & VHDX_META_REQUIRED) && !guid_eq(&e->guid, &parent))
		return bdev_fail(ret_error, -ENOTSUP, "a VHDX with required metadata that is not known");
	return 0;
}

static int use_items(struct vhdx *v, const struct items *items, char **ret_error)
{
	uint32_t flags = le32_get(items->params[1]);

	if (flags & VHDX_HAS_PARENT)
		return bdev_fail(ret_error, -ENOTSUP,
			"a differencing VHDX: it has a parent; merge it with that first");
	v->fixed = flags & VHDX_LEAVE_ALLOCATED;
	v->block_bytes = le32_get(items->params[0]);
	v->size_bytes = le64_get(items->size);
	v->sector_bytes = le32_get(items->logical);
	v->phys_bytes = le32_get(items->physical);
	if (v->block_bytes < VHDX_MIN_BLOCK || v->block_bytes > VHDX_MAX_BLOCK ||
		(v->block_bytes & (v->block_bytes - 1)))
		return damaged(ret_error, "a wrong block size");
	if ((v->sector_bytes != 512 && v->sector_bytes != 4096) ||
		(v->phys_bytes != 512 && v->phys_bytes != 4096))
		return damaged(ret_error, "a wrong sector size");
	if (v->size_bytes == 0 || v->size_bytes % v->sector_bytes || v->size_bytes > VHDX_MAX_BYTES)
		return damaged(ret_error, "a wrong disk size");
	v->chunk_ratio = VHDX_CHUNK_SECTORS * v->sector_bytes / v->block_bytes;
	v->nr_blocks = DIV_ROUND_UP(v->size_bytes, v->block_bytes);
	v->nr_entries = v->nr_blocks + (v->nr_blocks - 1) / v->chunk_ratio;
	v->bat_bytes = ALIGN_UP(v->nr_entries * sizeof(struct le64), (uint64_t)VHDX_PAGE);
	if (v->bat_bytes > v->bat_region_bytes)
		return damaged(ret_error, "its BAT is too small");
	return 0;
}

static int load_meta(struct vhdx *v, struct bdev_queue *queue, char **ret_error)
{
	struct vhdx_meta *t = malloc(sizeof(*t));
	struct items items = { 0 };
	uint32_t found = 0;
	int err = t ? vhdx_pread(v, queue, t, sizeof(*t), v->meta_off) : -ENOMEM;

	if (!err && (memcmp(t->magic, "metadata", 8) != 0 || le16_get(t->nr) > VHDX_MAX_ENTRIES))
		err = damaged(ret_error, "its metadata table is wrong");
	for (uint32_t i = 0; !err && i < le16_get(t->nr); i++)
		err = load_item(v, queue, &t->e[i], &items, &found, ret_error);
	free(t);
	if (!err && found != 31)
		err = damaged(ret_error, "an item of metadata is missing");
	return err ? err : use_items(v, &items, ret_error);
}

/* ---- the BAT ---- */

static int check_block(struct vhdx *v, uint64_t block, uint64_t size, char **ret_error)
{
	uint64_t e = le64_get(v->bat[vhdx_index(v, block)]), off = VHDX_OFF(e);
	uint64_t needed = MIN(v->block_bytes, v->size_bytes - block * v->block_bytes);

	switch (VHDX_STATE(e)) {
	case VHDX_PRESENT:
		if (off >= VHDX_MB && range_ok(off, needed, size) &&
			off + v->block_bytes <= VHDX_MAX_MB * VHDX_MB &&
			vhdx_mark(v, off, v->block_bytes))
			return 0;
		return bdev_fail(ret_error, -ERR_CORRUPT,
			"damaged VHDX: block %llu lies where it cannot be, or where another one does",
			(unsigned long long)block);
	case VHDX_NOT_PRESENT:
	case VHDX_UNDEFINED:
	case VHDX_ZERO:
	case VHDX_UNMAPPED:
		return 0;
	default:
		return bdev_fail(ret_error, -ERR_CORRUPT, "damaged VHDX: block %llu is in state %u",
			(unsigned long long)block, VHDX_STATE(e));
	}
}

static int load_bat(struct vhdx *v, struct bdev_queue *queue, uint64_t size, char **ret_error)
{
	int err;

	v->bat = malloc(v->bat_bytes);
	if (!v->bat)
		return -ENOMEM;
	err = vhdx_pread(v, queue, v->bat, v->bat_bytes, v->bat_off);
	for (uint64_t b = 0; !err && b < v->nr_blocks; b++)
		err = check_block(v, b, size, ret_error);
	/* Whoever gave up a block may have kept its place, and take it again. */
	for (uint64_t i = 0; !err && i < v->nr_entries; i++) {
		uint64_t e = le64_get(v->bat[i]), off = VHDX_OFF(e);
		if (VHDX_STATE(e) != VHDX_PRESENT && off && off < size)
			vhdx_mark(v, off, v->block_bytes);
		else if (i % (v->chunk_ratio + 1) == v->chunk_ratio && off && off < size)
			vhdx_mark(v, off, VHDX_MB); /* a bitmap; we need none */
	}
	return err;
}

/* A log that is replayed in memory only must not be about anything that is read from the device. */
static int check_patches(const struct vhdx *v, char **ret_error)
{
	for (size_t i = 0; i < v->nr_patches; i++) {
		uint64_t off = v->patches[i].off, end = off + v->patches[i].len;

		if (end <= VHDX_MB ||
			(off >= v->bat_off && end <= v->bat_off + v->bat_region_bytes) ||
			(off >= v->meta_off && end <= v->meta_off + v->meta_bytes))
			continue;
		return bdev_fail(ret_error, -ENOTSUP,
			"the VHDX was not closed cleanly: open it for writing once");
	}
	return 0;
}

/* ---- opening ---- */

struct load {
	struct vhdx *v;
	char **ret_error;
};

static int load(struct bdev_queue *queue, void *arg)
{
	struct load *l = arg;
	struct vhdx *v = l->v;
	uint64_t size = bdev_geom(bdev_queue_bdev(queue)).size_bytes;
	char magic[VHDX_PAGE];
	int err;

	if (size < sizeof(magic))
		return bdev_fail(l->ret_error, -ERR_CORRUPT, "not a VHDX: too small");
	err = bdev_pread(queue, magic, sizeof(magic), 0);
	if (!err && memcmp(magic, "vhdxfile", 8) != 0)
		err = bdev_fail(l->ret_error, -ERR_CORRUPT, "not a VHDX");
	if (!err)
		err = load_header(v, queue, size, l->ret_error);
	if (!err)
		err = vhdx_replay(v, queue, l->ret_error);
	size = bdev_geom(bdev_queue_bdev(queue)).size_bytes; /* the replay may have made it larger */
	if (!err)
		err = init_used(v, size);
	if (!err)
		err = load_regions(v, queue, size, l->ret_error);
	if (!err)
		err = load_meta(v, queue, l->ret_error);
	if (!err)
		err = load_bat(v, queue, size, l->ret_error);
	return err ? err : check_patches(v, l->ret_error);
}

static void set_geom(struct vhdx *v)
{
	struct bdev *bdev = &v->bdev;

	bdev->own_size = true;
	bdev->geom.size_bytes = v->size_bytes;
	bdev->geom.block_bytes = v->sector_bytes;
	bdev->geom.phys_bytes = MAX(bdev->geom.phys_bytes, MAX(v->phys_bytes, v->sector_bytes));
	atomic_store(&bdev->size_bytes, v->size_bytes);
}

int bdev_vhdx_new(struct bdev *lower, struct bdev **ret_bdev, char **ret_error)
{
	struct vhdx *tmp = calloc(1, sizeof(*tmp)), *v;
	struct bdev *bdev = NULL;
	int err = -ENOMEM;

	if (!tmp)
		return err;
	err = image_with_queue(lower, load, &(struct load){ tmp, ret_error });
	if (!err && tmp->sector_bytes < lower->geom.block_bytes)
		err = bdev_fail(ret_error, -ENOTSUP,
			"%s: a VHDX of %u-byte sectors on a device of %u-byte blocks", lower->name,
			tmp->sector_bytes, lower->geom.block_bytes);
	if (!err)
		err = bdev_filter_new(&bdev_vhdx_ops, lower, &bdev);
	if (err) {
		vhdx_free_patches(tmp);
		free(tmp->bat);
		free(tmp->used);
		free(tmp);
		return err;
	}
	v = to_vhdx(bdev);
	memcpy((char *)v + sizeof(v->bdev), (char *)tmp + sizeof(v->bdev),
		sizeof(*v) - sizeof(v->bdev));
	free(tmp);
	pthread_mutex_init(&v->lock, NULL);
	list_init(&v->waiters);
	list_init(&v->txn.batch);
	set_geom(v);
	*ret_bdev = bdev;
	return 0;
}

void vhdx_info(const struct bdev *bdev, struct image_info *ret_info)
{
	struct vhdx *v = to_vhdx(bdev);

	ret_info->format = IMAGE_VHDX;
	ret_info->fixed = v->fixed;
	ret_info->needs_replay = v->replayed;
	ret_info->block_bytes = v->block_bytes;
	ret_info->nr_blocks = v->nr_blocks;
	pthread_mutex_lock(&v->lock);
	for (uint64_t i = 0; i < v->nr_blocks; i++)
		ret_info->nr_allocated +=
			VHDX_STATE(le64_get(v->bat[vhdx_index(v, i)])) == VHDX_PRESENT;
	pthread_mutex_unlock(&v->lock);
}
