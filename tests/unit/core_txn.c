/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: util blockdev journal core */
/* Transactions and the driver: E1, E2, E4 of docs/DESIGN.md, the sticky error, closing. The blocks
 * that are played with are session blocks: any content is valid in them. */
#include "csvfs/core/btree_internal.h"
#include "tests/unit/core_engine.h"
#include "util/checked.h"

static int get_gen(struct csv_txn *txn, uint64_t blk, uint64_t *ret)
{
	const void *block;
	int err = csv_txn_read(txn, blk, CSV_BT_SESSION, &block);

	if (err == 0)
		*ret = le64_get(((const struct csv_session *)block)->generation);
	return err;
}

static int set_gen(struct csv_txn *txn, uint64_t blk, uint64_t gen)
{
	void *block;
	int err = csv_txn_write(txn, blk, CSV_BT_SESSION, &block);

	if (err == 0)
		((struct csv_session *)block)->generation = le64_of(gen);
	return err;
}

struct rw { /* what an operation of these tests does with some blocks */
	uint64_t blk, nr;
	uint64_t gen; /* to write, or what was read last */
	int status;   /* to return */
};

static int write_run(struct csv_txn *txn, void *arg)
{
	const struct rw *rw = arg;
	int err = 0;

	for (uint64_t i = 0; i < rw->nr && err == 0; i++)
		err = set_gen(txn, rw->blk + i, rw->gen);
	return err != 0 ? err : rw->status;
}

static int read_run(struct csv_txn *txn, void *arg)
{
	struct rw *rw = arg;
	int err = 0;

	for (uint64_t i = 0; i < rw->nr && err == 0; i++)
		err = get_gen(txn, rw->blk + i, &rw->gen);
	return err != 0 ? err : rw->status;
}

static uint64_t gen_of(struct engine *e, uint64_t blk)
{
	struct rw rw = { .blk = blk, .nr = 1 };

	CHECK_OK(test_op_sync(e, read_run, &rw));
	return rw.gen;
}

static uint64_t nr_reads(struct engine *e)
{
	struct bdev_counters c;

	bdev_counters(e->stats, &c);
	return c.ops[BDEV_READ];
}

static void start(struct engine *e, uint32_t read_ms, uint32_t write_ms, uint64_t cache_bytes)
{
	engine_device(e, "ram:64M", true, read_ms, write_ms);
	engine_open(e, cache_bytes);
}

static void stop(struct engine *e)
{
	CHECK_OK(engine_close(e));
	engine_done(e);
}

/* ---- E1 ---- */

struct hooks {
	struct csv_txn_hook h[3];
	char log[8];
	uint64_t seq;
	int status;
};

static struct hooks *hooks;

static void on_commit(struct csv_txn_hook *hook, uint64_t seq)
{
	hooks->log[strlen(hooks->log)] = (char)('A' + (hook - hooks->h));
	hooks->seq = seq;
}

static void on_abort(struct csv_txn_hook *hook)
{
	hooks->log[strlen(hooks->log)] = (char)('a' + (hook - hooks->h));
}

static int hooks_run(struct csv_txn *txn, void *arg)
{
	struct hooks *h = arg;
	struct csv_blk_hdr *hdr;
	void *block;
	int err;

	err = set_gen(txn, 130, 77);
	if (err != 0)
		return err;
	for (int i = 0; i < 3; i++) {
		h->h[i] = (struct csv_txn_hook){ .commit = on_commit, .abort = on_abort };
		csv_txn_hook(txn, &h->h[i]);
	}
	/* A block that is taken over, one that is forgotten. */
	err = csv_txn_new(txn, 131, CSV_BT_SESSION, 4, &block);
	if (err != 0)
		return err;
	hdr = block;
	CHECK_EQ(le64_get(hdr->owner), 4);
	((struct csv_session *)block)->generation = le64_of(78);
	csv_txn_forget(txn, 132);
	CHECK_EQ(get_gen(txn, 132, &h->seq), -ERR_CORRUPT);
	CHECK_EQ(csv_txn_nr_blks(txn), 2);
	return h->status;
}

