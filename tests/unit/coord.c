/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: util blockdev journal core proto coord */
/* The coordinator: tokens and recalls, opens and orphans, takeover, hostile messages. */
#include "tests/unit/coord_test.h"

static const struct csv_attr none;

/* ---- tokens ---- */

static void test_tokens(void)
{
	struct env v;
	struct csvp_msg msg;
	struct sent *s;
	enum csvp_mode mode;

	env_start(&v);
	uint64_t ino = do_create(&v, 1, "f", true);
	CHECK_OK(do_open(&v, 2, ino));
	CHECK_OK(do_open(&v, 3, ino));

	/* Alone: more than was asked for. Readers side by side: nobody is asked. */
	CHECK_EQ(do_layout(&v, 1, ino, 0, 0, CSVP_WRITE, 0), CSVP_EXCL);
	CHECK(!was_recalled(&v, 1));

	/* A reader beside a holder of "excl" becomes a sharer, and so does that. */
	build_layout(&v, &msg, ino, 0, 0, CSVP_READ, 0);
	uint64_t xid = v.xid;
	CHECK_OK(msg_post(&v, 2, &msg));
	csvp_free(&msg);
	uint64_t recall = recall_wait(&v, 1, ino, &mode);
	CHECK_EQ(mode, CSVP_WRITE);
	CHECK(!sent_take(&v, 2, true, xid, 0)); /* not before the answer (C4) */
	env_settle(&v);
	CHECK(!sent_take(&v, 2, true, xid, 0));
	recall_answer(&v, 1, CSVP_RECALL, recall, 50);
	CHECK_OK(msg_wait(&v, 2, xid, &s));
	CHECK_EQ(layout_mode(s, NULL), CSVP_WRITE);
	free(s);

	/* Sharers are not asked by another one, and all are by truncation, by the asker's own too. */
	CHECK_EQ(do_layout(&v, 3, ino, 0, 0, CSVP_WRITE, 0), CSVP_WRITE);
	build_setattr(&v, &msg, ino, CSV_SET_SIZE, 100, 0);
	xid = v.xid;
	CHECK_OK(msg_post(&v, 3, &msg));
	csvp_free(&msg);
	for (uint32_t node = 1; node <= 3; node++) {
		recall = recall_wait(&v, node, ino, &mode);
		CHECK_EQ(mode, CSVP_NONE);
		CHECK(!sent_take(&v, 3, true, xid, 0));
		recall_answer(&v, node, CSVP_RECALL, recall, 0);
	}
	CHECK_OK(msg_wait(&v, 3, xid, NULL));
	CHECK_EQ(size_of(&v, ino), 100);

	/* A second answer to the same recall is nothing. */
	recall_answer(&v, 1, CSVP_RECALL, recall, 0);
	CHECK_EQ(do_layout(&v, 1, ino, 0, 0, CSVP_READ, 0), CSVP_READ);
	CHECK_EQ(do_layout(&v, 2, ino, 0, 0, CSVP_READ, 0), CSVP_READ);
	CHECK(!was_recalled(&v, 1) && !was_recalled(&v, 2));
	env_end(&v);
}

/* utimes() recalls writers; one that shares knows a lower bound of the size alone, and keeps nothing;
 * one that was alone knows it, and stays a reader. */
static void test_recall_to_read(void)
{
	struct env v;
	struct csvp_msg msg;
	struct csv_attr a = none;
	enum csvp_mode mode;

	env_start(&v);
	uint64_t ino = do_create(&v, 1, "f", true);
	CHECK_OK(do_open(&v, 2, ino));
	CHECK_EQ(do_layout(&v, 1, ino, 0, 0, CSVP_WRITE, 0), CSVP_EXCL);
	build_setattr(&v, &msg, ino, CSV_SET_MTIME, 0, 1000);
	uint64_t xid = v.xid;
	CHECK_OK(msg_post(&v, 2, &msg));
	csvp_free(&msg);
	uint64_t recall = recall_wait(&v, 1, ino, &mode);
	CHECK_EQ(mode, CSVP_READ);
	recall_answer(&v, 1, CSVP_RECALL, recall, 5000); /* it wrote later than the time to be set */
	CHECK_OK(msg_wait(&v, 2, xid, NULL));
	CHECK_OK(do_getattr(&v, 2, ino, 0, &a));
	CHECK_EQ(a.mtime_ns, 1000);
	/* What a stat() of the old writer had on its way changes it no more. */
	CHECK_OK(do_getattr(&v, 1, ino, 5000, &a));
	CHECK_EQ(a.mtime_ns, 1000);

	/* a second writer: node 1 becomes a sharer beside it */
	build_layout(&v, &msg, ino, 0, 0, CSVP_WRITE, 0);
	xid = v.xid;
	CHECK_OK(msg_post(&v, 2, &msg));
	csvp_free(&msg);
	recall = recall_wait(&v, 1, ino, &mode);
	CHECK_EQ(mode, CSVP_WRITE);
	recall_answer(&v, 1, CSVP_RECALL, recall, 0);
	CHECK_OK(msg_wait(&v, 2, xid, NULL));
	build_setattr(&v, &msg, ino, CSV_SET_MTIME, 0, 2000);
	xid = v.xid;
	CHECK_OK(msg_post(&v, 3, &msg));
	csvp_free(&msg);
	for (uint32_t node = 1; node <= 2; node++) {
		recall = recall_wait(&v, node, ino, &mode);
		CHECK_EQ(mode, CSVP_NONE);
		recall_answer(&v, node, CSVP_RECALL, recall, 0);
	}
	CHECK_OK(msg_wait(&v, 3, xid, NULL));
	env_end(&v);
}

