/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The space allocator: bitmaps of allocation groups, one bit for each 4 KiB. */
#ifndef CSVFS_CORE_ALLOC_H
#define CSVFS_CORE_ALLOC_H

#include "csvfs/core/txn.h"

struct csv_alloc;

/* The in-memory half: free counts as they become known, blocks that are held back (E5). */
int csv_alloc_new(struct csv_fs *fs, struct csv_alloc **ret) __attribute__((warn_unused_result));
void csv_alloc_free_state(struct csv_alloc *alloc);
/* Room for summaries of more groups. -ENOMEM. */
int csv_alloc_make_room(struct csv_alloc *alloc, uint64_t nr_ags) __attribute__((warn_unused_result));
/* The volume has grown from old; within the transaction's commit. */
void csv_alloc_grown(struct csv_alloc *alloc, const struct csv_geometry *old);
/* The log's tail has moved: blocks freed before seq may be used again. */
void csv_alloc_tail_moved(struct csv_alloc *alloc, uint64_t seq);

/* One metadata block, near hint if it can be. -ENOSPC. */
int csv_alloc_meta(struct csv_txn *txn, uint64_t hint_blk, uint64_t *ret_blk)
	__attribute__((warn_unused_result, nonnull));

/*
 * A run of up to want blocks for file data: near hint (exactly there if it is free: the file's
 * blocks continue), a multiple of the cluster and aligned to it while there is such a run, else the
 * best there is. *ret_nr is between 1 and want. Metadata has a small reserve that this does not
 * touch, so that a full volume can still delete. -ENOSPC.
 */
int csv_alloc_data(struct csv_txn *txn, uint64_t hint_blk, uint64_t want, uint64_t *ret_blk,
	uint64_t *ret_nr) __attribute__((warn_unused_result, nonnull));

/* Where a file without blocks begins: spreads files over groups, and within them. */
uint64_t csv_alloc_data_hint(struct csv_txn *txn, uint64_t ino);

/* Blocks that csv_alloc_data() leaves to metadata. */
uint64_t csv_alloc_reserve(struct csv_txn *txn);

/* -ENOSPC when only the last few blocks are left, which are for operations that free some. */
int csv_alloc_room(struct csv_txn *txn) __attribute__((warn_unused_result));

/* Frees a run; bounded to CSV_FREE_MAX_BLKS a call. -ERR_CORRUPT: part of it was free already. */
#define CSV_FREE_MAX_BLKS (8u * CSV_BITMAP_BITS)
int csv_alloc_release(struct csv_txn *txn, uint64_t blk, uint64_t nr)
	__attribute__((warn_unused_result, nonnull));

#endif
