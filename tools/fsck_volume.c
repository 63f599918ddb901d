/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * While it repairs, fsck.csvfs is to other nodes what a mount with -o single is: it takes node 1's slot
 * and lets its beat move, fences who left without a word, and is refused where somebody's beat moves.
 */
#include "tools/fsck_volume.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "blockdev/bdev.h"
#include "journal/journal.h"
#include "lockmgr/lockmgr.h"
#include "tools/in_use.h"
#include "util/err.h"
#include "util/loop.h"

#define SLOT_BLK 64u
#define CACHE_BYTES (128ull << 20)

static int fail(char **ret_why, int err, const char *what, const char *why)
{
	if (asprintf(ret_why, "%s: %s", what, why ? why : err_str(err)) < 0)
		*ret_why = NULL;
	return err;
}

/* ---- the claim ---- */

static void become_coordinator(void *arg)
{
	((struct fsck_volume *)arg)->coordinates = true;
}

static void coordinator(void *arg, const struct lm_coordinator *coord)
{
}

static void node_gone(void *arg, uint32_t node, uint64_t generation)
{
}

static void membership(void *arg, uint64_t member_mask, bool quorate)
{
}

static void fenced(void *arg, const char *why)
{
	struct fsck_volume *vol = arg;

	fprintf(stderr, "fsck.csvfs: another node has taken the volume: %s\n", why);
	vol->gone = true;
	bdev_fence_self(vol->bdev);
}

static void step_down(void *arg, const char *why)
{
	fenced(arg, why);
}

static const struct lm_ops lock_ops = {
	.become_coordinator = become_coordinator,
	.coordinator = coordinator,
	.node_gone = node_gone,
	.membership = membership,
	.fenced = fenced,
	.step_down = step_down,
};

static int claim(struct fsck_volume *vol, char **ret_why)
{
	struct lm_cfg cfg = { .loop = vol->loop, .bdev = vol->bdev, .slot_blk = SLOT_BLK,
		.single = true, .name = "fsck.csvfs", .ops = &lock_ops, .arg = vol };
	char *why = NULL;

	memcpy(cfg.uuid, vol->geom.uuid, sizeof(cfg.uuid));
	int err = lm_new(&cfg, &vol->lm);
	if (!err)
		err = bdev_queue_open(vol->bdev, vol->loop, &vol->queue);
	if (!err)
		err = lm_join(vol->lm, vol->queue, &why);
	if (err) {
		fail(ret_why, err, vol->uri, why);
		free(why);
		return err;
	}
	while (!vol->coordinates && !vol->gone)
		loop_run_once(vol->loop, true);
	return vol->gone ? -ERR_FENCED : 0;
}

/* ---- the device ---- */

static int open_device(struct fsck_volume *vol, char **ret_why)
{
	struct bdev_opts opts = { .auth_file = vol->auth_file, .readonly = vol->look };
	struct bdev *top;
	char *why = NULL;
	int err;

	if (in_use_here(vol->uri))
		return fail(ret_why, -EBUSY, vol->uri, "it is in use (mounted, or part of something)");
	err = loop_new(&vol->loop);
	if (!err)
		err = bdev_open(vol->uri, &opts, &vol->bdev, &why);
	if (!err && vol->look) {
		err = bdev_overlay_new(vol->bdev, &top);
		if (!err)
			vol->bdev = top;
	}
	if (err)
		fail(ret_why, err, vol->uri, why);
	free(why);
	return err;
}

/* The superblock is read before the queue that is claimed is opened. */
static int read_super(struct fsck_volume *vol, char **ret_why)
{
	int err = bdev_queue_open(vol->bdev, vol->loop, &vol->queue);
	char why[96];

	if (!err)
		err = csv_super_read(vol->queue, &vol->geom);
	if (err)
		return fail(ret_why, err, vol->uri,
			err == -ERR_NOTCSV ? "it holds no csvfs volume"
			: err == -ERR_CORRUPT ? "no copy of the superblock is valid"
			: err == -ENOSPC      ? "the device is shorter than the volume"
					      : NULL);
	if (!vol->look)
		return 0;
	uint32_t node = in_use_by_node(vol->queue, vol->geom.uuid);
	if (!node)
		return 0;
	snprintf(why, sizeof(why), "it is mounted on node %u; check it there with csvadm check",
		node);
	return fail(ret_why, -EBUSY, vol->uri, why);
}

