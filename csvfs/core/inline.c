/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Content that lies in the inode's record: small files, symlink targets. */
#include <errno.h>
#include <string.h>

#include "csvfs/core/alloc.h"
#include "csvfs/core/extent_internal.h"
#include "csvfs/core/inode_internal.h"
#include "util/checked.h"
#include "util/err.h"
#include "util/log.h"

/* ---- symlinks: in pieces of CSV_TREE_VALUE_MAX, by number, if the record is too small ---- */

static uint32_t target_piece(const struct csv_inode *inode, uint64_t i)
{
	uint64_t size = le64_get(inode->rec.size), from = i * CSV_TREE_VALUE_MAX;

	return from < size ? (uint32_t)MIN(size - from, CSV_TREE_VALUE_MAX) : 0;
}

int csv_symlink_put(struct csv_txn *txn, struct csv_inode *inode, const char *target)
{
	struct csv_tree tree;
	uint32_t len;
	int err = 0;

	csv_inode_tree_get(inode, &tree);
	for (uint64_t i = 0; !err && (len = target_piece(inode, i)); i++)
		err = csv_tree_insert(txn, &tree, i, target + i * CSV_TREE_VALUE_MAX, len);
	if (!err)
		err = csv_inode_tree_put(inode, &tree);
	return err ? err : csv_inode_store(txn, inode);
}

int csv_symlink_drop(struct csv_txn *txn, struct csv_inode *inode)
{
	struct csv_tree tree;
	int err = 0;

	csv_inode_tree_get(inode, &tree);
	for (uint64_t i = 0; !err && target_piece(inode, i); i++)
		err = csv_tree_remove(txn, &tree, i);
	if (err == -ENOENT)
		return -ERR_CORRUPT;
	return err ? err : csv_inode_tree_put(inode, &tree);
}

static int symlink_get(struct csv_txn *txn, const struct csv_inode *inode, char *buf, uint32_t *len)
{
	uint32_t want, got, room = *len, used = 0;
	struct csv_tree tree;
	const void *val;
	int err = 0;

	csv_inode_tree_get(inode, &tree);
	for (uint64_t i = 0; (want = target_piece(inode, i)); i++) {
		err = csv_tree_get(txn, &tree, i, &val, &got);
		if (err == -ENOENT || (!err && got != want)) {
			log_error("symlink inode %llu: piece %llu of its target is not there",
				(unsigned long long)inode->ino, (unsigned long long)i);
			return -ERR_CORRUPT;
		}
		if (err)
			return err;
		memcpy(buf + used, val, MIN(want, room - used));
		used += MIN(want, room - used);
	}
	*len = used;
	return 0;
}

int csv_readlink(struct csv_txn *txn, uint64_t ino, char *buf, uint32_t *len)
{
	struct csv_inode inode;
	int err = csv_inode_load(txn, ino, &inode);

	if (err)
		return err;
	if (csv_inode_fmt(&inode) != S_IFLNK)
		return -EINVAL;
	if (inode.rec.kind == CSV_DATA_TREE)
		return symlink_get(txn, &inode, buf, len);
	*len = MIN(*len, le16_get(inode.rec.inline_len));
	memcpy(buf, inode.data, *len);
	return 0;
}

int csv_inline_get(struct csv_txn *txn, uint64_t ino, void *buf, uint32_t *len)
{
	struct csv_inode inode;
	int err = csv_inode_load_file(txn, ino, &inode);

	if (err)
		return err;
	if (inode.rec.kind != CSV_DATA_INLINE)
		return -EINVAL;
	if (*len < le16_get(inode.rec.inline_len))
		return -ERANGE;
	*len = le16_get(inode.rec.inline_len);
	memcpy(buf, inode.data, *len);
	return 0;
}

int csv_inline_set(struct csv_txn *txn, uint64_t ino, const void *buf, uint32_t len)
{
	struct csv_inode inode;
	int err = csv_inode_load_file(txn, ino, &inode);

	if (err)
		return err;
	if (len > CSV_INLINE_MAX)
		return -EFBIG;
	if (inode.rec.kind == CSV_DATA_TREE || le64_get(inode.rec.tree.blk) != 0)
		return -EINVAL;
	if (len > le16_get(inode.rec.inline_len)) {
		err = csv_alloc_room(txn);
		if (err)
			return err;
	}
	if (len > 0)
		memcpy(inode.data, buf, len);
	inode.rec.kind = len > 0 ? CSV_DATA_INLINE : CSV_DATA_NONE;
	inode.rec.inline_len = le16_of(len);
	inode.rec.size = le64_of(len);
	return csv_inode_store(txn, &inode);
}

int csv_inline_drop(struct csv_txn *txn, uint64_t ino)
{
	struct csv_inode inode;
	int err = csv_inode_load_file(txn, ino, &inode);

	if (err)
		return err;
	if (inode.rec.kind != CSV_DATA_INLINE)
		return -EINVAL;
	err = csv_extent_mark_written(txn, &inode, 0, 1);
	if (err)
		return err;
	inode.rec.kind = CSV_DATA_TREE;
	inode.rec.inline_len = le16_of(0);
	return csv_inode_store(txn, &inode);
}
