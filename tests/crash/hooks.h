/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Functions of the engine that the linker leads through here (meson.build): to learn of each
 * transaction what it was and that it was committed, in the order of the log; and to switch
 * mechanisms off, for the twins.
 */
#ifndef TESTS_CRASH_HOOKS_H
#define TESTS_CRASH_HOOKS_H

#include "csvfs/core/fs.h"

/* What a transaction did, as far as it was seen. */
struct seen_txn {
	struct csv_fs *fs;
	bool put, set;
	uint32_t node, slot;
	uint64_t generation;
	struct csv_result result; /* put */
	uint64_t ino, size;	  /* set: of the last csv_inode_set() */
	unsigned mask;		  /* all of them */
	uint64_t written_ino, blk[16], nr[16]; /* csv_extent_written() */
	uint32_t nr_written;
};

/* A transaction that changed something was committed to record seq. NULL: nobody listens. */
extern void (*hook_committed)(void *arg, const struct seen_txn *txn, uint64_t seq);
extern void *hook_arg;

/* Kinds of requests (bits: enum csvp_op, below 64) whose result was recorded. */
extern uint64_t hook_ops_put;

enum hook_twin {
	TWIN_NONE,
	TWIN_EARLY_REPLY,  /* answers do not wait for the log */
	TWIN_REUSE,	   /* freed blocks are free at once (E5) */
	TWIN_NO_PREFLUSH,  /* a size grows before the zeroes that it uncovers are stable */
	TWIN_FORGET_SLOTS, /* results of earlier sendings are not found */
};
extern enum hook_twin hook_twin;

#endif
