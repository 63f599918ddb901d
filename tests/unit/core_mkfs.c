/* libs: util blockdev journal core */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making volumes: plans, sizes, interruptions, and copies of the superblock. */
#include "tests/unit/core_ops.h"
#include "util/log.h"

static int plan(uint64_t bytes, uint32_t cluster, uint64_t journal, const char *label,
	struct csv_geometry *geom)
{
	struct csv_mkfs opts = { .uuid = { 1, 2, 3 }, .label = label, .cluster_bytes = cluster,
		.journal_bytes = journal };

	return csv_mkfs_plan(&opts, bytes, geom);
}

static void test_plan(void)
{
	const uint64_t mib = 1 << 20, tib = 1ull << 40;
	struct csv_geometry g;
	char label[65];

	CHECK_EQ(plan(32 * mib - 1, 0, 0, NULL, &g), -ENOSPC);
	CHECK_OK(plan(32 * mib, 0, 0, NULL, &g));
	CHECK_EQ(g.nr_blks, 8192);
	CHECK_EQ(g.cluster_blks, 16);
	CHECK_EQ(g.journal_nr_blks, 1024);
	CHECK_EQ(g.nr_ags, 1);
	CHECK_EQ(plan(64 * mib, 2048, 0, NULL, &g), -EINVAL);
	CHECK_EQ(plan(64 * mib, 12288, 0, NULL, &g), -EINVAL);
	CHECK_EQ(plan(64 * mib, 8 << 20, 0, NULL, &g), -EINVAL);
	CHECK_OK(plan(64 * mib, 4 << 20, 0, NULL, &g));
	CHECK_OK(plan(64 * mib, 4096, 0, NULL, &g));
	CHECK_EQ(plan(64 * mib, 0, 4096 * 255, NULL, &g), -EINVAL);
	CHECK_OK(plan(64 * mib, 0, 4096 * 256, NULL, &g));
	CHECK_EQ(plan(64 * mib, 0, 40 * mib, NULL, &g), -ENOSPC);
	memset(label, 'l', sizeof(label));
	label[64] = 0;
	CHECK_EQ(plan(64 * mib, 0, 0, label, &g), -EINVAL);
	label[63] = 0;
	CHECK_OK(plan(64 * mib, 0, 0, label, &g));
	CHECK_EQ(strlen(g.label), 63);
	/* All of it is used, whatever the size: at most a short last group is left away. */
	for (uint64_t bytes = 32 * mib; bytes < 3000 * tib; bytes = bytes * 5 / 3 + 4096) {
		uint64_t end;

		CHECK_OK(plan(bytes, 0, 0, NULL, &g));
		CHECK(g.ag_blks % CSV_BITMAP_BITS == 0 && g.ag_blks / CSV_BITMAP_BITS <= 32);
		CHECK_EQ(g.ag0_blk % g.cluster_blks, 0);
		CHECK(g.ag0_blk >= g.journal_blk + g.journal_nr_blks);
		end = g.ag0_blk + g.nr_ags * g.ag_blks;
		CHECK(end + 100 >= g.nr_blks - 1);
		CHECK(end - g.ag_blks + 33 + 64 <= g.nr_blks - 1);
	}
}

static void test_sizes(void)
{
	static const struct {
		const char *uri;
		uint32_t cluster;
	} sizes[] = { { "ram:32M", 4096 }, { "ram:33M", 4 << 20 }, { "ram:100M", 0 },
		{ "ram:127M", 0 }, { "ram:1100M", 0 }, { "ram:9000M", 1 << 20 } };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct csv_geometry geom, got;
		struct csv_statfs st;
		struct csv_attr a;
		struct engine e;

		engine_device(&e, sizes[i].uri, false, 0, 0);
		CHECK_OK(plan(bdev_geom(e.ram).size_bytes, sizes[i].cluster, 0, "lab", &geom));
		CHECK_OK(csv_mkfs_write(e.queue, &geom, NULL, NULL));
		CHECK_OK(csv_super_read(e.queue, &got));
		CHECK(memcmp(&geom.uuid, &got.uuid, 16) == 0 && strcmp(got.label, "lab") == 0);
		CHECK(got.ag0_blk == geom.ag0_blk && got.nr_ags == geom.nr_ags &&
			got.ag_blks == geom.ag_blks && got.hash_seed == geom.hash_seed);
		engine_open(&e, 0);
		CHECK_OK(t_statfs(&e, &st));
		CHECK(st.free_blks > st.nr_blks * 3 / 4);
		CHECK_EQ(st.nr_inodes, 1);
		CHECK_OK(t_create(&e, CSV_ROOT_INO, "f", S_IFREG, &a));
		CHECK_OK(t_alloc(&e, a.ino, 0, 2000));
		t_check(&e);
		CHECK_OK(engine_close(&e));
		engine_done(&e);
	}
}

