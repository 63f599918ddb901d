/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/fuzz/volume.h"

#include "tests/unit/core_image.h"
#include "util/crc32c.h"
#include "util/log.h"

#define NR_BLKS (IMAGE_BYTES / CSV_BLOCK_BYTES)

static int set_xattr(struct csv_txn *txn, void *arg)
{
	static char value[5000];
	const uint32_t *len = arg;
	char name[32];

	snprintf(name, sizeof(name), "user.of-%u", *len);
	return csv_xattr_set(txn, at.dir, name, (uint32_t)strlen(name), value, *len, 0, 9);
}

/* What populate() leaves out. */
static void populate_more(struct engine *e)
{
	static char target[3001];
	struct csv_result result = { .seq = 5, .op = 6, .ino = 7 };
	uint32_t lens[] = { 0, 100, 5000 };
	struct csv_attr a;

	memset(target, 't', sizeof(target) - 1);
	CHECK_OK(t_symlink(e, ROOT, "long symlink", target, &a));
	for (size_t i = 0; i < ARRAY_SIZE(lens); i++)
		CHECK_OK(test_op_sync(e, set_xattr, &lens[i]));
	CHECK_OK(t_create(e, ROOT, "fifo", S_IFIFO | 0644, &a));
	CHECK_OK(t_result_put(e, 3, 1000, 2, &result));
}

static bool is_meta(const struct fuzz_volume *vol, uint64_t blk)
{
	return le32_get(fuzz_blk(vol, blk)->magic) == CSV_MAGIC;
}

static bool in_place(const struct fuzz_volume *vol, uint64_t blk)
{
	return le64_get(fuzz_blk(vol, blk)->blkno) == blk;
}

static void keep(struct fuzz_volume *vol, struct engine *e, const char *name)
{
	char *error = NULL;
	struct bdev_queue *queue;

	vol->image = malloc(IMAGE_BYTES);
	vol->meta = malloc(NR_BLKS * sizeof(*vol->meta));
	CHECK(vol->image && vol->meta);
	CHECK_OK(bdev_pread(e->queue, vol->image, IMAGE_BYTES, 0));
	CHECK_OK(csv_super_read(e->queue, &vol->geom));
	for (uint64_t blk = 0; blk < NR_BLKS; blk++)
		if (is_meta(vol, blk) && in_place(vol, blk))
			vol->meta[vol->nr_home++] = blk;
	vol->nr_meta = vol->nr_home;
	for (uint64_t blk = 0; blk < NR_BLKS; blk++)
		if (is_meta(vol, blk) && !in_place(vol, blk))
			vol->meta[vol->nr_meta++] = blk;
	snprintf(vol->uri, sizeof(vol->uri), "%s?name=%s", IMAGE_URI, name);
	CHECK_OK(bdev_open(vol->uri, NULL, &vol->keep, &error));
	CHECK_OK(bdev_queue_open(vol->keep, e->loop, &queue));
	for (uint32_t i = 0; i < vol->nr_meta; i++)
		CHECK_OK(bdev_pwrite(queue, fuzz_blk(vol, vol->meta[i]), CSV_BLOCK_BYTES,
			vol->meta[i] * CSV_BLOCK_BYTES));
	bdev_queue_close(queue);
}

void fuzz_volumes_make(struct fuzz_volume *ret_clean, struct fuzz_volume *ret_dirty)
{
	struct engine e;
	struct csv_attr a;
	char name[64];

	memset(ret_clean, 0, sizeof(*ret_clean));
	memset(ret_dirty, 0, sizeof(*ret_dirty));
	log_set_level((enum log_level)-1);
	engine_device(&e, IMAGE_URI, true, 0, 0);
	engine_open(&e, 0);
	populate(&e);
	populate_more(&e);
	t_check(&e);
	CHECK_OK(engine_close(&e));
	keep(ret_clean, &e, "clean");
	engine_open(&e, 0);
	for (int i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "made late, number %d", i);
		CHECK_OK(t_create(&e, at.sub, name, S_IFREG | 0600, &a));
		if (i % 4 == 0)
			CHECK_OK(t_alloc(&e, a.ino, 0, 20));
		if (i % 8 == 3)
			CHECK_OK(t_unlink(&e, at.sub, name, false, &a));
	}
	keep(ret_dirty, &e, "dirty");
	CHECK_OK(engine_close(&e));
	engine_done(&e);
}

void fuzz_volume_open(const struct fuzz_volume *vol, struct loop *loop, struct engine *ret)
{
	struct bdev *ram, *top;
	char *error = NULL;

	memset(ret, 0, sizeof(*ret));
	CHECK_OK(bdev_open(vol->uri, NULL, &ram, &error));
	CHECK_OK(bdev_overlay_new(ram, &top));
	ret->loop = loop;
	ret->ram = ret->fault = ret->delay = ret->stats = top;
	CHECK_OK(bdev_queue_open(top, loop, &ret->queue));
}

void fuzz_volume_close(struct engine *e)
{
	bdev_queue_close(e->queue);
	bdev_close(e->stats);
}

void fuzz_seal(uint8_t *block)
{
	struct csv_blk_hdr *h = (struct csv_blk_hdr *)block;

	h->crc = le32_of(0);
	h->crc = le32_of(crc32c(0, block, CSV_BLOCK_BYTES));
}

void fuzz_edit(const struct fuzz_volume *vol, struct fuzz_in *in, uint8_t *block, uint64_t blk)
{
	unsigned what = (unsigned)fuzz_num(in, 1) % 8;
	uint32_t pos = (uint32_t)fuzz_num(in, 2);
	uint64_t number = fuzz_num(in, 8);
	struct csv_blk_hdr *h = (struct csv_blk_hdr *)block;
	size_t len = what < 4 ? 1u << what : 8;

	pos %= pos & 0x8000 ? CSV_BLOCK_BYTES : 1024;
	len = MIN(len, CSV_BLOCK_BYTES - pos);
	if (what == 4) {
		block[pos] ^= (uint8_t)(number ? number : 1);
	} else if (what == 5) {
		memset(block + pos, 0, MIN(number % CSV_BLOCK_BYTES, CSV_BLOCK_BYTES - pos));
	} else if (what == 6) {
		memcpy(block, fuzz_blk(vol, vol->meta[number % vol->nr_meta]), CSV_BLOCK_BYTES);
		h->blkno = le64_of(blk);
	} else {
		memcpy(block + pos, &number, len);
	}
	if (what != 7)
		fuzz_seal(block);
}

void fuzz_put_edit(struct fuzz_out *out, unsigned what, unsigned pos, uint64_t number)
{
	fuzz_put(out, what, 1);
	fuzz_put(out, pos, 2);
	fuzz_put(out, number, 8);
}

void fuzz_count_msg(void *arg, const char *text)
{
	++*(uint64_t *)arg;
}
