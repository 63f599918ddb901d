/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inodes as the engine's operations hold them: a checked copy of the record, which they change and
 * store back. An operation loads each inode once, so that no two copies differ.
 */
#ifndef CSVFS_CORE_INODE_INTERNAL_H
#define CSVFS_CORE_INODE_INTERNAL_H

#include <sys/stat.h>

#include "csvfs/core/btree.h"

#define CSV_LINK_MAX 0x7fffffffu
#define CSV_FILE_MAX_BYTES INT64_MAX
#define CSV_FILE_MAX_BLKS (1ull << 51)

struct csv_inode {
	uint64_t ino;
	struct csv_inode_rec rec;
	uint8_t data[CSV_INLINE_MAX]; /* rec.inline_len bytes */
};

static inline bool csv_inode_is_layer(const struct csv_inode_rec *rec)
{
	return le32_get(rec->flags) & CSV_INODE_LAYER;
}

static inline uint64_t csv_inode_tree_owner(const struct csv_inode_rec *rec, uint64_t ino)
{
	return le64_get(rec->tree_owner) ? le64_get(rec->tree_owner) : ino;
}

/* Checks a record as it was read: len bytes. 0, or -ERR_CORRUPT with *why a static sentence. */
int csv_inode_verify(const void *val, uint32_t len, uint64_t ino, const struct csv_geometry *geom,
	const char **why) __attribute__((warn_unused_result));

/* -ESTALE: no such inode. */
int csv_inode_load(struct csv_txn *txn, uint64_t ino, struct csv_inode *ret)
	__attribute__((warn_unused_result));
int csv_inode_store(struct csv_txn *txn, const struct csv_inode *inode)
	__attribute__((warn_unused_result));
/* Gives inode a new number, and its record a place. */
int csv_inode_insert(struct csv_txn *txn, struct csv_inode *inode)
	__attribute__((warn_unused_result));
int csv_inode_remove(struct csv_txn *txn, uint64_t ino) __attribute__((warn_unused_result));

/* Its tree, and back with what has become of it (root, blocks). */
void csv_inode_tree_get(const struct csv_inode *inode, struct csv_tree *ret);
int csv_inode_tree_put(struct csv_inode *inode, const struct csv_tree *tree)
	__attribute__((warn_unused_result));

/* Adds to nr_blks. -ERR_CORRUPT: it would fall below zero. */
int csv_inode_add_blks(struct csv_inode *inode, int64_t nr) __attribute__((warn_unused_result));

void csv_inode_attr(const struct csv_inode *inode, struct csv_attr *ret);

static inline uint32_t csv_inode_fmt(const struct csv_inode *inode)
{
	return le32_get(inode->rec.mode) & S_IFMT;
}

static inline uint32_t csv_inode_nlink(const struct csv_inode *inode)
{
	return le32_get(inode->rec.nlink);
}

static inline uint8_t csv_inode_dt(const struct csv_inode *inode)
{
	return csv_inode_fmt(inode) >> 12;
}

/* Loads a regular file. -EISDIR, -EINVAL (neither), -ESTALE. */
int csv_inode_load_file(struct csv_txn *txn, uint64_t ino, struct csv_inode *ret)
	__attribute__((warn_unused_result));

/* A target that is too long for the record: into the tree of a new symlink, which is stored; and out
 * of it (inline.c). */
int csv_symlink_put(struct csv_txn *txn, struct csv_inode *inode, const char *target)
	__attribute__((warn_unused_result));
int csv_symlink_drop(struct csv_txn *txn, struct csv_inode *inode)
	__attribute__((warn_unused_result));

/* Puts an inode whose nlink has become 0 on the orphan list (orphan.c). */
int csv_orphan_add(struct csv_txn *txn, uint64_t ino) __attribute__((warn_unused_result));
/* Off it again: it gets a name. */
int csv_orphan_del(struct csv_txn *txn, uint64_t ino) __attribute__((warn_unused_result));

#endif
