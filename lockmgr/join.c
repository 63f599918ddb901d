/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Joining: the guard of this node, the group, then the key and the slot. The slot says LIVE only
 * when the group knows us already, so no coordinator takes us for a node that vanished.
 *
 * Blocks, by running the loop; a request that does not end in time is ended by fencing the device.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "lockmgr/lm_internal.h"
#include "util/checked.h"
#include "util/err.h"
#include "util/log.h"

#define JOIN_MS 30000u

/* ---- waiting ---- */

static void on_deadline(struct ev_loop *ev, ev_timer *timer, int revents)
{
	bool *late = timer->data;

	*late = true;
}

int lm_run_until(struct lm *lm, const bool *flag, uint64_t deadline_ns)
{
	uint64_t now_ns = clock_mono_ns();
	bool late = now_ns >= deadline_ns;
	ev_timer timer;

	ev_timer_init(&timer, on_deadline, late ? 0.0 : (double)(deadline_ns - now_ns) / 1e9, 0.0);
	timer.data = &late;
	ev_now_update(loop_ev(lm->loop));
	ev_timer_start(loop_ev(lm->loop), &timer);
	while (!*flag && !late)
		loop_run_once(lm->loop, true);
	ev_timer_stop(loop_ev(lm->loop), &timer);
	return *flag ? 0 : -ETIMEDOUT;
}

struct sync_io {
	struct lm_io io;
	struct lm_table_wait wait;
	bool over;
	int status;
};

static void io_over(struct lm_io *io, int status)
{
	struct sync_io *s = container_of(io, struct sync_io, io);

	s->over = true;
	s->status = status;
}

static void table_over(struct lm_table_wait *wait, int status)
{
	struct sync_io *s = container_of(wait, struct sync_io, wait);

	s->over = true;
	s->status = status;
}

/* A request belongs to the device until it ends: if it must not last, the device has to go. */
static int wait_for(struct lm *lm, struct sync_io *s, uint64_t deadline_ns)
{
	if (lm_run_until(lm, &s->over, deadline_ns) == 0)
		return s->status;
	bdev_fence_self(lm->bdev);
	while (!s->over)
		loop_run_once(lm->loop, true);
	return -ETIMEDOUT;
}

static int read_table(struct lm *lm, uint64_t deadline_ns)
{
	struct sync_io s = { .wait.fn = table_over };

	lm_table_read(lm, &s.wait);
	return wait_for(lm, &s, deadline_ns);
}

static int command(struct lm *lm, enum bdev_op op, struct bdev_pr *pr, uint64_t deadline_ns)
{
	struct sync_io s = { 0 };
	int err;

	lm_io_cmd(&s.io, lm->queue, op, pr, 0, io_over);
	err = wait_for(lm, &s, deadline_ns);
	if (!err && pr)
		*pr = s.io.req.pr;
	return err;
}

static int read_keys(struct lm *lm, struct lm_keys *keys, uint64_t deadline_ns)
{
	int err;

	do {
		struct sync_io s = { 0 };

		lm_keys_read(keys, &s.io, lm->queue, 0, io_over);
		err = lm_keys_take(keys, &s.io, wait_for(lm, &s, deadline_ns));
	} while (err == -EAGAIN);
	return err;
}

static void pause_ms(struct lm *lm, uint64_t ms, uint64_t deadline_ns)
{
	uint64_t until_ns = clock_mono_ns() + ms * LM_NS_PER_MS;
	bool never = false;

	(void)!lm_run_until(lm, &never, MIN(until_ns, deadline_ns));
}

/* ---- somebody else? ---- */

/* Slots that say LIVE and might be somebody else's; their nodes as a mask. */
static uint64_t suspects(const struct lm *lm)
{
	uint64_t mask = 0;

	for (uint32_t node = 1; node <= LM_MAX_NODES; node++) {
		const struct lm_slot *slot = &lm->table.nodes[node].slot;

		if (slot->state != LM_SLOT_LIVE || (lm->clustered && node != lm->node))
			continue;
		if (!slot_process_is_dead(slot))
			mask |= 1ull << (node - 1);
	}
	return mask;
}

