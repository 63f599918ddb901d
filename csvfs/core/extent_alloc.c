/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Space for holes. */
#include <errno.h>

#include "csvfs/core/alloc.h"
#include "csvfs/core/extent_internal.h"
#include "csvfs/core/quota_internal.h"
#include "util/checked.h"
#include "util/err.h"

/* A hole that far behind the previous extent still gets space at the same distance from it, so
 * that a file which is filled in any order ends up in one piece. Farther ones only come after. */
#define NEAR_BLKS 8192u
#define MAX_STEPS 64u

struct hole {
	uint64_t blk, end;
	struct csv_ext prev, next; /* nr 0 = there is none */
	struct csv_ext cover;	   /* the entry that makes it a hole; nr 0 = there is none */
};

/* The hole that pos lies in; or *ret_mapped_end > pos, when pos is mapped up to there. */
static int find_hole(struct csv_txn *txn, struct csv_tree *tree, uint64_t pos, struct hole *ret,
	uint64_t *ret_mapped_end)
{
	int err;

	*ret = (struct hole){ .end = CSV_FILE_MAX_BLKS };
	*ret_mapped_end = pos;
	err = csv_ext_before(txn, tree, pos, &ret->prev);
	if (err && err != -ENOENT)
		return err;
	if (!err) {
		ret->blk = csv_ext_end(&ret->prev);
		if (ret->blk > pos && csv_ext_is_cover(&ret->prev)) {
			*ret = (struct hole){ .blk = ret->prev.blk, .end = ret->blk,
				.cover = ret->prev };
			return 0;
		}
		if (ret->blk > pos) {
			*ret_mapped_end = ret->blk;
			return 0;
		}
	}
	err = csv_ext_find(txn, tree, pos, &ret->next);
	if (err && err != -ENOENT)
		return err;
	if (!err)
		ret->end = ret->next.blk;
	return 0;
}

/* Where on the volume the file's block at would continue what is there. */
static uint64_t hint_of(struct csv_txn *txn, const struct csv_inode *inode, const struct hole *hole,
	uint64_t at)
{
	uint64_t gap;

	if (hole->prev.nr && !csv_ext_is_cover(&hole->prev)) {
		gap = at - hole->blk;
		return hole->prev.phys + hole->prev.nr + (gap <= NEAR_BLKS ? gap : 0);
	}
	if (hole->next.nr && !csv_ext_is_cover(&hole->next)) {
		gap = hole->next.blk - at;
		if (gap <= NEAR_BLKS && gap < hole->next.phys)
			return hole->next.phys - gap;
	}
	return csv_alloc_data_hint(txn, inode->ino);
}

/* Cuts [*from, *to) around pos down to room blocks, which are all that the inode's project may still
 * have. Nodes of the tree count, too: some of it is left for them, if there is that much. -EDQUOT. */
static int cut_to_room(const struct csv_tree *tree, uint64_t room, uint64_t pos, uint64_t end,
	uint64_t *from, uint64_t *to)
{
	bool empty = !le64_get(tree->root.blk);
	uint64_t nodes = empty ? 1 : tree->root.level + 2u, nr;

	if (*to - *from + nodes <= room)
		return 0;
	nr = room > nodes ? room - nodes : empty ? 0 : room;
	if (nr == 0)
		return -EDQUOT;
	*from = pos;
	*to = MIN(end, *to);
	*to = MIN(*to, pos + nr);
	return 0;
}

/* Fills the hole from pos (or from its cluster's start) as far as one run reaches. */
static int fill(struct csv_txn *txn, struct csv_inode *inode, struct csv_tree *tree,
	const struct hole *hole, uint64_t pos, uint64_t end, uint64_t room, uint64_t *ret_end)
{
	uint64_t cluster = csv_fs_geometry(csv_txn_fs(txn))->cluster_blks, phys, nr;
	uint64_t from = MAX(ALIGN_DOWN(pos, cluster), hole->blk);
	uint64_t to = MIN(ALIGN_UP(end, cluster), hole->end);
	int err = cut_to_room(tree, room, pos, end, &from, &to);

	if (!err)
		err = csv_alloc_data(txn, hint_of(txn, inode, hole, from),
			MIN(to - from, CSV_EXT_MAX_BLKS), &phys, &nr);
	if (err)
		return err;
	if (nr <= pos - from)
		from = MIN(pos, to - nr); /* a fragment: pos at least shall have it */
	err = csv_inode_add_blks(inode, nr);
	if (!err && hole->cover.nr)
		err = csv_ext_cut(txn, tree, &hole->cover, from, from + nr);
	if (!err)
		err = csv_ext_add(txn, tree, (struct csv_ext){ .blk = from, .nr = nr, .phys = phys,
			.flags = CSV_EXT_UNWRITTEN | (hole->cover.nr ? CSV_EXT_COVER : 0) });
	if (!err)
		*ret_end = from + nr;
	return err;
}

static int alloc_range(struct csv_txn *txn, struct csv_inode *inode, uint64_t blk, uint64_t end,
	uint64_t *ret_end, bool *ret_changed)
{
	uint64_t pos = blk, mapped_end, room, had = csv_quota_blks(&inode->rec), taken;
	struct csv_tree tree;
	struct hole hole;
	int err = csv_quota_room(txn, le32_get(inode->rec.projid), &room);

	*ret_changed = false;
	if (err)
		return err;
	csv_inode_tree_get(inode, &tree);
	for (uint32_t step = 0; pos < end; step++) {
		if (*ret_changed &&
			(step >= MAX_STEPS || csv_txn_nr_blks(txn) > CSV_EXT_BUDGET_BLKS))
			break;
		err = find_hole(txn, &tree, pos, &hole, &mapped_end);
		if (err)
			return err;
		if (mapped_end > pos) {
			pos = mapped_end;
			continue;
		}
		taken = csv_quota_blks(&inode->rec) - had + (uint64_t)tree.nr_blks;
		err = fill(txn, inode, &tree, &hole, pos, end,
			room == UINT64_MAX ? room : room - MIN(room, taken), &pos);
		if ((err == -ENOSPC || err == -EDQUOT) && *ret_changed)
			break;
		if (err)
			return err;
		*ret_changed = true;
	}
	*ret_end = MIN(pos, end);
	return csv_inode_tree_put(inode, &tree);
}

int csv_extent_alloc(struct csv_txn *txn, uint64_t ino, uint64_t blk, uint64_t nr,
	uint64_t *ret_done)
{
	struct csv_inode inode;
	uint64_t end = blk;
	bool changed = false;
	int err = csv_inode_load_file(txn, ino, &inode);

	if (err)
		return err;
	if (!range_ok(blk, nr, CSV_FILE_MAX_BLKS))
		return -EFBIG;
	csv_quota_enforce(txn);
	err = alloc_range(txn, &inode, blk, blk + nr, &end, &changed);
	if (!err && changed) {
		if (inode.rec.kind == CSV_DATA_NONE)
			inode.rec.kind = CSV_DATA_TREE;
		err = csv_inode_store(txn, &inode);
	}
	if (!err)
		*ret_done = end - blk;
	return err;
}
