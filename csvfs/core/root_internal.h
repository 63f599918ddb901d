/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The root block: counts of the volume, and the trees that are no inode's. */
#ifndef CSVFS_CORE_ROOT_INTERNAL_H
#define CSVFS_CORE_ROOT_INTERNAL_H

#include "csvfs/core/btree.h"

int csv_root_read(struct csv_txn *txn, const struct csv_root **ret)
	__attribute__((warn_unused_result));
int csv_root_write(struct csv_txn *txn, struct csv_root **ret) __attribute__((warn_unused_result));

/* Opens one of the root block's trees by its owner, and stores it back if its root has changed. */
int csv_root_tree_get(struct csv_txn *txn, uint64_t owner, struct csv_tree *ret)
	__attribute__((warn_unused_result));
int csv_root_tree_put(struct csv_txn *txn, const struct csv_tree *tree)
	__attribute__((warn_unused_result));

#endif
