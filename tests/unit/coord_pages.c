/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: util blockdev journal core proto coord */
/* Requests that a recall must not keep waiting, since it waits for them (coord.h, C7). */
#include "tests/unit/coord_test.h"

#define PAGES (CSVP_LAYOUT_PAGES | CSVP_LAYOUT_ALLOC)

/* A file that node 1 alone has a token on, and node 2's request to read it: node 1 is asked for it. */
struct pages {
	struct env v;
	uint64_t ino, reader, recall;
};

static uint64_t post_layout(struct env *v, uint32_t node, uint64_t ino, uint64_t blk, uint32_t mode,
	uint32_t flags)
{
	struct csvp_msg msg;

	build_layout(v, &msg, ino, blk, flags ? 1 : 0, mode, flags);
	uint64_t xid = v->xid;
	CHECK_OK(msg_post(v, node, &msg));
	csvp_free(&msg);
	return xid;
}

static uint64_t post_size(struct env *v, uint32_t node, uint64_t ino, uint64_t size)
{
	struct csvp_msg msg;

	build_setattr(v, &msg, ino, CSV_SET_SIZE, size, 0);
	uint64_t xid = v->xid;
	CHECK_OK(msg_post(v, node, &msg));
	csvp_free(&msg);
	return xid;
}

static bool is_answered(struct env *v, uint32_t node, uint64_t xid)
{
	env_settle(v);
	struct sent *s = sent_take(v, node, true, xid, 0);
	free(s);
	return s;
}

static void begin_file(struct pages *p)
{
	env_start(&p->v);
	p->ino = do_create(&p->v, 1, "f", true);
	CHECK_OK(do_open(&p->v, 2, p->ino));
	CHECK_EQ(do_layout(&p->v, 1, p->ino, 0, 0, CSVP_EXCL, 0), CSVP_EXCL);
}

static void begin(struct pages *p)
{
	enum csvp_mode mode;

	begin_file(p);
	p->reader = post_layout(&p->v, 2, p->ino, 0, CSVP_READ, 0);
	p->recall = recall_wait(&p->v, 1, p->ino, &mode);
	CHECK_EQ(mode, CSVP_WRITE);
}

/* Node 1 gives the token up: node 2 is answered. */
static void end(struct pages *p, uint64_t size)
{
	struct sent *s;
	uint64_t got;

	CHECK(!is_answered(&p->v, 2, p->reader));
	recall_answer(&p->v, 1, CSVP_RECALL, p->recall, 0);
	CHECK_OK(msg_wait(&p->v, 2, p->reader, &s));
	CHECK_EQ(layout_mode(s, &got), CSVP_WRITE);
	CHECK_EQ(got, size);
	free(s);
	env_end(&p->v);
}

/* The holder's pages get space while it is asked for the token; what it asks otherwise has to wait. */
static void test_layout(void)
{
	struct pages p;
	struct sent *s;

	begin(&p);
	uint64_t other = post_layout(&p.v, 1, p.ino, 7, CSVP_WRITE, CSVP_LAYOUT_ALLOC);
	CHECK(!is_answered(&p.v, 1, other));
	uint64_t first = post_layout(&p.v, 1, p.ino, 0, CSVP_EXCL, PAGES);
	uint64_t second = post_layout(&p.v, 1, p.ino, 5, CSVP_EXCL, PAGES);
	for (int i = 0; i < 2; i++) {
		CHECK_OK(msg_wait(&p.v, 1, i ? second : first, &s));
		CHECK_EQ(layout_mode(s, NULL), CSVP_EXCL);
		free(s);
	}
	CHECK(!is_answered(&p.v, 1, other));
	recall_answer(&p.v, 1, CSVP_RECALL, p.recall, 0);
	CHECK_OK(msg_wait(&p.v, 2, p.reader, NULL));
	CHECK_OK(msg_wait(&p.v, 1, other, NULL)); /* behind the reader; nothing of theirs conflicts */
	env_end(&p.v);
}

