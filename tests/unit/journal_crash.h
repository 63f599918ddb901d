/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Crash states of the journal, enumerated.
 *
 * A run (a seed) is a chain of lives on one volume. A life recovers what the last one left, carries
 * out a random workload whose writes are recorded (crash over shuffle over ram), and is then cut
 * between any two recorded events. What a flush covers is there; of the rest, and of what was in
 * flight, some subset is: kept, dropped, or torn at 512 bytes. Each such state is recovered with
 * the next epoch and must equal the model after some record r, block by block:
 *   - r is at least what jnl_wait_stable() had acknowledged;
 *   - if nothing that was done is dropped (a coordinator died, the LUN did not), r is at least what
 *     jnl_wait_written() had acknowledged;
 *   - data that was written before a PREFLUSH commit in r or before is there (J4).
 * Some states' recoveries are recorded and cut in the same way, both after a loss of power and with
 * what the first crash left unflushed. One state of each life is where the next life begins.
 *
 * A failure names its state: seed:life:cut:subset, or with :kind:cut:subset of the second crash.
 */
#ifndef TESTS_UNIT_JOURNAL_CRASH_H
#define TESTS_UNIT_JOURNAL_CRASH_H

#include <inttypes.h>
#include <malloc.h>

#include "blockdev/bdev.h"
#include "journal/journal_internal.h"
#include "tests/unit/journal_shuffle.h"
#include "tests/unit/test.h"

#define LOG_BLK 16u
#define LOG_BLKS 256u
#define NR_HOME 24u
#define DATA_BLK 288u
#define LIVES 4u
#define LIFE_DATA 64u /* sectors of data that a life may write */
#define NR_DATA (LIVES * LIFE_DATA)
#define DEV_BYTES ((DATA_BLK + NR_DATA / 8) * JNL_BLOCK_BYTES)
#define MAX_SEQS 2048u
#define SECTOR 512u

static const uint8_t crash_uuid[16] = "journal crash ts";

/* An event of the recording; len 0 = a flush. */
struct ev {
	uint64_t off, len;
	const uint8_t *data;
	uint64_t covers;	  /* flush: the events before this one */
	uint64_t born;		  /* events that were done when it was submitted */
	uint64_t stable, written; /* acknowledged before it was done */
};

struct evs {
	struct ev *ev;
	uint64_t nr;
	uint64_t end_stable, end_written; /* acknowledged after the last */
};

/* Devices on which something runs. */
struct stack {
	struct loop *loop;
	struct bdev *dev;
	struct shuffle *shuffle; /* NULL: ram alone */
	struct bdev_queue *queue;
	uint64_t first; /* event */
};

/* Where states are tried: ram that equals `sure` but while a state is tried. */
struct bench {
	struct stack st;
	uint8_t *sure;
	uint64_t covered; /* events that are in sure */
};

enum mode { ANY_MODE, MIXED, PRESSURE, UNIFORM };

struct run {
	unsigned broken;
	enum mode mode; /* of every life */
	bool once;	/* no second crashes */
	bool hole_ok;	/* jnl_cfg */
	uint64_t seed, life, epoch;
	bool quiet;
	/* a state to try alone */
	bool only;
	uint64_t want[7]; /* seed, life, cut, subset, kind, cut, subset */
	unsigned nr_want;
	/* the model */
	uint32_t cur[NR_HOME];
	uint32_t (*model)[NR_HOME]; /* after each record */
	uint64_t data_seq[NR_DATA]; /* the record that the sector must be there for; 0 = none */
	uint64_t base_seq;	    /* where the life began */
	uint64_t version;
	/* results */
	uint64_t nr_states, nr_second, nr_lives, max_states;
	bool failed;
	char id[128];
	struct bench bench[2];
};

static uint32_t home_blk(uint32_t i)
{
	return i < NR_HOME / 2 ? i : LOG_BLK + LOG_BLKS + i - NR_HOME / 2;
}

static void fill(uint64_t *p, size_t bytes, uint64_t what, uint64_t version)
{
	uint64_t x = (what + 1) * 0x9e3779b97f4a7c15 ^ version * 0xbf58476d1ce4e5b9;

	for (size_t i = 0; i < bytes / 8; i++)
		p[i] = version ? x + i * 0x94d049bb133111eb : 0;
}

