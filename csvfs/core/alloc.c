/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The allocator: where to look, what to take, and the three blocks that a change touches. */
#include <assert.h>
#include <errno.h>

#include "csvfs/core/alloc_internal.h"
#include "csvfs/core/root_internal.h"
#include "util/err.h"
#include "util/log.h"

/* Bitmaps, and group headers, that a search asks for ahead. */
#define READ_AHEAD 8u
/* A run that long is taken even if a longer one might be elsewhere: 8 MiB. */
#define GOOD_RUN_BLKS 2048u
/* A volume with less than that left takes no new names: what deletes may need some. */
#define LAST_BLKS 32u

typedef unsigned long long ull;

/* What a search wants, and the best that it has seen. */
struct search {
	struct csv_txn *txn;
	struct csv_alloc *alloc;
	uint64_t want;
	uint64_t cluster; /* runs of whole clusters, aligned to it; 1 = any */
	uint64_t blk, nr; /* best run */
	bool found;	  /* it is all that was wanted */
};

/* The group and bit of a block; of the first usable block if blk is no group's. */
static void locate(const struct csv_alloc *alloc, uint64_t blk, uint64_t *ret_ag, uint64_t *ret_bit)
{
	uint64_t rel = blk - alloc->geom->ag0_blk;

	if (blk < alloc->geom->ag0_blk || rel / alloc->geom->ag_blks >= alloc->geom->nr_ags) {
		*ret_ag = 0;
		*ret_bit = ag_first_bit(alloc);
		return;
	}
	*ret_ag = rel / alloc->geom->ag_blks;
	*ret_bit = rel % alloc->geom->ag_blks;
	if (*ret_bit < ag_first_bit(alloc) || *ret_bit >= ag_nr_blks(alloc, *ret_ag))
		*ret_bit = ag_first_bit(alloc);
}

/* Where data starts in a group while there is room: what lies before is left to metadata. */
static uint64_t ag_data_bit(const struct csv_alloc *alloc, uint64_t ag)
{
	return ag_first_bit(alloc) + ag_nr_blks(alloc, ag) / 32;
}

uint64_t csv_alloc_data_hint(struct csv_txn *txn, uint64_t ino)
{
	const struct csv_alloc *alloc = csv_alloc_of(txn);
	uint64_t ag = ino % alloc->geom->nr_ags, nr = ag_nr_blks(alloc, ag);
	uint64_t sixteenth = ino / alloc->geom->nr_ags * 5 % 16;
	uint64_t from = ag_data_bit(alloc, ag);
	uint64_t blk = ag_first_blk(alloc, ag) + from + (nr - from) / 16 * sixteenth;

	return ALIGN_UP(blk, alloc->geom->cluster_blks);
}

static void consider(struct search *s, uint64_t blk, uint64_t nr)
{
	uint64_t at = ALIGN_UP(blk, s->cluster);

	if (at - blk >= nr)
		return;
	nr -= at - blk;
	if (nr >= s->want) {
		s->blk = at;
		s->nr = s->want;
		s->found = true;
		return;
	}
	nr = ALIGN_DOWN(nr, s->cluster);
	if (nr > s->nr) {
		s->blk = at;
		s->nr = nr;
	}
}

static int view_bitmap(struct search *s, uint64_t ag, uint32_t bitmap, struct bitmap_view *ret)
{
	const struct ag_sum *sum = &s->alloc->ags[ag];
	const struct csv_bitmap *bm;
	int err = csv_txn_read(s->txn, ag_first_blk(s->alloc, ag) + 1 + bitmap, CSV_BT_BITMAP,
		(const void **)&bm);

	if (err)
		return err;
	ret->bits = bm->bits;
	ret->shadow = sum->shadow ? sum->shadow[bitmap] : NULL;
	return 0;
}

/* Is there no use in looking at this bitmap? */
static bool known_full(const struct search *s, uint64_t ag, uint32_t bitmap)
{
	return s->cluster > 1 && (s->alloc->ags[ag].full & full_bit(bitmap));
}

/* A bitmap is being read: asks for those that the search will look at next, too. */
static void read_ahead(struct search *s, uint64_t ag, uint32_t bitmap)
{
	struct bitmap_view view;

	for (uint32_t i = 1; i <= READ_AHEAD && bitmap + i < s->alloc->nr_bitmaps; i++) {
		int err = known_full(s, ag, bitmap + i) ? 0 : view_bitmap(s, ag, bitmap + i, &view);

		if (err && err != -ERR_WAIT)
			return;
	}
}

