/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The gate (bdev B5): after each reconnect, and each sign that the target may have forgotten us, a
 * queue proves that this node still belongs before anything else is sent.
 *
 *   pr     register this nexus with our key; if there is no reservation, reserve (the service queue,
 *          since a reservation of type 5 goes with the queue that made it; others leave it to the
 *          next beat); read our slot: LIVE and ours?
 *   lease  read all slots: is ours LIVE and ours, has nobody marked us?
 *
 * The order matters: a fence writes FENCED and then reads the keys, so registering first and
 * reading the slot second leaves no gap between the two (fence_pr.c). Whether our key was still
 * there needs no question: a target that forgot it and a fence that took it are told apart by the
 * slot. A node that finds itself fenced takes the registration back; a look at the slot before all
 * that spares the LUN most of such registrations.
 *
 * Runs on each queue's own thread; a gate's state belongs to its queue. Before lm_join() has a key
 * gates pass: nothing may be written yet, and a device that others have reserved refuses it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lockmgr/lm_internal.h"
#include "util/err.h"
#include "util/log.h"

#define RETRY_MS 300u
#define CORRUPT_TRIES 10u /* a block that is being written may look corrupt */

struct lm_gate {
	struct list link; /* lm->gates */
	struct lm *lm;
	struct bdev_queue *queue;
	struct lm_io io;
	void *buf; /* LM_TABLE_BYTES */
	struct lm_seen *seen; /* [node] */
	_Atomic bool running;
	bool registered; /* in this run */
	uint32_t tries;
	ev_timer timer;
	struct loop_work work; /* to the service thread */
	_Atomic bool posted, told;
	char why[120];
};

static void begin(struct lm_gate *gate);
static void register_nexus(struct lm_gate *gate);

static void finish(struct lm_gate *gate, int status)
{
	atomic_store(&gate->running, false);
	bdev_queue_gate_done(gate->queue, status);
}

static void fenced_work(struct loop_work *work)
{
	struct lm_gate *gate = container_of(work, struct lm_gate, work);

	lm_self_fence(gate->lm, "%s", gate->why);
	atomic_store(&gate->told, true);
}

static void give_up(struct lm_gate *gate)
{
	bdev_fence_self(gate->lm->bdev);
	if (!atomic_exchange(&gate->posted, true)) {
		gate->work.fn = fenced_work;
		loop_post(gate->lm->loop, &gate->work);
	}
	finish(gate, -ERR_FENCED);
}

static void unregistered(struct lm_io *io, int status)
{
	give_up(container_of(io, struct lm_gate, io));
}

/* This node is fenced, as its slot says. */
static void refuse(struct lm_gate *gate)
{
	struct bdev_pr pr = { .key = gate->lm->key, .new_key = 0 };

	if (gate->registered)
		lm_io_cmd(&gate->io, gate->queue, BDEV_PR_REGISTER, &pr, BDEV_GATE, unregistered);
	else
		give_up(gate);
}

static void on_timer(struct ev_loop *ev, ev_timer *timer, int revents)
{
	begin(container_of(timer, struct lm_gate, timer));
}

static void again(struct lm_gate *gate, const char *what, int status)
{
	if (status == -ERR_FENCED) {
		snprintf(gate->why, sizeof(gate->why), "%s: the device refuses this node", what);
		give_up(gate);
		return;
	}
	log_warn("%s: cannot check that this node still belongs: %s: %s", bdev_name(gate->lm->bdev),
		what, err_str(status));
	ev_timer_set(&gate->timer, RETRY_MS / 1000.0, 0.0);
	ev_timer_start(loop_ev(bdev_queue_loop(gate->queue)), &gate->timer);
}

/* ---- our slot ---- */

