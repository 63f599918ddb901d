/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names, made and removed. */
#include <errno.h>
#include <string.h>

#include "csvfs/core/alloc.h"
#include "csvfs/core/dir_internal.h"
#include "csvfs/core/quota_internal.h"
#include "util/err.h"
#include "util/log.h"

void csv_inode_add_nlink(struct csv_inode *inode, int nr)
{
	inode->rec.nlink = le32_of(csv_inode_nlink(inode) + nr);
}

int csv_inode_unlinked(struct csv_txn *txn, struct csv_inode *inode, int64_t now_ns)
{
	int err = 0;

	if (csv_inode_nlink(inode) == 0) {
		log_error("inode %llu has a name, but counts none", (unsigned long long)inode->ino);
		return -ERR_CORRUPT;
	}
	if (csv_inode_fmt(inode) == S_IFDIR)
		inode->rec.nlink = le32_of(0);
	else
		csv_inode_add_nlink(inode, -1);
	inode->rec.ctime_ns = le64_of(now_ns);
	if (csv_inode_nlink(inode) == 0)
		err = csv_orphan_add(txn, inode->ino);
	return err ? err : csv_inode_store(txn, inode);
}

/* Is there room for a new entry where find says that there is none? */
static int may_add(struct csv_txn *txn, const struct csv_inode *dir, const struct csv_name *name)
{
	if (csv_inode_nlink(dir) == 0)
		return -ENOENT;
	if (name->key == 0)
		return -ENOSPC; /* 256 names with one hash */
	return csv_alloc_room(txn);
}

/* What is made in a directory that gives its project gets that. */
static void inherit(struct csv_txn *txn, const struct csv_inode *dir, struct csv_inode *inode)
{
	csv_quota_enforce(txn);
	if (!csv_inode_inherits(dir))
		return;
	inode->rec.projid = dir->rec.projid;
	if (csv_inode_fmt(inode) == S_IFDIR)
		inode->rec.flags = le32_of(CSV_INODE_PROJINHERIT);
}

/* The record of a new inode. -EINVAL, -ENAMETOOLONG. */
static int inode_init(struct csv_inode *inode, uint64_t dir, const struct csv_attr *proto,
	const char *target, uint32_t target_len)
{
	uint32_t fmt = proto->mode & S_IFMT;
	struct csv_inode_rec *rec = &inode->rec;

	if (fmt != S_IFREG && fmt != S_IFDIR && fmt != S_IFLNK && fmt != S_IFCHR &&
		fmt != S_IFBLK && fmt != S_IFIFO && fmt != S_IFSOCK)
		return -EINVAL;
	*inode = (struct csv_inode){ 0 };
	rec->mode = le32_of(proto->mode & (S_IFMT | 07777));
	rec->nlink = le32_of(fmt == S_IFDIR ? 2 : 1);
	rec->uid = le32_of(proto->uid);
	rec->gid = le32_of(proto->gid);
	rec->projid = le32_of(proto->projid);
	rec->atime_ns = le64_of(proto->atime_ns);
	rec->mtime_ns = le64_of(proto->mtime_ns);
	rec->ctime_ns = le64_of(proto->ctime_ns);
	rec->btime_ns = le64_of(proto->btime_ns);
	if (fmt == S_IFCHR || fmt == S_IFBLK)
		rec->rdev = le64_of(proto->rdev);
	if (fmt == S_IFDIR) {
		rec->kind = CSV_DATA_TREE;
		rec->parent = le64_of(dir);
	}
	if (fmt != S_IFLNK)
		return 0;
	if (target_len > CSV_SYMLINK_MAX)
		return -ENAMETOOLONG;
	if (target_len == 0 || memchr(target, 0, target_len))
		return -EINVAL;
	rec->size = le64_of(target_len);
	if (target_len > CSV_INLINE_MAX) {
		rec->kind = CSV_DATA_TREE;
		return 0;
	}
	rec->kind = CSV_DATA_INLINE;
	rec->inline_len = le16_of(target_len);
	memcpy(inode->data, target, target_len);
	return 0;
}

int csv_create(struct csv_txn *txn, uint64_t dir, const char *name, uint32_t len,
	const struct csv_attr *proto, const char *target, uint32_t target_len, struct csv_attr *ret)
{
	struct csv_inode d, inode;
	struct csv_name found;
	bool is_dir = S_ISDIR(proto->mode);
	int err = csv_dir_load(txn, dir, &d);

	if (!err)
		err = csv_dir_get(txn, &d, name, len, &found, &inode);
	if (!err) {
		csv_inode_attr(&inode, ret);
		return -EEXIST;
	}
	if (err != -ENOENT)
		return err;
	err = inode_init(&inode, dir, proto, target, target_len);
	if (!err)
		err = may_add(txn, &d, &found);
	if (!err && is_dir && csv_inode_nlink(&d) >= CSV_LINK_MAX)
		err = -EMLINK;
	inherit(txn, &d, &inode);
	if (!err)
		err = csv_inode_insert(txn, &inode);
	if (!err && S_ISLNK(proto->mode) && inode.rec.kind == CSV_DATA_TREE)
		err = csv_symlink_put(txn, &inode, target);
	if (!err)
		err = csv_dir_add(txn, &d, &found, &inode, proto->ctime_ns);
	if (err)
		return err;
	if (is_dir)
		csv_inode_add_nlink(&d, 1);
	err = csv_inode_store(txn, &d);
	if (!err)
		csv_inode_attr(&inode, ret);
	return err;
}

