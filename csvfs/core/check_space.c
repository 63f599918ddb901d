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

/* Marks what lies in one bitmap; counts what was marked before. */
static int mark_part(struct check *c, uint64_t bitmap, uint32_t bit, uint32_t nr, uint64_t *dups)
{
	uint8_t *map = c->used[bitmap];

	if (!map) {
		map = c->used[bitmap] = calloc(1, CSV_BITMAP_BYTES);
		if (!map)
			return -ENOMEM;
	}
	if (csv_bitmap_set(map, bit, nr, true))
		return 0;
	for (; nr > 0; bit++, nr--)
		*dups += !csv_bitmap_set(map, bit, 1, true);
	return 0;
}

int check_mark(struct check *c, uint64_t blk, uint64_t nr, const char *whose, bool *ret_ok)
{
	uint64_t rel = blk - c->geom->ag0_blk, left = nr, dups = 0;
	uint64_t ag = rel / c->geom->ag_blks;

	*ret_ok = false;
	if (blk < c->geom->ag0_blk || ag >= c->geom->nr_ags ||
		!range_ok(rel % c->geom->ag_blks, nr, ag_nr_blks(c->fs->alloc, ag))) {
		check_say(c, "bad-range", "blocks %llu + %llu of %s are no group's", (ull)blk,
			(ull)nr, whose);
		return 0;
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
};

static void wrong_end(struct check *c, struct wrong_run *run)
{
	if (run->nr && run->owned)
		check_say(c, "free-block", "blocks %llu + %llu are in use, but free in the bitmap",
			(ull)run->blk, (ull)run->nr);
	else if (run->nr)
		check_say(c, "leak-block", "blocks %llu + %llu are of no use, but not free in the "
					   "bitmap",
			(ull)run->blk, (ull)run->nr);
	run->nr = 0;
}

static void compare_word(struct check *c, uint64_t owned, uint64_t marked, uint64_t first_blk,
	struct wrong_run *run)
{
	for (uint32_t i = 0; i < 64; i++) {
		bool o = owned >> i & 1, m = marked >> i & 1;

		if (o == m)
			continue;
		if (run->nr && (run->owned != o || run->blk + run->nr != first_blk + i))
			wrong_end(c, run);
		if (run->nr == 0)
			*run = (struct wrong_run){ .blk = first_blk + i, .owned = o };
		run->nr++;
	}
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

static int check_bitmap(struct check *c, uint64_t ag, uint32_t bitmap, uint64_t *free_blks)
{
	struct csv_alloc *alloc = c->fs->alloc;
	uint64_t first = ag_first_blk(alloc, ag), first_bit = (uint64_t)bitmap * CSV_BITMAP_BITS;
	const uint8_t *map = c->used[ag * nr_bitmaps(c) + bitmap];
	struct csv_bitmap *bm = malloc(CSV_BLOCK_BYTES);
	struct wrong_run run = { 0 };
	char whose[32];
	bool ok;
	int err;

	if (!bm)
		return -ENOMEM;
	snprintf(whose, sizeof(whose), "group %llu", (ull)ag);
	err = check_read(c, first + 1 + bitmap, CSV_BT_BITMAP, whose, bm, &ok);
	for (uint32_t i = 0; i < BITMAP_WORDS && !err && ok; i++) {
		uint64_t bit = first_bit + i * 64, nr = ag_nr_blks(alloc, ag);
		uint64_t owned = owned_word(map, i, bit < nr ? nr - bit : 0);
		struct le64 w;

		memcpy(&w, bm->bits + i * 8, sizeof(w));
		*free_blks += __builtin_popcountll(~le64_get(w));
		if (owned != le64_get(w))
			compare_word(c, owned, le64_get(w), first + bit, &run);
	}
	wrong_end(c, &run);
	free(bm);
	return err;
}

static int check_group(struct check *c, uint64_t ag, uint64_t *free_blks)
{
	struct csv_alloc *alloc = c->fs->alloc;
	uint64_t counted = 0;
	struct csv_ag *hdr = malloc(CSV_BLOCK_BYTES);
	char whose[32];
	bool ok;
	int err;

	if (!hdr)
		return -ENOMEM;
	snprintf(whose, sizeof(whose), "group %llu", (ull)ag);
	err = check_read(c, ag_first_blk(alloc, ag), CSV_BT_AG, whose, hdr, &ok);
	for (uint32_t i = 0; i < nr_bitmaps(c) && !err; i++)
		err = check_bitmap(c, ag, i, &counted);
	if (!err && ok && le64_get(hdr->free_blks) != counted)
		check_say(c, "ag-free", "group %llu counts %llu free blocks, its bitmaps %llu",
			(ull)ag, (ull)le64_get(hdr->free_blks), (ull)counted);
	*free_blks += counted;
	free(hdr);
	return err;
}

int check_space(struct check *c)
{
	uint64_t free_blks = 0;
	int err = 0;

	for (uint64_t ag = 0; ag < c->geom->nr_ags && !err; ag++)
		err = check_group(c, ag, &free_blks);
	if (!err && le64_get(c->root.free_blks) != free_blks)
		check_say(c, "root-free", "the root block counts %llu free blocks, the bitmaps %llu",
			(ull)le64_get(c->root.free_blks), (ull)free_blks);
	return err;
}
