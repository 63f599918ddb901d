/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is refused, counted, shared by threads, and what gate, deadline and fence hold back. */
#include <errno.h>
#include <pthread.h>

#include "tests/blockdev/conf.h"

/* ---- refusals (B1) ---- */

static void refuse(struct conf *conf, struct bdev_req req, int expect)
{
	static char mem[3 * 4096];
	struct iovec iov = { mem, req.len_bytes };
	struct conf_io io = { .req = req };

	if (req.op <= BDEV_WRITE && !io.req.iov && req.nr_iov == 0) {
		io.req.iov = &iov;
		io.req.nr_iov = 1;
	}
	CHECK_EQ(conf_submit(conf->queue, &io), expect);
	CHECK_OK(bdev_pread(conf->queue, mem, 4096, 0)); /* whatever was queued would run now */
	CHECK_EQ(io.nr_done, 0);
}

static void refuse_ranges(struct conf *conf, enum bdev_op op)
{
	uint64_t b = conf->geom.block_bytes, size = conf->geom.size_bytes;
	const struct {
		uint64_t off, len;
		int err;
	} cases[] = {
		{ 1, b, -EINVAL },
		{ b / 2, b, -EINVAL },
		{ 0, b - 1, -EINVAL },
		{ 0, b + 8, -EINVAL },
		{ 0, 0, -EINVAL },
		{ size, b, -ERANGE },
		{ size - b, 2 * b, -ERANGE },
		{ size + 1024 * b, b, -ERANGE },
		{ -b, b, -ERANGE },
		{ -b, 2 * b, -ERANGE },
		{ 0, -b, -ERANGE },
		{ b, -b, -ERANGE },
		{ (1ull << 63), b, -ERANGE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		refuse(conf,
			(struct bdev_req){
				.op = op, .off_bytes = cases[i].off, .len_bytes = cases[i].len },
			cases[i].err);
}

const char *conf_refused(struct conf *conf)
{
	uint64_t b = conf->geom.block_bytes;
	struct iovec none, huge[2] = { { &none, SIZE_MAX - 511 }, { &none, b + 512 } };
	struct bdev_counters before, after;

	bdev_counters(conf->bdev, &before);
	refuse_ranges(conf, BDEV_READ);
	refuse_ranges(conf, BDEV_WRITE);
	refuse_ranges(conf, BDEV_WRITE_ZEROES);
	if (conf->geom.caps & BDEV_CAN_DISCARD)
		refuse_ranges(conf, BDEV_DISCARD);
	refuse(conf, (struct bdev_req){ .op = BDEV_READ, .len_bytes = b, .nr_iov = -1 }, -EINVAL);
	refuse(conf, (struct bdev_req){ .op = BDEV_READ, .len_bytes = b, .iov = huge, .nr_iov = 2 },
		-EINVAL);
	refuse(conf,
		(struct bdev_req){ .op = BDEV_WRITE,
			.len_bytes = b,
			.iov = &(struct iovec){ &none, b / 2 },
			.nr_iov = 1 },
		-EINVAL);
	refuse(conf, (struct bdev_req){ .op = BDEV_NR_OPS, .len_bytes = b }, -EINVAL);
	refuse(conf, (struct bdev_req){ .op = (enum bdev_op) - 1, .len_bytes = b }, -EINVAL);
	if (!(conf->geom.caps & BDEV_CAN_PR))
		refuse(conf, (struct bdev_req){ .op = BDEV_PR_READ_KEYS }, -EOPNOTSUPP);
	bdev_counters(conf->bdev, &after);
	CHECK_EQ(after.in_flight, 0);
	CHECK_EQ(after.ops[BDEV_WRITE], before.ops[BDEV_WRITE]);
	CHECK_EQ(after.ops[BDEV_WRITE_ZEROES], before.ops[BDEV_WRITE_ZEROES]);
	return NULL;
}

const char *conf_readonly(struct conf *conf)
{
	struct conf ro = *conf;
	struct bdev_queue *queue;
	struct bdev *bdev;
	struct conf_io io = { 0 };
	char buf[4096];

	ro.opts.readonly = true;
	bdev = conf_open(&ro, "");
	CHECK(bdev_geom(bdev).caps & BDEV_READONLY);
	queue = conf_queue(bdev, conf->loop);
	CHECK_OK(bdev_pread(queue, buf, sizeof(buf), 0));
	CHECK_EQ(bdev_pwrite(queue, buf, sizeof(buf), 0), -EROFS);
	io.req = (struct bdev_req){ .op = BDEV_WRITE_ZEROES, .len_bytes = 4096 };
	CHECK_EQ(conf_submit(queue, &io), -EROFS);
	bdev_queue_close(queue);
	bdev_close(bdev);
	return NULL;
}

/* ---- counters ---- */

const char *conf_counters(struct conf *conf)
{
	struct bdev_counters a, b;
	char *buf = conf_alloc(65536);
	uint64_t hist = 0;

	memset(buf, 1, 65536);
	bdev_counters(conf->bdev, &a);
	for (int i = 0; i < 10; i++)
		CHECK_OK(bdev_pwrite(conf->queue, buf, 65536, 0));
	for (int i = 0; i < 7; i++)
		CHECK_OK(bdev_pread(conf->queue, buf, 4096, 0));
	/* A queue's numbers stay when it is closed. */
	bdev_queue_close(conf->queue);
	conf->queue = conf_queue(conf->bdev, conf->loop);
	bdev_counters(conf->bdev, &b);
	CHECK_EQ(b.ops[BDEV_WRITE] - a.ops[BDEV_WRITE], 10);
	CHECK_EQ(b.bytes[BDEV_WRITE] - a.bytes[BDEV_WRITE], 655360);
	CHECK_EQ(b.ops[BDEV_READ] - a.ops[BDEV_READ], 7);
	CHECK_EQ(b.bytes[BDEV_READ] - a.bytes[BDEV_READ], 7 * 4096);
	CHECK_EQ(b.errors[BDEV_READ] - a.errors[BDEV_READ], 0);
	CHECK_EQ(b.in_flight, 0);
	CHECK(b.total_ns[BDEV_READ] > a.total_ns[BDEV_READ]);
	CHECK(b.max_ns[BDEV_READ] > 0 && b.max_ns[BDEV_READ] <= b.total_ns[BDEV_READ]);
	for (int i = 0; i < 32; i++)
		hist += b.latency_log2_us[BDEV_READ][i];
	CHECK_EQ(hist, b.ops[BDEV_READ]);
	free(buf);
	return NULL;
}

/* ---- several queues in several threads ---- */

#define NR_THREADS 4
#define THREAD_BYTES (2u << 20)

struct worker {
	pthread_t thread;
	struct conf *conf;
	int nr;
};

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct conf conf = *w->conf;
	uint64_t base = (uint64_t)w->nr * THREAD_BYTES, rnd = conf.seed + (uint64_t)w->nr;
	char *bufs = conf_alloc(16 * 65536);
	struct conf_io ios[16] = { 0 };

	CHECK_OK(loop_new(&conf.loop));
	conf.queue = conf_queue(conf.bdev, conf.loop);
	for (int round = 0; round < 10; round++) {
		uint64_t tag = conf_random64(&rnd);

		for (uint64_t i = 0; i < 16; i++) {
			conf_fill(bufs + i * 65536, 65536, base + i * 65536, tag);
			conf_start(conf.queue, &ios[i], BDEV_WRITE, 0, bufs + i * 65536, 65536,
				base + i * 65536);
		}
		for (int i = 0; i < 16; i++)
			CHECK_OK(conf_finish(&ios[i]));
		if (conf.geom.caps & BDEV_CAN_FLUSH)
			CHECK_OK(bdev_flush_sync(conf.queue));
		memset(bufs, 0, 16 * 65536);
		for (uint64_t i = 0; i < 16; i++)
			conf_start(conf.queue, &ios[i], BDEV_READ, 0, bufs + i * 65536, 65536,
				base + i * 65536);
		for (uint64_t i = 0; i < 16; i++) {
			CHECK_OK(conf_finish(&ios[i]));
			conf_verify(bufs + i * 65536, 65536, base + i * 65536, tag);
		}
	}
	bdev_queue_close(conf.queue);
	loop_free(conf.loop);
	free(bufs);
	return NULL;
}

const char *conf_threads(struct conf *conf)
{
	struct worker workers[NR_THREADS];

	for (int i = 0; i < NR_THREADS; i++) {
		workers[i] = (struct worker){ .conf = conf, .nr = i };
		CHECK_EQ(pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]), 0);
	}
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(workers[i].thread, NULL);
	return NULL;
}

