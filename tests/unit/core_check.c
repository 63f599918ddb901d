/* libs: util blockdev journal core */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * csv_check() finds what is wrong: one corrupter for each of its codes. And the engine gets on with
 * a volume on which that is wrong: errors, no crash.
 */
#include "tests/unit/core_corrupt.h"
#include "util/crc32c.h"
#include "util/log.h"

/* ---- the engine's reaction ---- */

static uint64_t nr_corrupt; /* answers of -ERR_CORRUPT */

static void try(int err)
{
	nr_corrupt += err == -ERR_CORRUPT;
}

static void use_file(struct engine *e, uint64_t ino)
{
	uint8_t buf[CSV_INLINE_MAX];
	struct csv_extent x[8];
	uint64_t pos, blk = 0;
	uint32_t nr, len = sizeof(buf);

	while (blk < 1100 && t_map(e, ino, blk, 1100 - blk, x, 8, &nr) == 0)
		blk = x[nr - 1].blk + x[nr - 1].nr;
	try(t_seek(e, ino, 0, 1100, true, &pos));
	try(t_seek(e, ino, 0, 1100, false, &pos));
	try(t_inline_get(e, ino, buf, &len));
	try(t_alloc_some(e, ino, 5, 2000, &pos));
	try(t_written(e, ino, 40, 20));
	try(t_punch(e, ino, 50, 100));
	try(t_inline_set(e, ino, buf, 1000));
	len = sizeof(buf);
	try(t_readlink(e, ino, (char *)buf, &len));
	try(t_punch(e, ino, 0, UINT64_MAX));
}

/* Some of everything; whatever the answers are. */
static void use(struct engine *e)
{
	struct listing l = { .limit = 1000 };
	struct csv_statfs st;
	struct csv_attr a, b;
	uint64_t ino = 0;

	try(t_statfs(e, &st));
	for (uint64_t dir = 1; dir < 6; dir++) {
		try(t_readdir(e, dir, 0, true, &l));
		try(t_readdir(e, dir, 0, false, &l));
		for (uint32_t i = 0; i < l.nr && i < 10; i++)
			try(t_lookup(e, dir, l.ents[i].name, &a));
		try(t_lookup(e, dir, "..", &a));
		try(t_create(e, dir, "new", S_IFREG, &a));
		try(t_create(e, dir, "new dir", S_IFDIR, &a));
	}
	try(t_rename(e, ROOT, "new", at.dir, "link", 0, &a, &b));
	try(t_rename(e, ROOT, "dir", at.empty, "moved", 0, &a, &b));
	try(t_rename(e, ROOT, "empty", at.dir, "sub", CSV_RENAME_EXCHANGE, &a, &b));
	try(t_unlink(e, at.sub, "other", false, &a));
	try(t_unlink(e, ROOT, "empty", true, &a));
	use_file(e, at.file);
	use_file(e, at.other);
	use_file(e, at.small);
	use_file(e, at.link);
	for (int i = 0; i < 5 && t_orphan_next(e, ino, &ino) == 0 && ino; i++) {
		uint64_t left;

		try(DO(e, extent_punch, .ino = ino, .nr = UINT64_MAX, .ret64 = &left));
		try(t_orphan_free(e, ino));
	}
	free(l.ents);
}

static void test_corrupters(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(corrupters); i++) {
		struct engine e;

		begin(&e);
		name_arg = corrupters[i].code;
		printf("%zu %s\n", i, name_arg);
		CHECK_OK(test_op_sync(&e, corrupters[i].fn, NULL));
		expect_code(&e, corrupters[i].code);
		CHECK_OK(engine_close(&e));
		engine_open(&e, 64 * 4096);
		expect_code(&e, corrupters[i].code);
		use(&e);
		CHECK_OK(engine_close(&e));
		engine_done(&e);
	}
}

/* ---- damage from below ---- */