/* Looks through bits [from, end) of a group, which are one bitmap's. */
static int search_bitmap(struct search *s, uint64_t ag, uint64_t from, uint64_t end)
{
	uint32_t bitmap = from / CSV_BITMAP_BITS, lo, hi, run, run_end;
	uint64_t first_bit = (uint64_t)bitmap * CSV_BITMAP_BITS;
	uint64_t first_blk = ag_first_blk(s->alloc, ag) + first_bit;
	struct bitmap_view view;
	struct search old = *s;
	int err = view_bitmap(s, ag, bitmap, &view);

	if (err == -ERR_WAIT)
		read_ahead(s, ag, bitmap);
	if (err)
		return err;
	lo = from - first_bit;
	hi = end - first_bit;
	s->nr = 0;
	for (run = csv_bitmap_next_free(&view, lo, hi); run < hi && !s->found;
		run = csv_bitmap_next_free(&view, run_end, hi)) {
		run_end = csv_bitmap_next_used(&view, run, hi);
		consider(s, first_blk + run, run_end - run);
	}
	if (s->cluster > 1 && s->nr == 0 && from <= MAX(first_bit, ag_first_bit(s->alloc)) &&
		end == MIN(first_bit + CSV_BITMAP_BITS, ag_nr_blks(s->alloc, ag)))
		s->alloc->ags[ag].full |= full_bit(bitmap);
	if (s->nr < old.nr)
		*s = old;
	return 0;
}

/* Looks through bits [from, end) of a group until it has a run that is good enough. */
static int search_bits(struct search *s, uint64_t ag, uint64_t from, uint64_t end, uint64_t good)
{
	while (from < end && !s->found && s->nr < good) {
		uint32_t bitmap = from / CSV_BITMAP_BITS;
		uint64_t stop = MIN(end, (bitmap + 1ull) * CSV_BITMAP_BITS);
		int err = known_full(s, ag, bitmap) ? 0 : search_bitmap(s, ag, from, stop);

		if (err)
			return err;
		from = stop;
	}
	return 0;
}

/* Blocks of a group that could be taken now. */
static int ag_usable(struct csv_txn *txn, uint64_t ag, uint64_t *ret)
{
	const struct csv_alloc *alloc = csv_alloc_of(txn);
	int err = csv_alloc_ag_free(txn, ag, ret);

	if (err == -ERR_WAIT) { /* the next ones' headers will be wanted, too */
		for (uint64_t i = 1, ahead; i <= READ_AHEAD && ag + i < alloc->geom->nr_ags; i++) {
			int ahead_err = csv_alloc_ag_free(txn, ag + i, &ahead);

			if (ahead_err && ahead_err != -ERR_WAIT)
				break;
		}
	}
	if (!err)
		*ret -= MIN(*ret, alloc->ags[ag].busy);
	return err;
}

/* One group: from bit on, then what is before it; the bitmap with bit as a whole, so that it will be
 * known to be full. */
static int search_ag(struct search *s, uint64_t ag, uint64_t bit)
{
	uint64_t usable, good = MIN(s->want, GOOD_RUN_BLKS), nr = ag_nr_blks(s->alloc, ag);
	int err = ag_usable(s->txn, ag, &usable);

	if (err || usable == 0)
		return err;
	err = search_bits(s, ag, bit, nr, good);
	if (!err)
		err = search_bits(s, ag, ag_first_bit(s->alloc),
			MIN(nr, (bit / CSV_BITMAP_BITS + 1) * CSV_BITMAP_BITS), good);
	return err;
}

/* Takes a run that was found free: its bits, and both counts. */
static int take(struct csv_txn *txn, uint64_t blk, uint64_t nr)
{
	struct csv_alloc *alloc = csv_alloc_of(txn);
	struct alloc_txn *cur;
	struct csv_root *root;
	struct csv_ag *hdr;
	struct csv_bitmap *bm;
	uint64_t ag, bit;
	int err;

	locate(alloc, blk, &ag, &bit);
	err = csv_alloc_cur(txn, &cur);
	if (!err)
		err = csv_root_write(txn, &root);
	if (!err)
		err = csv_txn_write(txn, ag_first_blk(alloc, ag), CSV_BT_AG, (void **)&hdr);
	if (!err)
		err = csv_txn_write(txn, ag_first_blk(alloc, ag) + 1 + bit / CSV_BITMAP_BITS,
			CSV_BT_BITMAP, (void **)&bm);
	if (err)
		return err;
	if (le64_get(root->free_blks) < nr || le64_get(hdr->free_blks) < nr ||
		!csv_bitmap_set(bm->bits, bit % CSV_BITMAP_BITS, nr, true)) {
		log_error("allocation group %llu: blocks %llu + %llu are free in the bitmap, but "
			  "the group counts %llu free and the volume %llu",
			(ull)ag, (ull)blk, (ull)nr, (ull)le64_get(hdr->free_blks),
			(ull)le64_get(root->free_blks));
		return -ERR_CORRUPT;
	}
	root->free_blks = le64_of(le64_get(root->free_blks) - nr);
	hdr->free_blks = le64_of(le64_get(hdr->free_blks) - nr);
	csv_alloc_note(cur, ag, bit / CSV_BITMAP_BITS, -(int64_t)nr);
	return 0;
}

