/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a life of the crash test does before it is cut (journal_crash.h). */
#ifndef TESTS_UNIT_JOURNAL_LIFE_H
#define TESTS_UNIT_JOURNAL_LIFE_H

#include "tests/unit/journal_crash.h"

struct life {
	struct run *run;
	struct stack st;
	struct jnl *jnl;
	uint64_t rnd;
	uint64_t acks[4096][2]; /* stable, written, by mark */
	uint64_t nr_acks;
	uint64_t waiting;
	uint32_t nr_data;
	enum mode mode;
	uint64_t (*live)[JNL_BLOCK_BYTES / 8];
};

struct ack {
	struct jnl_wait wait;
	struct life *life;
	uint64_t seq;
	bool stable;
};

static void on_ack(struct jnl_wait *wait, int status)
{
	struct ack *ack = container_of(wait, struct ack, wait);
	struct life *l = ack->life;
	uint64_t n = l->nr_acks;

	CHECK_OK(status);
	l->waiting--;
	CHECK(n + 1 < ARRAY_SIZE(l->acks));
	l->acks[n + 1][0] = MAX(l->acks[n][0], ack->stable ? ack->seq : 0);
	l->acks[n + 1][1] = MAX(l->acks[n][1], ack->seq);
	bdev_crash_mark(l->st.dev, ++l->nr_acks);
	free(ack);
}

static void want_ack(struct life *l, uint64_t seq, bool stable)
{
	struct ack *ack = calloc(1, sizeof(*ack));

	*ack = (struct ack){ .wait.done = on_ack, .life = l, .seq = seq, .stable = stable };
	l->waiting++;
	if (stable)
		jnl_wait_stable(l->jnl, seq, &ack->wait);
	else
		jnl_wait_written(l->jnl, seq, &ack->wait);
}

/* Data into new space, done before the commit that tells of it. */
static void write_data(struct life *l, uint64_t d)
{
	uint64_t sector[SECTOR / 8];

	fill(sector, SECTOR, NR_HOME + d, 1);
	batch_add(BDEV_WRITE, DATA_BLK * JNL_BLOCK_BYTES + d * SECTOR, sector, SECTOR);
	batch_run(&l->st);
}

/* PRESSURE: the log is always about to be full. UNIFORM: records of one length, so that those of a
 * former life lie where the next ones of this life may be expected. */
static uint32_t commit_size(struct life *l)
{
	if (l->mode != MIXED)
		return l->mode == PRESSURE ? NR_HOME : 3;
	return 1 + (uint32_t)(rnd_next(&l->rnd) % (rnd_next(&l->rnd) % 4 ? 4 : NR_HOME));
}

static uint64_t commit(struct life *l)
{
	struct run *run = l->run;
	uint32_t n = commit_size(l), at = (uint32_t)(rnd_next(&l->rnd) % NR_HOME);
	uint64_t d = run->life * LIFE_DATA + l->nr_data, seq;
	struct jnl_blk blks[NR_HOME];
	unsigned flags = 0;

	if (rnd_next(&l->rnd) % 5 == 0 && l->nr_data < LIFE_DATA) {
		write_data(l, d);
		flags = JNL_PREFLUSH;
		l->nr_data++;
	}
	run->version++;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t h = (at + i) % NR_HOME;

		if (l->mode == MIXED)
			h = (uint32_t)(rnd_next(&l->rnd) % NR_HOME);
		run->cur[h] = (uint32_t)run->version;
		fill(l->live[h], JNL_BLOCK_BYTES, h, run->version);
		blks[i] = (struct jnl_blk){ home_blk(h), l->live[h] };
	}
	CHECK_OK(jnl_commit(l->jnl, blks, n, flags, &seq));
	CHECK(seq < MAX_SEQS);
	memcpy(run->model[seq], run->cur, sizeof(run->cur));
	if (flags)
		run->data_seq[d] = seq;
	return seq;
}

static void workload(struct life *l, unsigned nr_ops)
{
	uint64_t seq;

	for (unsigned i = 0; i < nr_ops; i++) {
		uint64_t what = rnd_next(&l->rnd) % 16, turns = rnd_next(&l->rnd) % 12;

		while (!jnl_has_room(l->jnl, NR_HOME))
			loop_run_once(l->st.loop, false);
		seq = commit(l);
		if (what < 4)
			want_ack(l, seq, false);
		else if (what < 7)
			want_ack(l, seq, true);
		else if (what == 7)
			jnl_checkpoint(l->jnl, NULL);
		if (l->mode == PRESSURE)
			turns %= 2;
		for (; turns > 0 || (l->mode == UNIFORM && jnl_open_seq(l->jnl) == seq);
			turns -= turns > 0)
			loop_run_once(l->st.loop, false);
		if (rnd_next(&l->rnd) % 32 == 0) /* a pause: everything comes to rest */
			SPIN_UNTIL(&l->st, l->waiting == 0 && quiet(&l->st));
	}
	SPIN_UNTIL(&l->st, l->waiting == 0 && quiet(&l->st));
}

