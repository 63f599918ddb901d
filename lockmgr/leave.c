/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Leaving in order: the slot says LEFT, then our key goes, then we leave the group; whoever sees us
 * leave finds LEFT and need not fence. What cannot be done in time is left to the others' fence.
 *
 * A reservation of type 5 would go with the key of its holder, and leave the LUN open for a moment
 * to a fenced node that has not noticed yet. So a holder that is not the last one leaves the group
 * with its key registered; the coordinator preempts that, and holds the reservation from then on.
 */
#include <errno.h>

#include "lockmgr/lm_internal.h"
#include "util/err.h"
#include "util/log.h"

#define POLL_S 0.005
#define POLL_KEYS_TICKS 10u
#define LEAVE_MS 10000u
#define HANDOVER_MS 4000u

static bool is_idle(struct lm *lm)
{
	return !lm->table.io.busy && !lm->beat_io.io.busy && !lm->check_io.busy &&
		!lm->scan_io.busy && !lm->leave_io.busy && !lm->fenced_queued &&
		list_empty(&lm->fences_over) && list_empty(&lm->table.waits) &&
		!lm_gates_post(lm) && (!lm->queue || lm_gate_is_idle(lm, lm->queue));
}

static void finish(struct lm *lm)
{
	group_close(lm->group);
	lm->group = NULL;
	lm->in_group = false;
	if (lm_phase(lm) == LM_LEAVING)
		lm_set_phase(lm, LM_LEFT);
	lm->leave_over = true; /* the timer looks for the end of what is in flight */
}

/* ---- the key ---- */

static void unregistered(struct lm_io *io, int status)
{
	struct lm *lm = container_of(io, struct lm, leave_io);

	if (status)
		log_warn("this node's registration could not be removed: %s", err_str(status));
	finish(lm);
}

static void drop_registration(struct lm *lm)
{
	struct bdev_pr pr = { .key = lm->leave_key, .new_key = 0 };

	lm_io_cmd(&lm->leave_io, lm->queue, BDEV_PR_REGISTER, &pr, 0, unregistered);
}

static void preempted(struct lm_io *io, int status)
{
	drop_registration(container_of(io, struct lm, leave_io));
}

/* Sessions that were lost may have left registrations of our key behind; they would keep the
 * reservation up for ever. */
static void keys_read(struct lm_io *io, int status)
{
	struct lm *lm = container_of(io, struct lm, leave_io);
	struct bdev_pr pr = { .key = lm->leave_key, .victim = lm->key,
		.type = atomic_load(&lm->pr_type) };

	status = lm_keys_take(&lm->leave_keys, io, status);
	if (status == -EAGAIN)
		lm_keys_read(&lm->leave_keys, io, lm->queue, 0, keys_read);
	else if (!status && lm_keys_has(&lm->leave_keys, lm->key))
		lm_io_cmd(io, lm->queue, BDEV_PR_PREEMPT, &pr, 0, preempted);
	else
		drop_registration(lm);
}

static void renamed(struct lm_io *io, int status)
{
	struct lm *lm = container_of(io, struct lm, leave_io);

	if (status)
		unregistered(io, status);
	else
		lm_keys_read(&lm->leave_keys, io, lm->queue, 0, keys_read);
}

/* Under another key of ours this session can remove what is left of the old one. */
static void rename_key(struct lm *lm)
{
	struct bdev_pr pr = { .key = lm->key };

	lm->leave_key = lm_key_make(lm->cfg.uuid, lm->node, lm->generation + 1);
	pr.new_key = lm->leave_key;
	lm_io_cmd(&lm->leave_io, lm->queue, BDEV_PR_REGISTER, &pr, 0, renamed);
}

/* ---- the reservation ---- */

static void look_for_key(struct lm_io *io, int status)
{
	struct lm *lm = container_of(io, struct lm, leave_io);

	status = lm_keys_take(&lm->leave_keys, io, status);
	if (status == -EAGAIN)
		lm_keys_read(&lm->leave_keys, io, lm->queue, 0, look_for_key);
	else if (!status && !lm_keys_has(&lm->leave_keys, lm->key))
		finish(lm);
	else if (status || clock_mono_ns() >= lm->leave_handover_ns)
		rename_key(lm);
	else
		lm->leave_poll = true;
}

static void holder_read(struct lm_io *io, int status)
{
	struct lm *lm = container_of(io, struct lm, leave_io);
	uint64_t others = elect_mask(&lm->elect) & ~(1ull << (lm->node - 1));

	if (status || io->req.pr.type != BDEV_PR_WRITE_EXCLUSIVE_REGISTRANTS ||
		io->req.pr.key != lm->key || !lm->in_group || !others) {
		rename_key(lm);
		return;
	}
	group_close(lm->group);
	lm->group = NULL;
	lm->in_group = false;
	lm->leave_handover_ns = clock_mono_ns() + HANDOVER_MS * LM_NS_PER_MS;
	lm->leave_poll = true;
}

/* ---- the slot ---- */

static void slot_written(struct lm_io *io, int status)
{
	struct lm *lm = container_of(io, struct lm, beat_io.io);

	if (status)
		log_warn("this node's slot could not be given up: %s: the others will fence this node",
			err_str(status));
	if (!status && lm->fencing == LM_FENCE_PR)
		lm_io_cmd(&lm->leave_io, lm->queue, BDEV_PR_READ_RESERVATION, NULL, 0, holder_read);
	else
		finish(lm);
}

static void give_up_slot(struct lm *lm)
{
	lm->self.state = LM_SLOT_LEFT;
	lm->self.beat++;
	lm->self.time_ns = clock_real_ns();
	lm_slot_write(lm, &lm->beat_io, &lm->self,
		BDEV_FUA | (lm->fencing == LM_FENCE_LEASE ? BDEV_GATE : 0), slot_written);
}

static void on_timer(struct ev_loop *ev, ev_timer *timer, int revents)
{
	struct lm *lm = container_of(timer, struct lm, leave_timer);

	if (!lm->leave_late && clock_mono_ns() >= lm->leave_until_ns) {
		log_warn("the device does not answer: leaving without it");
		lm->leave_late = true;
		bdev_fence_self(lm->bdev);
	}
	if (!lm->leave_begun && lm_phase(lm) == LM_LEAVING && is_idle(lm)) {
		lm->leave_begun = true;
		give_up_slot(lm);
		return;
	}
	if (lm->leave_poll && ++lm->leave_ticks % POLL_KEYS_TICKS == 0) {
		lm->leave_poll = false;
		lm_keys_read(&lm->leave_keys, &lm->leave_io, lm->queue, 0, look_for_key);
	}
	if (lm_phase(lm) == LM_FENCED)
		lm->leave_over = true;
	if (!lm->leave_over || !is_idle(lm))
		return;
	ev_timer_stop(ev, timer);
	lm->leave_done(lm->leave_arg);
}

void lm_leave(struct lm *lm, void (*done)(void *arg), void *arg)
{
	assert(!lm->leave_done);
	lm->leave_done = done;
	lm->leave_arg = arg;
	lm->leave_until_ns = clock_mono_ns() + LEAVE_MS * LM_NS_PER_MS;
	lm_beat_stop(lm);
	lm->step = LM_STEP_NONE;
	lm_fence_end_all(lm, -ERR_MOVED);
	if (lm_phase(lm) == LM_JOINED)
		lm_set_phase(lm, LM_LEAVING);
	else
		finish(lm);
	ev_timer_init(&lm->leave_timer, on_timer, 0.0, POLL_S);
	ev_timer_start(loop_ev(lm->loop), &lm->leave_timer);
}
