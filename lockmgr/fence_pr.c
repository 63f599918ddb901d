/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fencing by persistent reservations.
 *
 *   1  READ KEYS; while the victim's key is there: PREEMPT AND ABORT, or PREEMPT
 *   2  without ABORT: LOGICAL UNIT RESET, once after the last PREEMPT, so that nothing of the
 *      victim's that the target had taken in before is carried out later
 *   3  its slot: FENCED
 *   4  READ KEYS: its key is absent; READ RESERVATION: there is one (else RESERVE)
 *   5  read its slot: it says FENCED.  Confirmed; else again from 1.
 *
 * Why 4 before 5 suffices. A victim may register again by its gate (gate.c), which registers first,
 * then reads the slot, and opens only if that says LIVE.
 * F1  After 4 the victim can write only through a gate that opened after 4: a nexus whose
 *     registration is gone is refused while a reservation stands, and a target that forgets the
 *     reservation also drops the sessions, so that their gates close.
 * F2  A gate that opens after 4 read the slot after 4, and saw LIVE. The slot was FENCED since 3, so
 *     somebody wrote LIVE between 3 and that reading: only the victim's beat does, which goes
 *     through a gate too. Its write came before 5, then 5 sees it and starts anew; or after 5, then
 *     by F1 through a gate that opened after 4 but before that write, which had read FENCED.
 * So the first of the victim's gates that would open after 4 cannot.
 *
 * This holds for one fence at a time of a victim; M2 sees to that.
 *
 * A second PREEMPT of the same key is a conflict (-EBUSY): 4 tells what is true. With type 5 a
 * PREEMPT of the holder's key makes us the holder, in one step.
 */
#include <errno.h>
#include <string.h>

#include "lockmgr/lm_internal.h"
#include "util/err.h"
#include "util/log.h"

static void look_first(struct lm_io *io, int status);
static void verify_keys(struct lm_io *io, int status);
static void verify_slot(struct lm_table_wait *wait, int status);

static struct lm_fence *of_io(struct lm_io *io)
{
	return container_of(io, struct lm_fence, io);
}

static void read_keys(struct lm_fence *f, void (*fn)(struct lm_io *io, int status))
{
	lm_keys_read(&f->keys, &f->io, f->lm->queue, 0, fn);
}

/* True if the callback of a request need not go on. */
static bool stopped(struct lm_fence *f, const char *what, int status)
{
	if (lm_fence_reap(f))
		return true;
	if (status)
		lm_fence_again(f, what, status);
	return status != 0;
}

void lm_fence_pr_start(struct lm_fence *f)
{
	read_keys(f, look_first);
}

/* ---- 3 to 5 ---- */

static void verify_reservation(struct lm_io *io, int status)
{
	struct lm_fence *f = of_io(io);

	if (stopped(f, "READ RESERVATION", status))
		return;
	if (io->req.pr.type != BDEV_PR_WRITE_EXCLUSIVE_ALL &&
		io->req.pr.type != BDEV_PR_WRITE_EXCLUSIVE_REGISTRANTS) {
		/* The beat reserves again when it sees this; do not wait for it. */
		atomic_store(&f->lm->beats_to_check, 0);
		lm_beat_kick(f->lm);
		lm_fence_again(f, "there is no reservation", 0);
		return;
	}
	f->table_wait.fn = verify_slot;
	lm_table_read(f->lm, &f->table_wait);
}

static void verify_slot(struct lm_table_wait *wait, int status)
{
	struct lm_fence *f = container_of(wait, struct lm_fence, table_wait);

	if (status)
		lm_fence_again(f, "reading its slot", status);
	else if (!lm_victim_is_marked(f->lm, &f->victim))
		lm_fence_again(f, "its slot says that it lives", 0);
	else
		lm_fence_over(f, 0);
}

