/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Repairs of inodes' records, and of what they count. */
#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "csvfs/core/repair_internal.h"
#include "util/checked.h"
#include "util/err.h"

/* ---- records of inodes ---- */

static bool tree_root_ok(const struct csv_tree_root *root, const struct csv_geometry *geom)
{
	uint64_t blk = le64_get(root->blk);

	return blk == 0 ? root->level == 0
			: root->level <= CSV_TREE_MAX_LEVEL && blk >= geom->ag0_blk &&
				  blk < geom->nr_blks;
}

static void drop_base(struct csv_inode_rec *rec)
{
	rec->base = rec->base_blks = rec->base_nr_blks = le64_of(0);
	rec->depth = le32_of(0);
}

static void correct_layer(struct csv_inode_rec *rec, uint64_t ino)
{
	uint64_t base = le64_get(rec->base), base_blks = le64_get(rec->base_blks);
	uint32_t depth = le32_get(rec->depth);
	bool regular = (le32_get(rec->mode) & S_IFMT) == S_IFREG;

	rec->flags = le32_of(le32_get(rec->flags) &
			     (regular ? CSV_INODE_LAYER : CSV_INODE_PROJINHERIT));
	if ((le32_get(rec->mode) & S_IFMT) != S_IFDIR)
		rec->flags = le32_of(le32_get(rec->flags) & CSV_INODE_LAYER);
	if (csv_inode_is_layer(rec))
		rec->nlink = le32_of(0);
	else
		rec->refs = le32_of(0);
	if (le64_get(rec->tree_owner) >= CSV_OWNER_INODES)
		rec->tree_owner = le64_of(0);
	if (!base || !regular || rec->kind != CSV_DATA_TREE || base == ino ||
		base >= CSV_OWNER_INODES || !base_blks || base_blks > CSV_FILE_MAX_BLKS || !depth ||
		depth > CSV_DEPTH_MAX)
		drop_base(rec);
}

static void correct_kind(struct csv_inode_rec *rec, uint32_t *inline_len)
{
	uint32_t fmt = le32_get(rec->mode) & S_IFMT;
	uint64_t size = le64_get(rec->size);

	rec->kind = CSV_DATA_NONE;
	if (fmt == S_IFDIR) {
		rec->kind = CSV_DATA_TREE;
		*inline_len = 0;
	} else if (fmt == S_IFREG && *inline_len == 0) {
		rec->kind = le64_get(rec->tree.blk) || size ? CSV_DATA_TREE : CSV_DATA_NONE;
	} else if (fmt == S_IFLNK && *inline_len == 0) {
		rec->kind = CSV_DATA_TREE; /* whether the target is there will be seen */
		rec->size = le64_of(MIN(size, CSV_SYMLINK_MAX));
	} else if (fmt == S_IFREG || fmt == S_IFLNK) {
		rec->kind = CSV_DATA_INLINE;
		rec->size = le64_of(fmt == S_IFLNK ? *inline_len : MAX(size, (uint64_t)*inline_len));
	} else {
		*inline_len = 0;
	}
	if (rec->kind == CSV_DATA_NONE || (fmt == S_IFLNK && rec->kind == CSV_DATA_INLINE))
		rec->tree = (struct csv_tree_root){ 0 };
	rec->inline_len = le16_of((uint16_t)*inline_len);
}

/* What of the record makes sense. */
static void correct(struct csv_inode_rec *rec, uint64_t ino, uint32_t *inline_len,
	const struct csv_geometry *geom)
{
	uint32_t fmt = le32_get(rec->mode) & S_IFMT;

	if (fmt != S_IFREG && fmt != S_IFDIR && fmt != S_IFLNK && fmt != S_IFCHR &&
		fmt != S_IFBLK && fmt != S_IFIFO && fmt != S_IFSOCK)
		fmt = S_IFREG;
	rec->mode = le32_of(fmt | (le32_get(rec->mode) & 07777));
	if (le32_get(rec->nlink) > CSV_LINK_MAX)
		rec->nlink = le32_of(1);
	if (le64_get(rec->nr_blks) > geom->nr_blks)
		rec->nr_blks = le64_of(0);
	if (!tree_root_ok(&rec->tree, geom))
		rec->tree = (struct csv_tree_root){ 0 };
	if (!tree_root_ok(&rec->xattrs, geom) || le64_get(rec->xattrs.blk) == 0) {
		rec->xattrs = (struct csv_tree_root){ 0 };
		rec->xattr_blks = le32_of(0);
	} else if (le32_get(rec->xattr_blks) == 0) {
		rec->xattr_blks = le32_of(1);
	}
	if (le64_get(rec->size) > CSV_FILE_MAX_BYTES)
		rec->size = le64_of(le64_get(rec->nr_blks) * CSV_BLOCK_BYTES);
	correct_kind(rec, inline_len);
	correct_layer(rec, ino);
}

