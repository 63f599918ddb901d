/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "csvfs/core/group_internal.h"
#include "util/checked.h"

/* A last group with less than that behind its bitmaps is left away. */
#define AG_MIN_BLKS 64u

uint64_t csv_group_count(const struct csv_geometry *geom)
{
	uint64_t left = geom->nr_blks - 1 - geom->ag0_blk, nr = DIV_ROUND_UP(left, geom->ag_blks);
	uint64_t least = 1 + geom->ag_blks / CSV_BITMAP_BITS + AG_MIN_BLKS;

	return nr > 1 && left - (nr - 1) * geom->ag_blks < least ? nr - 1 : nr;
}

uint64_t csv_group_nr_blks(const struct csv_geometry *geom, uint64_t ag)
{
	return MIN(geom->nr_blks - 1 - geom->ag0_blk - ag * geom->ag_blks, geom->ag_blks);
}

static void *block_init(uint8_t *buf, uint64_t i, enum csv_blk_type type, uint64_t owner)
{
	struct csv_blk_hdr *h = (struct csv_blk_hdr *)(buf + i * CSV_BLOCK_BYTES);

	memset(h, 0, CSV_BLOCK_BYTES);
	h->type = le16_of(type);
	h->owner = le64_of(owner);
	return h;
}

static void set_bits(uint8_t *buf, uint64_t from, uint64_t end)
{
	for (uint64_t bit = from; bit < end; bit++) {
		struct csv_bitmap *bm =
			(struct csv_bitmap *)(buf + (1 + bit / CSV_BITMAP_BITS) * CSV_BLOCK_BYTES);

		bm->bits[bit % CSV_BITMAP_BITS / 8] |= 1u << bit % 8;
	}
}

uint64_t csv_group_image(void *buf, const struct csv_geometry *geom, uint64_t ag, uint64_t used)
{
	uint64_t nr = csv_group_nr_blks(geom, ag), nr_bitmaps = geom->ag_blks / CSV_BITMAP_BITS;
	struct csv_ag *hdr = block_init(buf, 0, CSV_BT_AG, 0);

	for (uint64_t i = 0; i < nr_bitmaps; i++)
		block_init(buf, 1 + i, CSV_BT_BITMAP, ag);
	used += 1 + nr_bitmaps;
	set_bits(buf, 0, used);
	set_bits(buf, nr, geom->ag_blks);
	hdr->nr_blks = le64_of(nr);
	hdr->free_blks = le64_of(nr - used);
	return nr - used;
}
