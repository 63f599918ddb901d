/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of the tree: single nodes (btree_node.c), growing and shrinking
 * (btree_balance.c). */
#ifndef CSVFS_CORE_BTREE_INTERNAL_H
#define CSVFS_CORE_BTREE_INTERNAL_H

#include "csvfs/core/btree.h"

#define NODE_CAP (CSV_BLOCK_BYTES - (uint32_t)sizeof(struct csv_tree_node))

/* What one entry takes: its slot and its value. */
static inline uint32_t node_entry_bytes(uint32_t len)
{
	return (uint32_t)sizeof(struct csv_tree_slot) + len;
}

static inline uint32_t node_nr(const struct csv_tree_node *n)
{
	return le16_get(n->nr);
}

static inline uint64_t node_key(const struct csv_tree_node *n, uint32_t pos)
{
	return le64_get(n->slots[pos].key);
}

static inline const void *node_val(const struct csv_tree_node *n, uint32_t pos)
{
	return (const uint8_t *)n + le16_get(n->slots[pos].off);
}

static inline uint32_t node_len(const struct csv_tree_node *n, uint32_t pos)
{
	return le16_get(n->slots[pos].len);
}

static inline uint64_t node_child(const struct csv_tree_node *n, uint32_t pos)
{
	return le64_get(((const struct csv_tree_ptr *)node_val(n, pos))->blk);
}

/* Bytes of the entries. */
uint32_t node_used(const struct csv_tree_node *n);
/* The first slot whose key is at least key; node_nr() if none is. */
uint32_t node_lower_bound(const struct csv_tree_node *n, uint64_t key);
/* Inner node: the slot of the child that key belongs to. */
uint32_t node_child_pos(const struct csv_tree_node *n, uint64_t key);
/* After csv_txn_new. */
void node_init(struct csv_tree_node *n, uint32_t level);
/* Puts an entry before slot pos; the caller knows that it fits (node_used). val must not point into
 * the node. */
void node_insert(struct csv_tree_node *n, uint32_t pos, uint64_t key, const void *val, uint32_t len);
void node_remove(struct csv_tree_node *n, uint32_t pos);
void node_set_key(struct csv_tree_node *n, uint32_t pos, uint64_t key);
/* Appends slots [from, to) of src. */
void node_append(struct csv_tree_node *dst, const struct csv_tree_node *src, uint32_t from,
	uint32_t to);
/* Like removing all slots from pos. */
void node_truncate(struct csv_tree_node *n, uint32_t pos);

/* The way from the root to a place in a leaf. */
struct tree_path {
	struct {
		uint64_t blk;
		const struct csv_tree_node *node;
		uint32_t pos;
	} at[CSV_TREE_MAX_LEVEL + 1]; /* by level */
};

/* Puts an entry into the leaf of path before path->at[0].pos; splits as needed. */
int tree_put(struct csv_txn *txn, struct csv_tree *tree, struct tree_path *path, uint64_t key,
	const void *val, uint32_t len) __attribute__((warn_unused_result));
/* After the leaf of path has lost bytes: removes it if it is empty, merges it if it is sparse. */
int tree_shrink(struct csv_txn *txn, struct csv_tree *tree, struct tree_path *path)
	__attribute__((warn_unused_result));
/* Reads a node and checks that it is this tree's, of this level. */
int tree_node_read(struct csv_txn *txn, const struct csv_tree *tree, uint64_t blk, uint32_t level,
	const struct csv_tree_node **ret) __attribute__((warn_unused_result));
int tree_node_write(struct csv_txn *txn, uint64_t blk, struct csv_tree_node **ret)
	__attribute__((warn_unused_result));
int tree_node_new(struct csv_txn *txn, struct csv_tree *tree, uint32_t level, uint64_t *ret_blk,
	struct csv_tree_node **ret) __attribute__((warn_unused_result));
int tree_node_free(struct csv_txn *txn, struct csv_tree *tree, uint64_t blk)
	__attribute__((warn_unused_result));

#endif
