/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How the tree grows (splits) and shrinks (merges). Edits in place, from the leaf up: an error or a
 * wait on the way leaves a mess that the abort of the transaction cleans up (E1). */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "csvfs/core/alloc.h"
#include "csvfs/core/btree_internal.h"
#include "util/err.h"
#include "util/log.h"

/* A node below SPARSE bytes is merged with a neighbour, if the sum is at most MERGED: what is left
 * keeps a node from being split and merged in turns. */
#define SPARSE (NODE_CAP / 3)
#define MERGED (NODE_CAP * 3 / 4)

int tree_node_read(struct csv_txn *txn, const struct csv_tree *tree, uint64_t blk, uint32_t level,
	const struct csv_tree_node **ret)
{
	const struct csv_tree_node *n;
	const void *block;
	int err;

	err = csv_txn_read(txn, blk, CSV_BT_TREE, &block);
	if (err != 0)
		return err;
	n = block;
	if (le16_get(n->level) != level || le64_get(n->h.owner) != tree->owner) {
		log_error("block %llu: node of tree %llx, level %u, where tree %llx, level %u, "
			  "should be",
			(unsigned long long)blk, (unsigned long long)le64_get(n->h.owner),
			le16_get(n->level), (unsigned long long)tree->owner, level);
		return -ERR_CORRUPT;
	}
	*ret = n;
	return 0;
}

int tree_node_write(struct csv_txn *txn, uint64_t blk, struct csv_tree_node **ret)
{
	void *block;
	int err = csv_txn_write(txn, blk, CSV_BT_TREE, &block);

	if (err == 0)
		*ret = block;
	return err;
}

int tree_node_new(struct csv_txn *txn, struct csv_tree *tree, uint32_t level, uint64_t *ret_blk,
	struct csv_tree_node **ret)
{
	uint64_t blk;
	void *block;
	int err;

	err = csv_alloc_meta(txn, tree->hint_blk, &blk);
	if (err == 0)
		err = csv_txn_new(txn, blk, CSV_BT_TREE, tree->owner, &block);
	if (err != 0)
		return err;
	tree->nr_blks++;
	*ret_blk = blk;
	*ret = block;
	node_init(*ret, level);
	return 0;
}

int tree_node_free(struct csv_txn *txn, struct csv_tree *tree, uint64_t blk)
{
	int err = csv_alloc_release(txn, blk, 1);

	if (err != 0)
		return err;
	csv_txn_forget(txn, blk);
	tree->nr_blks--;
	return 0;
}

/* ---- growing ---- */

/*
 * True if the key that goes to pos looks like the next of an ascending run into a gap: the last two
 * steps are short against what is left of the gap. (A file's hole that is written in order.)
 */
static bool runs_up(const struct csv_tree_node *n, uint32_t pos, uint64_t key)
{
	uint64_t gap;

	if (pos < 2 || pos == node_nr(n))
		return false;
	gap = (node_key(n, pos) - key) / 8;
	return key - node_key(n, pos - 1) <= gap &&
	       node_key(n, pos - 1) - node_key(n, pos - 2) <= gap;
}

/*
 * Where to cut a full node of nr entries that gets one of new_bytes at pos: the first entry of the
 * right half, counted with the new one in its place. Behind the last entry the new one goes right
 * alone, so that ascending keys leave full nodes, and a run into a gap is cut off from what follows
 * the gap; else both halves get the same bytes. A half fits: it is at most (NODE_CAP + largest
 * entry) / 2 + largest entry.
 */
static uint32_t split_point(const struct csv_tree_node *n, uint32_t pos, uint64_t key,
	uint32_t new_bytes)
{
	uint32_t total = node_used(n) + new_bytes, left = 0, before = 0, nr = node_nr(n);

	static_assert((NODE_CAP + CSV_TREE_VALUE_MAX + 12) / 2 + CSV_TREE_VALUE_MAX + 12 <= NODE_CAP,
		"both halves of a split must fit");
	if (pos == nr)
		return nr;
	if (runs_up(n, pos, key)) {
		for (uint32_t i = 0; i < pos; i++)
			before += node_entry_bytes(node_len(n, i));
		return before + new_bytes <= NODE_CAP ? pos + 1 : pos;
	}
	for (uint32_t i = 0; i < nr; i++) { /* never past the last of the nr + 1 */
		if (i == pos)
			left += new_bytes;
		else
			left += node_entry_bytes(node_len(n, i < pos ? i : i - 1));
		if (left >= total / 2)
			return i + 1;
	}
	return nr;
}

