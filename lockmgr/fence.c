/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fences under way: one for each mount that must go, whoever asks for it. How is in fence_pr.c and
 * fence_lease.c; both end in lm_fence_over(), and neither gives up by itself (M3). A fence that is
 * over stays on fences_over until its waiters were told and its last request came back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lockmgr/lm_internal.h"
#include "util/checked.h"
#include "util/err.h"
#include "util/log.h"

#define RETRY_MIN_MS 100u
#define RETRY_MAX_MS 2000u
#define ALERT_NS (10000 * LM_NS_PER_MS)

static void start(struct lm_fence *f)
{
	if (f->lm->cfg.no_fence)
		lm_fence_over(f, 0);
	else if (f->lm->fencing == LM_FENCE_PR)
		lm_fence_pr_start(f);
	else
		lm_fence_lease_start(f);
}

static void on_timer(struct ev_loop *ev, ev_timer *timer, int revents)
{
	start(container_of(timer, struct lm_fence, timer));
}

bool lm_fence_reap(struct lm_fence *f)
{
	if (!f->over)
		return false;
	if (!f->io.busy && !f->sio.io.busy && f->told) {
		list_del(&f->link);
		lm_slot_io_done(&f->sio);
		lm_keys_done(&f->keys);
		free(f);
	}
	return true;
}

static void set_activity(struct lm *lm)
{
	lm->fencing_text[0] = '\0';
	if (!list_empty(&lm->fences))
		snprintf(lm->fencing_text, sizeof(lm->fencing_text), "fencing node %u",
			list_entry(lm->fences.next, struct lm_fence, link)->victim.node);
}

static void tell(struct loop_work *work)
{
	struct lm_fence *f = container_of(work, struct lm_fence, work);
	struct list waits = LIST_INIT(waits);
	int status = f->status;

	list_splice_tail(&waits, &f->waits);
	f->told = true;
	lm_fence_reap(f);
	while (!list_empty(&waits)) {
		struct lm_fence_wait *wait = list_entry(waits.next, struct lm_fence_wait, link);

		list_del(&wait->link);
		wait->fn(wait, status);
	}
}

void lm_fence_over(struct lm_fence *f, int status)
{
	struct lm *lm = f->lm;

	assert(!f->over);
	f->over = true;
	f->status = status;
	ev_timer_stop(loop_ev(lm->loop), &f->timer);
	lm_table_cancel(&f->table_wait);
	list_del(&f->link);
	list_add_tail(&lm->fences_over, &f->link);
	set_activity(lm);
	if (!status && !f->victim.left) {
		lm->confirmed_gen[f->victim.node] = f->victim.generation;
		log_info("node %u (generation %llx) is fenced: %s", f->victim.node,
			(unsigned long long)f->victim.generation, f->why);
	}
	f->work.fn = tell;
	loop_defer(lm->loop, &f->work);
}

void lm_fence_again(struct lm_fence *f, const char *what, int status)
{
	uint32_t wait_ms = MIN(RETRY_MIN_MS << MIN(f->tries, 5u), RETRY_MAX_MS);
	uint64_t now_ns = clock_mono_ns();

	if (status == -ERR_FENCED) {
		lm_self_fence(f->lm, "another node has taken this node's registration");
		return;
	}
	f->tries++;
	log_debug("fencing node %u, try %u: %s: %s", f->victim.node, f->tries, what,
		status ? err_str(status) : "not yet");
	if (now_ns - f->alert_ns >= ALERT_NS) {
		f->alert_ns = now_ns;
		log_error("the fence of node %u cannot be confirmed for %u s (%s: %s): what it holds "
			  "stays blocked",
			f->victim.node, (unsigned int)((now_ns - f->start_ns) / 1000000000), what,
			status ? err_str(status) : "not yet");
	}
	ev_timer_set(&f->timer, wait_ms / 1000.0, 0.0);
	ev_timer_start(loop_ev(f->lm->loop), &f->timer);
}

static struct lm_fence *find(struct lm *lm, const struct lm_victim *victim)
{
	struct list *pos;

	list_for_each(pos, &lm->fences) {
		struct lm_fence *f = list_entry(pos, struct lm_fence, link);

		if (f->victim.node == victim->node && f->victim.generation == victim->generation &&
			f->victim.key == victim->key)
			return f;
	}
	return NULL;
}

int lm_fence_start(struct lm *lm, const struct lm_victim *victim, const char *why,
	struct lm_fence_wait *wait)
{
	struct lm_fence *f = find(lm, victim);

	if (f) {
		list_add_tail(&f->waits, &wait->link);
		return 0;
	}
	f = calloc(1, sizeof(*f));
	if (!f || lm_slot_io_init(&f->sio)) {
		free(f);
		return -ENOMEM;
	}
	f->lm = lm;
	f->victim = *victim;
	snprintf(f->why, sizeof(f->why), "%s", why);
	f->start_ns = f->alert_ns = clock_mono_ns();
	list_init(&f->waits);
	list_add_tail(&f->waits, &wait->link);
	list_add_tail(&lm->fences, &f->link);
	ev_timer_init(&f->timer, on_timer, 0.0, 0.0);
	set_activity(lm);
	if (!victim->left)
		log_warn("fencing node %u (generation %llx): %s", victim->node,
			(unsigned long long)victim->generation, why);
	start(f);
	return 0;
}

void lm_fence_end_all(struct lm *lm, int status)
{
	while (!list_empty(&lm->fences))
		lm_fence_over(list_entry(lm->fences.next, struct lm_fence, link), status);
}

bool lm_victim_is_marked(const struct lm *lm, const struct lm_victim *victim)
{
	const struct lm_seen *seen = &lm->table.nodes[victim->node];

	if (seen->corrupt)
		return false;
	return victim->generation == 0 || seen->slot.generation != victim->generation ||
		seen->slot.state != LM_SLOT_LIVE;
}

void lm_fenced_slot(const struct lm_fence *f, struct lm_slot *ret)
{
	*ret = f->lm->table.nodes[f->victim.node].slot;
	ret->node = f->victim.node;
	ret->generation = f->victim.generation;
	ret->state = LM_SLOT_FENCED;
	ret->fenced_by = f->lm->node;
	ret->beat++;
}
