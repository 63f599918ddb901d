/* libs: util blockdev journal core proto coord */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests for attributes and what goes with them: lengths that lie, exactly once, tokens that are
 * recalled when a file gets set-user-id or capabilities, files without a name.
 */
#include "tests/unit/coord_test.h"
#include "util/checked.h"
#include "util/log.h"

static uint8_t big[CSV_XATTR_VALUE_MAX + 8];

static void build(struct env *v, struct csvp_msg *msg, enum csvp_op op, uint64_t ino,
	const char *name, uint32_t len, uint32_t flags)
{
	msg_begin(v, msg, op);
	struct csvp_xattr *b = csvp_put(msg, sizeof(*b));
	CHECK(b);
	*b = (struct csvp_xattr){ .ino = le64_of(ino), .now_ns = le64_of(4),
		.name_len = le32_of((uint32_t)strlen(name)), .value_len = le32_of(len),
		.flags = le32_of(flags) };
	csvp_put_bytes(msg, name, (uint32_t)strlen(name));
	if (op == CSVP_SETXATTR)
		csvp_put_bytes(msg, big, len);
}

static struct csvp_xattr *body_of(struct csvp_msg *msg)
{
	return (struct csvp_xattr *)(msg->data + sizeof(struct csvp_hdr));
}

static int do_set(struct env *v, uint64_t ino, const char *name, uint32_t len, uint32_t flags)
{
	struct csvp_msg msg;

	build(v, &msg, CSVP_SETXATTR, ino, name, len, flags);
	return msg_call(v, 1, &msg, NULL);
}

/* The length of what is there; the bytes are compared if all of them are asked for. */
static int64_t do_get(struct env *v, uint64_t ino, const char *name, uint32_t room)
{
	struct csvp_msg msg;
	struct sent *s;

	build(v, &msg, CSVP_GETXATTR, ino, name, room, 0);
	int status = msg_call(v, 2, &msg, &s);
	int64_t len = status;
	if (!status) {
		struct csvp_in in;
		CHECK_OK(csvp_open(&in, s->data, s->len));
		const struct csvp_size *size = csvp_get(&in, sizeof(*size));
		CHECK(size);
		len = (int64_t)le64_get(size->size);
		CHECK_EQ(csvp_left(&in), room ? len : 0);
		CHECK(!room || !memcmp(csvp_get(&in, (uint64_t)len), big, (size_t)len));
	}
	free(s);
	return len;
}

static void test_hostile(void)
{
	static const uint32_t odd[] = { 1, 2, 255, 256, 4096, 65536, 65537, INT32_MAX, UINT32_MAX };
	static const enum csvp_op ops[] = { CSVP_GETXATTR, CSVP_SETXATTR, CSVP_LISTXATTR,
		CSVP_REMOVEXATTR };
	struct csvp_msg msg;
	struct env v;

	env_start(&v);
	uint64_t ino = do_create(&v, 1, "f", false);
	CHECK_OK(do_set(&v, ino, "user.there", 10, 0));
	for (unsigned o = 0; o < ARRAY_SIZE(ops); o++) {
		for (unsigned i = 0; i < ARRAY_SIZE(odd); i++) {
			build(&v, &msg, ops[o], ino, "n", 0, UINT32_MAX & ~3u);
			body_of(&msg)->name_len = le32_of(odd[i]);
			int err = msg_call(&v, 1, &msg, NULL);
			CHECK(ops[o] == CSVP_LISTXATTR || odd[i] == 1 || err < 0);
			build(&v, &msg, ops[o], ino, "n", 0, 0);
			body_of(&msg)->value_len = le32_of(odd[i]);
			err = msg_call(&v, 1, &msg, NULL);
			CHECK(ops[o] != CSVP_SETXATTR || err < 0);
		}
		build(&v, &msg, ops[o], ino + 1000, "n", 0, 0);
		CHECK_EQ(msg_call(&v, 1, &msg, NULL), -ESTALE);
	}
	CHECK_EQ(do_set(&v, ino, "user.large", CSV_XATTR_VALUE_MAX + 1, 0), -E2BIG);
	CHECK_EQ(do_set(&v, ino, "", 1, 0), -ERANGE);
	for (uint32_t len = 0; len < 40; len++) /* no list begins like this */
		CHECK(do_set(&v, ino, CSV_ACL_ACCESS, len, 0) == (len ? -EINVAL : 0));
	CHECK_EQ(do_set(&v, ino, CSV_ACL_ACCESS, CSV_XATTR_VALUE_MAX, 0), -E2BIG);
	CHECK_EQ(do_get(&v, ino, "user.there", 4096), 10);
	CHECK_EQ(do_get(&v, ino, "user.there", 9), -ERANGE);
	env_end(&v);
}

/* The same request again, also to the next coordinator: the first answer. */
static void test_once(void)
{
	struct csvp_msg msg;
	struct env v;

	env_start(&v);
	uint64_t ino = do_create(&v, 1, "f", false);
	build(&v, &msg, CSVP_SETXATTR, ino, "user.a", 65536, CSV_XATTR_CREATE);
	put_slot(&msg, 7, 1);
	CHECK_OK(msg_call(&v, 1, &msg, NULL));
	build(&v, &msg, CSVP_SETXATTR, ino, "user.a", 65536, CSV_XATTR_CREATE);
	put_slot(&msg, 7, 1);
	CHECK_OK(msg_call(&v, 1, &msg, NULL));
	CHECK_EQ(do_set(&v, ino, "user.a", 1, CSV_XATTR_CREATE), -EEXIST);
	build(&v, &msg, CSVP_REMOVEXATTR, ino, "user.a", 0, 0);
	put_slot(&msg, 7, 2);
	CHECK_OK(msg_call(&v, 1, &msg, NULL));
	env_restart(&v, ALL);
	env_nodes(&v);
	build(&v, &msg, CSVP_REMOVEXATTR, ino, "user.a", 0, 0);
	put_slot(&msg, 7, 2);
	CHECK_OK(msg_call(&v, 1, &msg, NULL));
	CHECK_EQ(do_get(&v, ino, "user.a", 0), -ENODATA);
	env_end(&v);
}

