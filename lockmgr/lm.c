/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making, freeing, being fenced, and what an lm tells about itself. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lockmgr/lm_internal.h"
#include "util/checked.h"
#include "util/err.h"
#include "util/log.h"

#define DEFAULT_LEASE_MS 8000u
#define DEFAULT_BEAT_MS 1000u
#define DEFAULT_SILENCE_MS 10000u

int lm_fail(char **ret_error, int err, const char *fmt, ...)
{
	va_list ap;

	if (!ret_error || *ret_error)
		return err;
	va_start(ap, fmt);
	if (vasprintf(ret_error, fmt, ap) < 0)
		*ret_error = NULL;
	va_end(ap);
	return err;
}

/* ---- being fenced (M5) ---- */

static void tell_fenced(struct loop_work *work)
{
	struct lm *lm = container_of(work, struct lm, fenced_work);

	lm->fenced_queued = false;
	if (lm->cfg.ops->fenced)
		lm->cfg.ops->fenced(lm->cfg.arg, lm->fenced_why);
}

void lm_self_fence(struct lm *lm, const char *fmt, ...)
{
	bool told = lm->step >= LM_STEP_TOLD;
	va_list ap;

	if (lm_phase(lm) == LM_FENCED || lm_phase(lm) == LM_LEFT)
		return;
	va_start(ap, fmt);
	vsnprintf(lm->fenced_why, sizeof(lm->fenced_why), fmt, ap);
	va_end(ap);
	lm_set_phase(lm, LM_FENCED);
	bdev_fence_self(lm->bdev);
	log_error("this node was fenced: %s", lm->fenced_why);
	lm->step = LM_STEP_NONE;
	lm_beat_stop(lm);
	lm_fence_end_all(lm, -ERR_FENCED);
	group_close(lm->group);
	lm->group = NULL;
	lm->in_group = false;
	if (told && lm->cfg.ops->step_down)
		lm->cfg.ops->step_down(lm->cfg.arg, lm->fenced_why);
	lm->fenced_queued = true;
	lm->fenced_work.fn = tell_fenced;
	loop_defer(lm->loop, &lm->fenced_work);
}

/* ---- new and free ---- */

static enum lm_fencing choose_fencing(const struct lm_cfg *cfg)
{
	uint32_t caps = bdev_geom(cfg->bdev).caps;

	if ((caps & BDEV_CAN_PR) && (!cfg->single || (caps & BDEV_SHARED)))
		return LM_FENCE_PR;
	if (!cfg->single || (caps & BDEV_SHARED))
		return LM_FENCE_LEASE;
	return LM_FENCE_NONE;
}

static void set_name(struct lm *lm, const char *name)
{
	char host[sizeof(lm->name)] = "";

	if (!name) {
		gethostname(host, sizeof(host) - 1);
		name = host;
	}
	snprintf(lm->name, sizeof(lm->name), "%s", name);
}

int lm_new(const struct lm_cfg *cfg, struct lm **ret_lm)
{
	struct lm *lm = calloc(1, sizeof(*lm));

	if (!lm)
		return -ENOMEM;
	lm->cfg = *cfg;
	lm->loop = cfg->loop;
	lm->bdev = cfg->bdev;
	lm->guard_fd = -1;
	lm->clustered = !cfg->single;
	lm->fencing = choose_fencing(cfg);
	lm->lease_ms = cfg->lease_ms ? cfg->lease_ms : DEFAULT_LEASE_MS;
	lm->beat_ms = cfg->beat_ms ? cfg->beat_ms : DEFAULT_BEAT_MS;
	lm->silence_ms = cfg->silence_ms ? cfg->silence_ms : DEFAULT_SILENCE_MS;
	set_name(lm, cfg->name);
	lm->cfg.name = lm->name;
	if (cfg->single) {
		lm->node = 1;
		strcpy(lm->address, "127.0.0.1");
	}
	/* Time makes it new, and newer than the last one; about 0.13 us a step. */
	lm->generation = MAX(clock_real_ns() >> 7, LM_GEN_UNKNOWN + 1);
	pthread_mutex_init(&lm->gates_lock, NULL);
	list_init(&lm->gates);
	list_init(&lm->fences);
	list_init(&lm->fences_over);
	if (lm_table_init(lm) || lm_slot_io_init(&lm->beat_io)) {
		lm_free(lm);
		return -ENOMEM;
	}
	/* M4: without a lease nothing is written but what takes the lease. */
	if (lm->fencing == LM_FENCE_LEASE && !cfg->no_fence)
		bdev_set_write_deadline(lm->bdev, 0);
	bdev_set_gate(lm->bdev, lm_gate, lm);
	*ret_lm = lm;
	return 0;
}

