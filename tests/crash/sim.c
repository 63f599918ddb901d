/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cluster: devices, engine, coordinator, channels, takeovers. */
#include "tests/crash/sim.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "csvfs/core/core_internal.h"
#include "csvfs/node/node_internal.h"
#include "journal/journal_internal.h"
#include "tests/crash/hooks.h"
#include "tests/unit/test.h"

#define MAX_TURNS 200000u

void sim_complain(struct sim *sim, const char *fmt, ...)
{
	va_list ap;

	if (sim->failed)
		return;
	sim->failed = true;
	va_start(ap, fmt);
	fprintf(stderr, "crash: ");
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, "\n");
	va_end(ap);
}

uint64_t sim_events(const struct sim *sim)
{
	return bdev_crash_nr_events(sim->crash);
}

/* ---- channels ---- */

struct wire {
	struct list link;
	uint32_t len;
	uint8_t data[];
};

static void wire_clear(struct list *list)
{
	while (!list_empty(list)) {
		struct wire *w = list_entry(list->next, struct wire, link);

		list_del(&w->link);
		free(w);
	}
}

static void peer_cut(struct peer *p)
{
	if (p->connected)
		node_disconnected(p->node);
	p->connected = false;
	wire_clear(&p->to_coord);
	wire_clear(&p->to_node);
}

static void wire_arm(struct sim *sim)
{
	if (sim->wire_armed)
		return;
	sim->wire_armed = true;
	loop_defer(sim->loop, &sim->wire_work);
}

/* The first message of a queue arrives. */
static void wire_deliver(struct peer *p, struct list *list)
{
	struct sim *sim = p->sim;
	struct wire *w = list_entry(list->next, struct wire, link);
	int err = 0;

	list_del(&w->link);
	if (++sim->nr_messages == sim->drop_message ||
		(sim->lose_one_of && rnd_next(&sim->rnd) % sim->lose_one_of == 0)) {
		peer_cut(p);
	} else if (list == &p->to_node) {
		err = node_message(p->node, w->data, w->len);
	} else if (sim->coord) {
		err = coord_message(sim->coord, p->id, w->data, w->len);
	}
	free(w);
	if (err)
		peer_cut(p);
}

static void wire_run(struct loop_work *work)
{
	struct sim *sim = container_of(work, struct sim, wire_work);
	bool more = false;

	sim->wire_armed = false;
	for (uint32_t i = 1; i <= MODEL_NODES; i++) {
		struct peer *p = &sim->peers[i];

		while (!list_empty(&p->to_coord) && rnd_next(&sim->rnd) % 2)
			wire_deliver(p, &p->to_coord);
		while (!list_empty(&p->to_node) && rnd_next(&sim->rnd) % 2)
			wire_deliver(p, &p->to_node);
		if (!p->connected && sim->coord) {
			p->connected = true;
			node_connected(p->node, sim->epoch);
		}
		more = more || !list_empty(&p->to_coord) || !list_empty(&p->to_node);
	}
	if (more)
		wire_arm(sim);
}

static void wire_put(struct sim *sim, struct list *list, const void *data, uint32_t len)
{
	struct wire *w = malloc(sizeof(*w) + len);

	CHECK(w);
	w->len = len;
	memcpy(w->data, data, len);
	list_add_tail(list, &w->link);
	wire_arm(sim);
}

static int peer_send(void *arg, const void *data, uint32_t len)
{
	struct peer *p = arg;

	if (!p->connected)
		return -ENOTCONN;
	wire_put(p->sim, &p->to_coord, data, len);
	return 0;
}

static void coord_send(void *arg, uint32_t node, const void *data, uint32_t len)
{
	struct sim *sim = arg;

	CHECK(node >= 1 && node <= MODEL_NODES);
	if (sim->peers[node].connected)
		wire_put(sim, &sim->peers[node].to_node, data, len);
}

static void coord_fence(void *arg, uint32_t node, const char *why)
{
	sim_complain(arg, "node %u was to be fenced: %s", node, why);
}

static void coord_serving(void *arg)
{
	((struct sim *)arg)->serving = true;
}

/* ---- turns ---- */

void sim_turn(struct sim *sim)
{
	for (uint32_t i = 1; i <= MODEL_NODES; i++)
		if (sim->peers[i].node && !sim->peers[i].connected && sim->coord)
			wire_arm(sim);
	loop_run_once(sim->loop, false);
}

