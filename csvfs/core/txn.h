/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Cached metadata blocks and transactions over them (docs/DESIGN.md, E1 to E5). Inside the engine
 * only.
 *
 * T1  A block's cached content changes only inside of a transaction that holds a before-image of
 *     it; abort puts every before-image back and forgets new blocks.
 * T2  A buffer that is in the journal's open compound, or modified by the running transaction, is
 *     not evicted. Anything else may be: the journal (jnl_peek) or the device has its content.
 * T3  Every block is verified (checksum, then header, then its type's structure) when it is read,
 *     and its structure once more when it is sealed for the log.
 * T4  A pointer to a block's data is valid until the run() that got it returns.
 */
#ifndef CSVFS_CORE_TXN_H
#define CSVFS_CORE_TXN_H

#include "csvfs/core/format.h"
#include "csvfs/core/fs.h"

struct csv_txn;

/* For each block type; verify_* get 4 KiB, the checksum is right. 0 or -ERR_CORRUPT, with *why a
 * static sentence. */
struct csv_blk_ops {
	const char *name;
	enum csv_blk_type type;
	int (*verify)(const void *block, const struct csv_geometry *geom, const char **why);
};
const struct csv_blk_ops *csv_blk_ops(enum csv_blk_type type);

/* Checks checksum, header and structure of a block that should be blk of this type. Logs what is
 * wrong. */
int csv_blk_verify(const void *block, uint64_t blk, enum csv_blk_type type,
	const struct csv_geometry *geom) __attribute__((warn_unused_result));
/* Verifies structure, then fills in header fields and checksum. */
int csv_blk_seal(void *block, uint64_t blk, const struct csv_geometry *geom, uint64_t epoch,
	uint64_t seq) __attribute__((warn_unused_result));

/* The content of a block, to read. -ERR_WAIT, -ERR_CORRUPT. */
int csv_txn_read(struct csv_txn *txn, uint64_t blk, enum csv_blk_type type, const void **ret)
	__attribute__((warn_unused_result, nonnull));
/* Likewise, to change: the first time in a transaction a before-image is kept. Refuses with -EFBIG
 * when the transaction would exceed JNL_TXN_MAX_BLOCKS (a bug of the caller's bound). */
int csv_txn_write(struct csv_txn *txn, uint64_t blk, enum csv_blk_type type, void **ret)
	__attribute__((warn_unused_result, nonnull));
/* A block without history: zeroed, header type and owner set. The caller has allocated it. */
int csv_txn_new(struct csv_txn *txn, uint64_t blk, enum csv_blk_type type, uint64_t owner,
	void **ret) __attribute__((warn_unused_result, nonnull));
/* The block is freed (csv_alloc_free was called): its buffer is of no use any more. */
void csv_txn_forget(struct csv_txn *txn, uint64_t blk);

/* The transaction must be preceded by a flush (JNL_PREFLUSH). */
void csv_txn_preflush(struct csv_txn *txn);
/* The transaction changes attributes or names of this inode (csv_op.changed). */
void csv_txn_changed(struct csv_txn *txn, uint64_t ino);
/* Blocks written so far, to bound work. */
uint32_t csv_txn_nr_blks(const struct csv_txn *txn);
struct csv_fs *csv_txn_fs(const struct csv_txn *txn);

/* fn(arg) runs when the transaction commits with sequence seq / aborts: for in-memory state that
 * must follow (the allocator's busy list). Commits run in the order of hooking in, aborts newest
 * first; hook is the caller's, and may be freed in its function. */
struct csv_txn_hook {
	void (*commit)(struct csv_txn_hook *hook, uint64_t seq);
	void (*abort)(struct csv_txn_hook *hook);
	struct csv_txn_hook *next; /* private */
};
void csv_txn_hook(struct csv_txn *txn, struct csv_txn_hook *hook);

/* Asks the driver to checkpoint and run the operation again, once, since freed space is held back
 * (E5): return its value. -ERR_WAIT, or -ENOSPC when that was tried already. */
int csv_txn_want_checkpoint(struct csv_txn *txn) __attribute__((warn_unused_result));

#endif
