/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <string.h>

#include "csvfs/core/quota_internal.h"
#include "csvfs/core/root_internal.h"
#include "csvfs/core/xattr_internal.h"
#include "util/checked.h"
#include "util/err.h"
#include "util/log.h"

typedef unsigned long long ull;

/* Numbers from here on are owners of other trees. */
#define LAST_INO (CSV_OWNER_INODES - 1)

static bool fmt_known(uint32_t fmt)
{
	return fmt == S_IFREG || fmt == S_IFDIR || fmt == S_IFLNK || fmt == S_IFCHR ||
	       fmt == S_IFBLK || fmt == S_IFIFO || fmt == S_IFSOCK;
}

static const char *kind_fault(const struct csv_inode_rec *rec)
{
	uint32_t fmt = le32_get(rec->mode) & S_IFMT, inline_len = le16_get(rec->inline_len);
	bool has_tree = le64_get(rec->tree.blk) != 0;

	switch (rec->kind) {
	case CSV_DATA_NONE:
		if (fmt == S_IFDIR || fmt == S_IFLNK || inline_len || has_tree)
			return "has data that its kind does not know";
		return NULL;
	case CSV_DATA_INLINE:
		if (fmt != S_IFREG && fmt != S_IFLNK)
			return "has inline data, which only files and symlinks have";
		if (inline_len == 0 || inline_len > le64_get(rec->size))
			return "has an inline length that does not fit its size";
		if (fmt == S_IFLNK && (has_tree || inline_len != le64_get(rec->size)))
			return "is a symlink of another shape";
		return NULL;
	case CSV_DATA_TREE:
		if ((fmt != S_IFREG && fmt != S_IFDIR && fmt != S_IFLNK) || inline_len)
			return "has a tree, which only files, directories and symlinks have";
		if (fmt == S_IFLNK && le64_get(rec->size) > CSV_SYMLINK_MAX)
			return "is a symlink of another shape";
		return NULL;
	}
	return "has data of an unknown kind";
}

static const char *layer_fault(const struct csv_inode_rec *rec, uint64_t ino)
{
	uint64_t base = le64_get(rec->base), base_blks = le64_get(rec->base_blks);
	uint32_t depth = le32_get(rec->depth);
	bool regular = (le32_get(rec->mode) & S_IFMT) == S_IFREG;

	if (le32_get(rec->flags) & ~(CSV_INODE_LAYER | CSV_INODE_PROJINHERIT))
		return "has unknown flags";
	if ((le32_get(rec->flags) & CSV_INODE_PROJINHERIT) && (le32_get(rec->mode) & S_IFMT) != S_IFDIR)
		return "gives its project to what is in it, and is no directory";
	if (le64_get(rec->tree_owner) > LAST_INO)
		return "has a tree of an impossible owner";
	if (csv_inode_is_layer(rec) ? !regular || le32_get(rec->nlink) : le32_get(rec->refs) != 0)
		return "is a layer that has a name, or has clones and is no layer";
	if (!base)
		return base_blks || depth || le64_get(rec->base_nr_blks) ? "has a depth, but no base" :
									   NULL;
	if (!regular || rec->kind != CSV_DATA_TREE || base == ino || base > LAST_INO)
		return "has an impossible base";
	if (!base_blks || base_blks > CSV_FILE_MAX_BLKS || !depth || depth > CSV_DEPTH_MAX)
		return "has an impossible depth";
	return NULL;
}

static bool xattrs_ok(const struct csv_inode_rec *rec, const struct csv_geometry *geom)
{
	uint64_t blk = le64_get(rec->xattrs.blk);

	if (!blk)
		return rec->xattrs.level == 0 && le32_get(rec->xattr_blks) == 0;
	return blk >= geom->ag0_blk && blk < geom->nr_blks &&
		rec->xattrs.level <= CSV_TREE_MAX_LEVEL && le32_get(rec->xattr_blks) != 0;
}