/* A node that answers nothing is evicted; what waited for it goes on when it is gone. */
static void test_evict(void)
{
	struct env v;
	struct csvp_msg msg;
	enum csvp_mode mode;

	env_start(&v);
	v.recall_ms = 50;
	env_restart(&v, ALL);
	env_nodes(&v);
	uint64_t ino = do_create(&v, 1, "f", true);
	CHECK_OK(do_open(&v, 2, ino));
	CHECK_EQ(do_layout(&v, 2, ino, 0, 0, CSVP_WRITE, 0), CSVP_EXCL);
	build_setattr(&v, &msg, ino, CSV_SET_SIZE, 10, 0);
	uint64_t xid = v.xid;
	CHECK_OK(msg_post(&v, 1, &msg));
	csvp_free(&msg);
	recall_wait(&v, 2, ino, &mode);
	RUN_UNTIL(&v.e, v.evicted == 1u << 2);
	CHECK(!sent_take(&v, 1, true, xid, 0)); /* the fence is not confirmed yet */
	coord_node_gone(v.coord, 2, v.generation[2]);
	CHECK_OK(msg_wait(&v, 1, xid, NULL));
	/* It asks with an identity that has ended. */
	build_name(&v, &msg, CSVP_LOOKUP, 1, 0, "f");
	CHECK_EQ(msg_post(&v, 2, &msg), -ERR_STALE);
	csvp_free(&msg);
	/* A later mount of it is welcome, and the end of an earlier one does not touch it. */
	v.generation[2]++;
	CHECK_OK(node_hello(&v, 2));
	node_reassert(&v, 2, 0, NULL);
	coord_node_gone(v.coord, 2, v.generation[2] - 1);
	CHECK_OK(do_open(&v, 2, ino));
	v.generation[2]--;
	CHECK_EQ(node_hello(&v, 2), -ERR_STALE);
	v.generation[2]++;
	env_end(&v);
}

/* ---- writing ---- */

static void test_commit(void)
{
	struct env v;
	struct csvp_msg msg;
	enum csvp_mode mode;

	env_start(&v);
	uint64_t ino = do_create(&v, 1, "f", true);
	/* without a token */
	build_commit(&v, &msg, ino, 4096, 0, 0);
	CHECK_EQ(msg_call(&v, 1, &msg, NULL), -ERR_STALE);
	CHECK_EQ(do_layout(&v, 1, ino, 0, 16, CSVP_WRITE, CSVP_LAYOUT_ALLOC), CSVP_EXCL);
	build_commit(&v, &msg, ino, 65536, 0, 16);
	CHECK_OK(msg_call(&v, 1, &msg, NULL));
	CHECK_EQ(size_of(&v, ino), 65536);
	/* again: it is written by now */
	build_commit(&v, &msg, ino, 65536, 0, 16);
	CHECK_EQ(msg_call(&v, 1, &msg, NULL), -ERR_STALE);
	/* into a hole */
	build_commit(&v, &msg, ino, 1 << 20, 100, 16);
	CHECK_EQ(msg_call(&v, 1, &msg, NULL), -ERR_STALE);
	CHECK_EQ(size_of(&v, ino), 65536); /* and nothing of it was done */

	/* Zero-ahead takes what another write had been given: that one finds out. */
	CHECK_EQ(do_layout(&v, 1, ino, 64, 16, CSVP_WRITE, CSVP_LAYOUT_ALLOC), CSVP_EXCL);
	CHECK_EQ(do_layout(&v, 1, ino, 65, 1, CSVP_WRITE, CSVP_LAYOUT_ZERO_AHEAD), CSVP_EXCL);
	build_commit(&v, &msg, ino, 0, 64, 16);
	CHECK_EQ(msg_call(&v, 1, &msg, NULL), -ERR_STALE);

	/* A COMMIT that was sent before the truncation and is carried out after its recall. */
	CHECK_OK(do_open(&v, 2, ino));
	struct csvp_msg trunc;
	build_setattr(&v, &trunc, ino, CSV_SET_SIZE, 0, 0);
	uint64_t xid = v.xid;
	CHECK_OK(msg_post(&v, 2, &trunc));
	csvp_free(&trunc);
	uint64_t recall = recall_wait(&v, 1, ino, &mode);
	build_commit(&v, &msg, ino, 1 << 20, 0, 0);
	CHECK_OK(msg_post(&v, 1, &msg)); /* comes with the token still there ... */
	csvp_free(&msg);
	uint64_t commit_xid = v.xid;
	recall_answer(&v, 1, CSVP_RECALL, recall, 0); /* ... and runs without */
	CHECK_EQ(msg_wait(&v, 1, commit_xid, NULL), -ERR_STALE);
	CHECK_OK(msg_wait(&v, 2, xid, NULL));
	CHECK_EQ(size_of(&v, ino), 0);
	env_end(&v);
}

