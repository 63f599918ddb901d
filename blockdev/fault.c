/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The filter `fault` fails the nth of some requests. They do not reach the lower device. */
#include "blockdev/bdev_internal.h"

struct fault {
	struct bdev bdev;
	pthread_mutex_t lock; /* the rest */
	struct bdev_fault_rule rule;
	uint64_t seen, fired;
};

struct fault_io {
	struct bdev_io io;
	struct bdev_req child;
};

static struct fault *to_fault(const struct bdev *bdev)
{
	return container_of(bdev, struct fault, bdev);
}

/* 0, or what this request fails with. */
static int fault_fires(struct fault *fault, enum bdev_op op)
{
	int err = 0;

	pthread_mutex_lock(&fault->lock);
	if (fault->rule.op_mask & (1u << op)) {
		fault->seen++;
		if (fault->seen == fault->rule.nth ||
			(fault->rule.sticky && fault->rule.nth && fault->seen > fault->rule.nth)) {
			fault->fired++;
			err = fault->rule.err;
		}
	}
	pthread_mutex_unlock(&fault->lock);
	return err;
}

static void fault_submit(struct bdev_queue *queue, struct bdev_io *io)
{
	int err = fault_fires(to_fault(queue->bdev), io->op);

	if (err)
		bdev_io_complete(io, err);
	else
		bdev_filter_forward(io, &container_of(io, struct fault_io, io)->child, NULL);
}

static void fault_close(struct bdev *bdev)
{
	pthread_mutex_destroy(&to_fault(bdev)->lock);
}

static const struct bdev_ops fault_ops = {
	.name = "fault",
	.bdev_bytes = sizeof(struct fault),
	.io_bytes = sizeof(struct fault_io),
	.close = fault_close,
	.submit = fault_submit,
};

int bdev_fault_new(struct bdev *lower, const struct bdev_fault_rule *rule, struct bdev **ret_bdev)
{
	struct bdev *bdev;
	int err = bdev_filter_new(&fault_ops, lower, &bdev);

	if (err)
		return err;
	pthread_mutex_init(&to_fault(bdev)->lock, NULL);
	bdev_fault_set(bdev, rule);
	*ret_bdev = bdev;
	return 0;
}

void bdev_fault_set(struct bdev *bdev, const struct bdev_fault_rule *rule)
{
	static const struct bdev_fault_rule none;
	struct fault *fault = to_fault(bdev);

	pthread_mutex_lock(&fault->lock);
	fault->rule = rule ? *rule : none;
	if (fault->rule.err > 0)
		fault->rule.err = -fault->rule.err;
	fault->seen = 0;
	fault->fired = 0;
	pthread_mutex_unlock(&fault->lock);
}

uint64_t bdev_fault_fired(const struct bdev *bdev)
{
	struct fault *fault = to_fault(bdev);
	uint64_t fired;

	pthread_mutex_lock(&fault->lock);
	fired = fault->fired;
	pthread_mutex_unlock(&fault->lock);
	return fired;
}
