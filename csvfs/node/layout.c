/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "csvfs/node/layout.h"
#include "util/checked.h"

#define LAYOUT_MAX (1u << 16) /* extents of one file; past that the cache starts anew */

void layout_clear(struct layout *l)
{
	free(l->ext);
	*l = (struct layout){ 0 };
}

/* Index of the first extent that ends after blk. */
static uint32_t first_after(const struct layout *l, uint64_t blk)
{
	uint32_t low = 0, high = l->nr;

	while (low < high) {
		uint32_t mid = (low + high) / 2;
		if (l->ext[mid].blk + l->ext[mid].nr <= blk)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static int make_room(struct layout *l, uint32_t extra)
{
	if (l->nr + extra <= l->room)
		return 0;
	uint32_t room = MAX(16u, l->room * 2);
	struct csv_extent *ext = realloc(l->ext, room * sizeof(*ext));
	if (!ext)
		return -ENOMEM;
	l->ext = ext;
	l->room = room;
	return 0;
}

static bool continues(const struct csv_extent *a, const struct csv_extent *b)
{
	return a->state == b->state && a->blk + a->nr == b->blk &&
		(a->state == CSV_HOLE || a->phys + a->nr == b->phys);
}

/* Cuts [blk, end) out; at most one extent more than before. */
static void cut(struct layout *l, uint64_t blk, uint64_t end)
{
	uint32_t i = first_after(l, blk);

	if (i < l->nr && l->ext[i].blk < blk) {
		struct csv_extent *e = &l->ext[i];
		uint64_t e_end = e->blk + e->nr;
		if (e_end > end) { /* a hole in its middle */
			memmove(e + 1, e, (l->nr - i) * sizeof(*e));
			l->nr++;
			e[1].blk = end;
			e[1].nr = e_end - end;
			if (e->state != CSV_HOLE)
				e[1].phys = e->phys + (end - e->blk);
		}
		e->nr = blk - e->blk;
		i++;
	}
	uint32_t last = i;
	while (last < l->nr && l->ext[last].blk + l->ext[last].nr <= end)
		last++;
	memmove(l->ext + i, l->ext + last, (l->nr - last) * sizeof(*l->ext));
	l->nr -= last - i;
	if (i < l->nr && l->ext[i].blk < end) {
		struct csv_extent *e = &l->ext[i];
		uint64_t by = end - e->blk;
		e->blk += by;
		e->nr -= by;
		if (e->state != CSV_HOLE)
			e->phys += by;
	}
}

int layout_insert(struct layout *l, const struct csv_extent *e)
{
	if (e->nr == 0)
		return 0;
	if (l->nr >= LAYOUT_MAX)
		layout_clear(l);
	if (make_room(l, 2)) {
		layout_clear(l);
		return -ENOMEM;
	}
	cut(l, e->blk, e->blk + e->nr);
	uint32_t i = first_after(l, e->blk);
	memmove(l->ext + i + 1, l->ext + i, (l->nr - i) * sizeof(*e));
	l->ext[i] = *e;
	l->nr++;
	if (i + 1 < l->nr && continues(&l->ext[i], &l->ext[i + 1])) {
		l->ext[i].nr += l->ext[i + 1].nr;
		memmove(l->ext + i + 1, l->ext + i + 2, (l->nr - i - 2) * sizeof(*e));
		l->nr--;
	}
	if (i > 0 && continues(&l->ext[i - 1], &l->ext[i])) {
		l->ext[i - 1].nr += l->ext[i].nr;
		memmove(l->ext + i, l->ext + i + 1, (l->nr - i - 1) * sizeof(*e));
		l->nr--;
	}
	return 0;
}

bool layout_find(const struct layout *l, uint64_t blk, struct csv_extent *ret)
{
	uint32_t i = first_after(l, blk);

	if (i == l->nr || l->ext[i].blk > blk)
		return false;
	uint64_t by = blk - l->ext[i].blk;
	*ret = l->ext[i];
	ret->blk = blk;
	ret->nr -= by;
	if (ret->state != CSV_HOLE)
		ret->phys += by;
	return true;
}

void layout_keep_written(struct layout *l)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < l->nr; i++)
		if (l->ext[i].state == CSV_WRITTEN)
			l->ext[n++] = l->ext[i];
	l->nr = n;
}