/* Bytes that go along; whoever reads beside a writer of them does not know the size for certain. */
static void test_inline(void)
{
	struct env v;
	struct csvp_msg msg;
	struct sent *s;
	enum csvp_mode mode;
	uint64_t size, recall;

	env_start(&v);
	uint64_t ino = do_create(&v, 1, "f", true);
	CHECK_OK(do_open(&v, 2, ino));
	CHECK_EQ(do_layout(&v, 1, ino, 0, 1, CSVP_READ, 0), CSVP_READ);
	CHECK_EQ(do_layout(&v, 2, ino, 0, 1, CSVP_READ, 0), CSVP_READ);
	build_inline(&v, &msg, ino, 0, "hello", false);
	uint64_t xid = v.xid;
	CHECK_OK(msg_post(&v, 1, &msg));
	csvp_free(&msg);
	for (uint32_t node = 1; node <= 2; node++) {
		recall = recall_wait(&v, node, ino, &mode);
		CHECK_EQ(mode, CSVP_WRITE);
		recall_answer(&v, node, CSVP_RECALL, recall, 0);
	}
	CHECK_OK(msg_wait(&v, 1, xid, NULL));
	build_inline(&v, &msg, ino, 0, " world", true);
	CHECK_OK(msg_call(&v, 2, &msg, NULL));
	build_layout(&v, &msg, ino, 0, 1, CSVP_READ, 0);
	CHECK_OK(msg_call(&v, 2, &msg, &s));
	CHECK_EQ(layout_mode(s, &size), CSVP_WRITE);
	CHECK_EQ(size, 11);
	CHECK(!memcmp(s->data + s->len - 11, "hello world", 11));
	free(s);
	char big[1025];
	memset(big, 'x', 1024);
	big[1024] = 0;
	build_inline(&v, &msg, ino, 1, big, false);
	CHECK_EQ(msg_call(&v, 2, &msg, NULL), -EFBIG);
	/* Out into blocks, and what was there stays. */
	CHECK_EQ(do_layout(&v, 1, ino, 0, 1, CSVP_WRITE, CSVP_LAYOUT_ZERO_AHEAD), CSVP_WRITE);
	build_inline(&v, &msg, ino, 0, "no", false);
	CHECK_EQ(msg_call(&v, 1, &msg, NULL), -EFBIG);
	CHECK_EQ(size_of(&v, ino), 11);
	env_end(&v);
}

/* The answer to a small write shows all that was made ready around it. */
static void test_zero_ahead(void)
{
	struct env v;
	struct csvp_msg msg;
	struct sent *s;
	struct csvp_in in;

	env_start(&v);
	uint64_t ino = do_create(&v, 1, "f", true);
	build_setattr(&v, &msg, ino, CSV_SET_SIZE, 8 << 20, 0);
	CHECK_OK(msg_call(&v, 1, &msg, NULL));
	uint64_t blk = 0, nr_calls = 0;
	while (blk < 1024) { /* as a sequential writer goes */
		build_layout(&v, &msg, ino, blk, 1, CSVP_WRITE, CSVP_LAYOUT_ZERO_AHEAD);
		CHECK_OK(msg_call(&v, 1, &msg, &s));
		CHECK_OK(csvp_open(&in, s->data, s->len));
		const struct csvp_layout_reply *r = csvp_get(&in, sizeof(*r));
		CHECK(r && le32_get(r->nr_extents) >= 1);
		for (uint32_t i = 0; i < le32_get(r->nr_extents); i++) {
			const struct csvp_extent *e = csvp_get(&in, sizeof(*e));
			CHECK(e && le64_get(e->blk) == blk);
			CHECK_EQ(le32_get(e->state), CSV_WRITTEN);
			blk += le64_get(e->nr);
		}
		free(s);
		nr_calls++;
	}
	CHECK(nr_calls <= 12);
	env_end(&v);
}

/* ---- opens and orphans ---- */

static uint64_t free_blks(struct env *v)
{
	struct csvp_msg msg;
	struct sent *s;
	struct csvp_in in;

	msg_begin(v, &msg, CSVP_STATFS);
	CHECK_OK(msg_call(v, 1, &msg, &s));
	CHECK_OK(csvp_open(&in, s->data, s->len));
	const struct csvp_statfs *st = csvp_get(&in, sizeof(*st));
	CHECK(st);
	uint64_t n = le64_get(st->free_blks);
	free(s);
	return n;
}

/* A file of 64 KiB, open on the nodes of mask (1 is its maker), without a name. */
static uint64_t orphan(struct env *v, const char *name, uint64_t mask)
{
	struct csvp_msg msg;
	uint64_t ino = do_create(v, 1, name, true);

	for (uint32_t node = 2; node <= NODES; node++)
		if (mask & 1u << node)
			CHECK_OK(do_open(v, node, ino));
	build_fallocate(v, &msg, ino, 0, 65536, 0);
	CHECK_OK(msg_call(v, 1, &msg, NULL));
	CHECK_OK(do_unlink(v, 1, name));
	return ino;
}

