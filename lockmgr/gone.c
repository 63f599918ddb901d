/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The coordinator's care for nodes that left the group, and for those that it evicts. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lockmgr/lm_internal.h"
#include "util/err.h"
#include "util/log.h"

/* A fence whose end is reported. */
struct eviction {
	struct lm_fence_wait wait;
	struct lm *lm;
	uint32_t node;
	uint64_t generation;
	void (*done)(void *arg, int status); /* NULL: nobody asked, it left by itself */
	void *arg;
	struct loop_work work;
	int status;
};

static void report_gone(struct lm *lm, uint32_t node, uint64_t generation)
{
	if (lm->step < LM_STEP_TOLD || generation == LM_GEN_UNKNOWN ||
		lm->gone_gen[node] == generation)
		return;
	lm->gone_gen[node] = generation;
	if (lm->cfg.ops->node_gone)
		lm->cfg.ops->node_gone(lm->cfg.arg, node, generation);
}

static void evicted(struct lm_fence_wait *wait, int status)
{
	struct eviction *e = container_of(wait, struct eviction, wait);

	if (!status)
		report_gone(e->lm, e->node, e->generation);
	if (e->done)
		e->done(e->arg, status);
	free(e);
}

static void evicted_early(struct loop_work *work)
{
	struct eviction *e = container_of(work, struct eviction, work);

	evicted(&e->wait, e->status);
}

/* left: in order, there is no more to do than to see its key off. Without memory a node that left by
 * itself is tried again at the next beat. */
static int evict(struct lm *lm, uint32_t node, uint64_t generation, bool left, const char *why,
	void (*done)(void *arg, int status), void *arg)
{
	struct lm_victim victim = { .node = node, .generation = generation, .left = left };
	struct eviction *e = calloc(1, sizeof(*e));
	int err;

	if (!e)
		return -ENOMEM;
	if (lm->fencing == LM_FENCE_PR)
		victim.key = lm_key_make(lm->cfg.uuid, node, generation);
	*e = (struct eviction){ .lm = lm, .node = node, .generation = generation,
		.done = done, .arg = arg };
	e->wait.fn = evicted;
	err = lm_fence_start(lm, &victim, why, &e->wait);
	if (err)
		free(e);
	return err;
}

/* ---- who left ---- */

/* Deals with one; false = later. The table is fresh. */
static bool deal_with(struct lm *lm, uint32_t node, uint64_t generation)
{
	const struct lm_seen *seen = &lm->table.nodes[node];
	const struct elect_member *m = &lm->elect.members[node];

	if (m->present && !m->known)
		return false; /* it is back, or another mount of it: it will tell */
	if (lm_is_member(lm, node) && m->state.generation == generation)
		return true; /* it was cut off for a moment and nobody needed what it holds */
	if (!seen->corrupt && seen->slot.state == LM_SLOT_LEFT &&
		(generation == LM_GEN_UNKNOWN || seen->slot.generation == generation))
		return evict(lm, node, seen->slot.generation, true, "", NULL, NULL) == 0;
	if (generation == lm->confirmed_gen[node]) {
		report_gone(lm, node, generation);
		return true;
	}
	if (!seen->corrupt && seen->slot.state == LM_SLOT_LIVE && !lm_is_member(lm, node) &&
		seen->slot.generation != generation &&
		evict(lm, node, seen->slot.generation, false, "it left the group", NULL, NULL))
		return false;
	if (generation == LM_GEN_UNKNOWN || lm->gone_gen[node] == generation)
		return true;
	return evict(lm, node, generation, false, "it left the group", NULL, NULL) == 0;
}

static void slots_read(struct lm_table_wait *wait, int status)
{
	struct lm *lm = container_of(wait, struct lm, gone_read);

	if (status || lm->step < LM_STEP_TOLD || lm_phase(lm) != LM_JOINED || !lm_quorate(lm))
		return;
	for (uint32_t node = 1; node <= LM_MAX_NODES; node++) {
		uint64_t generation = lm->gone_wait[node];

		if (generation && deal_with(lm, node, generation) &&
			lm->gone_wait[node] == generation)
			lm->gone_wait[node] = 0;
	}
}

void lm_gone_run(struct lm *lm)
{
	bool any = false;

	if (lm->step < LM_STEP_TOLD || !lm_quorate(lm) || lm->gone_read.queued)
		return;
	for (uint32_t node = 1; node <= LM_MAX_NODES; node++)
		any |= lm->gone_wait[node] != 0;
	if (!any)
		return;
	lm->gone_read.fn = slots_read;
	lm_table_read(lm, &lm->gone_read);
}

/* ---- evicting ---- */

static void fail_later(struct lm *lm, void (*done)(void *arg, int status), void *arg, int status)
{
	struct eviction *e = calloc(1, sizeof(*e));

	if (!e) {
		done(arg, status);
		return;
	}
	*e = (struct eviction){ .lm = lm, .done = done, .arg = arg, .status = status };
	e->work.fn = evicted_early;
	loop_defer(lm->loop, &e->work);
}

void lm_fence(struct lm *lm, uint32_t node, const char *why,
	void (*done)(void *arg, int status), void *arg)
{
	const struct lm_slot *slot;
	uint64_t generation;
	int err;

	if (node < 1 || node > LM_MAX_NODES || node == lm->node) {
		fail_later(lm, done, arg, -EINVAL);
		return;
	}
	if (lm->step < LM_STEP_TOLD || lm_phase(lm) != LM_JOINED) {
		fail_later(lm, done, arg, -ERR_MOVED);
		return;
	}
	slot = &lm->table.nodes[node].slot;
	generation = slot->generation;
	if (lm->clustered && lm->elect.members[node].known)
		generation = lm->elect.members[node].state.generation;
	if (generation == 0) {
		fail_later(lm, done, arg, -ENOENT);
		return;
	}
	if (lm->clustered)
		lm_condemn(lm, node, why);
	err = evict(lm, node, generation, false, why, done, arg);
	if (err)
		fail_later(lm, done, arg, err);
}
