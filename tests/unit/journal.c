/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: util blockdev journal */
/* What the journal promises to its callers while nothing fails. */
#include "tests/unit/journal_env.h"

/* A commit is in memory, then in the log, then in place. */
static void test_basic(void)
{
	struct jnl_header h;
	struct jnl_stats st;
	struct env e;
	uint64_t seq;

	env_start(&e, 256);
	CHECK_EQ(jnl_epoch(e.jnl), 2);
	CHECK_EQ(jnl_open_seq(e.jnl), 1);
	CHECK_OK(jnl_read_header(e.queue, START, 256, uuid, &h));
	CHECK(h.epoch == 2 && h.coord_node == 7 && !h.clean && h.tail_seq == 1);

	seq = commit(&e, 0, 3, 10);
	CHECK_EQ(seq, 1);
	CHECK(!peek(&e, 0)); /* not closed yet */
	CHECK_EQ(e.nr_taken, 0);
	wait_written(&e, seq);
	CHECK_EQ(e.nr_taken, 3);
	CHECK_EQ(e.nr_sealed, 3);
	CHECK_EQ(peek(&e, 2), 10);
	CHECK_EQ(on_disk(&e, 0), 0);
	CHECK_EQ(jnl_written_seq(e.jnl), 1);
	CHECK_EQ(jnl_tail_seq(e.jnl), 1);

	checkpoint(&e);
	CHECK_EQ(on_disk(&e, 0), 10);
	CHECK_EQ(on_disk(&e, 2), 10);
	CHECK_EQ(e.nr_clean, 3);
	CHECK_EQ(e.tail, 2);
	CHECK(!peek(&e, 0));
	jnl_stats(e.jnl, &st);
	CHECK(st.records == 1 && st.blocks == 3 && st.commits == 1 && st.checkpoints == 1);
	CHECK(st.checkpoint_blks == 3 && st.used_blks == 0 && st.size_blks == 254);
	env_stop(&e);
}

/* Close, then a recovery that has nothing to do; records of the next life follow on. */
static void test_close(void)
{
	struct jnl_header h;
	struct waiter w;
	struct env e;
	uint64_t seq;

	env_start(&e, 256);
	commit(&e, 5, 2, 1);
	jnl_close(e.jnl, waiter(&w));
	CHECK_EQ(try_commit(&e, 5, 1, 2, 0, &seq), -EINVAL);
	RUN_UNTIL(&e, w.status != 1);
	CHECK_OK(w.status);
	jnl_free(e.jnl);
	CHECK_EQ(on_disk(&e, 6), 1);
	CHECK_OK(jnl_read_header(e.queue, START, 256, uuid, &h));
	CHECK(h.clean && h.epoch == 2 && h.tail_seq == 2);

	env_recover(&e, 3);
	CHECK_OK(e.recovered);
	CHECK_EQ(e.nr_records, 0);
	CHECK_EQ(commit(&e, 5, 1, 3), 2);
	wait_written(&e, 2);
	jnl_free(e.jnl); /* as in a crash */

	env_recover(&e, 3); /* an epoch that was used */
	CHECK_EQ(e.recovered, -ERR_STALE);
	CHECK_EQ(jnl_error(e.jnl), -ERR_STALE);
	CHECK_EQ(try_commit(&e, 5, 1, 4, 0, &seq), -ERR_STALE);
	jnl_free(e.jnl);
	env_recover(&e, 4);
	CHECK_OK(e.recovered);
	CHECK(e.nr_records == 1 && e.nr_replayed == 1);
	CHECK_EQ(on_disk(&e, 5), 3);
	CHECK_EQ(on_disk(&e, 6), 1);
	CHECK_EQ(jnl_open_seq(e.jnl), 3);
	jnl_free(e.jnl);

	env_recover(&e, 5); /* the log is empty now */
	CHECK(e.recovered == 0 && e.nr_records == 0);
	env_stop(&e);
}

/* What was not recovered is not touched. */
static void test_no_header(void)
{
	struct jnl_header h;
	struct waiter w;
	struct env e;
	char buf[JNL_BLOCK_BYTES] = "";

	env_open(&e, 256);
	for (uint32_t i = 0; i < 2; i++)
		CHECK_OK(bdev_pwrite(e.queue, buf, sizeof(buf),
			jnl_hdr_slot_blk(START, 256, i) * JNL_BLOCK_BYTES));
	CHECK_EQ(jnl_read_header(e.queue, START, 256, uuid, &h), -ERR_CORRUPT);
	env_recover(&e, 2);
	CHECK_EQ(e.recovered, -ERR_CORRUPT);
	CHECK_EQ(e.nr_failed, 0);
	jnl_close(e.jnl, waiter(&w));
	RUN_UNTIL(&e, w.status != 1);
	CHECK_EQ(w.status, -ERR_CORRUPT);
	jnl_free(e.jnl);

	env_new_jnl(&e);
	jnl_close(e.jnl, waiter(&w)); /* never recovered: J7 */
	RUN_UNTIL(&e, w.status != 1);
	CHECK_OK(w.status);
	CHECK_EQ(nr_ops(&e, BDEV_WRITE), 5);
	env_stop(&e);
}

