/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Projects: what is counted for them, and their limits.
 *
 * Q1  Whatever stores, inserts or removes the record of an inode counts, in the same transaction: so
 *     the counts are those of the inode tree at every moment, after a crash, too.
 * Q2  A project has an entry as long as something is counted for it or it has a limit. A volume
 *     whose inodes are of no project (0) has no tree.
 * Q3  A limit refuses only what asks for more. What frees, commits or is repaired may pass it by the
 *     nodes of trees that it needs.
 */
#include <errno.h>
#include <string.h>

#include "csvfs/core/core_internal.h"
#include "csvfs/core/quota_internal.h"
#include "csvfs/core/root_internal.h"
#include "util/err.h"
#include "util/log.h"

typedef unsigned long long ull;

void csv_quota_enforce(struct csv_txn *txn)
{
	txn->limits = true;
}

int csv_quota_verify(uint64_t key, const void *val, uint32_t len, const char **why)
{
	const struct csv_quota_rec *rec = val;

	*why = NULL;
	if (key == 0 || key > UINT32_MAX)
		*why = "is of an impossible project";
	else if (len != sizeof(*rec))
		*why = "has a wrong length";
	else if (!le64_get(rec->blks) && !le64_get(rec->inodes) && !le64_get(rec->limit_blks) &&
		!le64_get(rec->limit_inodes))
		*why = "says nothing";
	return *why ? -ERR_CORRUPT : 0;
}

/* The entry of a project; zeroes if it has none. */
static int load(struct csv_txn *txn, struct csv_tree *tree, uint32_t projid,
	struct csv_quota_rec *ret, bool *ret_there)
{
	const void *val;
	const char *why;
	uint32_t len;
	int err = csv_tree_get(txn, tree, projid, &val, &len);

	*ret = (struct csv_quota_rec){ 0 };
	*ret_there = err == 0;
	if (err)
		return err == -ENOENT ? 0 : err;
	err = csv_quota_verify(projid, val, len, &why);
	if (!err)
		memcpy(ret, val, sizeof(*ret));
	else
		log_error("project %u: its entry %s; fsck.csvfs counts again", projid, why);
	return err;
}

static int store(struct csv_txn *txn, struct csv_tree *tree, uint32_t projid,
	const struct csv_quota_rec *rec, bool there)
{
	static const struct csv_quota_rec none;
	int err = 0;

	if (memcmp(rec, &none, sizeof(none)) != 0)
		err = there ? csv_tree_update(txn, tree, projid, rec, sizeof(*rec))
			    : csv_tree_insert(txn, tree, projid, rec, sizeof(*rec));
	else if (there)
		err = csv_tree_remove(txn, tree, projid);
	return err ? err : csv_root_tree_put(txn, tree);
}

static bool beyond(uint64_t limit, uint64_t used)
{
	return limit && used > limit;
}

/* A count that is wrong does not stand in the way of who frees. */
static uint64_t less(uint32_t projid, uint64_t count, uint64_t nr)
{
	if (nr <= count)
		return count - nr;
	log_error("project %u counts %llu and is to lose %llu; fsck.csvfs counts again", projid,
		(ull)count, (ull)nr);
	return 0;
}

/* What is counted for a project goes up, or down. */
static int charge(struct csv_txn *txn, uint32_t projid, uint64_t blks, uint64_t inodes)
{
	struct csv_quota_rec rec;
	struct csv_tree tree;
	bool there;
	int err = csv_root_tree_get(txn, CSV_OWNER_QUOTAS, &tree);

	if (!err)
		err = load(txn, &tree, projid, &rec, &there);
	if (err)
		return err;
	rec.blks = le64_of(le64_get(rec.blks) + blks);
	rec.inodes = le64_of(le64_get(rec.inodes) + inodes);
	if (txn->limits && ((blks && beyond(le64_get(rec.limit_blks), le64_get(rec.blks))) ||
				   (inodes && beyond(le64_get(rec.limit_inodes), le64_get(rec.inodes)))))
		return -EDQUOT;
	return store(txn, &tree, projid, &rec, there);
}

static int discharge(struct csv_txn *txn, uint32_t projid, uint64_t blks, uint64_t inodes)
{
	struct csv_quota_rec rec;
	struct csv_tree tree;
	bool there;
	int err = csv_root_tree_get(txn, CSV_OWNER_QUOTAS, &tree);

	if (!err)
		err = load(txn, &tree, projid, &rec, &there);
	if (err)
		return err;
	rec.blks = le64_of(less(projid, le64_get(rec.blks), blks));
	rec.inodes = le64_of(less(projid, le64_get(rec.inodes), inodes));
	return store(txn, &tree, projid, &rec, there);
}

int csv_quota_change(struct csv_txn *txn, const struct csv_inode_rec *old,
	const struct csv_inode_rec *new)
{
	uint32_t from = old && !csv_inode_is_layer(old) ? le32_get(old->projid) : 0;
	uint32_t to = new && !csv_inode_is_layer(new) ? le32_get(new->projid) : 0;
	uint64_t had = from ? csv_quota_blks(old) : 0, has = to ? csv_quota_blks(new) : 0;
	int err = 0;

	if (from == to) {
		if (has > had)
			return charge(txn, to, has - had, 0);
		return has < had ? discharge(txn, to, had - has, 0) : 0;
	}
	if (to)
		err = charge(txn, to, has, 1);
	if (!err && from)
		err = discharge(txn, from, had, 1);
	return err;
}

