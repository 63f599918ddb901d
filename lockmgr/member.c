/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The group: what we say, what we hear, who is silent; and what callers are told of it. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "lockmgr/group_format.h"
#include "lockmgr/lm_internal.h"
#include "util/checked.h"
#include "util/err.h"
#include "util/log.h"

/* ---- questions ---- */

bool lm_is_member(const struct lm *lm, uint32_t node)
{
	return node == lm->node || (lm->clustered && elect_is_member(&lm->elect, node));
}

bool lm_quorate(const struct lm *lm)
{
	return !lm->clustered ||
		(lm->group && lm->in_group && group_quorum(lm->group) == GROUP_QUORATE);
}

uint64_t lm_silent_ms(const struct lm *lm, uint32_t node)
{
	uint64_t change_ns = lm->table.nodes[node].change_ns;

	if (change_ns == 0 || lm->table.start_ns <= change_ns)
		return 0;
	return (lm->table.start_ns - change_ns) / LM_NS_PER_MS;
}

/* ---- what callers are told ---- */

static void tell_membership(struct lm *lm)
{
	uint64_t mask = lm->clustered ? elect_mask(&lm->elect) : 1ull << (lm->node - 1);
	bool quorate = lm_quorate(lm);

	/* Between two views of the same quorum nothing is to be told. */
	if (lm->clustered && lm->in_group && group_quorum(lm->group) == GROUP_QUORUM_PENDING)
		quorate = lm->told_quorate;
	if (mask == lm->told_mask && quorate == lm->told_quorate)
		return;
	lm->told_mask = mask;
	lm->told_quorate = quorate;
	log_info("members %llx, %s", (unsigned long long)mask, quorate ? "quorate" : "not quorate");
	if (lm->cfg.ops->membership)
		lm->cfg.ops->membership(lm->cfg.arg, mask, quorate);
}

static void tell_coordinator(struct lm *lm)
{
	struct lm_coordinator coord = { 0 };
	uint32_t node = 0;

	if (lm->clustered) {
		const struct elect_state *state;

		node = elect_serving(&lm->elect);
		state = &lm->elect.members[node].state;
		if (node) {
			coord.epoch = state->epoch;
			coord.port = state->port;
			memcpy(coord.address, state->address, sizeof(coord.address));
		}
	} else if (lm->step == LM_STEP_SERVING) {
		node = lm->node;
		coord.epoch = lm->epoch;
		coord.port = lm->cfg.port;
		memcpy(coord.address, lm->address, sizeof(coord.address));
	}
	coord.node = node;
	if (memcmp(&coord, &lm->coord, sizeof(coord)) == 0)
		return;
	lm->coord = coord;
	if (node)
		log_info("node %u coordinates, epoch %llu", node, (unsigned long long)coord.epoch);
	else
		log_info("no node coordinates at present");
	if (lm->cfg.ops->coordinator)
		lm->cfg.ops->coordinator(lm->cfg.arg, &coord);
}

/* ---- saying ---- */

static enum lm_role said_role(enum lm_step step)
{
	switch (step) {
	case LM_STEP_NONE:
		return LM_ROLE_NONE;
	case LM_STEP_CLOSING:
		return LM_ROLE_CLOSING;
	case LM_STEP_SERVING:
		return LM_ROLE_SERVING;
	default:
		return LM_ROLE_TAKING;
	}
}

void lm_say(struct lm *lm)
{
	struct elect_state state = {
		.node = lm->node,
		.generation = lm->generation,
		.epoch = lm->step == LM_STEP_SERVING ? lm->epoch : 0,
		.role = said_role(lm->step),
		.claim = lm->claim,
		.wish = lm->wish,
		.path = lm->path_said,
		.joining = lm_phase(lm) != LM_JOINED,
		.yields = lm->yields,
		.port = lm->cfg.port,
	};
	struct lm_msg msg;

	if (!lm->group || !lm->in_group)
		return;
	memcpy(state.address, lm->address, sizeof(state.address));
	memcpy(state.name, lm->name, sizeof(state.name));
	memcpy(state.condemned, lm->condemned, sizeof(state.condemned));
	elect_encode(&state, lm->cfg.uuid, &msg);
	group_send(lm->group, &msg, sizeof(msg));
}

void lm_condemn(struct lm *lm, uint32_t node, const char *why)
{
	const struct elect_member *m = &lm->elect.members[node];
	const struct lm_slot *slot = &lm->table.nodes[node].slot;
	/* A joiner that hangs before it has spoken; the verdict ends when it does speak. */
	uint64_t generation = UINT64_MAX;

	if (m->known)
		generation = m->state.generation;
	else if (slot->state == LM_SLOT_LIVE)
		generation = slot->generation;
	if (lm->condemned[node] == generation)
		return;
	lm->condemned[node] = generation;
	log_warn("node %u counts as dead: %s", node, why);
	lm_say(lm);
}

/*
 * A stopped process stays in the group as long as its Corosync runs. What it says on the LUN tells:
 * its beat stands still. That matters when it holds the role, or keeps an election waiting.
 */
static void watch_silence(struct lm *lm, uint32_t chosen)
{
	uint64_t view_ms = (clock_mono_ns() - lm->view_ns) / LM_NS_PER_MS;
	bool others_wait = chosen == 0 || (chosen == lm->node && lm->step == LM_STEP_FENCE);

	if (!lm_has_path(lm))
		return;
	for (uint32_t node = 1; node <= LM_MAX_NODES; node++) {
		const struct elect_member *m = &lm->elect.members[node];

		if (node == lm->node || !elect_is_member(&lm->elect, node) ||
			lm_silent_ms(lm, node) < lm->silence_ms)
			continue;
		if (m->known && m->state.role != LM_ROLE_NONE)
			lm_condemn(lm, node, "it has the coordinator's role and does not beat");
		else if (others_wait && !m->spoken && view_ms >= lm->silence_ms)
			lm_condemn(lm, node, "it neither speaks nor beats");
	}
}

