/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arithmetic on numbers that came from a disk, a peer or a user. True = overflow, result unset. */
#ifndef UTIL_CHECKED_H
#define UTIL_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define checked_add(a, b, ret) __builtin_add_overflow(a, b, ret)
#define checked_sub(a, b, ret) __builtin_sub_overflow(a, b, ret)
#define checked_mul(a, b, ret) __builtin_mul_overflow(a, b, ret)

/* True if [off, off + len) lies in [0, size). */
static inline bool range_ok(uint64_t off, uint64_t len, uint64_t size)
{
	return off <= size && len <= size - off;
}

#define ALIGN_DOWN(x, a) ((x) / (a) * (a))
#define ALIGN_UP(x, a) (((x) + (a)-1) / (a) * (a))
#define DIV_ROUND_UP(x, a) (((x) + (a)-1) / (a))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

#endif
