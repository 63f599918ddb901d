/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A journal on a ram device, with callbacks that count, for the tests of the journal. */
#ifndef TESTS_UNIT_JOURNAL_ENV_H
#define TESTS_UNIT_JOURNAL_ENV_H

#include <errno.h>

#include "blockdev/bdev.h"
#include "journal/journal_internal.h"
#include "tests/unit/test.h"

#define START 64u /* the log's first block */
#define NR_HOME 4096u

/* Home blocks lie behind the log; each live block holds {number, version}. */
struct env {
	struct loop *loop;
	struct bdev *fault, *dev;
	struct bdev_queue *queue;
	struct jnl *jnl;
	uint32_t nr_blks, home;
	uint64_t *live; /* NR_HOME blocks */
	uint32_t nr_sealed, nr_taken, nr_clean, nr_room, nr_failed;
	uint64_t tail;
	int failed, seal_err;
	int recovered;
	uint64_t nr_records, nr_replayed;
};

static const uint8_t uuid[16] = "journal unit tst";

static inline uint64_t *live(struct env *e, uint32_t blk)
{
	return e->live + (size_t)(blk - e->home) * JNL_BLOCK_BYTES / 8;
}

static inline int on_seal(void *arg, uint64_t blk, void *image, uint64_t epoch, uint64_t seq)
{
	struct env *e = arg;
	uint64_t *p = image;

	CHECK_EQ(p[0], blk);
	p[2] = epoch;
	p[3] = seq;
	e->nr_sealed++;
	return e->seal_err;
}

static inline void on_taken(void *arg, uint64_t blk)
{
	(void)blk;
	((struct env *)arg)->nr_taken++;
}

static inline void on_clean(void *arg, uint64_t blk)
{
	struct env *e = arg;

	CHECK(!jnl_peek(e->jnl, blk));
	e->nr_clean++;
}

static inline void on_tail(void *arg, uint64_t seq)
{
	struct env *e = arg;

	CHECK(seq > e->tail);
	CHECK_EQ(seq, jnl_tail_seq(e->jnl));
	e->tail = seq;
}

static inline void on_room(void *arg)
{
	((struct env *)arg)->nr_room++;
}

static inline void on_failed(void *arg, int err)
{
	struct env *e = arg;

	e->failed = err;
	e->nr_failed++;
}

static inline void on_recovered(void *arg, int status, uint64_t nr_records, uint64_t nr_blks)
{
	struct env *e = arg;

	e->recovered = status;
	e->nr_records = nr_records;
	e->nr_replayed = nr_blks;
}

#define RUN_UNTIL(e, cond)                                                                         \
	do {                                                                                       \
		uint64_t end_ = clock_mono_ns() + 10000000000ull;                                  \
		while (!(cond)) {                                                                  \
			CHECK(clock_mono_ns() < end_);                                             \
			loop_run_once((e)->loop, false);                                           \
		}                                                                                  \
	} while (0)

/* Nothing is in flight, and nothing would start. */
static inline void settle(struct env *e)
{
	for (int quiet = 0; quiet < 8;) {
		struct bdev_counters c;

		loop_run_once(e->loop, false);
		bdev_counters(e->fault, &c);
		quiet = c.in_flight ? 0 : quiet + 1;
	}
}

static inline void env_open(struct env *e, uint32_t nr_blks)
{
	struct bdev *ram;

	memset(e, 0, sizeof(*e));
	e->nr_blks = nr_blks;
	e->home = START + nr_blks;
	e->live = calloc(NR_HOME, JNL_BLOCK_BYTES);
	CHECK(e->live);
	for (uint32_t i = 0; i < NR_HOME; i++)
		live(e, e->home + i)[0] = e->home + i;
	CHECK_OK(loop_new(&e->loop));
	CHECK_OK(bdev_open("ram:256M", NULL, &ram, NULL));
	CHECK_OK(bdev_stats_new(ram, &e->dev));
	CHECK_OK(bdev_fault_new(e->dev, &(struct bdev_fault_rule){ 0 }, &e->fault));
	CHECK_OK(bdev_queue_open(e->fault, e->loop, &e->queue));
	CHECK_OK(jnl_format(e->queue, START, nr_blks, uuid, 1));
}

