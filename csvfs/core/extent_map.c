/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where a file's bytes lie. */
#include <errno.h>

#include "csvfs/core/extent_internal.h"
#include "util/checked.h"
#include "util/err.h"

static enum csv_ext_state state_of(const struct csv_ext *ext)
{
	return ext->flags & CSV_EXT_UNWRITTEN ? CSV_UNWRITTEN : CSV_WRITTEN;
}

/* Appends to what was found, or joins it to the last. False: there is no room. */
static bool append(struct csv_extent *out, uint32_t max, uint32_t *nr, struct csv_extent ext)
{
	struct csv_extent *last = *nr ? &out[*nr - 1] : NULL;

	if (last && last->state == ext.state &&
		(ext.state == CSV_HOLE || last->phys + last->nr == ext.phys)) {
		last->nr += ext.nr;
		return true;
	}
	if (*nr == max)
		return false;
	out[(*nr)++] = ext;
	return true;
}

int csv_extent_map(struct csv_txn *txn, uint64_t ino, uint64_t blk, uint64_t nr,
	struct csv_extent *ret, uint32_t max, uint32_t *ret_nr)
{
	uint64_t pos = blk, end = blk + nr, stop;
	struct csv_inode inode;
	struct csv_tree tree;
	struct csv_ext ext;
	uint32_t n = 0;
	int err = csv_inode_load_file(txn, ino, &inode);

	if (err)
		return err;
	if (end < blk)
		return -EINVAL;
	csv_inode_tree_get(&inode, &tree);
	while (pos < end) {
		err = -ENOENT;
		if (pos < CSV_FILE_MAX_BLKS)
			err = csv_ext_find(txn, &tree, pos, &ext);
		if (err && err != -ENOENT)
			return err;
		stop = err ? end : MIN(end, ext.blk);
		if (pos < stop) {
			if (!append(ret, max, &n,
				    (struct csv_extent){ .blk = pos, .nr = stop - pos }))
				break;
			pos = stop;
			continue;
		}
		stop = MIN(end, csv_ext_end(&ext));
		if (!append(ret, max, &n, (struct csv_extent){ .blk = pos, .nr = stop - pos,
				.phys = ext.phys + (pos - ext.blk), .state = state_of(&ext) }))
			break;
		pos = stop;
	}
	*ret_nr = n;
	return 0;
}

int csv_extent_seek(struct csv_txn *txn, uint64_t ino, uint64_t blk, uint64_t end, bool data,
	uint64_t *ret)
{
	struct csv_inode inode;
	struct csv_tree tree;
	struct csv_ext ext;
	uint64_t pos = blk;
	int err = csv_inode_load_file(txn, ino, &inode);

	if (err)
		return err;
	csv_inode_tree_get(&inode, &tree);
	if (inode.rec.kind == CSV_DATA_INLINE) {
		/* Block 0 has the inline data, the rest is a hole. */
		*ret = data && pos > 0 ? end : !data && pos == 0 ? MIN(1, end) : pos;
		return 0;
	}
	while (pos < end) {
		err = pos < CSV_FILE_MAX_BLKS ? csv_ext_find(txn, &tree, pos, &ext) : -ENOENT;
		if (err && err != -ENOENT)
			return err;
		if (err) {
			*ret = data ? end : pos;
			return 0;
		}
		if (!data && (ext.blk > pos || state_of(&ext) == CSV_UNWRITTEN)) {
			*ret = pos;
			return 0;
		}
		if (data && state_of(&ext) == CSV_WRITTEN) {
			*ret = MIN(MAX(pos, ext.blk), end);
			return 0;
		}
		pos = csv_ext_end(&ext);
	}
	*ret = end;
	return 0;
}