static void verify_keys(struct lm_io *io, int status)
{
	struct lm_fence *f = of_io(io);

	if (f->over) {
		lm_fence_reap(f);
		return;
	}
	status = lm_keys_take(&f->keys, io, status);
	if (status == -EAGAIN) {
		read_keys(f, verify_keys);
		return;
	}
	if (stopped(f, "READ KEYS", status))
		return;
	if (lm_keys_has(&f->keys, f->victim.key)) {
		f->reset_done = false;
		lm_fence_again(f, "its key is still registered", 0);
		return;
	}
	lm_io_cmd(&f->io, f->lm->queue, BDEV_PR_READ_RESERVATION, NULL, 0, verify_reservation);
}

static void mark_done(struct lm_io *io, int status)
{
	struct lm_fence *f = container_of(io, struct lm_fence, sio.io);

	if (!stopped(f, "writing its slot", status))
		read_keys(f, verify_keys);
}

static void mark(struct lm_table_wait *wait, int status)
{
	struct lm_fence *f = container_of(wait, struct lm_fence, table_wait);
	struct lm_slot slot;

	if (status) {
		lm_fence_again(f, "reading its slot", status);
		return;
	}
	if (lm_victim_is_marked(f->lm, &f->victim)) {
		read_keys(f, verify_keys);
		return;
	}
	lm_fenced_slot(f, &slot);
	lm_slot_write(f->lm, &f->sio, &slot, BDEV_FUA, mark_done);
}

static void to_mark(struct lm_fence *f)
{
	f->table_wait.fn = mark;
	lm_table_read(f->lm, &f->table_wait);
}

/* ---- 1 and 2 ---- */

static void reset_done(struct lm_io *io, int status)
{
	struct lm_fence *f = of_io(io);

	if (stopped(f, "LOGICAL UNIT RESET", status))
		return;
	f->reset_done = true;
	to_mark(f);
}

static void to_reset(struct lm_fence *f)
{
	bool aborts = (bdev_geom(f->lm->bdev).caps & BDEV_CAN_PR_ABORT) && !f->no_abort;

	/* A key that was gone already may have been preempted by somebody who then died: reset. */
	if ((aborts && f->preempted) || f->reset_done || f->victim.left)
		to_mark(f);
	else
		lm_io_cmd(&f->io, f->lm->queue, BDEV_LUN_RESET, NULL, 0, reset_done);
}

static void preempt_done(struct lm_io *io, int status)
{
	struct lm_fence *f = of_io(io);

	if (f->over) {
		lm_fence_reap(f);
		return;
	}
	if ((status == -EOPNOTSUPP || status == -EREMOTEIO || status == -EINVAL) && io->req.pr.abort) {
		f->no_abort = true;
		lm_fence_again(f, "PREEMPT AND ABORT", status);
		return;
	}
	/* Refused: somebody else's PREEMPT came first, or it is not our key that is registered
	 * here. READ KEYS will tell; until then nothing counts as aborted. */
	if (status == -EBUSY)
		log_debug("PREEMPT of node %u: conflict", f->victim.node);
	else if (stopped(f, "PREEMPT", status))
		return;
	f->preempted = status == 0;
	to_reset(f);
}

static void preempt(struct lm_fence *f)
{
	struct lm *lm = f->lm;
	struct bdev_pr pr = {
		.key = lm->key,
		.victim = f->victim.key,
		.type = atomic_load(&lm->pr_type),
		.abort = (bdev_geom(lm->bdev).caps & BDEV_CAN_PR_ABORT) && !f->no_abort,
	};

	f->preempted = f->reset_done = false;
	lm_io_cmd(&f->io, lm->queue, BDEV_PR_PREEMPT, &pr, 0, preempt_done);
}

static void look_first(struct lm_io *io, int status)
{
	struct lm_fence *f = of_io(io);

	if (f->over) {
		lm_fence_reap(f);
		return;
	}
	status = lm_keys_take(&f->keys, io, status);
	if (status == -EAGAIN)
		read_keys(f, look_first);
	else if (stopped(f, "READ KEYS", status))
		return;
	else if (lm_keys_has(&f->keys, f->victim.key))
		preempt(f);
	else
		to_reset(f);
}