/* What is committed while a record is written shares the next one; a block is copied once. */
static void test_group_commit(void)
{
	struct jnl_stats st;
	struct env e;
	uint64_t seq;

	env_start(&e, 1024);
	for (uint64_t v = 1; v <= 50; v++)
		CHECK_EQ(commit(&e, 0, 4, v), 1);
	CHECK_EQ(commit(&e, 10, 4, 1), 1);
	CHECK_EQ(jnl_written_seq(e.jnl), 0);
	RUN_UNTIL(&e, e.nr_taken == 8);
	for (uint64_t v = 51; v <= 90; v++) {
		seq = commit(&e, 0, 4, v);
		CHECK_EQ(seq, 2);
	}
	CHECK_EQ(peek(&e, 0), 50); /* the newest closed one, whatever is open */
	wait_written(&e, 2);
	CHECK_EQ(peek(&e, 0), 90);
	CHECK_EQ(peek(&e, 10), 1);
	jnl_stats(e.jnl, &st);
	CHECK_EQ(st.commits, 91);
	CHECK_EQ(st.records, 2);
	CHECK_EQ(st.blocks, 12);
	CHECK_EQ(e.nr_sealed, 12);
	checkpoint(&e);
	jnl_stats(e.jnl, &st);
	CHECK_EQ(st.checkpoint_blks, 8); /* superseded ones are not written */
	CHECK_EQ(on_disk(&e, 3), 90);
	env_stop(&e);
}

/* The same block twice in one commit, blocks of others' places, too many. */
static void test_commit_args(void)
{
	struct jnl_blk blks[JNL_TXN_MAX_BLOCKS + 1];
	struct jnl_stats st;
	struct env e;
	uint64_t seq;

	env_start(&e, 256);
	for (uint32_t i = 0; i <= JNL_TXN_MAX_BLOCKS; i++)
		blks[i] = (struct jnl_blk){ e.home + i % 2, live(&e, e.home + i % 2) };
	CHECK_EQ(jnl_commit(e.jnl, blks, JNL_TXN_MAX_BLOCKS + 1, 0, &seq), -EINVAL);
	blks[1].blk = START;
	CHECK_EQ(jnl_commit(e.jnl, blks, 2, 0, &seq), -EINVAL);
	blks[1].blk = START + 255;
	CHECK_EQ(jnl_commit(e.jnl, blks, 2, 0, &seq), -EINVAL);
	blks[1].blk = (256u << 20) / JNL_BLOCK_BYTES;
	CHECK_EQ(jnl_commit(e.jnl, blks, 2, 0, &seq), -EINVAL);
	blks[1].blk = e.home + 1;
	CHECK_OK(jnl_commit(e.jnl, blks, 4, 0, &seq));
	CHECK_OK(jnl_commit(e.jnl, blks, 0, 0, &seq));
	wait_written(&e, seq);
	jnl_stats(e.jnl, &st);
	CHECK_EQ(st.blocks, 2);
	env_stop(&e);
}

