/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/crash/hooks.h"

#include "csvfs/core/alloc_internal.h"
#include "csvfs/core/core_internal.h"

void (*hook_committed)(void *arg, const struct seen_txn *txn, uint64_t seq);
void *hook_arg;
enum hook_twin hook_twin;
uint64_t hook_ops_put;

static struct seen_txn seen;

/* Each name twice: the real function, and what is called in its place. */
void __real_csv_txn_begin(struct csv_txn *txn, struct csv_fs *fs, bool had_checkpoint);
void __wrap_csv_txn_begin(struct csv_txn *txn, struct csv_fs *fs, bool had_checkpoint);
int __real_csv_txn_commit(struct csv_txn *txn);
int __wrap_csv_txn_commit(struct csv_txn *txn);
int __real_csv_result_get(struct csv_txn *txn, uint32_t node, uint64_t generation, uint32_t slot,
	struct csv_result *ret);
int __wrap_csv_result_get(struct csv_txn *txn, uint32_t node, uint64_t generation, uint32_t slot,
	struct csv_result *ret);
int __real_csv_result_put(struct csv_txn *txn, uint32_t node, uint64_t generation, uint32_t slot,
	const struct csv_result *result);
int __wrap_csv_result_put(struct csv_txn *txn, uint32_t node, uint64_t generation, uint32_t slot,
	const struct csv_result *result);
int __real_csv_inode_set(struct csv_txn *txn, uint64_t ino, unsigned mask,
	const struct csv_attr *attr, struct csv_attr *ret);
int __wrap_csv_inode_set(struct csv_txn *txn, uint64_t ino, unsigned mask,
	const struct csv_attr *attr, struct csv_attr *ret);
int __real_csv_extent_written(struct csv_txn *txn, uint64_t ino, uint64_t blk, uint64_t nr);
int __wrap_csv_extent_written(struct csv_txn *txn, uint64_t ino, uint64_t blk, uint64_t nr);
void __real_csv_txn_preflush(struct csv_txn *txn);
void __wrap_csv_txn_preflush(struct csv_txn *txn);
int __real_csv_alloc_hold(struct alloc_txn *cur, uint64_t ag, uint32_t bitmap, uint32_t bit,
	uint32_t nr);
int __wrap_csv_alloc_hold(struct alloc_txn *cur, uint64_t ag, uint32_t bitmap, uint32_t bit,
	uint32_t nr);
void __real_jnl_wait_written(struct jnl *jnl, uint64_t seq, struct jnl_wait *wait);
void __wrap_jnl_wait_written(struct jnl *jnl, uint64_t seq, struct jnl_wait *wait);

void __wrap_csv_txn_begin(struct csv_txn *txn, struct csv_fs *fs, bool had_checkpoint)
{
	seen = (struct seen_txn){ .fs = fs };
	__real_csv_txn_begin(txn, fs, had_checkpoint);
}

int __wrap_csv_txn_commit(struct csv_txn *txn)
{
	bool changed = txn->nr_writes > 0;
	int err = __real_csv_txn_commit(txn);

	if (!err && changed && hook_committed)
		hook_committed(hook_arg, &seen, txn->fs->last_seq);
	return err;
}

int __wrap_csv_result_get(struct csv_txn *txn, uint32_t node, uint64_t generation, uint32_t slot,
	struct csv_result *ret)
{
	int err = __real_csv_result_get(txn, node, generation, slot, ret);

	if (!err && hook_twin == TWIN_FORGET_SLOTS && hook_committed)
		ret->seq = 0;
	return err;
}

int __wrap_csv_result_put(struct csv_txn *txn, uint32_t node, uint64_t generation, uint32_t slot,
	const struct csv_result *result)
{
	int err = __real_csv_result_put(txn, node, generation, slot, result);

	if (!err) {
		seen.put = true;
		seen.node = node;
		seen.slot = slot;
		seen.generation = generation;
		seen.result = *result;
		hook_ops_put |= 1ull << result->op % 64;
	}
	return err;
}

int __wrap_csv_inode_set(struct csv_txn *txn, uint64_t ino, unsigned mask,
	const struct csv_attr *attr, struct csv_attr *ret)
{
	int err = __real_csv_inode_set(txn, ino, mask, attr, ret);

	if (!err) {
		seen.set = true;
		seen.ino = ino;
		seen.mask |= mask;
		if (mask & CSV_SET_SIZE)
			seen.size = attr->size;
	}
	return err;
}

int __wrap_csv_extent_written(struct csv_txn *txn, uint64_t ino, uint64_t blk, uint64_t nr)
{
	int err = __real_csv_extent_written(txn, ino, blk, nr);

	if (!err && seen.nr_written < 16) {
		seen.written_ino = ino;
		seen.blk[seen.nr_written] = blk;
		seen.nr[seen.nr_written++] = nr;
	}
	return err;
}

void __wrap_csv_txn_preflush(struct csv_txn *txn)
{
	if (hook_twin != TWIN_NO_PREFLUSH)
		__real_csv_txn_preflush(txn);
}

int __wrap_csv_alloc_hold(struct alloc_txn *cur, uint64_t ag, uint32_t bitmap, uint32_t bit,
	uint32_t nr)
{
	if (hook_twin == TWIN_REUSE)
		return 0;
	return __real_csv_alloc_hold(cur, ag, bitmap, bit, nr);
}

void __wrap_jnl_wait_written(struct jnl *jnl, uint64_t seq, struct jnl_wait *wait)
{
	if (hook_twin == TWIN_EARLY_REPLY)
		seq = jnl_written_seq(jnl);
	__real_jnl_wait_written(jnl, seq, wait);
}
