/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: util proto */
/* Messages are built and read as the format says, and no bytes of a peer lead out of bounds. */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "csvfs/proto/proto.h"
#include "tests/unit/test.h"

static void test_build(void)
{
	struct csvp_msg msg;
	struct csvp_in in;

	csvp_begin(&msg, CSVP_LOOKUP, CSVP_REPLY, -ENOENT, 77);
	struct csvp_name *body = csvp_put(&msg, sizeof(*body));
	CHECK(body && le64_get(body->dir) == 0); /* zeroed */
	body->name_len = le32_of(5);
	csvp_put_bytes(&msg, "hello", 5);
	csvp_put_bytes(&msg, NULL, 0);
	CHECK_OK(csvp_finish(&msg));

	CHECK_OK(csvp_open(&in, msg.data, msg.len));
	CHECK_EQ(le16_get(in.hdr->op), CSVP_LOOKUP);
	CHECK_EQ(le64_get(in.hdr->xid), 77);
	CHECK_EQ(csvp_status(in.hdr), -ENOENT);
	CHECK_EQ(le16_get(in.hdr->slot), CSVP_NO_SLOT);
	CHECK_EQ(csvp_left(&in), sizeof(*body) + 5);
	const struct csvp_name *got = csvp_get(&in, sizeof(*got));
	CHECK(got && le32_get(got->name_len) == 5);
	const char *name = csvp_get(&in, 5);
	CHECK(name && !memcmp(name, "hello", 5));
	CHECK(csvp_get(&in, 0) && !csvp_get(&in, 1));
	csvp_free(&msg);
	csvp_free(&msg); /* twice does no harm */
}

/* Growing keeps what was put; past the limit it fails, stays failed, and says so. */
static void test_limits(void)
{
	struct csvp_msg msg;
	uint8_t *at;

	csvp_begin(&msg, CSVP_READDIR, 0, 0, 1);
	for (uint32_t i = 0; i < 1000; i++) {
		at = csvp_put(&msg, 100);
		CHECK(at);
		memset(at, (int)i & 0xff, 100);
	}
	for (uint32_t i = 0; i < 1000; i++)
		CHECK_EQ(msg.data[sizeof(struct csvp_hdr) + i * 100 + 99], i & 0xff);
	CHECK(csvp_put(&msg, CSVP_MAX_BYTES - msg.len));
	CHECK_OK(csvp_finish(&msg));
	CHECK_EQ(msg.len, CSVP_MAX_BYTES);
	CHECK(!csvp_put(&msg, 1));
	CHECK_EQ(csvp_finish(&msg), -E2BIG);
	csvp_put_bytes(&msg, "x", 1);
	CHECK(!csvp_put(&msg, 0));
	csvp_free(&msg);

	csvp_begin(&msg, CSVP_READDIR, 0, 0, 1);
	CHECK(!csvp_put(&msg, UINT32_MAX)); /* the sum would overflow */
	CHECK(csvp_finish(&msg) < 0);
	csvp_free(&msg);
}

static void test_hostile_header(void)
{
	struct csvp_msg msg;
	struct csvp_in in;
	uint8_t *copy;

	csvp_begin(&msg, CSVP_OPEN, 0, 0, 1);
	CHECK(csvp_put(&msg, sizeof(struct csvp_ino)));
	CHECK_OK(csvp_finish(&msg));
	for (uint32_t len = 0; len < msg.len; len++) { /* cut anywhere; sanitizers watch the end */
		copy = malloc(len ? len : 1);
		CHECK(copy);
		memcpy(copy, msg.data, len);
		CHECK_EQ(csvp_open(&in, copy, len), -EPROTO);
		free(copy);
	}
	csvp_hdr(&msg)->len = le32_of(UINT32_MAX);
	CHECK_EQ(csvp_open(&in, msg.data, msg.len), -EPROTO);
	csvp_hdr(&msg)->len = le32_of(0);
	CHECK_EQ(csvp_open(&in, msg.data, msg.len), -EPROTO);
	csvp_hdr(&msg)->len = le32_of(msg.len);
	csvp_hdr(&msg)->version = le16_of(CSVP_VERSION + 1);
	CHECK_EQ(csvp_open(&in, msg.data, msg.len), -ERR_VERSION);
	csvp_hdr(&msg)->version = le16_of(CSVP_VERSION);
	csvp_hdr(&msg)->magic = le32_of(0);
	CHECK_EQ(csvp_open(&in, msg.data, msg.len), -EPROTO);
	csvp_free(&msg);
}

/* Lengths out of a message, up to those that would wrap a pointer. */
static void test_hostile_lengths(void)
{
	static const uint64_t lens[] = { 9, 100, UINT32_MAX, 1ull << 32, (1ull << 32) + 8, INT64_MAX,
		UINT64_MAX - 7, UINT64_MAX };
	struct csvp_msg msg;
	struct csvp_in in;

	csvp_begin(&msg, CSVP_OPEN, 0, 0, 1);
	CHECK(csvp_put(&msg, 8));
	CHECK_OK(csvp_finish(&msg));
	CHECK_OK(csvp_open(&in, msg.data, msg.len));
	for (unsigned i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		CHECK(!csvp_get(&in, lens[i]));
		CHECK_EQ(csvp_left(&in), 8); /* a refusal takes nothing */
	}
	CHECK(csvp_get(&in, 8));
	CHECK_EQ(csvp_left(&in), 0);
	csvp_free(&msg);
}

static void test_attr(void)
{
	struct csv_attr a = { .ino = 5, .mode = 0100644, .nlink = 2, .uid = 7, .gid = 8,
		.size = UINT64_MAX / 3, .nr_blks = 9, .rdev = 10, .atime_ns = -1, .mtime_ns = INT64_MIN,
		.ctime_ns = INT64_MAX, .btime_ns = 0 }, b;
	struct csvp_attr wire;

	csvp_put_attr(&wire, &a);
	csvp_get_attr(&b, &wire);
	CHECK(a.ino == b.ino && a.mode == b.mode && a.nlink == b.nlink && a.uid == b.uid &&
		a.gid == b.gid && a.size == b.size && a.nr_blks == b.nr_blks && a.rdev == b.rdev);
	CHECK(a.atime_ns == b.atime_ns && a.mtime_ns == b.mtime_ns && a.ctime_ns == b.ctime_ns &&
		a.btime_ns == b.btime_ns);
}

static void test_names(void)
{
	for (unsigned op = CSVP_HELLO; op <= CSVP_MAP; op++)
		CHECK(strcmp(csvp_op_name(op), "?"));
	for (unsigned op = CSVP_GETXATTR; op <= CSVP_PROJECT_SET; op++)
		CHECK(strcmp(csvp_op_name(op), "?"));
	CHECK(!strcmp(csvp_op_name(CSVP_RECALL), "RECALL"));
	CHECK(!strcmp(csvp_op_name(0), "?") && !strcmp(csvp_op_name(CSVP_OP_LIMIT), "?") &&
		!strcmp(csvp_op_name(UINT32_MAX), "?") && !strcmp(csvp_op_name(CSVP_PROJECT_SET + 1), "?"));
}

int main(void)
{
	test_build();
	test_limits();
	test_hostile_header();
	test_hostile_lengths();
	test_attr();
	test_names();
	return 0;
}
