/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fencing by leases: the victim stops by itself, strictly before the taker goes on.
 *
 * The holder H renews: it reads the table; S = now; writes beat b into its own slot; the write is
 * over at C. Its writes wait from D = S + lease on (M4). The taker T reads H's slot again and again;
 * R = the end of the first reading that showed b, F = the start of the last one, which still shows
 * b. lease is H's, as its slot says.
 *
 *   H   S--------W---C                     D = S + lease
 *       |        |   writes go out         | writes wait     ... what was sent may still arrive
 *   LUN          b                                                          | margin
 *   T            R----------------------------------------------------------F  goes on
 *                                                             R + lease + margin
 *
 * L1  A beat that T has seen at R was written after its S: S <= W <= R, so D <= R + lease.
 * L2  What H handed to the device before D arrives by D + margin or never. This is an assumption
 *     (as it is sanlock's, which adds a watchdog): nobody but the device itself can stop a write in
 *     flight. margin = lease / 2, at least a second, also covers the clocks: both are
 *     CLOCK_MONOTONIC of live kernels, whose rates differ by far less than 1 %.
 * L3  T confirms if F >= R + lease + margin shows b and nothing newer. By L1 and L2 everything that
 *     H sent under b's lease has arrived before F. What is left is a lease that T did not see:
 * L4  H extends its lease at C < D_old (the lease before it): then W' < C < D_old <= R + lease < F,
 *     so T sees b' at F and does not confirm.
 * L5  H extends after a gap, C >= D_old. A write that dawdled might be T's reason to confirm and H's
 *     to go on. Therefore marks: before F, T has written into its own slot that it fences this
 *     generation of H (fenced_gen), and H reads the whole table after C and before it goes on. Each
 *     writes its own block, then reads the other's. If H saw no mark, the mark came after H's
 *     reading, so after b'; F came after the mark, so T sees b' and does not confirm. Otherwise H
 *     saw the mark and is fenced.
 * L6  Nobody ever writes a block that the other one's safety rests on, so a stale write of a slot
 *     undoes nothing. The victim's state FENCED is written after the confirmation: it tells later
 *     takers that they need not wait; if a stale beat undoes it they wait in vain once more.
 * L7  A mark stays: a node keeps the marks of its predecessor in the slot (lm_enter), and a
 *     generation is never used again.
 *
 * A slot that was given up (LEFT), or that holds a later mount of the node, needs no waiting: the
 * first drained its writes; the second makes sure that the process before it is gone, and waits for
 * margin if something of that process may still be under way (lm_enter).
 */
#include <errno.h>

#include "lockmgr/lm_internal.h"
#include "util/checked.h"
#include "util/err.h"
#include "util/log.h"

uint64_t lm_lease_margin_ms(uint64_t lease_ms)
{
	return MAX(lease_ms / 2, 1000);
}

static void poll_slot(struct lm_fence *f);

static void finish(struct lm_io *io, int status)
{
	struct lm_fence *f = container_of(io, struct lm_fence, sio.io);

	if (lm_fence_reap(f))
		return;
	/* For display and for later takers only (L6). */
	if (status)
		log_debug("slot of fenced node %u: %s", f->victim.node, err_str(status));
	if (status == -ERR_FENCED)
		lm_fence_again(f, "writing its slot", status);
	else
		lm_fence_over(f, 0);
}

static void look(struct lm_table_wait *wait, int status)
{
	struct lm_fence *f = container_of(wait, struct lm_fence, table_wait);
	struct lm *lm = f->lm;
	const struct lm_seen *seen = &lm->table.nodes[f->victim.node];
	uint64_t lease_ms, until_ns;
	struct lm_slot slot;

	if (status) {
		lm_fence_again(f, "reading its slot", status);
		return;
	}
	if (lm_victim_is_marked(lm, &f->victim)) {
		lm_fence_over(f, 0);
		return;
	}
	lease_ms = seen->corrupt ? MAX(seen->slot.lease_ms, lm->lease_ms) : seen->slot.lease_ms;
	until_ns = seen->change_ns + (lease_ms + lm_lease_margin_ms(lease_ms)) * LM_NS_PER_MS;
	if (f->mark_ns == 0 && lm->beat_on_lun >= f->mark_beat)
		f->mark_ns = lm->beat_ok_ns;
	if (lm->table.start_ns < until_ns || f->mark_ns == 0 || lm->table.start_ns < f->mark_ns) {
		poll_slot(f);
		return;
	}
	lm_fenced_slot(f, &slot);
	lm_slot_write(lm, &f->sio, &slot, 0, finish);
}

/* Alerts are for a fence that takes longer than a lease can explain: the victim goes on beating. */
static void poll_slot(struct lm_fence *f)
{
	struct lm *lm = f->lm;
	uint64_t lease_ms = MAX(lm->table.nodes[f->victim.node].slot.lease_ms, lm->lease_ms);
	uint64_t now_ns = clock_mono_ns();

	if (now_ns - f->start_ns > 2 * (lease_ms + lm_lease_margin_ms(lease_ms)) * LM_NS_PER_MS &&
		now_ns - f->alert_ns > 10000 * LM_NS_PER_MS) {
		f->alert_ns = now_ns;
		log_error("the fence of node %u cannot be confirmed: its beat still moves, or ours "
			  "does not reach the device; what it holds stays blocked",
			f->victim.node);
	}
	ev_timer_set(&f->timer, MAX(lm->beat_ms / 2, 50) / 1000.0, 0.0);
	ev_timer_start(loop_ev(lm->loop), &f->timer);
}

void lm_fence_lease_start(struct lm_fence *f)
{
	struct lm *lm = f->lm;

	if (f->mark_beat == 0) {
		lm->self.fenced_gen[f->victim.node] = f->victim.generation;
		/* A renewal under way has been encoded without the mark. */
		f->mark_beat = lm->self.beat + 1;
		lm_beat_kick(lm);
	}
	f->table_wait.fn = look;
	lm_table_read(lm, &f->table_wait);
}
