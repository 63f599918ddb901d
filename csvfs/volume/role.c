/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The coordinator role (V1).
 *
 *   none        -> recovering   become_coordinator: a new engine takes the volume over
 *   recovering  -> serving      replayed: coord exists, everybody is told
 *   serving     -> closing      resigned, stepped down, failed
 *   closing     -> none         the engine is closed
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "csvfs/volume/volume_internal.h"
#include "journal/journal.h"
#include "util/err.h"
#include "util/log.h"

#define AWAIT_S 10.0
#define SYNC_S 1.0

/* ---- metadata becomes stable within about a second, also when nobody asks ---- */

static void synced(void *arg, int status)
{
	((struct volume *)arg)->syncing = false; /* a failure is the engine's to tell of */
}

static void sync_due(struct ev_loop *ev, ev_timer *timer, int revents)
{
	struct volume *vol = timer->data;
	const struct jnl *jnl = csv_fs_journal(vol->fs);

	if (vol->syncing || jnl_written_seq(jnl) == jnl_stable_seq(jnl))
		return;
	vol->syncing = true;
	csv_fs_sync(vol->fs, synced, vol);
}

static void role_closed(void *arg, int status)
{
	struct volume *vol = arg;

	if (status)
		log_warn("the metadata engine ended with: %s; the next coordinator replays",
			err_str(status));
	coord_free(vol->coord);
	vol->coord = NULL;
	csv_fs_free(vol->fs);
	vol->fs = NULL;
	vol->role = ROLE_NONE;
	vol->give_up = false;
	vol->term++;
	if (vol->coordinator.node == vol->self)
		node_disconnected(vol->node);
	lm_resign(vol->lm, vol->resign_to);
	volume_role_closed(vol);
}

static void engine_close(void *arg)
{
	struct volume *vol = arg;

	csv_fs_close(vol->fs, role_closed, vol);
}

void role_close(struct volume *vol, uint32_t resign_to)
{
	vol->resign_to = resign_to;
	if (vol->role == ROLE_NONE) {
		volume_role_closed(vol);
		return;
	}
	if (vol->role == ROLE_RECOVERING) {
		vol->give_up = true; /* recovered() comes back here */
		return;
	}
	if (vol->role == ROLE_CLOSING)
		return;
	vol->role = ROLE_CLOSING;
	ev_timer_stop(loop_ev(vol->loop), &vol->sync_timer);
	vscrub_end(vol, "the coordinator role has left this node");
	ev_timer_stop(loop_ev(vol->loop), &vol->await_timer);
	channel_drop_peers(vol);
	if (vol->coord)
		coord_stop(vol->coord, engine_close, vol);
	else
		engine_close(vol);
}

void role_step_down(void *arg, const char *why)
{
	struct volume *vol = arg;

	if (vol->role == ROLE_NONE)
		return;
	log_warn("this node stops coordinating: %s", why);
	role_close(vol, 0);
}

static void engine_failed(void *arg, int err)
{
	struct volume *vol = arg;

	log_error("writing metadata has failed: %s; this node stops coordinating, another one or a "
		  "remount replays the log",
		err_str(err));
	if (vol->role == ROLE_SERVING)
		role_close(vol, 0);
}

static void coord_serves(void *arg)
{
	struct volume *vol = arg;

	ev_timer_stop(loop_ev(vol->loop), &vol->await_timer);
	vol->takeover_ns = clock_mono_ns() - vol->takeover_start_ns;
	log_info("every member has reasserted: serving after %llu ms",
		(unsigned long long)(vol->takeover_ns / 1000000));
}

static void fence_done(void *arg, int status)
{
	if (status)
		log_error("a fence could not be confirmed: %s; what it guards stays blocked",
			err_str(status));
}

static void coord_fence(void *arg, uint32_t node, const char *why)
{
	struct volume *vol = arg;

	if (node == vol->self) {
		volume_end(vol, -ETIMEDOUT, "this node did not answer its own coordinator in time");
		return;
	}
	lm_fence(vol->lm, node, why, fence_done, vol);
}

