/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "csvfs/core/root_internal.h"

int csv_root_read(struct csv_txn *txn, const struct csv_root **ret)
{
	return csv_txn_read(txn, CSV_ROOT_BLK, CSV_BT_ROOT, (const void **)ret);
}

int csv_root_write(struct csv_txn *txn, struct csv_root **ret)
{
	return csv_txn_write(txn, CSV_ROOT_BLK, CSV_BT_ROOT, (void **)ret);
}

static size_t root_off(uint64_t owner)
{
	switch (owner) {
	case CSV_OWNER_INODES:
		return offsetof(struct csv_root, inodes);
	case CSV_OWNER_ORPHANS:
		return offsetof(struct csv_root, orphans);
	case CSV_OWNER_SHARES:
		return offsetof(struct csv_root, shares);
	case CSV_OWNER_QUOTAS:
		return offsetof(struct csv_root, quotas);
	}
	abort();
}

int csv_root_tree_get(struct csv_txn *txn, uint64_t owner, struct csv_tree *ret)
{
	const struct csv_root *root;
	int err = csv_root_read(txn, &root);

	if (err)
		return err;
	*ret = (struct csv_tree){ .owner = owner };
	memcpy(&ret->root, (const char *)root + root_off(owner), sizeof(ret->root));
	ret->hint_blk = le64_get(ret->root.blk);
	return 0;
}

int csv_root_tree_put(struct csv_txn *txn, const struct csv_tree *tree)
{
	const struct csv_root *root;
	struct csv_root *to;
	int err = csv_root_read(txn, &root);

	if (err || memcmp((const char *)root + root_off(tree->owner), &tree->root,
			   sizeof(tree->root)) == 0)
		return err;
	err = csv_root_write(txn, &to);
	if (!err)
		memcpy((char *)to + root_off(tree->owner), &tree->root, sizeof(tree->root));
	return err;
}