static void count(void *arg, uint64_t done, uint64_t total)
{
	uint64_t *last = arg;

	CHECK(done == *last + 1 && done <= total);
	*last = done;
}

static void only_copies(void *arg, const char *text)
{
	CHECK(strncmp(text, "sb-copy:", 8) == 0);
}

/* A failed write at any place: afterwards there is no volume, old or new. */
static void test_interrupted(void)
{
	struct csv_geometry geom, got;
	struct engine e;
	uint64_t nth, last = 0;
	int err = -EIO;

	engine_device(&e, "ram:300M", true, 0, 0); /* the old one */
	CHECK_OK(plan(bdev_geom(e.ram).size_bytes, 0, 0, NULL, &geom));
	for (nth = 1; err; nth++) {
		struct bdev_fault_rule rule = { .op_mask = 1u << BDEV_WRITE | 1u << BDEV_FLUSH |
			1u << BDEV_WRITE_ZEROES, .nth = nth, .err = -EIO, .sticky = true };

		bdev_fault_set(e.fault, &rule);
		last = 0;
		err = csv_mkfs_write(e.queue, &geom, count, &last);
		bdev_fault_set(e.fault, NULL);
		if (!err)
			break;
		CHECK_EQ(err, -EIO);
		err = csv_super_read(e.queue, &got);
		if (nth > 4 && last == 0)
			CHECK_EQ(err, -ERR_NOTCSV);
		if (err == 0 && nth > 4) { /* only copies are missing: it is whole */
			struct csv_check_report report;

			engine_open(&e, 0);
			CHECK_OK(csv_check(e.fs, only_copies, NULL, &report));
			CHECK(report.errors <= 2);
			CHECK_OK(engine_close(&e));
		}
		err = -EIO;
	}
	CHECK(nth > 20);
	CHECK_EQ(last, geom.nr_ags);
	engine_open(&e, 0);
	t_check(&e);
	CHECK_OK(engine_close(&e));
	geom.nr_blks++;
	CHECK_EQ(csv_mkfs_write(e.queue, &geom, NULL, NULL), -ENOSPC);
	engine_done(&e);
}

static void wipe(struct engine *e, uint64_t blk)
{
	static const uint8_t zeroes[CSV_BLOCK_BYTES];

	CHECK_OK(bdev_pwrite(e->queue, zeroes, sizeof(zeroes), blk * CSV_BLOCK_BYTES));
}

static void test_copies(void)
{
	struct csv_geometry geom;
	struct engine e;
	uint64_t last;

	engine_device(&e, "ram:64M", true, 0, 0);
	last = bdev_geom(e.ram).size_bytes / CSV_BLOCK_BYTES - 1;
	wipe(&e, 0);
	CHECK_OK(csv_super_read(e.queue, &geom));
	wipe(&e, 1);
	CHECK_OK(csv_super_read(e.queue, &geom));
	wipe(&e, last);
	CHECK_EQ(csv_super_read(e.queue, &geom), -ERR_NOTCSV);
	engine_done(&e);
}

int main(void)
{
	log_set_level((enum log_level)-1); /* damaged superblocks, on purpose */
	test_plan();
	test_sizes();
	test_interrupted();
	test_copies();
	return 0;
}
