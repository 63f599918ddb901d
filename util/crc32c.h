/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef UTIL_CRC32C_H
#define UTIL_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* CRC-32C (Castagnoli, RFC 3720 B.4) of len bytes, continuing from crc (0 to begin). libisal. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

#endif