int repair_inode_rec(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	uint8_t buf[CSV_TREE_VALUE_MAX];
	struct csv_inode_rec *rec = (struct csv_inode_rec *)buf;
	struct csv_tree tree;
	const void *val;
	const char *why;
	uint32_t len, inline_len;
	int err = csv_root_tree_get(txn, CSV_OWNER_INODES, &tree);

	if (!err)
		err = csv_tree_get(txn, &tree, fix->ino, &val, &len);
	if (err)
		return err == -ENOENT ? -EALREADY : err;
	if (csv_inode_verify(val, len, fix->ino, r->c->geom, &why) == 0)
		return -EALREADY;
	if (len < sizeof(*rec) || len > sizeof(*rec) + CSV_INLINE_MAX) {
		err = csv_tree_remove(txn, &tree, fix->ino);
	} else {
		memcpy(buf, val, len);
		inline_len = len - sizeof(*rec);
		correct(rec, fix->ino, &inline_len, r->c->geom);
		len = sizeof(*rec) + inline_len;
		if (csv_inode_verify(buf, len, fix->ino, r->c->geom, &why))
			err = csv_tree_remove(txn, &tree, fix->ino);
		else
			err = csv_tree_update(txn, &tree, fix->ino, buf, len);
	}
	return err ? err : csv_root_tree_put(txn, &tree);
}

/* A record for a tree that was found; the size of a file is what its extents reach. */
static int insert_found(struct csv_txn *txn, struct repair *r, const struct check_fix *fix,
	struct csv_inode_rec *rec, bool dir)
{
	struct csv_tree inodes, own = { .root = rec->tree,
		.owner = csv_inode_tree_owner(rec, fix->ino) };
	struct csv_ext ext;
	const void *val;
	const char *why;
	uint64_t key;
	uint32_t len;
	int err = dir ? 0 : csv_tree_le(txn, &own, UINT64_MAX, &key, &val, &len);

	if (!err && !dir && !csv_ext_decode(key, val, len, r->c->geom, &ext, &why))
		rec->size = le64_of(csv_ext_end(&ext) * CSV_BLOCK_BYTES);
	/* What is damaged below comes later. */
	if (!err || err == -ERR_CORRUPT || err == -ENOENT)
		err = csv_root_tree_get(txn, CSV_OWNER_INODES, &inodes);
	if (!err)
		err = csv_tree_insert(txn, &inodes, fix->ino, rec, sizeof(*rec));
	if (err == -EEXIST)
		return -EALREADY;
	return err ? err : csv_root_tree_put(txn, &inodes);
}

/* The tree was found, and names perhaps lead to it: an inode between them. */
int repair_lost_inode(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	bool dir = fix->arg == DT_DIR;
	struct csv_inode_rec rec = {
		.mode = le32_of(dir ? S_IFDIR | 0700 : S_IFREG | 0600),
		.nlink = le32_of(dir ? 2 : 1),
		.tree = { .blk = le64_of(fix->blk), .level = fix->level },
		.kind = CSV_DATA_TREE,
		.parent = le64_of(dir ? CSV_ROOT_INO : 0),
		.atime_ns = le64_of(r->opts->now_ns),
		.mtime_ns = le64_of(r->opts->now_ns),
		.ctime_ns = le64_of(r->opts->now_ns),
		.btime_ns = le64_of(r->opts->now_ns),
	};

	return insert_found(txn, r, fix, &rec, dir);
}

