/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine's life: made, taken over (recover), open, closed.
 *
 *   NEW --csv_fs_recover--> RECOVERING --ok--> OPEN --csv_fs_close--> CLOSING --> CLOSED
 *    ^                           | error
 *    `---------------------------'
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "csvfs/core/core_internal.h"
#include "util/err.h"
#include "util/log.h"

/* ---- what the journal calls ---- */

static int on_seal(void *arg, uint64_t blk, void *image, uint64_t epoch, uint64_t seq)
{
	struct csv_fs *fs = arg;

	return csv_blk_seal(image, blk, &fs->geom, epoch, seq);
}

static void on_taken(void *arg, uint64_t blk)
{
	struct csv_fs *fs = arg;
	struct csv_buf *buf = csv_cache_find(&fs->cache, blk);

	/* Not pinned: it was committed and taken within one call (log_writes()). */
	if (buf == NULL || !buf->pinned)
		return;
	buf->pinned = false;
	csv_buf_unref(&fs->cache, buf);
}

static void on_tail_moved(void *arg, uint64_t seq)
{
	struct csv_fs *fs = arg;

	csv_alloc_tail_moved(fs->alloc, seq);
}

static void on_room(void *arg)
{
	csv_driver_room(arg);
}

static void on_failed(void *arg, int err)
{
	struct csv_fs *fs = arg;

	if (fs->error != 0)
		return;
	log_error("the volume stops: its journal has failed: %s", err_str(err));
	fs->error = err;
	fs->failed_pending = true;
	csv_driver_kick(fs);
}

/* ---- life ---- */

int csv_fs_new(const struct csv_fs_cfg *cfg, struct csv_fs **ret_fs)
{
	struct csv_fs *fs = calloc(1, sizeof(*fs));
	struct jnl_cfg jcfg = {
		.queue = cfg->queue,
		.seal = on_seal,
		.taken = on_taken,
		.tail_moved = on_tail_moved,
		.room = on_room,
		.failed = on_failed,
		.arg = fs,
	};
	int err;

	if (fs == NULL)
		return -ENOMEM;
	fs->cfg = *cfg;
	fs->queue = cfg->queue;
	jcfg.hole_ok = cfg->log_hole_ok;
	csv_driver_init(fs);
	err = csv_super_read(fs->queue, &fs->geom);
	if (err != 0)
		goto out_fs;
	err = csv_cache_init(&fs->cache, cfg->cache_bytes);
	if (err != 0)
		goto out_fs;
	jcfg.start_blk = fs->geom.journal_blk;
	jcfg.nr_blks = fs->geom.journal_nr_blks;
	memcpy(jcfg.uuid, fs->geom.uuid, sizeof(jcfg.uuid));
	err = jnl_new(&jcfg, &fs->jnl);
	if (err != 0)
		goto out_cache;
	err = csv_alloc_new(fs, &fs->alloc);
	if (err != 0)
		goto out_jnl;
	*ret_fs = fs;
	return 0;

out_jnl:
	jnl_free(fs->jnl);
out_cache:
	csv_cache_done(&fs->cache);
out_fs:
	free(fs);
	return err;
}

void csv_fs_free(struct csv_fs *fs)
{
	if (fs == NULL)
		return;
	assert(fs->drv.nr_ops == 0 && fs->state != CSV_FS_RECOVERING);
	jnl_free(fs->jnl);
	csv_alloc_free_state(fs->alloc);
	csv_cache_done(&fs->cache);
	csv_txn_free(&fs->txn);
	csv_driver_exit(fs);
	free(fs);
}

const struct csv_geometry *csv_fs_geometry(const struct csv_fs *fs)
{
	return &fs->geom;
}

int csv_fs_error(const struct csv_fs *fs)
{
	return fs->error;
}

struct jnl *csv_fs_journal(struct csv_fs *fs)
{
	return fs->jnl;
}

uint64_t csv_fs_replayed_seq(const struct csv_fs *fs)
{
	return fs->replayed_seq;
}

static void settled(void *arg, int status)
{
	struct csv_fs *fs = arg;

	if (status != 0)
		fs->state = CSV_FS_NEW;
	fs->recovered(fs->recovered_arg, status, fs->nr_replayed, fs->nr_replayed_blks);
}

static void recovered(void *arg, int status, uint64_t nr_records, uint64_t nr_blks)
{
	struct csv_fs *fs = arg;

	fs->replayed_seq = jnl_written_seq(fs->jnl);
	fs->nr_replayed = nr_records;
	fs->nr_replayed_blks = nr_blks;
	if (status == 0) {
		fs->state = CSV_FS_OPEN;
		status = csv_grow_settle(fs, settled, fs);
	}
	if (status != 0) {
		fs->state = CSV_FS_NEW;
		fs->recovered(fs->recovered_arg, status, nr_records, nr_blks);
	}
}

int csv_fs_recover(struct csv_fs *fs, uint64_t epoch, uint32_t node,
	void (*done)(void *arg, int status, uint64_t nr_records, uint64_t nr_blks), void *arg)
{
	int err;

	if (fs->state != CSV_FS_NEW)
		return -EALREADY;
	fs->recovered = done;
	fs->recovered_arg = arg;
	fs->state = CSV_FS_RECOVERING;
	err = jnl_recover(fs->jnl, epoch, node, recovered, fs);
	if (err != 0)
		fs->state = CSV_FS_NEW;
	return err;
}

/* ---- the end ---- */

static void journal_closed(struct jnl_wait *wait, int status)
{
	struct csv_fs *fs = container_of(wait, struct csv_fs, close_wait);

	fs->close_status = status;
	fs->close_done = true;
	csv_driver_kick(fs); /* so that closed() may free the engine and the journal */
}

bool csv_fs_idle(struct csv_fs *fs)
{
	if (fs->state != CSV_FS_CLOSING || fs->drv.nr_ops != 0 || fs->cache.nr_reads != 0)
		return false;
	if (!fs->close_started) {
		/* After an error too: it waits for what is in flight, and writes nothing more. */
		fs->close_started = true;
		fs->close_wait.done = journal_closed;
		jnl_close(fs->jnl, &fs->close_wait);
		return false;
	}
	if (!fs->close_done)
		return false;
	fs->state = CSV_FS_CLOSED;
	fs->closed(fs->closed_arg, fs->close_status);
	return true;
}

void csv_fs_close(struct csv_fs *fs, void (*done)(void *arg, int status), void *arg)
{
	assert(fs->state == CSV_FS_NEW || fs->state == CSV_FS_OPEN);
	fs->closed = done;
	fs->closed_arg = arg;
	if (fs->state == CSV_FS_NEW) /* nothing of it is ours to write */
		fs->close_started = fs->close_done = true;
	fs->state = CSV_FS_CLOSING;
	csv_driver_kick(fs);
}

struct fs_sync {
	struct jnl_wait wait;
	struct loop_work work;
	void (*done)(void *arg, int status);
	void *arg;
	int status;
};

static void sync_stable(struct jnl_wait *wait, int status)
{
	struct fs_sync *sync = container_of(wait, struct fs_sync, wait);
	void (*done)(void *, int) = sync->done;
	void *arg = sync->arg;

	free(sync);
	done(arg, status);
}

static void sync_failed(struct loop_work *work)
{
	struct fs_sync *sync = container_of(work, struct fs_sync, work);

	sync_stable(&sync->wait, sync->status);
}

void csv_fs_sync(struct csv_fs *fs, void (*done)(void *arg, int status), void *arg)
{
	struct fs_sync *sync = calloc(1, sizeof(*sync));

	if (sync == NULL) {
		done(arg, -ENOMEM);
		return;
	}
	sync->done = done;
	sync->arg = arg;
	if (fs->state != CSV_FS_OPEN || fs->error != 0) {
		sync->status = fs->error != 0 ? fs->error : -ESHUTDOWN;
		sync->work.fn = sync_failed;
		loop_defer(bdev_queue_loop(fs->queue), &sync->work);
		return;
	}
	sync->wait.done = sync_stable;
	/* Each answer waited for its record to be written (E4). */
	jnl_wait_stable(fs->jnl, jnl_written_seq(fs->jnl), &sync->wait);
}
