/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between scrub.c (what is next, how fast) and scrub_look.c (what is looked at). */
#ifndef CSVFS_CORE_SCRUB_INTERNAL_H
#define CSVFS_CORE_SCRUB_INTERNAL_H

#include "csvfs/core/btree_internal.h"
#include "csvfs/core/core_internal.h"
#include "csvfs/core/inode_internal.h"
#include "csvfs/core/scrub.h"

#define SCRUB_INOS 64u /* a leaf of the inode tree has fewer */
#define SCRUB_MSGS 16u /* of one step */

enum scrub_phase {
	SCRUB_SUPERS,
	SCRUB_COUNTS,	/* free blocks: groups against the root block */
	SCRUB_SESSIONS, /* at: node */
	SCRUB_GROUPS,	/* at: group */
	SCRUB_INODES,	/* at: key; the next leaf */
	SCRUB_DATA,	/* at: key in the tree of inos[ino_at] */
	SCRUB_XATTRS,	/* likewise */
	SCRUB_ORPHANS,
	SCRUB_QUOTAS,	/* at: key */
	SCRUB_END,
};

/* Where a scrub is. A run works on a copy, which counts when it has ended well (S2). */
struct scrub_pos {
	enum scrub_phase phase;
	uint64_t at;
	uint64_t inos[SCRUB_INOS + 1]; /* behind them: the last key of their leaf */
	uint32_t nr_inos, ino_at;

	/* of the tree that is looked at */
	struct csv_inode_rec rec; /* as it was at its beginning */
	uint64_t nr_blks, end;	  /* counted so far; end of the last extent */
	bool counts;		  /* nr_blks is of one state */
	bool no_targets;	  /* what entries lead to cannot be looked at */

	uint64_t inodes, blks;
};

struct scrub_msg {
	char text[256];
};

struct csv_scrub {
	struct csv_op op; /* under way if busy */
	struct csv_fs *fs;
	struct csv_scrub_cfg cfg;
	struct ev_timer timer;
	bool busy, stopped, over;

	struct scrub_pos pos, next;
	struct scrub_msg msgs[SCRUB_MSGS]; /* of the run */
	uint32_t nr_msgs;

	/* The block that the run asked for last, and what to go on with if it cannot be had. */
	uint64_t at_blk, skip_to;
	bool at_target;

	uint64_t errors, nr_inodes;
	int super_err;
};

/* One bounded step, in a transaction that changes nothing: from scrub->next on. */
int scrub_look(struct csv_scrub *scrub, struct csv_txn *txn) __attribute__((warn_unused_result));
/* The step's block cannot be had: next goes on behind it. */
void scrub_skip(struct csv_scrub *scrub);
void scrub_say(struct csv_scrub *scrub, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
