/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Repairs of blocks at fixed places, of bitmaps and of counts. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blockdev/bdev.h"
#include "csvfs/core/alloc_internal.h"
#include "csvfs/core/repair_internal.h"
#include "util/err.h"

/* Not through the log: each copy is good or not by itself, and the one that was read is not touched
 * unless another one was good. */
int repair_super(struct repair *r, const struct check_fix *fix)
{
	void *block = aligned_alloc(CSV_BLOCK_BYTES, CSV_BLOCK_BYTES);
	struct csv_blk_hdr *h = block;
	int err;

	if (!block)
		return -ENOMEM;
	memset(block, 0, CSV_BLOCK_BYTES);
	h->type = le16_of(CSV_BT_SUPER);
	csv_super_encode(block, r->c->geom);
	err = csv_blk_seal(block, fix->blk, r->c->geom, 0, 0);
	if (!err)
		err = bdev_pwrite(r->fs->queue, block, CSV_BLOCK_BYTES,
			fix->blk * CSV_BLOCK_BYTES);
	if (!err)
		err = bdev_flush_sync(r->fs->queue);
	free(block);
	return err;
}

/* As if its node had never mounted the volume. Nobody else has: the caller has seen to that. */
int repair_slot(struct repair *r, const struct check_fix *fix)
{
	void *block = aligned_alloc(CSV_BLOCK_BYTES, CSV_BLOCK_BYTES);
	int err;

	if (!block)
		return -ENOMEM;
	memset(block, 0, CSV_BLOCK_BYTES);
	err = bdev_pwrite(r->fs->queue, block, CSV_BLOCK_BYTES, fix->blk * CSV_BLOCK_BYTES);
	free(block);
	return err;
}

int repair_session(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	void *block;

	return csv_txn_new(txn, fix->blk, CSV_BT_SESSION, fix->blk - CSV_SESS_BLK + 1, &block);
}

/* ---- groups ---- */

/* A bitmap as it should be. all: what is marked in use stays so. */
static int bitmap_fix(struct csv_txn *txn, struct repair *r, uint64_t ag, uint32_t nr, bool all,
	uint64_t *free_blks)
{
	uint64_t blk = ag_first_blk(r->fs->alloc, ag) + 1 + nr;
	bool lost = check_is_bad(r->c, blk);
	struct csv_bitmap *bm;
	int err;

	if (lost)
		err = csv_txn_new(txn, blk, CSV_BT_BITMAP, ag, (void **)&bm);
	else
		err = csv_txn_write(txn, blk, CSV_BT_BITMAP, (void **)&bm);
	for (uint32_t i = 0; i < BITMAP_WORDS && !err; i++) {
		uint64_t word = check_want_word(r->c, ag, nr, i);
		struct le64 w;

		memcpy(&w, bm->bits + i * 8, sizeof(w));
		if (lost && r->c->structure) /* (R3) */
			word = ~0ull;
		else if (!lost && all)
			word |= le64_get(w);
		w = le64_of(word);
		memcpy(bm->bits + i * 8, &w, sizeof(w));
		*free_blks += __builtin_popcountll(~word);
	}
	return err;
}

static int group_fix(struct csv_txn *txn, struct repair *r, uint64_t ag, bool all)
{
	uint64_t first = ag_first_blk(r->fs->alloc, ag), free_blks = 0;
	uint32_t nr_bitmaps = r->c->geom->ag_blks / CSV_BITMAP_BITS;
	struct csv_ag *hdr;
	int err = nr_bitmaps + 1 > JNL_TXN_MAX_BLOCKS ? -EOPNOTSUPP : 0;

	for (uint32_t i = 0; i < nr_bitmaps && !err; i++)
		err = bitmap_fix(txn, r, ag, i, all, &free_blks);
	if (err)
		return err;
	if (check_is_bad(r->c, first))
		err = csv_txn_new(txn, first, CSV_BT_AG, 0, (void **)&hdr);
	else
		err = csv_txn_write(txn, first, CSV_BT_AG, (void **)&hdr);
	if (err)
		return err;
	hdr->nr_blks = le64_of(ag_nr_blks(r->fs->alloc, ag));
	hdr->free_blks = le64_of(free_blks);
	return 0;
}

int repair_group_used(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	return group_fix(txn, r, fix->arg, true);
}

int repair_group(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	return group_fix(txn, r, fix->arg, false);
}

int repair_root_free_sum(struct repair *r, uint64_t *ret)
{
	uint64_t sum = 0;
	int err = 0;

	for (uint64_t ag = 0; ag < r->c->geom->nr_ags && !err; ag++) {
		const struct csv_ag *hdr = (const void *)r->buf;
		bool ok;

		err = check_read(r->c, ag_first_blk(r->fs->alloc, ag), CSV_BT_AG, "a group", r->buf,
			&ok);
		if (!err && !ok)
			err = -ERR_CORRUPT;
		if (!err)
			sum += le64_get(hdr->free_blks);
	}
	*ret = sum;
	return err;
}

/* ---- counts of the root block ---- */

static int root_count(struct csv_txn *txn, size_t off, uint64_t n)
{
	const struct csv_root *root;
	struct csv_root *to;
	struct le64 count;
	int err = csv_root_read(txn, &root);

	if (err)
		return err;
	memcpy(&count, (const char *)root + off, sizeof(count));
	if (le64_get(count) == n)
		return -EALREADY;
	err = csv_root_write(txn, &to);
	if (err)
		return err;
	count = le64_of(n);
	memcpy((char *)to + off, &count, sizeof(count));
	return 0;
}

int repair_root_free(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	return root_count(txn, offsetof(struct csv_root, free_blks), fix->arg);
}

int repair_next_ino(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	return root_count(txn, offsetof(struct csv_root, next_ino), fix->arg);
}

int repair_nr_inodes(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	return root_count(txn, offsetof(struct csv_root, nr_inodes), fix->arg);
}