static void test_orphans(void)
{
	struct env v;
	struct csvp_msg msg;

	env_start(&v);
	do_create(&v, 1, "keeps the directory's block", false);
	uint64_t before = free_blks(&v), ino = orphan(&v, "f", 1u << 2);
	env_settle(&v);
	CHECK(exists(&v, ino));
	CHECK_OK(do_close(&v, 1, ino));
	env_settle(&v);
	CHECK(exists(&v, ino)); /* node 2 has it open */
	CHECK_OK(do_close(&v, 2, ino));
	RUN_UNTIL(&v.e, !exists(&v, ino));
	CHECK_EQ(free_blks(&v), before);

	/* The last who has it open goes away. */
	ino = orphan(&v, "g", 1u << 2);
	CHECK_OK(do_close(&v, 1, ino));
	coord_node_gone(v.coord, 2, v.generation[2]);
	RUN_UNTIL(&v.e, !exists(&v, ino));

	/* Who unlinks goes away before it can be told. */
	CHECK_OK(node_hello(&v, 2));
	node_reassert(&v, 2, 0, NULL);
	ino = do_create(&v, 1, "h", false);
	build_name(&v, &msg, CSVP_UNLINK, 1, 0, "h");
	CHECK_OK(msg_post(&v, 2, &msg));
	csvp_free(&msg);
	coord_node_gone(v.coord, 2, v.generation[2]);
	RUN_UNTIL(&v.e, !exists(&v, ino));

	/* A connection that reasserts less than was open: what was lost with it counts as closed. */
	ino = orphan(&v, "i", 0);
	CHECK(exists(&v, ino));
	CHECK_OK(node_hello(&v, 1));
	node_reassert(&v, 1, 0, NULL);
	RUN_UNTIL(&v.e, !exists(&v, ino));
	env_end(&v);
}

/* An open that meets somebody else's last close finds a file that has a name. */
static void test_open_close(void)
{
	struct env v;
	struct csvp_msg open, close;

	env_start(&v);
	uint64_t ino = do_create(&v, 1, "f", false);
	for (int i = 0; i < 50; i++) {
		CHECK_OK(do_open(&v, 1, ino));
		msg_begin(&v, &close, CSVP_CLOSE);
		struct csvp_close *c = csvp_put(&close, sizeof(*c));
		CHECK(c);
		c->ino = le64_of(ino);
		uint64_t close_xid = v.xid;
		CHECK_OK(msg_post(&v, 1, &close));
		csvp_free(&close);
		for (int k = 0; k < i % 5; k++)
			loop_run_once(v.e.loop, false);
		msg_begin(&v, &open, CSVP_OPEN);
		struct csvp_ino *o = csvp_put(&open, sizeof(*o));
		CHECK(o);
		o->ino = le64_of(ino);
		CHECK_OK(msg_call(&v, 2, &open, NULL));
		CHECK_OK(msg_wait(&v, 1, close_xid, NULL));
		CHECK_OK(do_close(&v, 2, ino));
	}
	env_end(&v);
}

/* Space is not freed while somebody has a layout of it, open or not (C4). */
static void test_orphan_token(void)
{
	struct env v;
	enum csvp_mode mode;

	env_start(&v);
	uint64_t ino = do_create(&v, 1, "f", false);
	/* node 2 asks for a layout while its OPEN is still under way */
	CHECK_EQ(do_layout(&v, 2, ino, 0, 16, CSVP_WRITE, CSVP_LAYOUT_ALLOC), CSVP_EXCL);
	CHECK_OK(do_unlink(&v, 1, "f"));
	uint64_t recall = recall_wait(&v, 2, ino, &mode);
	CHECK_EQ(mode, CSVP_NONE);
	env_settle(&v);
	CHECK(exists(&v, ino));
	recall_answer(&v, 2, CSVP_RECALL, recall, 0);
	RUN_UNTIL(&v.e, !exists(&v, ino));
	CHECK_EQ(do_layout(&v, 2, ino, 0, 16, CSVP_WRITE, CSVP_LAYOUT_ALLOC), -ESTALE);
	CHECK_EQ(do_open(&v, 2, ino), -ESTALE);
	env_end(&v);
}

/* ---- connections and takeover ---- */

/* Nothing is carried out before all have told what they hold; then what they told counts. */
static void test_takeover(void)
{
	struct env v;
	struct csvp_msg msg;
	enum csvp_mode mode;
	struct csv_attr a = none;

	env_start(&v);
	uint64_t ino = do_create(&v, 1, "f", true), lost = orphan(&v, "g", 1u << 2 | 1u << 3);
	CHECK_OK(do_close(&v, 1, lost));
	CHECK_EQ(do_layout(&v, 1, ino, 0, 0, CSVP_WRITE, 0), CSVP_EXCL);
	env_restart(&v, ALL);
	uint64_t hold[2] = { ino, CSVP_EXCL }, open[2] = { lost, CSVP_NONE };
	CHECK_OK(node_hello(&v, 1));
	node_reassert(&v, 1, 1, hold);
	CHECK_OK(node_hello(&v, 2));
	node_reassert(&v, 2, 1, open);
	build_name(&v, &msg, CSVP_LOOKUP, 1, 0, "f");
	uint64_t xid = v.xid;
	CHECK_OK(msg_post(&v, 1, &msg));
	csvp_free(&msg);
	/* Node 2 goes, who has the orphan open; node 3 has it, too, and has not said so yet. */
	coord_node_gone(v.coord, 2, v.generation[2]);
	for (int i = 0; i < 100; i++)
		loop_run_once(v.e.loop, false);
	CHECK(!sent_take(&v, 1, true, xid, 0));
	CHECK_EQ(v.served, 0);
	CHECK_OK(node_hello(&v, 3));
	node_reassert(&v, 3, 1, open);
	CHECK_EQ(v.served, 0);
	coord_node_gone(v.coord, 4, v.generation[4]); /* it does not come */
	CHECK_EQ(v.served, 1);
	CHECK_OK(msg_wait(&v, 1, xid, NULL));
	env_settle(&v);
	CHECK(exists(&v, lost));
	CHECK_OK(do_close(&v, 3, lost));
	RUN_UNTIL(&v.e, !exists(&v, lost));

	/* The token that was told is recalled like one that was granted here. */
	build_layout(&v, &msg, ino, 0, 0, CSVP_EXCL, 0);
	xid = v.xid;
	CHECK_OK(msg_post(&v, 3, &msg));
	csvp_free(&msg);
	uint64_t recall = recall_wait(&v, 1, ino, &mode);
	CHECK_EQ(mode, CSVP_NONE);
	/* An answer that was meant for the coordinator before does not pass for it. */
	recall_answer(&v, 1, CSVP_RECALL, recall - (1ull << 32), 0);
	recall_answer(&v, 1, CSVP_RECALL, 1, 0);
	env_settle(&v);
	CHECK(!sent_take(&v, 3, true, xid, 0));
	/* Its connection breaks; it is asked again on the new one. */
	CHECK_OK(node_hello(&v, 1));
	node_reassert(&v, 1, 1, hold);
	CHECK_EQ(recall_wait(&v, 1, ino, &mode), recall);
	recall_answer(&v, 1, CSVP_RECALL, recall, 77);
	CHECK_OK(msg_wait(&v, 3, xid, NULL));
	RUN_UNTIL(&v.e, (do_getattr(&v, 2 + 1, ino, 0, &a), a.mtime_ns == 77)); /* as it said */
	env_end(&v);
}