/* With a group, other nodes' slots are its business. Our own, and without a group every slot, must
 * stand still for a while before it counts as left over from a crash. */
static int watch(struct lm *lm, uint64_t deadline_ns, char **ret_error)
{
	uint64_t mask = suspects(lm), start_ns = clock_mono_ns();
	uint64_t beats[LM_MAX_NODES + 1], wait_ms = 0;
	int err;

	for (uint32_t node = 1; node <= LM_MAX_NODES; node++) {
		const struct lm_slot *slot = &lm->table.nodes[node].slot;

		beats[node] = slot->beat;
		if (mask >> (node - 1) & 1)
			wait_ms = MAX(wait_ms, 3ull * MIN(slot->beat_ms, 5000) + 200);
	}
	if (!mask)
		return 0;
	log_info("waiting %u ms: an earlier mount did not end in order", (unsigned int)wait_ms);
	while (clock_mono_ns() - start_ns < wait_ms * LM_NS_PER_MS) {
		pause_ms(lm, MAX(wait_ms / 10, 20), deadline_ns);
		err = read_table(lm, deadline_ns);
		if (err)
			return lm_fail(ret_error, err, "cannot read the slots: %s", err_str(err));
		for (uint32_t node = 1; node <= LM_MAX_NODES; node++) {
			const struct lm_slot *slot = &lm->table.nodes[node].slot;

			if (mask >> (node - 1) & 1 && slot->state == LM_SLOT_LIVE &&
				slot->beat != beats[node])
				return lm_fail(ret_error, -EBUSY,
					"the volume is in use by node %u (%s): its beat moves", node,
					slot->name);
		}
	}
	return 0;
}

/* ---- reservation ---- */

/* A reservation that is not of this volume's mounts is somebody else's claim to the LUN. */
static int check_foreign(struct lm *lm, const struct bdev_pr *held, const struct lm_keys *keys,
	char **ret_error)
{
	uint32_t ours = 0;

	if (held->type == 0)
		return 0;
	for (uint32_t i = 0; i < keys->nr; i++)
		ours += lm_key_node(lm->cfg.uuid, keys->keys[i]) != 0;
	ours += lm_key_node(lm->cfg.uuid, held->key) != 0; /* its holder may have left since */
	if (ours && (held->type == BDEV_PR_WRITE_EXCLUSIVE_ALL ||
			    held->type == BDEV_PR_WRITE_EXCLUSIVE_REGISTRANTS))
		return 0;
	return lm_fail(ret_error, -EBUSY,
		"the LUN is reserved by another system (reservation type %u, key 0x%llx); if that "
		"system does not use it any more, clear the reservation there",
		held->type, (unsigned long long)held->key);
}

static int reserve(struct lm *lm, uint64_t deadline_ns, char **ret_error)
{
	/* All registrants hold type 7, so it does not go with any one of them. But a PREEMPT of the
	 * nexus that made such a reservation leaves tgtd with a pointer to memory that it has freed:
	 * the LUN then is reserved by nobody, and can't be reserved. tgtd has no PREEMPT AND ABORT,
	 * which is how it is recognized here; with type 5 it does as SPC-4 says. */
	bool aborts = bdev_geom(lm->bdev).caps & BDEV_CAN_PR_ABORT;
	const uint8_t types[] = {
		aborts ? BDEV_PR_WRITE_EXCLUSIVE_ALL : BDEV_PR_WRITE_EXCLUSIVE_REGISTRANTS,
		aborts ? BDEV_PR_WRITE_EXCLUSIVE_REGISTRANTS : BDEV_PR_WRITE_EXCLUSIVE_ALL,
	};
	struct bdev_pr pr;
	int err = 0;

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		pr = (struct bdev_pr){ .key = lm->key, .type = types[i] };
		err = command(lm, BDEV_PR_RESERVE, &pr, deadline_ns);
		if (!err) {
			atomic_store(&lm->pr_type, types[i]);
			return 0;
		}
		if (err == -EBUSY) {
			/* Another member was quicker. */
			pr = (struct bdev_pr){ 0 };
			err = command(lm, BDEV_PR_READ_RESERVATION, &pr, deadline_ns);
			if (!err && pr.type) {
				atomic_store(&lm->pr_type, pr.type);
				return 0;
			}
			if (!err)
				err = -EBUSY;
		}
		if (err == -ETIMEDOUT || err == -ERR_FENCED || err == -ERR_TRANSPORT)
			break;
	}
	return lm_fail(ret_error, err, "cannot reserve the LUN: %s", err_str(err));
}

