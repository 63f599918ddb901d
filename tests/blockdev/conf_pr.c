/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Persistent reservations: who was preempted can change nothing any more. */
#include <errno.h>

#include "tests/blockdev/conf.h"

#define KEY_A 0xc5f5000000000001u
#define KEY_B 0xc5f5000000000002u
#define KEY_NONE 0xc5f5000000000099u

/* A node: a handle and a queue of its own, i.e. its own nexus. */
struct node {
	struct bdev *bdev;
	struct bdev_queue *queue;
	int nr_gates;
};

static void count_gate(void *arg, struct bdev_queue *queue)
{
	struct node *node = arg;

	node->nr_gates++;
	bdev_queue_gate_done(queue, 0);
}

static struct node node_open(struct conf *conf, const char *prefix)
{
	struct node node = { .bdev = conf_open(conf, prefix) };

	node.queue = conf_queue(node.bdev, conf->loop);
	return node;
}

static void node_close(struct node *node)
{
	bdev_queue_close(node->queue);
	bdev_close(node->bdev);
}

static int pr_cmd(struct node *node, enum bdev_op op, struct bdev_pr *pr)
{
	struct conf_io io = { .req = { .op = op, .pr = *pr } };
	int err = conf_submit(node->queue, &io);

	if (!err)
		err = conf_finish(&io);
	*pr = io.req.pr;
	return err;
}

static int pr_register(struct node *node, uint64_t key)
{
	return pr_cmd(node, BDEV_PR_REGISTER, &(struct bdev_pr){ .new_key = key });
}

static int pr_reserve(struct node *node, uint64_t key, uint8_t type)
{
	return pr_cmd(node, BDEV_PR_RESERVE, &(struct bdev_pr){ .key = key, .type = type });
}

static int pr_preempt(struct node *node, uint64_t key, uint64_t victim, uint8_t type, bool abort)
{
	return pr_cmd(node, BDEV_PR_PREEMPT,
		&(struct bdev_pr){ .key = key, .victim = victim, .type = type, .abort = abort });
}

static bool pr_has_key(struct node *node, uint64_t key)
{
	uint64_t keys[64];
	struct bdev_pr pr = { .keys = keys, .max_keys = ARRAY_SIZE(keys) };

	CHECK_OK(pr_cmd(node, BDEV_PR_READ_KEYS, &pr));
	CHECK(pr.nr_keys <= ARRAY_SIZE(keys));
	for (uint32_t i = 0; i < pr.nr_keys; i++)
		if (keys[i] == key)
			return true;
	return false;
}

static uint32_t pr_nr_keys(struct node *node)
{
	uint64_t one = 0;
	struct bdev_pr pr = { .keys = &one, .max_keys = 1 };

	CHECK_OK(pr_cmd(node, BDEV_PR_READ_KEYS, &pr));
	return pr.nr_keys;
}

static struct bdev_pr pr_reservation(struct node *node)
{
	struct bdev_pr pr = { 0 };

	CHECK_OK(pr_cmd(node, BDEV_PR_READ_RESERVATION, &pr));
	return pr;
}

static int write_block(struct node *node, uint64_t tag)
{
	char buf[4096];

	conf_fill(buf, sizeof(buf), 0, tag);
	return bdev_pwrite(node->queue, buf, sizeof(buf), 0);
}

static void verify_block(struct node *node, uint64_t tag)
{
	char buf[4096];

	CHECK_OK(bdev_pread(node->queue, buf, sizeof(buf), 0));
	conf_verify(buf, sizeof(buf), 0, tag);
}

#define NEEDS_PR(conf)                                                                             \
	do {                                                                                       \
		if (!((conf)->geom.caps & BDEV_CAN_PR))                                            \
			return "the device has no persistent reservations";                        \
	} while (0)

/* Removes what an earlier run that was killed may have left. */
static void clear(struct node *node)
{
	uint64_t keys[64];
	struct bdev_pr pr = { .keys = keys, .max_keys = ARRAY_SIZE(keys) };

	CHECK_OK(pr_register(node, KEY_NONE));
	CHECK_OK(pr_cmd(node, BDEV_PR_READ_KEYS, &pr));
	for (uint32_t i = 0; i < pr.nr_keys; i++)
		if (keys[i] != KEY_NONE)
			(void)pr_preempt(node, KEY_NONE, keys[i],
				BDEV_PR_WRITE_EXCLUSIVE_REGISTRANTS, false);
	CHECK_OK(pr_register(node, 0));
}

