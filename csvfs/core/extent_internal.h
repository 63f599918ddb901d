/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A file's extent tree.
 *
 * X1  Entries do not overlap, and lie below CSV_FILE_MAX_BLKS.
 * X2  An entry with CSV_EXT_COVER alone has no blocks: phys 0.
 * X3  Two entries that continue each other (in the file, on the volume, in state) are one, unless
 *     it would exceed CSV_EXT_MAX_BLKS.
 */
#ifndef CSVFS_CORE_EXTENT_INTERNAL_H
#define CSVFS_CORE_EXTENT_INTERNAL_H

#include "csvfs/core/inode_internal.h"

/* An operation stops to take on more when its transaction has that many blocks: one step more
 * (split or merge of a whole path, and the bitmaps of that) still fits JNL_TXN_MAX_BLOCKS. */
#define CSV_EXT_BUDGET_BLKS 80u

struct csv_ext {
	uint64_t blk, nr, phys;
	uint32_t flags; /* CSV_EXT_* */
};

/* A hole of its own, which hides the layer below. */
static inline bool csv_ext_is_cover(const struct csv_ext *ext)
{
	return ext->flags == CSV_EXT_COVER;
}

static inline uint64_t csv_ext_end(const struct csv_ext *ext)
{
	return ext->blk + ext->nr;
}

/* Checks an entry as it was read. 0, or -ERR_CORRUPT with *why a static sentence. */
int csv_ext_decode(uint64_t key, const void *val, uint32_t len, const struct csv_geometry *geom,
	struct csv_ext *ret, const char **why) __attribute__((warn_unused_result));

/* The extent that has blk, else the first behind it. -ENOENT. */
int csv_ext_find(struct csv_txn *txn, struct csv_tree *tree, uint64_t blk, struct csv_ext *ret)
	__attribute__((warn_unused_result));
/* The last extent that begins at or before blk. -ENOENT. */
int csv_ext_before(struct csv_txn *txn, struct csv_tree *tree, uint64_t blk, struct csv_ext *ret)
	__attribute__((warn_unused_result));
/* Maps a range that is a hole (X3). */
int csv_ext_add(struct csv_txn *txn, struct csv_tree *tree, struct csv_ext ext)
	__attribute__((warn_unused_result));
/* Unmaps [from, to), which lies in ext, an entry of the tree. The blocks are not freed. */
int csv_ext_cut(struct csv_txn *txn, struct csv_tree *tree, const struct csv_ext *ext,
	uint64_t from, uint64_t to) __attribute__((warn_unused_result));

/* csv_extent_written() on a loaded inode, which the caller stores. */
int csv_extent_mark_written(struct csv_txn *txn, struct csv_inode *inode, uint64_t blk, uint64_t nr)
	__attribute__((warn_unused_result));

#endif