/* ---- devices ---- */

#define SPIN_UNTIL(st, cond)                                                                       \
	do {                                                                                       \
		uint64_t turns_ = 0;                                                               \
		while (!(cond)) {                                                                  \
			CHECK(++turns_ < 1000000);                                                 \
			loop_run_once((st)->loop, false);                                          \
		}                                                                                  \
	} while (0)

static bool quiet(struct stack *st)
{
	struct bdev_counters c;

	bdev_counters(st->dev, &c);
	return c.in_flight == 0;
}

static void stack_open(struct stack *st, bool record, uint64_t seed, const uint8_t *content)
{
	struct bdev *ram;
	char uri[32];

	snprintf(uri, sizeof(uri), "ram:%u", DEV_BYTES);
	CHECK_OK(loop_new(&st->loop));
	CHECK_OK(bdev_open(uri, NULL, &ram, NULL));
	st->dev = ram;
	st->shuffle = NULL;
	if (record)
		st->shuffle = shuffle_new(ram, seed, &st->dev);
	CHECK_OK(bdev_queue_open(st->dev, st->loop, &st->queue));
	if (content) {
		CHECK_OK(bdev_pwrite(st->queue, content, DEV_BYTES, 0));
		CHECK_OK(bdev_flush_sync(st->queue));
	}
	st->first = record ? bdev_crash_nr_events(st->dev) : 0;
}

static void stack_close(struct stack *st)
{
	for (int calm = 0; calm < 16; calm = quiet(st) ? calm + 1 : 0)
		loop_run_once(st->loop, false);
	bdev_queue_close(st->queue);
	bdev_close(st->dev);
	loop_free(st->loop);
}

/* The recording, valid until the stack is closed. acks: pairs by mark; may be NULL. */
static void stack_events(
	struct stack *st, const uint64_t (*acks)[2], struct evs *out, const struct evs *before)
{
	uint64_t nr = bdev_crash_nr_events(st->dev) - st->first, nb = before ? before->nr : 0;

	out->nr = nb + nr;
	out->ev = calloc(out->nr + 1, sizeof(*out->ev));
	CHECK(out->ev);
	if (nb)
		memcpy(out->ev, before->ev, nb * sizeof(*out->ev));
	for (uint64_t i = 0; i < nr; i++) {
		const struct bdev_crash_event *e = bdev_crash_event(st->dev, st->first + i);
		struct ev *ev = &out->ev[nb + i];

		CHECK(e->op == BDEV_WRITE || e->op == BDEV_FLUSH);
		*ev = (struct ev){
			.off = e->off_bytes,
			.len = e->len_bytes,
			.data = e->data,
			.covers = e->op == BDEV_FLUSH ? nb + e->flush_covers - st->first : 0,
			.born = nb + st->shuffle->born[e->submit_seq] - st->first,
			.stable = acks ? acks[e->user_mark][0] : 0,
			.written = acks ? acks[e->user_mark][1] : 0,
		};
	}
}

/* ---- the journal on them ---- */

static int crash_seal(void *arg, uint64_t blk, void *image, uint64_t epoch, uint64_t seq)
{
	return 0;
}

struct outcome {
	int status; /* 1 = not yet */
	uint64_t nr_records;
};

static void crash_recovered(void *arg, int status, uint64_t nr_records, uint64_t nr_blks)
{
	struct outcome *out = arg;

	out->status = status;
	out->nr_records = nr_records;
}

static struct jnl *recover(struct run *run, struct stack *st, uint64_t epoch, struct outcome *out)
{
	struct jnl_cfg cfg = {
		.queue = st->queue,
		.start_blk = LOG_BLK,
		.nr_blks = LOG_BLKS,
		.seal = crash_seal,
		.hole_ok = run->hole_ok,
	};
	struct jnl *jnl;