/* Our dead predecessor's registrations, and in single mode those of anyone. */
static int preempt_old(struct lm *lm, struct lm_keys *keys, bool was_live, uint64_t deadline_ns,
	char **ret_error)
{
	bool aborts = bdev_geom(lm->bdev).caps & BDEV_CAN_PR_ABORT;
	bool reset = was_live && !aborts;
	int err = 0;

	for (uint32_t i = 0; i < keys->nr; i++) {
		struct bdev_pr pr = { .key = lm->key, .victim = keys->keys[i],
			.type = atomic_load(&lm->pr_type), .abort = aborts };

		if (keys->keys[i] == lm->key || lm_key_node(lm->cfg.uuid, keys->keys[i]) != lm->node)
			continue;
		err = command(lm, BDEV_PR_PREEMPT, &pr, deadline_ns);
		if (aborts && err && err != -EBUSY) {
			aborts = pr.abort = false;
			err = command(lm, BDEV_PR_PREEMPT, &pr, deadline_ns);
		}
		if (err && err != -EBUSY) /* twice the same key: gone with the first */
			goto out;
		reset |= !aborts;
	}
	err = reset ? command(lm, BDEV_LUN_RESET, NULL, deadline_ns) : 0;
	if (err == -EOPNOTSUPP)
		err = 0; /* that process is dead, and its sessions with it */
	if (!err)
		err = read_keys(lm, keys, deadline_ns);
	for (uint32_t i = 0; i < keys->nr && !err; i++)
		if (keys->keys[i] != lm->key && lm_key_node(lm->cfg.uuid, keys->keys[i]) == lm->node)
			err = -EBUSY;
out:
	if (err)
		lm_fail(ret_error, err, "cannot remove the registrations of this node's earlier mount: %s",
			err_str(err));
	return err;
}

static int register_key(struct lm *lm, bool was_live, uint64_t deadline_ns, char **ret_error)
{
	struct bdev_pr held = { 0 }, pr = { .new_key = lm->key };
	struct lm_keys keys = { 0 };
	int err;

	/* The reservation first: who holds it has registered before, so that the keys tell whose it is
	 * though members register meanwhile. */
	err = command(lm, BDEV_PR_READ_RESERVATION, &held, deadline_ns);
	if (!err)
		err = read_keys(lm, &keys, deadline_ns);
	if (err) {
		lm_fail(ret_error, err, "cannot read the LUN's reservations: %s", err_str(err));
		goto out;
	}
	err = check_foreign(lm, &held, &keys, ret_error);
	if (err)
		goto out;
	err = command(lm, BDEV_PR_REGISTER, &pr, deadline_ns);
	if (err) {
		lm_fail(ret_error, err, "cannot register with the LUN: %s", err_str(err));
		goto out;
	}
	if (held.type)
		atomic_store(&lm->pr_type, held.type);
	else
		err = reserve(lm, deadline_ns, ret_error);
	if (!err)
		err = read_keys(lm, &keys, deadline_ns);
	if (!err)
		err = preempt_old(lm, &keys, was_live, deadline_ns, ret_error);
out:
	lm_keys_done(&keys);
	return err;
}

