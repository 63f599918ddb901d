/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Projects: what is counted for them, and their limits (docs/DESIGN.md, 12). */
#ifndef CSVFS_CORE_QUOTA_INTERNAL_H
#define CSVFS_CORE_QUOTA_INTERNAL_H

#include "csvfs/core/inode_internal.h"

/* Blocks that an inode counts for its project: what stat(2) tells of it. Layers are no files: what
 * they have in common is counted with each file above them. */
static inline uint64_t csv_quota_blks(const struct csv_inode_rec *rec)
{
	return csv_inode_is_layer(rec) ? 0
				       : le64_get(rec->nr_blks) + le64_get(rec->base_nr_blks) +
						le32_get(rec->xattr_blks);
}

static inline bool csv_inode_inherits(const struct csv_inode *dir)
{
	return le32_get(dir->rec.flags) & CSV_INODE_PROJINHERIT;
}

/* From here on in this transaction a count may grow no further than its limit allows. Without that
 * it may: what frees, commits or repairs is not held up by a limit. */
void csv_quota_enforce(struct csv_txn *txn);

/* The record of an inode becomes another one: before it does. NULL: there is or will be none.
 * -EDQUOT. Costs nothing while the volume has no projects. */
int csv_quota_change(struct csv_txn *txn, const struct csv_inode_rec *old,
	const struct csv_inode_rec *new) __attribute__((warn_unused_result));
/* Likewise, with the record that is in the inode tree. */
int csv_quota_change_from_tree(struct csv_txn *txn, struct csv_tree *inodes, uint64_t ino,
	const struct csv_inode_rec *new) __attribute__((warn_unused_result));

/* Blocks that a project may still take; UINT64_MAX: as many as it wants. */
int csv_quota_room(struct csv_txn *txn, uint32_t projid, uint64_t *ret)
	__attribute__((warn_unused_result));

/* May inode get a name in dir? -EXDEV: dir gives its project to what is in it, and inode has another
 * one. */
int csv_quota_may_enter(const struct csv_inode *dir, const struct csv_inode *inode)
	__attribute__((warn_unused_result));

/* Checks an entry of the tree. 0, or -ERR_CORRUPT with *why a static sentence. */
int csv_quota_verify(uint64_t key, const void *val, uint32_t len, const char **why)
	__attribute__((warn_unused_result));

/* Sets the counts of a project, for repair. */
int csv_quota_set_use(struct csv_txn *txn, uint32_t projid, uint64_t blks, uint64_t inodes)
	__attribute__((warn_unused_result));

#endif
