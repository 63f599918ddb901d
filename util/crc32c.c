/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/crc32c.h"

#include <isa-l/crc.h>

#include "util/checked.h"

/* crc32_iscsi() takes an int as length. */
#define CHUNK ((size_t)1 << 30)

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
	const unsigned char *p = data;

	/* ISA-L leaves the inversion before and after to its caller. */
	crc = ~crc;
	while (len > 0) {
		size_t n = MIN(len, CHUNK);

		crc = crc32_iscsi((unsigned char *)p, (int)n, crc);
		p += n;
		len -= n;
	}
	return ~crc;
}