static void test_all_or_nothing(void)
{
	struct rw rw = { .blk = 128, .nr = 10, .gen = 5 };
	struct hooks h = { .status = -ENOSPC };
	struct engine e;

	hooks = &h;
	start(&e, 0, 0, 0);
	CHECK_OK(test_op_sync(&e, write_run, &rw));
	rw = (struct rw){ .blk = 125 + 4, .nr = 10, .gen = 6, .status = -EEXIST };
	CHECK_EQ(test_op_sync(&e, write_run, &rw), -EEXIST);
	for (uint64_t blk = 128; blk < 138; blk++)
		CHECK_EQ(gen_of(&e, blk), 5);
	CHECK_EQ(gen_of(&e, 138), 0);

	CHECK_EQ(test_op_sync(&e, hooks_run, &h), -ENOSPC);
	CHECK(strcmp(h.log, "cba") == 0);
	for (uint64_t blk = 128; blk < 138; blk++)
		CHECK_EQ(gen_of(&e, blk), 5);
	memset(&h, 0, sizeof(h));
	CHECK_OK(test_op_sync(&e, hooks_run, &h));
	CHECK(strcmp(h.log, "ABC") == 0);
	CHECK(h.seq > 0 && h.seq <= jnl_written_seq(csv_fs_journal(e.fs)));
	CHECK_EQ(gen_of(&e, 130), 77);
	CHECK_EQ(gen_of(&e, 131), 78);
	stop(&e);
}

static int too_many_run(struct csv_txn *txn, void *arg)
{
	for (uint32_t i = 0; i < JNL_TXN_MAX_BLOCKS + 8; i++) {
		uint64_t blk;
		void *block;
		int err = csv_alloc_meta(txn, 0, &blk);

		if (err == 0)
			err = csv_txn_new(txn, blk, CSV_BT_TREE, 1, &block);
		if (err != 0)
			return err;
	}
	return 0;
}

static int statfs_run(struct csv_txn *txn, void *arg)
{
	return csv_statfs(txn, arg);
}

static void test_bound(void)
{
	struct csv_statfs before, after;
	struct engine e;

	start(&e, 0, 0, 0);
	CHECK_OK(test_op_sync(&e, statfs_run, &before));
	CHECK_EQ(test_op_sync(&e, too_many_run, NULL), -EFBIG);
	CHECK_OK(test_op_sync(&e, statfs_run, &after));
	CHECK_EQ(before.free_blks, after.free_blks);
	CHECK_EQ(e.failed, 0);
	stop(&e);
}

/* A block's life: made, forgotten and restored, forgotten for good, made anew. */
struct life {
	uint64_t blk;
	int status;
	enum { MAKE, FORGET, AGAIN, LOOK } what;
};

static int life_run(struct csv_txn *txn, void *arg)
{
	struct csv_tree_node *n;
	struct life *life = arg;
	const void *cblock;
	void *block;
	int err = 0;

	if (life->what == LOOK)
		return csv_txn_read(txn, life->blk, CSV_BT_TREE, &cblock);
	if (life->what == MAKE)
		err = csv_alloc_meta(txn, 0, &life->blk);
	if (err == 0 && life->what != FORGET) {
		err = csv_txn_new(txn, life->blk, CSV_BT_TREE, 1, &block);
		if (err == 0) {
			node_init(block, 0);
			node_insert(block, 0, 1, "x", 1);
		}
	}
	if (err == 0 && life->what == FORGET) {
		err = csv_txn_write(txn, life->blk, CSV_BT_TREE, &block);
		if (err != 0)
			return err;
		n = block;
		node_remove(n, 0); /* not fit for the log any more */
		csv_txn_forget(txn, life->blk);
		err = set_gen(txn, 128, 9); /* something to commit */
	}
	return err != 0 ? err : life->status;
}

