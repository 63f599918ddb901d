/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: util blockdev journal core proto coord */
/* Exactly once: requests whose answer was lost with a connection or a coordinator are sent again. */
#include "tests/unit/coord_test.h"

static const struct csv_attr none;

/*
 * Sends msg and loses the answer: by a new coordinator, or by a new connection to this one. Then it is
 * resent; *ret_attr is what that answers. A third sending answers the same.
 */
static void replay(struct env *v, struct csvp_msg *msg, bool restart, struct csv_attr *ret_attr)
{
	uint64_t xid = le64_get(csvp_hdr(msg)->xid);
	bool has_attr = le16_get(csvp_hdr(msg)->op) != CSVP_RENAME &&
		le16_get(csvp_hdr(msg)->op) != CSVP_WRITE_INLINE &&
		le16_get(csvp_hdr(msg)->op) != CSVP_FALLOCATE;
	struct coord_stats stats;

	CHECK_OK(msg_post(v, 2, msg));
	CHECK_OK(msg_wait(v, 2, xid, NULL));
	if (restart) {
		env_restart(v, ALL);
		env_nodes(v);
	} else {
		CHECK_OK(node_hello(v, 2));
		node_reassert(v, 2, 0, NULL);
	}
	coord_stats(v->coord, &stats);
	uint64_t replays = stats.replays;
	for (int i = 1; i <= 2; i++) {
		struct sent *s;
		CHECK_OK(msg_post(v, 2, msg));
		CHECK_OK(msg_wait(v, 2, xid, &s));
		if (has_attr)
			*ret_attr = attr_of(s);
		free(s);
		coord_stats(v->coord, &stats);
		CHECK_EQ(stats.replays, replays + (uint64_t)i);
	}
	csvp_free(msg);
}

/* Sends msg as node 2, and again after what the caller lets happen in between. */
static void send_first(struct env *v, struct csvp_msg *msg, bool restart, int want)
{
	uint64_t xid = v->xid;

	CHECK_OK(msg_post(v, 2, msg));
	CHECK_EQ(msg_wait(v, 2, xid, NULL), want);
	if (restart) {
		env_restart(v, ALL);
		env_nodes(v);
	}
}

/* xid: of the first time */
static void send_again(struct env *v, struct csvp_msg *msg, uint64_t xid)
{
	CHECK_OK(msg_post(v, 2, msg));
	csvp_free(msg);
	CHECK_OK(msg_wait(v, 2, xid, NULL));
}

static uint64_t lookup(struct env *v, const char *name)
{
	struct csvp_msg msg;
	struct csv_attr a = none;

	build_name(v, &msg, CSVP_LOOKUP, 1, 0, name);
	CHECK_OK(call_attr(v, 1, &msg, &a));
	return a.ino;
}

/* CREATE, LINK, WRITE_INLINE, SETATTR of the size, FALLOCATE: what one file sees. Returns its inode. */
static uint64_t replay_file(struct env *v, bool restart, uint64_t *seq)
{
	struct csvp_msg msg, other;
	struct csv_attr a = none;

	/* the same inode, and open for who made it, so that unlinking leaves it */
	build_create(v, &msg, 1, "a", S_IFREG | 0640, "", true);
	put_slot(&msg, 7, ++*seq);
	replay(v, &msg, restart, &a);
	uint64_t ino = a.ino;
	CHECK_EQ(lookup(v, "a"), ino);

	/* one name more, not two */
	build_name(v, &msg, CSVP_LINK, 1, ino, "b");
	put_slot(&msg, 7, ++*seq);
	replay(v, &msg, restart, &a);
	CHECK_EQ(a.nlink, 2);

	/* appended once */
	build_inline(v, &msg, ino, 0, "once", true);
	put_slot(&msg, 7, ++*seq);
	replay(v, &msg, restart, &a);
	CHECK_EQ(size_of(v, ino), 4);

	/* a size, in steps; others write between it and the resend */
	build_fallocate(v, &msg, ino, 0, 4 << 20, 0);
	CHECK_OK(msg_call(v, 1, &msg, NULL));
	build_setattr(v, &msg, ino, CSV_SET_SIZE, 10, 0);
	put_slot(&msg, 7, ++*seq);
	uint64_t xid = v->xid;
	send_first(v, &msg, restart, 0);
	build_setattr(v, &other, ino, CSV_SET_SIZE, 5000, 0);
	CHECK_OK(msg_call(v, 1, &other, NULL));
	send_again(v, &msg, xid);
	CHECK_EQ(size_of(v, ino), 5000);

	build_fallocate(v, &msg, ino, 4096, 100000, 0);
	put_slot(&msg, 7, ++*seq);
	replay(v, &msg, restart, &a);
	CHECK_EQ(size_of(v, ino), 104096);
	return ino;
}