static inline void env_new_jnl(struct env *e)
{
	struct jnl_cfg cfg = {
		.queue = e->queue,
		.start_blk = START,
		.nr_blks = e->nr_blks,
		.seal = on_seal,
		.taken = on_taken,
		.clean = on_clean,
		.tail_moved = on_tail,
		.room = on_room,
		.failed = on_failed,
		.arg = e,
	};

	memcpy(cfg.uuid, uuid, 16);
	CHECK_OK(jnl_new(&cfg, &e->jnl));
	e->tail = 0;
}

static inline void env_recover(struct env *e, uint64_t epoch)
{
	env_new_jnl(e);
	e->recovered = 1;
	CHECK_OK(jnl_recover(e->jnl, epoch, 7, on_recovered, e));
	RUN_UNTIL(e, e->recovered != 1);
}

static inline void env_start(struct env *e, uint32_t nr_blks)
{
	env_open(e, nr_blks);
	env_recover(e, 2);
	CHECK_OK(e->recovered);
}

static inline void env_stop(struct env *e)
{
	if (e->jnl)
		jnl_free(e->jnl);
	settle(e);
	bdev_queue_close(e->queue);
	bdev_close(e->fault);
	loop_free(e->loop);
	free(e->live);
}

/* A waiter that says when. */
struct waiter {
	struct jnl_wait wait;
	int status; /* 1 = not yet */
};

static inline void on_wait(struct jnl_wait *wait, int status)
{
	struct waiter *w = container_of(wait, struct waiter, wait);

	CHECK_EQ(w->status, 1);
	w->status = status;
}

static inline struct jnl_wait *waiter(struct waiter *w)
{
	w->status = 1;
	w->wait.done = on_wait;
	return &w->wait;
}

/* Commits a new version of n blocks from home + first on. */
static inline int try_commit(struct env *e, uint32_t first, uint32_t n, uint64_t version,
	unsigned flags, uint64_t *ret_seq)
{
	struct jnl_blk blks[JNL_TXN_MAX_BLOCKS];

	for (uint32_t i = 0; i < n; i++) {
		uint32_t blk = e->home + first + i;

		live(e, blk)[1] = version;
		blks[i] = (struct jnl_blk){ blk, live(e, blk) };
	}
	return jnl_commit(e->jnl, blks, n, flags, ret_seq);
}

static inline uint64_t commit(struct env *e, uint32_t first, uint32_t n, uint64_t version)
{
	uint64_t seq;

	CHECK_OK(try_commit(e, first, n, version, 0, &seq));
	return seq;
}

static inline void wait_written(struct env *e, uint64_t seq)
{
	struct waiter w;

	jnl_wait_written(e->jnl, seq, waiter(&w));
	RUN_UNTIL(e, w.status != 1);
	CHECK_OK(w.status);
}

static inline void wait_stable(struct env *e, uint64_t seq)
{
	struct waiter w;

	jnl_wait_stable(e->jnl, seq, waiter(&w));
	RUN_UNTIL(e, w.status != 1);
	CHECK_OK(w.status);
}

static inline void checkpoint(struct env *e)
{
	struct waiter w;

	jnl_checkpoint(e->jnl, waiter(&w));
	RUN_UNTIL(e, w.status != 1);
	CHECK_OK(w.status);
}

static inline uint64_t on_disk(struct env *e, uint32_t i)
{
	uint64_t buf[JNL_BLOCK_BYTES / 8];

	CHECK_OK(bdev_pread(e->queue, buf, sizeof(buf), (uint64_t)(e->home + i) * JNL_BLOCK_BYTES));
	return buf[1];
}

static inline uint64_t peek(struct env *e, uint32_t i)
{
	const uint64_t *p = jnl_peek(e->jnl, e->home + i);

	return p ? p[1] : 0;
}

static inline uint64_t nr_ops(struct env *e, enum bdev_op op)
{
	struct bdev_counters c;

	bdev_counters(e->dev, &c);
	return c.ops[op];
}

#endif