/* Nothing was found: is there something that a checkpoint would give back? */
static int no_space(struct csv_txn *txn)
{
	const struct csv_alloc *alloc = csv_alloc_of(txn);

	return alloc->held_nr > alloc->held_now ? csv_txn_want_checkpoint(txn) : -ENOSPC;
}

/* Blocks of the volume that could be taken now. */
static int volume_usable(struct csv_txn *txn, uint64_t *ret)
{
	const struct csv_root *root;
	int err = csv_root_read(txn, &root);

	if (err)
		return err;
	*ret = le64_get(root->free_blks);
	*ret -= MIN(*ret, csv_alloc_of(txn)->held_nr);
	return 0;
}

int csv_alloc_room(struct csv_txn *txn)
{
	uint64_t usable;
	int err = volume_usable(txn, &usable);

	if (!err && usable < LAST_BLKS)
		err = no_space(txn);
	return err;
}

int csv_alloc_meta(struct csv_txn *txn, uint64_t hint_blk, uint64_t *ret_blk)
{
	struct csv_alloc *alloc = csv_alloc_of(txn);
	struct search s = { .txn = txn, .alloc = alloc, .want = 1, .cluster = 1 };
	uint64_t ag = alloc->meta_ag, bit = ag_first_bit(alloc), usable, low;
	int err;

	if (hint_blk)
		locate(alloc, hint_blk, &ag, &bit);
	for (uint64_t i = 0; i < alloc->geom->nr_ags; i++) {
		err = ag_usable(txn, ag, &usable);
		if (err)
			return err;
		low = ag_data_bit(alloc, ag);
		if (usable > 0 && bit < low)
			err = search_bits(&s, ag, bit, low, 1);
		if (!err && usable > 0)
			err = search_bits(&s, ag, ag_first_bit(alloc), low, 1);
		if (!err && usable > 0)
			err = search_bits(&s, ag, low, ag_nr_blks(alloc, ag), 1);
		if (err)
			return err;
		if (s.found) {
			err = take(txn, s.blk, 1);
			if (err)
				return err;
			alloc->meta_ag = ag;
			*ret_blk = s.blk;
			return 0;
		}
		ag = (ag + 1) % alloc->geom->nr_ags;
		bit = ag_first_bit(alloc);
	}
	return no_space(txn);
}

/* The run that starts at blk, up to want, if it is worth having. */
static int search_at(struct search *s, uint64_t blk)
{
	struct bitmap_view view;
	uint64_t ag, bit, end;
	uint32_t in_bm;
	int err;

	locate(s->alloc, blk, &ag, &bit);
	if (ag_first_blk(s->alloc, ag) + bit != blk)
		return 0;
	err = view_bitmap(s, ag, bit / CSV_BITMAP_BITS, &view);
	if (err)
		return err;
	end = MIN(ag_nr_blks(s->alloc, ag), (bit / CSV_BITMAP_BITS + 1) * CSV_BITMAP_BITS);
	in_bm = bit % CSV_BITMAP_BITS;
	end = csv_bitmap_next_used(&view, in_bm, MIN(in_bm + s->want, end - (bit - in_bm)));
	if (end - in_bm < MIN(s->want, s->cluster))
		return 0;
	s->blk = blk;
	s->nr = end - in_bm;
	s->found = true;
	return 0;
}

/* Every group in turn, from the hint's on. */
static int search_volume(struct search *s, uint64_t hint_blk)
{
	const struct csv_alloc *alloc = s->alloc;
	uint64_t ag, bit;
	int err;

	locate(alloc, hint_blk, &ag, &bit);
	if (ag_first_blk(alloc, ag) + bit != hint_blk)
		bit = ag_data_bit(alloc, ag);
	for (uint64_t i = 0; i < alloc->geom->nr_ags && s->nr == 0; i++) {
		err = search_ag(s, ag, bit);
		if (err)
			return err;
		ag = (ag + 1) % alloc->geom->nr_ags;
		bit = ag_data_bit(alloc, ag);
	}
	return 0;
}

