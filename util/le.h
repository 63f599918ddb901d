/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Little-endian integers on disk and wire, as one-member structs: an unconverted use does not
 * compile.
 */
#ifndef UTIL_LE_H
#define UTIL_LE_H

#include <endian.h>
#include <stdint.h>

struct le16 { uint16_t v; } __attribute__((packed));
struct le32 { uint32_t v; } __attribute__((packed));
struct le64 { uint64_t v; } __attribute__((packed));

static inline uint16_t le16_get(struct le16 x) { return le16toh(x.v); }
static inline uint32_t le32_get(struct le32 x) { return le32toh(x.v); }
static inline uint64_t le64_get(struct le64 x) { return le64toh(x.v); }
static inline struct le16 le16_of(uint16_t x) { return (struct le16){ htole16(x) }; }
static inline struct le32 le32_of(uint32_t x) { return (struct le32){ htole32(x) }; }
static inline struct le64 le64_of(uint64_t x) { return (struct le64){ htole64(x) }; }

#endif