int repair_lost_layer(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	struct csv_inode_rec rec = {
		.mode = le32_of(S_IFREG | 0600),
		.flags = le32_of(CSV_INODE_LAYER),
		.refs = le32_of((uint32_t)fix->arg),
		.tree = { .blk = le64_of(fix->blk), .level = fix->level },
		.tree_owner = le64_of(fix->owner),
		.kind = CSV_DATA_TREE,
		.btime_ns = le64_of(r->opts->now_ns),
	};

	return insert_found(txn, r, fix, &rec, false);
}

/* What its target was nobody knows any more. */
int repair_symlink(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	static const char nowhere[] = "lost by fsck.csvfs";
	struct csv_inode inode;
	int err = csv_inode_load(txn, fix->ino, &inode);

	if (err || csv_inode_fmt(&inode) != S_IFLNK)
		return err && err != -ESTALE ? err : -EALREADY;
	inode.rec.tree = (struct csv_tree_root){ 0 };
	inode.rec.kind = CSV_DATA_INLINE;
	inode.rec.inline_len = le16_of(sizeof(nowhere) - 1);
	inode.rec.size = le64_of(sizeof(nowhere) - 1);
	memcpy(inode.data, nowhere, sizeof(nowhere) - 1);
	return csv_inode_store(txn, &inode);
}

/* ---- layers ---- */

int repair_layer_drop(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	struct csv_inode inode, base;
	int err = csv_inode_load(txn, fix->ino, &inode);

	if (err || le64_get(inode.rec.base) != fix->arg)
		return err && err != -ESTALE ? err : -EALREADY;
	err = csv_inode_load(txn, fix->arg, &base);
	if (err && err != -ESTALE)
		return err;
	if (!err && csv_inode_is_layer(&base.rec))
		return -EALREADY; /* it was found */
	drop_base(&inode.rec);
	return csv_inode_store(txn, &inode);
}

int repair_depth(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	struct csv_inode inode;
	int err = csv_inode_load(txn, fix->ino, &inode);

	if (err || le64_get(inode.rec.base) == 0)
		return err && err != -ESTALE ? err : -EALREADY;
	if (fix->arg > CSV_DEPTH_MAX)
		drop_base(&inode.rec);
	else
		inode.rec.depth = le32_of((uint32_t)fix->arg);
	return csv_inode_store(txn, &inode);
}

/* ---- fields of inodes ---- */

static int set_field(struct csv_txn *txn, uint64_t ino, void (*set)(struct csv_inode_rec *rec,
	uint64_t arg), uint64_t arg)
{
	struct csv_inode inode;
	int err = csv_inode_load(txn, ino, &inode);

	if (err)
		return err == -ESTALE ? -EALREADY : err;
	set(&inode.rec, arg);
	return csv_inode_store(txn, &inode);
}

static void set_parent(struct csv_inode_rec *rec, uint64_t arg)
{
	rec->parent = le64_of(arg);
}

static void set_nlink(struct csv_inode_rec *rec, uint64_t arg)
{
	if (csv_inode_is_layer(rec))
		rec->refs = le32_of((uint32_t)arg);
	else
		rec->nlink = le32_of((uint32_t)arg);
}

static void set_blks(struct csv_inode_rec *rec, uint64_t arg)
{
	rec->nr_blks = le64_of(arg);
}

static void set_xattr_blks(struct csv_inode_rec *rec, uint64_t arg)
{
	if (le64_get(rec->xattrs.blk) && arg)
		rec->xattr_blks = le32_of((uint32_t)arg);
}

static void set_size(struct csv_inode_rec *rec, uint64_t arg)
{
	rec->size = le64_of(arg);
}

int repair_parent(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	return set_field(txn, fix->ino, set_parent, fix->arg);
}

int repair_nlink(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	return set_field(txn, fix->ino, set_nlink, fix->arg);
}

int repair_inode_blks(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	return set_field(txn, fix->ino, set_blks, fix->arg);
}

int repair_xattr_blks(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	return set_field(txn, fix->ino, set_xattr_blks, fix->arg);
}

int repair_dir_size(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	return set_field(txn, fix->ino, set_size, fix->arg);
}
