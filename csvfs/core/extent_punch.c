/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Space given back. */
#include <errno.h>

#include "csvfs/core/alloc.h"
#include "csvfs/core/layer.h"
#include "util/checked.h"
#include "util/err.h"

#define MAX_STEPS 256u
/* Each step frees at most that much: a few bitmaps. */
#define STEP_BLKS (4u * CSV_BITMAP_BITS)

/* What a call takes away: blocks from blk to end, which goes down. */
struct punch {
	struct csv_inode *inode;
	struct csv_tree tree;
	uint64_t blk, end;
	bool to_end; /* of the file: the layer below does not show through there any more */
};

/* [from, to) has become a hole: one that hides the layer below. */
static int cover(struct csv_txn *txn, struct punch *p, uint64_t from, uint64_t to)
{
	to = MIN(to, le64_get(p->inode->rec.base_blks));
	for (uint64_t nr; !p->to_end && from < to; from += nr) {
		nr = MIN(to - from, CSV_EXT_MAX_BLKS);
		int err = csv_ext_add(txn, &p->tree,
			(struct csv_ext){ .blk = from, .nr = nr, .flags = CSV_EXT_COVER });
		if (err)
			return err;
	}
	return 0;
}

/* Frees [from, to), which lies in ext. */
static int punch_part(struct csv_txn *txn, struct punch *p, const struct csv_ext *ext, uint64_t from,
	uint64_t to)
{
	int err;

	if (csv_ext_is_cover(ext))
		return p->to_end ? csv_ext_cut(txn, &p->tree, ext, from, to) : 0;
	err = csv_ext_cut(txn, &p->tree, ext, from, to);
	if (!err)
		err = csv_alloc_release(txn, ext->phys + (from - ext->blk), to - from);
	if (!err)
		err = csv_inode_add_blks(p->inode, -(int64_t)(to - from));
	return err ? err : cover(txn, p, from, to);
}

/* From the end downwards, as far as one transaction reaches. */
static int punch_range(struct csv_txn *txn, struct punch *p)
{
	for (uint32_t step = 0; p->end > p->blk; step++) {
		struct csv_ext ext;
		uint64_t from, to;
		int err = csv_ext_before(txn, &p->tree, p->end - 1, &ext);

		if (err && err != -ENOENT)
			return err;
		if (err || csv_ext_end(&ext) <= p->blk) {
			err = cover(txn, p, p->blk, p->end);
			p->end = p->blk;
			return err;
		}
		if (step > 0 &&
			(step >= MAX_STEPS || csv_txn_nr_blks(txn) > CSV_EXT_BUDGET_BLKS))
			return 0;
		to = MIN(p->end, csv_ext_end(&ext));
		from = MAX(p->blk, ext.blk);
		if (!csv_ext_is_cover(&ext))
			from = MAX(from, to - MIN(to, STEP_BLKS));
		err = cover(txn, p, to, p->end);
		if (!err)
			err = punch_part(txn, p, &ext, from, to);
		if (err)
			return err;
		p->end = from;
	}
	return 0;
}

/* The layer below goes with what was taken away to the end of the file. */
static int lower_base(struct csv_txn *txn, const struct punch *p)
{
	struct csv_inode_rec *rec = &p->inode->rec;

	if (!p->to_end || !le64_get(rec->base))
		return 0;
	if (p->end == 0)
		return csv_layer_drop(txn, p->inode);
	rec->base_blks = le64_of(MIN(le64_get(rec->base_blks), p->end));
	return 0;
}

int csv_extent_punch(struct csv_txn *txn, uint64_t ino, uint64_t blk, uint64_t nr,
	uint64_t *ret_left)
{
	struct csv_inode inode;
	struct punch p = { .inode = &inode, .blk = blk };
	int err = csv_inode_load(txn, ino, &inode);

	if (err)
		return err;
	if (csv_inode_fmt(&inode) == S_IFDIR && le64_get(inode.rec.tree.blk) != 0)
		return -EISDIR;
	if (csv_inode_fmt(&inode) == S_IFLNK) { /* its tree holds its target */
		*ret_left = 0;
		return 0;
	}
	if (checked_add(blk, nr, &p.end) || p.end > CSV_FILE_MAX_BLKS)
		p.end = CSV_FILE_MAX_BLKS;
	p.to_end = p.end == CSV_FILE_MAX_BLKS;
	if ((le64_get(inode.rec.tree.blk) == 0 && !le64_get(inode.rec.base)) || blk >= p.end) {
		*ret_left = 0;
		return 0;
	}
	csv_inode_tree_get(&inode, &p.tree);
	err = punch_range(txn, &p);
	if (!err)
		err = csv_inode_tree_put(&inode, &p.tree);
	if (!err)
		err = lower_base(txn, &p);
	if (err)
		return err;
	if (inode.rec.kind == CSV_DATA_TREE && !le64_get(inode.rec.tree.blk) &&
		!le64_get(inode.rec.base))
		inode.rec.kind = CSV_DATA_NONE;
	err = csv_inode_store(txn, &inode);
	if (!err)
		*ret_left = p.end - blk;
	return err;
}