const char *conf_pr_all_registrants(struct conf *conf)
{
	const uint8_t type = BDEV_PR_WRITE_EXCLUSIVE_ALL;
	struct node a, b, c;
	uint32_t before;

	NEEDS_PR(conf);
	a = node_open(conf, "");
	b = node_open(conf, "");
	c = node_open(conf, "");
	clear(&a);
	before = pr_nr_keys(&a);
	CHECK_EQ(pr_reserve(&a, KEY_A, type), -EBUSY); /* not registered */
	CHECK_OK(pr_register(&a, KEY_A));
	CHECK_OK(pr_register(&a, KEY_A)); /* again: ignores what is registered */
	CHECK_OK(pr_register(&b, KEY_B));
	CHECK_EQ(pr_nr_keys(&a), before + 2);
	CHECK(pr_has_key(&a, KEY_A) && pr_has_key(&b, KEY_B));
	CHECK_EQ(pr_reserve(&a, KEY_NONE, type), -EBUSY);
	CHECK_OK(pr_reserve(&a, KEY_A, type));
	CHECK_OK(pr_reserve(&a, KEY_A, type));
	CHECK_OK(pr_reserve(&b, KEY_B, type)); /* each registrant holds it */
	CHECK_EQ(pr_reservation(&b).type, type);

	CHECK_OK(write_block(&a, 1));
	CHECK_OK(write_block(&b, 2));
	verify_block(&c, 2); /* who is not registered may read */
	CHECK_EQ(write_block(&c, 3), -ERR_FENCED);
	CHECK_EQ(bdev_pread(c.queue, &(char[4096]){ 0 }, 4096, 0), -ERR_FENCED); /* B6 */
	verify_block(&a, 2);

	CHECK_OK(pr_preempt(&a, KEY_A, KEY_B, type, conf->geom.caps & BDEV_CAN_PR_ABORT));
	CHECK(!pr_has_key(&a, KEY_B) && pr_has_key(&a, KEY_A));
	CHECK_EQ(pr_preempt(&a, KEY_A, KEY_B, type, false), -EBUSY);
	CHECK_EQ(write_block(&b, 4), -ERR_FENCED);
	CHECK_EQ(pr_register(&b, KEY_B), -ERR_FENCED);
	verify_block(&a, 2);
	CHECK_OK(write_block(&a, 5));
	verify_block(&a, 5);
	CHECK_EQ(pr_reservation(&a).type, type);
	CHECK_OK(pr_register(&a, 0));
	CHECK_EQ(pr_reservation(&a).type, 0);
	node_close(&b);
	node_close(&c);
	node_close(&a);
	return NULL;
}

const char *conf_pr_registrants_only(struct conf *conf)
{
	const uint8_t type = BDEV_PR_WRITE_EXCLUSIVE_REGISTRANTS;
	struct node a, b;

	NEEDS_PR(conf);
	a = node_open(conf, "");
	b = node_open(conf, "");
	clear(&a);
	CHECK_OK(pr_register(&a, KEY_A));
	CHECK_OK(pr_register(&b, KEY_B));
	CHECK_OK(pr_reserve(&a, KEY_A, type));
	CHECK_EQ(pr_reserve(&b, KEY_B, type), -EBUSY); /* one holder */
	CHECK_EQ(pr_reservation(&b).type, type);
	CHECK_EQ(pr_reservation(&b).key, KEY_A);
	CHECK_OK(write_block(&b, 1));
	CHECK_OK(pr_preempt(&b, KEY_B, KEY_A, type, false));
	CHECK_EQ(pr_reservation(&b).key, KEY_B);
	CHECK_EQ(write_block(&a, 2), -ERR_FENCED);
	verify_block(&b, 1);
	CHECK_OK(pr_register(&b, 0));
	CHECK_EQ(pr_reservation(&b).type, 0);
	node_close(&a);
	node_close(&b);
	return NULL;
}

/* P7: a write that was on its way when its node was preempted arrives too late. */
const char *conf_pr_late_write(struct conf *conf)
{
	const uint8_t type = BDEV_PR_WRITE_EXCLUSIVE_ALL;
	struct conf_io late = { 0 };
	struct node a, b;
	char buf[4096];

	NEEDS_PR(conf);
	a = node_open(conf, "");
	b = node_open(conf, "delay(write_ms=300)|");
	clear(&a);
	CHECK_OK(pr_register(&a, KEY_A));
	CHECK_OK(pr_register(&b, KEY_B));
	CHECK_OK(pr_reserve(&a, KEY_A, type));
	CHECK_OK(write_block(&a, 7));
	conf_fill(buf, sizeof(buf), 0, 8);
	conf_start(b.queue, &late, BDEV_WRITE, 0, buf, sizeof(buf), 0);
	CHECK_OK(pr_preempt(&a, KEY_A, KEY_B, type, false));
	CHECK(!pr_has_key(&a, KEY_B));
	CHECK(late.busy);
	CHECK_EQ(conf_finish(&late), -ERR_FENCED);
	verify_block(&a, 7);
	CHECK_OK(pr_register(&a, 0));
	node_close(&b);
	node_close(&a);
	return NULL;
}

/* A reset is a sign that the target may have forgotten: the other's gate closes, keys stay. */
const char *conf_pr_reset(struct conf *conf)
{
	struct node a, b = { 0 };

	NEEDS_PR(conf);
	a = node_open(conf, "");
	b.bdev = conf_open(conf, "");
	bdev_set_gate(b.bdev, count_gate, &b);
	b.queue = conf_queue(b.bdev, conf->loop);
	clear(&a);
	CHECK_OK(pr_register(&a, KEY_A));
	CHECK_OK(pr_register(&b, KEY_B));
	CHECK_OK(write_block(&b, 1));
	CHECK_EQ(b.nr_gates, 1);
	CHECK_OK(pr_cmd(&a, BDEV_LUN_RESET, &(struct bdev_pr){ 0 }));
	CHECK_OK(write_block(&b, 2));
	CHECK_EQ(b.nr_gates, 2);
	CHECK(pr_has_key(&a, KEY_A) && pr_has_key(&a, KEY_B));
	verify_block(&a, 2);
	CHECK_OK(pr_register(&a, 0));
	CHECK_OK(pr_register(&b, 0));
	node_close(&b);
	node_close(&a);
	return NULL;
}
