/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Content that lies in the inode's record: small files, symlink targets. */
#include <errno.h>
#include <string.h>

#include "csvfs/core/alloc.h"
#include "csvfs/core/extent_internal.h"
#include "csvfs/core/inode_internal.h"
#include "util/checked.h"

int csv_readlink(struct csv_txn *txn, uint64_t ino, char *buf, uint32_t *len)
{
	struct csv_inode inode;
	int err = csv_inode_load(txn, ino, &inode);

	if (err)
		return err;
	if (csv_inode_fmt(&inode) != S_IFLNK)
		return -EINVAL;
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