/* ---- acting ---- */

/* Our claim is on its way: who comes first is known when it is heard here, as everybody hears it.
 * Giving it up before would let two that claim at once give up both, again and again. */
static bool claim_flies(const struct lm *lm)
{
	const struct elect_state *own = &lm->elect.members[lm->node].state;

	return lm->step == LM_STEP_CLAIM && !elect_serving(&lm->elect) &&
		!(own->role == LM_ROLE_TAKING && own->claim == lm->claim);
}

static void reconsider_cluster(struct lm *lm)
{
	uint32_t chosen = elect_choose(&lm->elect);
	enum group_quorum quorum = group_quorum(lm->group);
	bool path = lm_has_path(lm);

	if (lm->yields && elect_serving(&lm->elect) && elect_serving(&lm->elect) != lm->node) {
		lm->yields = false;
		lm->wish = 0;
		lm_say(lm);
	}
	if (path != lm->path_said) {
		lm->path_said = path;
		lm_say(lm);
	}
	if (lm->step > LM_STEP_CLOSING) {
		if (!lm->in_group || quorum == GROUP_NOT_QUORATE)
			lm_drop_role(lm, "this partition has no quorum");
		else if (chosen && chosen != lm->node && !claim_flies(lm))
			lm_drop_role(lm, "another node coordinates");
	}
	watch_silence(lm, chosen);
	if (lm->step == LM_STEP_NONE && chosen == lm->node && lm_quorate(lm) && path &&
		clock_mono_ns() >= lm->backoff_ns)
		lm_claim(lm);
	else
		lm_take_over_again(lm);
}

void lm_reconsider(struct lm *lm)
{
	if (lm_phase(lm) != LM_JOINED)
		return;
	tell_membership(lm);
	if (lm->clustered && lm->group)
		reconsider_cluster(lm);
	else if (!lm->clustered && lm->step == LM_STEP_NONE && clock_mono_ns() >= lm->backoff_ns)
		lm_take_over(lm);
	if (lm_phase(lm) != LM_JOINED)
		return;
	tell_coordinator(lm);
	lm_gone_run(lm);
}

/* ---- hearing ---- */

static void on_view(void *arg, const struct group_member *members, size_t nr_members,
	const struct group_member *left, size_t nr_left)
{
	struct lm *lm = arg;

	lm->in_group = false;
	for (size_t i = 0; i < nr_members; i++) {
		if (members[i].node != lm->node)
			continue;
		if (members[i].pid == (uint32_t)getpid())
			lm->in_group = true;
		else
			lm->twin = true;
	}
	for (size_t i = 0; i < nr_left; i++) {
		uint32_t node = left[i].node;
		const struct elect_member *m;

		if (node < 1 || node > LM_MAX_NODES || node == lm->node)
			continue;
		m = &lm->elect.members[node];
		if (!m->present || m->pid == left[i].pid)
			lm->gone_wait[node] = m->known ? m->state.generation : LM_GEN_UNKNOWN;
	}
	elect_view(&lm->elect, members, nr_members);
	for (uint32_t node = 1; node <= LM_MAX_NODES; node++)
		if (!lm->elect.members[node].present || !lm->elect.members[node].known)
			lm->condemned[node] = 0;
	lm->view_ns = clock_mono_ns();
	lm_say(lm);
	lm_reconsider(lm);
}

static void on_message(void *arg, uint32_t node, uint32_t pid, const void *msg, size_t len)
{
	struct lm *lm = arg;
	struct elect_state state;
	int err = elect_decode(msg, len, lm->cfg.uuid, node, &state);

	if (err) {
		log_error("a message from node %u (process %u) was ignored: %s%s", node, pid,
			err_str(err), err == -ERR_VERSION ? ": it runs another version" : "");
		return;
	}
	if (node <= LM_MAX_NODES && lm->elect.members[node].pid != pid)
		return;
	if (elect_heard(&lm->elect, &state))
		return;
	if (lm_phase(lm) == LM_JOINED && elect_is_condemned(&lm->elect, lm->node) &&
		!lm->cfg.no_fence && !lm->no_courtesy) {
		lm_self_fence(lm, "the other nodes hold this node for dead, because it did not "
				  "answer or its beat stood still");
		return;
	}
	if (node == lm->node && lm->step == LM_STEP_CLAIM && state.role == LM_ROLE_TAKING &&
		state.claim == lm->claim && elect_choose(&lm->elect) == lm->node)
		lm_take_over(lm);
	lm_reconsider(lm);
}

static void on_quorum(void *arg)
{
	lm_reconsider(arg);
}

static void on_lost(void *arg)
{
	struct lm *lm = arg;

	log_error("the connection to Corosync is lost: this node does not coordinate until it is "
		  "back; I/O to mapped blocks goes on");
	lm->in_group = false;
	elect_view(&lm->elect, NULL, 0);
	memset(lm->gone_wait, 0, sizeof(lm->gone_wait));
	lm_reconsider(lm);
}

const struct group_ops lm_group_ops = {
	.view = on_view,
	.message = on_message,
	.quorum = on_quorum,
	.lost = on_lost,
};
