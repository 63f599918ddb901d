/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Blocks that are others': the log's headers, and the nodes' slots. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blockdev/bdev.h"
#include "csvfs/core/check_internal.h"
#include "util/checked.h"
#include "util/err.h"

typedef unsigned long long ull;

static bool is_zero(const uint8_t *block)
{
	return block[0] == 0 && memcmp(block, block + 1, CSV_BLOCK_BYTES - 1) == 0;
}

static int check_slot(struct check *c, uint32_t node, uint8_t *buf)
{
	uint64_t blk = CSV_SLOT_BLK + node - 1;
	const char *why;
	int err = bdev_pread(c->fs->queue, buf, CSV_BLOCK_BYTES, blk * CSV_BLOCK_BYTES);

	if (err == -ENOMEM)
		return err;
	if (err)
		check_say(c, "read-error", "block %llu (slot of node %u): %s", (ull)blk, node,
			err_str(err));
	else if (is_zero(buf) || csv_hdr_verify(buf, blk, CSV_BT_SLOT, c->geom->uuid, &why) == 0)
		return 0;
	else
		check_say(c, "bad-slot", "block %llu (slot of node %u): %s", (ull)blk, node, why);
	check_fix(c, &(struct check_fix){ .kind = FIX_SLOT, .blk = blk });
	return 0;
}

/* Their nodes write them: they are not in the engine's cache. */
int check_slots(struct check *c)
{
	uint8_t *buf = aligned_alloc(CSV_BLOCK_BYTES, CSV_BLOCK_BYTES);
	int err = buf ? 0 : -ENOMEM;

	for (uint32_t node = 1; node <= CSV_MAX_NODES && !err; node++)
		err = check_slot(c, node, buf);
	free(buf);
	return err;
}

int csv_check_log(struct csv_fs *fs, void (*msg)(void *arg, const char *text), void *arg,
	uint64_t *ret_errors)
{
	struct csv_check_report report = { 0 };
	struct check c = { .fs = fs, .geom = &fs->geom, .msg = msg, .arg = arg, .report = &report };

	for (unsigned slot = 0; slot < 2; slot++) {
		uint64_t blk;
		int err = jnl_check_header(fs->queue, fs->geom.journal_blk,
			fs->geom.journal_nr_blks, fs->geom.uuid, slot, &blk);

		if (err == -ENOMEM)
			return err;
		if (err)
			check_say(&c, "log-header", "block %llu: %s", (ull)blk, err_str(err));
	}
	*ret_errors = report.errors;
	return 0;
}

/* The newest epoch that any of the fixed blocks has heard of. */
static int newest_epoch(struct csv_fs *fs, uint64_t *ret)
{
	uint8_t *buf = aligned_alloc(CSV_BLOCK_BYTES, CSV_BLOCK_BYTES);
	const struct csv_blk_hdr *h = (const void *)buf;
	int err = buf ? 0 : -ENOMEM;

	*ret = 0;
	for (uint64_t blk = CSV_ROOT_BLK; blk < CSV_SESS_BLK + CSV_MAX_NODES && !err; blk++) {
		const char *why;

		if (blk > CSV_ROOT_BLK && blk < CSV_SLOT_BLK)
			continue;
		if (bdev_pread(fs->queue, buf, CSV_BLOCK_BYTES, blk * CSV_BLOCK_BYTES) == 0 &&
			csv_hdr_verify(buf, blk, le16_get(h->type), fs->geom.uuid, &why) == 0)
			*ret = MAX(*ret, le64_get(h->epoch));
	}
	free(buf);
	return err;
}

int csv_log_reset(struct csv_fs *fs)
{
	uint64_t epoch;
	int err = fs->state == CSV_FS_NEW ? newest_epoch(fs, &epoch) : -EBUSY;

	return err ? err : jnl_format(fs->queue, fs->geom.journal_blk, fs->geom.journal_nr_blks,
				   fs->geom.uuid, epoch + 1);
}
