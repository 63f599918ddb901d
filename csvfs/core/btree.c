/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The B+tree: finding, walking, and the entry points of changes.
 *
 * Each step down checks that the child is of this tree and one level lower, and that its keys are
 * in the range that its parent gave it. So pointers that form circles or lead to a wrong node are
 * found out before anything is believed of what lies there.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "csvfs/core/btree_internal.h"
#include "util/err.h"
#include "util/log.h"

/* Leaves that a walk asks for ahead. */
#define READ_AHEAD 7u

/* The keys of a node must be in [lo, hi]. */
static int check_range(const struct csv_tree_node *n, uint64_t blk, uint64_t lo, uint64_t hi)
{
	/* An inner node's slot 0 counts as the lower end, whatever its key. */
	uint32_t first = le16_get(n->level) > 0 ? 1 : 0, nr = node_nr(n);

	if (first < nr && (node_key(n, first) < lo || node_key(n, nr - 1) > hi)) {
		log_error("block %llu: keys outside of what its parent says",
			(unsigned long long)blk);
		return -ERR_CORRUPT;
	}
	return 0;
}

/* Reads the node at level that path leads to, with the range of its keys. */
static int step_down(struct csv_txn *txn, const struct csv_tree *tree, struct tree_path *path,
	uint32_t level, uint64_t *lo, uint64_t *hi)
{
	const struct csv_tree_node *n;
	uint64_t blk;
	int err;

	if (level == tree->root.level) {
		blk = le64_get(tree->root.blk);
	} else {
		const struct csv_tree_node *parent = path->at[level + 1].node;
		uint32_t pos = path->at[level + 1].pos;

		blk = node_child(parent, pos);
		if (pos > 0)
			*lo = node_key(parent, pos);
		if (pos + 1 < node_nr(parent))
			*hi = node_key(parent, pos + 1) - 1;
	}
	err = tree_node_read(txn, tree, blk, level, &n);
	if (err == 0)
		err = check_range(n, blk, *lo, *hi);
	if (err != 0)
		return err;
	path->at[level].blk = blk;
	path->at[level].node = n;
	return 0;
}

/* The path to where key is, or would be. -ENOENT: the tree is empty. */
static int find(struct csv_txn *txn, const struct csv_tree *tree, uint64_t key,
	struct tree_path *path)
{
	uint64_t lo = 0, hi = UINT64_MAX;

	if (le64_get(tree->root.blk) == 0)
		return -ENOENT;
	if (tree->root.level > CSV_TREE_MAX_LEVEL) {
		log_error("tree %llx: its root's level is too high", (unsigned long long)tree->owner);
		return -ERR_CORRUPT;
	}
	for (uint32_t level = tree->root.level;; level--) {
		int err = step_down(txn, tree, path, level, &lo, &hi);

		if (err != 0)
			return err;
		if (level == 0) {
			path->at[0].pos = node_lower_bound(path->at[0].node, key);
			return 0;
		}
		path->at[level].pos = node_child_pos(path->at[level].node, key);
	}
}

static bool at_key(const struct tree_path *path, uint64_t key)
{
	const struct csv_tree_node *n = path->at[0].node;

	return path->at[0].pos < node_nr(n) && node_key(n, path->at[0].pos) == key;
}

/* Moves path to the next (or previous) leaf's first (last) entry. -ENOENT: there is none. */
static int next_leaf(struct csv_txn *txn, const struct csv_tree *tree, struct tree_path *path,
	bool forward)
{
	uint64_t lo = 0, hi = UINT64_MAX;
	uint32_t level = 1;

	for (;; level++) {
		if (level > tree->root.level)
			return -ENOENT;
		if (forward ? path->at[level].pos + 1 < node_nr(path->at[level].node)
			    : path->at[level].pos > 0)
			break;
	}
	path->at[level].pos += forward ? 1 : -1;
	while (level-- > 0) {
		int err = step_down(txn, tree, path, level, &lo, &hi);

		if (err != 0)
			return err;
		path->at[level].pos = forward ? 0 : node_nr(path->at[level].node) - 1;
	}
	return 0;
}

static void answer(const struct tree_path *path, uint64_t *ret_key, const void **ret_val,
	uint32_t *ret_len)
{
	const struct csv_tree_node *n = path->at[0].node;
	uint32_t pos = path->at[0].pos;

	if (ret_key != NULL)
		*ret_key = node_key(n, pos);
	*ret_val = node_val(n, pos);
	*ret_len = node_len(n, pos);
}

int csv_tree_get(struct csv_txn *txn, struct csv_tree *tree, uint64_t key, const void **ret_val,
	uint32_t *ret_len)
{
	struct tree_path path;
	int err = find(txn, tree, key, &path);

	if (err == 0 && !at_key(&path, key))
		err = -ENOENT;
	if (err == 0)
		answer(&path, NULL, ret_val, ret_len);
	return err;
}