static int claim(struct env *v, uint32_t node, unsigned nr, const uint64_t *pairs, uint32_t flags)
{
	struct csvp_msg msg;

	msg_begin(v, &msg, CSVP_REASSERT);
	csvp_hdr(&msg)->flags = le32_of(flags);
	for (unsigned i = 0; i < nr; i++) {
		struct csvp_reassert r = { le64_of(pairs[2 * i]), le32_of((uint32_t)pairs[2 * i + 1]),
			le32_of(1) };
		csvp_put_bytes(&msg, &r, sizeof(r));
	}
	int err = msg_post(v, node, &msg);
	csvp_free(&msg);
	return err ? err : msg_wait(v, node, v->xid, NULL);
}

/* Two nodes say that they hold what one of them alone can hold: who says so later goes; but not this
 * node, which coordinates. Nothing is served before it is gone. */
static void test_conflict(void)
{
	static const struct {
		enum csvp_mode first, second;
		bool fits;
	} cases[] = { { CSVP_EXCL, CSVP_EXCL, false }, { CSVP_EXCL, CSVP_READ, false },
		{ CSVP_EXCL, CSVP_WRITE, false }, { CSVP_WRITE, CSVP_EXCL, false },
		{ CSVP_READ, CSVP_EXCL, false }, { CSVP_READ, CSVP_WRITE, false },
		{ CSVP_WRITE, CSVP_READ, false }, { CSVP_READ, CSVP_READ, true },
		{ CSVP_WRITE, CSVP_WRITE, true }, { CSVP_EXCL, CSVP_NONE, true },
		{ CSVP_NONE, CSVP_EXCL, true } };
	struct env v;

	env_start(&v);
	uint64_t ino = do_create(&v, 1, "f", true);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (uint32_t second = 1; second <= 3; second += 2) {
			uint64_t a[2] = { ino, cases[i].first }, b[2] = { ino, cases[i].second };
			uint32_t victim = second == 1 ? 2 : second;
			env_restart(&v, 7);
			v.evicted = 0;
			CHECK_OK(node_hello(&v, 2));
			CHECK_OK(claim(&v, 2, 1, a, CSVP_LAST));
			CHECK_OK(node_hello(&v, 4 - second));
			CHECK_OK(claim(&v, 4 - second, 0, NULL, CSVP_LAST));
			CHECK_OK(node_hello(&v, second));
			CHECK_EQ(claim(&v, second, 1, b, CSVP_LAST), cases[i].fits ? 0 : -EPROTO);
			CHECK_EQ(v.evicted, cases[i].fits ? 0 : 1u << victim);
			CHECK_EQ(v.served, cases[i].fits);
			if (cases[i].fits)
				continue;
			coord_node_gone(v.coord, victim, v.generation[victim]);
			if (second == 1) {
				CHECK_OK(node_hello(&v, 1));
				CHECK_OK(claim(&v, 1, 1, b, CSVP_LAST));
			}
			CHECK_EQ(v.served, 1);
		}

	/* While it serves: a new connection that claims what another one was granted; and one that has told
	 * all already. */
	env_restart(&v, ALL);
	env_nodes(&v);
	v.evicted = 0;
	uint64_t excl[2] = { ino, CSVP_EXCL };
	CHECK_OK(do_open(&v, 2, ino));
	CHECK_EQ(do_layout(&v, 2, ino, 0, 0, CSVP_EXCL, 0), CSVP_EXCL);
	CHECK_EQ(claim(&v, 3, 1, excl, CSVP_LAST), -EPROTO);
	CHECK_EQ(v.evicted, 0);
	CHECK_OK(node_hello(&v, 3));
	CHECK_EQ(claim(&v, 3, 1, excl, 0), -EPROTO);
	CHECK_EQ(v.evicted, 1u << 3);
	env_end(&v);
}

