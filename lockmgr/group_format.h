/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What members multicast to the CPG group: what each of them is. There is one message; each tells
 * all, so that the newest one of a member is the truth about it.
 */
#ifndef LOCKMGR_GROUP_FORMAT_H
#define LOCKMGR_GROUP_FORMAT_H

#include <assert.h>
#include <stddef.h>

#include "util/le.h"

#define LM_MSG_MAGIC 0x474d4c43u /* "CLMG" */
#define LM_MSG_VERSION 1u
#define LM_MSG_STATE 1u

#define LM_MSG_PATH (1u << 0)	 /* its beats reach the LUN */
#define LM_MSG_JOINING (1u << 1) /* has no slot yet: not to be chosen */
#define LM_MSG_YIELDS (1u << 2)	 /* gave the role up: chosen last */

struct lm_msg {
	struct le32 magic;		/* 0x000 */
	struct le16 version;		/* 0x004 */
	struct le16 type;		/* 0x006 LM_MSG_STATE */
	struct le32 len;		/* 0x008 of the whole message; longer = a newer sender */
	struct le32 crc;		/* 0x00c crc32c of len bytes with this field zero */
	uint8_t uuid[16];		/* 0x010 volume */
	struct le32 node;		/* 0x020 */
	struct le32 flags;		/* 0x024 */
	struct le64 generation;		/* 0x028 */
	struct le64 epoch;		/* 0x030 it serves with; 0 = it does not */
	struct le32 role;		/* 0x038 enum lm_role */
	struct le32 claim;		/* 0x03c which of its claims to the role this is */
	struct le32 wish;		/* 0x040 node that should take over from it; 0 = any */
	struct le16 port;		/* 0x044 */
	uint8_t pad[2];			/* 0x046 */
	char address[64];		/* 0x048 numeric, NUL-terminated */
	char name[64];			/* 0x088 NUL-terminated */
	struct le64 condemned[64];	/* 0x0c8 [n - 1]: generation of node n that it holds for dead */
};
static_assert(sizeof(struct lm_msg) == 0x2c8, "format");
static_assert(offsetof(struct lm_msg, generation) == 0x28, "format");
static_assert(offsetof(struct lm_msg, address) == 0x48, "format");
static_assert(offsetof(struct lm_msg, condemned) == 0xc8, "format");

#endif
