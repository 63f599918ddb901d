/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Space given back. */
#include <errno.h>

#include "csvfs/core/alloc.h"
#include "csvfs/core/extent_internal.h"
#include "util/checked.h"
#include "util/err.h"

#define MAX_STEPS 256u
/* Each step frees at most that much: a few bitmaps. */
#define STEP_BLKS (4u * CSV_BITMAP_BITS)

/* Frees [from, to), which lies in ext. */
static int punch_part(struct csv_txn *txn, struct csv_inode *inode, struct csv_tree *tree,
	const struct csv_ext *ext, uint64_t from, uint64_t to)
{
	int err = csv_ext_cut(txn, tree, ext, from, to);

	if (!err)
		err = csv_alloc_release(txn, ext->phys + (from - ext->blk), to - from);
	if (!err)
		err = csv_inode_add_blks(inode, -(int64_t)(to - from));
	return err;
}

/* From the end downwards; *ret_end is how far it came: at blk nothing is left. */
static int punch_range(struct csv_txn *txn, struct csv_inode *inode, uint64_t blk, uint64_t end,
	uint64_t *ret_end)
{
	struct csv_tree tree;
	struct csv_ext ext;
	int err = 0;

	csv_inode_tree_get(inode, &tree);
	for (uint32_t step = 0; end > blk; step++) {
		uint64_t from, to;

		err = csv_ext_before(txn, &tree, end - 1, &ext);
		if (err && err != -ENOENT)
			return err;
		if (err || csv_ext_end(&ext) <= blk) {
			end = blk;
			break;
		}
		if (step > 0 &&
			(step >= MAX_STEPS || csv_txn_nr_blks(txn) > CSV_EXT_BUDGET_BLKS))
			break;
		to = MIN(end, csv_ext_end(&ext));
		from = MAX(MAX(blk, ext.blk), to - MIN(to, STEP_BLKS));
		err = punch_part(txn, inode, &tree, &ext, from, to);
		if (err)
			return err;
		end = from;
	}
	*ret_end = end;
	return csv_inode_tree_put(inode, &tree);
}

int csv_extent_punch(struct csv_txn *txn, uint64_t ino, uint64_t blk, uint64_t nr,
	uint64_t *ret_left)
{
	struct csv_inode inode;
	uint64_t end, left_end = blk;
	int err = csv_inode_load(txn, ino, &inode);

	if (err)
		return err;
	if (csv_inode_fmt(&inode) == S_IFDIR && le64_get(inode.rec.tree.blk) != 0)
		return -EISDIR;
	if (checked_add(blk, nr, &end) || end > CSV_FILE_MAX_BLKS)
		end = CSV_FILE_MAX_BLKS;
	if (le64_get(inode.rec.tree.blk) == 0 || blk >= end) {
		*ret_left = 0;
		return 0;
	}
	err = punch_range(txn, &inode, blk, end, &left_end);
	if (err)
		return err;
	if (inode.rec.kind == CSV_DATA_TREE && le64_get(inode.rec.tree.blk) == 0)
		inode.rec.kind = CSV_DATA_NONE;
	err = csv_inode_store(txn, &inode);
	if (!err)
		*ret_left = left_end - blk;
	return err;
}