static void test_forget(void)
{
	struct life life = { .what = MAKE };
	struct test_op op[3];
	struct life lives[3];
	struct engine e;

	start(&e, 0, 0, 0);
	CHECK_OK(test_op_sync(&e, life_run, &life));
	life.what = FORGET;
	life.status = -EIO;
	CHECK_EQ(test_op_sync(&e, life_run, &life), -EIO);
	life.status = 0;
	life.what = LOOK;
	CHECK_OK(test_op_sync(&e, life_run, &life));
	life.what = FORGET;
	CHECK_OK(test_op_sync(&e, life_run, &life));
	life.what = AGAIN;
	CHECK_OK(test_op_sync(&e, life_run, &life));
	life.what = LOOK;
	CHECK_OK(test_op_sync(&e, life_run, &life));

	/* Forgotten while the open compound has it: the log gets the last valid content. */
	life.what = AGAIN;
	lives[0] = life;
	life.what = FORGET;
	lives[1] = life;
	life.what = LOOK;
	lives[2] = life;
	for (int i = 0; i < 3; i++)
		test_op_submit(&e, &op[i], life_run, &lives[i]);
	RUN_UNTIL(&e, op[0].done && op[1].done && op[2].done);
	CHECK_OK(op[0].status);
	CHECK_OK(op[1].status);
	CHECK_EQ(op[2].status, -ERR_CORRUPT);
	CHECK_EQ(e.failed, 0);
	stop(&e);
}

/* ---- E2 ---- */

static void test_waiting(void)
{
	struct rw many = { .blk = 128, .nr = 8 }, one[10];
	struct test_op slow, ops[10], fast;
	uint64_t reads;
	struct engine e;

	start(&e, 5, 0, 0);
	reads = nr_reads(&e);
	test_op_submit(&e, &slow, read_run, &many);
	for (int i = 0; i < 10; i++) {
		one[i] = (struct rw){ .blk = 128, .nr = 1 };
		test_op_submit(&e, &ops[i], read_run, &one[i]);
	}
	RUN_UNTIL(&e, slow.done);
	CHECK_OK(slow.status);
	CHECK_EQ(slow.runs, 9);
	CHECK_EQ(nr_reads(&e) - reads, 8); /* no block was read twice */
	for (int i = 0; i < 10; i++) {
		CHECK(ops[i].done && ops[i].status == 0 && ops[i].runs == 2);
		CHECK(i == 0 || ops[i].order > ops[i - 1].order);
	}
	/* One that waits is overtaken by one that need not. */
	many.blk = 140;
	test_op_submit(&e, &slow, read_run, &many);
	test_op_submit(&e, &fast, read_run, &one[0]);
	RUN_UNTIL(&e, slow.done && fast.done);
	CHECK(fast.order < slow.order);
	CHECK_EQ(fast.runs, 1);
	stop(&e);
}

static void test_tiny_cache(void)
{
	struct rw rw[8];
	struct test_op ops[8];
	uint32_t nr_done = 0;
	struct engine e;

	start(&e, 1, 0, 4096);
	for (int i = 0; i < 8; i++) {
		rw[i] = (struct rw){ .blk = 128 + i * 5, .nr = 20, .gen = 3 };
		test_op_submit(&e, &ops[i], i % 2 ? write_run : read_run, &rw[i]);
	}
	while (nr_done < 8) {
		loop_run_once(e.loop, true);
		nr_done = 0;
		for (int i = 0; i < 8; i++)
			nr_done += ops[i].done;
	}
	for (int i = 0; i < 8; i++) {
		CHECK_OK(ops[i].status);
		CHECK(ops[i].runs <= 21); /* what was read for it stays until it ran */
	}
	CHECK(e.fs->cache.nr_lru <= 1);
	stop(&e);
}