/* Written is not stable; stable flushes, once for many; an empty compound waits for nothing. */
static void test_wait(void)
{
	struct waiter w[20], first, second;
	uint64_t flushes, seq;
	struct env e;

	env_start(&e, 256);
	jnl_wait_written(e.jnl, jnl_open_seq(e.jnl), waiter(&first));
	jnl_wait_stable(e.jnl, jnl_open_seq(e.jnl), waiter(&second));
	CHECK(first.status == 1 && second.status == 1); /* never from within */
	flushes = nr_ops(&e, BDEV_FLUSH);
	loop_run_once(e.loop, false);
	CHECK(first.status == 0 && second.status == 0);
	CHECK_EQ(nr_ops(&e, BDEV_FLUSH), flushes);

	seq = commit(&e, 0, 1, 1);
	for (int i = 0; i < 20; i++)
		jnl_wait_stable(e.jnl, seq, waiter(&w[i]));
	jnl_wait_written(e.jnl, seq, waiter(&first));
	RUN_UNTIL(&e, first.status != 1);
	CHECK_OK(first.status);
	CHECK_EQ(w[0].status, 1);
	RUN_UNTIL(&e, w[0].status != 1);
	for (int i = 0; i < 20; i++)
		CHECK_OK(w[i].status);
	CHECK_EQ(nr_ops(&e, BDEV_FLUSH), flushes + 1);
	jnl_wait_stable(e.jnl, seq, waiter(&first)); /* it is already */
	CHECK_EQ(first.status, 1);
	loop_run_once(e.loop, false);
	CHECK_OK(first.status);
	settle(&e);
	CHECK_EQ(nr_ops(&e, BDEV_FLUSH), flushes + 1);

	/* In the order of sequences, whatever the order of the calls. */
	seq = commit(&e, 0, 1, 2);
	RUN_UNTIL(&e, jnl_open_seq(e.jnl) == seq + 1);
	commit(&e, 0, 1, 3);
	jnl_wait_written(e.jnl, seq + 1, waiter(&second));
	jnl_wait_written(e.jnl, seq, waiter(&first));
	RUN_UNTIL(&e, first.status != 1);
	CHECK_EQ(second.status, 1);
	RUN_UNTIL(&e, second.status != 1);
	env_stop(&e);
}

/* J4: one flush for each preflushed record, but none if one came meanwhile. */
static void test_preflush(void)
{
	uint64_t flushes, writes, seq;
	struct jnl_stats st;
	struct env e;

	env_start(&e, 256);
	flushes = nr_ops(&e, BDEV_FLUSH);
	CHECK_OK(try_commit(&e, 0, 1, 1, JNL_PREFLUSH, &seq));
	CHECK_OK(try_commit(&e, 1, 1, 1, 0, &seq));
	CHECK_OK(try_commit(&e, 2, 1, 1, JNL_PREFLUSH, &seq));
	writes = nr_ops(&e, BDEV_WRITE);
	RUN_UNTIL(&e, nr_ops(&e, BDEV_FLUSH) == flushes + 1);
	CHECK_EQ(nr_ops(&e, BDEV_WRITE), writes);
	wait_written(&e, seq);
	CHECK_EQ(nr_ops(&e, BDEV_WRITE), writes + 1);
	wait_written(&e, commit(&e, 0, 1, 2));
	CHECK_EQ(nr_ops(&e, BDEV_FLUSH), flushes + 1);
	jnl_stats(e.jnl, &st);
	CHECK_EQ(st.preflushes, 1);
	env_stop(&e);
}

/* Small logs go round many times; room is refused and comes back; nothing outgrows the log. */
static void test_wrap(uint32_t nr_blks, uint32_t nr_commits)
{
	uint64_t version[NR_HOME] = { 0 }, seq = 0;
	uint32_t rooms = 0, n, first;
	struct jnl_stats st;
	unsigned rnd = nr_blks;
	struct env e;

	env_start(&e, nr_blks);
	for (uint32_t i = 1; i <= nr_commits; i++) {
		n = 1 + (uint32_t)rand_r(&rnd) % (i % 7 ? 16 : JNL_TXN_MAX_BLOCKS);
		first = (uint32_t)rand_r(&rnd) % 300;
		while (!jnl_has_room(e.jnl, JNL_TXN_MAX_BLOCKS)) {
			rooms = e.nr_room;
			RUN_UNTIL(&e, e.nr_room > rooms);
		}
		seq = commit(&e, first, n, i);
		for (uint32_t k = 0; k < n; k++)
			version[first + k] = i;
		jnl_stats(e.jnl, &st);
		CHECK(st.used_blks <= st.size_blks);
		if (rand_r(&rnd) % 3 == 0)
			loop_run_once(e.loop, false);
	}
	CHECK(e.nr_room > 0 || nr_blks > 2000);
	wait_written(&e, seq);
	for (uint32_t i = 0; i < 500; i++) /* what a reader sees */
		CHECK_EQ(jnl_peek(e.jnl, e.home + i) ? peek(&e, i) : on_disk(&e, i), version[i]);
	jnl_stats(e.jnl, &st);
	CHECK(st.blocks > 4 * st.size_blks);
	if (nr_commits % 2) {
		checkpoint(&e);
		CHECK_EQ(e.nr_clean > 0, true);
	} else {
		jnl_free(e.jnl);
		env_recover(&e, 3);
		CHECK_OK(e.recovered);
		CHECK(e.nr_records > 0);
	}
	for (uint32_t i = 0; i < 500; i++)
		CHECK_EQ(on_disk(&e, i), version[i]);
	env_stop(&e);
}