	memcpy(cfg.uuid, crash_uuid, 16);
	CHECK_OK(jnl_new(&cfg, &jnl));
	jnl_test_break(jnl, run->broken);
	out->status = 1;
	CHECK_OK(jnl_recover(jnl, epoch, 1, crash_recovered, out));
	SPIN_UNTIL(st, out->status != 1);
	return jnl;
}

/* ---- states ---- */

/* Requests that are carried out together. */
struct batch {
	struct bdev_req req[4096];
	struct iovec iov[4096];
	unsigned nr, left;
};

static struct batch batch;

static void batch_done(struct bdev_req *req, int status)
{
	CHECK_OK(status);
	batch.left--;
}

static void batch_add(enum bdev_op op, uint64_t off, const void *data, uint64_t len)
{
	unsigned n = batch.nr++;

	CHECK(n < ARRAY_SIZE(batch.req));
	batch.iov[n] = (struct iovec){ (void *)(uintptr_t)data, len };
	batch.req[n] = (struct bdev_req){ .op = op,
		.off_bytes = off,
		.len_bytes = len,
		.iov = &batch.iov[n],
		.nr_iov = 1,
		.done = batch_done };
}

static void batch_run(struct stack *st)
{
	batch.left = batch.nr;
	for (unsigned i = 0; i < batch.nr; i++)
		CHECK_OK(bdev_submit(st->queue, &batch.req[i]));
	SPIN_UNTIL(st, batch.left == 0);
	batch.nr = 0;
}

/* The pieces of a state: what it has more than bench->sure. */
struct piece {
	uint64_t off, len;
	const uint8_t *data;
};
struct state {
	struct piece piece[2048];
	unsigned nr;
	bool whole;    /* everything that was done is there */
	unsigned what; /* there was to choose from */
};

static void keep(struct state *s, const struct ev *ev, uint64_t from, uint64_t to)
{
	CHECK(s->nr < ARRAY_SIZE(s->piece));
	if (from < to)
		s->piece[s->nr++] = (struct piece){ ev->off + from, to - from, ev->data + from };
}

static void tear(struct state *s, const struct ev *ev, uint64_t *rnd)
{
	uint64_t sectors = ev->len / SECTOR, at = rnd_next(rnd) % (sectors + 1);

	switch (rnd_next(rnd) % 3) {
	case 0:
		keep(s, ev, 0, at * SECTOR);
		break;
	case 1:
		keep(s, ev, at * SECTOR, ev->len);
		break;
	case 2: /* all but a few sectors */
		for (uint64_t i = 0; i < sectors; i = at + 1) {
			at = i + rnd_next(rnd) % 24;
			at = MIN(at, sectors);
			keep(s, ev, i * SECTOR, at * SECTOR);
		}
		break;
	}
}

#define NR_FIXED 4u /* subsets that are not random */

/* What the nth subset at a cut keeps of what is not sure. */
static void choose(struct state *s, const struct evs *evs, uint64_t covered, uint64_t cut,
	unsigned nth, uint64_t *rnd)
{
	static const unsigned percent[] = { 5, 25, 50, 75, 95 };
	unsigned keep_pc = percent[rnd_next(rnd) % ARRAY_SIZE(percent)];
	unsigned tear_pc = rnd_next(rnd) % 2 ? 20 : 0;
	uint64_t odd = rnd_next(rnd);

	s->nr = 0;
	s->what = 0;
	s->whole = nth < 2;
	for (uint64_t i = covered; i < evs->nr; i++)
		s->what += evs->ev[i].len && (i < cut || evs->ev[i].born <= cut);
	odd %= s->what + 1;
	for (uint64_t i = covered; i < evs->nr; i++) {
		const struct ev *ev = &evs->ev[i];
		bool in_flight = i >= cut, kept = rnd_next(rnd) % 100 < keep_pc;

		if (!ev->len || (in_flight && ev->born > cut))
			continue;
		if (nth == 0)
			kept = !in_flight;
		else if (nth == 1)
			kept = true;
		else if (nth == 2)
			kept = false;
		else if (nth == 3)
			kept = in_flight;
		else if (nth == 4) /* one dropped */
			kept = odd-- != 0;
		else if (nth == 5) /* one kept */
			kept = odd-- == 0;
		if (nth > 5 && rnd_next(rnd) % 100 < tear_pc)
			tear(s, ev, rnd);
		else if (nth == 1 && in_flight && rnd_next(rnd) % 2)
			tear(s, ev, rnd);
		else if (kept)
			keep(s, ev, 0, ev->len);
	}
}

