/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside the allocator (alloc.c, alloc_bitmap.c, alloc_busy.c).
 *
 * A1  Truth is on the bitmap blocks; ag_sum is a summary of what is committed, the running
 *     transaction's part is in alloc_txn.
 * A2  A block that was freed is clear in its bitmap and set in its group's shadow, from the call
 *     that frees it until the log's tail has passed the record that it was freed in (E5). Searches
 *     look at bitmap | shadow.
 * A3  Abort leaves shadows as they were before the transaction, and forgets what a search of it
 *     learned about the bitmaps that it changed.
 */
#ifndef CSVFS_CORE_ALLOC_INTERNAL_H
#define CSVFS_CORE_ALLOC_INTERNAL_H

#include "csvfs/core/alloc.h"
#include "util/checked.h"
#include "util/list.h"

#define BITMAP_WORDS (CSV_BITMAP_BYTES / 8)

struct ag_sum {
	uint64_t free;	    /* as committed, held back included; valid if known */
	uint64_t busy;	    /* held back */
	uint8_t **shadow;   /* for each bitmap CSV_BITMAP_BYTES likewise; NULL = all clear */
	uint64_t full;	    /* bit i: no whole aligned cluster is free in bitmap i (below 64) */
	bool known;
};

struct held_run {
	uint64_t blk, nr; /* within one bitmap */
};

/* What the running transaction did; after its commit: what it holds back. */
struct alloc_txn {
	struct csv_txn_hook hook;
	struct csv_alloc *alloc;
	struct csv_txn *txn;
	struct list link; /* csv_alloc.held, in order of seq */
	uint64_t seq;
	struct held_run *runs;
	uint32_t nr_runs, max_runs;
	struct ag_delta {
		uint64_t ag;
		int64_t free;
		uint64_t bitmaps; /* that were changed, as in ag_sum.full */
	} *ags;
	uint32_t nr_ags, max_ags;
};

struct csv_alloc {
	struct csv_fs *fs;
	const struct csv_geometry *geom;
	struct ag_sum *ags;
	uint64_t room_ags;	/* of ags */
	uint32_t nr_bitmaps;	/* of each group */
	uint64_t meta_ag;	/* where metadata was found last */
	uint64_t reserve;	/* blocks that data does not take */
	uint64_t held_nr;	/* blocks held back, the running transaction's included */
	uint64_t held_now;	/* of these, the running transaction's */
	struct list held;
	struct alloc_txn *cur;
};

static inline uint64_t ag_first_blk(const struct csv_alloc *alloc, uint64_t ag)
{
	return alloc->geom->ag0_blk + ag * alloc->geom->ag_blks;
}

/* Blocks in the group. The volume's last block is a copy of the superblock. */
static inline uint64_t ag_nr_blks(const struct csv_alloc *alloc, uint64_t ag)
{
	uint64_t left = alloc->geom->nr_blks - 1 - ag_first_blk(alloc, ag);

	return MIN(left, alloc->geom->ag_blks);
}

/* A bitmap's bit in ag_sum.full; 0: there are too many. */
static inline uint64_t full_bit(uint32_t bitmap)
{
	return bitmap < 64 ? 1ull << bitmap : 0;
}

/* First block of the group that may be allocated. */
static inline uint64_t ag_first_bit(const struct csv_alloc *alloc)
{
	return 1 + alloc->nr_bitmaps;
}

struct csv_alloc *csv_alloc_of(struct csv_txn *txn);

/* ---- alloc_bitmap.c: 64 bits at a time ---- */

/* What a search sees: bits of a bitmap block, and the shadow (may be NULL) that hides more. */
struct bitmap_view {
	const uint8_t *bits;
	const uint8_t *shadow;
};

/* The first bit of [from, end) that is free / not free; end if there is none. */
uint32_t csv_bitmap_next_free(const struct bitmap_view *view, uint32_t from, uint32_t end);
uint32_t csv_bitmap_next_used(const struct bitmap_view *view, uint32_t from, uint32_t end);
/* Sets or clears nr bits from bit. False if one of them was so already: nothing was changed. */
bool csv_bitmap_set(uint8_t *bits, uint32_t bit, uint32_t nr, bool used)
	__attribute__((warn_unused_result));

/* ---- alloc_busy.c: summaries, blocks that are held back ---- */

/* The running transaction's record, with room for one more group and run. -ENOMEM. */
int csv_alloc_cur(struct csv_txn *txn, struct alloc_txn **ret)
	__attribute__((warn_unused_result));
/* Notes that the group's free count was changed by that much, in this bitmap. */
void csv_alloc_note(struct alloc_txn *cur, uint64_t ag, uint32_t bitmap, int64_t free);
/* Free blocks of a group as the running transaction sees them, and how many are held back. */
int csv_alloc_ag_free(struct csv_txn *txn, uint64_t ag, uint64_t *ret_free)
	__attribute__((warn_unused_result));
/* Holds a run back (A2); it is within one bitmap. -ENOMEM. */
int csv_alloc_hold(struct alloc_txn *cur, uint64_t ag, uint32_t bitmap, uint32_t bit, uint32_t nr)
	__attribute__((warn_unused_result));

#endif
