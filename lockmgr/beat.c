/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The beat: once in beat_ms a node reads all slots, checks that its own still allows it to write,
 * and renews it. In mode lease that moves the write deadline (M4; why so is told in fence_lease.c).
 * Renewals pass the deadline only in mode lease; in mode pr they wait for the gate like any write,
 * so that a renewal from before a fence cannot be carried out after it.
 */
#include <errno.h>
#include <stdio.h>

#include "lockmgr/lm_internal.h"
#include "util/checked.h"
#include "util/err.h"
#include "util/log.h"

#define CHECK_EVERY 5u	    /* beats */
#define READ_ALL_EVERY 16u /* beats */

bool lm_self_is_good(const struct lm *lm, const struct lm_seen *nodes, char *why, size_t why_size)
{
	const struct lm_seen *me = &nodes[lm->node];

	if (me->corrupt)
		return true; /* the next renewal mends it */
	if (me->slot.state == LM_SLOT_FREE) {
		snprintf(why, why_size, "node %u's slot was wiped", lm->node);
		return false;
	}
	if (me->slot.generation != lm->generation) {
		/* Whoever fenced our predecessor may have written after we took the slot. */
		if (me->slot.generation == lm->old_generation)
			return true;
		snprintf(why, why_size, "node %u's slot was taken by another mount (%s)", lm->node,
			me->slot.name);
		return false;
	}
	if (me->slot.state == LM_SLOT_FENCED) {
		snprintf(why, why_size, "node %u has fenced this node", me->slot.fenced_by);
		return false;
	}
	for (uint32_t node = 1; node <= LM_MAX_NODES && lm->fencing == LM_FENCE_LEASE; node++) {
		if (node != lm->node && !nodes[node].corrupt &&
			nodes[node].slot.fenced_gen[lm->node] == lm->generation) {
			snprintf(why, why_size, "node %u has fenced this node", node);
			return false;
		}
	}
	return true;
}

bool lm_has_path(const struct lm *lm)
{
	uint64_t limit_ns = (MAX(3ull * lm->beat_ms, 1000) + 1000) * LM_NS_PER_MS;

	return lm->beat_ok_ns && clock_mono_ns() - lm->beat_ok_ns < limit_ns;
}

static bool check_self(struct lm *lm)
{
	char why[120];

	if (lm_phase(lm) != LM_JOINED)
		return false;
	if (lm->cfg.no_fence || lm_self_is_good(lm, lm->table.nodes, why, sizeof(why)))
		return true;
	lm_self_fence(lm, "%s", why);
	return false;
}

static void beat_over(struct lm *lm)
{
	lm->beating = false;
	if (lm->beat_again && lm_phase(lm) == LM_JOINED) {
		lm->beat_again = false;
		lm_beat_kick(lm);
	}
	lm_reconsider(lm);
}

/* ---- the reservation: somebody has to put it up again when a target has forgotten it ---- */

static void reserve_done(struct lm_io *io, int status)
{
	if (status)
		log_warn("the LUN could not be reserved: %s", err_str(status));
}

static void reservation_read(struct lm_io *io, int status)
{
	struct lm *lm = container_of(io, struct lm, check_io);
	struct bdev_pr pr = { .key = lm->key, .type = atomic_load(&lm->pr_type) };

	if (status || io->req.pr.type || lm_phase(lm) != LM_JOINED)
		return;
	log_info("the reservation of the LUN is gone: reserving again");
	lm_io_cmd(io, lm->queue, BDEV_PR_RESERVE, &pr, 0, reserve_done);
}

static void check_reservation(struct lm *lm)
{
	if (lm->fencing != LM_FENCE_PR || lm->check_io.busy)
		return;
	if (atomic_load(&lm->beats_to_check) > 0) {
		atomic_fetch_sub(&lm->beats_to_check, 1);
		return;
	}
	atomic_store(&lm->beats_to_check, CHECK_EVERY);
	lm_io_cmd(&lm->check_io, lm->queue, BDEV_PR_READ_RESERVATION, NULL, 0, reservation_read);
}

