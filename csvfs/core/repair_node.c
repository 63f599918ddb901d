/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Damaged blocks of trees, and the root block, made anew in place (R5). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "csvfs/core/repair_internal.h"
#include "util/checked.h"
#include "util/err.h"

/* Room for numbers that were given out and are seen nowhere. */
#define INO_MARGIN (1u << 20)

#define FANOUT (NODE_CAP / (sizeof(struct csv_tree_slot) + sizeof(struct csv_tree_ptr)))

/* ---- from the log ---- */

static int load_image(struct repair *r, uint64_t blk, enum csv_blk_type type)
{
	const struct csv_geometry *geom = r->c->geom;
	int err = 0;

	if (!r->images)
		err = jnl_images_load(r->fs->queue, geom->journal_blk, geom->journal_nr_blks,
			geom->uuid, jnl_tail_seq(r->fs->jnl), &r->images);
	free(r->image);
	r->image = err ? NULL : malloc(CSV_BLOCK_BYTES);
	if (!r->image)
		return err ? err : -ENOMEM;
	err = jnl_images_get(r->images, blk, r->image);
	if (!err && csv_blk_verify(r->image, blk, type, geom))
		err = -ENOENT;
	if (err) {
		free(r->image);
		r->image = NULL;
	}
	return err == -ENOENT ? 0 : err;
}

/* Is the image what the tree wants at this place? */
static bool fits(const void *image, const struct check_fix *fix)
{
	const struct csv_tree_node *n = image;
	uint32_t nr = node_nr(n), first = fix->level > 0 ? 1 : 0;

	return le64_get(n->h.owner) == fix->owner && le16_get(n->level) == fix->level &&
	       (first >= nr || (node_key(n, first) >= fix->lo && node_key(n, nr - 1) <= fix->hi));
}

/* ---- from what lies below ---- */

static int find_nodes(struct repair *r)
{
	int err;

	if (r->have_nodes)
		return 0;
	err = check_find_nodes(r->c, &r->nodes);
	r->have_nodes = !err;
	return err;
}

struct child {
	const struct check_node *node;
	uint64_t min;
};

static int by_min(const void *a, const void *b)
{
	const struct child *x = a, *y = b;

	if (x->min != y->min)
		return x->min < y->min ? -1 : 1;
	return x->node->seq > y->node->seq ? -1 : x->node->seq < y->node->seq;
}

/* Of nodes whose keys overlap the one that was written last is the tree's. */
static uint32_t drop_outdated(struct child *kids, uint32_t nr)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < nr; i++) {
		if (kept && kids[kept - 1].node->last >= kids[i].min) {
			if (kids[kept - 1].node->seq >= kids[i].node->seq)
				continue;
			kept--;
		}
		kids[kept++] = kids[i];
	}
	return kept;
}

/* An inode's two trees have the same owner. */
static bool of_tree(const struct repair *r, const struct check_fix *fix,
	const struct check_node *node)
{
	uint8_t type = check_node_type(&r->nodes, node);

	if (fix->holder == 0)
		return true;
	return fix->xattrs ? type == NODE_XATTRS : type != NODE_XATTRS;
}

/* The children that a lost inner node can have had. */
static int find_children(struct repair *r, const struct check_fix *fix)
{
	struct child *kids;
	uint32_t nr = 0;
	int err = find_nodes(r);

	r->nr_found = 0;
	if (err || r->nodes.nr == 0)
		return err;
	kids = calloc(r->nodes.nr, sizeof(*kids));
	if (!r->found) {
		r->found = calloc(FANOUT, sizeof(*r->found));
		r->found_keys = calloc(FANOUT, sizeof(*r->found_keys));
	}
	if (!kids || !r->found || !r->found_keys) {
		free(kids);
		return -ENOMEM;
	}
	for (uint64_t i = 0; i < r->nodes.nr; i++) {
		const struct check_node *node = &r->nodes.nodes[i];
		uint64_t min;

		if (node->owner != fix->owner || node->level + 1 != fix->level ||
			node->blk == fix->blk || !of_tree(r, fix, node))
			continue;
		min = check_node_min(&r->nodes, node);
		if (min >= fix->lo && node->last <= fix->hi)
			kids[nr++] = (struct child){ node, min };
	}
	if (nr)
		qsort(kids, nr, sizeof(*kids), by_min);
	nr = drop_outdated(kids, nr);
	for (uint32_t i = 0; i < nr && i < FANOUT; i++) {
		r->found[i] = kids[i].node->blk;
		r->found_keys[i] = kids[i].min;
	}
	r->nr_found = MIN(nr, FANOUT);
	free(kids);
	return 0;
}

/* ---- trees of the root block ---- */

/* The newest of the topmost nodes that nothing leads to. */
static const struct check_node *find_top(const struct repair *r, uint64_t owner)
{
	const struct check_node *best = NULL;

	for (uint64_t i = 0; i < r->nodes.nr; i++) {
		const struct check_node *node = &r->nodes.nodes[i];

		if (node->owner != owner || node->child)
			continue;
		if (!best || node->level > best->level ||
			(node->level == best->level && node->seq > best->seq))
			best = node;
	}
	return best;
}

