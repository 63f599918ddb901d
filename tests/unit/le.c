/* libs: util */
/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/le.h"

#include "tests/unit/test.h"
#include "util/checked.h"

_Static_assert(sizeof(struct le16) == 2 && _Alignof(struct le16) == 1, "no padding");
_Static_assert(sizeof(struct le32) == 4 && _Alignof(struct le32) == 1, "no padding");
_Static_assert(sizeof(struct le64) == 8 && _Alignof(struct le64) == 1, "no padding");

static void bytes(void)
{
	struct __attribute__((packed)) {
		uint8_t odd;
		struct le16 a;
		struct le32 b;
		struct le64 c;
	} x = { 0xee, le16_of(0x1234), le32_of(0x56789abc), le64_of(0x0123456789abcdef) };
	static const uint8_t expect[] = { 0xee, 0x34, 0x12, 0xbc, 0x9a, 0x78, 0x56, 0xef, 0xcd, 0xab,
		0x89, 0x67, 0x45, 0x23, 0x01 };

	CHECK_EQ(sizeof(x), sizeof(expect));
	CHECK(memcmp(&x, expect, sizeof(x)) == 0);
	CHECK_EQ(le16_get(x.a), 0x1234);
	CHECK_EQ(le32_get(x.b), 0x56789abc);
	CHECK_EQ(le64_get(x.c), 0x0123456789abcdef);
	CHECK(le64_get(le64_of(UINT64_MAX)) == UINT64_MAX);
}

static void checked(void)
{
	uint64_t r = 7;
	uint32_t narrow;

	CHECK(!checked_add(UINT64_MAX - 1, (uint64_t)1, &r) && r == UINT64_MAX);
	CHECK(checked_add(UINT64_MAX, (uint64_t)1, &r));
	CHECK(checked_sub((uint64_t)1, (uint64_t)2, &r));
	CHECK(checked_mul((uint64_t)1 << 32, (uint64_t)1 << 32, &r));
	CHECK(checked_add((uint64_t)UINT32_MAX, (uint64_t)1, &narrow));

	CHECK(range_ok(0, 0, 0));
	CHECK(range_ok(10, 0, 10));
	CHECK(range_ok(4, 6, 10));
	CHECK(!range_ok(4, 7, 10));
	CHECK(!range_ok(11, 0, 10));
	CHECK(!range_ok(UINT64_MAX, 2, UINT64_MAX));
	CHECK(!range_ok(2, UINT64_MAX, UINT64_MAX));
	CHECK(range_ok(0, UINT64_MAX, UINT64_MAX));

	CHECK_EQ(ALIGN_DOWN(4095u, 4096u), 0);
	CHECK_EQ(ALIGN_UP(1u, 4096u), 4096);
	CHECK_EQ(ALIGN_UP(4096u, 4096u), 4096);
	CHECK_EQ(DIV_ROUND_UP(10, 3), 4);
}

int main(void)
{
	bytes();
	checked();
	return 0;
}
