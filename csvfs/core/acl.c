/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * POSIX access control lists (POSIX.1e draft 17, acl(5)): two attributes whose values are those of
 * Linux's setxattr(2). The access list and the mode always say the same: a list that says no more
 * than a mode can is not kept.
 */
#include <errno.h>
#include <string.h>

#include "csvfs/core/xattr_internal.h"
#include "util/checked.h"
#include "util/err.h"
#include "util/log.h"

/* linux/posix_acl_xattr.h */
#define ACL_VERSION 2u
#define ACL_USER_OBJ 1u
#define ACL_USER 2u
#define ACL_GROUP_OBJ 4u
#define ACL_GROUP 8u
#define ACL_MASK 16u
#define ACL_OTHER 32u

struct acl_entry {
	struct le16 tag, perm;
	struct le32 id;
};
static_assert(sizeof(struct acl_entry) == 8, "format");

#define ACL_MAX_BYTES 8192u
#define ACL_MAX_ENTRIES ((ACL_MAX_BYTES - 4) / sizeof(struct acl_entry))

struct acl {
	struct {
		struct le32 version;
		struct acl_entry e[ACL_MAX_ENTRIES];
	} x; /* the value */
	uint32_t len, nr;
};

static const char *acl_name(bool dflt)
{
	return dflt ? CSV_ACL_DEFAULT : CSV_ACL_ACCESS;
}

/* What each entry may come after: the order of acl(5). */
static uint32_t may_follow(uint32_t tag)
{
	switch (tag) {
	case ACL_USER:
		return ACL_USER_OBJ | ACL_USER;
	case ACL_GROUP_OBJ:
		return ACL_USER_OBJ | ACL_USER;
	case ACL_GROUP:
		return ACL_GROUP_OBJ | ACL_GROUP;
	case ACL_MASK:
		return ACL_GROUP_OBJ | ACL_GROUP;
	case ACL_OTHER:
		return ACL_GROUP_OBJ | ACL_MASK;
	}
	return 0;
}

/* From the value of an attribute, all of it checked. -EINVAL, -E2BIG. */
static int decode(const void *value, uint32_t len, struct acl *ret)
{
	uint32_t last = 0, last_id = 0, seen = 0;

	if (len > ACL_MAX_BYTES)
		return -E2BIG;
	if (len < 4 || (len - 4) % sizeof(struct acl_entry))
		return -EINVAL;
	memcpy(&ret->x, value, len);
	ret->len = len;
	ret->nr = (len - 4) / sizeof(struct acl_entry);
	if (le32_get(ret->x.version) != ACL_VERSION)
		return -EINVAL;
	for (uint32_t i = 0; i < ret->nr; i++) {
		const struct acl_entry *e = &ret->x.e[i];
		uint32_t tag = le16_get(e->tag), id = le32_get(e->id);

		if (le16_get(e->perm) > 7)
			return -EINVAL;
		if (i == 0 ? tag != ACL_USER_OBJ : !(may_follow(tag) & last))
			return -EINVAL;
		if (tag & (ACL_USER | ACL_GROUP) && (id == UINT32_MAX || (tag == last && id == last_id)))
			return -EINVAL;
		last = tag;
		last_id = id;
		seen |= tag;
	}
	if (seen & (ACL_USER | ACL_GROUP) && !(seen & ACL_MASK))
		return -EINVAL;
	return last == ACL_OTHER ? 0 : -EINVAL;
}

static int load(struct csv_txn *txn, const struct csv_inode *inode, bool dflt, struct acl *ret)
{
	uint8_t value[ACL_MAX_BYTES];
	uint32_t len = sizeof(value);
	const char *name = acl_name(dflt);
	int err;

	if (le64_get(inode->rec.xattrs.blk) == 0)
		return -ENODATA;
	err = csv_xattr_read(txn, inode, name, (uint32_t)strlen(name), value, &len);
	if (!err)
		err = decode(value, len, ret);
	if (err == -EINVAL || err == -E2BIG || err == -ERANGE) {
		log_error("inode %llu: %s makes no sense", (unsigned long long)inode->ino, name);
		return -ERR_CORRUPT;
	}
	return err;
}

static int store(struct csv_txn *txn, struct csv_inode *inode, bool dflt, const struct acl *acl)
{
	const char *name = acl_name(dflt);

	return csv_xattr_write(txn, inode, name, (uint32_t)strlen(name), &acl->x, acl->len, 0);
}