/* Splits n with a new entry at pos; *ret_key separates it from the new right node. */
static int split(struct csv_txn *txn, struct csv_tree *tree, struct csv_tree_node *n, uint32_t pos,
	uint64_t key, const void *val, uint32_t len, uint64_t *ret_key, uint64_t *ret_right)
{
	uint32_t nr = node_nr(n), cut = split_point(n, pos, key, node_entry_bytes(len));
	struct csv_tree_node *right;
	uint64_t blk, last;
	int err;

	err = tree_node_new(txn, tree, le16_get(n->level), &blk, &right);
	if (err != 0)
		return err;
	if (pos < cut) { /* the new entry is in the left half */
		node_append(right, n, cut - 1, nr);
		node_truncate(n, cut - 1);
		node_insert(n, pos, key, val, len);
	} else {
		node_append(right, n, cut, nr);
		node_truncate(n, cut);
		node_insert(right, pos - cut, key, val, len);
	}
	/* The least that separates: keys that arrive descending find room on the right. In an inner
	 * node the first slot's key is what its child may begin with. */
	last = node_key(n, node_nr(n) - 1);
	*ret_key = le16_get(n->level) == 0 ? last + 1 : node_key(right, 0);
	*ret_right = blk;
	return 0;
}

static int grow_root(struct csv_txn *txn, struct csv_tree *tree, uint64_t key, uint64_t right_blk)
{
	struct csv_tree_ptr ptr = { .blk = tree->root.blk };
	struct csv_tree_node *root;
	uint64_t blk;
	int err;

	if (tree->root.level == CSV_TREE_MAX_LEVEL)
		return -EFBIG;
	err = tree_node_new(txn, tree, tree->root.level + 1u, &blk, &root);
	if (err != 0)
		return err;
	node_insert(root, 0, 0, &ptr, sizeof(ptr));
	ptr.blk = le64_of(right_blk);
	node_insert(root, 1, key, &ptr, sizeof(ptr));
	tree->root.blk = le64_of(blk);
	tree->root.level++;
	return 0;
}

int tree_put(struct csv_txn *txn, struct csv_tree *tree, struct tree_path *path, uint64_t key,
	const void *val, uint32_t len)
{
	struct csv_tree_ptr ptr = { .blk = le64_of(0) };

	for (uint32_t level = 0;; level++) {
		uint32_t pos = path->at[level].pos + (level > 0);
		uint64_t new_key, right_blk;
		struct csv_tree_node *n;
		int err;

		err = tree_node_write(txn, path->at[level].blk, &n);
		if (err != 0)
			return err;
		if (level > 0) /* may be more than key; it counts as 0 */
			node_set_key(n, 0, 0);
		if (node_used(n) + node_entry_bytes(len) <= NODE_CAP) {
			node_insert(n, pos, key, val, len);
			return 0;
		}
		err = split(txn, tree, n, pos, key, val, len, &new_key, &right_blk);
		if (err != 0)
			return err;
		if (level == tree->root.level)
			return grow_root(txn, tree, new_key, right_blk);
		ptr.blk = le64_of(right_blk);
		key = new_key;
		val = &ptr;
		len = sizeof(ptr);
	}
}

/* ---- shrinking ---- */

/* The neighbours left and right, which sep separates, have their keys on their sides of it. */
static bool apart(const struct csv_tree_node *left, const struct csv_tree_node *right, uint64_t sep)
{
	uint32_t first = le16_get(left->level) > 0 ? 1 : 0; /* slot 0's key counts as 0 there */

	if (node_nr(left) > first && node_key(left, node_nr(left) - 1) >= sep)
		return false;
	return node_nr(right) <= first || node_key(right, first) - first >= sep;
}