/* A node has as many files open as it may, and tells of as many, and of those that it was about to open. */
static void test_opens_max(void)
{
	struct env v;
	uint64_t ino[3];
	int status = 0;
	uint32_t nr;

	env_start(&v);
	v.opens_max = 2;
	env_restart(&v, ALL);
	env_nodes(&v);
	for (unsigned i = 0; i < 3; i++)
		ino[i] = do_create(&v, 1, (char[2]){ (char)('a' + i), 0 }, false);
	CHECK_OK(do_open(&v, 2, ino[0]));
	CHECK_OK(do_open(&v, 2, ino[1]));
	CHECK_OK(do_open(&v, 2, ino[1]));
	CHECK_EQ(do_open(&v, 2, ino[2]), -ENFILE);
	CHECK_OK(do_open(&v, 3, ino[2]));
	CHECK_OK(do_close(&v, 2, ino[0]));
	CHECK_OK(do_open(&v, 2, ino[2]));
	struct csvp_msg msg;
	build_create(&v, &msg, 1, "d", S_IFREG | 0644, "", true);
	CHECK_EQ(msg_call(&v, 2, &msg, NULL), -ENFILE);
	CHECK_OK(do_close(&v, 2, ino[1]));
	CHECK_OK(do_close(&v, 2, ino[2]));
	do_create(&v, 2, "d", true);

	CHECK_OK(node_hello(&v, 4));
	for (nr = 0; nr < 10 && !status; nr++) {
		uint64_t made_up[2] = { 1000 + nr, CSVP_READ };
		status = claim(&v, 4, 1, made_up, 0);
	}
	CHECK_EQ(status, -EPROTO);
	CHECK_EQ(nr, 5);
	env_end(&v);
}

/* A grant to a connection that has ended is none: the node tells on the new one what it holds. */
static void test_reconnect(void)
{
	struct env v;
	struct csvp_msg msg;
	enum csvp_mode mode;

	env_start(&v);
	uint64_t ino = do_create(&v, 1, "f", true);
	CHECK_OK(do_open(&v, 2, ino));
	CHECK_EQ(do_layout(&v, 2, ino, 0, 0, CSVP_WRITE, 0), CSVP_EXCL);
	build_layout(&v, &msg, ino, 0, 0, CSVP_EXCL, 0);
	uint64_t xid = v.xid;
	CHECK_OK(msg_post(&v, 1, &msg)); /* waits for node 2 */
	uint64_t recall = recall_wait(&v, 2, ino, &mode);
	CHECK_OK(node_hello(&v, 1)); /* a new connection, and it has not told what it holds */
	recall_answer(&v, 2, CSVP_RECALL, recall, 0);
	for (int i = 0; i < 100; i++)
		loop_run_once(v.e.loop, false);
	CHECK(!sent_take(&v, 1, true, xid, 0));
	uint64_t hold[2] = { ino, CSVP_NONE };
	node_reassert(&v, 1, 1, hold);
	/* Nobody holds anything, so nobody is asked; and the resend is answered. */
	CHECK_EQ(do_layout(&v, 2, ino, 0, 0, CSVP_EXCL, 0), CSVP_EXCL);
	CHECK(!was_recalled(&v, 1));
	CHECK_OK(msg_post(&v, 1, &msg));
	csvp_free(&msg);
	recall = recall_wait(&v, 2, ino, &mode);
	recall_answer(&v, 2, CSVP_RECALL, recall, 0);
	CHECK_OK(msg_wait(&v, 1, xid, NULL));

	/* CLOSE crosses a recall: its answer, which comes after, gives nothing back. */
	build_layout(&v, &msg, ino, 0, 0, CSVP_WRITE, 0);
	xid = v.xid;
	CHECK_OK(msg_post(&v, 2, &msg));
	csvp_free(&msg);
	recall = recall_wait(&v, 1, ino, &mode);
	CHECK_EQ(mode, CSVP_WRITE);
	CHECK_OK(do_close(&v, 1, ino));
	recall_answer(&v, 1, CSVP_RECALL, recall, 0);
	CHECK_OK(msg_wait(&v, 2, xid, NULL));
	build_setattr(&v, &msg, ino, CSV_SET_SIZE, 10, 0);
	xid = v.xid;
	CHECK_OK(msg_post(&v, 2, &msg));
	csvp_free(&msg);
	recall = recall_wait(&v, 2, ino, &mode);
	recall_answer(&v, 2, CSVP_RECALL, recall, 0);
	CHECK_OK(msg_wait(&v, 2, xid, NULL));
	CHECK(!was_recalled(&v, 1));
	env_end(&v);
}

/* ---- hostile messages ---- */