/* ---- gate (B5) ---- */

struct gate {
	struct bdev_queue *queue;
	int nr_runs;
};

static void gate_fn(void *arg, struct bdev_queue *queue)
{
	struct gate *gate = arg;

	gate->queue = queue;
	gate->nr_runs++;
}

const char *conf_gate(struct conf *conf)
{
	struct conf_io held = { 0 }, passes = { 0 }, read = { 0 };
	struct bdev *bdev = conf_open(conf, "");
	struct bdev_queue *queue;
	struct bdev_counters counters;
	struct gate gate = { 0 };
	char *old = conf_alloc(4096), *new = conf_alloc(4096), *seen = conf_alloc(4096);

	conf_fill(old, 4096, 0, conf->seed);
	conf_fill(new, 4096, 0, conf->seed + 1);
	CHECK_OK(bdev_pwrite(conf->queue, old, 4096, 0));
	bdev_set_gate(bdev, gate_fn, &gate);
	queue = conf_queue(bdev, conf->loop);
	CHECK_EQ(gate.nr_runs, 1);
	CHECK(gate.queue == queue);

	conf_start(queue, &held, BDEV_WRITE, 0, new, 4096, 0);
	conf_start(queue, &read, BDEV_READ, 0, seen, 4096, 4096);
	conf_start(queue, &passes, BDEV_READ, BDEV_GATE, seen, 4096, 0);
	CHECK_OK(conf_finish(&passes));
	conf_verify(seen, 4096, 0, conf->seed);
	conf_run_ms(conf->loop, 50);
	CHECK(held.busy && read.busy);
	CHECK_OK(conf_do(queue, BDEV_READ, BDEV_GATE, seen, 4096, 0));
	conf_verify(seen, 4096, 0, conf->seed);
	bdev_counters(bdev, &counters);
	CHECK_EQ(counters.in_flight, 2);

	bdev_queue_gate_done(queue, 0);
	CHECK_OK(conf_finish(&held));
	CHECK_OK(conf_finish(&read));
	CHECK_OK(bdev_pread(queue, seen, 4096, 0));
	conf_verify(seen, 4096, 0, conf->seed + 1);
	CHECK_EQ(gate.nr_runs, 1);
	bdev_counters(bdev, &counters);
	CHECK_EQ(counters.gate_closings, 1);
	CHECK_EQ(counters.in_flight, 0);
	bdev_queue_close(queue);
	bdev_close(bdev);
	free(old);
	free(new);
	free(seen);
	return NULL;
}