int csv_inode_verify(const void *val, uint32_t len, uint64_t ino, const struct csv_geometry *geom,
	const char **why)
{
	const struct csv_inode_rec *rec = val;
	uint64_t tree_blk;

	if (len < sizeof(*rec) || len > sizeof(*rec) + CSV_INLINE_MAX) {
		*why = "has a record of a wrong length";
		return -ERR_CORRUPT;
	}
	tree_blk = le64_get(rec->tree.blk);
	*why = NULL;
	if (ino == 0 || ino > LAST_INO)
		*why = "has a number that no inode has";
	else if (!xattrs_ok(rec, geom))
		*why = "has attributes that lie in an impossible place";
	else if (len != sizeof(*rec) + le16_get(rec->inline_len))
		*why = "has a record length that differs from its inline length";
	else if (!fmt_known(le32_get(rec->mode) & S_IFMT) || le32_get(rec->mode) > 0177777)
		*why = "has a mode of no known type";
	else if (le32_get(rec->nlink) > CSV_LINK_MAX)
		*why = "has an impossible link count";
	else if (le64_get(rec->size) > CSV_FILE_MAX_BYTES)
		*why = "is too large";
	else if (le64_get(rec->nr_blks) > geom->nr_blks)
		*why = "counts more blocks than the volume has";
	else if (tree_blk && (tree_blk < geom->ag0_blk || tree_blk >= geom->nr_blks))
		*why = "has a tree that lies outside of the volume";
	else if (rec->tree.level > CSV_TREE_MAX_LEVEL || (!tree_blk && rec->tree.level))
		*why = "has a tree of an impossible level";
	else if (!(*why = layer_fault(rec, ino)))
		*why = kind_fault(rec);
	return *why ? -ERR_CORRUPT : 0;
}

int csv_inode_load(struct csv_txn *txn, uint64_t ino, struct csv_inode *ret)
{
	struct csv_tree tree;
	const void *val;
	const char *why;
	uint32_t len;
	int err = csv_root_tree_get(txn, CSV_OWNER_INODES, &tree);

	if (!err)
		err = csv_tree_get(txn, &tree, ino, &val, &len);
	if (err)
		return err == -ENOENT ? -ESTALE : err;
	err = csv_inode_verify(val, len, ino, csv_fs_geometry(csv_txn_fs(txn)), &why);
	if (err) {
		log_error("inode %llu %s", (ull)ino, why);
		return err;
	}
	ret->ino = ino;
	memcpy(&ret->rec, val, sizeof(ret->rec));
	memcpy(ret->data, (const char *)val + sizeof(ret->rec), len - sizeof(ret->rec));
	return 0;
}

int csv_inode_load_file(struct csv_txn *txn, uint64_t ino, struct csv_inode *ret)
{
	int err = csv_inode_load(txn, ino, ret);

	if (err)
		return err;
	if (csv_inode_fmt(ret) == S_IFDIR)
		return -EISDIR;
	return csv_inode_fmt(ret) == S_IFREG ? 0 : -EINVAL;
}

/* The record as the tree holds it; buf has room for the largest. */
static uint32_t record(const struct csv_inode *inode, uint8_t *buf)
{
	uint32_t inline_len = le16_get(inode->rec.inline_len);

	memcpy(buf, &inode->rec, sizeof(inode->rec));
	memcpy(buf + sizeof(inode->rec), inode->data, inline_len);
	return sizeof(inode->rec) + inline_len;
}

int csv_inode_store(struct csv_txn *txn, const struct csv_inode *inode)
{
	uint8_t buf[sizeof(inode->rec) + CSV_INLINE_MAX];
	uint32_t len = record(inode, buf);
	struct csv_tree tree;
	int err = csv_root_tree_get(txn, CSV_OWNER_INODES, &tree);

	csv_txn_changed(txn, inode->ino);
	if (!err)
		err = csv_quota_change_from_tree(txn, &tree, inode->ino, &inode->rec);
	if (!err)
		err = csv_tree_update(txn, &tree, inode->ino, buf, len);
	if (!err)
		err = csv_root_tree_put(txn, &tree);
	return err == -ENOENT ? -ERR_CORRUPT : err;
}

