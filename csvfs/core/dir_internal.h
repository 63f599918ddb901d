/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Directories.
 *
 * D1  A directory's size is its number of entries; its nlink is 2 and one for each subdirectory,
 *     or 0 when it has been removed.
 * D2  An entry's key is the seeded hash of its name, and the first index that was free.
 * D3  A directory has one name, in its rec.parent; following parents leads to the root.
 * D4  An errno (but for -ENOSPC) is found out before anything is changed.
 */
#ifndef CSVFS_CORE_DIR_INTERNAL_H
#define CSVFS_CORE_DIR_INTERNAL_H

#include "csvfs/core/inode_internal.h"

/* What a search for a name found. */
struct csv_name {
	const char *name;
	uint32_t len;
	uint64_t key;	   /* of the entry; if there is none, of where it would go (0 = full) */
	uint64_t ino;	   /* 0 = there is none */
	uint8_t type;	   /* DT_* of the entry */
};

/* Key of a name without its collision index. */
uint64_t csv_name_hash(const struct csv_geometry *geom, const char *name, uint32_t len);

/* Checks an entry as it was read. 0, or -ERR_CORRUPT with *why a static sentence. */
int csv_dirent_verify(uint64_t key, const void *val, uint32_t len, const char **why)
	__attribute__((warn_unused_result));
/* Likewise, with a line in the log that names the directory. */
int csv_dirent_check(const struct csv_tree *tree, uint64_t key, const void *val, uint32_t len)
	__attribute__((warn_unused_result));

/* -EINVAL: no name for an entry. -ENAMETOOLONG. */
int csv_name_check(const char *name, uint32_t len) __attribute__((warn_unused_result));

/* Loads a directory. -ENOTDIR, -ESTALE. */
int csv_dir_load(struct csv_txn *txn, uint64_t ino, struct csv_inode *ret)
	__attribute__((warn_unused_result));

/* Looks a name up: ret->ino is 0 if there is none. Checks the name, too. */
int csv_dir_find(struct csv_txn *txn, const struct csv_inode *dir, const char *name, uint32_t len,
	struct csv_name *ret) __attribute__((warn_unused_result));
/* As csv_dir_find(), and loads what the name leads to. -ENOENT. */
int csv_dir_get(struct csv_txn *txn, const struct csv_inode *dir, const char *name, uint32_t len,
	struct csv_name *ret, struct csv_inode *ret_inode) __attribute__((warn_unused_result));

/* The three changes; dir's record follows (size, tree, mtime and ctime) and is the caller's to
 * store. name is fresh from csv_dir_find(). */
int csv_dir_add(struct csv_txn *txn, struct csv_inode *dir, const struct csv_name *name,
	const struct csv_inode *inode, int64_t now_ns) __attribute__((warn_unused_result));
int csv_dir_replace(struct csv_txn *txn, struct csv_inode *dir, const struct csv_name *name,
	const struct csv_inode *inode, int64_t now_ns) __attribute__((warn_unused_result));
int csv_dir_remove(struct csv_txn *txn, struct csv_inode *dir, const struct csv_name *name,
	int64_t now_ns) __attribute__((warn_unused_result));

void csv_inode_add_nlink(struct csv_inode *inode, int nr);
/* inode has lost a name: nlink (0 for a directory), ctime, orphan list; stores it. */
int csv_inode_unlinked(struct csv_txn *txn, struct csv_inode *inode, int64_t now_ns)
	__attribute__((warn_unused_result));

#endif
