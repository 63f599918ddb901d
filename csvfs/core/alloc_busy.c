/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The allocator's memory: summaries of groups, and freed blocks that are held back (E5). */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "csvfs/core/alloc_internal.h"
#include "csvfs/core/core_internal.h"
#include "util/err.h"
#include "util/log.h"

#define MIN_RESERVE_BLKS 64u
#define MAX_RESERVE_BLKS 65536u /* 256 MiB */

struct csv_alloc *csv_alloc_of(struct csv_txn *txn)
{
	return csv_txn_fs(txn)->alloc;
}

static void set_reserve(struct csv_alloc *alloc)
{
	alloc->reserve = MAX(MIN_RESERVE_BLKS, MIN(alloc->geom->nr_blks / 200, MAX_RESERVE_BLKS));
}

int csv_alloc_new(struct csv_fs *fs, struct csv_alloc **ret)
{
	const struct csv_geometry *geom = csv_fs_geometry(fs);
	struct csv_alloc *alloc;
	uint64_t first, bitmaps = geom->ag_blks / CSV_BITMAP_BITS;

	if (bitmaps == 0 || bitmaps > UINT16_MAX || geom->ag_blks % CSV_BITMAP_BITS ||
		geom->nr_ags == 0 || checked_mul(geom->nr_ags - 1, geom->ag_blks, &first) ||
		checked_add(first, geom->ag0_blk, &first) || geom->nr_blks < 2 ||
		!range_ok(first, bitmaps + 2, geom->nr_blks - 1)) {
		log_error("superblock: %llu allocation groups of %llu blocks from block %llu do not "
			  "fit a volume of %llu",
			(unsigned long long)geom->nr_ags, (unsigned long long)geom->ag_blks,
			(unsigned long long)geom->ag0_blk, (unsigned long long)geom->nr_blks);
		return -ERR_CORRUPT;
	}
	alloc = calloc(1, sizeof(*alloc));
	if (!alloc)
		return -ENOMEM;
	alloc->ags = calloc(geom->nr_ags, sizeof(*alloc->ags));
	if (!alloc->ags) {
		free(alloc);
		return -ENOMEM;
	}
	alloc->fs = fs;
	alloc->geom = geom;
	alloc->nr_bitmaps = bitmaps;
	alloc->room_ags = geom->nr_ags;
	set_reserve(alloc);
	list_init(&alloc->held);
	*ret = alloc;
	return 0;
}

int csv_alloc_make_room(struct csv_alloc *alloc, uint64_t nr_ags)
{
	struct ag_sum *ags;

	if (nr_ags <= alloc->room_ags)
		return 0;
	ags = reallocarray(alloc->ags, nr_ags, sizeof(*ags));
	if (!ags)
		return -ENOMEM;
	memset(ags + alloc->room_ags, 0, (nr_ags - alloc->room_ags) * sizeof(*ags));
	alloc->ags = ags;
	alloc->room_ags = nr_ags;
	return 0;
}

void csv_alloc_grown(struct csv_alloc *alloc, const struct csv_geometry *old)
{
	struct ag_sum *last = &alloc->ags[old->nr_ags - 1];

	last->known = false; /* its header says */
	last->full = 0;
	set_reserve(alloc);
}

static void alloc_txn_free(struct alloc_txn *at)
{
	if (!at)
		return;
	free(at->runs);
	free(at->ags);
	free(at);
}

static void shadows_free(struct csv_alloc *alloc, struct ag_sum *sum)
{
	if (!sum->shadow)
		return;
	for (uint32_t i = 0; i < alloc->nr_bitmaps; i++)
		free(sum->shadow[i]);
	free(sum->shadow);
	sum->shadow = NULL;
}