int csv_inode_insert(struct csv_txn *txn, struct csv_inode *inode)
{
	uint8_t buf[sizeof(inode->rec) + CSV_INLINE_MAX];
	uint32_t len = record(inode, buf);
	struct csv_tree tree;
	struct csv_root *root;
	uint64_t ino;
	int err = csv_root_write(txn, &root);

	if (err)
		return err;
	ino = le64_get(root->next_ino);
	if (ino > LAST_INO)
		return -ENOSPC;
	root->next_ino = le64_of(ino + 1);
	root->nr_inodes = le64_of(le64_get(root->nr_inodes) + 1);
	err = csv_quota_change(txn, NULL, &inode->rec);
	if (!err)
		err = csv_root_tree_get(txn, CSV_OWNER_INODES, &tree);
	if (!err)
		err = csv_tree_insert(txn, &tree, ino, buf, len);
	if (!err)
		err = csv_root_tree_put(txn, &tree);
	if (err == -EEXIST) {
		log_error("inode %llu exists, but the root block gives it as never used", (ull)ino);
		return -ERR_CORRUPT;
	}
	if (!err)
		inode->ino = ino;
	return err;
}

int csv_inode_remove(struct csv_txn *txn, uint64_t ino)
{
	struct csv_tree tree;
	struct csv_root *root;
	int err = csv_root_write(txn, &root);

	csv_txn_changed(txn, ino);
	if (!err)
		err = csv_root_tree_get(txn, CSV_OWNER_INODES, &tree);
	if (!err)
		err = csv_quota_change_from_tree(txn, &tree, ino, NULL);
	if (!err)
		err = csv_tree_remove(txn, &tree, ino);
	if (!err)
		err = csv_root_tree_put(txn, &tree);
	if (err)
		return err;
	if (le64_get(root->nr_inodes) == 0) {
		log_error("root block %u counts no inodes, but inode %llu was there", CSV_ROOT_BLK,
			(ull)ino);
		return -ERR_CORRUPT;
	}
	root->nr_inodes = le64_of(le64_get(root->nr_inodes) - 1);
	return 0;
}

void csv_inode_tree_get(const struct csv_inode *inode, struct csv_tree *ret)
{
	*ret = (struct csv_tree){
		.root = inode->rec.tree,
		.owner = csv_inode_tree_owner(&inode->rec, inode->ino),
		.hint_blk = le64_get(inode->rec.tree.blk),
	};
}

int csv_inode_add_blks(struct csv_inode *inode, int64_t nr)
{
	uint64_t old = le64_get(inode->rec.nr_blks);

	if (nr < 0 && old < -(uint64_t)nr) {
		log_error("inode %llu counts %llu blocks and is to lose %llu", (ull)inode->ino,
			(ull)old, (ull)-nr);
		return -ERR_CORRUPT;
	}
	inode->rec.nr_blks = le64_of(old + (uint64_t)nr);
	return 0;
}

int csv_inode_tree_put(struct csv_inode *inode, const struct csv_tree *tree)
{
	inode->rec.tree = tree->root;
	return csv_inode_add_blks(inode, tree->nr_blks);
}

void csv_inode_attr(const struct csv_inode *inode, struct csv_attr *ret)
{
	const struct csv_inode_rec *rec = &inode->rec;

	*ret = (struct csv_attr){
		.ino = inode->ino,
		.has_xattrs = le64_get(rec->xattrs.blk) != 0,
		.mode = le32_get(rec->mode),
		.nlink = le32_get(csv_inode_is_layer(rec) ? rec->refs : rec->nlink),
		.uid = le32_get(rec->uid),
		.gid = le32_get(rec->gid),
		.projid = le32_get(rec->projid),
		.projinherit = le32_get(rec->flags) & CSV_INODE_PROJINHERIT,
		.size = le64_get(rec->size),
		.nr_blks = le64_get(rec->nr_blks) + le64_get(rec->base_nr_blks) +
			le32_get(rec->xattr_blks),
		.base = le64_get(rec->base),
		.is_layer = csv_inode_is_layer(rec),
		.atime_ns = (int64_t)le64_get(rec->atime_ns),
		.mtime_ns = (int64_t)le64_get(rec->mtime_ns),
		.ctime_ns = (int64_t)le64_get(rec->ctime_ns),
		.btime_ns = (int64_t)le64_get(rec->btime_ns),
		.rdev = le64_get(rec->rdev),
		.parent = le64_get(rec->parent),
		.data_kind = rec->kind,
	};
}

int csv_inode_get(struct csv_txn *txn, uint64_t ino, struct csv_attr *ret)
{
	struct csv_inode inode;
	int err = csv_inode_load(txn, ino, &inode);

	if (!err)
		csv_inode_attr(&inode, ret);
	return err;
}