static void edit_block(struct engine *e, uint64_t blk, uint32_t byte, uint8_t flip)
{
	uint8_t buf[CSV_BLOCK_BYTES];

	CHECK_OK(bdev_pread(e->queue, buf, sizeof(buf), blk * sizeof(buf)));
	buf[byte] ^= flip;
	CHECK_OK(bdev_pwrite(e->queue, buf, sizeof(buf), blk * sizeof(buf)));
}

static uint64_t tree_blk(struct csv_txn *txn, uint64_t ino)
{
	return load(txn, ino) ? 0 : le64_get(inode.rec.tree.blk);
}

struct places {
	uint64_t inodes, dir, extents, nr_blks, ag0;
};

static int find_places(struct csv_txn *txn, void *arg)
{
	struct places *p = arg;
	struct csv_tree tree;
	int err = csv_root_tree_get(txn, CSV_OWNER_INODES, &tree);

	p->inodes = le64_get(tree.root.blk);
	p->dir = err ? 0 : tree_blk(txn, at.dir);
	p->extents = err ? 0 : tree_blk(txn, at.file);
	p->nr_blks = csv_fs_geometry(csv_txn_fs(txn))->nr_blks;
	p->ag0 = csv_fs_geometry(csv_txn_fs(txn))->ag0_blk;
	return p->dir && p->extents ? err : -ERR_WAIT;
}

static void test_flips(void)
{
	struct places p;
	struct engine e;

	begin(&e);
	CHECK_OK(test_op_sync(&e, find_places, &p));
	CHECK_OK(engine_close(&e));
	const struct {
		uint64_t blk;
		const char *code;
	} flips[] = {
		{ CSV_SB_BLK, "sb-copy" },
		{ CSV_SB_COPY_BLK, "sb-copy" },
		{ p.nr_blks - 1, "sb-copy" },
		{ CSV_ROOT_BLK, "bad-block" },
		{ p.ag0, "bad-block" },
		{ p.ag0 + 1, "bad-block" },
		{ p.inodes, "bad-block" },
		{ p.dir, "bad-block" },
		{ p.extents, "bad-block" },
		{ CSV_SESS_BLK + 63, "bad-block" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(flips); i++) {
		for (uint32_t byte = 0; byte < CSV_BLOCK_BYTES; byte = byte * 2 + 3) {
			edit_block(&e, flips[i].blk, byte, 1 << byte % 8);
			engine_open(&e, 0);
			expect_code(&e, flips[i].code);
			if (byte == 3)
				use(&e);
			CHECK_OK(engine_close(&e));
			edit_block(&e, flips[i].blk, byte, 1 << byte % 8);
			if (byte == 3) { /* use() has changed it */
				engine_mkfs(e.queue);
				engine_open(&e, 0);
				populate(&e);
				CHECK_OK(test_op_sync(&e, find_places, &p));
				CHECK_OK(engine_close(&e));
			}
		}
	}
	engine_open(&e, 0);
	t_check(&e);
	CHECK_OK(engine_close(&e));
	engine_done(&e);
}

static void test_read_error(void)
{
	struct bdev_fault_rule rule = { .op_mask = 1u << BDEV_READ, .nth = 4, .err = -EIO };
	struct engine e;

	begin(&e);
	CHECK_OK(engine_close(&e));
	engine_open(&e, 0);
	bdev_fault_set(e.fault, &rule);
	expect_code(&e, "read-error");
	bdev_fault_set(e.fault, NULL);
	t_check(&e);
	CHECK_OK(engine_close(&e));
	engine_done(&e);
}

/* ---- lies with right checksums ---- */

static uint64_t rng_state = 88172645463325252ull;

static uint64_t rnd(uint64_t n)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state % n;
}

