/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>

#include "csvfs/core/btree_internal.h"
#include "csvfs/core/check_internal.h"

typedef unsigned long long ull;

struct tree_walk {
	struct check *c;
	uint64_t owner;
	const char *whose;
	int (*fn)(struct check *c, void *arg, uint64_t key, const void *val, uint32_t len);
	void *arg;
	uint64_t nr_blks;
};

static int walk_node(struct tree_walk *w, uint64_t blk, uint32_t level, uint64_t lo, uint64_t hi);

static bool node_ok(struct tree_walk *w, const struct csv_tree_node *n, uint64_t blk,
	uint32_t level, uint64_t lo, uint64_t hi)
{
	uint32_t nr = node_nr(n), first = level > 0 ? 1 : 0;

	if (le64_get(n->h.owner) != w->owner)
		check_say(w->c, "tree-owner", "block %llu: a node of tree %llu in that of %s",
			(ull)blk, (ull)le64_get(n->h.owner), w->whose);
	else if (le16_get(n->level) != level)
		check_say(w->c, "tree-level", "block %llu: a node of level %u at level %u, of %s",
			(ull)blk, le16_get(n->level), level, w->whose);
	else if (nr == 0)
		check_say(w->c, "tree-order", "block %llu: an empty node, of %s", (ull)blk, w->whose);
	else if (first < nr && (node_key(n, first) < lo || node_key(n, nr - 1) > hi))
		check_say(w->c, "tree-order", "block %llu: keys that belong elsewhere, of %s",
			(ull)blk, w->whose);
	else
		return true;
	return false;
}

static int walk_children(struct tree_walk *w, const struct csv_tree_node *n, uint32_t level,
	uint64_t lo, uint64_t hi)
{
	uint32_t nr = node_nr(n);
	int err = 0;

	for (uint32_t i = 0; i < nr && !err; i++)
		err = walk_node(w, node_child(n, i), level - 1, i > 0 ? node_key(n, i) : lo,
			i + 1 < nr ? node_key(n, i + 1) - 1 : hi);
	return err;
}

static int walk_node(struct tree_walk *w, uint64_t blk, uint32_t level, uint64_t lo, uint64_t hi)
{
	struct csv_tree_node *n;
	bool ok;
	int err = check_mark(w->c, blk, 1, w->whose, &ok);

	if (err || !ok)
		return err;
	w->nr_blks++;
	w->c->report->tree_blks++;
	n = malloc(CSV_BLOCK_BYTES);
	if (!n)
		return -ENOMEM;
	err = check_read(w->c, blk, CSV_BT_TREE, w->whose, n, &ok);
	if (!err && ok && node_ok(w, n, blk, level, lo, hi)) {
		if (level > 0)
			err = walk_children(w, n, level, lo, hi);
		for (uint32_t i = 0; level == 0 && i < node_nr(n) && !err; i++)
			err = w->fn(w->c, w->arg, node_key(n, i), node_val(n, i), node_len(n, i));
	}
	free(n);
	return err;
}

int check_tree(struct check *c, const struct csv_tree_root *root, uint64_t owner,
	const char *whose,
	int (*fn)(struct check *c, void *arg, uint64_t key, const void *val, uint32_t len),
	void *arg, uint64_t *ret_nr_blks)
{
	struct tree_walk w = { .c = c, .owner = owner, .whose = whose, .fn = fn, .arg = arg };
	int err = 0;

	if (le64_get(root->blk)) {
		if (root->level > CSV_TREE_MAX_LEVEL)
			check_say(c, "tree-level", "the root of %s is of level %u", whose,
				root->level);
		else
			err = walk_node(&w, le64_get(root->blk), root->level, 0, UINT64_MAX);
	}
	*ret_nr_blks = w.nr_blks;
	return err;
}