static void test_bad_reads(void)
{
	struct bdev_fault_rule rule = { 1u << BDEV_READ, 1, -EIO, false };
	struct rw rw[3] = { { .blk = 150, .nr = 1 }, { .blk = 150, .nr = 1 }, { .blk = 151, .nr = 1 } };
	uint8_t block[CSV_BLOCK_BYTES];
	struct test_op ops[3];
	struct engine e;

	start(&e, 0, 0, 0);
	CHECK_OK(bdev_pread(e.queue, block, sizeof(block), 152 * CSV_BLOCK_BYTES));
	block[3000] ^= 1;
	CHECK_OK(bdev_pwrite(e.queue, block, sizeof(block), 152 * CSV_BLOCK_BYTES));
	CHECK_OK(bdev_pread(e.queue, block, sizeof(block), 154 * CSV_BLOCK_BYTES));
	CHECK_OK(bdev_pwrite(e.queue, block, sizeof(block), 153 * CSV_BLOCK_BYTES));

	bdev_fault_set(e.fault, &rule);
	for (int i = 0; i < 3; i++)
		test_op_submit(&e, &ops[i], read_run, &rw[i]);
	RUN_UNTIL(&e, ops[0].done && ops[1].done && ops[2].done);
	CHECK_EQ(ops[0].status, -EIO); /* both who waited */
	CHECK_EQ(ops[1].status, -EIO);
	CHECK_OK(ops[2].status);
	CHECK_EQ(ops[0].runs, 1);
	bdev_fault_set(e.fault, NULL);
	CHECK_EQ(gen_of(&e, 150), 0); /* the next tries again */

	rw[0].blk = 152; /* a bit has flipped */
	CHECK_EQ(test_op_sync(&e, read_run, &rw[0]), -ERR_CORRUPT);
	rw[0].blk = 153; /* another block's content */
	CHECK_EQ(test_op_sync(&e, read_run, &rw[0]), -ERR_CORRUPT);
	rw[0].blk = CSV_ROOT_BLK; /* another type */
	CHECK_EQ(test_op_sync(&e, read_run, &rw[0]), -ERR_CORRUPT);
	rw[0].blk = csv_fs_geometry(e.fs)->nr_blks;
	CHECK_EQ(test_op_sync(&e, read_run, &rw[0]), -ERR_CORRUPT);
	rw[0].blk = UINT64_MAX;
	CHECK_EQ(test_op_sync(&e, read_run, &rw[0]), -ERR_CORRUPT);
	CHECK_EQ(e.failed, 0);
	stop(&e);
}

/* ---- E4 ---- */

static void test_answers_wait(void)
{
	struct rw wr = { .blk = 128, .nr = 1, .gen = 5 }, rd = { .blk = 128, .nr = 1 };
	struct rw rd_err = { .blk = 128, .nr = 1, .status = -ENOENT };
	struct rw other = { .blk = 129, .nr = 1 };
	struct test_op op_wr, op_rd, op_err, op_other;
	struct engine e;

	start(&e, 0, 30, 0);
	CHECK_EQ(gen_of(&e, 128) + gen_of(&e, 129), 0);
	test_op_submit(&e, &op_wr, write_run, &wr);
	test_op_submit(&e, &op_rd, read_run, &rd);
	test_op_submit(&e, &op_err, read_run, &rd_err);
	test_op_submit(&e, &op_other, read_run, &other);
	RUN_UNTIL(&e, op_wr.done && op_rd.done && op_err.done && op_other.done);
	CHECK_OK(op_wr.status);
	CHECK_OK(op_rd.status);
	CHECK_EQ(op_err.status, -ENOENT);
	CHECK_EQ(rd.gen, 5);
	CHECK(op_wr.touch_seq > 0 && op_wr.written_seq >= op_wr.touch_seq);
	CHECK_EQ(op_rd.touch_seq, op_wr.touch_seq);
	CHECK(op_rd.written_seq >= op_rd.touch_seq);
	CHECK_EQ(op_err.touch_seq, op_wr.touch_seq);
	CHECK(op_err.written_seq >= op_err.touch_seq);
	/* What has nothing to do with it does not wait. */
	CHECK(op_other.order < op_wr.order && op_other.written_seq < op_wr.touch_seq);
	stop(&e);
}