int csv_create_unnamed(struct csv_txn *txn, uint64_t dir, const struct csv_attr *proto,
	struct csv_attr *ret)
{
	struct csv_inode d, inode;
	int err = S_ISREG(proto->mode) ? csv_dir_load(txn, dir, &d) : -EINVAL;

	if (!err && csv_inode_nlink(&d) == 0)
		err = -ENOENT;
	if (!err)
		err = inode_init(&inode, dir, proto, NULL, 0);
	if (!err)
		err = csv_alloc_room(txn);
	if (err)
		return err;
	inode.rec.nlink = le32_of(0);
	inherit(txn, &d, &inode);
	err = csv_inode_insert(txn, &inode);
	if (!err)
		err = csv_orphan_add(txn, inode.ino);
	if (!err)
		csv_inode_attr(&inode, ret);
	return err;
}

static int add_link(struct csv_txn *txn, uint64_t ino, uint64_t dir, const char *name, uint32_t len,
	bool unnamed, int64_t now_ns, struct csv_attr *ret)
{
	struct csv_inode d, inode;
	struct csv_name found;
	int err = csv_dir_load(txn, dir, &d);

	if (!err)
		err = csv_inode_load(txn, ino, &inode);
	if (!err && csv_inode_fmt(&inode) == S_IFDIR)
		err = -EPERM;
	if (!err)
		err = csv_dir_find(txn, &d, name, len, &found);
	if (!err && found.ino)
		err = -EEXIST;
	if (!err && csv_inode_nlink(&inode) == 0 &&
		(!unnamed || csv_inode_is_layer(&inode.rec)))
		err = -ENOENT;
	if (!err && csv_inode_nlink(&inode) >= CSV_LINK_MAX)
		err = -EMLINK;
	if (!err)
		err = csv_quota_may_enter(&d, &inode);
	if (!err)
		err = may_add(txn, &d, &found);
	if (!err && csv_inode_nlink(&inode) == 0)
		err = csv_orphan_del(txn, ino);
	if (err)
		return err;
	csv_quota_enforce(txn);
	csv_inode_add_nlink(&inode, 1);
	inode.rec.ctime_ns = le64_of(now_ns);
	err = csv_dir_add(txn, &d, &found, &inode, now_ns);
	if (!err)
		err = csv_inode_store(txn, &d);
	if (!err)
		err = csv_inode_store(txn, &inode);
	if (!err)
		csv_inode_attr(&inode, ret);
	return err;
}

int csv_link(struct csv_txn *txn, uint64_t ino, uint64_t dir, const char *name, uint32_t len,
	int64_t now_ns, struct csv_attr *ret)
{
	return add_link(txn, ino, dir, name, len, false, now_ns, ret);
}

int csv_link_unnamed(struct csv_txn *txn, uint64_t ino, uint64_t dir, const char *name, uint32_t len,
	int64_t now_ns, struct csv_attr *ret)
{
	return add_link(txn, ino, dir, name, len, true, now_ns, ret);
}

int csv_unlink(struct csv_txn *txn, uint64_t dir, const char *name, uint32_t len, bool rmdir,
	int64_t now_ns, struct csv_attr *ret)
{
	struct csv_inode d, inode;
	struct csv_name found;
	int err = csv_dir_load(txn, dir, &d);

	if (!err)
		err = csv_dir_get(txn, &d, name, len, &found, &inode);
	if (err)
		return err;
	if (rmdir && csv_inode_fmt(&inode) != S_IFDIR)
		return -ENOTDIR;
	if (!rmdir && csv_inode_fmt(&inode) == S_IFDIR)
		return -EISDIR;
	if (rmdir && le64_get(inode.rec.size) != 0)
		return -ENOTEMPTY;
	if (rmdir && csv_inode_nlink(&d) < 3) {
		log_error("directory inode %llu has a subdirectory, but counts none",
			(unsigned long long)dir);
		return -ERR_CORRUPT;
	}
	err = csv_dir_remove(txn, &d, &found, now_ns);
	if (err)
		return err;
	if (rmdir)
		csv_inode_add_nlink(&d, -1);
	err = csv_inode_store(txn, &d);
	if (!err)
		err = csv_inode_unlinked(txn, &inode, now_ns);
	if (!err)
		csv_inode_attr(&inode, ret);
	return err;
}