void csv_alloc_free_state(struct csv_alloc *alloc)
{
	struct list *pos, *tmp;

	if (!alloc)
		return;
	list_for_each_safe(pos, tmp, &alloc->held)
		alloc_txn_free(list_entry(pos, struct alloc_txn, link));
	alloc_txn_free(alloc->cur);
	for (uint64_t ag = 0; ag < alloc->room_ags; ag++)
		shadows_free(alloc, &alloc->ags[ag]);
	free(alloc->ags);
	free(alloc);
}

/* Takes at's runs out of the shadows. */
static void unhold(struct csv_alloc *alloc, const struct alloc_txn *at)
{
	for (uint32_t i = 0; i < at->nr_runs; i++) {
		uint64_t rel = at->runs[i].blk - alloc->geom->ag0_blk;
		struct ag_sum *sum = &alloc->ags[rel / alloc->geom->ag_blks];
		uint64_t bit = rel % alloc->geom->ag_blks;
		bool held = csv_bitmap_set(sum->shadow[bit / CSV_BITMAP_BITS],
			bit % CSV_BITMAP_BITS, at->runs[i].nr, false);

		assert(held);
		assert(sum->busy >= at->runs[i].nr && alloc->held_nr >= at->runs[i].nr);
		sum->busy -= at->runs[i].nr;
		alloc->held_nr -= at->runs[i].nr;
		sum->full &= ~full_bit(bit / CSV_BITMAP_BITS);
		if (sum->busy == 0)
			shadows_free(alloc, sum);
	}
}

static void cur_commit(struct csv_txn_hook *hook, uint64_t seq)
{
	struct alloc_txn *at = container_of(hook, struct alloc_txn, hook);
	struct csv_alloc *alloc = at->alloc;

	assert(alloc->cur == at);
	alloc->cur = NULL;
	alloc->held_now = 0;
	for (uint32_t i = 0; i < at->nr_ags; i++)
		alloc->ags[at->ags[i].ag].free += at->ags[i].free;
	if (at->nr_runs == 0) {
		alloc_txn_free(at);
		return;
	}
	at->txn = NULL;
	at->seq = seq;
	assert(list_empty(&alloc->held) ||
		list_entry(alloc->held.prev, struct alloc_txn, link)->seq <= seq);
	list_add_tail(&alloc->held, &at->link);
}

static void cur_abort(struct csv_txn_hook *hook)
{
	struct alloc_txn *at = container_of(hook, struct alloc_txn, hook);
	struct csv_alloc *alloc = at->alloc;

	assert(alloc->cur == at);
	alloc->cur = NULL;
	alloc->held_now = 0;
	for (uint32_t i = 0; i < at->nr_ags; i++)
		alloc->ags[at->ags[i].ag].full &= ~at->ags[i].bitmaps;
	unhold(alloc, at);
	alloc_txn_free(at);
}

void csv_alloc_tail_moved(struct csv_alloc *alloc, uint64_t seq)
{
	while (!list_empty(&alloc->held)) {
		struct alloc_txn *at = list_entry(alloc->held.next, struct alloc_txn, link);

		if (at->seq >= seq)
			return;
		list_del(&at->link);
		unhold(alloc, at);
		alloc_txn_free(at);
	}
}

static int grow(void **array, uint32_t nr, uint32_t *max, size_t size)
{
	uint32_t want = *max ? *max * 2 : 8;
	void *p;

	if (nr < *max)
		return 0;
	p = reallocarray(*array, want, size);
	if (!p)
		return -ENOMEM;
	*array = p;
	*max = want;
	return 0;
}

int csv_alloc_cur(struct csv_txn *txn, struct alloc_txn **ret)
{
	struct csv_alloc *alloc = csv_alloc_of(txn);
	struct alloc_txn *at = alloc->cur;

	if (!at) {
		at = calloc(1, sizeof(*at));
		if (!at)
			return -ENOMEM;
		at->hook.commit = cur_commit;
		at->hook.abort = cur_abort;
		at->alloc = alloc;
		at->txn = txn;
		list_init(&at->link);
		alloc->cur = at;
		csv_txn_hook(txn, &at->hook);
	}
	assert(at->txn == txn);
	if (grow((void **)&at->runs, at->nr_runs, &at->max_runs, sizeof(*at->runs)) ||
		grow((void **)&at->ags, at->nr_ags, &at->max_ags, sizeof(*at->ags)))
		return -ENOMEM;
	*ret = at;
	return 0;
}