/* ---- the slot ---- */

static void fill_self(struct lm *lm)
{
	const struct lm_slot *old = &lm->table.nodes[lm->node].slot;

	lm->self = (struct lm_slot){
		.state = LM_SLOT_LIVE,
		.node = lm->node,
		.generation = lm->generation,
		.pr_key = lm->key,
		.epoch = old->epoch,
		.beat = old->beat + 1,
		.time_ns = clock_real_ns(),
		.lease_ms = lm->lease_ms,
		.beat_ms = lm->beat_ms,
	};
	memcpy(lm->self.fenced_gen, old->fenced_gen, sizeof(old->fenced_gen));
	memcpy(lm->self.name, lm->name, sizeof(lm->name));
	slot_set_process(&lm->self);
}

static int write_self(struct lm *lm, uint64_t deadline_ns, char **ret_error)
{
	struct sync_io s = { 0 };
	const struct lm_seen *me = &lm->table.nodes[lm->node];
	int err;

	fill_self(lm);
	slot_encode(&lm->self, lm->cfg.uuid, lm_slot_blk(lm, lm->node), lm->beat_io.block);
	lm->beat_start_ns = clock_mono_ns();
	lm_io_rw(&s.io, lm->queue, BDEV_WRITE, lm->beat_io.block, lm_slot_blk(lm, lm->node), 1,
		BDEV_FUA | (lm->fencing == LM_FENCE_LEASE ? BDEV_GATE : 0), io_over);
	err = wait_for(lm, &s, deadline_ns);
	if (!err)
		err = read_table(lm, deadline_ns);
	if (err)
		return lm_fail(ret_error, err, "cannot write this node's slot: %s", err_str(err));
	if (me->corrupt || me->slot.generation != lm->generation)
		return lm_fail(ret_error, -EBUSY, "somebody else writes this node's slot (%s)",
			me->slot.name);
	return 0;
}

/* What the process before us sent may still be on its way to a server on the network (L2 in
 * fence_lease.c); on a device of this host it ended with the process. */
static void let_old_writes_end(struct lm *lm, uint64_t deadline_ns)
{
	const struct lm_slot *old = &lm->table.nodes[lm->node].slot;

	if (lm->fencing == LM_FENCE_LEASE && old->state == LM_SLOT_LIVE &&
		(bdev_geom(lm->bdev).caps & BDEV_SHARED))
		pause_ms(lm, lm_lease_margin_ms(old->lease_ms), deadline_ns);
}

int lm_enter(struct lm *lm, uint64_t deadline_ns, char **ret_error)
{
	const struct lm_seen *me = &lm->table.nodes[lm->node];
	bool was_live;
	int err;

	err = read_table(lm, deadline_ns);
	if (err)
		return lm_fail(ret_error, err, "cannot read the slots: %s", err_str(err));
	err = watch(lm, deadline_ns, ret_error);
	if (err)
		return err;
	was_live = !me->corrupt && me->slot.state == LM_SLOT_LIVE;
	lm->old_generation = me->slot.generation;
	if ((lm->generation & 0xffffffff) == (lm->old_generation & 0xffffffff))
		lm->generation++;
	if (lm->fencing == LM_FENCE_PR) {
		lm->key = lm_key_make(lm->cfg.uuid, lm->node, lm->generation);
		lm_set_phase(lm, LM_JOINING);
		err = register_key(lm, was_live, deadline_ns, ret_error);
		if (err)
			return err;
	}
	lm_set_phase(lm, LM_JOINING);
	let_old_writes_end(lm, deadline_ns);
	err = write_self(lm, deadline_ns, ret_error);
	if (err)
		return err;
	lm->beat_ok_ns = clock_mono_ns();
	lm->beat_on_lun = lm->self.beat;
	lm->path_said = true;
	lm_set_phase(lm, LM_JOINED);
	if (lm->fencing == LM_FENCE_LEASE) {
		lm->deadline_ns = lm->beat_start_ns + (uint64_t)lm->lease_ms * LM_NS_PER_MS;
		bdev_set_write_deadline(lm->bdev, lm->deadline_ns);
	}
	lm_beat_start(lm);
	lm_beat_kick(lm);
	return 0;
}