/* Changes a few bytes of a block, where they mean something, and the checksum. */
static void lie(uint8_t *block)
{
	struct csv_blk_hdr *h = (struct csv_blk_hdr *)block;
	struct csv_tree_node *n = (struct csv_tree_node *)block;
	uint32_t from = 0x30, len = le32_get(h->len) - from;

	for (uint64_t i = rnd(3) + 1; i > 0; i--) {
		uint32_t byte = from + rnd(rnd(2) ? MIN(len, 0x100) : len);

		if (le16_get(h->type) == CSV_BT_TREE && rnd(2)) /* a byte of a value */
			byte = MIN(4095, le16_get(n->low) + rnd(4096 - le16_get(n->low) + 1));
		block[byte] = rnd(3) ? block[byte] ^ 1u << rnd(8) : (uint8_t)rnd(256);
	}
	h->crc = le32_of(0);
	h->crc = le32_of(crc32c(0, block, CSV_BLOCK_BYTES));
}

/* Places of all metadata blocks but the superblocks and the log. */
static uint32_t list_blocks(const uint8_t *image, uint64_t nr_blks, uint64_t *ret, uint32_t max)
{
	uint32_t nr = 0;

	for (uint64_t blk = 2; blk < nr_blks - 1 && nr < max; blk++) {
		const struct csv_blk_hdr *h = (const void *)(image + blk * CSV_BLOCK_BYTES);
		uint16_t type = le16_get(h->type);

		if (le32_get(h->magic) == CSV_MAGIC && le64_get(h->blkno) == blk && type >= 2 &&
			type <= 5)
			ret[nr++] = blk;
	}
	return nr;
}

static void write_image(struct engine *e, const uint8_t *image, uint64_t bytes)
{
	static const uint8_t zeroes[CSV_BLOCK_BYTES];

	for (uint64_t off = 0; off < bytes; off += CSV_BLOCK_BYTES)
		if (memcmp(image + off, zeroes, CSV_BLOCK_BYTES))
			CHECK_OK(bdev_pwrite(e->queue, image + off, CSV_BLOCK_BYTES, off));
}

/* Whatever the metadata says: the check ends, the engine answers; and where the check has nothing
 * to say, the engine finds nothing wrong either. */
static void test_lies(uint32_t rounds)
{
	uint64_t bytes = 32 << 20, *blks = malloc(sizeof(*blks) * 4096), unseen = 0;
	uint8_t *image = malloc(bytes);
	struct csv_check_report report;
	struct engine e;
	uint32_t nr;

	CHECK(blks && image);
	engine_device(&e, "ram:32M", true, 0, 0);
	engine_open(&e, 0);
	populate(&e);
	CHECK_OK(engine_close(&e));
	CHECK_OK(bdev_pread(e.queue, image, bytes, 0));
	engine_done(&e);
	nr = list_blocks(image, bytes / CSV_BLOCK_BYTES, blks, 4096);
	CHECK(nr > 15);
	for (uint32_t round = 0; round < rounds; round++) {
		uint8_t *block = image + blks[rnd(nr)] * CSV_BLOCK_BYTES, old[CSV_BLOCK_BYTES];

		memcpy(old, block, sizeof(old));
		lie(block);
		engine_device(&e, "ram:32M", false, 0, 0);
		write_image(&e, image, bytes);
		memcpy(block, old, sizeof(old));
		engine_open(&e, 0);
		CHECK_OK(csv_check(e.fs, NULL, NULL, &report));
		unseen += report.errors == 0;
		nr_corrupt = 0;
		use(&e);
		if (report.errors == 0 && nr_corrupt) {
			fprintf(stderr, "round %u: the check has nothing to say, the engine has\n",
				round);
			exit(1);
		}
		CHECK_OK(engine_close(&e));
		engine_done(&e);
	}
	printf("%u lies, %llu of them without meaning\n", rounds, (unsigned long long)unseen);
	CHECK(unseen < rounds / 2);
	free(image);
	free(blks);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!getenv("SHOW_LOG"))
		log_set_level((enum log_level)-1); /* there are thousands of errors */
	if (argc > 1) { /* more of them */
		test_lies(strtoul(argv[1], NULL, 0));
		return 0;
	}
	test_corrupters();
	test_flips();
	test_lies(60);
	test_read_error();
	return 0;
}