/* The gate's owner says no: what was held fails, and all that comes later (B6). */
const char *conf_gate_refuses(struct conf *conf)
{
	struct bdev *bdev = conf_open(conf, "");
	struct bdev_queue *queue;
	struct gate gate = { 0 };
	struct conf_io held = { 0 };
	char buf[4096];

	bdev_set_gate(bdev, gate_fn, &gate);
	queue = conf_queue(bdev, conf->loop);
	conf_start(queue, &held, BDEV_READ, 0, buf, sizeof(buf), 0);
	bdev_queue_gate_done(queue, -ERR_STALE);
	CHECK_EQ(conf_finish(&held), -ERR_FENCED);
	CHECK_EQ(conf_do(queue, BDEV_READ, 0, buf, sizeof(buf), 0), -ERR_FENCED);
	CHECK_EQ(conf_do(queue, BDEV_READ, BDEV_GATE, buf, sizeof(buf), 0), -ERR_FENCED);
	bdev_queue_close(queue);
	bdev_close(bdev);
	return NULL;
}

/* ---- write deadline (B7) ---- */

static void *move_deadline(void *arg)
{
	bdev_set_write_deadline(arg, clock_mono_ns() + 3600000000000u);
	return NULL;
}

const char *conf_deadline(struct conf *conf)
{
	struct bdev *bdev = conf_open(conf, "");
	struct bdev_queue *queue = conf_queue(bdev, conf->loop);
	struct conf_io w = { 0 }, z = { 0 };
	char *buf = conf_alloc(8192), *seen = conf_alloc(8192);
	struct bdev_counters counters;
	pthread_t thread;

	conf_fill(buf, 8192, 0, conf->seed);
	CHECK_OK(bdev_pwrite(queue, buf, 8192, 0));
	conf_fill(buf, 8192, 0, conf->seed + 1);
	bdev_set_write_deadline(bdev, clock_mono_ns());
	conf_start(queue, &w, BDEV_WRITE, 0, buf, 4096, 0);
	conf_start(queue, &z, BDEV_WRITE_ZEROES, 0, NULL, 4096, 1 << 20);
	conf_run_ms(conf->loop, 50);
	CHECK(w.busy && z.busy);
	CHECK_OK(bdev_pread(queue, seen, 4096, 0));
	conf_verify(seen, 4096, 0, conf->seed);
	if (conf->geom.caps & BDEV_CAN_FLUSH)
		CHECK_OK(bdev_flush_sync(queue));
	CHECK_OK(conf_do(queue, BDEV_WRITE, BDEV_GATE, buf + 4096, 4096, 4096));
	CHECK(w.busy && z.busy);
	bdev_counters(bdev, &counters);
	CHECK(counters.held_by_deadline >= 2); /* counts pieces */

	CHECK_EQ(pthread_create(&thread, NULL, move_deadline, bdev), 0);
	CHECK_OK(conf_finish(&w));
	CHECK_OK(conf_finish(&z));
	pthread_join(thread, NULL);
	CHECK_OK(bdev_pread(queue, seen, 8192, 0));
	conf_verify(seen, 8192, 0, conf->seed + 1);
	bdev_queue_close(queue);
	bdev_close(bdev);
	free(buf);
	free(seen);
	return NULL;
}

