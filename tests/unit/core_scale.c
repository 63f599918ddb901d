/* libs: util blockdev journal core */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What metadata costs hardly depends on how much of it there is. Counts blocks and runs, not time: of a
 * volume with few names in a directory, and of one of the same size with a hundred times as many.
 */
#include "tests/unit/core_ops.h"

#define FEW 1000u
#define MANY 100000u
#define PER_TXN 24u
#define SAMPLES 200u
#define SMALL_CACHE (256u * CSV_BLOCK_BYTES)
#define PART 200u /* names of a listing that are asked for at once */

struct cost { /* the largest that was met, unless it says otherwise */
	uint32_t lookup, create, remove;      /* blocks that a transaction looks at */
	uint32_t create_writes, remove_writes; /* that it changes */
	uint64_t lookup_reads; /* from the device, all samples together; next to nothing is cached */
	uint64_t mount_reads, statfs_reads;
	uint64_t list_runs, list_reads; /* of a whole listing with attributes, nothing cached */
	uint64_t peak_blks;		/* cached during that */
	uint64_t list_blks, tree_blks;
};

struct names {
	uint64_t dir;
	uint32_t first, nr;
	uint32_t touched, writes;
};

static uint32_t name_of(uint32_t i, char *name)
{
	return (uint32_t)sprintf(name, "file-%08u", i);
}

static uint64_t reads(const struct engine *e)
{
	struct bdev_counters c;

	bdev_counters(e->stats, &c);
	return c.bytes[BDEV_READ] / CSV_BLOCK_BYTES;
}

static uint64_t writes(const struct engine *e)
{
	struct bdev_counters c;

	bdev_counters(e->stats, &c);
	return c.bytes[BDEV_WRITE] / CSV_BLOCK_BYTES;
}

/* ---- several names in one transaction */

static void note(struct csv_txn *txn, struct names *n)
{
	n->touched = txn->nr_touched;
	n->writes = csv_txn_nr_blks(txn);
}

static int run_make(struct csv_txn *txn, void *arg)
{
	struct csv_attr attr, proto = { .mode = S_IFREG | 0644, .ctime_ns = 100 };
	struct names *n = arg;
	char name[32];

	for (uint32_t i = n->first; i < n->first + n->nr; i++) {
		int err = csv_create(txn, n->dir, name, name_of(i, name), &proto, NULL, 0, &attr);

		if (err)
			return err;
	}
	note(txn, n);
	return 0;
}

static int run_drop(struct csv_txn *txn, void *arg)
{
	struct names *n = arg;
	struct csv_attr attr;
	char name[32];

	for (uint32_t i = n->first; i < n->first + n->nr; i++) {
		int err = csv_unlink(txn, n->dir, name, name_of(i, name), false, 200, &attr);

		if (!err)
			err = csv_orphan_free(txn, attr.ino);
		if (err)
			return err;
	}
	note(txn, n);
	return 0;
}

static int run_find(struct csv_txn *txn, void *arg)
{
	struct names *n = arg;
	struct csv_attr attr;
	char name[32];
	int err = csv_lookup(txn, n->dir, name, name_of(n->first, name), &attr);

	note(txn, n);
	return err;
}

static void fill(struct engine *e, uint64_t dir, uint32_t nr)
{
	for (uint32_t at = 0; at < nr; at += PER_TXN) {
		struct names n = { .dir = dir, .first = at, .nr = MIN(PER_TXN, nr - at) };

		CHECK_OK(test_op_sync(e, run_make, &n));
	}
}

/* ---- a whole listing, in parts */

struct list_part {
	struct engine *e;
	uint64_t dir, after;
	uint32_t nr;
	struct cost *cost;
};

static bool list_entry_cb(void *arg, const struct csv_dirent *ent, const struct csv_attr *attr)
{
	struct list_part *l = arg;

	CHECK(attr && attr->ino == ent->ino);
	if (l->nr == PART)
		return false;
	l->nr++;
	l->after = ent->cookie;
	return true;
}

static int run_list(struct csv_txn *txn, void *arg)
{
	struct list_part *l = arg;
	uint64_t after = l->after;
	struct buf_pool_stats pool;
	int err;

	l->nr = 0;
	err = csv_readdir(txn, l->dir, after, true, list_entry_cb, l);
	if (err) /* it is run again */
		l->after = after;
	buf_pool_stats(txn->fs->cache.pool, &pool);
	l->cost->peak_blks = MAX(l->cost->peak_blks, pool.used_bytes / CSV_BLOCK_BYTES);
	l->cost->list_runs++;
	return err;
}

static void list_all(struct engine *e, uint64_t dir, uint32_t want, struct cost *cost)
{
	struct list_part l = { .e = e, .dir = dir, .cost = cost };
	uint64_t before = reads(e);
	uint32_t nr = 0;

	do {
		CHECK_OK(test_op_sync(e, run_list, &l));
		nr += l.nr;
		CHECK(e->fs->cache.nr_lru <= SMALL_CACHE / CSV_BLOCK_BYTES);
	} while (l.nr > 0);
	CHECK_EQ(nr, want);
	cost->list_reads = reads(e) - before;
}

/* ---- the measurements, on a volume of nr names */

/* Names far apart, not in the order of their inodes. */
static uint32_t sample(uint32_t i, uint32_t nr)
{
	return (uint32_t)((uint64_t)i * 7919 % nr);
}