/* ---- one renewal ---- */

static void extend(struct lm *lm)
{
	if (lm->fencing != LM_FENCE_LEASE)
		return;
	lm->deadline_ns = lm->beat_start_ns + (uint64_t)lm->lease_ms * LM_NS_PER_MS;
	bdev_set_write_deadline(lm->bdev, lm->deadline_ns);
}

/* L5: after a gap the table is read once more before the lease is extended. */
static void reread_done(struct lm_table_wait *wait, int status)
{
	struct lm *lm = container_of(wait, struct lm, beat_wait);

	if (!status && check_self(lm)) {
		log_info("renewed the lease after a gap");
		extend(lm);
	}
	beat_over(lm);
}

static void renewed(struct lm_io *io, int status)
{
	struct lm *lm = container_of(io, struct lm, beat_io.io);
	uint64_t now_ns = clock_mono_ns();

	if (status == -ERR_FENCED)
		lm_self_fence(lm, "another node has taken this node's registration");
	if (status || lm_phase(lm) != LM_JOINED) {
		if (status && status != -ERR_FENCED)
			log_warn("the beat could not be written: %s", err_str(status));
		beat_over(lm);
		return;
	}
	lm->beat_on_lun = lm->self.beat;
	lm->beat_ok_ns = now_ns;
	if (lm->fencing == LM_FENCE_LEASE && now_ns >= lm->deadline_ns) {
		lm->beat_wait.fn = reread_done;
		lm_table_read(lm, &lm->beat_wait);
		return;
	}
	extend(lm);
	check_reservation(lm);
	beat_over(lm);
}

static void table_read(struct lm_table_wait *wait, int status)
{
	struct lm *lm = container_of(wait, struct lm, beat_wait);

	if (status == -ERR_FENCED)
		lm_self_fence(lm, "the device refuses this node");
	if (status || !check_self(lm)) {
		if (status && status != -ERR_FENCED)
			log_warn("the slots could not be read: %s", err_str(status));
		beat_over(lm);
		return;
	}
	lm->self.beat++;
	lm->self.time_ns = clock_real_ns();
	lm->self.epoch = MAX(lm->self.epoch, lm->coord.epoch);
	lm->beat_start_ns = clock_mono_ns();
	lm_slot_write(lm, &lm->beat_io, &lm->self,
		lm->fencing == LM_FENCE_LEASE ? BDEV_GATE : 0, renewed);
}

void lm_beat_kick(struct lm *lm)
{
	if (lm_phase(lm) != LM_JOINED)
		return;
	if (lm->beating) {
		lm->beat_again = true;
		return;
	}
	lm->beating = true;
	/* A mark may stand in any slot (L5); else the slots of those that we know of will do. */
	lm->beat_wait.known_only = lm->fencing != LM_FENCE_LEASE &&
		lm->nr_beats++ % READ_ALL_EVERY != 0;
	lm->beat_wait.fn = table_read;
	lm_table_read(lm, &lm->beat_wait);
}

static void on_tick(struct ev_loop *ev, ev_timer *timer, int revents)
{
	struct lm *lm = container_of(timer, struct lm, beat_timer);

	/* A renewal that hangs goes on hanging; what depends on its age is looked at anyway. */
	if (lm->beating)
		lm_reconsider(lm);
	else
		lm_beat_kick(lm);
}

void lm_beat_start(struct lm *lm)
{
	double every = lm->beat_ms / 1000.0;

	ev_timer_init(&lm->beat_timer, on_tick, every, every);
	ev_timer_start(loop_ev(lm->loop), &lm->beat_timer);
}

void lm_beat_stop(struct lm *lm)
{
	ev_timer_stop(loop_ev(lm->loop), &lm->beat_timer);
}
