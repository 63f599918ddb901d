/* libs: util blockdev journal core */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A flipped bit in a metadata block is detected, whichever it is: by the reader's checks all bits of a
 * block of each type; by a check of the whole volume, which names the block, all bits of its header and
 * some of the rest (CSVFS_TEST_FULL=1: all). What the engine reads is an error, never wrong.
 */
#include "tests/unit/core_image.h"
#include "util/crc32c.h"
#include "util/log.h"

#define BITS (CSV_BLOCK_BYTES * 8u)
#define STRIDE 1021u

struct found {
	char block[32];
	bool named;
	uint64_t errors;
};

static void on_flip_msg(void *arg, const char *text)
{
	struct found *f = arg;
	const char *pos = strstr(text, f->block);

	f->errors++;
	f->named |= pos && (pos[strlen(f->block)] == ' ' || pos[strlen(f->block)] == ':');
}

static void flip(uint8_t *block, uint32_t bit)
{
	block[bit / 8] ^= 1u << bit % 8;
}

/* The engine's own read of the block. */
static int read_it(struct csv_txn *txn, void *arg)
{
	const struct csv_blk_hdr *h = arg;
	const void *block;

	return csv_txn_read(txn, le64_get(h->blkno), le16_get(h->type), &block);
}

/* One bit of what the device holds now; engine_reads: the block is the engine's to read. */
static void check_volume(struct engine *e, uint64_t blk, uint32_t bit, bool engine_reads)
{
	uint8_t bad[CSV_BLOCK_BYTES], now[CSV_BLOCK_BYTES], good[CSV_BLOCK_BYTES];
	struct csv_fs_cfg cfg = { .queue = e->queue };
	struct csv_check_report report;
	struct found f = { 0 };
	uint64_t log_errors;

	snprintf(f.block, sizeof(f.block), "block %llu", (unsigned long long)blk);
	CHECK_OK(bdev_pread(e->queue, good, sizeof(good), blk * CSV_BLOCK_BYTES));
	memcpy(bad, good, sizeof(bad));
	flip(bad, bit);
	CHECK_OK(bdev_pwrite(e->queue, bad, sizeof(bad), blk * CSV_BLOCK_BYTES));
	CHECK_OK(csv_fs_new(&cfg, &e->fs));
	CHECK_OK(csv_check_log(e->fs, on_flip_msg, &f, &log_errors));
	csv_fs_free(e->fs);
	engine_open(e, 0);
	CHECK_OK(csv_check(e->fs, on_flip_msg, &f, &report));
	if (!f.named)
		fprintf(stderr, "nothing said of block %llu, bit %u\n", (unsigned long long)blk,
			bit);
	CHECK(f.named && f.errors);
	if (engine_reads)
		CHECK_EQ(test_op_sync(e, read_it, good), -ERR_CORRUPT);
	CHECK_OK(engine_close(e));
	CHECK_OK(bdev_pread(e->queue, now, sizeof(now), blk * CSV_BLOCK_BYTES));
	if (!memcmp(now, bad, sizeof(now))) /* the log's headers were written anew */
		CHECK_OK(bdev_pwrite(e->queue, good, sizeof(good), blk * CSV_BLOCK_BYTES));
}

static void test_block(struct engine *e, uint64_t blk, const struct csv_geometry *geom)
{
	uint8_t block[CSV_BLOCK_BYTES];
	const struct csv_blk_hdr *h = (const void *)block;
	bool full = getenv("CSVFS_TEST_FULL");
	uint32_t volumes = 0;
	uint16_t type;

	CHECK_OK(bdev_pread(e->queue, block, sizeof(block), blk * CSV_BLOCK_BYTES));
	type = le16_get(h->type);
	for (uint32_t bit = 0; bit < BITS; bit++) {
		flip(block, bit);
		if (csv_blk_ops(type))
			CHECK(csv_blk_verify(block, blk, type, geom) == -ERR_CORRUPT);
		flip(block, bit);
		if (!full && bit % (bit < 512 ? 3 : STRIDE) != 0)
			continue;
		check_volume(e, blk, bit, type != CSV_BT_SUPER && type <= CSV_BT_SESSION);
		volumes++;
	}
	printf("type %u, block %llu: %u bits, %u of them by a check of the volume\n", type,
		(unsigned long long)blk, BITS, volumes);
}

/* A slot as a node writes it: the lock manager's bytes have the same header. */
static void plant_slot(uint8_t *image, const struct csv_geometry *geom)
{
	struct csv_blk_hdr *h = image_blk(image, CSV_SLOT_BLK + 4);

	memset(h, 0, CSV_BLOCK_BYTES);
	h->magic = le32_of(CSV_MAGIC);
	h->type = le16_of(CSV_BT_SLOT);
	h->version = le16_of(1);
	h->len = le32_of(0x300);
	h->blkno = le64_of(CSV_SLOT_BLK + 4);
	memcpy(h->uuid, geom->uuid, sizeof(h->uuid));
	h->crc = le32_of(0);
	h->crc = le32_of(crc32c(0, h, CSV_BLOCK_BYTES));
}

int main(void)
{
	uint32_t seen[16][2] = { 0 };
	struct csv_geometry geom;
	uint8_t *image;
	struct engine e;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!getenv("SHOW_LOG"))
		log_set_level((enum log_level)-1);
	image = image_make();
	image_load(&e, IMAGE_URI, image);
	CHECK_OK(csv_super_read(e.queue, &geom));
	plant_slot(image, &geom);
	CHECK_OK(bdev_pwrite(e.queue, image_blk(image, CSV_SLOT_BLK + 4), CSV_BLOCK_BYTES,
		(CSV_SLOT_BLK + 4) * (uint64_t)CSV_BLOCK_BYTES));
	for (uint64_t blk = image_next(image, 0); blk || !seen[CSV_BT_SUPER][0];
		blk = image_next(image, blk + 1)) {
		const struct csv_tree_node *n = (const void *)image_blk(image, blk);
		uint16_t type = le16_get(n->h.type);
		uint32_t inner = type == CSV_BT_TREE && le16_get(n->level) > 0;

		/* Three superblocks, two headers of the log, and of the others one each. Records in
		 * the ring are of no use once the log is empty. */
		if (type >= 16 || type == CSV_BT_JRECORD ||
			seen[type][inner]++ >= (type == CSV_BT_SUPER ? 3u :
						       type == CSV_BT_JHEADER ? 2u : 1u))
			continue;
		test_block(&e, blk, &geom);
	}
	for (uint16_t type = CSV_BT_SUPER; type <= CSV_BT_JHEADER; type++)
		CHECK(seen[type][0]);
	CHECK(seen[CSV_BT_TREE][1]);
	engine_done(&e);
	free(image);
	return 0;
}
