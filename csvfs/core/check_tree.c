/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

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
	uint64_t path[CSV_TREE_MAX_LEVEL + 1]; /* nodes on the way, by level */
	uint8_t top;
};

/* A node where the tree says one should be. */
struct place {
	uint64_t blk, key; /* key: of the slot that leads to it */
	uint32_t level;
	uint64_t lo, hi; /* keys that belong there */
};

static int walk_node(struct tree_walk *w, const struct place *p);

/* Part of the tree is not looked at: what to do about it. */
static void give_up(struct tree_walk *w, const struct place *p, enum fix_kind kind, uint64_t arg)
{
	struct check_fix fix = { .kind = kind, .level = (uint8_t)p->level, .holder = w->c->holder,
		.owner = w->owner, .blk = p->blk, .key = p->key, .arg = arg, .lo = p->lo,
		.hi = p->hi, .top = w->top, .xattrs = w->c->in_xattrs };

	memcpy(fix.path, w->path, sizeof(fix.path));
	w->c->structure++;
	check_fix(w->c, &fix);
}

static bool keys_ok(const struct csv_tree_node *n, uint32_t level, uint64_t lo, uint64_t hi)
{
	/* An inner node's slot 0 counts as the lower end, whatever its key. */
	uint32_t nr = node_nr(n), first = level > 0 ? 1 : 0;

	return first >= nr || (node_key(n, first) >= lo && node_key(n, nr - 1) <= hi);
}

/* The node is good, and says what its place says. Keys that belong elsewhere are entries still. */
static bool node_ok(struct tree_walk *w, const struct csv_tree_node *n, const struct place *p)
{
	if (le64_get(n->h.owner) != w->owner) {
		check_say(w->c, "tree-owner", "block %llu: a node of tree %llu in that of %s",
			(ull)p->blk, (ull)le64_get(n->h.owner), w->whose);
		give_up(w, p, FIX_CUT, 0);
		return false;
	}
	if (le16_get(n->level) != p->level) {
		check_say(w->c, "tree-level", "block %llu: a node of level %u at level %u, of %s",
			(ull)p->blk, le16_get(n->level), p->level, w->whose);
		give_up(w, p, p->level == w->top ? FIX_LEVEL : FIX_CUT, le16_get(n->level));
		return false;
	}
	if (keys_ok(n, p->level, p->lo, p->hi))
		return true;
	check_say(w->c, "tree-order", "block %llu: keys that belong elsewhere, of %s", (ull)p->blk,
		w->whose);
	give_up(w, p, p->level > 0 ? FIX_NODE : FIX_KEYS, 0);
	return false;
}

static int walk_children(struct tree_walk *w, const struct csv_tree_node *n, const struct place *p)
{
	uint32_t nr = node_nr(n);
	int err = 0;

	w->path[p->level] = p->blk;
	for (uint32_t i = 0; i < nr && !err; i++) {
		struct place child = { .blk = node_child(n, i), .key = node_key(n, i),
			.level = p->level - 1, .lo = i > 0 ? node_key(n, i) : p->lo,
			.hi = i + 1 < nr ? node_key(n, i + 1) - 1 : p->hi };

		check_tree_ahead(w->c, n, i);
		err = walk_node(w, &child);
	}
	return err;
}

/* The node's block is this tree's alone. */
static int take_block(struct tree_walk *w, const struct place *p, bool *ret_ok)
{
	struct check *c = w->c;

	if (!check_in_group(c, p->blk, 1)) {
		check_say(c, "bad-range", "block %llu of %s is no group's", (ull)p->blk, w->whose);
		give_up(w, p, FIX_CUT, 0);
		c->structure--; /* counted by the caller */
		*ret_ok = false;
		return 0;
	}
	if (c->claims) {
		c->as = (struct check_fix){ .kind = FIX_CUT, .level = (uint8_t)p->level,
			.holder = c->holder, .owner = w->owner, .blk = p->blk, .key = p->key,
			.top = w->top, .xattrs = c->in_xattrs };
		memcpy(c->as.path, w->path, sizeof(c->as.path));
	}
	return check_mark(c, p->blk, 1, w->whose, ret_ok);
}

static int walk_node(struct tree_walk *w, const struct place *p)
{
	struct check *c = w->c;
	struct csv_tree_node *n;
	bool ok;
	int err = take_block(w, p, &ok);

	if (err)
		return err;
	if (!ok) {
		c->structure++;
		return 0;
	}
	w->nr_blks++;
	c->report->tree_blks++;
	n = malloc(CSV_BLOCK_BYTES);
	if (!n)
		return -ENOMEM;
	err = check_read(c, p->blk, CSV_BT_TREE, w->whose, n, &ok);
	if (!err && !ok)
		give_up(w, p, FIX_NODE, 0);
	if (!err && ok && node_ok(w, n, p)) {
		if (p->level > 0)
			err = walk_children(w, n, p);
		for (uint32_t i = 0; p->level == 0 && i < node_nr(n) && !err; i++) {
			c->leaf_seq = le64_get(n->h.seq);
			err = w->fn(c, w->arg, node_key(n, i), node_val(n, i), node_len(n, i));
		}
	}
	free(n);
	return err;
}

int check_tree(struct check *c, const struct csv_tree_root *root, uint64_t owner,
	const char *whose,
	int (*fn)(struct check *c, void *arg, uint64_t key, const void *val, uint32_t len),
	void *arg, uint64_t *ret_nr_blks)
{
	struct tree_walk w = { .c = c, .owner = owner, .whose = whose, .fn = fn, .arg = arg,
		.top = root->level };
	struct place top = { .blk = le64_get(root->blk), .level = root->level, .hi = UINT64_MAX };
	int err = 0;

	if (top.blk) {
		if (root->level > CSV_TREE_MAX_LEVEL) {
			check_say(c, "tree-level", "the root of %s is of level %u", whose,
				root->level);
			w.top = 0;
			top.level = 0;
			give_up(&w, &top, FIX_CUT, 0);
		} else {
			err = walk_node(&w, &top);
		}
	}
	*ret_nr_blks = w.nr_blks;
	return err;
}
