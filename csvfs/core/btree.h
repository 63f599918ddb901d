/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The one B+tree: 64-bit keys, values of 0 to CSV_TREE_VALUE_MAX bytes (format.h, csv_tree_node).
 * A tree is {root, owner}; the caller keeps the root where it belongs (inode record, root block)
 * and stores it back when it has changed.
 *
 * Each call is bounded: at most CSV_TREE_MAX_LEVEL + 1 nodes are split or merged. Values that are
 * read are pointers into a cached block (T4), invalid after the next change of the tree.
 */
#ifndef CSVFS_CORE_BTREE_H
#define CSVFS_CORE_BTREE_H

#include "csvfs/core/txn.h"

struct csv_tree {
	struct csv_tree_root root; /* as on disk */
	uint64_t owner;
	uint64_t hint_blk;  /* where to look for space: near this block */
	int64_t nr_blks;    /* nodes gained (or lost) by the calls so far; the caller accounts them */
};

/* The entry with this key. -ENOENT. */
int csv_tree_get(struct csv_txn *txn, struct csv_tree *tree, uint64_t key, const void **ret_val,
	uint32_t *ret_len) __attribute__((warn_unused_result, nonnull));
/* The last entry with a key at most key / the first with a key at least key. -ENOENT. */
int csv_tree_le(struct csv_txn *txn, struct csv_tree *tree, uint64_t key, uint64_t *ret_key,
	const void **ret_val, uint32_t *ret_len) __attribute__((warn_unused_result, nonnull));
int csv_tree_ge(struct csv_txn *txn, struct csv_tree *tree, uint64_t key, uint64_t *ret_key,
	const void **ret_val, uint32_t *ret_len) __attribute__((warn_unused_result, nonnull));
/* Adds an entry (-EEXIST), or gives an existing one a new value (-ENOENT), of any length. */
int csv_tree_insert(struct csv_txn *txn, struct csv_tree *tree, uint64_t key, const void *val,
	uint32_t len) __attribute__((warn_unused_result, nonnull(1, 2)));
int csv_tree_update(struct csv_txn *txn, struct csv_tree *tree, uint64_t key, const void *val,
	uint32_t len) __attribute__((warn_unused_result, nonnull(1, 2)));
int csv_tree_remove(struct csv_txn *txn, struct csv_tree *tree, uint64_t key)
	__attribute__((warn_unused_result, nonnull));
/* Calls fn for entries with key >= from in order, walking leaf by leaf, until it returns false. */
int csv_tree_walk(struct csv_txn *txn, struct csv_tree *tree, uint64_t from,
	int (*fn)(void *arg, uint64_t key, const void *val, uint32_t len, bool *go_on), void *arg)
	__attribute__((warn_unused_result, nonnull(1, 2, 4)));

/* Structure check of a node, for csv_blk_ops. */
int csv_tree_node_verify(const void *block, const struct csv_geometry *geom, const char **why);

#endif