static void test_hostile_frames(void)
{
	struct env v;
	struct csvp_msg msg;

	env_start(&v);
	/* an op without its struct, ops that do not exist or are not a node's to ask */
	for (unsigned op = 0; op < CSVP_OP_LIMIT + 5; op++) {
		msg_begin(&v, &msg, (enum csvp_op)op);
		int err = msg_post(&v, 1, &msg);
		if (op == CSVP_STATFS || op == CSVP_SYNC)
			CHECK_OK(err);
		else
			CHECK_EQ(err, -EPROTO);
		csvp_free(&msg);
	}
	/* nodes that there cannot be */
	msg_begin(&v, &msg, CSVP_STATFS);
	CHECK_EQ(msg_post(&v, 0, &msg), -EPROTO);
	CHECK_EQ(msg_post(&v, 65, &msg), -EPROTO);
	CHECK_EQ(msg_post(&v, UINT32_MAX, &msg), -EPROTO);
	/* one that has not said hello; another epoch */
	CHECK_EQ(msg_post(&v, NODES + 1, &msg), -ERR_STALE);
	csvp_hdr(&msg)->epoch = le64_of(v.e.epoch - 1);
	CHECK_EQ(coord_message(v.coord, 1, msg.data, msg.len), -ERR_STALE);
	csvp_free(&msg);
	/* slots out of range, and on what has none */
	build_create(&v, &msg, 1, "x", S_IFREG, "", false);
	put_slot(&msg, 62, 1);
	CHECK_EQ(msg_post(&v, 1, &msg), -EPROTO);
	csvp_free(&msg);
	build_layout(&v, &msg, 5, 0, 1, CSVP_WRITE, CSVP_LAYOUT_ZERO_AHEAD);
	put_slot(&msg, 1, 1);
	CHECK_EQ(msg_post(&v, 1, &msg), -EPROTO);
	csvp_free(&msg);
	/* hello of somebody else, of another volume, too short */
	msg_begin(&v, &msg, CSVP_HELLO);
	struct csvp_hello *h = csvp_put(&msg, sizeof(*h));
	CHECK(h);
	h->node = le32_of(2);
	CHECK_EQ(msg_post(&v, 1, &msg), -EPROTO);
	h = (struct csvp_hello *)(msg.data + sizeof(struct csvp_hdr));
	h->node = le32_of(1);
	CHECK_EQ(msg_post(&v, 1, &msg), -EPROTO);
	csvp_free(&msg);
	CHECK_OK(node_hello(&v, 1));
	msg_begin(&v, &msg, CSVP_REASSERT);
	struct csvp_reassert *r = csvp_put(&msg, sizeof(*r));
	CHECK(r);
	r->mode = le32_of(CSVP_EXCL + 1);
	CHECK_EQ(msg_post(&v, 1, &msg), -EPROTO);
	csvp_free(&msg);
	/* an answer that nobody asked for, and one without a body */
	recall_answer(&v, 1, CSVP_RECALL, 12345, 0);
	env_end(&v);
}

/* Numbers out of all bounds in messages that are whole: refused, answered, nothing happens. */
static void test_hostile_numbers(void)
{
	static const uint64_t odd[] = { 0, 1, 2, 99999, 1ull << 31, 1ull << 51, 1ull << 52, INT64_MAX,
		1ull << 63, UINT64_MAX - 4095, UINT64_MAX - 1, UINT64_MAX };
	struct env v;
	struct csvp_msg msg;
	uint64_t nr_odd = sizeof(odd) / sizeof(odd[0]);

	env_start(&v);
	uint64_t ino = do_create(&v, 1, "f", true), punched = do_create(&v, 1, "punched", false);
	build_create(&v, &msg, 1, "dir", S_IFDIR | 0755, "", false);
	struct csv_attr dir = none;
	CHECK_OK(call_attr(&v, 1, &msg, &dir));
	CHECK_EQ(do_layout(&v, 1, ino, 0, 16, CSVP_WRITE, CSVP_LAYOUT_ALLOC), CSVP_EXCL);
	for (uint64_t i = 0; i < nr_odd; i++) {
		for (uint64_t k = 0; k < nr_odd; k++) {
			build_commit(&v, &msg, ino, odd[i] > INT64_MAX ? odd[i] : 0, odd[i], odd[k]);
			CHECK(msg_call(&v, 1, &msg, NULL) < 0 || odd[k] == 0 ||
				odd[i] + odd[k] <= 16);
			for (uint32_t flags = 0; flags < 4; flags++) {
				if (flags && (odd[k] > 16 && odd[k] <= 1 << 14))
					continue; /* would be right */
				build_layout(&v, &msg, ino, odd[i], odd[k], CSVP_EXCL, flags);
				(void)msg_call(&v, 1, &msg, NULL);
			}
			if (odd[k] <= 1 << 20) /* what is right and huge only takes the space */
				continue;
			build_fallocate(&v, &msg, punched, odd[i], odd[k],
				CSVP_FALLOC_PUNCH | CSVP_FALLOC_KEEP_SIZE);
			int err = msg_call(&v, 1, &msg, NULL);
			CHECK_EQ(err, odd[k] <= INT64_MAX && odd[i] <= INT64_MAX - odd[k] ? 0 : -EINVAL);
		}
		(void)do_open(&v, 3, odd[i]);
		(void)do_close(&v, 3, odd[i]);
		(void)do_layout(&v, 3, odd[i] == ino ? 0 : odd[i], 0, 1, CSVP_READ, 0);
		struct csv_attr a;
		(void)do_getattr(&v, 3, odd[i], odd[i], &a);
		msg_begin(&v, &msg, CSVP_READDIR);
		struct csvp_readdir *d = csvp_put(&msg, sizeof(*d));
		CHECK(d);
		*d = (struct csvp_readdir){ le64_of(1), le64_of(odd[i]), le32_of((uint32_t)odd[i]) };
		(void)msg_call(&v, 3, &msg, NULL);
		msg_begin(&v, &msg, CSVP_SEEK);
		struct csvp_seek *k = csvp_put(&msg, sizeof(*k));
		CHECK(k);
		*k = (struct csvp_seek){ le64_of(ino), le64_of(odd[i]), le32_of((uint32_t)odd[i] & 1) };
		(void)msg_call(&v, 3, &msg, NULL);
		build_setattr(&v, &msg, dir.ino, (uint32_t)odd[i] | CSV_SET_SIZE, odd[i], odd[i]);
		CHECK(msg_call(&v, 3, &msg, NULL) < 0); /* a directory has no size to set */
	}
	/* modes and counts */
	CHECK_EQ(do_layout(&v, 3, dir.ino, 0, 0, CSVP_NONE, 0), -EINVAL);
	CHECK_EQ(do_layout(&v, 3, dir.ino, 0, 0, (enum csvp_mode)77, 0), -EINVAL);
	CHECK_EQ(do_layout(&v, 3, dir.ino, 0, 0, CSVP_READ, 0), -EISDIR);
	build_commit(&v, &msg, ino, 0, 0, 0);
	((struct csvp_commit *)(msg.data + sizeof(struct csvp_hdr)))->nr_ranges = le32_of(UINT32_MAX);
	CHECK_EQ(msg_call(&v, 1, &msg, NULL), -EINVAL);
	/* names longer than the message, and names that are none */
	build_name(&v, &msg, CSVP_LOOKUP, 1, 0, "f");
	((struct csvp_name *)(msg.data + sizeof(struct csvp_hdr)))->name_len = le32_of(UINT32_MAX);
	CHECK_EQ(msg_call(&v, 1, &msg, NULL), -EPROTO);
	static const char *const names[] = { "", ".", "..", "a/b", "/" };
	for (unsigned i = 0; i < 5; i++) {
		build_create(&v, &msg, 1, names[i], S_IFREG | 0644, "", false);
		CHECK(msg_call(&v, 1, &msg, NULL) < 0);
	}
	build_create(&v, &msg, 1, "odd mode", 0777777, "", false);
	CHECK(msg_call(&v, 1, &msg, NULL) < 0);
	build_inline(&v, &msg, ino, UINT64_MAX, "x", false);
	CHECK_EQ(msg_call(&v, 1, &msg, NULL), -EFBIG);
	build_inline(&v, &msg, ino, 0, "x", false);
	((struct csvp_write_inline *)(msg.data + sizeof(struct csvp_hdr)))->len = le32_of(UINT32_MAX);
	CHECK(msg_call(&v, 1, &msg, NULL) < 0);
	env_end(&v);
}

