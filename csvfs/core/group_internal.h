/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Allocation groups as they are made: by mkfs, and by growing. */
#ifndef CSVFS_CORE_GROUP_INTERNAL_H
#define CSVFS_CORE_GROUP_INTERNAL_H

#include "csvfs/core/format.h"
#include "csvfs/core/fs.h"

/* How many groups there are to be in geom's nr_blks; a last one that is too small is left away. */
uint64_t csv_group_count(const struct csv_geometry *geom);
/* Blocks of a group. The volume's last block is a copy of the superblock. */
uint64_t csv_group_nr_blks(const struct csv_geometry *geom, uint64_t ag);
/* Fills buf with header and bitmaps of a new group, but for what sealing fills in; `used` blocks are
 * taken behind them. Returns how many are free. */
uint64_t csv_group_image(void *buf, const struct csv_geometry *geom, uint64_t ag, uint64_t used);

#endif