static void check_slots(struct lm_gate *gate)
{
	struct lm *lm = gate->lm;
	const struct lm_seen *me = &gate->seen[lm->node];

	if (me->corrupt || me->slot.state == LM_SLOT_FREE) {
		if (gate->tries++ < CORRUPT_TRIES) {
			again(gate, "its slot", -ERR_CORRUPT);
			return;
		}
		snprintf(gate->why, sizeof(gate->why), "the slot of node %u is corrupt", lm->node);
		refuse(gate);
	} else if (!lm_self_is_good(lm, gate->seen, gate->why, sizeof(gate->why))) {
		refuse(gate);
	} else if (gate->lm->fencing == LM_FENCE_PR && !gate->registered) {
		register_nexus(gate);
	} else {
		finish(gate, 0);
	}
}

static void slots_read(struct lm_io *io, int status)
{
	struct lm_gate *gate = container_of(io, struct lm_gate, io);
	struct lm *lm = gate->lm;
	bool all = lm->fencing == LM_FENCE_LEASE;

	if (status) {
		again(gate, "reading its slot", status);
		return;
	}
	for (uint32_t node = 1; node <= LM_MAX_NODES; node++) {
		struct lm_seen *seen = &gate->seen[node];
		const char *block = (const char *)gate->buf + (size_t)(node - 1) * LM_SLOT_BYTES;

		if (all || node == lm->node)
			seen->corrupt = slot_decode(all ? block : gate->buf, lm->cfg.uuid,
				lm_slot_blk(lm, node), node, &seen->slot) != 0;
	}
	check_slots(gate);
}

static void to_slots(struct lm_gate *gate)
{
	struct lm *lm = gate->lm;

	if (lm_phase(lm) == LM_JOINING) { /* the slot is not ours yet */
		if (lm->fencing == LM_FENCE_PR && !gate->registered)
			register_nexus(gate);
		else
			finish(gate, 0);
	} else if (lm->fencing == LM_FENCE_LEASE) {
		lm_io_rw(&gate->io, gate->queue, BDEV_READ, gate->buf, lm->cfg.slot_blk,
			LM_MAX_NODES, BDEV_GATE, slots_read);
	} else {
		lm_io_rw(&gate->io, gate->queue, BDEV_READ, gate->buf, lm_slot_blk(lm, lm->node), 1,
			BDEV_GATE, slots_read);
	}
}

/* ---- registration ---- */

static void reserved(struct lm_io *io, int status)
{
	struct lm_gate *gate = container_of(io, struct lm_gate, io);

	/* -EBUSY: another member was quicker, and holds a type that only one can hold. */
	if (status && status != -EBUSY)
		again(gate, "RESERVE", status);
	else
		to_slots(gate);
}

static void reservation_read(struct lm_io *io, int status)
{
	struct lm_gate *gate = container_of(io, struct lm_gate, io);
	struct bdev_pr pr = { .key = gate->lm->key, .type = atomic_load(&gate->lm->pr_type) };

	if (!status && io->req.pr.type == 0 && gate->queue != gate->lm->queue)
		atomic_store(&gate->lm->beats_to_check, 0);
	if (status)
		again(gate, "READ RESERVATION", status);
	else if (io->req.pr.type != 0 || pr.type == 0 || gate->queue != gate->lm->queue)
		to_slots(gate);
	else
		lm_io_cmd(io, gate->queue, BDEV_PR_RESERVE, &pr, BDEV_GATE, reserved);
}

static void registered(struct lm_io *io, int status)
{
	struct lm_gate *gate = container_of(io, struct lm_gate, io);

	if (status) {
		again(gate, "REGISTER", status);
		return;
	}
	gate->registered = true;
	lm_io_cmd(io, gate->queue, BDEV_PR_READ_RESERVATION, NULL, BDEV_GATE, reservation_read);
}

static void register_nexus(struct lm_gate *gate)
{
	struct bdev_pr pr = { .new_key = gate->lm->key };

	lm_io_cmd(&gate->io, gate->queue, BDEV_PR_REGISTER, &pr, BDEV_GATE, registered);
}