void csv_alloc_note(struct alloc_txn *cur, uint64_t ag, uint32_t bitmap, int64_t free)
{
	for (uint32_t i = 0; i < cur->nr_ags; i++) {
		if (cur->ags[i].ag == ag) {
			cur->ags[i].free += free;
			cur->ags[i].bitmaps |= full_bit(bitmap);
			return;
		}
	}
	assert(cur->nr_ags < cur->max_ags);
	cur->ags[cur->nr_ags++] = (struct ag_delta){ .ag = ag, .free = free,
		.bitmaps = full_bit(bitmap) };
}

int csv_alloc_ag_free(struct csv_txn *txn, uint64_t ag, uint64_t *ret_free)
{
	struct csv_alloc *alloc = csv_alloc_of(txn);
	struct ag_sum *sum = &alloc->ags[ag];
	const struct csv_ag *hdr;
	int err;

	if (!sum->known) {
		/* A change is noted after a search, which has been here: so this is committed. */
		err = csv_txn_read(txn, ag_first_blk(alloc, ag), CSV_BT_AG, (const void **)&hdr);
		if (err)
			return err;
		if (le64_get(hdr->nr_blks) != ag_nr_blks(alloc, ag) ||
			le64_get(hdr->free_blks) > le64_get(hdr->nr_blks)) {
			log_error("allocation group %llu, block %llu: %llu of %llu blocks free, of "
				  "%llu by the superblock",
				(unsigned long long)ag,
				(unsigned long long)ag_first_blk(alloc, ag),
				(unsigned long long)le64_get(hdr->free_blks),
				(unsigned long long)le64_get(hdr->nr_blks),
				(unsigned long long)ag_nr_blks(alloc, ag));
			return -ERR_CORRUPT;
		}
		sum->free = le64_get(hdr->free_blks);
		sum->known = true;
	}
	*ret_free = sum->free;
	for (uint32_t i = 0; alloc->cur && i < alloc->cur->nr_ags; i++) {
		if (alloc->cur->ags[i].ag == ag)
			*ret_free += alloc->cur->ags[i].free;
	}
	return 0;
}

int csv_alloc_hold(struct alloc_txn *cur, uint64_t ag, uint32_t bitmap, uint32_t bit, uint32_t nr)
{
	struct csv_alloc *alloc = cur->alloc;
	struct ag_sum *sum = &alloc->ags[ag];

	assert(cur->nr_runs < cur->max_runs && bit + nr <= CSV_BITMAP_BITS);
	if (!sum->shadow) {
		sum->shadow = calloc(alloc->nr_bitmaps, sizeof(*sum->shadow));
		if (!sum->shadow)
			return -ENOMEM;
	}
	if (!sum->shadow[bitmap]) {
		sum->shadow[bitmap] = calloc(1, CSV_BITMAP_BYTES);
		if (!sum->shadow[bitmap])
			return -ENOMEM;
	}
	if (!csv_bitmap_set(sum->shadow[bitmap], bit, nr, true)) {
		/* It was free in the bitmap (A2), until that was read again. */
		log_error("allocation group %llu: its bitmap %u has changed on the device",
			(unsigned long long)ag, bitmap);
		return -ERR_CORRUPT;
	}
	cur->runs[cur->nr_runs++] = (struct held_run){
		.blk = ag_first_blk(alloc, ag) + (uint64_t)bitmap * CSV_BITMAP_BITS + bit,
		.nr = nr,
	};
	sum->busy += nr;
	alloc->held_nr += nr;
	alloc->held_now += nr;
	return 0;
}
