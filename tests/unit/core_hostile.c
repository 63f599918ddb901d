/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: util blockdev journal core */
/*
 * Metadata that lies, with right checksums: bits of nodes, bitmaps, group headers, the root block
 * and session blocks are flipped, then operations of all kinds run. They may answer anything that
 * fs.h names, -ERR_CORRUPT above all; nothing may crash, hang, or stop the volume's journal.
 */
#include <sys/stat.h>

#include "tests/unit/core_engine.h"
#include "util/checked.h"
#include "util/crc32c.h"
#include "util/log.h"

#define NR_ROUNDS 300
#define NR_FILES 400

static uint64_t rng_state = 0x2545f4914f6cdd1dull;

static uint64_t rng(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state;
}

/* ---- operations ---- */

enum { MKNOD, LOOKUP, UNLINK, RENAME, LIST, ALLOC, WRITTEN, PUNCH, MAP, INLINE, ORPHAN, RESULT,
	NR_KINDS };

struct call {
	int kind;
	uint64_t dir, ino, blk, nr;
	uint32_t file, other;
};

static uint32_t name_of(uint32_t file, char name[32])
{
	return (uint32_t)snprintf(name, 32, "file-%u", file);
}

static bool list_fn(void *arg, const struct csv_dirent *ent, const struct csv_attr *attr)
{
	(void)attr;
	return ent->name_len > 0 && ++*(uint32_t *)arg < 200;
}

static int call_run(struct csv_txn *txn, void *arg)
{
	struct csv_attr proto = { .mode = S_IFREG | 0644 }, attr, attr2;
	struct csv_result result = { .seq = 1 };
	const struct call *c = arg;
	struct csv_extent map[16];
	char name[32], name2[32], buf[CSV_INLINE_MAX];
	uint32_t len = name_of(c->file, name), len2 = name_of(c->other, name2), nr = 0;
	uint64_t ret;
	int err;

	switch (c->kind) {
	case MKNOD:
		return csv_create(txn, c->dir, name, len, &proto, NULL, 0, &attr);
	case LOOKUP:
		return csv_lookup(txn, c->dir, name, len, &attr);
	case UNLINK:
		return csv_unlink(txn, c->dir, name, len, false, 1, &attr);
	case RENAME:
		return csv_rename(txn, c->dir, name, len, CSV_ROOT_INO, name2, len2, 0, 1, &attr,
			&attr2);
	case LIST:
		return csv_readdir(txn, c->dir, 0, true, list_fn, &nr);
	case ALLOC:
		return csv_extent_alloc(txn, c->ino, c->blk, c->nr, &ret);
	case WRITTEN:
		return csv_extent_written(txn, c->ino, c->blk, c->nr);
	case PUNCH:
		return csv_extent_punch(txn, c->ino, c->blk, c->nr, &ret);
	case MAP:
		return csv_extent_map(txn, c->ino, c->blk, c->nr, map, ARRAY_SIZE(map), &nr);
	case INLINE:
		nr = sizeof(buf);
		err = csv_inline_get(txn, c->ino, buf, &nr);
		if (err == -ERR_WAIT)
			return err;
		memset(buf, 'x', sizeof(buf));
		return csv_inline_set(txn, c->ino, buf, (uint32_t)(c->nr % (sizeof(buf) + 1)));
	case ORPHAN:
		err = csv_orphan_next(txn, 0, &ret);
		return err != 0 || ret == 0 ? err : csv_orphan_free(txn, ret);
	default:
		err = csv_result_get(txn, 1 + c->file % 64, 1, c->other % 62, &result);
		return err != 0 ? err
				: csv_result_put(txn, 1 + c->file % 64, 1, c->other % 62, &result);
	}
}

static int random_call(struct engine *e, int kind)
{
	struct call c = {
		.kind = kind,
		.dir = rng() % 8 != 0 ? CSV_ROOT_INO : rng() % NR_FILES,
		.ino = 2 + rng() % NR_FILES,
		.blk = rng() % 500,
		.nr = 1 + rng() % 300,
		.file = rng() % NR_FILES,
		.other = rng() % (NR_FILES * 2),
	};

	return test_op_sync(e, call_run, &c);
}

/* ---- the volume, and what is done to it ---- */

