/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A node's slot block on the LUN. The header is the one of every csvfs metadata block
 * (csvfs/core/format.h), spelled out here because lockmgr stands below csvfs/core.
 *
 * A block of zeroes is a slot that was never used. Only its node writes a slot, with two
 * exceptions: in mode pr whoever fences a node sets its state to FENCED, after the preempt; in mode
 * lease it does so after the fence is confirmed, for display. What a lease fence rests on is
 * fenced_gen in the slot of the node that fences (fence_lease.c).
 */
#ifndef LOCKMGR_LOCKMGR_FORMAT_H
#define LOCKMGR_LOCKMGR_FORMAT_H

#include <assert.h>
#include <stddef.h>

#include "util/le.h"

#define LM_SLOT_BYTES 4096u
#define LM_SLOT_MAGIC 0x46565343u /* CSV_MAGIC */
#define LM_SLOT_TYPE 7u		  /* CSV_BT_SLOT */
#define LM_SLOT_VERSION 1u

enum lm_slot_state {
	LM_SLOT_FREE = 0,
	LM_SLOT_LIVE = 1,   /* mounted: may write */
	LM_SLOT_LEFT = 2,   /* unmounted in order: needs no fence */
	LM_SLOT_FENCED = 3, /* this generation may not write ever again */
};

struct lm_slot_blk {
	struct le32 magic;	   /* 0x000 */
	struct le32 crc;	   /* 0x004 crc32c of the 4 KiB with this field zero */
	struct le16 type;	   /* 0x008 */
	struct le16 version;	   /* 0x00a */
	struct le32 len;	   /* 0x00c bytes in use */
	struct le64 blkno;	   /* 0x010 */
	uint8_t uuid[16];	   /* 0x018 */
	struct le64 epoch;	   /* 0x028 newest epoch that this node has heard of */
	struct le64 seq;	   /* 0x030 0: slots are not journaled */
	struct le64 owner;	   /* 0x038 node */
	struct le64 generation;	   /* 0x040 of the mount */
	struct le32 node;	   /* 0x048 */
	struct le32 state;	   /* 0x04c enum lm_slot_state */
	struct le64 pr_key;	   /* 0x050 0 = no reservations */
	struct le64 beat;	   /* 0x058 counts up with each renewal */
	struct le64 time_ns;	   /* 0x060 of the beat, since 1970; for people only */
	struct le32 lease_ms;	   /* 0x068 */
	struct le32 beat_ms;	   /* 0x06c */
	struct le32 fenced_by;	   /* 0x070 state FENCED: the node that did it */
	struct le32 pid;	   /* 0x074 of the process, in pid_ns */
	struct le64 pid_start;	   /* 0x078 start time of that process, clock ticks since boot */
	struct le64 pid_ns;	   /* 0x080 inode of its PID namespace */
	uint8_t boot_id[16];	   /* 0x088 of its host's kernel */
	uint8_t pad[8];		   /* 0x098 */
	char name[64];		   /* 0x0a0 host name, NUL-terminated */
	uint8_t reserved[0x20];	   /* 0x0e0 */
	struct le64 fenced_gen[64]; /* 0x100 [n - 1]: generation of node n that this node fenced */
};
static_assert(sizeof(struct lm_slot_blk) == 0x300, "format");
static_assert(offsetof(struct lm_slot_blk, owner) == 0x38, "format");
static_assert(offsetof(struct lm_slot_blk, generation) == 0x40, "format");
static_assert(offsetof(struct lm_slot_blk, beat) == 0x58, "format");
static_assert(offsetof(struct lm_slot_blk, boot_id) == 0x88, "format");
static_assert(offsetof(struct lm_slot_blk, name) == 0xa0, "format");
static_assert(offsetof(struct lm_slot_blk, fenced_gen) == 0x100, "format");

/*
 * The persistent reservation key of a mount: 16 bits of the volume's hash, 16 bits node, the low
 * 32 bits of the generation. So anybody can tell from READ KEYS whose keys they are.
 */
#define LM_KEY_HASH_SHIFT 48
#define LM_KEY_NODE_SHIFT 32

#endif