/* Likewise when the buffer was evicted meanwhile and comes back from the journal. */
static void test_answers_wait_evicted(void)
{
	struct rw wr = { .blk = 128, .nr = 1, .gen = 5 }, rd = { .blk = 128, .nr = 1 };
	struct test_op op_wr, op_rd;
	struct csv_buf *buf;
	uint64_t peeks;
	struct engine e;

	start(&e, 0, 100, 1); /* no clean block stays */
	test_op_submit(&e, &op_wr, write_run, &wr);
	RUN_UNTIL(&e, op_wr.runs == 2 && csv_cache_find(&e.fs->cache, 128) == NULL);
	buf = csv_cache_find(&e.fs->cache, 128);
	CHECK(buf == NULL && !op_wr.done);
	peeks = e.fs->cache.peeks;
	test_op_submit(&e, &op_rd, read_run, &rd);
	RUN_UNTIL(&e, op_wr.done && op_rd.done);
	CHECK(e.fs->cache.peeks > peeks);
	CHECK_EQ(rd.gen, 5);
	CHECK_EQ(op_rd.touch_seq, op_wr.touch_seq);
	CHECK(op_rd.written_seq >= op_rd.touch_seq);
	stop(&e);
}

/* ---- errors that stay ---- */

static void test_sticky(void)
{
	struct bdev_fault_rule rule = { 1u << BDEV_WRITE, 1, -EIO, true };
	struct rw rw[20], rd = { .blk = 128, .nr = 1 };
	struct test_op ops[20];
	struct engine_wait w = { 0 };
	uint32_t nr_done;
	struct engine e;

	start(&e, 0, 0, 0);
	rw[0] = (struct rw){ .blk = 128, .nr = 5, .gen = 1 };
	CHECK_OK(test_op_sync(&e, write_run, &rw[0]));
	bdev_fault_set(e.fault, &rule);
	for (int i = 0; i < 20; i++) {
		rw[i] = (struct rw){ .blk = 128 + i, .nr = 5, .gen = 2 };
		test_op_submit(&e, &ops[i], write_run, &rw[i]);
	}
	do {
		loop_run_once(e.loop, true);
		nr_done = 0;
		for (int i = 0; i < 20; i++)
			nr_done += ops[i].done;
	} while (nr_done < 20);
	for (int i = 0; i < 20; i++)
		CHECK_EQ(ops[i].status, -EIO);
	CHECK_EQ(csv_fs_error(e.fs), -EIO);
	RUN_UNTIL(&e, e.failed > 0);
	bdev_fault_set(e.fault, NULL); /* too late */
	CHECK_EQ(test_op_sync(&e, read_run, &rd), -EIO);
	CHECK_EQ(test_op_sync(&e, write_run, &rw[0]), -EIO);
	csv_fs_sync(e.fs, engine_wait_done, &w);
	RUN_UNTIL(&e, w.done);
	CHECK_EQ(w.status, -EIO);
	CHECK_EQ(e.failed, 1);
	CHECK_EQ(engine_close(&e), -EIO);
	CHECK_EQ(e.failed, 1);

	engine_open(&e, 0); /* and what was answered is there */
	CHECK(gen_of(&e, 128) == 1 || gen_of(&e, 128) == 2);
	CHECK(gen_of(&e, 129) >= 1);
	stop(&e);
}

