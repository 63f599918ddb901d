/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs operations.
 *
 *   submit --> ready --> run --+--> commit or abort --> (written?) --> done
 *                ^             |
 *   resumed <----+-- wait for a read / room in the log / a checkpoint
 *
 * D1  run() is called from the loop, never from within csv_op_submit(); one at a time.
 * D2  New operations start in the order of their submission. One that has waited goes before those
 *     that have not started; each run of it is paid for by a wait, so they cannot starve.
 * D3  done() runs when what the last run touched is on the LUN (E4), also for an error, since that
 *     too tells of a state.
 * D4  After the sticky error nothing runs: what is queued or wakes up ends with that error.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "csvfs/core/core_internal.h"
#include "util/err.h"
#include "util/log.h"

/* Operations run in one go, before the loop looks at devices and clients again. */
#define BATCH 64u

static void work(struct loop_work *loop_work);

void csv_driver_init(struct csv_fs *fs)
{
	struct csv_driver *drv = &fs->drv;

	drv->kick.fn = work;
	list_init(&drv->resumed);
	list_init(&drv->ready);
	list_init(&drv->no_room);
	list_init(&drv->ckpt_next);
	list_init(&drv->ckpt_running);
	list_init(&drv->syncs);
}

void csv_driver_exit(struct csv_fs *fs)
{
	loop_cancel(bdev_queue_loop(fs->queue), &fs->drv.kick);
}

void csv_driver_kick(struct csv_fs *fs)
{
	struct csv_driver *drv = &fs->drv;

	if (drv->kicked)
		return;
	drv->kicked = true;
	loop_defer(bdev_queue_loop(fs->queue), &drv->kick);
}

void csv_op_submit(struct csv_fs *fs, struct csv_op *op)
{
	struct csv_op_state *st = csv_op_state(op);

	memset(op->wait_, 0, sizeof(op->wait_));
	op->nr_changed = 0;
	st->fs = fs;
	list_init(&op->link);
	if (fs->state != CSV_FS_OPEN) {
		st->status = -ESHUTDOWN;
		st->failed = true;
	}
	fs->drv.nr_ops++;
	list_add_tail(&fs->drv.ready, &op->link);
	csv_driver_kick(fs);
}

/* ---- waiting ---- */

static void drop_holds(struct csv_fs *fs, struct csv_op_state *st)
{
	if (st->holds == NULL)
		return;
	for (uint32_t i = 0; st->holds[i] != NULL; i++)
		csv_buf_unref(&fs->cache, st->holds[i]);
	free(st->holds);
	st->holds = NULL;
}

void csv_driver_wake(struct csv_fs *fs, struct csv_buf *buf, int err)
{
	struct list *pos;

	if (err != 0) {
		list_for_each(pos, &buf->waiters) {
			struct csv_op_state *st =
				csv_op_state(list_entry(pos, struct csv_op, link));

			st->status = err;
			st->failed = true;
		}
	}
	list_splice_tail(&fs->drv.resumed, &buf->waiters);
	csv_driver_kick(fs);
}

void csv_driver_room(struct csv_fs *fs)
{
	list_splice_tail(&fs->drv.resumed, &fs->drv.no_room);
	csv_driver_kick(fs);
}

/* ---- checkpoints on demand (E5) ---- */

static void checkpoint_next(struct csv_fs *fs);

static void checkpoint_done(struct jnl_wait *wait, int status)
{
	struct csv_fs *fs = container_of(wait, struct csv_fs, drv.ckpt_wait);

	/* An error is the journal's, sticky: the driver sees it. */
	fs->drv.ckpt_busy = false;
	list_splice_tail(&fs->drv.resumed, &fs->drv.ckpt_running);
	checkpoint_next(fs);
	csv_driver_kick(fs);
}

static void checkpoint_written(struct jnl_wait *wait, int status)
{
	struct csv_fs *fs = container_of(wait, struct csv_fs, drv.ckpt_wait);

	if (status != 0) {
		checkpoint_done(wait, status);
		return;
	}
	wait->done = checkpoint_done;
	jnl_checkpoint(fs->jnl, wait);
}

/* A checkpoint covers records on the LUN: first everything committed so far is written. */
static void checkpoint_next(struct csv_fs *fs)
{
	struct csv_driver *drv = &fs->drv;

	if (drv->ckpt_busy || list_empty(&drv->ckpt_next))
		return;
	drv->ckpt_busy = true;
	list_splice_tail(&drv->ckpt_running, &drv->ckpt_next);
	drv->ckpt_wait.done = checkpoint_written;
	jnl_wait_written(fs->jnl, fs->last_seq, &drv->ckpt_wait);
}

/* ---- the end of an operation ---- */

static void finish(struct csv_fs *fs, struct csv_op *op, int status)
{
	assert(csv_op_state(op)->holds == NULL);
	fs->drv.nr_ops--;
	if (fs->state == CSV_FS_CLOSING)
		csv_driver_kick(fs);
	op->done(op, status);
}

static void op_written(struct jnl_wait *wait, int status)
{
	struct csv_op *op = container_of((uint64_t *)wait, struct csv_op, wait_[0]);
	struct csv_op_state *st = csv_op_state(op);

	finish(st->fs, op, status != 0 ? status : st->status);
}

