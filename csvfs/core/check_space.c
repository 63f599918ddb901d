/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Space: what has an owner, against bitmaps and counts. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "csvfs/core/alloc_internal.h"
#include "csvfs/core/check_internal.h"

typedef unsigned long long ull;

static uint64_t nr_bitmaps(const struct check *c)
{
	return c->geom->ag_blks / CSV_BITMAP_BITS;
}

int check_space_init(struct check *c)
{
	struct csv_alloc *alloc = c->fs->alloc;
	bool ok;
	int err = 0;

	c->used = calloc(c->geom->nr_ags * nr_bitmaps(c), sizeof(*c->used));
	if (!c->used)
		return -ENOMEM;
	c->as = (struct check_fix){ .kind = FIX_GROUP };
	for (uint64_t ag = 0; ag < c->geom->nr_ags && !err; ag++) {
		uint64_t first = ag_first_blk(alloc, ag);

		for (uint32_t i = 0; i <= nr_bitmaps(c) && !err; i++)
			err = check_mark(c, first + i, 1, "a group", &ok);
	}
	return err;
}

void check_space_done(struct check *c)
{
	for (uint64_t i = 0; c->used && i < c->geom->nr_ags * nr_bitmaps(c); i++)
		free(c->used[i]);
	free(c->used);
}

bool check_in_group(const struct check *c, uint64_t blk, uint64_t nr)
{
	uint64_t rel = blk - c->geom->ag0_blk, ag = rel / c->geom->ag_blks;

	return blk >= c->geom->ag0_blk && ag < c->geom->nr_ags &&
	       range_ok(rel % c->geom->ag_blks, nr, ag_nr_blks(c->fs->alloc, ag));
}

/* The blocks of a bitmap that was marked before, run by run. */
static uint64_t mark_again(struct check *c, uint8_t *map, uint64_t first_blk, uint32_t bit,
	uint32_t nr)
{
	uint64_t dups = 0, run = 0;

	for (; nr > 0; bit++, nr--) {
		if (!csv_bitmap_set(map, bit, 1, true)) {
			run++;
			continue;
		}
		if (run)
			check_dup(c, first_blk + bit - run, run);
		dups += run;
		run = 0;
	}
	if (run)
		check_dup(c, first_blk + bit - run, run);
	return dups + run;
}

/* Marks what lies in one bitmap; counts what was marked before. */
static int mark_part(struct check *c, uint64_t bitmap, uint32_t bit, uint32_t nr, uint64_t *dups)
{
	uint8_t *map = c->used[bitmap];

	if (!map) {
		map = c->used[bitmap] = calloc(1, CSV_BITMAP_BYTES);
		if (!map)
			return -ENOMEM;
	}
	if (!csv_bitmap_set(map, bit, nr, true))
		*dups += mark_again(c, map, c->geom->ag0_blk + bitmap * CSV_BITMAP_BITS, bit, nr);
	return 0;
}

int check_mark(struct check *c, uint64_t blk, uint64_t nr, const char *whose, bool *ret_ok)
{
	uint64_t rel = blk - c->geom->ag0_blk, left = nr, dups = 0;

	*ret_ok = false;
	if (c->claims) {
		int err = check_claim(c, blk, nr);

		if (err)
			return err;
	}
	while (left > 0) {
		uint64_t bit = rel % CSV_BITMAP_BITS, part = MIN(left, CSV_BITMAP_BITS - bit);
		int err = mark_part(c, rel / CSV_BITMAP_BITS, bit, part, &dups);

		if (err)
			return err;
		rel += part;
		left -= part;
	}
	if (dups)
		check_say(c, "dup-block", "%llu of the blocks %llu + %llu of %s have another owner",
			(ull)dups, (ull)blk, (ull)nr, whose);
	c->report->used_blks += nr - dups;
	*ret_ok = dups == 0;
	return 0;
}

/* A run of blocks that a bitmap is wrong about. */
struct wrong_run {
	uint64_t blk, nr;
	bool owned;
	bool lost; /* the bitmap cannot be had: nobody knows */
	struct group_state *group;
};

/* What is to be done about a group. */
struct group_state {
	uint64_t ag, free_blks;
	bool used_wrong, leaks;
};

static int note_leak(struct check *c, const struct wrong_run *run)
{
	int err = check_grow(&c->stray, c->nr_stray, &c->max_stray, sizeof(*c->stray));

	if (!err)
		c->stray[c->nr_stray++] = (struct check_stray){ run->blk, run->nr, !run->lost };
	return err;
}

static int wrong_end(struct check *c, struct wrong_run *run)
{
	int err = 0;

	if (run->nr && run->owned && !run->lost) {
		check_say(c, "free-block", "blocks %llu + %llu are in use, but free in the bitmap",
			(ull)run->blk, (ull)run->nr);
		run->group->used_wrong = true;
	} else if (run->nr && !run->owned) {
		/* Of a damaged tree not all was met. */
		if (!c->structure && !run->lost) {
			check_say(c, "leak-block", "blocks %llu + %llu are of no use, but not "
						   "free in the bitmap",
				(ull)run->blk, (ull)run->nr);
			run->group->leaks = true;
			c->leaks = true;
		}
		err = note_leak(c, run);
	}
	run->nr = 0;
	return err;
}