static void begin(struct lm_gate *gate)
{
	struct lm *lm = gate->lm;

	gate->registered = false;
	switch (lm_phase(lm)) {
	case LM_FENCED:
		snprintf(gate->why, sizeof(gate->why), "this node was fenced");
		give_up(gate);
		return;
	case LM_NEW:
	case LM_LEFT:
		finish(gate, 0);
		return;
	case LM_LEAVING:
		if (gate->queue != lm->queue || lm->self.state == LM_SLOT_LEFT) {
			finish(gate, 0); /* nothing more is written but the slot */
			return;
		}
		break;
	default:
		break;
	}
	if (lm->cfg.no_fence && lm->fencing != LM_FENCE_PR)
		finish(gate, 0);
	else
		to_slots(gate);
}

/* ---- a gate for each queue ---- */

static void gate_free(struct lm_gate *gate)
{
	free(gate->buf);
	free(gate->seen);
	free(gate);
}

static struct lm_gate *gate_of(struct lm *lm, struct bdev_queue *queue)
{
	struct lm_gate *gate = NULL;
	struct list *pos;

	pthread_mutex_lock(&lm->gates_lock);
	list_for_each(pos, &lm->gates) {
		struct lm_gate *g = list_entry(pos, struct lm_gate, link);

		if (g->queue == queue)
			gate = g;
	}
	pthread_mutex_unlock(&lm->gates_lock);
	if (gate)
		return gate;

	gate = calloc(1, sizeof(*gate));
	if (!gate)
		return NULL;
	gate->lm = lm;
	gate->queue = queue;
	gate->buf = aligned_alloc(LM_SLOT_BYTES, LM_TABLE_BYTES);
	gate->seen = calloc(LM_MAX_NODES + 1, sizeof(*gate->seen));
	ev_timer_init(&gate->timer, on_timer, 0.0, 0.0);
	if (!gate->buf || !gate->seen) {
		gate_free(gate);
		return NULL;
	}
	pthread_mutex_lock(&lm->gates_lock);
	list_add_tail(&lm->gates, &gate->link);
	pthread_mutex_unlock(&lm->gates_lock);
	return gate;
}

void lm_gate(void *arg, struct bdev_queue *queue)
{
	struct lm *lm = arg;
	struct lm_gate *gate;

	if (lm_phase(lm) == LM_NEW) {
		bdev_queue_gate_done(queue, 0);
		return;
	}
	gate = gate_of(lm, queue);
	if (!gate) {
		log_error("%s: no memory to check that this node still belongs",
			bdev_name(lm->bdev));
		bdev_queue_gate_done(queue, -ERR_FENCED);
		return;
	}
	atomic_store(&gate->running, true);
	gate->tries = 0;
	begin(gate);
}

bool lm_gate_is_idle(struct lm *lm, const struct bdev_queue *queue)
{
	struct list *pos;
	bool idle = true;

	pthread_mutex_lock(&lm->gates_lock);
	list_for_each(pos, &lm->gates) {
		struct lm_gate *gate = list_entry(pos, struct lm_gate, link);

		if (gate->queue == queue && atomic_load(&gate->running))
			idle = false;
	}
	pthread_mutex_unlock(&lm->gates_lock);
	return idle;
}

bool lm_gates_post(struct lm *lm)
{
	struct list *pos;
	bool any = false;

	pthread_mutex_lock(&lm->gates_lock);
	list_for_each(pos, &lm->gates) {
		struct lm_gate *gate = list_entry(pos, struct lm_gate, link);

		any |= atomic_load(&gate->posted) && !atomic_load(&gate->told);
	}
	pthread_mutex_unlock(&lm->gates_lock);
	return any;
}

void lm_gates_free(struct lm *lm)
{
	while (!list_empty(&lm->gates)) {
		struct lm_gate *gate = list_entry(lm->gates.next, struct lm_gate, link);

		assert(!atomic_load(&gate->running));
		loop_cancel(lm->loop, &gate->work);
		list_del(&gate->link);
		gate_free(gate);
	}
}