static void put_state(struct bench *b, const struct state *s)
{
	for (unsigned i = 0; i < s->nr; i++)
		batch_add(BDEV_WRITE, s->piece[i].off, s->piece[i].data, s->piece[i].len);
	batch_run(&b->st);
}

/* Undoes the state and what a recovery writes: headers, home. */
static void undo_state(struct bench *b, const struct state *s, bool verify)
{
	for (unsigned i = 0; i < s->nr; i++)
		batch_add(BDEV_WRITE, s->piece[i].off, b->sure + s->piece[i].off, s->piece[i].len);
	for (uint32_t i = 0; i < NR_HOME + 2; i++) {
		uint64_t blk = i < NR_HOME ? home_blk(i)
					   : jnl_hdr_slot_blk(LOG_BLK, LOG_BLKS, i - NR_HOME);

		batch_add(BDEV_WRITE, blk * JNL_BLOCK_BYTES, b->sure + blk * JNL_BLOCK_BYTES,
			JNL_BLOCK_BYTES);
	}
	batch_run(&b->st);
	if (verify) {
		uint8_t *now = malloc(DEV_BYTES);

		CHECK_OK(bdev_pread(b->st.queue, now, DEV_BYTES, 0));
		CHECK(memcmp(now, b->sure, DEV_BYTES) == 0); /* it wrote elsewhere: J7 */
		free(now);
	}
}

static void complain(struct run *run, const char *what, uint64_t a, uint64_t b)
{
	run->failed = true;
	if (!run->quiet)
		fprintf(stderr,
			"journal_crash: %s (%" PRIu64 ", %" PRIu64 "); try again with: %s\n", what,
			a, b, run->id);
}

/* The device's blocks are those of record r. */
static bool same_as_model(struct run *run, struct bench *b, uint64_t r)
{
	static uint64_t got[NR_HOME][JNL_BLOCK_BYTES / 8], data[LIFE_DATA][SECTOR / 8];
	uint64_t want[JNL_BLOCK_BYTES / 8], first = run->life * LIFE_DATA;

	for (uint32_t i = 0; i < NR_HOME; i++)
		batch_add(BDEV_READ, (uint64_t)home_blk(i) * JNL_BLOCK_BYTES, got[i],
			JNL_BLOCK_BYTES);
	batch_add(BDEV_READ, DATA_BLK * JNL_BLOCK_BYTES + first * SECTOR, data, sizeof(data));
	batch_run(&b->st);
	for (uint32_t i = 0; i < NR_HOME; i++) {
		fill(want, JNL_BLOCK_BYTES, i, run->model[r][i]);
		if (memcmp(want, got[i], JNL_BLOCK_BYTES) != 0) {
			complain(run, "home block not as after record", i, r);
			return false;
		}
	}
	for (uint64_t d = 0; d < LIFE_DATA; d++) {
		uint64_t seq = run->data_seq[first + d];

		if (seq == 0 || seq > r)
			continue;
		fill(want, SECTOR, NR_HOME + first + d, 1);
		if (memcmp(want, data[d], SECTOR) != 0) {
			complain(run, "data is missing that a record tells of", d, seq);
			return false;
		}
	}
	return true;
}

/* Recovers what is on the bench. promise: the oldest record that is allowed. */
static bool try_state(struct run *run, struct bench *b, uint64_t epoch, uint64_t promise,
	bool again, uint64_t *ret_r)
{
	struct outcome out;
	struct jnl *jnl = recover(run, &b->st, epoch, &out);
	uint64_t r = jnl_open_seq(jnl) - 1;

	run->nr_states++;
	jnl_free(jnl);
	if (out.status) {
		complain(run, err_str(out.status), 0, 0);
		return false;
	}
	if (r < promise || r >= MAX_SEQS) {
		complain(run, "recovered up to record, acknowledged", r, promise);
		return false;
	}
	if (!same_as_model(run, b, r))
		return false;
	if (again) { /* the log is empty now, and stays so */
		jnl = recover(run, &b->st, epoch + 1, &out);
		if (out.status || out.nr_records || jnl_open_seq(jnl) - 1 != r)
			complain(run, "the log was not emptied", out.nr_records, r);
		jnl_free(jnl);
	}
	*ret_r = r;
	return !run->failed;
}