static void left(void *arg)
{
	bool *over = arg;

	*over = true;
}

void lm_free(struct lm *lm)
{
	bool over = false;

	if (!lm)
		return;
	if (lm->queue && !lm->leave_done) {
		lm_leave(lm, left, &over);
		while (!over)
			loop_run_once(lm->loop, true);
	}
	assert(!ev_is_active(&lm->leave_timer));
	loop_cancel(lm->loop, &lm->fenced_work);
	lm_gates_free(lm);
	group_close(lm->group);
	lm_keys_done(&lm->scan_keys);
	lm_keys_done(&lm->leave_keys);
	lm_slot_io_done(&lm->beat_io);
	lm_table_done(lm);
	if (lm->guard_fd >= 0)
		close(lm->guard_fd);
	pthread_mutex_destroy(&lm->gates_lock);
	free(lm);
}

void lm_ending(struct lm *lm)
{
	lm_guard_ending(lm->guard_fd);
}

/* ---- telling ---- */

uint32_t lm_node(const struct lm *lm)
{
	return lm->node;
}

uint64_t lm_generation(const struct lm *lm)
{
	return lm->generation;
}

const char *lm_address(const struct lm *lm)
{
	return lm->address;
}

const char *lm_member_address(const struct lm *lm, uint32_t node, uint64_t *ret_generation)
{
	if (node < 1 || node > LM_MAX_NODES || !lm->clustered || !elect_is_member(&lm->elect, node) ||
		!lm->elect.members[node].known)
		return NULL;
	*ret_generation = lm->elect.members[node].state.generation;
	return lm->elect.members[node].state.address;
}

static const char *activity(const struct lm *lm)
{
	if (lm_phase(lm) == LM_FENCED)
		return "fenced";
	if (lm->fencing_text[0])
		return lm->fencing_text;
	if (lm_phase(lm) != LM_JOINED || !lm->clustered)
		return "";
	if (!lm->in_group)
		return "waiting for Corosync";
	if (!lm_quorate(lm))
		return "waiting for quorum";
	if (lm->coord.node == 0)
		return elect_complete(&lm->elect) ? "waiting for a coordinator" :
						    "waiting for members";
	return "";
}

static void fill_node(const struct lm *lm, uint32_t node, struct lm_node_info *info)
{
	const struct lm_seen *seen = &lm->table.nodes[node];
	const struct elect_member *m = &lm->elect.members[node];
	uint64_t now_ns = clock_mono_ns();

	*info = (struct lm_node_info){
		.node = node,
		.generation = seen->slot.generation,
		.pr_key = seen->slot.pr_key,
		.member = lm_is_member(lm, node),
		.live = seen->slot.state == LM_SLOT_LIVE,
		.coordinator = lm->coord.node == node,
		.beat_age_ms = seen->change_ns ? (now_ns - seen->change_ns) / LM_NS_PER_MS :
						 UINT64_MAX,
	};
	memcpy(info->name, seen->slot.name, sizeof(info->name));
	if (m->known) {
		memcpy(info->name, m->state.name, sizeof(info->name));
		memcpy(info->address, m->state.address, sizeof(info->address));
	}
	if (node == lm->node) {
		memcpy(info->name, lm->name, sizeof(info->name));
		memcpy(info->address, lm->address, sizeof(info->address));
	}
}

void lm_status(const struct lm *lm, struct lm_status *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->fencing = lm->fencing;
	ret->clustered = lm->clustered;
	ret->quorate = lm_quorate(lm);
	ret->member_mask = lm->told_mask;
	ret->coord = lm->coord;
	ret->activity = activity(lm);
	for (uint32_t node = 1; node <= LM_MAX_NODES; node++)
		if (lm_is_member(lm, node) || lm->table.nodes[node].slot.state != LM_SLOT_FREE)
			fill_node(lm, node, &ret->nodes[ret->nr_nodes++]);
}