static void measure_changes(struct engine *e, uint64_t dir, uint32_t nr, struct cost *cost)
{
	for (uint32_t i = 0; i < SAMPLES; i++) {
		struct names n = { .dir = dir, .first = nr + i, .nr = 1 };

		CHECK_OK(test_op_sync(e, run_make, &n));
		cost->create = MAX(cost->create, n.touched);
		cost->create_writes = MAX(cost->create_writes, n.writes);
	}
	for (uint32_t i = 0; i < SAMPLES; i++) {
		struct names n = { .dir = dir, .first = nr + i, .nr = 1 };

		CHECK_OK(test_op_sync(e, run_drop, &n));
		cost->remove = MAX(cost->remove, n.touched);
		cost->remove_writes = MAX(cost->remove_writes, n.writes);
	}
}

static void measure_lookups(struct engine *e, uint64_t dir, uint32_t nr, struct cost *cost)
{
	uint64_t before = reads(e);

	for (uint32_t i = 0; i < SAMPLES; i++) {
		struct names n = { .dir = dir, .first = sample(i, nr) };

		CHECK_OK(test_op_sync(e, run_find, &n));
		cost->lookup = MAX(cost->lookup, n.touched);
	}
	cost->lookup_reads = reads(e) - before;
}

/* What reads the log takes is bounded by the log, and what it writes. */
static void measure_takeover(struct engine *e, uint64_t dir, uint32_t nr)
{
	struct names n = { .dir = dir, .first = nr, .nr = 1 };
	struct csv_statfs st;
	struct jnl_stats log;
	uint64_t read_before, written_before;

	for (; n.first < nr + SAMPLES; n.first++)
		CHECK_OK(test_op_sync(e, run_make, &n));
	jnl_stats(csv_fs_journal(e->fs), &log);
	CHECK(log.used_blks >= SAMPLES); /* else this shows nothing */
	csv_fs_free(e->fs);		 /* no csv_fs_close(): the log is not empty */
	read_before = reads(e);
	written_before = writes(e);
	engine_open(e, 0);
	/* journal_replay.c: behind the end, ahead */
	CHECK(reads(e) - read_before <= log.used_blks + JNL_REC_BLKS + 32 * 16 + 8);
	CHECK(writes(e) - written_before <= log.used_blks + 4);
	CHECK_OK(t_statfs(e, &st));
	CHECK_EQ(st.nr_inodes, 2 + nr + SAMPLES);
}

static struct cost measure(uint32_t nr)
{
	struct cost cost = { 0 };
	struct csv_check_report report;
	struct csv_statfs st;
	struct csv_attr dir;
	struct engine e;
	uint64_t before;

	engine_device(&e, "ram:1G", true, 0, 0);
	engine_open(&e, 0);
	CHECK_OK(t_create(&e, CSV_ROOT_INO, "d", S_IFDIR | 0755, &dir));
	fill(&e, dir.ino, nr);
	measure_changes(&e, dir.ino, nr, &cost);
	CHECK_OK(engine_close(&e));

	before = reads(&e);
	engine_open(&e, SMALL_CACHE);
	cost.mount_reads = reads(&e) - before;
	CHECK_OK(t_statfs(&e, &st));
	cost.statfs_reads = reads(&e) - before - cost.mount_reads;
	CHECK_EQ(st.nr_inodes, 2 + nr);
	measure_lookups(&e, dir.ino, nr, &cost);
	CHECK_OK(engine_close(&e));

	engine_open(&e, SMALL_CACHE);
	list_all(&e, dir.ino, nr, &cost);
	measure_takeover(&e, dir.ino, nr);
	report = t_check(&e);
	cost.tree_blks = report.tree_blks;
	CHECK_OK(engine_close(&e));
	engine_done(&e);
	printf("%u names: a lookup looks at %u blocks, a create at %u and changes %u, a removal at %u "
	       "and changes %u; %u lookups read %llu; mount %llu, statfs %llu; a listing runs %llu "
	       "times, reads %llu, at most %llu cached of %llu\n",
		nr, cost.lookup, cost.create, cost.create_writes, cost.remove, cost.remove_writes,
		SAMPLES, (unsigned long long)cost.lookup_reads, (unsigned long long)cost.mount_reads,
		(unsigned long long)cost.statfs_reads, (unsigned long long)cost.list_runs,
		(unsigned long long)cost.list_reads, (unsigned long long)cost.peak_blks,
		(unsigned long long)cost.tree_blks);
	return cost;
}

int main(void)
{
	struct cost few = measure(FEW), many = measure(MANY);

	/* A hundred times as many names are one level more, in each of two trees; a lookup passes the
	 * inode tree twice. */
	CHECK(few.lookup >= 4);
	CHECK(many.lookup <= few.lookup + 3);
	CHECK(many.lookup_reads <= (uint64_t)SAMPLES * many.lookup);
	/* One level more may split, or merge with a neighbour, too. */
	CHECK(many.create <= few.create + 6);
	CHECK(many.create_writes <= few.create_writes + 4);
	CHECK(many.remove <= few.remove + 8);
	CHECK(many.remove_writes <= few.remove_writes + 6);

	/* The log may begin near the end of its ring: one request more. */
	CHECK(few.mount_reads > 0 && many.mount_reads <= few.mount_reads + 32);
	CHECK_EQ(few.statfs_reads, 1);
	CHECK_EQ(many.statfs_reads, 1);

	/* Inodes are asked for together, each part of a listing runs some times; and nearly all that is
	 * met has to be read, as the cache holds little of it. */
	CHECK(many.list_runs <= MANY / 8);
	CHECK(many.list_reads <= MANY + MANY / 4 + many.tree_blks);

	/* The cache's limit, and what one listing and its reads hold. */
	CHECK(many.tree_blks > 20 * (SMALL_CACHE / CSV_BLOCK_BYTES));
	CHECK(many.peak_blks <= SMALL_CACHE / CSV_BLOCK_BYTES + 2 * PART);
	return 0;
}
