/* libs: util */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The known answers of RFC 3720 B.4, and a bitwise reference for all else. */
#include "util/crc32c.h"

#include "tests/unit/test.h"

static uint32_t reference(uint32_t crc, const uint8_t *p, size_t len)
{
	crc = ~crc;
	while (len--) {
		crc ^= *p++;
		for (int i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

static void known(void)
{
	uint8_t b[32];

	CHECK_EQ(crc32c(0, "123456789", 9), 0xe3069283);
	CHECK_EQ(crc32c(0, "", 0), 0);
	memset(b, 0, sizeof(b));
	CHECK_EQ(crc32c(0, b, sizeof(b)), 0x8a9136aa);
	memset(b, 0xff, sizeof(b));
	CHECK_EQ(crc32c(0, b, sizeof(b)), 0x62a8ab43);
	for (int i = 0; i < 32; i++)
		b[i] = (uint8_t)i;
	CHECK_EQ(crc32c(0, b, sizeof(b)), 0x46dd794e);
	for (int i = 0; i < 32; i++)
		b[i] = (uint8_t)(31 - i);
	CHECK_EQ(crc32c(0, b, sizeof(b)), 0x113fdb5c);
}

static void all_shapes(void)
{
	static uint8_t b[4096 + 64];

	for (size_t i = 0; i < sizeof(b); i++)
		b[i] = (uint8_t)(i * 2654435761u >> 11);
	for (size_t at = 0; at < 16; at++) {
		for (size_t len = 0; len < 300; len++)
			CHECK_EQ(crc32c(0, b + at, len), reference(0, b + at, len));
	}
	CHECK_EQ(crc32c(0x1234, b + 3, 4096), reference(0x1234, b + 3, 4096));
	/* In pieces as in one. */
	for (size_t cut = 0; cut <= 4096; cut += 131)
		CHECK_EQ(crc32c(crc32c(0, b, cut), b + cut, 4096 - cut), crc32c(0, b, 4096));
}

int main(void)
{
	known();
	all_shapes();
	return 0;
}