static void set_top(struct csv_tree_root *root, const struct check_node *top)
{
	if (top)
		*root = (struct csv_tree_root){ .blk = le64_of(top->blk), .level = top->level };
}

/* The topmost nodes of the inode tree, of which its lost root led to more than one. */
static int find_inode_tops(struct repair *r)
{
	const struct check_node *top;
	int err = find_nodes(r);

	r->nr_found = 0;
	if (err)
		return err;
	top = find_top(r, CSV_OWNER_INODES);
	if (!top || top->level == CSV_TREE_MAX_LEVEL)
		return 0;
	return find_children(r, &(struct check_fix){ .owner = CSV_OWNER_INODES,
				     .level = (uint8_t)(top->level + 1), .hi = UINT64_MAX });
}

static void fill_inner(struct repair *r, struct csv_tree_node *n, uint32_t level)
{
	node_init(n, level);
	for (uint32_t i = 0; i < r->nr_found; i++) {
		struct csv_tree_ptr ptr = { .blk = le64_of(r->found[i]) };

		node_insert(n, i, r->found_keys[i], &ptr, sizeof(ptr));
	}
}

/* A new root of the inode tree, above nodes of that level. */
static int plant_root(struct csv_txn *txn, struct repair *r, uint32_t level,
	struct csv_tree_root *ret)
{
	struct csv_tree_node *n;
	uint64_t blk;
	int err = csv_alloc_meta(txn, r->found[0], &blk);

	if (!err)
		err = csv_txn_new(txn, blk, CSV_BT_TREE, CSV_OWNER_INODES, (void **)&n);
	if (err)
		return err;
	fill_inner(r, n, level + 1);
	*ret = (struct csv_tree_root){ .blk = le64_of(blk), .level = (uint8_t)(level + 1) };
	return 0;
}

static int root_anew(struct csv_txn *txn, struct repair *r)
{
	uint64_t max_ino = CSV_ROOT_INO;
	struct csv_root *root;
	int err;

	for (uint64_t i = 0; i < r->nodes.nr; i++) {
		const struct check_node *node = &r->nodes.nodes[i];

		if (node->owner == CSV_OWNER_INODES)
			max_ino = MAX(max_ino, node->last);
		else if (node->owner < CSV_OWNER_INODES)
			max_ino = MAX(max_ino, node->owner);
	}
	err = csv_txn_new(txn, CSV_ROOT_BLK, CSV_BT_ROOT, 0, (void **)&root);
	if (err)
		return err;
	root->next_ino = le64_of(max_ino + INO_MARGIN);
	root->nr_inodes = le64_of(1);
	/* So that there is something to be allocated; counted later. */
	root->free_blks = le64_of(r->c->geom->nr_blks / 2);
	set_top(&root->inodes, find_top(r, CSV_OWNER_INODES));
	set_top(&root->orphans, find_top(r, CSV_OWNER_ORPHANS));
	set_top(&root->quotas, find_top(r, CSV_OWNER_QUOTAS));
	if (r->nr_found <= 1)
		return 0;
	/* The only allocation before stage 2: of a block that a good bitmap shows as free. */
	return plant_root(txn, r, root->inodes.level, &root->inodes);
}

int repair_node_prepare(struct repair *r, const struct check_fix *fix)
{
	bool root = fix->kind == FIX_ROOT_BLK;
	int err = load_image(r, root ? CSV_ROOT_BLK : fix->blk, root ? CSV_BT_ROOT : CSV_BT_TREE);

	if (!err && r->image && !root && !fits(r->image, fix)) {
		free(r->image);
		r->image = NULL;
	}
	if (err || r->image)
		return err;
	if (root)
		return find_inode_tops(r);
	r->nr_found = 0;
	return fix->level > 0 ? find_children(r, fix) : 0;
}

static int put_image(struct csv_txn *txn, struct repair *r, uint64_t blk, enum csv_blk_type type)
{
	void *block;
	int err = csv_txn_new(txn, blk, type, 0, &block);

	if (!err)
		memcpy(block, r->image, CSV_BLOCK_BYTES);
	return err;
}

int repair_root_blk(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	return r->image ? put_image(txn, r, CSV_ROOT_BLK, CSV_BT_ROOT) : root_anew(txn, r);
}

int repair_node(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	struct csv_tree_node *n;
	int err;

	if (r->image)
		return put_image(txn, r, fix->blk, CSV_BT_TREE);
	if (r->nr_found == 0)
		return repair_cut(txn, r, fix);
	err = csv_txn_new(txn, fix->blk, CSV_BT_TREE, fix->owner, (void **)&n);
	if (err)
		return err;
	fill_inner(r, n, fix->level);
	return 0;
}
