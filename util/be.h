/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Big-endian integers on disk, as one-member structs: an unconverted use does not compile. */
#ifndef UTIL_BE_H
#define UTIL_BE_H

#include <endian.h>
#include <stdint.h>

struct be16 { uint16_t v; } __attribute__((packed));
struct be32 { uint32_t v; } __attribute__((packed));
struct be64 { uint64_t v; } __attribute__((packed));

static inline uint16_t be16_get(struct be16 x) { return be16toh(x.v); }
static inline uint32_t be32_get(struct be32 x) { return be32toh(x.v); }
static inline uint64_t be64_get(struct be64 x) { return be64toh(x.v); }
static inline struct be16 be16_of(uint16_t x) { return (struct be16){ htobe16(x) }; }
static inline struct be32 be32_of(uint32_t x) { return (struct be32){ htobe32(x) }; }
static inline struct be64 be64_of(uint64_t x) { return (struct be64){ htobe64(x) }; }

#endif