/* ---- enumeration ---- */

static void bench_open(struct bench *b)
{
	b->sure = calloc(1, DEV_BYTES);
	CHECK(b->sure);
	stack_open(&b->st, false, 0, NULL);
}

static void bench_close(struct bench *b)
{
	stack_close(&b->st);
	free(b->sure);
}

static void bench_load(struct bench *b, const uint8_t *content)
{
	memcpy(b->sure, content, DEV_BYTES);
	CHECK_OK(bdev_pwrite(b->st.queue, b->sure, DEV_BYTES, 0));
	b->covered = 0;
}

/* What the flushes before the cut cover goes into sure. */
static void bench_advance(struct bench *b, const struct evs *evs, uint64_t cut)
{
	uint64_t covered = b->covered;

	for (uint64_t i = 0; i < cut; i++)
		covered = MAX(covered, evs->ev[i].covers);
	for (; b->covered < covered; b->covered++) {
		const struct ev *ev = &evs->ev[b->covered];

		if (!ev->len)
			continue;
		memcpy(b->sure + ev->off, ev->data, ev->len);
		batch_add(BDEV_WRITE, ev->off, ev->data, ev->len);
	}
	batch_run(&b->st);
}

static uint64_t state_rnd(const struct run *run, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	uint64_t x = run->seed;

	x = rnd_next(&x) ^ run->life;
	x = rnd_next(&x) ^ a;
	x = rnd_next(&x) ^ b << 20;
	x = rnd_next(&x) ^ c << 40;
	return rnd_next(&x) ^ d;
}

static bool wanted(const struct run *run, unsigned at, uint64_t cut, uint64_t subset)
{
	return !run->only || (run->want[at] == cut && run->want[at + 1] == subset);
}

/* Cuts the recording of a recovery. kind 0: after a loss of power; 1: without one. */
static void second_crash(
	struct run *run, uint64_t kind, const struct evs *evs, const uint8_t *base, const char *id)
{
	struct bench *b = &run->bench[1];
	static struct state s;
	uint64_t r;

	bench_load(b, base);
	for (uint64_t cut = 0; cut <= evs->nr && !run->failed; cut++) {
		const struct ev *ev = &evs->ev[cut];
		uint64_t stable = cut < evs->nr ? ev->stable : evs->end_stable;
		uint64_t written = cut < evs->nr ? ev->written : evs->end_written;

		bench_advance(b, evs, cut);
		for (unsigned nth = 0; nth < NR_FIXED + 4 && !run->failed; nth++) {
			uint64_t rnd = state_rnd(run, cut, nth, kind + 1, 0);

			if (run->only && run->nr_want < 7)
				return;
			choose(&s, evs, b->covered, cut, nth, &rnd);
			if ((s.what == 0 && nth > 0) || !wanted(run, 5, cut, nth))
				continue;
			snprintf(run->id, sizeof(run->id), "%s:%" PRIu64 ":%" PRIu64 ":%u", id,
				kind, cut, nth);
			put_state(b, &s);
			run->nr_second++;
			try_state(run, b, run->epoch + 2, s.whole ? written : stable, false, &r);
			undo_state(b, &s, false);
		}
	}
}