int fsck_open(struct fsck_volume *vol, char **ret_why)
{
	int err = open_device(vol, ret_why);

	if (!err)
		err = read_super(vol, ret_why);
	if (err || vol->look)
		return err;
	bdev_queue_close(vol->queue);
	vol->queue = NULL;
	return claim(vol, ret_why);
}

static void left(void *arg)
{
	*(bool *)arg = true;
}

void fsck_close(struct fsck_volume *vol)
{
	bool done = false;

	if (vol->lm && vol->queue) {
		lm_leave(vol->lm, left, &done);
		while (!done)
			loop_run_once(vol->loop, true);
	}
	if (vol->lm)
		lm_free(vol->lm);
	bdev_queue_close(vol->queue);
	bdev_close(vol->bdev);
	loop_free(vol->loop);
}

/* ---- the engine ---- */

struct wait {
	struct fsck_volume *vol;
	bool done;
	int status;
};

static void closed(void *arg, int status)
{
	struct wait *w = arg;

	w->status = status;
	w->done = true;
}

static void recovered(void *arg, int status, uint64_t nr_records, uint64_t nr_blks)
{
	struct wait *w = arg;

	w->vol->replayed += nr_records;
	closed(arg, status);
}

static int wait_for(struct fsck_volume *vol, const struct wait *w)
{
	while (!w->done)
		loop_run_once(vol->loop, true);
	return w->status;
}

static int recover(struct fsck_volume *vol, uint64_t epoch)
{
	struct wait w = { .vol = vol };
	int err = csv_fs_recover(vol->fs, epoch, 1, recovered, &w);

	return err ? err : wait_for(vol, &w);
}

static int engine_new(struct fsck_volume *vol, bool hole_ok)
{
	struct csv_fs_cfg cfg = { .queue = vol->queue, .cache_bytes = CACHE_BYTES,
		.log_hole_ok = hole_ok };

	csv_fs_free(vol->fs);
	vol->fs = NULL;
	return csv_fs_new(&cfg, &vol->fs);
}

static int replay(struct fsck_volume *vol)
{
	struct jnl_header header;
	int err = jnl_read_header(vol->queue, vol->geom.journal_blk, vol->geom.journal_nr_blks,
		vol->geom.uuid, &header);

	if (!err)
		err = recover(vol, header.epoch + 1);
	if (!err && vol->lm)
		lm_serving(vol->lm, header.epoch + 1);
	return err;
}

/* The log cannot be replayed: what of it can, or it is emptied. Each try takes an engine of its own. */
static int repair_log(struct fsck_volume *vol, uint64_t hole)
{
	int err = hole ? engine_new(vol, true) : -ERR_CORRUPT;

	if (!err)
		err = replay(vol);
	if (err != -ERR_CORRUPT)
		return err;
	err = engine_new(vol, false);
	if (!err)
		err = csv_log_reset(vol->fs);
	return err ? err : replay(vol);
}

static void say_log(uint64_t hole, void (*msg)(void *arg, const char *text), void *arg)
{
	char text[96];

	if (hole)
		snprintf(text, sizeof(text), "log-hole: record %llu of the log is damaged",
			(unsigned long long)hole);
	msg(arg, hole ? text : "bad-log: the log cannot be replayed");
}

int fsck_engine_open(struct fsck_volume *vol, bool reset, void (*msg)(void *arg, const char *text),
	void *arg, uint64_t *ret_errors)
{
	int err = engine_new(vol, false);

	if (!err)
		err = csv_check_log(vol->fs, msg, arg, ret_errors);
	if (!err)
		err = replay(vol);
	if (err == -ERR_CORRUPT && vol->fs) {
		uint64_t hole = jnl_hole(csv_fs_journal(vol->fs));

		say_log(hole, msg, arg);
		*ret_errors += 1;
		if (reset)
			err = repair_log(vol, hole);
	}
	if (err) {
		csv_fs_free(vol->fs);
		vol->fs = NULL;
	}
	return err;
}

int fsck_engine_close(struct fsck_volume *vol)
{
	struct wait w = { .vol = vol };

	csv_fs_close(vol->fs, closed, &w);
	wait_for(vol, &w);
	csv_fs_free(vol->fs);
	vol->fs = NULL;
	return w.status;
}
