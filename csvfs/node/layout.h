/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Cached layout of one file: extents sorted by block, not overlapping. The caller locks. */
#ifndef CSVFS_NODE_LAYOUT_H
#define CSVFS_NODE_LAYOUT_H

#include "csvfs/core/fs.h"

struct layout {
	struct csv_extent *ext;
	uint32_t nr, room;
};

/* Forgets everything and frees. */
void layout_clear(struct layout *l);
/* Puts e in, in place of whatever it overlaps; joins neighbours that it continues. -ENOMEM: the
 * range is unknown afterwards. */
int layout_insert(struct layout *l, const struct csv_extent *e) __attribute__((warn_unused_result));
/* The part of the layout from blk on: its length from blk, its place, its state. False: unknown. */
bool layout_find(const struct layout *l, uint64_t blk, struct csv_extent *ret);
/* Keeps only written extents (N3). */
void layout_keep_written(struct layout *l);

#endif
