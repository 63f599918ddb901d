/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The role: claiming it, fencing whoever must not write any more before it is taken (M1), giving
 * it up. Victims are looked for again after each round of fences, until none is left.
 */
#include <errno.h>
#include <stdlib.h>

#include "lockmgr/lm_internal.h"
#include "util/err.h"
#include "util/log.h"

struct scan_fence {
	struct lm_fence_wait wait;
	struct lm *lm;
	uint32_t round;
};

static void scan(struct lm *lm);

void lm_claim(struct lm *lm)
{
	lm->step = LM_STEP_CLAIM;
	lm->claim++;
	log_debug("claim %u", lm->claim);
	lm_say(lm);
}

void lm_drop_role(struct lm *lm, const char *why)
{
	bool told = lm->step >= LM_STEP_TOLD;

	if (lm->step <= LM_STEP_CLOSING)
		return;
	if (told)
		log_warn("this node stops coordinating: %s", why);
	else
		log_info("this node does not begin to coordinate: %s", why);
	lm->step = told ? LM_STEP_CLOSING : LM_STEP_NONE;
	lm->epoch = 0;
	lm_fence_end_all(lm, -ERR_MOVED);
	lm_say(lm);
	if (told && lm->cfg.ops->step_down)
		lm->cfg.ops->step_down(lm->cfg.arg, why);
}

/* It did not work this time: not again at once. */
static void fall_back(struct lm *lm, const char *why)
{
	lm->backoff_ns = clock_mono_ns() + 1000 * LM_NS_PER_MS;
	lm_drop_role(lm, why);
}

/* ---- who must be fenced ---- */

static void tell(struct lm *lm)
{
	lm->step = LM_STEP_TOLD;
	for (uint32_t node = 1; node <= LM_MAX_NODES; node++)
		lm->gone_wait[node] = 0; /* the scan has dealt with them */
	lm->cfg.ops->become_coordinator(lm->cfg.arg);
	lm_reconsider(lm);
}

static void round_over(struct lm *lm)
{
	if (lm->step != LM_STEP_FENCE || lm_phase(lm) != LM_JOINED)
		return;
	if (lm->scan_status)
		fall_back(lm, "a fence could not be started");
	else if (lm->cfg.no_fence)
		tell(lm);
	else
		scan(lm);
}

static void scan_fence_done(struct lm_fence_wait *wait, int status)
{
	struct scan_fence *sf = container_of(wait, struct scan_fence, wait);
	struct lm *lm = sf->lm;
	uint32_t round = sf->round;

	free(sf);
	if (round != lm->scan_round)
		return;
	if (status && !lm->scan_status)
		lm->scan_status = status;
	if (--lm->nr_scan_fences == 0)
		round_over(lm);
}

static void add_victim(struct lm *lm, uint32_t node, uint64_t generation, uint64_t key)
{
	struct lm_victim victim = { .node = node, .generation = generation, .key = key };
	struct scan_fence *sf = calloc(1, sizeof(*sf));
	int err;

	if (!sf) {
		lm->scan_status = -ENOMEM;
		return;
	}
	sf->lm = lm;
	sf->round = lm->scan_round;
	sf->wait.fn = scan_fence_done;
	lm->nr_scan_fences++;
	err = lm_fence_start(lm, &victim,
		generation ? "it is no member and its slot says that it lives" :
			     "a registration that is no member's",
		&sf->wait);
	if (err) {
		lm->nr_scan_fences--;
		lm->scan_status = err;
		free(sf);
	}
}

static bool slot_is_victim(const struct lm *lm, uint32_t node)
{
	const struct lm_seen *seen = &lm->table.nodes[node];

	if (lm_is_member(lm, node))
		return false;
	/* With reservations it is the keys that tell about a slot that cannot be read. */
	if (seen->corrupt)
		return lm->fencing == LM_FENCE_LEASE;
	return seen->slot.state == LM_SLOT_LIVE;
}

/* A key of this volume that no present mount has. */
static bool key_is_victim(const struct lm *lm, uint64_t key)
{
	uint32_t node = lm_key_node(lm->cfg.uuid, key);
	const struct elect_member *m = &lm->elect.members[node];

	if (node == 0 || key == lm->key)
		return false;
	if (node == lm->node || !lm_is_member(lm, node))
		return true;
	/* A newcomer deals with its predecessor's key itself. */
	return m->known && !m->state.joining &&
		key != lm_key_make(lm->cfg.uuid, node, m->state.generation);
}

