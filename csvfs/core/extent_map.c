/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where a file's bytes lie. */
#include <errno.h>

#include "csvfs/core/layer.h"
#include "util/checked.h"

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
	uint64_t pos = blk, end = blk + nr;
	struct csv_layers layers;
	struct csv_inode inode;
	struct csv_piece piece;
	uint32_t n = 0;
	int err = csv_inode_load_file(txn, ino, &inode);

	if (!err && end < blk)
		err = -EINVAL;
	if (!err)
		err = csv_layers_load(txn, &inode, &layers);
	for (; !err && pos < end; pos = piece.end) {
		err = csv_layers_find(txn, &layers, pos, end, &piece);
		if (!err && !append(ret, max, &n, (struct csv_extent){ .blk = pos,
				.nr = piece.end - pos, .phys = piece.phys, .state = piece.state }))
			break;
	}
	if (!err)
		*ret_nr = n;
	return err;
}

int csv_extent_fill_next(struct csv_txn *txn, uint64_t ino, uint64_t blk, uint64_t nr,
	struct csv_fill *ret)
{
	uint64_t pos = blk, end = blk + nr;
	struct csv_layers layers;
	struct csv_inode inode;
	struct csv_piece piece;
	int err = csv_inode_load_file(txn, ino, &inode);

	if (!err)
		err = csv_layers_load(txn, &inode, &layers);
	for (; !err && pos < end; pos = piece.end) {
		err = csv_layers_find(txn, &layers, pos, end, &piece);
		if (err || !piece.own_phys)
			continue;
		*ret = (struct csv_fill){ .blk = pos, .nr = piece.end - pos,
			.phys = piece.own_phys,
			.from_phys = piece.state == CSV_SHARED ? piece.phys : 0 };
		return 0;
	}
	return err ? err : -ENOENT;
}

int csv_extent_seek(struct csv_txn *txn, uint64_t ino, uint64_t blk, uint64_t end, bool data,
	uint64_t *ret)
{
	struct csv_layers layers;
	struct csv_inode inode;
	struct csv_piece piece;
	int err = csv_inode_load_file(txn, ino, &inode);

	if (!err)
		err = csv_layers_load(txn, &inode, &layers);
	if (err)
		return err;
	if (inode.rec.kind == CSV_DATA_INLINE) {
		/* Block 0 has the inline data, the rest is a hole. */
		*ret = data && blk > 0 ? end : !data && blk == 0 ? MIN(1, end) : blk;
		return 0;
	}
	for (uint64_t pos = blk; pos < end; pos = piece.end) {
		err = csv_layers_find(txn, &layers, pos, end, &piece);
		if (err)
			return err;
		if (data == (piece.state == CSV_WRITTEN || piece.state == CSV_SHARED)) {
			*ret = pos;
			return 0;
		}
	}
	*ret = end;
	return 0;
}