/* 0 also if there is none. */
static int drop(struct csv_txn *txn, struct csv_inode *inode, bool dflt)
{
	const char *name = acl_name(dflt);
	int err = csv_xattr_erase(txn, inode, name, (uint32_t)strlen(name));

	return err == -ENODATA ? 0 : err;
}

/* What the three classes of a mode may do by this list; *ret_more: it says more than a mode. */
static uint32_t to_mode(const struct acl *acl, bool *ret_more)
{
	uint32_t mode = 0, mask = 7;

	*ret_more = false;
	for (uint32_t i = 0; i < acl->nr; i++) {
		uint32_t perm = le16_get(acl->x.e[i].perm);

		switch (le16_get(acl->x.e[i].tag)) {
		case ACL_USER_OBJ:
			mode |= perm << 6;
			break;
		case ACL_GROUP_OBJ:
			mode |= perm << 3;
			break;
		case ACL_OTHER:
			mode |= perm;
			break;
		case ACL_MASK:
			mask = perm | 8;
			*ret_more = true;
			break;
		default:
			*ret_more = true;
		}
	}
	return mask & 8 ? (mode & 0707) | (mask & 7) << 3 : mode;
}

/* The entry that the group bits of the mode stand for. */
static struct acl_entry *group_entry(struct acl *acl)
{
	struct acl_entry *found = NULL;

	for (uint32_t i = 0; i < acl->nr; i++)
		if (le16_get(acl->x.e[i].tag) & (ACL_GROUP_OBJ | ACL_MASK))
			found = &acl->x.e[i]; /* the mask comes after */
	return found;
}

static void from_mode(struct acl *acl, uint32_t mode)
{
	acl->x.e[0].perm = le16_of((mode >> 6) & 7);
	group_entry(acl)->perm = le16_of((mode >> 3) & 7);
	acl->x.e[acl->nr - 1].perm = le16_of(mode & 7);
}

int csv_acl_mode_set(struct csv_txn *txn, struct csv_inode *inode)
{
	struct acl acl;
	int err = load(txn, inode, false, &acl);

	if (err)
		return err == -ENODATA ? 0 : err;
	from_mode(&acl, le32_get(inode->rec.mode));
	return store(txn, inode, false, &acl);
}

int csv_acl_set(struct csv_txn *txn, uint64_t ino, bool dflt, const void *value, uint32_t len,
	bool drop_sgid, int64_t now_ns, struct csv_attr *ret)
{
	struct csv_inode inode;
	struct acl acl;
	bool more = true;
	int err = csv_inode_load(txn, ino, &inode);

	if (err)
		return err;
	if (csv_inode_fmt(&inode) == S_IFLNK)
		return -EOPNOTSUPP;
	if (dflt && csv_inode_fmt(&inode) != S_IFDIR)
		return len ? -EACCES : 0;
	if (len)
		err = decode(value, len, &acl);
	if (err)
		return err;
	if (len && !dflt) {
		uint32_t mode = le32_get(inode.rec.mode);

		mode = (mode & ~0777u) | to_mode(&acl, &more);
		if (drop_sgid)
			mode &= ~(uint32_t)S_ISGID;
		inode.rec.mode = le32_of(mode);
	}
	err = len && more ? store(txn, &inode, dflt, &acl) : drop(txn, &inode, dflt);
	inode.rec.ctime_ns = le64_of(now_ns);
	if (!err)
		err = csv_inode_store(txn, &inode);
	if (!err)
		csv_inode_attr(&inode, ret);
	return err;
}

int csv_acl_inherit(struct csv_txn *txn, uint64_t dir, uint64_t ino, uint32_t umask,
	struct csv_attr *ret)
{
	struct csv_inode d, inode;
	struct acl acl;
	bool more;
	int err = csv_inode_load(txn, dir, &d);

	if (!err)
		err = csv_inode_load(txn, ino, &inode);
	if (err || csv_inode_fmt(&inode) == S_IFLNK)
		return err;
	uint32_t mode = le32_get(inode.rec.mode);
	err = load(txn, &d, true, &acl);
	if (err == -ENODATA) {
		mode &= ~(umask & 0777);
		err = 0;
	} else if (!err) {
		if (csv_inode_fmt(&inode) == S_IFDIR)
			err = store(txn, &inode, true, &acl);
		mode = (mode & ~0777u) | (mode & to_mode(&acl, &more));
		from_mode(&acl, mode);
		if (!err && more)
			err = store(txn, &inode, false, &acl);
	}
	inode.rec.mode = le32_of(mode);
	if (!err)
		err = csv_inode_store(txn, &inode);
	if (!err)
		csv_inode_attr(&inode, ret);
	return err;
}
