/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A volume on a ram: device behind filters, and an engine on it, for tests of csvfs/core. */
#ifndef TESTS_UNIT_CORE_ENGINE_H
#define TESTS_UNIT_CORE_ENGINE_H

#include <errno.h>

#include "blockdev/bdev.h"
#include "csvfs/core/core_internal.h"
#include "tests/unit/test.h"
#include "util/loop.h"

struct engine {
	struct loop *loop;
	struct bdev *ram, *fault, *delay, *stats; /* stats is on top */
	struct bdev_queue *queue;
	struct csv_fs *fs;
	uint64_t epoch;
	int failed; /* calls of cfg.failed */
};

static inline uint64_t engine_deadline(void)
{
	return clock_mono_ns() + 60ull * 1000000000;
}

/* Runs the loop until *flag, or fails after a minute. */
#define RUN_UNTIL(e, cond)                                                                         \
	do {                                                                                       \
		uint64_t until_ = engine_deadline();                                               \
		while (!(cond)) {                                                                  \
			CHECK(clock_mono_ns() < until_);                                           \
			loop_run_once((e)->loop, true);                                            \
		}                                                                                  \
	} while (0)

static inline void engine_failed(void *arg, int err)
{
	(void)err;
	((struct engine *)arg)->failed++;
}

static inline void engine_mkfs(struct bdev_queue *queue)
{
	struct csv_mkfs opts = { .uuid = { 0xc5, 1, 2, 3 }, .label = "test" };
	uint64_t size = bdev_geom(bdev_queue_bdev(queue)).size_bytes;
	struct csv_geometry geom;

	CHECK_OK(csv_mkfs_plan(&opts, size, &geom));
	CHECK_OK(csv_mkfs_write(queue, &geom, NULL, NULL));
}

/* Device and queue; with an empty volume if mkfs is set. delay_ms of reads and writes. */
static inline void engine_device(struct engine *e, const char *uri, bool mkfs, uint32_t read_ms,
	uint32_t write_ms)
{
	struct bdev_fault_rule none = { 0 };
	struct bdev_delay delay = { { 0 } };
	char *error = NULL;

	memset(e, 0, sizeof(*e));
	CHECK_OK(loop_new(&e->loop));
	CHECK_OK(bdev_open(uri, NULL, &e->ram, &error));
	if (mkfs) { /* without delays */
		CHECK_OK(bdev_queue_open(e->ram, e->loop, &e->queue));
		engine_mkfs(e->queue);
		bdev_queue_close(e->queue);
	}
	CHECK_OK(bdev_fault_new(e->ram, &none, &e->fault));
	delay.ms[BDEV_READ] = read_ms;
	delay.ms[BDEV_WRITE] = write_ms;
	e->delay = e->fault;
	if (read_ms != 0 || write_ms != 0)
		CHECK_OK(bdev_delay_new(e->fault, &delay, &e->delay));
	CHECK_OK(bdev_stats_new(e->delay, &e->stats));
	CHECK_OK(bdev_queue_open(e->stats, e->loop, &e->queue));
}

struct engine_wait {
	int status;
	bool done;
};

static inline void engine_wait_done(void *arg, int status)
{
	struct engine_wait *w = arg;

	CHECK(!w->done);
	w->status = status;
	w->done = true;
}

static inline void engine_recovered(void *arg, int status, uint64_t records, uint64_t blks)
{
	(void)records;
	(void)blks;
	engine_wait_done(arg, status);
}

static inline void engine_open(struct engine *e, uint64_t cache_bytes)
{
	struct csv_fs_cfg cfg = {
		.queue = e->queue,
		.cache_bytes = cache_bytes,
		.failed = engine_failed,
		.arg = e,
	};
	struct engine_wait w = { 0 };
	struct jnl_header h;

	CHECK_OK(csv_fs_new(&cfg, &e->fs));
	CHECK_OK(jnl_read_header(e->queue, csv_fs_geometry(e->fs)->journal_blk,
		csv_fs_geometry(e->fs)->journal_nr_blks, csv_fs_geometry(e->fs)->uuid, &h));
	e->epoch = h.epoch + 1;
	CHECK_OK(csv_fs_recover(e->fs, e->epoch, 1, engine_recovered, &w));
	RUN_UNTIL(e, w.done);
	CHECK_OK(w.status);
}

static inline int engine_close(struct engine *e)
{
	struct engine_wait w = { 0 };

	csv_fs_close(e->fs, engine_wait_done, &w);
	RUN_UNTIL(e, w.done);
	csv_fs_free(e->fs);
	e->fs = NULL;
	return w.status;
}

static inline void engine_done(struct engine *e)
{
	bdev_queue_close(e->queue);
	bdev_close(e->stats);
	loop_free(e->loop);
}

/* An operation that is a function of the test. */
struct test_op {
	struct csv_op op;
	int (*fn)(struct csv_txn *txn, void *arg);
	void *arg;
	int runs, status;
	bool done;
	uint64_t order; /* of done, among all */
	uint64_t written_seq; /* of the journal, at done */
	uint64_t touch_seq;
	struct csv_fs *fs;
};

static uint64_t test_op_order;

static inline int test_op_run(struct csv_op *op, struct csv_txn *txn)
{
	struct test_op *t = container_of(op, struct test_op, op);

	t->runs++;
	return t->fn(txn, t->arg);
}

static inline void test_op_done(struct csv_op *op, int status)
{
	struct test_op *t = container_of(op, struct test_op, op);

	CHECK(!t->done);
	t->status = status;
	t->done = true;
	t->order = ++test_op_order;
	t->touch_seq = csv_op_state(op)->touch_seq;
	t->written_seq = jnl_written_seq(csv_fs_journal(t->fs));
}

static inline void test_op_submit(struct engine *e, struct test_op *t,
	int (*fn)(struct csv_txn *, void *), void *arg)
{
	memset(t, 0, sizeof(*t));
	t->op.run = test_op_run;
	t->op.done = test_op_done;
	t->fn = fn;
	t->arg = arg;
	t->fs = e->fs;
	csv_op_submit(e->fs, &t->op);
}

static inline int test_op_sync(struct engine *e, int (*fn)(struct csv_txn *, void *), void *arg)
{
	struct test_op t;

	memset(&t, 0, sizeof(t));
	t.op.run = test_op_run;
	t.op.done = test_op_done;
	t.fn = fn;
	t.arg = arg;
	t.fs = e->fs;
	return csv_op_sync(e->fs, &t.op);
}

#endif