/* RENAME and UNLINK: a name that was freed may be somebody else's when the resend comes. */
static void replay_names(struct env *v, bool restart, uint64_t *seq)
{
	struct csvp_msg msg;

	/* over another one, whose space is freed */
	uint64_t victim = do_create(v, 1, "victim", false);
	build_rename(v, &msg, "b", "victim");
	put_slot(&msg, 7, ++*seq);
	uint64_t xid = v->xid;
	send_first(v, &msg, restart, 0);
	uint64_t fresh = do_create(v, 1, "b", false);
	send_again(v, &msg, xid);
	CHECK_EQ(lookup(v, "b"), fresh);
	RUN_UNTIL(&v->e, !exists(v, victim));

	build_name(v, &msg, CSVP_UNLINK, 1, 0, "victim");
	put_slot(&msg, 7, ++*seq);
	xid = v->xid;
	send_first(v, &msg, restart, 0);
	fresh = do_create(v, 1, "victim", false);
	send_again(v, &msg, xid);
	CHECK(exists(v, fresh));
	CHECK_EQ(lookup(v, "victim"), fresh);
}

/* What a slot keeps, for whom, and for how long. */
static void replay_slots(struct env *v, bool restart, uint64_t seq, uint64_t ino)
{
	struct csvp_msg msg;
	struct csv_attr a = none;

	build_create(v, &msg, 1, "dir", S_IFDIR | 0755, "", false);
	put_slot(&msg, 7, ++seq);
	replay(v, &msg, restart, &a);
	build_name(v, &msg, CSVP_UNLINK, 1, 1, "dir");
	put_slot(&msg, 7, ++seq);
	replay(v, &msg, restart, &a);
	/* a slot that has gone on answers an older request no more */
	build_create(v, &msg, 1, "late", S_IFREG | 0644, "", false);
	put_slot(&msg, 7, seq - 1);
	CHECK_EQ(msg_call(v, 2, &msg, NULL), -ERR_STALE);
	/* another op with a sequence that is taken */
	build_name(v, &msg, CSVP_LINK, 1, ino, "c");
	put_slot(&msg, 7, seq);
	CHECK_EQ(msg_call(v, 2, &msg, NULL), -EPROTO);
	/* a failure is not recorded: it may succeed later */
	build_name(v, &msg, CSVP_UNLINK, 1, 0, "late");
	put_slot(&msg, 7, ++seq);
	uint64_t xid = v->xid;
	send_first(v, &msg, false, -ENOENT);
	do_create(v, 1, "late", false);
	send_again(v, &msg, xid);
	/* slots of another node, and of another mount of this one, are others */
	build_create(v, &msg, 1, "n3", S_IFREG | 0644, "", false);
	put_slot(&msg, 7, 1);
	CHECK_OK(msg_call(v, 3, &msg, NULL));
	v->generation[2]++;
	CHECK_OK(node_hello(v, 2));
	node_reassert(v, 2, 0, NULL);
	build_create(v, &msg, 1, "n2", S_IFREG | 0644, "", false);
	put_slot(&msg, 7, 1);
	CHECK_OK(msg_call(v, 2, &msg, NULL));
}

static void replay_all(bool restart)
{
	struct env v;
	uint64_t seq = 0;

	env_start(&v);
	uint64_t ino = replay_file(&v, restart, &seq);
	replay_names(&v, restart, &seq);
	replay_slots(&v, restart, seq, ino);
	env_end(&v);
}

/* CREATE that also opens: the resend opens, so that unlinking leaves the file to its maker. */
static void test_create_open(void)
{
	struct env v;
	struct csvp_msg msg;
	struct csv_attr a = none;

	env_start(&v);
	build_create(&v, &msg, 1, "f", S_IFREG | 0644, "", true);
	put_slot(&msg, 0, 1);
	replay(&v, &msg, true, &a);
	CHECK_OK(do_unlink(&v, 1, "f"));
	env_settle(&v);
	CHECK(exists(&v, a.ino));
	CHECK_OK(do_close(&v, 2, a.ino));
	RUN_UNTIL(&v.e, !exists(&v, a.ino));
	env_end(&v);
}

int main(void)
{
	replay_all(false);
	replay_all(true);
	test_create_open();
	return 0;
}