/* Who does not hold the token has no way around. */
static void test_not_the_holder(void)
{
	struct pages p;

	begin(&p);
	CHECK_OK(do_open(&p.v, 3, p.ino));
	uint64_t pages = post_layout(&p.v, 3, p.ino, 0, CSVP_EXCL, PAGES);
	CHECK(!is_answered(&p.v, 3, pages));
	recall_answer(&p.v, 1, CSVP_RECALL, p.recall, 0);
	CHECK_OK(msg_wait(&p.v, 2, p.reader, NULL));
	for (uint32_t node = 1; node <= 2; node++) {
		enum csvp_mode mode;
		uint64_t recall = recall_wait(&p.v, node, p.ino, &mode);
		CHECK_EQ(mode, CSVP_NONE);
		CHECK(!is_answered(&p.v, 3, pages));
		recall_answer(&p.v, node, CSVP_RECALL, recall, 0);
	}
	CHECK_OK(msg_wait(&p.v, 3, pages, NULL));
	env_end(&p.v);
}

static uint64_t refresh_wait(struct env *v, uint32_t node)
{
	struct sent *s = NULL;

	RUN_UNTIL(&v->e, (s = sent_take(v, node, false, 0, CSVP_REFRESH)) != NULL);
	uint64_t xid = sent_xid(s);
	free(s);
	return xid;
}

/* The holder sets a size, and asks for pages while that is under way. */
struct resize {
	uint64_t xid, refresh, pages;
};

static struct resize begin_size(struct pages *p, uint64_t size)
{
	struct resize r;

	begin(p);
	r.xid = post_size(&p->v, 1, p->ino, size);
	r.refresh = refresh_wait(&p->v, 1);
	r.pages = post_layout(&p->v, 1, p->ino, 0, CSVP_EXCL, PAGES);
	return r;
}

/* A size that the holder sets: it has nothing under way meanwhile, and keeps the token. */
static void test_size(void)
{
	struct pages p;
	struct resize r = begin_size(&p, 12345);

	/* the pages wait for it, not for the reader */
	CHECK(!is_answered(&p.v, 1, r.xid));
	CHECK(!is_answered(&p.v, 1, r.pages));
	recall_answer(&p.v, 1, CSVP_REFRESH, r.refresh, 0);
	CHECK_OK(msg_wait(&p.v, 1, r.xid, NULL));
	CHECK_OK(msg_wait(&p.v, 1, r.pages, NULL));
	end(&p, 12345);
}

/* The token is given up while the size changes: who waits for it waits for that, too, and pages that
 * were asked for under it have to be asked for anew. */
static void test_size_and_recall(void)
{
	struct pages p;
	struct resize r = begin_size(&p, 54321);

	recall_answer(&p.v, 1, CSVP_RECALL, p.recall, 0);
	CHECK(!is_answered(&p.v, 2, p.reader));
	recall_answer(&p.v, 1, CSVP_REFRESH, r.refresh, 0);
	CHECK_OK(msg_wait(&p.v, 1, r.xid, NULL));
	CHECK_EQ(msg_wait(&p.v, 1, r.pages, NULL), -ERR_STALE);
	CHECK_OK(msg_wait(&p.v, 2, p.reader, NULL));
	CHECK_EQ(size_of(&p.v, p.ino), 54321);
	env_end(&p.v);
}

/* Pages that wait for their own node's request are overtaken by nobody else's. */
static void test_behind_own(void)
{
	struct pages p;
	enum csvp_mode mode;

	begin_file(&p);
	uint64_t xid = post_size(&p.v, 1, p.ino, 99);
	uint64_t refresh = refresh_wait(&p.v, 1);
	p.reader = post_layout(&p.v, 2, p.ino, 0, CSVP_READ, 0);
	uint64_t pages = post_layout(&p.v, 1, p.ino, 0, CSVP_EXCL, PAGES);
	CHECK(!is_answered(&p.v, 1, pages));
	recall_answer(&p.v, 1, CSVP_REFRESH, refresh, 0);
	CHECK_OK(msg_wait(&p.v, 1, xid, NULL));
	p.recall = recall_wait(&p.v, 1, p.ino, &mode);
	CHECK_OK(msg_wait(&p.v, 1, pages, NULL));
	end(&p, 99);
}

/* Its mount dies in the middle: who waits goes on. */
static void test_holder_gone(void)
{
	struct pages p;

	begin(&p);
	post_size(&p.v, 1, p.ino, 777);
	refresh_wait(&p.v, 1);
	post_layout(&p.v, 1, p.ino, 0, CSVP_EXCL, PAGES);
	coord_node_gone(p.v.coord, 1, p.v.generation[1]);
	CHECK_OK(msg_wait(&p.v, 2, p.reader, NULL));
	env_end(&p.v);
}

int main(void)
{
	test_layout();
	test_not_the_holder();
	test_size();
	test_size_and_recall();
	test_behind_own();
	test_holder_gone();
	return 0;
}