int csv_tree_le(struct csv_txn *txn, struct csv_tree *tree, uint64_t key, uint64_t *ret_key,
	const void **ret_val, uint32_t *ret_len)
{
	struct tree_path path;
	int err = find(txn, tree, key, &path);

	if (err == 0 && !at_key(&path, key)) {
		if (path.at[0].pos > 0)
			path.at[0].pos--;
		else
			err = next_leaf(txn, tree, &path, false);
	}
	if (err == 0)
		answer(&path, ret_key, ret_val, ret_len);
	return err;
}

int csv_tree_ge(struct csv_txn *txn, struct csv_tree *tree, uint64_t key, uint64_t *ret_key,
	const void **ret_val, uint32_t *ret_len)
{
	struct tree_path path;
	int err = find(txn, tree, key, &path);

	if (err == 0 && path.at[0].pos == node_nr(path.at[0].node))
		err = next_leaf(txn, tree, &path, true);
	if (err == 0)
		answer(&path, ret_key, ret_val, ret_len);
	return err;
}

/* The leaf that path leads to is being read: asks for those behind it, too. The walk waits for the
 * last of them, and a failed read is found again when it gets there. */
static void read_ahead(struct csv_txn *txn, const struct tree_path *path)
{
	const struct csv_tree_node *parent = path->at[1].node;
	uint32_t pos = path->at[1].pos;

	for (uint32_t i = 1; i <= READ_AHEAD && pos + i < node_nr(parent); i++) {
		const void *block;
		int err = csv_txn_read(txn, node_child(parent, pos + i), CSV_BT_TREE, &block);

		if (err != 0 && err != -ERR_WAIT)
			return;
	}
}

int csv_tree_walk(struct csv_txn *txn, struct csv_tree *tree, uint64_t from,
	int (*fn)(void *arg, uint64_t key, const void *val, uint32_t len, bool *go_on), void *arg)
{
	struct tree_path path;
	int err = find(txn, tree, from, &path);

	while (err == 0) {
		const struct csv_tree_node *n = path.at[0].node;

		for (uint32_t pos = path.at[0].pos; pos < node_nr(n); pos++) {
			bool go_on = true;

			err = fn(arg, node_key(n, pos), node_val(n, pos), node_len(n, pos), &go_on);
			if (err != 0 || !go_on)
				return err;
		}
		err = next_leaf(txn, tree, &path, true);
		if (err == -ERR_WAIT)
			read_ahead(txn, &path);
	}
	return err == -ENOENT ? 0 : err;
}

/* ---- changes ---- */

/* The first entry. */
static int plant(struct csv_txn *txn, struct csv_tree *tree, uint64_t key, const void *val,
	uint32_t len)
{
	struct csv_tree_node *n;
	uint64_t blk;
	int err = tree_node_new(txn, tree, 0, &blk, &n);

	if (err != 0)
		return err;
	node_insert(n, 0, key, val, len);
	tree->root = (struct csv_tree_root){ .blk = le64_of(blk) };
	return 0;
}

int csv_tree_insert(struct csv_txn *txn, struct csv_tree *tree, uint64_t key, const void *val,
	uint32_t len)
{
	uint8_t copy[CSV_TREE_VALUE_MAX]; /* val may lie in a node */
	struct tree_path path;
	int err;

	assert(len <= CSV_TREE_VALUE_MAX);
	if (len > 0)
		memcpy(copy, val, len);
	if (le64_get(tree->root.blk) == 0)
		return plant(txn, tree, key, copy, len);
	err = find(txn, tree, key, &path);
	if (err != 0)
		return err;
	if (at_key(&path, key))
		return -EEXIST;
	return tree_put(txn, tree, &path, key, copy, len);
}

int csv_tree_update(struct csv_txn *txn, struct csv_tree *tree, uint64_t key, const void *val,
	uint32_t len)
{
	uint8_t copy[CSV_TREE_VALUE_MAX];
	struct csv_tree_node *n;
	struct tree_path path;
	uint32_t pos, old_len;
	int err;

	assert(len <= CSV_TREE_VALUE_MAX);
	if (len > 0)
		memcpy(copy, val, len);
	err = find(txn, tree, key, &path);
	if (err == 0 && !at_key(&path, key))
		err = -ENOENT;
	if (err == 0)
		err = tree_node_write(txn, path.at[0].blk, &n);
	if (err != 0)
		return err;
	pos = path.at[0].pos;
	old_len = node_len(n, pos);
	if (len == old_len) {
		if (len > 0)
			memcpy((uint8_t *)n + le16_get(n->slots[pos].off), copy, len);
		return 0;
	}
	node_remove(n, pos);
	err = tree_put(txn, tree, &path, key, copy, len);
	if (err == 0 && len < old_len)
		err = tree_shrink(txn, tree, &path);
	return err;
}

int csv_tree_remove(struct csv_txn *txn, struct csv_tree *tree, uint64_t key)
{
	struct csv_tree_node *n;
	struct tree_path path;
	int err = find(txn, tree, key, &path);

	if (err == 0 && !at_key(&path, key))
		err = -ENOENT;
	if (err == 0)
		err = tree_node_write(txn, path.at[0].blk, &n);
	if (err != 0)
		return err;
	node_remove(n, path.at[0].pos);
	return tree_shrink(txn, tree, &path);
}
