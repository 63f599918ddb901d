/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Entries of extent trees: found, added, cut, and turned to written. */
#include <errno.h>

#include "csvfs/core/extent_internal.h"
#include "util/checked.h"
#include "util/err.h"
#include "util/log.h"

typedef unsigned long long ull;

int csv_ext_decode(uint64_t key, const void *val, uint32_t len, const struct csv_geometry *geom,
	struct csv_ext *ret, const char **why)
{
	const struct csv_extent_rec *rec = val;

	*why = NULL;
	if (len != sizeof(*rec)) {
		*why = "of a wrong length";
		return -ERR_CORRUPT;
	}
	*ret = (struct csv_ext){
		.blk = key,
		.nr = le32_get(rec->nr_blks),
		.phys = le64_get(rec->phys_blk),
		.flags = le32_get(rec->flags),
	};
	if (ret->nr == 0 || ret->nr > CSV_EXT_MAX_BLKS || !range_ok(key, ret->nr, CSV_FILE_MAX_BLKS))
		*why = "of an impossible range";
	else if (ret->flags & ~(CSV_EXT_UNWRITTEN | CSV_EXT_COVER))
		*why = "with unknown flags";
	else if (csv_ext_is_cover(ret) && ret->phys)
		*why = "that is a hole, with blocks";
	else if (!csv_ext_is_cover(ret) &&
		 (ret->phys < geom->ag0_blk || !range_ok(ret->phys, ret->nr, geom->nr_blks - 1)))
		*why = "outside of the volume's space";
	return *why ? -ERR_CORRUPT : 0;
}

static int decode(struct csv_txn *txn, const struct csv_tree *tree, uint64_t key, const void *val,
	uint32_t len, struct csv_ext *ret)
{
	struct csv_ext ext = { 0 };
	const char *why;
	int err = csv_ext_decode(key, val, len, csv_fs_geometry(csv_txn_fs(txn)), &ext, &why);

	if (err) {
		log_error("inode %llu, tree at block %llu: an extent %s (file block %llu, %llu blocks "
			  "from %llu, flags 0x%x)",
			(ull)tree->owner, (ull)le64_get(tree->root.blk), why, (ull)key, (ull)ext.nr,
			(ull)ext.phys, ext.flags);
		return err;
	}
	*ret = ext;
	return 0;
}

int csv_ext_before(struct csv_txn *txn, struct csv_tree *tree, uint64_t blk, struct csv_ext *ret)
{
	const void *val;
	uint64_t key;
	uint32_t len;
	int err = csv_tree_le(txn, tree, blk, &key, &val, &len);

	return err ? err : decode(txn, tree, key, val, len, ret);
}

int csv_ext_find(struct csv_txn *txn, struct csv_tree *tree, uint64_t blk, struct csv_ext *ret)
{
	struct csv_ext ext;
	const void *val;
	uint64_t key;
	uint32_t len;
	int err = csv_ext_before(txn, tree, blk, &ext);

	if (err && err != -ENOENT)
		return err;
	if (!err && csv_ext_end(&ext) > blk) {
		*ret = ext;
		return 0;
	}
	err = csv_tree_ge(txn, tree, blk + 1, &key, &val, &len);
	return err ? err : decode(txn, tree, key, val, len, ret);
}

static struct csv_extent_rec encode(const struct csv_ext *ext)
{
	return (struct csv_extent_rec){
		.phys_blk = le64_of(ext->phys),
		.nr_blks = le32_of(ext->nr),
		.flags = le32_of(ext->flags),
	};
}

/* b continues a. */
static bool joins(const struct csv_ext *a, const struct csv_ext *b)
{
	return csv_ext_end(a) == b->blk && a->flags == b->flags &&
	       (csv_ext_is_cover(a) || a->phys + a->nr == b->phys) &&
	       a->nr + b->nr <= CSV_EXT_MAX_BLKS;
}

static int overlap(const struct csv_tree *tree, const struct csv_ext *a, const struct csv_ext *b)
{
	log_error("inode %llu, tree at block %llu: extents overlap (file blocks %llu + %llu and "
		  "%llu + %llu)",
		(ull)tree->owner, (ull)le64_get(tree->root.blk), (ull)a->blk, (ull)a->nr,
		(ull)b->blk, (ull)b->nr);
	return -ERR_CORRUPT;
}

