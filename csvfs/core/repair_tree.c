/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Repairs of the shape of trees, of extents and attributes. */
#include <errno.h>
#include <string.h>

#include "csvfs/core/repair_internal.h"
#include "csvfs/core/xattr_internal.h"
#include "util/checked.h"
#include "util/err.h"

int repair_tree_get(struct csv_txn *txn, const struct check_fix *fix, struct csv_inode *inode,
	struct csv_tree *ret)
{
	int err;

	if (fix->holder == 0)
		return csv_root_tree_get(txn, fix->owner, ret);
	err = csv_inode_load(txn, fix->holder, inode);
	if (!err && fix->xattrs)
		csv_xattr_tree_get(inode, ret);
	else if (!err)
		csv_inode_tree_get(inode, ret);
	return err;
}

/* A tree of attributes has blocks, and who has none has no tree. */
static void set_xattrs(struct csv_inode_rec *rec, const struct csv_tree_root *root, uint64_t nr_blks)
{
	bool none = le64_get(root->blk) == 0;

	rec->xattrs = *root;
	rec->xattr_blks = le32_of(none ? 0 : (uint32_t)MAX(nr_blks, 1));
}

int repair_tree_put(struct csv_txn *txn, const struct check_fix *fix, struct csv_inode *inode,
	const struct csv_tree *tree)
{
	uint64_t nr_blks;

	if (fix->holder == 0)
		return csv_root_tree_put(txn, tree);
	/* What it counts may be wrong as well: that comes later. */
	nr_blks = fix->xattrs ? le32_get(inode->rec.xattr_blks) : le64_get(inode->rec.nr_blks);
	if (tree->nr_blks < 0 && nr_blks < (uint64_t)-tree->nr_blks)
		nr_blks = 0;
	else
		nr_blks += tree->nr_blks;
	if (fix->xattrs) {
		set_xattrs(&inode->rec, &tree->root, nr_blks);
	} else {
		inode->rec.nr_blks = le64_of(nr_blks);
		inode->rec.tree = tree->root;
	}
	return csv_inode_store(txn, inode);
}

/* ---- the root of a tree, told by the block that it leads to ---- */

static int set_root(struct csv_txn *txn, const struct check_fix *fix, uint64_t blk,
	struct csv_tree_root root)
{
	struct csv_tree tree;
	struct csv_inode inode;
	struct csv_tree_root *at;
	int err;

	if (fix->holder == 0) {
		err = csv_root_tree_get(txn, fix->owner, &tree);
		if (err)
			return err;
		if (le64_get(tree.root.blk) != blk)
			return -EALREADY;
		tree.root = root;
		return csv_root_tree_put(txn, &tree);
	}
	err = csv_inode_load(txn, fix->holder, &inode);
	if (err)
		return err;
	at = fix->xattrs ? &inode.rec.xattrs : &inode.rec.tree;
	if (le64_get(at->blk) != blk)
		return -EALREADY;
	if (fix->xattrs)
		set_xattrs(&inode.rec, &root, le32_get(inode.rec.xattr_blks));
	else
		*at = root;
	return csv_inode_store(txn, &inode);
}

int repair_level(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	return set_root(txn, fix, fix->blk,
		(struct csv_tree_root){ .blk = le64_of(fix->blk), .level = (uint8_t)fix->arg });
}

int repair_clear_tree(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	struct csv_root *root;
	int err = csv_root_write(txn, &root);

	if (!err)
		root->shares = (struct csv_tree_root){ 0 };
	return err;
}

/* The slot that leads to blk; node_nr() if none does. */
static uint32_t find_slot(const struct csv_tree_node *n, uint64_t blk, uint64_t key)
{
	uint32_t nr = node_nr(n), any = nr;

	for (uint32_t i = 0; i < nr; i++) {
		if (node_child(n, i) != blk)
			continue;
		if (node_key(n, i) == key)
			return i;
		any = i;
	}
	return any;
}

/* Its neighbours get its range. A node that would be left without slots goes, too. */
int repair_cut(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	uint64_t blk = fix->blk, key = fix->key;

	for (uint32_t level = fix->level; level < fix->top; level++) {
		const struct csv_tree_node *n;
		struct csv_tree_node *to;
		uint64_t parent = fix->path[level + 1];
		uint32_t pos;
		int err = csv_txn_read(txn, parent, CSV_BT_TREE, (const void **)&n);

		if (err)
			return err;
		if (le16_get(n->level) != level + 1)
			return -EALREADY;
		pos = find_slot(n, blk, key);
		if (pos == node_nr(n))
			return -EALREADY;
		if (node_nr(n) > 1) {
			err = csv_txn_write(txn, parent, CSV_BT_TREE, (void **)&to);
			if (!err)
				node_remove(to, pos);
			return err;
		}
		blk = parent;
		key = node_key(n, 0);
	}
	return set_root(txn, fix, blk, (struct csv_tree_root){ 0 });
}