/* A member that does not come to reassert would keep everybody waiting. */
static void await_late(struct ev_loop *ev, ev_timer *timer, int revents)
{
	struct volume *vol = timer->data;
	struct coord_stats stats;

	if (!vol->coord)
		return;
	coord_stats(vol->coord, &stats);
	for (uint32_t node = 1; node <= LM_MAX_NODES; node++)
		if (stats.awaited & (1ull << (node - 1)))
			coord_fence(vol, node, "it did not reassert after a takeover");
}

static int coord_begin(struct volume *vol, uint64_t epoch)
{
	struct lm_status st;
	struct coord_cfg cfg = {
		.fs = vol->fs,
		.queue = vol->queue,
		.epoch = epoch,
		.node = vol->self,
		.recall_ms = vol->cfg.recall_ms,
		.no_recall = vol->cfg.no_recall,
		.send = channel_to_node,
		.fence = coord_fence,
		.serving = coord_serves,
		.arg = vol,
	};

	memcpy(cfg.uuid, vol->geom.uuid, sizeof(cfg.uuid));
	lm_status(vol->lm, &st);
	int err = coord_new(&cfg, st.member_mask | (1ull << (vol->self - 1)), &vol->coord);
	if (err)
		return err;
	ev_timer_init(&vol->await_timer, await_late, AWAIT_S, AWAIT_S);
	vol->await_timer.data = vol;
	ev_timer_start(loop_ev(vol->loop), &vol->await_timer);
	return 0;
}

/* A log that is damaged stays so: who mounts hears of it, and who has mounted goes on with what is open. */
static void takeover_failed(struct volume *vol, int err)
{
	static const char next[] =
		"the volume's log is damaged: unmount it on every node, then run fsck.csvfs";

	if (err == -ERR_CORRUPT && !vol->ready_told)
		volume_end(vol, err, next);
	else
		log_error("taking the volume over has failed: %s",
			err == -ERR_CORRUPT ? next : err_str(err));
}

static void recovered(void *arg, int status, uint64_t nr_records, uint64_t nr_blks)
{
	struct volume *vol = arg;
	uint64_t epoch = status ? 0 : jnl_epoch(csv_fs_journal(vol->fs));

	vol->role = ROLE_SERVING;
	vol->replayed_records = nr_records;
	if (!status && !vol->give_up)
		status = coord_begin(vol, epoch);
	if (status || vol->give_up) {
		if (status)
			takeover_failed(vol, status);
		role_close(vol, vol->resign_to);
		return;
	}
	log_info("took the volume over: epoch %llu, %llu log records, %llu blocks replayed",
		(unsigned long long)epoch, (unsigned long long)nr_records,
		(unsigned long long)nr_blks);
	ev_timer_init(&vol->sync_timer, sync_due, SYNC_S, SYNC_S);
	vol->sync_timer.data = vol;
	ev_timer_start(loop_ev(vol->loop), &vol->sync_timer);
	lm_serving(vol->lm, epoch);
}

static int engine_new(struct volume *vol, uint64_t *ret_epoch)
{
	struct jnl_header header;
	struct csv_fs_cfg cfg = { .queue = vol->queue, .failed = engine_failed, .arg = vol };
	int err = jnl_read_header(vol->queue, vol->geom.journal_blk, vol->geom.journal_nr_blks,
		vol->geom.uuid, &header);

	if (err)
		return err;
	*ret_epoch = header.epoch + 1;
	return csv_fs_new(&cfg, &vol->fs);
}

void role_become(void *arg)
{
	struct volume *vol = arg;
	uint64_t epoch;

	if (vol->role != ROLE_NONE || vol->ending)
		return;
	vol->role = ROLE_RECOVERING;
	vol->term++;
	vol->takeover_start_ns = clock_mono_ns();
	int err = engine_new(vol, &epoch);
	if (!err)
		err = csv_fs_recover(vol->fs, epoch, vol->self, recovered, vol);
	if (err) {
		takeover_failed(vol, err);
		csv_fs_free(vol->fs);
		vol->fs = NULL;
		vol->role = ROLE_NONE;
		lm_resign(vol->lm, 0);
	}
}

void role_node_gone(void *arg, uint32_t node, uint64_t generation)
{
	struct volume *vol = arg;

	channel_drop_node(vol, node);
	if (vol->role == ROLE_SERVING && vol->coord)
		coord_node_gone(vol->coord, node, generation);
}