/* ---- the whole ---- */

static int join_group(struct lm *lm, uint64_t deadline_ns, char **ret_error)
{
	static const char digits[] = "0123456789abcdef";
	char name[sizeof("csvfs:") + 36], *p = name + strlen(strcpy(name, "csvfs:"));
	int err;

	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = digits[lm->cfg.uuid[i] >> 4];
		*p++ = digits[lm->cfg.uuid[i] & 15];
	}
	*p = '\0';
	err = group_open(lm->loop, name, &lm_group_ops, lm, &lm->group, ret_error);
	if (err)
		return err;
	lm->node = group_node(lm->group);
	snprintf(lm->address, sizeof(lm->address), "%s", group_address(lm->group));
	if (lm->node < 1 || lm->node > LM_MAX_NODES)
		return lm_fail(ret_error, -EINVAL,
			"this node's id is %u in Corosync's configuration: csvfs needs 1 to %u",
			lm->node, LM_MAX_NODES);
	if (!lm->address[0])
		return lm_fail(ret_error, -EINVAL,
			"Corosync knows no numeric address of node %u: set ring0_addr", lm->node);
	err = lm_run_until(lm, &lm->in_group, MIN(deadline_ns, clock_mono_ns() + 10000000000ull));
	if (err)
		return lm_fail(ret_error, -ENOTCONN,
			"Corosync runs, but did not let this node join its group in 10 s");
	if (lm->twin)
		return lm_fail(ret_error, -EBUSY,
			"another process of node %u has this volume mounted", lm->node);
	return 0;
}

static void undo(struct lm *lm)
{
	struct bdev_pr pr = { .key = lm->key };

	if (lm->key && lm_phase(lm) == LM_JOINING)
		(void)!command(lm, BDEV_PR_REGISTER, &pr,
			clock_mono_ns() + 2000 * LM_NS_PER_MS);
	lm->key = 0;
	group_close(lm->group);
	lm->group = NULL;
	lm->in_group = false;
	if (lm->guard_fd >= 0)
		close(lm->guard_fd);
	lm->guard_fd = -1;
	if (lm_phase(lm) != LM_FENCED)
		lm_set_phase(lm, LM_NEW);
}

int lm_join(struct lm *lm, struct bdev_queue *queue, char **ret_error)
{
	uint64_t deadline_ns = clock_mono_ns() + JOIN_MS * LM_NS_PER_MS;
	int err;

	*ret_error = NULL;
	assert(lm_phase(lm) == LM_NEW);
	lm->queue = queue;
	err = lm_guard_take(lm->cfg.uuid, deadline_ns, &lm->guard_fd);
	if (err) {
		err = err == -EBUSY ? -ERR_MOUNTED : err;
		lm_fail(ret_error, err,
			err == -ERR_MOUNTED ? "this volume is mounted on this node already" :
			err == -ETIMEDOUT ? "an earlier mount of this volume on this node is unmounted, and "
					    "has not ended yet: its messages in the system log say why" :
					    "cannot make sure that this volume is mounted once: %s",
			err_str(err));
		goto out;
	}
	deadline_ns = clock_mono_ns() + JOIN_MS * LM_NS_PER_MS;
	if (lm->clustered) {
		err = join_group(lm, deadline_ns, ret_error);
		if (err)
			goto out;
	}
	err = lm_enter(lm, deadline_ns, ret_error);
	if (err)
		goto out;
	lm_say(lm);
	return 0;
out:
	undo(lm);
	if (!*ret_error)
		lm_fail(ret_error, err, "cannot join: %s", err_str(err));
	return err;
}
