/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nodes of a cluster without Corosync: several lms on one ram device, each with a bdev and a loop of
 * its own, all driven by this thread. What the group would say is put into their tables by hand.
 */
#ifndef TESTS_UNIT_LOCKMGR_TEST_H
#define TESTS_UNIT_LOCKMGR_TEST_H

#include <stdbool.h>
#include <unistd.h>

#include "lockmgr/lm_internal.h"
#include "tests/unit/test.h"
#include "util/log.h"

#define TEST_DATA_BLK 100u
#define TEST_SLOT_BLK 16u

struct tnode {
	struct loop *loop;
	struct bdev *bdev;
	struct bdev_queue *queue, *data; /* the service's; a worker's */
	struct lm *lm;
	bool running;
	uint32_t nr_fenced, nr_become, nr_gone, nr_step_down;
	uint32_t gone_node;
	char why[200];
	/* a write under way */
	struct bdev_req req;
	struct iovec iov;
	char block[4096];
	bool written;
	int status;
};

struct tfence {
	struct lm_fence_wait wait;
	bool over;
	int status;
};

static inline void t_become(void *arg)
{
	((struct tnode *)arg)->nr_become++;
}

static inline void t_gone(void *arg, uint32_t node, uint64_t generation)
{
	struct tnode *t = arg;

	t->nr_gone++;
	t->gone_node = node;
}

static inline void t_fenced(void *arg, const char *why)
{
	struct tnode *t = arg;

	t->nr_fenced++;
	snprintf(t->why, sizeof(t->why), "%s", why);
}

static inline void t_step_down(void *arg, const char *why)
{
	((struct tnode *)arg)->nr_step_down++;
}

static const struct lm_ops t_ops = {
	.become_coordinator = t_become,
	.node_gone = t_gone,
	.fenced = t_fenced,
	.step_down = t_step_down,
};

static inline struct lm_cfg t_cfg(void)
{
	return (struct lm_cfg){
		.uuid = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 },
		.slot_blk = TEST_SLOT_BLK,
		.lease_ms = 400,
		.beat_ms = 20,
		.name = "test",
		.ops = &t_ops,
	};
}

/* Opens the device, lm and its service queue; *cfg is completed. */
static inline void t_open(struct tnode *t, const char *uri, struct lm_cfg *cfg, uint32_t node)
{
	char *why = NULL;

	memset(t, 0, sizeof(*t));
	CHECK_OK(loop_new(&t->loop));
	if (bdev_open(uri, NULL, &t->bdev, &why)) {
		fprintf(stderr, "%s\n", why);
		exit(1);
	}
	cfg->loop = t->loop;
	cfg->bdev = t->bdev;
	cfg->arg = t;
	CHECK_OK(lm_new(cfg, &t->lm));
	if (node)
		t->lm->node = node;
	CHECK_OK(bdev_queue_open(t->bdev, t->loop, &t->queue));
	t->lm->queue = t->queue;
	t->running = true;
}

static inline void t_enter(struct tnode *t)
{
	char *why = NULL;
	int err = lm_enter(t->lm, clock_mono_ns() + 20000000000ull, &why);

	if (err) {
		fprintf(stderr, "lm_enter: %s\n", why);
		exit(1);
	}
	CHECK_OK(bdev_queue_open(t->bdev, t->loop, &t->data));
}

static inline void t_turn(struct tnode *nodes, int nr)
{
	for (int i = 0; i < nr; i++)
		if (nodes[i].running)
			loop_run_once(nodes[i].loop, false);
	usleep(200);
}

/* Turns all loops until cond, or fails after 10 s. */
#define T_UNTIL(nodes, nr, cond)                                                                   \
	do {                                                                                       \
		uint64_t until_ = clock_mono_ns() + 10000000000ull;                                \
		while (!(cond)) {                                                                  \
			t_turn(nodes, nr);                                                         \
			if (clock_mono_ns() > until_) {                                            \
				fprintf(stderr, "%s:%d: not within 10 s: %s\n", __FILE__,          \
					__LINE__, #cond);                                          \
				log_dump(stderr);                                                  \
				exit(1);                                                           \
			}                                                                          \
		}                                                                                  \
	} while (0)

static inline void t_written(struct bdev_req *req, int status)
{
	struct tnode *t = req->arg;

	t->written = true;
	t->status = status;
}

/* A worker's write of a block full of c, not waited for. */
static inline void t_write(struct tnode *t, char c)
{
	memset(t->block, c, sizeof(t->block));
	t->iov = (struct iovec){ t->block, sizeof(t->block) };
	t->req = (struct bdev_req){ .op = BDEV_WRITE, .off_bytes = TEST_DATA_BLK * 4096,
		.len_bytes = 4096, .iov = &t->iov, .nr_iov = 1, .done = t_written, .arg = t };
	t->written = false;
	t->status = bdev_submit(t->data, &t->req);
	if (t->status)
		t->written = true;
}

/* What the block holds, read by t. */
static inline char t_read(struct tnode *t)
{
	char block[4096];

	CHECK_OK(bdev_pread(t->data, block, sizeof(block), TEST_DATA_BLK * 4096));
	return block[0];
}

static inline void t_fence_over(struct lm_fence_wait *wait, int status)
{
	struct tfence *f = container_of(wait, struct tfence, wait);

	f->over = true;
	f->status = status;
}

static inline void t_fence(struct tnode *t, struct tfence *f, const struct tnode *victim)
{
	struct lm_victim v = { .node = victim->lm->node, .generation = victim->lm->generation,
		.key = victim->lm->key };

	*f = (struct tfence){ .wait.fn = t_fence_over };
	CHECK_OK(lm_fence_start(t->lm, &v, "test", &f->wait));
}

/* The group as t sees it: these nodes. */
static inline void t_members(struct tnode *t, const uint32_t *nodes, size_t nr)
{
	struct group_member members[LM_MAX_NODES];

	for (size_t i = 0; i < nr; i++)
		members[i] = (struct group_member){ nodes[i], nodes[i] + 1000 };
	elect_view(&t->lm->elect, members, nr);
}

/* Every key on the device, as t reads them. */
static inline bool t_has_key(struct tnode *t, uint64_t key)
{
	uint64_t keys[64];
	struct bdev_req req = { .op = BDEV_PR_READ_KEYS, .pr = { .keys = keys, .max_keys = 64 } };

	CHECK_OK(bdev_sync(t->queue, &req));
	for (uint32_t i = 0; i < req.pr.nr_keys; i++)
		if (keys[i] == key)
			return true;
	return false;
}

static inline uint8_t t_reservation(struct tnode *t)
{
	struct bdev_req req = { .op = BDEV_PR_READ_RESERVATION };

	CHECK_OK(bdev_sync(t->queue, &req));
	return req.pr.type;
}

static inline void t_left(void *arg)
{
	*(bool *)arg = true;
}

static inline void t_close_data(struct tnode *t)
{
	while (t->data && !lm_gate_is_idle(t->lm, t->data))
		loop_run_once(t->loop, true);
	bdev_queue_close(t->data);
	t->data = NULL;
}

/* Ends a node, in whatever state it is. */
static inline void t_close(struct tnode *t)
{
	t->running = true;
	t_close_data(t);
	lm_free(t->lm);
	bdev_queue_close(t->queue);
	bdev_close(t->bdev);
	loop_free(t->loop);
}

#endif