/* Takes one entry that belongs elsewhere out of a leaf, and puts it there. */
int repair_keys(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	uint8_t val[CSV_TREE_VALUE_MAX];
	const struct csv_tree_node *n;
	struct csv_tree_node *to;
	struct csv_inode inode;
	struct csv_tree tree;
	uint32_t pos, len;
	uint64_t key;
	int err = csv_txn_read(txn, fix->blk, CSV_BT_TREE, (const void **)&n);

	if (err)
		return err;
	if (le64_get(n->h.owner) != fix->owner || le16_get(n->level) != 0)
		return -EALREADY;
	for (pos = 0; pos < node_nr(n); pos++)
		if (node_key(n, pos) < fix->lo || node_key(n, pos) > fix->hi)
			break;
	if (pos == node_nr(n))
		return -EALREADY;
	key = node_key(n, pos);
	len = node_len(n, pos);
	memcpy(val, node_val(n, pos), len);
	if (node_nr(n) == 1) {
		err = repair_cut(txn, r, fix);
	} else {
		err = csv_txn_write(txn, fix->blk, CSV_BT_TREE, (void **)&to);
		if (!err)
			node_remove(to, pos);
	}
	if (!err)
		err = repair_tree_get(txn, fix, &inode, &tree);
	if (!err)
		err = csv_tree_insert(txn, &tree, key, val, len);
	if (err == -EEXIST)
		return 0; /* what is where it belongs counts */
	return err ? err : repair_tree_put(txn, fix, &inode, &tree);
}

/* ---- extents ---- */

int repair_ext_drop(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	struct csv_inode inode;
	struct csv_tree tree;
	int err = repair_tree_get(txn, fix, &inode, &tree);

	if (!err)
		err = csv_tree_remove(txn, &tree, fix->key);
	if (err == -ENOENT)
		return -EALREADY;
	return err ? err : repair_tree_put(txn, fix, &inode, &tree);
}

static int put_part(struct csv_txn *txn, struct csv_tree *tree, const struct csv_ext *ext,
	uint64_t from, uint64_t to)
{
	uint64_t phys = csv_ext_is_cover(ext) ? 0 : ext->phys + (from - ext->blk);
	struct csv_extent_rec rec = { .phys_blk = le64_of(phys), .nr_blks = le32_of(to - from),
		.flags = le32_of(ext->flags) };
	int err = from < to ? csv_tree_insert(txn, tree, from, &rec, sizeof(rec)) : 0;

	return err == -EEXIST ? 0 : err;
}

/* Takes file blocks [from, to) out of the extent. */
static int ext_without(struct csv_txn *txn, struct csv_tree *tree, const struct csv_ext *ext,
	uint64_t from, uint64_t to)
{
	int err = csv_tree_remove(txn, tree, ext->blk);

	if (!err)
		err = put_part(txn, tree, ext, ext->blk, MIN(from, csv_ext_end(ext)));
	if (!err)
		err = put_part(txn, tree, ext, MIN(to, csv_ext_end(ext)), csv_ext_end(ext));
	return err;
}

int repair_ext_overlap(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	struct csv_inode inode;
	struct csv_tree tree;
	struct csv_ext ext;
	const void *val;
	const char *why;
	uint32_t len;
	int err = repair_tree_get(txn, fix, &inode, &tree);

	if (!err)
		err = csv_tree_get(txn, &tree, fix->key, &val, &len);
	if (err)
		return err == -ENOENT ? -EALREADY : err;
	if (csv_ext_decode(fix->key, val, len, r->c->geom, &ext, &why) || ext.blk >= fix->arg)
		return -EALREADY;
	err = ext_without(txn, &tree, &ext, ext.blk, fix->arg);
	return err ? err : repair_tree_put(txn, fix, &inode, &tree);
}

/* The extent had key when it was met; other fixes may have cut it since. */
int repair_ext_hole(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	uint64_t from = fix->blk, to = fix->blk + fix->arg, key = fix->key;
	struct csv_inode inode;
	struct csv_tree tree;
	int err = repair_tree_get(txn, fix, &inode, &tree);

	for (int tries = 0; !err && tries < 1000; tries++) {
		struct csv_ext ext;
		const void *val;
		const char *why;
		uint32_t len;

		err = csv_tree_ge(txn, &tree, key, &key, &val, &len);
		if (err)
			break;
		if (csv_ext_decode(key, val, len, r->c->geom, &ext, &why) == 0 &&
			!csv_ext_is_cover(&ext) && ext.phys < to && ext.phys + ext.nr > from) {
			from = MAX(from, ext.phys);
			to = MIN(to, ext.phys + ext.nr);
			err = ext_without(txn, &tree, &ext, ext.blk + (from - ext.phys),
				ext.blk + (to - ext.phys));
			return err ? err : repair_tree_put(txn, fix, &inode, &tree);
		}
		if (key++ == UINT64_MAX)
			break;
	}
	return err && err != -ENOENT ? err : -EALREADY;
}

/* ---- attributes ---- */

/* All pieces with this key. */
int repair_xattr_drop(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	struct check_fix of = *fix;
	struct csv_inode inode;
	struct csv_tree tree;
	uint32_t nr = 0;
	int err;

	of.xattrs = true;
	err = repair_tree_get(txn, &of, &inode, &tree);
	while (!err && nr <= 0xff) {
		const void *val;
		uint64_t key;
		uint32_t len;

		err = csv_tree_ge(txn, &tree, fix->key, &key, &val, &len);
		if (!err && key > (fix->key | 0xff))
			err = -ENOENT;
		if (!err)
			err = csv_tree_remove(txn, &tree, key);
		nr += !err;
	}
	if (err && err != -ENOENT)
		return err;
	return nr ? repair_tree_put(txn, &of, &inode, &tree) : -EALREADY;
}

int repair_orphan_val(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	struct csv_tree tree;
	int err = csv_root_tree_get(txn, CSV_OWNER_ORPHANS, &tree);

	if (!err)
		err = csv_tree_update(txn, &tree, fix->key, "", 0);
	if (err == -ENOENT)
		return -EALREADY;
	return err ? err : csv_root_tree_put(txn, &tree);
}