/* One life on content; replaces it by where the next one begins. */
static void run_life(struct run *run, uint8_t *content)
{
	struct life *l = calloc(1, sizeof(*l));
	struct evs evs = { 0 };
	uint8_t *next = malloc(DEV_BYTES);
	struct outcome out;
	uint64_t r = 0;

	CHECK(l && next);
	l->run = run;
	l->rnd = state_rnd(run, 5, 6, 7, 8);
	l->mode = MIXED + rnd_next(&l->rnd) % 3;
	if (run->mode != ANY_MODE)
		l->mode = run->mode;
	l->live = calloc(NR_HOME, JNL_BLOCK_BYTES);
	l->acks[0][0] = l->acks[0][1] = run->base_seq;
	stack_open(&l->st, true, rnd_next(&l->rnd), content);
	bdev_crash_mark(l->st.dev, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(l->st.shuffle->slow); i++)
		l->st.shuffle->slow[i] = 1 + rnd_next(&l->rnd) % 8;
	l->st.shuffle->mid = LOG_BLK * JNL_BLOCK_BYTES;
	l->st.shuffle->end = (LOG_BLK + LOG_BLKS) * JNL_BLOCK_BYTES;
	for (uint32_t i = 0; i < NR_HOME; i++)
		fill(l->live[i], JNL_BLOCK_BYTES, i, run->cur[i]);

	l->jnl = recover(run, &l->st, run->epoch, &out);
	CHECK_OK(out.status);
	CHECK_EQ(jnl_open_seq(l->jnl) - 1, run->base_seq);
	workload(l, 40 + (unsigned)(rnd_next(&l->rnd) % 40));

	stack_events(&l->st, l->acks, &evs, NULL);
	evs.end_stable = l->acks[l->nr_acks][0];
	evs.end_written = l->acks[l->nr_acks][1];
	run->nr_lives++;
	explore(run, content, &evs, evs.nr / 3 + rnd_next(&l->rnd) % (evs.nr * 2 / 3), next, &r);

	jnl_free(l->jnl);
	stack_close(&l->st);
	free(l->live);
	free(l);
	free(evs.ev);
	memcpy(content, next, DEV_BYTES);
	free(next);
	run->base_seq = r;
}

/* A volume whose log holds some twenty records, on the bench. The caller frees run->model. */
static inline void life_log(struct run *run, uint64_t seed)
{
	uint8_t *content = malloc(DEV_BYTES);
	struct outcome out;
	struct life *l = calloc(1, sizeof(*l));

	CHECK(content && l);
	run->seed = seed;
	run->epoch = 2;
	run->model = calloc(MAX_SEQS, sizeof(*run->model));
	l->run = run;
	l->rnd = seed;
	l->mode = UNIFORM;
	l->nr_data = LIFE_DATA; /* none */
	l->live = calloc(NR_HOME, JNL_BLOCK_BYTES);
	CHECK(run->model && l->live);
	for (uint32_t i = 0; i < NR_HOME; i++)
		fill(l->live[i], JNL_BLOCK_BYTES, i, 0);
	stack_open(&l->st, true, seed, NULL);
	CHECK_OK(jnl_format(l->st.queue, LOG_BLK, LOG_BLKS, crash_uuid, 1));
	l->jnl = recover(run, &l->st, run->epoch, &out);
	CHECK_OK(out.status);
	workload(l, 20);
	jnl_free(l->jnl);
	SPIN_UNTIL(&l->st, quiet(&l->st));
	CHECK_OK(bdev_pread(l->st.queue, content, DEV_BYTES, 0));
	stack_close(&l->st);
	free(l->live);
	free(l);
	bench_open(&run->bench[0]);
	bench_load(&run->bench[0], content);
	free(content);
}

static inline void run_seed(struct run *run, uint64_t seed)
{
	uint8_t *content = calloc(1, DEV_BYTES);
	struct stack st;

	run->seed = seed;
	run->model = calloc(MAX_SEQS, sizeof(*run->model));
	CHECK(content && run->model);
	memset(run->cur, 0, sizeof(run->cur));
	memset(run->data_seq, 0, sizeof(run->data_seq));
	run->base_seq = 0;
	run->version = 0;
	bench_open(&run->bench[0]);
	bench_open(&run->bench[1]);

	stack_open(&st, false, 0, NULL);
	CHECK_OK(jnl_format(st.queue, LOG_BLK, LOG_BLKS, crash_uuid, 1));
	CHECK_OK(bdev_pread(st.queue, content, DEV_BYTES, 0));
	stack_close(&st);

	for (run->life = 0; run->life < LIVES && !run->failed; run->life++) {
		run->epoch = 2 + run->life;
		run_life(run, content);
		memcpy(run->cur, run->model[run->base_seq], sizeof(run->cur));
		for (unsigned d = 0; d < NR_DATA; d++) {
			if (run->data_seq[d] > run->base_seq)
				run->data_seq[d] = 0;
		}
	}
	bench_close(&run->bench[0]);
	bench_close(&run->bench[1]);
	free(run->model);
	free(content);
}

#endif