static bool says_priv(struct env *v, uint32_t node, uint64_t ino, uint32_t flags)
{
	struct csvp_msg msg;
	struct csvp_in in;
	struct sent *s;

	build_layout(v, &msg, ino, 0, 1, CSVP_WRITE, flags);
	CHECK_OK(msg_call(v, node, &msg, &s));
	CHECK_OK(csvp_open(&in, s->data, s->len));
	const struct csvp_layout_reply *body = csvp_get(&in, sizeof(*body));
	CHECK(body);
	bool priv = le32_get(body->has_priv);
	free(s);
	return priv;
}

/* Who holds a token has the word that there is nothing to take away: it is taken back first. */
static void test_priv(void)
{
	struct csvp_msg msg;
	struct csv_attr attr;
	struct env v;

	env_start(&v);
	uint64_t ino = do_create(&v, 1, "f", true);
	for (int way = 0; way < 2; way++) {
		CHECK(!says_priv(&v, 2, ino, 0));
		if (way) {
			build(&v, &msg, CSVP_SETXATTR, ino, "security.capability", 20, 0);
		} else {
			build_setattr(&v, &msg, ino, CSV_SET_MODE, 0, 0);
			struct csvp_setattr *b =
				(struct csvp_setattr *)(msg.data + sizeof(struct csvp_hdr));
			b->mode = le32_of(04755);
		}
		uint64_t xid = le64_get(csvp_hdr(&msg)->xid);
		CHECK_OK(msg_post(&v, 1, &msg));
		csvp_free(&msg);
		enum csvp_mode keep;
		uint64_t recall = recall_wait(&v, 2, ino, &keep);
		CHECK_EQ(keep, CSVP_NONE);
		recall_answer(&v, 2, CSVP_RECALL, recall, 0);
		CHECK_OK(msg_wait(&v, 1, xid, NULL));
		CHECK(says_priv(&v, 2, ino, 0));
		CHECK(!says_priv(&v, 2, ino, CSVP_LAYOUT_DROP_PRIV));
	}
	CHECK_OK(do_getattr(&v, 3, ino, 0, &attr));
	CHECK_EQ(attr.mode & 07777, 0755);
	CHECK_EQ(do_get(&v, ino, "security.capability", 0), -ENODATA);
	env_end(&v);
}

/* Opened without a name: gone with the last close, unless it gets one. */
static void test_unnamed(void)
{
	struct csvp_msg msg;
	struct csv_attr a, b;
	struct env v;

	env_start(&v);
	build_create(&v, &msg, 1, "", S_IFREG | 0600, "", true);
	CHECK_OK(call_attr(&v, 1, &msg, &a));
	CHECK_EQ(a.nlink, 0);
	for (int i = 0; i < 5; i++) {
		char name[] = "user.0";
		name[5] += i;
		CHECK_OK(do_set(&v, a.ino, name, 60000, 0));
	}
	env_settle(&v);
	CHECK_OK(do_getattr(&v, 2, a.ino, 0, &b));
	build_name(&v, &msg, CSVP_LINK, 1, a.ino, "removed"); /* as if it were */
	CHECK_EQ(msg_call(&v, 1, &msg, NULL), -ENOENT);
	CHECK_OK(do_close(&v, 1, a.ino));
	env_settle(&v);
	CHECK_EQ(do_getattr(&v, 2, a.ino, 0, &b), -ESTALE);
	build_create(&v, &msg, 1, "", S_IFREG | 0600, "", true);
	CHECK_OK(call_attr(&v, 1, &msg, &a));
	build_name(&v, &msg, CSVP_LINK, 1, a.ino, "named");
	((struct csvp_name *)(msg.data + sizeof(struct csvp_hdr)))->unnamed = le32_of(1);
	CHECK_OK(call_attr(&v, 1, &msg, &b));
	CHECK_EQ(b.nlink, 1);
	CHECK_OK(do_close(&v, 1, a.ino));
	env_settle(&v);
	CHECK_OK(do_getattr(&v, 2, a.ino, 0, &b));
	/* a directory cannot be made so, nor a file that nobody has open */
	build_create(&v, &msg, 1, "", S_IFDIR | 0700, "", true);
	CHECK(msg_call(&v, 1, &msg, NULL) < 0);
	build_create(&v, &msg, 1, "", S_IFREG | 0700, "", false);
	CHECK(msg_call(&v, 1, &msg, NULL) < 0);
	/* it was open when the coordinator went, and its node says nothing of it */
	build_create(&v, &msg, 1, "", S_IFREG | 0600, "", true);
	CHECK_OK(call_attr(&v, 1, &msg, &a));
	env_restart(&v, ALL);
	env_nodes(&v);
	env_settle(&v);
	CHECK_EQ(do_getattr(&v, 2, a.ino, 0, &b), -ESTALE);
	env_end(&v);
}

int main(void)
{
	memset(big, 'v', sizeof(big));
	log_set_level((enum log_level)-1);
	test_hostile();
	test_once();
	test_priv();
	test_unnamed();
	return 0;
}