static int compare_word(struct check *c, uint64_t owned, uint64_t marked, uint64_t first_blk,
	struct wrong_run *run)
{
	int err = 0;

	for (uint32_t i = 0; i < 64 && !err; i++) {
		bool o = owned >> i & 1, m = marked >> i & 1;

		if (o == m)
			continue;
		if (run->nr && (run->owned != o || run->blk + run->nr != first_blk + i))
			err = wrong_end(c, run);
		if (run->nr == 0) {
			run->blk = first_blk + i;
			run->owned = o;
		}
		run->nr++;
	}
	return err;
}

/* Bits that are no block's must be set: in the last group there may be some. */
static uint64_t owned_word(const uint8_t *map, uint32_t i, uint64_t bits_left)
{
	struct le64 bits = { 0 };
	uint64_t w;

	if (map)
		memcpy(&bits, map + i * 8, sizeof(bits));
	w = le64_get(bits);
	if (bits_left >= 64)
		return w;
	return w | (bits_left ? ~0ull << bits_left : ~0ull);
}

/* What a bitmap should be: the word with the block first_bit + 64 * i of the group. */
static uint64_t want_word(struct check *c, uint64_t ag, uint32_t bitmap, uint32_t i)
{
	uint64_t bit = (uint64_t)bitmap * CSV_BITMAP_BITS + i * 64;
	uint64_t nr = ag_nr_blks(c->fs->alloc, ag);

	return owned_word(c->used[ag * nr_bitmaps(c) + bitmap], i, bit < nr ? nr - bit : 0);
}

uint64_t check_want_word(struct check *c, uint64_t ag, uint32_t bitmap, uint32_t i)
{
	return want_word(c, ag, bitmap, i);
}

static int check_bitmap(struct check *c, struct group_state *g, uint32_t bitmap)
{
	uint64_t first = ag_first_blk(c->fs->alloc, g->ag);
	uint64_t first_bit = (uint64_t)bitmap * CSV_BITMAP_BITS;
	struct csv_bitmap *bm = malloc(CSV_BLOCK_BYTES);
	struct wrong_run run = { .group = g };
	char whose[32];
	bool ok;
	int err;

	if (!bm)
		return -ENOMEM;
	snprintf(whose, sizeof(whose), "group %llu", (ull)g->ag);
	err = check_read(c, first + 1 + bitmap, CSV_BT_BITMAP, whose, bm, &ok);
	if (!err && !ok) {
		g->used_wrong = true;
		run.lost = true;
		memset(bm->bits, 0xff, sizeof(bm->bits));
	}
	for (uint32_t i = 0; i < BITMAP_WORDS && !err; i++) {
		uint64_t owned = want_word(c, g->ag, bitmap, i);
		struct le64 w;

		memcpy(&w, bm->bits + i * 8, sizeof(w));
		g->free_blks += __builtin_popcountll(~le64_get(w));
		if (owned != le64_get(w))
			err = compare_word(c, owned, le64_get(w), first + first_bit + i * 64, &run);
	}
	if (!err)
		err = wrong_end(c, &run);
	free(bm);
	return err;
}

static int check_group(struct check *c, uint64_t ag, uint64_t *free_blks)
{
	uint64_t first = ag_first_blk(c->fs->alloc, ag);
	struct group_state g = { .ag = ag };
	struct csv_ag *hdr = malloc(CSV_BLOCK_BYTES);
	char whose[32];
	bool ok;
	int err;

	if (!hdr)
		return -ENOMEM;
	for (uint32_t i = 0; i <= nr_bitmaps(c); i++)
		check_ahead(c, first + i);
	snprintf(whose, sizeof(whose), "group %llu", (ull)ag);
	err = check_read(c, first, CSV_BT_AG, whose, hdr, &ok);
	g.used_wrong = !err && !ok;
	for (uint32_t i = 0; i < nr_bitmaps(c) && !err; i++)
		err = check_bitmap(c, &g, i);
	if (!err && ok && le64_get(hdr->free_blks) != g.free_blks) {
		check_say(c, "ag-free", "group %llu counts %llu free blocks, its bitmaps %llu",
			(ull)ag, (ull)le64_get(hdr->free_blks), (ull)g.free_blks);
		g.leaks = true;
	}
	if (g.used_wrong)
		check_fix(c, &(struct check_fix){ .kind = FIX_GROUP_USED, .arg = ag });
	else if (g.leaks)
		check_fix(c, &(struct check_fix){ .kind = FIX_GROUP, .arg = ag });
	*free_blks += g.free_blks;
	free(hdr);
	return err;
}

int check_space(struct check *c)
{
	uint64_t free_blks = 0;
	int err = 0;

	for (uint64_t ag = 0; ag < c->geom->nr_ags && !err; ag++)
		err = check_group(c, ag, &free_blks);
	if (!err && c->have_root && le64_get(c->root.free_blks) != free_blks) {
		check_say(c, "root-free", "the root block counts %llu free blocks, the bitmaps %llu",
			(ull)le64_get(c->root.free_blks), (ull)free_blks);
		check_fix(c, &(struct check_fix){ .kind = FIX_ROOT_FREE });
	}
	return err;
}