int csv_quota_change_from_tree(struct csv_txn *txn, struct csv_tree *inodes, uint64_t ino,
	const struct csv_inode_rec *new)
{
	const struct csv_geometry *geom = csv_fs_geometry(csv_txn_fs(txn));
	const struct csv_root *root;
	struct csv_inode_rec old;
	const void *val;
	const char *why;
	uint32_t len;
	int err = csv_root_read(txn, &root);

	if (err || (!le64_get(root->quotas.blk) && (!new || !le32_get(new->projid))))
		return err;
	err = csv_tree_get(txn, inodes, ino, &val, &len);
	if (err)
		return err == -ENOENT ? 0 : err; /* the caller will find out */
	if (csv_inode_verify(val, len, ino, geom, &why))
		return 0; /* on its way to be repaired */
	memcpy(&old, val, sizeof(old));
	return csv_quota_change(txn, &old, new);
}

int csv_quota_room(struct csv_txn *txn, uint32_t projid, uint64_t *ret)
{
	struct csv_project p;
	int err = 0;

	*ret = UINT64_MAX;
	if (projid)
		err = csv_project_get(txn, projid, &p);
	if (!err && projid && p.limit_blks)
		*ret = p.limit_blks > p.blks ? p.limit_blks - p.blks : 0;
	return err;
}

int csv_quota_may_enter(const struct csv_inode *dir, const struct csv_inode *inode)
{
	return csv_inode_inherits(dir) && le32_get(dir->rec.projid) != le32_get(inode->rec.projid)
		       ? -EXDEV
		       : 0;
}

int csv_quota_set_use(struct csv_txn *txn, uint32_t projid, uint64_t blks, uint64_t inodes)
{
	struct csv_quota_rec rec;
	struct csv_tree tree;
	bool there;
	int err = csv_root_tree_get(txn, CSV_OWNER_QUOTAS, &tree);

	if (!err)
		err = load(txn, &tree, projid, &rec, &there);
	if (err)
		return err;
	if (le64_get(rec.blks) == blks && le64_get(rec.inodes) == inodes)
		return -EALREADY;
	rec.blks = le64_of(blks);
	rec.inodes = le64_of(inodes);
	return store(txn, &tree, projid, &rec, there);
}

/* ---- for who asks ---- */

static void to_project(uint32_t projid, const struct csv_quota_rec *rec, struct csv_project *ret)
{
	*ret = (struct csv_project){
		.projid = projid,
		.blks = le64_get(rec->blks),
		.inodes = le64_get(rec->inodes),
		.limit_blks = le64_get(rec->limit_blks),
		.limit_inodes = le64_get(rec->limit_inodes),
	};
}

int csv_project_get(struct csv_txn *txn, uint32_t projid, struct csv_project *ret)
{
	struct csv_quota_rec rec;
	struct csv_tree tree;
	bool there;
	int err = csv_root_tree_get(txn, CSV_OWNER_QUOTAS, &tree);

	if (!err)
		err = load(txn, &tree, projid, &rec, &there);
	if (!err)
		to_project(projid, &rec, ret);
	return err;
}

int csv_project_next(struct csv_txn *txn, uint32_t after, struct csv_project *ret)
{
	struct csv_tree tree;
	const void *val;
	const char *why;
	uint64_t key;
	uint32_t len;
	int err = csv_root_tree_get(txn, CSV_OWNER_QUOTAS, &tree);

	if (!err)
		err = csv_tree_ge(txn, &tree, (uint64_t)after + 1, &key, &val, &len);
	if (err)
		return err;
	err = csv_quota_verify(key, val, len, &why);
	if (err)
		log_error("project %llu: its entry %s; fsck.csvfs counts again", (ull)key, why);
	else
		to_project((uint32_t)key, val, ret);
	return err;
}

int csv_project_limit(struct csv_txn *txn, uint32_t projid, uint64_t limit_blks,
	uint64_t limit_inodes, struct csv_project *ret)
{
	struct csv_quota_rec rec;
	struct csv_tree tree;
	bool there;
	int err = projid ? csv_root_tree_get(txn, CSV_OWNER_QUOTAS, &tree) : -EINVAL;

	if (!err)
		err = load(txn, &tree, projid, &rec, &there);
	if (err)
		return err;
	rec.limit_blks = le64_of(limit_blks);
	rec.limit_inodes = le64_of(limit_inodes);
	err = store(txn, &tree, projid, &rec, there);
	if (!err)
		to_project(projid, &rec, ret);
	return err;
}

int csv_statfs_at(struct csv_txn *txn, uint64_t ino, struct csv_statfs *ret)
{
	struct csv_inode inode;
	struct csv_project p;
	int err = csv_statfs(txn, ret);

	if (!err && ino)
		err = csv_inode_load(txn, ino, &inode);
	if (err || !ino || !le32_get(inode.rec.projid) ||
		(csv_inode_fmt(&inode) == S_IFDIR && !csv_inode_inherits(&inode)))
		return err;
	err = csv_project_get(txn, le32_get(inode.rec.projid), &p);
	if (err)
		return err;
	if (p.limit_blks) {
		uint64_t left = p.limit_blks > p.blks ? p.limit_blks - p.blks : 0;

		ret->nr_blks = p.limit_blks;
		ret->free_blks = left < ret->free_blks ? left : ret->free_blks;
		ret->avail_blks = left < ret->avail_blks ? left : ret->avail_blks;
	}
	ret->nr_inodes = p.limit_blks || p.limit_inodes ? p.inodes : ret->nr_inodes;
	ret->limit_inodes = p.limit_inodes;
	return 0;
}