/* Each write or flush of the engine's fails once: no operation that was answered gets lost. */
static void test_each_fault(void)
{
	for (uint64_t nth = 1;; nth++) {
		struct bdev_fault_rule rule = { 1u << BDEV_WRITE | 1u << BDEV_FLUSH, nth, -EIO,
			false };
		struct engine_wait w = { 0 };
		uint64_t acked = 0, gen;
		bool fired;
		struct engine e;

		start(&e, 0, 0, 0);
		bdev_fault_set(e.fault, &rule);
		for (uint64_t i = 1; i <= 5; i++) {
			struct rw rw = { .blk = 128, .nr = 3, .gen = i };

			if (test_op_sync(&e, write_run, &rw) == 0)
				acked = i;
		}
		csv_fs_sync(e.fs, engine_wait_done, &w);
		RUN_UNTIL(&e, w.done);
		fired = bdev_fault_fired(e.fault) != 0;
		bdev_fault_set(e.fault, NULL);
		CHECK(fired == (csv_fs_error(e.fs) != 0));
		if (engine_close(&e) != 0)
			CHECK(fired);
		engine_open(&e, 0);
		gen = gen_of(&e, 128);
		CHECK(gen >= acked);
		CHECK(gen_of(&e, 129) == gen && gen_of(&e, 130) == gen);
		stop(&e);
		if (!fired)
			break;
		CHECK(nth < 1000);
	}
}

/* ---- log space, checkpoints, closing ---- */

static void test_full_log(void)
{
	struct rw rw[300], rd = { .blk = 190, .nr = 1 };
	struct test_op ops[300], op_rd;
	bool parked = false;
	struct engine e;

	start(&e, 0, 3, 0);
	CHECK_EQ(gen_of(&e, 190), 0);
	for (int i = 0; i < 300; i++) {
		rw[i] = (struct rw){ .blk = 128, .nr = 60, .gen = i + 1 };
		test_op_submit(&e, &ops[i], write_run, &rw[i]);
		/* A compound each, or they all fit into one. */
		if (i % 3 == 0)
			RUN_UNTIL(&e, ops[i].done || !list_empty(&e.fs->drv.no_room));
		if (!parked && !list_empty(&e.fs->drv.no_room)) {
			parked = true;
			test_op_submit(&e, &op_rd, read_run, &rd);
			RUN_UNTIL(&e, op_rd.done);
			CHECK_EQ(op_rd.runs, 1); /* who only reads needs no room */
		}
	}
	RUN_UNTIL(&e, ops[299].done);
	for (int i = 0; i < 300; i++) {
		CHECK(ops[i].done && ops[i].status == 0);
		CHECK(i == 0 || ops[i].order > ops[i - 1].order);
	}
	CHECK_EQ(gen_of(&e, 150), 300);
	stop(&e);
}

static int checkpoint_run(struct csv_txn *txn, void *arg)
{
	uint64_t *tail = arg;
	int err = csv_txn_want_checkpoint(txn);

	if (err == -ENOSPC)
		*tail = jnl_tail_seq(csv_fs_journal(csv_txn_fs(txn)));
	return err;
}

static void test_want_checkpoint(void)
{
	struct rw rw = { .blk = 128, .nr = 3, .gen = 1 };
	struct test_op wr, ck[2];
	uint64_t tail[2] = { 0, 0 };
	struct engine e;

	start(&e, 0, 2, 0);
	CHECK_EQ(gen_of(&e, 128) + gen_of(&e, 129) + gen_of(&e, 130), 0);
	test_op_submit(&e, &wr, write_run, &rw);
	test_op_submit(&e, &ck[0], checkpoint_run, &tail[0]);
	test_op_submit(&e, &ck[1], checkpoint_run, &tail[1]);
	RUN_UNTIL(&e, wr.done && ck[0].done && ck[1].done);
	for (int i = 0; i < 2; i++) {
		CHECK_EQ(ck[i].status, -ENOSPC);
		CHECK_EQ(ck[i].runs, 2);
	}
	/* What was committed when the checkpoint was asked for has left the log. */
	CHECK(tail[1] > wr.touch_seq);
	stop(&e);
}

static void test_close(void)
{
	struct rw rw[100];
	struct test_op ops[100], late;
	struct engine_wait w = { 0 };
	struct engine e;

	start(&e, 2, 1, 4096);
	for (int i = 0; i < 100; i++) {
		rw[i] = (struct rw){ .blk = 128 + i % 50, .nr = 3, .gen = i + 1 };
		test_op_submit(&e, &ops[i], i % 3 ? write_run : read_run, &rw[i]);
	}
	csv_fs_close(e.fs, engine_wait_done, &w);
	test_op_submit(&e, &late, read_run, &rw[0]);
	RUN_UNTIL(&e, w.done);
	CHECK_OK(w.status);
	for (int i = 0; i < 100; i++)
		CHECK(ops[i].done && ops[i].status == 0);
	CHECK(late.done);
	CHECK_EQ(late.status, -ESHUTDOWN);
	csv_fs_free(e.fs);
	engine_open(&e, 0);
	CHECK(gen_of(&e, 128 + 49) > 0);
	stop(&e);
}