#define TURN_UNTIL(sim, cond)                                                                      \
	do {                                                                                       \
		uint64_t turns_ = 0;                                                               \
		while (!(cond) && !(sim)->failed) {                                                \
			if (++turns_ > MAX_TURNS)                                                  \
				sim_complain(sim, "stuck, waiting for: %s", #cond);                \
			sim_turn(sim);                                                             \
		}                                                                                  \
	} while (0)

static bool nodes_idle(struct sim *sim)
{
	for (uint32_t i = 1; i <= MODEL_NODES; i++) {
		struct node_stats st;

		node_stats(sim->peers[i].node, &st);
		if (st.outstanding || !st.connected)
			return false;
	}
	return true;
}

void sim_idle(struct sim *sim)
{
	TURN_UNTIL(sim, sim->nr_running == 0 && nodes_idle(sim));
}

static void settled(void *arg, int status)
{
	*(int *)arg = status;
}

void sim_settle(struct sim *sim)
{
	int status = 1;

	sim_idle(sim);
	if (sim->failed)
		return;
	csv_fs_sync(sim->fs, settled, &status);
	TURN_UNTIL(sim, status <= 0);
	CHECK_OK(status);
	for (int calm = 0; calm < 32 && !sim->failed;
		calm = chaos_quiet(sim->dev) && sim->fs->drv.nr_ops == 0 ? calm + 1 : 0)
		sim_turn(sim);
}

/* ---- engine and coordinator ---- */

static void recovered(void *arg, int status, uint64_t nr_records, uint64_t nr_blks)
{
	*(int *)arg = status;
}

static void engine_up(struct sim *sim)
{
	struct csv_fs_cfg cfg = { .cache_bytes = 4 << 20 };
	struct csv_fs *fs;
	int status = 1;

	CHECK_OK(bdev_queue_open(sim->dev, sim->loop, &sim->queue));
	cfg.queue = sim->queue;
	CHECK_OK(csv_fs_new(&cfg, &fs));
	jnl_test_break(csv_fs_journal(fs), sim->broken);
	CHECK_OK(csv_fs_recover(fs, ++sim->epoch, 1, recovered, &status));
	TURN_UNTIL(sim, status <= 0);
	CHECK_OK(status);
	sim->fs = fs;
}

static void coord_up(struct sim *sim)
{
	struct coord_cfg cfg = {
		.fs = sim->fs,
		.queue = sim->queue,
		.epoch = sim->epoch,
		.node = 1,
		.recall_ms = 600000,
		.no_recall = sim->no_recall,
		.send = coord_send,
		.fence = coord_fence,
		.serving = coord_serving,
		.arg = sim,
	};

	memcpy(cfg.uuid, sim->geom.uuid, sizeof(cfg.uuid));
	sim->serving = false;
	CHECK_OK(coord_new(&cfg, (1u << MODEL_NODES) - 1, &sim->coord));
	TURN_UNTIL(sim, sim->serving && nodes_idle(sim));
}

static void flagged(void *arg)
{
	*(int *)arg = 0;
}

/* Ends an engine and its coordinator, whatever state they are in. */
static void engine_down(struct sim *sim, struct csv_fs *fs, struct coord *coord,
	struct bdev_queue *queue)
{
	int stopped = 1, closed = 1;

	coord_stop(coord, flagged, &stopped);
	TURN_UNTIL(sim, stopped <= 0);
	csv_fs_close(fs, settled, &closed);
	TURN_UNTIL(sim, closed <= 0);
	coord_free(coord);
	csv_fs_free(fs);
	bdev_queue_close(queue);
}

void sim_takeover(struct sim *sim)
{
	struct csv_fs *old_fs = sim->fs;
	struct coord *old_coord = sim->coord;
	struct bdev_queue *old_queue = sim->queue;

	for (uint32_t i = 1; i <= MODEL_NODES; i++)
		peer_cut(&sim->peers[i]);
	sim->fs = NULL;
	sim->coord = NULL;
	chaos_fence(old_queue);
	engine_up(sim);
	if (sim->failed)
		return;
	model_takeover(&sim->model, csv_fs_replayed_seq(sim->fs));
	ops_try(sim);
	for (uint64_t i = 1; i <= sim->nr_acks; i++)
		if (sim->acks[i].order && sim->model.steps[sim->acks[i].order].gone &&
			sim->model.steps[sim->acks[i].order].log_seq)
			sim_complain(sim, "step %" PRIu64 " was acknowledged, and is lost to the "
					  "next coordinator", sim->acks[i].order);
	engine_down(sim, old_fs, old_coord, old_queue);
	sim->nr_takeovers++;
	coord_up(sim);
}

void sim_checkpoint(struct sim *sim)
{
	jnl_checkpoint(csv_fs_journal(sim->fs), NULL);
}

static void has_grown(void *arg, int status)
{
	struct sim *sim = arg;

	sim->nr_grown += status == 0; /* or its coordinator was taken over from */
}

void sim_grow(struct sim *sim, uint64_t nr_blks)
{
	int err = csv_grow(sim->fs, nr_blks, has_grown, sim);

	CHECK(!err || err == -EBUSY || err == -EINVAL);
}

/* ---- begin and end ---- */

static void make_volume(struct sim *sim, uint64_t journal_bytes, uint64_t nr_blks)
{
	struct csv_mkfs opts = { .uuid = { 0xc5, 7 }, .journal_bytes = journal_bytes };
	struct bdev_queue *queue;

	CHECK_OK(csv_mkfs_plan(&opts, DISK_BYTES, &sim->geom));
	if (nr_blks) { /* smaller than mkfs makes them */
		CHECK_EQ(sim->geom.nr_ags, 1);
		sim->geom.nr_blks = nr_blks;
	}
	sim->geom.hash_seed = 42;
	sim->geom.created_ns = 1;
	CHECK_OK(bdev_queue_open(sim->dev, sim->loop, &queue));
	CHECK_OK(csv_mkfs_write(queue, &sim->geom, NULL, NULL));
	bdev_queue_close(queue);
}

static void peer_up(struct sim *sim, uint32_t id)
{
	struct peer *p = &sim->peers[id];
	struct node_cfg cfg = { .loop = sim->loop, .bdev = sim->dev, .send = peer_send, .arg = p };

	p->sim = sim;
	p->id = id;
	list_init(&p->to_coord);
	list_init(&p->to_node);
	memcpy(cfg.uuid, sim->geom.uuid, sizeof(cfg.uuid));
	CHECK_OK(node_new(&cfg, &p->node));
	p->generation = p->generation ? p->generation + 10 : SIM_GENERATION + id;
	node_identity(p->node, id, p->generation);
	CHECK_OK(bdev_queue_open(sim->dev, sim->loop, &p->queue));
	p->worker = (struct node_worker){ .node = p->node, .loop = sim->loop, .queue = p->queue };
	CHECK_OK(buf_pool_new(0, &p->worker.pool));
}

static void peer_down(struct peer *p)
{
	peer_cut(p);
	node_free(p->node);
	p->node = NULL;
	bdev_queue_close(p->queue);
	buf_pool_free(p->worker.pool);
}

static bool all_ended(struct sim *sim)
{
	struct list *pos;

	list_for_each (pos, &sim->dead)
		if (!list_entry(pos, struct op, link)->done)
			return false;
	return true;
}

void sim_node_death(struct sim *sim, uint32_t node)
{
	struct peer *p = &sim->peers[node];
	struct list *pos, *tmp;
	struct node_stats st;

	list_for_each_safe (pos, tmp, &sim->running)
		if (list_entry(pos, struct op, link)->node == node)
			op_die(list_entry(pos, struct op, link));
	chaos_fence(p->queue);
	peer_cut(p);
	node_fail(p->node, -ERR_FENCED);
	TURN_UNTIL(sim, all_ended(sim));
	coord_node_gone(sim->coord, node, p->generation);
	while (p->nr_handles > 0)
		node_close(p->node, p->handles[--p->nr_handles].ni);
	TURN_UNTIL(sim, (node_stats(p->node, &st), st.nr_inodes == 0));
	if (sim->failed)
		return;
	peer_down(p);
	peer_up(sim, node);
}

struct sim *sim_new(uint64_t seed, uint64_t journal_bytes, uint64_t nr_blks, unsigned broken,
	bool no_recall)
{
	struct sim *sim = calloc(1, sizeof(*sim));

	CHECK(sim);
	sim->rnd = seed;
	sim->broken = broken;
	sim->no_recall = no_recall;
	list_init(&sim->running);
	list_init(&sim->dead);
	sim->wire_work.fn = wire_run;
	model_init(&sim->model);
	CHECK_OK(loop_new(&sim->loop));
	sim->dev = chaos_new(rnd_next(&sim->rnd), &sim->crash, &sim->mem);
	make_volume(sim, journal_bytes, nr_blks);
	for (uint32_t id = 1; id <= MODEL_NODES; id++)
		peer_up(sim, id);
	hook_committed = sim_committed;
	hook_arg = sim;
	engine_up(sim);
	coord_up(sim);
	return sim;
}

void sim_end(struct sim *sim, bool close)
{
	sim_settle(sim);
	for (uint32_t i = 1; i <= MODEL_NODES && !sim->failed; i++) {
		struct peer *p = &sim->peers[i];

		while (p->nr_handles > 0)
			node_close(p->node, p->handles[--p->nr_handles].ni);
	}
	for (int turns = 0; turns < 8; turns++)
		sim_turn(sim);
	sim_settle(sim);
	if (close && !sim->failed) {
		struct coord *coord = sim->coord;

		for (uint32_t i = 1; i <= MODEL_NODES; i++)
			peer_cut(&sim->peers[i]);
		sim->coord = NULL;
		engine_down(sim, sim->fs, coord, sim->queue);
		sim->fs = NULL;
		sim->queue = NULL;
	}
}

void sim_free(struct sim *sim)
{
	hook_committed = NULL;
	while (!list_empty(&sim->dead)) {
		struct op *op = list_entry(sim->dead.next, struct op, link);

		list_del(&op->link);
		free(op->buf);
		free(op);
	}
	if (sim->failed) /* what is stuck cannot be taken apart */
		return;
	for (uint32_t i = 1; i <= MODEL_NODES; i++)
		peer_down(&sim->peers[i]);
	bdev_close(sim->dev);
	loop_cancel(sim->loop, &sim->wire_work);
	loop_free(sim->loop);
	model_free(&sim->model);
	free(sim->acks);
	free(sim->syncs);
	free(sim);
}
