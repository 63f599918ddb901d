/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The filter `delay` keeps each request for a while before it sends it down. */
#include "blockdev/bdev_internal.h"

struct delay {
	struct bdev bdev;
	struct bdev_delay delay;
};

struct delay_queue {
	struct bdev_queue queue;
	struct list waiting; /* delay_io.io.node */
};

struct delay_io {
	struct bdev_io io;
	struct bdev_req child;
	struct ev_timer timer;
};

static struct delay_queue *to_dq(struct bdev_queue *queue)
{
	return container_of(queue, struct delay_queue, queue);
}

static void timer_cb(struct ev_loop *ev, struct ev_timer *timer, int revents)
{
	struct delay_io *d = timer->data;

	list_del(&d->io.node);
	bdev_filter_forward(&d->io, &d->child, NULL);
}

static void delay_submit(struct bdev_queue *queue, struct bdev_io *io)
{
	struct delay *delay = container_of(queue->bdev, struct delay, bdev);
	struct delay_io *d = container_of(io, struct delay_io, io);
	struct ev_loop *ev = loop_ev(queue->loop);
	uint32_t ms = delay->delay.ms[io->op];

	if (ms == 0) {
		bdev_filter_forward(io, &d->child, NULL);
		return;
	}
	list_add_tail(&to_dq(queue)->waiting, &io->node);
	ev_now_update(ev); /* the loop's idea of now may be as old as its last round */
	ev_timer_init(&d->timer, timer_cb, ms / 1000.0, 0);
	d->timer.data = d;
	ev_timer_start(ev, &d->timer);
}

static void delay_fence(struct bdev_queue *queue)
{
	struct list *waiting = &to_dq(queue)->waiting;

	while (!list_empty(waiting)) {
		struct delay_io *d = list_entry(waiting->next, struct delay_io, io.node);

		list_del(&d->io.node);
		ev_timer_stop(loop_ev(queue->loop), &d->timer);
		bdev_io_complete(&d->io, -ERR_FENCED);
	}
}

static int delay_queue_open(struct bdev_queue *queue)
{
	list_init(&to_dq(queue)->waiting);
	return 0;
}

static const struct bdev_ops delay_ops = {
	.name = "delay",
	.bdev_bytes = sizeof(struct delay),
	.queue_bytes = sizeof(struct delay_queue),
	.io_bytes = sizeof(struct delay_io),
	.queue_open = delay_queue_open,
	.submit = delay_submit,
	.fence = delay_fence,
};

int bdev_delay_new(struct bdev *lower, const struct bdev_delay *delay, struct bdev **ret_bdev)
{
	struct bdev *bdev;
	int err = bdev_filter_new(&delay_ops, lower, &bdev);

	if (err)
		return err;
	container_of(bdev, struct delay, bdev)->delay = *delay;
	*ret_bdev = bdev;
	return 0;
}