int csv_ext_add(struct csv_txn *txn, struct csv_tree *tree, struct csv_ext ext)
{
	struct csv_ext left, right;
	struct csv_extent_rec rec;
	bool widen = false;
	int err;

	err = csv_ext_before(txn, tree, ext.blk, &left);
	if (err && err != -ENOENT)
		return err;
	if (!err && csv_ext_end(&left) > ext.blk)
		return overlap(tree, &left, &ext);
	if (!err && joins(&left, &ext)) {
		left.nr += ext.nr;
		ext = left;
		widen = true;
	}
	err = csv_ext_find(txn, tree, csv_ext_end(&ext), &right);
	if (err && err != -ENOENT)
		return err;
	if (!err && joins(&ext, &right)) {
		err = csv_tree_remove(txn, tree, right.blk);
		if (err)
			return err;
		ext.nr += right.nr;
	}
	rec = encode(&ext);
	if (widen)
		return csv_tree_update(txn, tree, ext.blk, &rec, sizeof(rec));
	err = csv_tree_insert(txn, tree, ext.blk, &rec, sizeof(rec));
	return err == -EEXIST ? overlap(tree, &ext, &ext) : err;
}

int csv_ext_cut(struct csv_txn *txn, struct csv_tree *tree, const struct csv_ext *ext,
	uint64_t from, uint64_t to)
{
	struct csv_ext left = *ext, right = *ext;
	struct csv_extent_rec rec;
	int err;

	if (from > ext->blk) {
		left.nr = from - ext->blk;
		rec = encode(&left);
		err = csv_tree_update(txn, tree, left.blk, &rec, sizeof(rec));
	} else {
		err = csv_tree_remove(txn, tree, ext->blk);
	}
	if (err || to >= csv_ext_end(ext))
		return err;
	right.blk = to;
	if (!csv_ext_is_cover(ext))
		right.phys += to - ext->blk;
	right.nr = csv_ext_end(ext) - to;
	rec = encode(&right);
	err = csv_tree_insert(txn, tree, right.blk, &rec, sizeof(rec));
	return err == -EEXIST ? overlap(tree, ext, &right) : err;
}

/* -ESTALE: there is a hole in the range. *ret_unwritten: there is something to do. */
static int check_mapped(struct csv_txn *txn, struct csv_tree *tree, uint64_t blk, uint64_t end,
	bool *ret_unwritten)
{
	struct csv_ext ext;

	*ret_unwritten = false;
	while (blk < end) {
		int err = csv_ext_find(txn, tree, blk, &ext);

		if (err == -ENOENT || (!err && (ext.blk > blk || csv_ext_is_cover(&ext))))
			return -ESTALE;
		if (err)
			return err;
		*ret_unwritten |= ext.flags & CSV_EXT_UNWRITTEN;
		blk = csv_ext_end(&ext);
	}
	return 0;
}

int csv_extent_mark_written(struct csv_txn *txn, struct csv_inode *inode, uint64_t blk, uint64_t nr)
{
	uint64_t end = blk + nr, from, to;
	struct csv_tree tree;
	struct csv_ext ext;
	bool unwritten;
	int err;

	csv_inode_tree_get(inode, &tree);
	if (!range_ok(blk, nr, CSV_FILE_MAX_BLKS))
		return -ESTALE;
	err = check_mapped(txn, &tree, blk, end, &unwritten);
	if (err || !unwritten)
		return err;
	for (; blk < end; blk = to) {
		err = csv_ext_find(txn, &tree, blk, &ext);
		if (err)
			return err == -ENOENT ? -ERR_CORRUPT : err;
		from = MAX(blk, ext.blk);
		to = MIN(end, csv_ext_end(&ext));
		if (!(ext.flags & CSV_EXT_UNWRITTEN))
			continue;
		err = csv_ext_cut(txn, &tree, &ext, from, to);
		if (!err)
			err = csv_ext_add(txn, &tree, (struct csv_ext){ .blk = from,
				.nr = to - from, .phys = ext.phys + (from - ext.blk) });
		if (err)
			return err;
	}
	csv_txn_preflush(txn);
	return csv_inode_tree_put(inode, &tree);
}

int csv_extent_written(struct csv_txn *txn, uint64_t ino, uint64_t blk, uint64_t nr)
{
	struct csv_inode inode;
	int err = csv_inode_load_file(txn, ino, &inode);

	if (!err)
		err = csv_extent_mark_written(txn, &inode, blk, nr);
	return err ? err : csv_inode_store(txn, &inode);
}
