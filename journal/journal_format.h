/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The log's bytes (docs/FORMAT.md, "Journal"). Only the journal includes this.
 *
 * The region: its first block is header slot 0, its last one header slot 1, between them the log: a
 * ring of nr_blks - 2 blocks. A record is a run of blocks of the ring: descriptors, then images.
 */
#ifndef JOURNAL_JOURNAL_FORMAT_H
#define JOURNAL_JOURNAL_FORMAT_H

#include <assert.h>
#include <stddef.h>

#include "util/le.h"

#define JNL_MAGIC 0x46565343u /* "CSVF", as in every metadata block of the volume */
#define JNL_VERSION 1u
#define JNL_BT_HEADER 8u
#define JNL_BT_RECORD 9u

/* The header of all metadata blocks of a volume. */
struct jnl_blk_hdr {
	struct le32 magic;   /* 0x00 */
	struct le32 crc;     /* 0x04 crc32c of the 4 KiB with this field zero */
	struct le16 type;    /* 0x08 JNL_BT_* */
	struct le16 version; /* 0x0a JNL_VERSION */
	struct le32 len;     /* 0x0c bytes in use, header included */
	struct le64 blkno;   /* 0x10 where it lies on the device */
	uint8_t uuid[16];    /* 0x18 volume */
	struct le64 epoch;   /* 0x28 of the coordinator that wrote it */
	struct le64 seq;   /* 0x30 record: its sequence; header: counts up with each one written */
	struct le64 owner; /* 0x38 0 */
};
static_assert(sizeof(struct jnl_blk_hdr) == 0x40, "format");
static_assert(offsetof(struct jnl_blk_hdr, blkno) == 0x10, "format");
static_assert(offsetof(struct jnl_blk_hdr, epoch) == 0x28, "format");

#define JNL_MAX_SEQ (1ull << 62) /* of records and headers: never reached */
#define JNL_HDR_CLEAN (1u << 0)	 /* the log was emptied in order */

struct jnl_hdr_blk {
	struct jnl_blk_hdr h;
	struct le64 tail_seq;	/* 0x40 the first record to replay */
	struct le64 tail_pos;	/* 0x48 where it begins, in blocks from the start of the ring */
	struct le64 tail_epoch; /* 0x50 records of a lower epoch are none of the log's any more */
	struct le64 nr_blks;	/* 0x58 of the region */
	struct le32 coord_node; /* 0x60 who wrote the epoch; 0 = none */
	struct le32 flags;	/* 0x64 JNL_HDR_* */
};
static_assert(sizeof(struct jnl_hdr_blk) == 0x68, "format");

struct jnl_desc_ent {
	struct le64 blk;      /* 0x00 where the image belongs, on the device */
	struct le32 crc;      /* 0x08 crc32c of the image */
	struct le32 reserved; /* 0x0c 0 */
};
static_assert(sizeof(struct jnl_desc_ent) == 16, "format");

/* Entries of a record fill its descriptor blocks in order; the last one may be partly used. */
struct jnl_desc_blk {
	struct jnl_blk_hdr h;
	struct le32 nr_imgs;  /* 0x40 of the record */
	struct le32 nr_desc;  /* 0x44 of the record */
	struct le32 index;    /* 0x48 of this descriptor block */
	struct le32 flags;    /* 0x4c 0 */
	struct le64 hdr_seq;  /* 0x50 h.seq of the header that was stable when this was written */
	struct le64 stable_seq; /* 0x58 the newest record that was stable then; 0 = none known */
	struct jnl_desc_ent ents[]; /* 0x60 */
};
static_assert(sizeof(struct jnl_desc_blk) == 0x60, "format");

#define JNL_DESC_ENTS 250u
static_assert(sizeof(struct jnl_desc_blk) + JNL_DESC_ENTS * sizeof(struct jnl_desc_ent) == 4096,
	"format");

/* Descriptor blocks of a record of n images. */
static inline uint32_t jnl_desc_blks(uint32_t n)
{
	return (n + JNL_DESC_ENTS - 1) / JNL_DESC_ENTS;
}

#endif
