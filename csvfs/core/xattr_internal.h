/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Extended attributes in their tree.
 *
 * A1  An attribute's first piece has the key hash << 16 | index << 8, the others follow it without
 *     a gap; every piece but the last is full. The index is the first that was free.
 * A2  A set replaces piece by piece in one transaction.
 */
#ifndef CSVFS_CORE_XATTR_INTERNAL_H
#define CSVFS_CORE_XATTR_INTERNAL_H

#include "csvfs/core/inode_internal.h"

/* Key of a name's attribute, without index and piece. */
uint64_t csv_xattr_hash(const struct csv_geometry *geom, const char *name, uint32_t len);
/* Pieces of an attribute, and how long piece i is in the tree. */
uint32_t csv_xattr_nr_pieces(uint32_t name_len, uint32_t value_len);
uint32_t csv_xattr_piece_len(uint32_t name_len, uint32_t value_len, uint32_t i);
/* Checks a first piece as it was read. 0, or -ERR_CORRUPT with *why a static sentence. */
int csv_xattr_verify(uint64_t key, const void *val, uint32_t len, const char **why)
	__attribute__((warn_unused_result));

void csv_xattr_tree_get(const struct csv_inode *inode, struct csv_tree *ret);
int csv_xattr_tree_put(struct csv_inode *inode, const struct csv_tree *tree)
	__attribute__((warn_unused_result));

/* The public functions on a loaded inode, which the caller stores. */
int csv_xattr_read(struct csv_txn *txn, const struct csv_inode *inode, const char *name,
	uint32_t name_len, void *buf, uint32_t *len) __attribute__((warn_unused_result));
int csv_xattr_write(struct csv_txn *txn, struct csv_inode *inode, const char *name,
	uint32_t name_len, const void *value, uint32_t len, unsigned flags)
	__attribute__((warn_unused_result));
int csv_xattr_erase(struct csv_txn *txn, struct csv_inode *inode, const char *name,
	uint32_t name_len) __attribute__((warn_unused_result));

/* acl.c: the mode of a loaded inode was set: its access list follows. */
int csv_acl_mode_set(struct csv_txn *txn, struct csv_inode *inode)
	__attribute__((warn_unused_result));

#endif
