/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a check finds that can be put right, for csv_repair() (repair.c). The check notes a fix beside
 * what it says; a check without a plan notes nothing.
 */
#ifndef CSVFS_CORE_CHECK_PLAN_H
#define CSVFS_CORE_CHECK_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "csvfs/core/format.h"

struct check;

/* In the order in which they are carried out. The stages are R2's. */
enum fix_kind {
	/* stage 0: blocks at fixed places */
	FIX_SUPER,	/* blk */
	FIX_SLOT,	/* blk */
	FIX_SESSION,	/* blk */
	/* stage 1: the shape of trees, in place */
	FIX_ROOT_BLK,
	FIX_LEVEL,	/* the root of holder's tree is of level arg */
	FIX_CLEAR_TREE, /* a tree that must not be: holder */
	FIX_NODE,	/* blk, which is no good, and level, lo, hi, path */
	FIX_CUT,	/* blk, which must not be in this tree, and level, path */
	FIX_INODE_REC,	/* ino */
	/* stage 2: what would be overwritten; before anything is allocated */
	FIX_GROUP_USED, /* arg: group */
	FIX_NEXT_INO,	/* arg */
	/* stage 3: what is in trees */
	FIX_LOST_INODE,	 /* ino, blk and level of its tree, arg: DT_* */
	FIX_LOST_LAYER,	 /* ino, owner, blk and level of its tree, arg: inodes above */
	FIX_KEYS,	 /* leaf blk has keys outside of lo to hi */
	FIX_EXT_DROP,	 /* holder, key */
	FIX_EXT_OVERLAP, /* holder, key; arg: end of the one before */
	FIX_EXT_HOLE,	 /* holder, key, blk: arg blocks of the extent that has key are not its own */
	FIX_ENT_DROP,	 /* holder, key */
	FIX_ENT_MOVE,	 /* holder, key: to where its name's hash puts it */
	FIX_XATTR_DROP,	 /* holder, key */
	FIX_SYMLINK,	 /* ino */
	FIX_LAYER_DROP,	 /* ino: its base is none */
	FIX_QUOTA_DROP,	 /* key */
	FIX_ORPHAN_VAL,	 /* key */
	/* stage 4 */
	FIX_ROOT_DIR,
	/* stage 5: names */
	FIX_NAME_DROP,	/* as FIX_ENT_DROP: a name that leads nowhere, or too many */
	FIX_ENT_TYPE,	/* holder, key, arg: DT_* */
	FIX_PARENT,	/* ino, arg */
	FIX_DEPTH,	/* ino, arg */
	FIX_ORPHAN_DEL, /* ino */
	FIX_ORPHAN_ADD, /* ino */
	FIX_LOST_FOUND, /* ino, arg: subdirectories */
	/* stage 6: counts; blocks that are nobody's */
	FIX_NLINK,	/* ino, arg */
	FIX_INODE_BLKS, /* ino, arg */
	FIX_XATTR_BLKS, /* ino, arg */
	FIX_DIR_SIZE,	/* ino, arg */
	FIX_NR_INODES,	/* arg */
	FIX_GROUP,	/* arg: group */
	FIX_ROOT_FREE,
	/* stage 7: what is counted of what is right now */
	FIX_QUOTA_USE, /* ino: project, arg: blocks, key: inodes */
};

struct check_fix {
	enum fix_kind kind;
	uint8_t level;
	bool xattrs; /* of holder's trees the one of attributes */
	uint64_t ino;
	uint64_t holder; /* the inode whose tree it is in; 0: the root block's, see owner */
	uint64_t owner;	 /* as the nodes of that tree say */
	uint64_t blk, key, arg;
	uint64_t lo, hi;
	uint64_t path[CSV_TREE_MAX_LEVEL + 1]; /* nodes above blk, by level, up to top */
	uint8_t top;			       /* level of the tree's root */
};

/* Blocks that were met twice. */
struct check_dup {
	uint64_t blk, nr;
};

struct check_plan {
	struct check_fix *fixes;
	uint64_t nr, max;
	struct check_dup *dups;
	uint64_t nr_dups, max_dups;
	bool more; /* there was more to note than PLAN_MAX: the next pass finds it */
};

#define PLAN_MAX 65536u /* fixes of a pass; bounds its memory to 16 MiB */

uint32_t check_fix_stage(enum fix_kind kind);

/* Notes a fix; without a plan, nothing. No memory: plan->more. */
void check_fix(struct check *c, const struct check_fix *fix);
void check_dup(struct check *c, uint64_t blk, uint64_t nr);
void check_plan_free(struct check_plan *plan);

#endif