uint64_t csv_alloc_reserve(struct csv_txn *txn)
{
	return csv_alloc_of(txn)->reserve;
}

int csv_alloc_data(struct csv_txn *txn, uint64_t hint_blk, uint64_t want, uint64_t *ret_blk,
	uint64_t *ret_nr)
{
	struct csv_alloc *alloc = csv_alloc_of(txn);
	struct search s = { .txn = txn, .alloc = alloc };
	uint64_t usable;
	int err;

	assert(want > 0);
	err = volume_usable(txn, &usable);
	if (err)
		return err;
	if (usable <= alloc->reserve)
		return no_space(txn);
	s.want = MIN(want, MIN(usable - alloc->reserve, CSV_BITMAP_BITS));
	s.cluster = s.want < alloc->geom->cluster_blks ? 1 : alloc->geom->cluster_blks;
	err = search_at(&s, hint_blk);
	if (!err && s.nr == 0)
		err = search_volume(&s, hint_blk);
	if (!err && s.nr == 0 && s.cluster > 1) {
		s.cluster = 1;
		err = search_volume(&s, hint_blk);
	}
	if (err)
		return err;
	if (s.nr == 0)
		return no_space(txn);
	err = take(txn, s.blk, s.nr);
	if (err)
		return err;
	*ret_blk = s.blk;
	*ret_nr = s.nr;
	return 0;
}

/* Frees what lies in one bitmap. */
static int release_part(struct csv_txn *txn, uint64_t ag, uint64_t bit, uint64_t nr)
{
	struct csv_alloc *alloc = csv_alloc_of(txn);
	uint32_t bitmap = bit / CSV_BITMAP_BITS, in_bm = bit % CSV_BITMAP_BITS;
	struct csv_bitmap *bm;
	struct csv_root *root;
	struct csv_ag *hdr;
	struct alloc_txn *cur;
	uint64_t free_blks;
	int err = csv_alloc_ag_free(txn, ag, &free_blks);

	if (!err)
		err = csv_alloc_cur(txn, &cur);
	if (!err)
		err = csv_root_write(txn, &root);
	if (!err)
		err = csv_txn_write(txn, ag_first_blk(alloc, ag), CSV_BT_AG, (void **)&hdr);
	if (!err)
		err = csv_txn_write(txn, ag_first_blk(alloc, ag) + 1 + bitmap, CSV_BT_BITMAP,
			(void **)&bm);
	if (err)
		return err;
	if (le64_get(hdr->free_blks) + nr > ag_nr_blks(alloc, ag) ||
		le64_get(root->free_blks) + nr > alloc->geom->nr_blks ||
		!csv_bitmap_set(bm->bits, in_bm, nr, false)) {
		log_error("allocation group %llu: blocks %llu + %llu are to be freed, but not all of "
			  "them are in use",
			(ull)ag, (ull)(ag_first_blk(alloc, ag) + bit), (ull)nr);
		return -ERR_CORRUPT;
	}
	err = csv_alloc_hold(cur, ag, bitmap, in_bm, nr);
	if (err)
		return err;
	hdr->free_blks = le64_of(le64_get(hdr->free_blks) + nr);
	root->free_blks = le64_of(le64_get(root->free_blks) + nr);
	csv_alloc_note(cur, ag, bitmap, nr);
	return 0;
}

int csv_alloc_release(struct csv_txn *txn, uint64_t blk, uint64_t nr)
{
	struct csv_alloc *alloc = csv_alloc_of(txn);
	uint64_t ag, bit;

	assert(nr > 0 && nr <= CSV_FREE_MAX_BLKS);
	locate(alloc, blk, &ag, &bit);
	if (ag_first_blk(alloc, ag) + bit != blk || !range_ok(bit, nr, ag_nr_blks(alloc, ag))) {
		log_error("blocks %llu + %llu are to be freed, which are not the volume's to give",
			(ull)blk, (ull)nr);
		return -ERR_CORRUPT;
	}
	while (nr > 0) {
		uint64_t part = MIN(nr, CSV_BITMAP_BITS - bit % CSV_BITMAP_BITS);
		int err = release_part(txn, ag, bit, part);

		if (err)
			return err;
		bit += part;
		nr -= part;
	}
	return 0;
}
