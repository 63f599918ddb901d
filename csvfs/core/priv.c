/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a file gives to who runs it: set-user-id, set-group-id, capabilities; and how it loses that. */
#include <errno.h>

#include "csvfs/core/xattr_internal.h"

#define CAPABILITY "security.capability"
#define CAPABILITY_LEN (sizeof(CAPABILITY) - 1)

/* Without the group's right to execute, set-group-id means something else, and stays. */
static uint32_t priv_bits(uint32_t mode)
{
	return (mode & S_ISUID) | (mode & S_IXGRP ? mode & S_ISGID : 0);
}

int csv_priv_get(struct csv_txn *txn, uint64_t ino, bool *ret)
{
	struct csv_inode inode;
	uint32_t len = 0;
	int err = csv_inode_load(txn, ino, &inode);

	if (err)
		return err;
	*ret = priv_bits(le32_get(inode.rec.mode)) != 0;
	if (*ret || le64_get(inode.rec.xattrs.blk) == 0)
		return 0;
	err = csv_xattr_read(txn, &inode, CAPABILITY, CAPABILITY_LEN, NULL, &len);
	*ret = err == 0;
	return err == -ENODATA ? 0 : err;
}

int csv_priv_drop(struct csv_txn *txn, uint64_t ino)
{
	struct csv_inode inode;
	int err = csv_inode_load(txn, ino, &inode);

	if (err)
		return err;
	uint32_t mode = le32_get(inode.rec.mode), bits = priv_bits(mode);
	inode.rec.mode = le32_of(mode & ~bits);
	err = le64_get(inode.rec.xattrs.blk) == 0 ?
		-ENODATA :
		csv_xattr_erase(txn, &inode, CAPABILITY, CAPABILITY_LEN);
	if (err == -ENODATA && !bits)
		return 0;
	return err && err != -ENODATA ? err : csv_inode_store(txn, &inode);
}