/* Half of the log is in use: a checkpoint by itself. A commit that does not fit changes nothing. */
static void test_room(void)
{
	struct jnl_stats st;
	uint64_t seq;
	struct env e;

	env_start(&e, 1024); /* a ring of 1,022: at most 255 in a compound */
	wait_written(&e, commit(&e, 0, 192, 1));
	wait_written(&e, commit(&e, 192, 192, 1));
	settle(&e);
	jnl_stats(e.jnl, &st);
	CHECK_EQ(st.used_blks, 2 * 193);
	CHECK_EQ(st.checkpoints, 0);
	/* This one takes the log past its half: it starts the checkpoint, and stays. */
	wait_written(&e, commit(&e, 384, 192, 1));
	settle(&e);
	jnl_stats(e.jnl, &st);
	CHECK_EQ(st.used_blks, 193);
	CHECK_EQ(st.checkpoints, 1);
	CHECK_EQ(e.nr_clean, 384);
	CHECK_EQ(e.nr_room, 0);

	commit(&e, 0, 192, 2);
	CHECK(jnl_has_room(e.jnl, 61)); /* 253 images and 2 descriptors */
	CHECK(!jnl_has_room(e.jnl, 62));
	CHECK_EQ(try_commit(&e, 300, 192, 3, 0, &seq), -ENOSPC);
	CHECK_OK(try_commit(&e, 0, 192, 4, 0, &seq)); /* nothing new */
	RUN_UNTIL(&e, e.nr_room == 1);
	CHECK(jnl_has_room(e.jnl, 192));
	wait_written(&e, seq);
	jnl_stats(e.jnl, &st);
	CHECK_EQ(st.used_blks, 2 * 193);
	checkpoint(&e);
	CHECK_EQ(on_disk(&e, 0), 4);
	CHECK_EQ(on_disk(&e, 300), 1);
	env_stop(&e);
}

/* A block goes on changing while older content of it is checkpointed. */
static void test_hot_block(void)
{
	struct waiter w = { .status = 0 };
	uint64_t seq = 0;
	struct env e;

	env_start(&e, 256);
	for (uint64_t v = 1; v <= 3000; v++) {
		while (!jnl_has_room(e.jnl, 20))
			loop_run_once(e.loop, false);
		seq = commit(&e, 0, v % 5 ? 1 : 20, v);
		if (v % 3 == 0 && w.status != 1)
			jnl_checkpoint(e.jnl, waiter(&w));
		loop_run_once(e.loop, false);
		if (jnl_peek(e.jnl, e.home))
			CHECK(peek(&e, 0) + 2 >= v);
	}
	RUN_UNTIL(&e, w.status != 1);
	wait_stable(&e, seq);
	CHECK_EQ(peek(&e, 0), 3000);
	checkpoint(&e);
	CHECK_EQ(on_disk(&e, 0), 3000);
	CHECK_EQ(on_disk(&e, 19), 3000);
	env_stop(&e);
}

/* Callbacks that call back, down to the free in close's. */
struct chain {
	struct jnl_wait wait;
	struct env *e;
	uint64_t left, freed;
};

static void on_chain(struct jnl_wait *wait, int status)
{
	struct chain *c = container_of(wait, struct chain, wait);
	uint64_t seq;

	CHECK_OK(status);
	if (c->left == 0) {
		jnl_free(c->e->jnl);
		c->e->jnl = NULL;
		c->freed = 1;
		return;
	}
	if (--c->left == 0) {
		jnl_close(c->e->jnl, wait);
		return;
	}
	seq = commit(c->e, (uint32_t)c->left, 1, c->left);
	switch (c->left % 3) {
	case 0:
		jnl_wait_written(c->e->jnl, seq, wait);
		break;
	case 1:
		jnl_wait_stable(c->e->jnl, seq, wait);
		break;
	case 2:
		jnl_checkpoint(c->e->jnl, wait);
		break;
	}
}

static void test_callbacks(void)
{
	struct chain c = { .wait.done = on_chain, .left = 100 };
	struct env e;

	env_start(&e, 256);
	c.e = &e;
	jnl_wait_written(e.jnl, 0, &c.wait);
	RUN_UNTIL(&e, c.freed);
	for (uint32_t i = 1; i < 100; i++)
		CHECK_EQ(on_disk(&e, i), i);
	env_stop(&e);
}

int main(void)
{
	test_basic();
	test_close();
	test_no_header();
	test_group_commit();
	test_commit_args();
	test_wait();
	test_preflush();
	test_room();
	test_hot_block();
	test_callbacks();
	for (uint32_t n = 256; n < 300; n += 7)
		test_wrap(n, n % 2 ? 200 : 201);
	test_wrap(1000, 900);
	test_wrap(6000, 3000);
	return 0;
}
