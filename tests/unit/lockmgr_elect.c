/* libs: util blockdev lockmgr */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who is chosen, by what members say; and the bytes in which they say it. */
#include <errno.h>

#include "lockmgr/elect.h"
#include "lockmgr/group_format.h"
#include "tests/unit/test.h"
#include "util/crc32c.h"

static const uint8_t uuid[16] = { 9, 8, 7 };

static void view(struct elect *e, const char *nodes)
{
	struct group_member members[LM_MAX_NODES];
	size_t nr = 0;

	for (; *nodes; nodes++)
		members[nr++] = (struct group_member){ (uint32_t)(*nodes - '0'), 100 };
	elect_view(e, members, nr);
}

static struct elect_state state(uint32_t node, enum lm_role role)
{
	return (struct elect_state){
		.node = node, .generation = node * 10, .role = role, .path = true
	};
}

static void says(struct elect *e, uint32_t node, enum lm_role role)
{
	struct elect_state s = state(node, role);

	s.epoch = role == LM_ROLE_SERVING ? node : 0;
	CHECK_OK(elect_heard(e, &s));
}

static void lowest_after_all_have_spoken(void)
{
	struct elect e = { 0 };

	view(&e, "123");
	CHECK_EQ(elect_choose(&e), 0);
	says(&e, 3, LM_ROLE_NONE);
	says(&e, 2, LM_ROLE_NONE);
	CHECK_EQ(elect_choose(&e), 0);
	says(&e, 1, LM_ROLE_NONE);
	CHECK_EQ(elect_choose(&e), 1);
	CHECK_EQ(elect_mask(&e), 7);
	/* A new view: everybody must speak again. */
	view(&e, "23");
	CHECK_EQ(elect_choose(&e), 0);
	says(&e, 2, LM_ROLE_NONE);
	says(&e, 3, LM_ROLE_NONE);
	CHECK_EQ(elect_choose(&e), 2);
}

static void who_serves_goes_on(void)
{
	struct elect e = { 0 };

	view(&e, "12");
	says(&e, 2, LM_ROLE_SERVING);
	CHECK_EQ(elect_choose(&e), 2);
	says(&e, 1, LM_ROLE_NONE);
	CHECK_EQ(elect_choose(&e), 2);
	CHECK_EQ(elect_serving(&e), 2);
	view(&e, "123");
	CHECK_EQ(elect_choose(&e), 2);
	/* Partitions come together, each with one that serves: the newer epoch. */
	says(&e, 3, LM_ROLE_SERVING);
	CHECK_EQ(elect_choose(&e), 3);
	view(&e, "12");
	CHECK_EQ(elect_choose(&e), 2);
	/* A new process of the node is somebody else. */
	elect_view(&e, (struct group_member[]){ { 1, 100 }, { 2, 101 } }, 2);
	CHECK_EQ(elect_serving(&e), 0);
}

static void who_cannot_or_would_rather_not(void)
{
	struct elect e = { 0 };
	struct elect_state s;

	view(&e, "123");
	s = state(1, LM_ROLE_NONE);
	s.path = false;
	CHECK_OK(elect_heard(&e, &s));
	s = state(2, LM_ROLE_NONE);
	s.joining = true;
	CHECK_OK(elect_heard(&e, &s));
	says(&e, 3, LM_ROLE_NONE);
	CHECK_EQ(elect_choose(&e), 3);
	/* 3 gives it up: to whom it wishes, if that one can; else to the next; else it stays. */
	s = state(3, LM_ROLE_NONE);
	s.yields = true;
	s.wish = 2;
	CHECK_OK(elect_heard(&e, &s));
	CHECK_EQ(elect_choose(&e), 3);
	says(&e, 1, LM_ROLE_NONE);
	CHECK_EQ(elect_choose(&e), 1);
	says(&e, 2, LM_ROLE_NONE);
	CHECK_EQ(elect_choose(&e), 2);
}