/* ---- the end ---- */

static void run_for(struct env *v, uint64_t ms)
{
	uint64_t until = clock_mono_ns() + ms * 1000000;

	while (clock_mono_ns() < until)
		loop_run_once(v->e.loop, false);
}

/* A coordinator that is stopped in the middle of its own I/O ends when that has ended. */
static void test_stop_io(void)
{
	struct env v;
	struct csvp_msg msg;
	bool stopped = false;

	env_start_on(&v, "delay(zero_ms=300)|ram:64M");
	uint64_t ino = do_create(&v, 1, "f", true);
	build_layout(&v, &msg, ino, 0, 1, CSVP_WRITE, CSVP_LAYOUT_ZERO_AHEAD);
	CHECK_OK(msg_post(&v, 1, &msg));
	csvp_free(&msg);
	struct bdev_counters c;
	RUN_UNTIL(&v.e, (bdev_counters(v.e.ram, &c), c.in_flight == 1) || c.ops[BDEV_WRITE_ZEROES]);
	run_for(&v, 50); /* the zeroes alone can be in flight now */
	bdev_counters(v.e.ram, &c);
	CHECK_EQ(c.in_flight, 1);
	coord_stop(v.coord, env_stopped, &stopped);
	run_for(&v, 50);
	CHECK(!stopped);
	RUN_UNTIL(&v.e, stopped);
	bdev_counters(v.e.ram, &c);
	CHECK_EQ(c.in_flight, 0);
	CHECK_OK(engine_close(&v.e));
	coord_free(v.coord);
	env_forget(&v);
	engine_open(&v.e, 0);
	env_coord(&v, 0);
	env_end(&v);
}

/* Who was recalled when it stopped is not evicted after it. */
static void test_stop_recall(void)
{
	struct env v;
	struct csvp_msg msg;
	enum csvp_mode mode;
	bool stopped = false;

	env_start(&v);
	v.recall_ms = 30;
	env_restart(&v, ALL);
	env_nodes(&v);
	uint64_t ino = do_create(&v, 1, "f", true);
	CHECK_OK(do_open(&v, 2, ino));
	CHECK_EQ(do_layout(&v, 2, ino, 0, 0, CSVP_WRITE, 0), CSVP_EXCL);
	build_setattr(&v, &msg, ino, CSV_SET_SIZE, 1, 0);
	CHECK_OK(msg_post(&v, 1, &msg));
	csvp_free(&msg);
	recall_wait(&v, 2, ino, &mode);
	coord_stop(v.coord, env_stopped, &stopped);
	RUN_UNTIL(&v.e, stopped);
	run_for(&v, 90);
	CHECK_EQ(v.evicted, 0);
	CHECK_OK(engine_close(&v.e));
	coord_free(v.coord);
	env_forget(&v);
	engine_open(&v.e, 0);
	env_coord(&v, 0);
	env_end(&v);
}

int main(void)
{
	test_tokens();
	test_recall_to_read();
	test_evict();
	test_commit();
	test_inline();
	test_zero_ahead();
	test_orphans();
	test_open_close();
	test_orphan_token();
	test_takeover();
	test_reconnect();
	test_conflict();
	test_opens_max();
	test_hostile_frames();
	test_hostile_numbers();
	test_stop_io();
	test_stop_recall();
	return 0;
}