/* ---- superblocks ---- */

static void smash(struct engine *e, uint64_t blk, uint32_t at)
{
	uint8_t block[CSV_BLOCK_BYTES];

	CHECK_OK(bdev_pread(e->queue, block, sizeof(block), blk * CSV_BLOCK_BYTES));
	block[at] ^= 0x10;
	CHECK_OK(bdev_pwrite(e->queue, block, sizeof(block), blk * CSV_BLOCK_BYTES));
}

/* Changes a field of the first superblock and makes its checksum right. */
static void reseal(struct engine *e, const struct csv_geometry *geom)
{
	uint8_t block[CSV_BLOCK_BYTES] = { 0 };

	((struct csv_blk_hdr *)block)->type = le16_of(CSV_BT_SUPER);
	csv_super_encode(block, geom);
	CHECK_OK(csv_blk_seal(block, 0, geom, 1, 0));
	CHECK_OK(bdev_pwrite(e->queue, block, sizeof(block), 0));
}

static void test_super(void)
{
	struct csv_geometry geom, again;
	uint8_t zero[CSV_BLOCK_BYTES] = { 0 };
	uint64_t last;
	struct engine e;

	engine_device(&e, "ram:64M", false, 0, 0);
	last = bdev_geom(e.stats).size_bytes / CSV_BLOCK_BYTES - 1;
	CHECK_EQ(csv_super_read(e.queue, &geom), -ERR_NOTCSV);
	engine_mkfs(e.queue);
	CHECK_OK(csv_super_read(e.queue, &geom));
	CHECK(strcmp(geom.label, "test") == 0 && geom.uuid[0] == 0xc5);
	smash(&e, 0, 0x88);
	CHECK_OK(csv_super_read(e.queue, &again));
	CHECK(memcmp(&geom, &again, sizeof(geom)) == 0);
	smash(&e, 1, 0x30);
	CHECK_OK(csv_super_read(e.queue, &again));
	smash(&e, last, 0xfff);
	CHECK_EQ(csv_super_read(e.queue, &again), -ERR_CORRUPT);
	CHECK_OK(bdev_pwrite(e.queue, zero, sizeof(zero), 0));
	CHECK_EQ(csv_super_read(e.queue, &again), -ERR_CORRUPT); /* still two that were one */
	CHECK_OK(bdev_pwrite(e.queue, zero, sizeof(zero), CSV_BLOCK_BYTES));
	CHECK_OK(bdev_pwrite(e.queue, zero, sizeof(zero), last * CSV_BLOCK_BYTES));
	CHECK_EQ(csv_super_read(e.queue, &again), -ERR_NOTCSV);

	again = geom;
	again.feat_incompat = 1ull << 63;
	reseal(&e, &again);
	CHECK_EQ(csv_super_read(e.queue, &again), -ERR_VERSION);
	again = geom;
	again.nr_blks *= 2;
	reseal(&e, &again);
	CHECK_EQ(csv_super_read(e.queue, &again), -ENOSPC);
	reseal(&e, &geom);
	CHECK_OK(csv_super_read(e.queue, &again));
	engine_done(&e);
}

int main(void)
{
	test_super();
	test_all_or_nothing();
	test_bound();
	test_forget();
	test_waiting();
	test_tiny_cache();
	test_bad_reads();
	test_answers_wait();
	test_answers_wait_evicted();
	test_sticky();
	test_each_fault();
	test_full_log();
	test_want_checkpoint();
	test_close();
	return 0;
}