/* Records the recovery of a state, which ends at record r, and cuts it. */
static void crash_again(struct run *run, const struct state *s, uint64_t promise, uint64_t r)
{
	struct bench *b = &run->bench[0];
	struct evs evs = { 0 }, before = { 0 };
	uint8_t *content = malloc(DEV_BYTES);
	struct outcome out;
	struct stack st;
	struct jnl *jnl;
	char id[64];

	snprintf(id, sizeof(id), "%.60s", run->id);
	memcpy(content, b->sure, DEV_BYTES);
	before.ev = calloc(s->nr + 1, sizeof(*before.ev));
	for (unsigned i = 0; i < s->nr; i++) {
		const struct piece *p = &s->piece[i];

		memcpy(content + p->off, p->data, p->len);
		before.ev[before.nr++] =
			(struct ev){ .off = p->off, .len = p->len, .data = p->data };
	}
	stack_open(&st, true, state_rnd(run, 1, 2, 3, 4), content);
	jnl = recover(run, &st, run->epoch + 1, &out);
	CHECK_OK(out.status);
	CHECK_EQ(jnl_open_seq(jnl) - 1, r);

	for (uint64_t kind = 0; kind < 2 && !run->failed; kind++) {
		if (run->only && (run->nr_want < 7 || run->want[4] != kind))
			continue;
		stack_events(&st, NULL, &evs, kind ? &before : NULL);
		for (uint64_t i = 0; i < evs.nr; i++) {
			evs.ev[i].stable = kind ? promise : r;
			evs.ev[i].written = i < before.nr && kind ? promise : r;
		}
		evs.end_stable = evs.end_written = r;
		second_crash(run, kind, &evs, kind ? b->sure : content, id);
		free(evs.ev);
	}
	jnl_free(jnl);
	stack_close(&st);
	free(before.ev);
	free(content);
}

/* Cuts a life at each event; ret_next gets the state where the next life begins. */
static void explore(struct run *run, const uint8_t *base, const struct evs *evs, uint64_t next_cut,
	uint8_t *ret_next, uint64_t *ret_r)
{
	struct bench *b = &run->bench[0];
	static struct state s;

	bench_load(b, base);
	for (uint64_t cut = 0; cut <= evs->nr && !run->failed; cut++) {
		const struct ev *ev = &evs->ev[cut];
		uint64_t stable = cut < evs->nr ? ev->stable : evs->end_stable;
		uint64_t written = cut < evs->nr ? ev->written : evs->end_written;

		bench_advance(b, evs, cut);
		for (unsigned nth = 0; nth < NR_FIXED + 6 && !run->failed; nth++) {
			uint64_t rnd = state_rnd(run, cut, nth, 0, 0), promise, r = 0;
			bool next = cut == next_cut && nth == 6;
			bool again = rnd_next(&rnd) % 16 == 0, second = rnd_next(&rnd) % 150 == 0;

			choose(&s, evs, b->covered, cut, nth, &rnd);
			if (s.what == 0 && nth > 0 && !next)
				continue;
			if (!next && run->only &&
				(run->life != run->want[1] || !wanted(run, 2, cut, nth)))
				continue;
			if (!next && run->nr_states >= run->max_states)
				continue;
			snprintf(run->id, sizeof(run->id), "%" PRIu64 ":%" PRIu64 ":%" PRIu64 ":%u",
				run->seed, run->life, cut, nth);
			promise = s.whole ? written : stable;
			put_state(b, &s);
			if (try_state(run, b, run->epoch + 1, promise, again, &r) && second &&
				!run->once)
				crash_again(run, &s, stable, r);
			if (next) {
				memcpy(ret_next, b->sure, DEV_BYTES);
				for (unsigned i = 0; i < s.nr; i++)
					memcpy(ret_next + s.piece[i].off, s.piece[i].data,
						s.piece[i].len);
				*ret_r = r;
			}
			undo_state(b, &s, run->nr_states % 512 == 0);
		}
	}
}

/* "seed:life:cut:subset[:kind:cut:subset]" */
static inline bool parse_id(struct run *run, const char *text)
{
	char *end;

	while (run->nr_want < 7) {
		run->want[run->nr_want++] = strtoull(text, &end, 10);
		if (end == text || (*end && *end != ':'))
			return false;
		if (!*end)
			break;
		text = end + 1;
	}
	run->only = true;
	return run->nr_want == 4 || run->nr_want == 7;
}

static inline void crash_setup(void)
{
	/* Buffers of recoveries are taken again and again: no need to give them to the kernel. */
	mallopt(M_MMAP_THRESHOLD, 64 << 20);
	mallopt(M_TRIM_THRESHOLD, 256 << 20);
}

#endif