static void answer(struct csv_fs *fs, struct csv_op *op, int status)
{
	struct csv_op_state *st = csv_op_state(op);

	if (fs->error != 0) {
		finish(fs, op, fs->error);
		return;
	}
	if (st->touch_seq == 0 || st->touch_seq <= jnl_written_seq(fs->jnl)) {
		finish(fs, op, status);
		return;
	}
	st->status = status;
	st->wait.done = op_written;
	jnl_wait_written(fs->jnl, st->touch_seq, &st->wait);
}

/* ---- running ---- */

/* After a run that answered -ERR_WAIT: where op waits. */
static void park(struct csv_fs *fs, struct csv_op *op, const struct csv_txn *txn)
{
	struct csv_driver *drv = &fs->drv;

	if (txn->wait_buf != NULL && txn->wait_buf->state == CSV_BUF_READING) {
		list_add_tail(&txn->wait_buf->waiters, &op->link);
	} else if (txn->wait_checkpoint) {
		csv_op_state(op)->had_checkpoint = true;
		list_add_tail(&drv->ckpt_next, &op->link);
		checkpoint_next(fs);
	} else if (txn->wait_room) {
		list_add_tail(&drv->no_room, &op->link);
	} else {
		log_error("an operation waits for nothing");
		csv_op_state(op)->status = -EIO;
		csv_op_state(op)->failed = true;
		list_add_tail(&drv->resumed, &op->link);
	}
}

static void run(struct csv_fs *fs, struct csv_op *op)
{
	struct csv_op_state *st = csv_op_state(op);
	struct csv_txn *txn = &fs->txn;
	struct csv_buf **holds = NULL;
	int status;

	fs->drv.runs++;
	fs->drv.reruns += st->holds != NULL;
	csv_txn_begin(txn, fs, st->had_checkpoint);
	status = op->run(op, txn);
	if (status == 0)
		status = csv_txn_commit(txn);
	if (status == 0) {
		fs->drv.commits++;
	} else {
		csv_txn_abort(txn);
		fs->drv.aborts++;
	}
	st->touch_seq = txn->touch_seq;
	op->nr_changed = status == 0 ? txn->nr_changed : 0;
	memcpy(op->changed, txn->changed, sizeof(op->changed));
	csv_txn_end(txn, status == -ERR_WAIT ? &holds : NULL);
	drop_holds(fs, st);
	st->holds = holds;
	if (status == -ERR_WAIT)
		park(fs, op, txn);
	else
		answer(fs, op, status);
}

static void step(struct csv_fs *fs, struct csv_op *op)
{
	struct csv_op_state *st = csv_op_state(op);

	if (fs->error == 0 && !st->failed) {
		run(fs, op);
		return;
	}
	drop_holds(fs, st);
	if (fs->error == 0)
		answer(fs, op, st->status);
	else
		finish(fs, op, fs->error);
}

static void work(struct loop_work *loop_work)
{
	struct csv_driver *drv = container_of(loop_work, struct csv_driver, kick);
	struct csv_fs *fs = container_of(drv, struct csv_fs, drv);

	drv->kicked = false;
	if (fs->failed_pending) {
		fs->failed_pending = false;
		if (fs->cfg.failed != NULL)
			fs->cfg.failed(fs->cfg.arg, fs->error);
	}
	if (fs->error != 0) /* (D4); who waits for the journal hears from it, for a read later */
		list_splice_tail(&drv->resumed, &drv->no_room);
	for (uint32_t i = 0; i < BATCH; i++) {
		struct list *from = !list_empty(&drv->resumed) ? &drv->resumed : &drv->ready;
		struct csv_op *op;

		if (list_empty(from))
			break;
		op = list_entry(from->next, struct csv_op, link);
		list_del(&op->link);
		step(fs, op);
	}
	if (!list_empty(&drv->resumed) || !list_empty(&drv->ready))
		csv_driver_kick(fs);
	else
		csv_fs_idle(fs);
}

/* ---- for tools and tests ---- */

struct sync_wait {
	struct list link;
	struct csv_op *op;
	void (*done)(struct csv_op *op, int status);
	int status;
	bool finished;
};

static void sync_done(struct csv_op *op, int status)
{
	struct csv_fs *fs = csv_op_state(op)->fs;
	struct list *pos, *tmp;

	list_for_each_safe(pos, tmp, &fs->drv.syncs) {
		struct sync_wait *wait = list_entry(pos, struct sync_wait, link);

		if (wait->op != op)
			continue;
		list_del(&wait->link);
		wait->status = status;
		wait->finished = true;
		op->done = wait->done;
		if (op->done != NULL)
			op->done(op, status);
		return;
	}
}

int csv_op_sync(struct csv_fs *fs, struct csv_op *op)
{
	struct sync_wait wait = { .op = op, .done = op->done };

	op->done = sync_done;
	list_add_tail(&fs->drv.syncs, &wait.link);
	csv_op_submit(fs, op);
	while (!wait.finished)
		loop_run_once(bdev_queue_loop(fs->queue), true);
	return wait.status;
}