static uint8_t (*image)[CSV_BLOCK_BYTES]; /* as it was made */
static uint64_t nr_blks, *meta, nr_meta;

static void seal_again(uint8_t *block)
{
	struct csv_blk_hdr *h = (struct csv_blk_hdr *)block;

	h->crc = le32_of(0);
	h->crc = le32_of(crc32c(0, block, CSV_BLOCK_BYTES));
}

static void make_volume(struct engine *e)
{
	uint32_t ok = 0;

	engine_device(e, "ram:32M", true, 0, 0);
	engine_open(e, 0);
	for (uint32_t i = 0; i < NR_FILES; i++) {
		struct call c = { .kind = MKNOD, .dir = CSV_ROOT_INO, .file = i };

		CHECK_OK(test_op_sync(e, call_run, &c));
	}
	for (uint32_t i = 0; i < 500; i++)
		ok += random_call(e, (int)(i % NR_KINDS)) == 0;
	CHECK(ok > 150);
	CHECK_OK(engine_close(e));

	nr_blks = bdev_geom(e->stats).size_bytes / CSV_BLOCK_BYTES;
	image = malloc(nr_blks * CSV_BLOCK_BYTES);
	meta = malloc(nr_blks * sizeof(*meta));
	CHECK(image != NULL && meta != NULL);
	CHECK_OK(bdev_pread(e->queue, image, nr_blks * CSV_BLOCK_BYTES, 0));
	for (uint64_t blk = CSV_ROOT_BLK; blk < nr_blks - 1; blk++) {
		const struct csv_blk_hdr *h = (const void *)image[blk];
		const struct csv_blk_ops *ops = csv_blk_ops(le16_get(h->type));

		if (le32_get(h->magic) == CSV_MAGIC && ops != NULL)
			meta[nr_meta++] = blk;
	}
	CHECK(nr_meta > 20);
}

/* Flips a bit where there is something: of the first bytes, of a slot, of a value, anywhere. */
static void flip(uint8_t *block)
{
	uint32_t at = 0x40;

	switch (rng() % 5) {
	case 4: /* a number that is all wrong */
		at += 8 * (rng() % 9);
		memset(block + at, rng() % 2 ? 0xff : 0, 4 + rng() % 5);
		return;
	case 0:
		at += rng() % 0x40;
		break;
	case 1:
		at += rng() % 0x400;
		break;
	case 2:
		at = CSV_BLOCK_BYTES - 1 - (uint32_t)(rng() % 0x400);
		break;
	default:
		at += rng() % (CSV_BLOCK_BYTES - 0x40);
	}
	block[at] ^= (uint8_t)(1u << rng() % 8);
}

static void sabotage(struct engine *e)
{
	uint8_t block[CSV_BLOCK_BYTES];

	for (uint64_t nr = 1 + rng() % 4; nr > 0; nr--) {
		uint64_t blk = meta[rng() % nr_meta];

		memcpy(block, image[blk], sizeof(block));
		for (uint64_t bits = 1 + rng() % 3; bits > 0; bits--)
			flip(block);
		seal_again(block);
		CHECK_OK(bdev_pwrite(e->queue, block, sizeof(block), blk * CSV_BLOCK_BYTES));
	}
}

int main(void)
{
	uint64_t corrupt = 0, fine = 0;
	struct engine e;

	make_volume(&e);
	log_set_level(LOG_LVL_ERROR - 1); /* thousands of lines */
	for (uint32_t round = 0; round < NR_ROUNDS; round++) {
		CHECK_OK(bdev_pwrite(e.queue, image, nr_blks * CSV_BLOCK_BYTES, 0));
		sabotage(&e);
		engine_open(&e, 64 << 10);
		for (uint32_t i = 0; i < 150; i++) {
			int err = random_call(&e, (int)(rng() % NR_KINDS));

			corrupt += err == -ERR_CORRUPT;
			fine += err == 0;
		}
		if (csv_fs_error(e.fs) != 0)
			log_dump(stderr);
		CHECK_OK(csv_fs_error(e.fs));
		CHECK_OK(engine_close(&e));
	}
	printf("%llu calls went well, %llu found corruption\n", (unsigned long long)fine,
		(unsigned long long)corrupt);
	CHECK(corrupt > 100 && fine > 1000);
	free(image);
	free(meta);
	engine_done(&e);
	return 0;
}