static void start_fences(struct lm *lm)
{
	lm->scan_status = 0;
	lm->scan_round++;
	lm->nr_scan_fences = 1; /* ours, so that the round ends below at the earliest */
	for (uint32_t node = 1; node <= LM_MAX_NODES; node++) {
		const struct lm_slot *slot = &lm->table.nodes[node].slot;

		if (slot_is_victim(lm, node))
			add_victim(lm, node,
				lm->table.nodes[node].corrupt ? 0 : slot->generation,
				lm->fencing == LM_FENCE_PR ?
					lm_key_make(lm->cfg.uuid, node, slot->generation) :
					0);
	}
	for (uint32_t i = 0; i < lm->scan_keys.nr; i++) {
		uint64_t key = lm->scan_keys.keys[i];
		uint32_t node = lm_key_node(lm->cfg.uuid, key);
		bool seen = false;

		for (uint32_t j = 0; j < i && !seen; j++)
			seen = lm->scan_keys.keys[j] == key;
		if (seen || !key_is_victim(lm, key))
			continue;
		if (slot_is_victim(lm, node) &&
			key == lm_key_make(lm->cfg.uuid, node,
				       lm->table.nodes[node].slot.generation))
			continue;
		add_victim(lm, node, 0, key);
	}
	if (lm->nr_scan_fences == 1 && lm->scan_status == 0) {
		lm->nr_scan_fences = 0;
		/* Whoever came back meanwhile may still have an engine that writes. */
		if (!lm->clustered || !elect_others_have_role(&lm->elect, lm->node))
			tell(lm);
		return;
	}
	if (--lm->nr_scan_fences == 0)
		round_over(lm);
}

/* ---- looking ---- */

static void scan_failed(struct lm *lm, int status)
{
	if (status == -ERR_FENCED)
		lm_self_fence(lm, "the device refuses this node");
	else
		fall_back(lm, "the slots or keys on the device could not be read");
}

static void keys_read(struct lm_io *io, int status)
{
	struct lm *lm = container_of(io, struct lm, scan_io);

	status = lm_keys_take(&lm->scan_keys, io, status);
	if (lm->step == LM_STEP_FENCE && status == -EAGAIN) {
		lm_keys_read(&lm->scan_keys, io, lm->queue, 0, keys_read);
		return;
	}
	lm->scanning = false;
	if (lm->step != LM_STEP_FENCE)
		return;
	if (status)
		scan_failed(lm, status);
	else
		start_fences(lm);
}

static void table_read(struct lm_table_wait *wait, int status)
{
	struct lm *lm = container_of(wait, struct lm, scan_wait);

	lm->scan_keys.nr = 0;
	if (lm->step == LM_STEP_FENCE && !status && lm->fencing == LM_FENCE_PR) {
		lm_keys_read(&lm->scan_keys, &lm->scan_io, lm->queue, 0, keys_read);
		return;
	}
	lm->scanning = false;
	if (lm->step != LM_STEP_FENCE)
		return;
	if (status)
		scan_failed(lm, status);
	else
		start_fences(lm);
}

static void scan(struct lm *lm)
{
	if (lm->scanning)
		return;
	lm->scanning = true;
	lm->scan_wait.fn = table_read;
	lm_table_read(lm, &lm->scan_wait);
}

void lm_take_over(struct lm *lm)
{
	lm->step = LM_STEP_FENCE;
	lm->nr_scan_fences = 0;
	lm->scan_round++;
	if (lm->fencing == LM_FENCE_NONE) {
		/* A private file: lm_enter() made sure that nobody else uses it. */
		tell(lm);
		return;
	}
	scan(lm);
}

void lm_take_over_again(struct lm *lm)
{
	if (lm->step == LM_STEP_FENCE && lm->nr_scan_fences == 0 &&
		!elect_others_have_role(&lm->elect, lm->node))
		scan(lm);
}

/* ---- what the coordinator says ---- */

void lm_serving(struct lm *lm, uint64_t epoch)
{
	if (lm->step != LM_STEP_TOLD) {
		log_debug("serving, but the role is gone");
		return;
	}
	lm->step = LM_STEP_SERVING;
	lm->epoch = epoch;
	lm_say(lm);
	lm_reconsider(lm);
}

void lm_resign(struct lm *lm, uint32_t to)
{
	if (lm->step != LM_STEP_CLOSING && lm->step < LM_STEP_TOLD)
		return;
	log_info("this node gives the coordinator's role up");
	if (lm->step != LM_STEP_CLOSING) {
		lm->yields = lm->clustered;
		lm->wish = to <= LM_MAX_NODES ? to : 0;
		lm->backoff_ns = clock_mono_ns() + 1000 * LM_NS_PER_MS;
	}
	lm->step = LM_STEP_NONE;
	lm->epoch = 0;
	lm_fence_end_all(lm, -ERR_MOVED);
	lm_say(lm);
	lm_reconsider(lm);
}