struct mover {
	struct bdev *bdev;
	_Atomic int round; /* -1 = stop */
};

/* Each round moves the deadline once, at about the time when the writes are handed in. */
static void *move_in_rounds(void *arg)
{
	struct mover *m = arg;
	unsigned int rnd = 1;

	for (int seen = 0; seen >= 0;) {
		int now = atomic_load(&m->round);

		if (now == seen)
			continue;
		seen = now;
		for (volatile int spin = rand_r(&rnd) % 500; spin > 0; spin--)
			;
		bdev_set_write_deadline(m->bdev, UINT64_MAX);
	}
	return NULL;
}

/* No write is forgotten however the moving of the deadline and the submission meet. */
const char *conf_deadline_race(struct conf *conf)
{
	struct bdev *bdev = conf_open(conf, "");
	struct bdev_queue *queue = conf_queue(bdev, conf->loop);
	struct mover mover = { .bdev = bdev };
	struct conf_io io = { 0 };
	char *buf = conf_alloc(4096);
	uint64_t end = clock_mono_ns() + 400000000;
	struct bdev_counters counters;
	pthread_t thread;

	CHECK_EQ(pthread_create(&thread, NULL, move_in_rounds, &mover), 0);
	for (int round = 1; clock_mono_ns() < end || round < 50; round++) {
		bdev_set_write_deadline(bdev, 1);
		atomic_store(&mover.round, round);
		/* one at a time: the end of another would have the queue look again */
		conf_start(queue, &io, BDEV_WRITE, 0, buf, 4096, 0);
		CHECK_OK(conf_finish(&io));
	}
	atomic_store(&mover.round, -1);
	pthread_join(thread, NULL);
	bdev_counters(bdev, &counters);
	CHECK(counters.held_by_deadline > 0);
	bdev_queue_close(queue);
	bdev_close(bdev);
	free(buf);
	return NULL;
}

/* ---- self fence (B6) ---- */

static void *fence(void *arg)
{
	bdev_fence_self(arg);
	return NULL;
}

const char *conf_fence_self(struct conf *conf)
{
	struct bdev *bdev = conf_open(conf, "");
	struct bdev_queue *queue = conf_queue(bdev, conf->loop), *other;
	struct conf_io held[8] = { 0 };
	char *buf = conf_alloc(4096), *seen = conf_alloc(4096);
	pthread_t thread;

	conf_fill(buf, 4096, 0, conf->seed);
	CHECK_OK(bdev_pwrite(queue, buf, 4096, 0));
	conf_fill(buf, 4096, 0, conf->seed + 1);
	bdev_set_write_deadline(bdev, clock_mono_ns());
	for (int i = 0; i < 8; i++)
		conf_start(queue, &held[i], BDEV_WRITE, 0, buf, 4096, 0);
	conf_run_ms(conf->loop, 5);
	CHECK_EQ(pthread_create(&thread, NULL, fence, bdev), 0);
	for (int i = 0; i < 8; i++)
		CHECK_EQ(conf_finish(&held[i]), -ERR_FENCED);
	pthread_join(thread, NULL);
	bdev_set_write_deadline(bdev, UINT64_MAX);
	CHECK_EQ(conf_do(queue, BDEV_WRITE, 0, buf, 4096, 0), -ERR_FENCED);
	CHECK_EQ(conf_do(queue, BDEV_WRITE, BDEV_GATE, buf, 4096, 0), -ERR_FENCED);
	CHECK_EQ(conf_do(queue, BDEV_READ, 0, seen, 4096, 0), -ERR_FENCED);
	CHECK_EQ(bdev_queue_open(bdev, conf->loop, &other), -ERR_FENCED);
	bdev_queue_close(queue);
	bdev_close(bdev);
	/* Other handles of this device go on, and the write has not been carried out. */
	CHECK_OK(bdev_pread(conf->queue, seen, 4096, 0));
	conf_verify(seen, 4096, 0, conf->seed);
	free(buf);
	free(seen);
	return NULL;
}