static struct le64 later(struct le64 old, int64_t ns)
{
	return (int64_t)le64_get(old) < ns ? le64_of(ns) : old;
}

/* Inline data never reaches past the end of the file. */
static void set_size(struct csv_inode *inode, uint64_t size)
{
	struct csv_inode_rec *rec = &inode->rec;

	rec->size = le64_of(size);
	if (rec->kind != CSV_DATA_INLINE || le16_get(rec->inline_len) <= size)
		return;
	rec->inline_len = le16_of(size);
	if (size == 0)
		rec->kind = le64_get(rec->tree.blk) ? CSV_DATA_TREE : CSV_DATA_NONE;
}

static void set_project(struct csv_txn *txn, struct csv_inode *inode, const struct csv_attr *attr)
{
	uint32_t flags = le32_get(inode->rec.flags) & ~CSV_INODE_PROJINHERIT;

	if (attr->projinherit && csv_inode_fmt(inode) == S_IFDIR)
		flags |= CSV_INODE_PROJINHERIT;
	inode->rec.flags = le32_of(flags);
	inode->rec.projid = le32_of(attr->projid);
	csv_quota_enforce(txn);
}

int csv_inode_set(struct csv_txn *txn, uint64_t ino, unsigned mask, const struct csv_attr *attr,
	struct csv_attr *ret)
{
	struct csv_inode inode;
	struct csv_inode_rec *rec = &inode.rec;
	int err = csv_inode_load(txn, ino, &inode);

	if (err)
		return err;
	if ((mask & CSV_SET_SIZE) && attr->size > CSV_FILE_MAX_BYTES)
		return -EFBIG;
	if ((mask & CSV_SET_SIZE) && csv_inode_fmt(&inode) != S_IFREG)
		return -EINVAL;
	if ((mask & CSV_SET_MODE) && (attr->mode & S_IFMT) &&
		(attr->mode & S_IFMT) != csv_inode_fmt(&inode))
		return -EINVAL;
	if (mask & CSV_SET_MODE)
		rec->mode = le32_of(csv_inode_fmt(&inode) | (attr->mode & 07777));
	if (mask & CSV_SET_MODE)
		err = csv_acl_mode_set(txn, &inode);
	if (mask & CSV_SET_UID)
		rec->uid = le32_of(attr->uid);
	if (mask & CSV_SET_GID)
		rec->gid = le32_of(attr->gid);
	if (mask & CSV_SET_SIZE)
		set_size(&inode, attr->size);
	if (mask & CSV_SET_ATIME)
		rec->atime_ns = le64_of(attr->atime_ns);
	if (mask & CSV_SET_MTIME)
		rec->mtime_ns = le64_of(attr->mtime_ns);
	if (mask & CSV_SET_CTIME)
		rec->ctime_ns = le64_of(attr->ctime_ns);
	if (mask & CSV_SET_MTIME_MAX) {
		rec->mtime_ns = later(rec->mtime_ns, attr->mtime_ns);
		rec->ctime_ns = later(rec->ctime_ns, attr->ctime_ns);
	}
	if (mask & CSV_SET_PROJECT)
		set_project(txn, &inode, attr);
	if (!err)
		err = csv_inode_store(txn, &inode);
	if (!err && ret)
		csv_inode_attr(&inode, ret);
	return err;
}

int csv_inode_was_read(struct csv_txn *txn, uint64_t ino, int64_t ns, bool strict, struct csv_attr *ret)
{
	struct csv_inode inode;
	int err = csv_inode_load(txn, ino, &inode);

	if (err)
		return err;
	int64_t atime = (int64_t)le64_get(inode.rec.atime_ns);
	int64_t mtime = (int64_t)le64_get(inode.rec.mtime_ns);
	int64_t ctime = (int64_t)le64_get(inode.rec.ctime_ns);
	/* What was read before the last change may have been told late: utimes() was since. */
	bool tells = strict || atime <= mtime || atime <= ctime || ns - atime >= CSV_ATIME_DAY_NS;
	if (ns > ctime && ns > atime && tells) {
		inode.rec.atime_ns = le64_of((uint64_t)ns);
		err = csv_inode_store(txn, &inode);
	}
	if (!err && ret)
		csv_inode_attr(&inode, ret);
	return err;
}
