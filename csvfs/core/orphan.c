/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inodes without a name, on their way to be removed (E7). */
#include <errno.h>

#include "csvfs/core/inode_internal.h"
#include "csvfs/core/root_internal.h"
#include "util/err.h"
#include "util/log.h"

int csv_orphan_add(struct csv_txn *txn, uint64_t ino)
{
	struct csv_tree tree;
	int err = csv_root_tree_get(txn, CSV_OWNER_ORPHANS, &tree);

	if (!err)
		err = csv_tree_insert(txn, &tree, ino, "", 0);
	if (err == -EEXIST) {
		log_error("inode %llu lost its last name, but is on the orphan list already",
			(unsigned long long)ino);
		return -ERR_CORRUPT;
	}
	return err ? err : csv_root_tree_put(txn, &tree);
}

int csv_orphan_del(struct csv_txn *txn, uint64_t ino)
{
	struct csv_tree tree;
	int err = csv_root_tree_get(txn, CSV_OWNER_ORPHANS, &tree);

	if (!err)
		err = csv_tree_remove(txn, &tree, ino);
	if (err == -ENOENT) {
		log_error("inode %llu has no name, but is not on the orphan list",
			(unsigned long long)ino);
		return -ERR_CORRUPT;
	}
	return err ? err : csv_root_tree_put(txn, &tree);
}

int csv_orphan_next(struct csv_txn *txn, uint64_t after, uint64_t *ret)
{
	struct csv_tree tree;
	const void *val;
	uint64_t key;
	uint32_t len;
	int err = csv_root_tree_get(txn, CSV_OWNER_ORPHANS, &tree);

	if (!err)
		err = after == UINT64_MAX ? -ENOENT
					  : csv_tree_ge(txn, &tree, after + 1, &key, &val, &len);
	if (err && err != -ENOENT)
		return err;
	*ret = err ? 0 : key;
	return 0;
}

int csv_orphan_free(struct csv_txn *txn, uint64_t ino)
{
	struct csv_inode inode;
	struct csv_tree tree;
	const void *val;
	uint32_t len;
	int err = csv_root_tree_get(txn, CSV_OWNER_ORPHANS, &tree);

	if (!err)
		err = csv_tree_get(txn, &tree, ino, &val, &len);
	if (err == -ENOENT)
		return -ESTALE;
	if (!err)
		err = csv_inode_load(txn, ino, &inode);
	if (err == -ESTALE || (!err && csv_inode_nlink(&inode) != 0)) {
		log_error("inode %llu is on the orphan list, but %s", (unsigned long long)ino,
			err ? "does not exist" : "has names");
		return -ERR_CORRUPT;
	}
	if (err)
		return err;
	if (le64_get(inode.rec.xattrs.blk) != 0)
		return -EBUSY;
	if (csv_inode_fmt(&inode) == S_IFLNK && inode.rec.kind == CSV_DATA_TREE) {
		err = csv_symlink_drop(txn, &inode);
		if (err)
			return err;
	}
	if (le64_get(inode.rec.tree.blk) != 0 || le64_get(inode.rec.base) != 0)
		return -EBUSY;
	err = csv_tree_remove(txn, &tree, ino);
	if (!err)
		err = csv_root_tree_put(txn, &tree);
	return err ? err : csv_inode_remove(txn, ino);
}