/* Puts all of right, the child pos + 1 of the node in parent_blk, into left, the child pos. */
static int merge_into(struct csv_txn *txn, struct csv_tree *tree, uint64_t parent_blk, uint32_t pos,
	uint64_t left_blk, const struct csv_tree_node *right)
{
	struct csv_tree_node *left, *parent;
	uint32_t nr;
	int err;

	err = tree_node_write(txn, left_blk, &left);
	if (err == 0)
		err = tree_node_write(txn, parent_blk, &parent);
	if (err != 0)
		return err;
	nr = node_nr(left);
	node_append(left, right, 0, node_nr(right));
	if (le16_get(left->level) > 0) {
		node_set_key(left, 0, 0);
		node_set_key(left, nr, node_key(parent, pos + 1));
	}
	node_remove(parent, pos + 1);
	return 0;
}

/* Merges the children pos and pos + 1 of parent if they fit. */
static int merge(struct csv_txn *txn, struct csv_tree *tree, uint64_t parent_blk,
	const struct csv_tree_node *parent, uint32_t pos, bool *ret_merged)
{
	uint64_t left_blk = node_child(parent, pos), right_blk = node_child(parent, pos + 1);
	uint32_t level = le16_get(parent->level) - 1u;
	const struct csv_tree_node *left, *right;
	int err;

	*ret_merged = false;
	err = tree_node_read(txn, tree, left_blk, level, &left);
	if (err == 0)
		err = tree_node_read(txn, tree, right_blk, level, &right);
	if (err != 0)
		return err;
	if (left_blk == right_blk || !apart(left, right, node_key(parent, pos + 1))) {
		log_error("blocks %llu and %llu: neighbours in a tree overlap",
			(unsigned long long)left_blk, (unsigned long long)right_blk);
		return -ERR_CORRUPT;
	}
	if (node_used(left) + node_used(right) > MERGED)
		return 0;
	err = merge_into(txn, tree, parent_blk, pos, left_blk, right);
	if (err != 0)
		return err;
	*ret_merged = true;
	return tree_node_free(txn, tree, right_blk);
}

/* A root with one child gives way to it. */
static int lower_root(struct csv_txn *txn, struct csv_tree *tree)
{
	const struct csv_tree_node *n;
	int err;

	while (tree->root.level > 0) {
		uint64_t blk = le64_get(tree->root.blk), child;

		err = tree_node_read(txn, tree, blk, tree->root.level, &n);
		if (err != 0)
			return err;
		if (node_nr(n) > 1)
			return 0;
		child = node_child(n, 0);
		err = tree_node_free(txn, tree, blk);
		if (err != 0)
			return err;
		tree->root.blk = le64_of(child);
		tree->root.level--;
	}
	return 0;
}

/* Frees the empty node of path at level, and takes it out of its parent. */
static int remove_empty(struct csv_txn *txn, struct csv_tree *tree, struct tree_path *path,
	uint32_t level)
{
	struct csv_tree_node *parent;
	int err;

	err = tree_node_free(txn, tree, path->at[level].blk);
	if (err != 0)
		return err;
	if (level == tree->root.level) {
		memset(&tree->root, 0, sizeof(tree->root));
		return 0;
	}
	err = tree_node_write(txn, path->at[level + 1].blk, &parent);
	if (err == 0)
		node_remove(parent, path->at[level + 1].pos);
	return err;
}

int tree_shrink(struct csv_txn *txn, struct csv_tree *tree, struct tree_path *path)
{
	for (uint32_t level = 0;; level++) {
		const struct csv_tree_node *n = path->at[level].node, *parent;
		bool merged = false;
		uint32_t pos;
		int err = 0;

		if (node_nr(n) == 0) {
			err = remove_empty(txn, tree, path, level);
			if (err != 0 || le64_get(tree->root.blk) == 0)
				return err;
			continue;
		}
		if (level == tree->root.level)
			return lower_root(txn, tree);
		if (node_used(n) >= SPARSE)
			return 0;
		parent = path->at[level + 1].node;
		pos = path->at[level + 1].pos;
		if (pos + 1 < node_nr(parent))
			err = merge(txn, tree, path->at[level + 1].blk, parent, pos, &merged);
		if (err == 0 && !merged && pos > 0)
			err = merge(txn, tree, path->at[level + 1].blk, parent, pos - 1, &merged);
		if (err != 0 || !merged)
			return err;
	}
}