static void nobody_begins_before_the_last_one_has_ended(void)
{
	struct elect e = { 0 };

	view(&e, "123");
	says(&e, 1, LM_ROLE_NONE);
	says(&e, 2, LM_ROLE_NONE);
	CHECK(elect_others_have_role(&e, 1)); /* 3 may have it */
	says(&e, 3, LM_ROLE_CLOSING);
	CHECK_EQ(elect_choose(&e), 0);
	says(&e, 1, LM_ROLE_TAKING);
	CHECK_EQ(elect_choose(&e), 1);
	CHECK(elect_others_have_role(&e, 1));
	says(&e, 3, LM_ROLE_NONE);
	CHECK(!elect_others_have_role(&e, 1));
}

static void the_condemned(void)
{
	struct elect e = { 0 };
	struct elect_state s;

	view(&e, "123");
	says(&e, 1, LM_ROLE_SERVING);
	says(&e, 2, LM_ROLE_NONE);
	s = state(3, LM_ROLE_NONE);
	s.condemned[1] = 10;
	CHECK_OK(elect_heard(&e, &s));
	CHECK(elect_is_condemned(&e, 1));
	CHECK_EQ(elect_serving(&e), 0);
	CHECK_EQ(elect_choose(&e), 2);
	CHECK_EQ(elect_mask(&e), 6);
	/* Whatever it says. */
	says(&e, 1, LM_ROLE_SERVING);
	CHECK_EQ(elect_choose(&e), 2);
	/* The next mount of the node is not condemned, though a late message says so of the last. */
	view(&e, "23");
	elect_view(&e, (struct group_member[]){ { 1, 777 }, { 2, 100 }, { 3, 100 } }, 3);
	CHECK_OK(elect_heard(&e, &s));
	s = state(1, LM_ROLE_NONE);
	s.generation = 11;
	CHECK_OK(elect_heard(&e, &s));
	CHECK(!elect_is_condemned(&e, 1));
	CHECK(elect_is_member(&e, 1));
}

/* Every damaged message is refused, and none is read past its end. */
static void bytes(void)
{
	struct elect_state s = state(4, LM_ROLE_SERVING), t;
	struct lm_msg msg;

	s.epoch = 77;
	s.claim = 5;
	s.wish = 6;
	s.port = 4711;
	s.yields = true;
	s.condemned[64] = 12;
	strcpy(s.address, "10.0.0.4");
	strcpy(s.name, "four");
	elect_encode(&s, uuid, &msg);
	CHECK_OK(elect_decode(&msg, sizeof(msg), uuid, 4, &t));
	CHECK(memcmp(&s, &t, sizeof(s)) == 0);

	CHECK_EQ(elect_decode(&msg, sizeof(msg), uuid, 5, &t), -EBADMSG);
	CHECK_EQ(elect_decode(&msg, sizeof(msg), (const uint8_t[16]){ 1 }, 4, &t), -EBADMSG);
	for (size_t len = 0; len < sizeof(msg); len++) {
		char *part = malloc(len ? len : 1); /* the sanitizer sees a byte too far */

		memcpy(part, &msg, len);
		CHECK_EQ(elect_decode(part, len, uuid, 4, &t), -EBADMSG);
		free(part);
	}
	for (size_t i = 0; i < sizeof(msg); i++) {
		((uint8_t *)&msg)[i] ^= 0x40;
		CHECK_EQ(elect_decode(&msg, sizeof(msg), uuid, 4, &t), -EBADMSG);
		((uint8_t *)&msg)[i] ^= 0x40;
	}
	CHECK_OK(elect_decode(&msg, sizeof(msg), uuid, 4, &t));

	/* Of another version, and whole. */
	msg.version = le16_of(LM_MSG_VERSION + 1);
	msg.crc = le32_of(0);
	msg.crc = le32_of(crc32c(0, &msg, sizeof(msg)));
	CHECK_EQ(elect_decode(&msg, sizeof(msg), uuid, 4, &t), -ERR_VERSION);
}

int main(void)
{
	lowest_after_all_have_spoken();
	who_serves_goes_on();
	who_cannot_or_would_rather_not();
	nobody_begins_before_the_last_one_has_ended();
	the_condemned();
	bytes();
	return 0;
}
