/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The filter `crash` records what changes the lower device, in the order of completion.
 *
 * A replayer cuts the record anywhere. What a flush covers must be there; of the rest any subset,
 * also what was submitted but not done, may be, because a cut after event n has in flight whatever
 * has a smaller submit_seq than something that was done and stands behind n. Requests that failed
 * are not recorded. A write with BDEV_FUA is marked; it is stable when it is done, alone.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blockdev/bdev_internal.h"

struct crash {
	struct bdev bdev;
	pthread_mutex_t lock; /* the rest */
	struct bdev_crash_event *events;
	uint64_t nr_events, cap_events, next_seq, mark;
};

struct crash_io {
	struct bdev_io io;
	struct bdev_req child;
	struct bdev_crash_event event;
};

static struct crash *to_crash(const struct bdev *bdev)
{
	return container_of(bdev, struct crash, bdev);
}

static bool recorded(enum bdev_op op)
{
	return op == BDEV_WRITE || op == BDEV_WRITE_ZEROES || op == BDEV_DISCARD ||
	       op == BDEV_FLUSH;
}

/* Room is made beforehand so that recording cannot fail when the request is done. */
static int reserve_room(struct crash *crash)
{
	uint64_t in_flight = crash->next_seq - crash->nr_events;
	uint64_t need = crash->nr_events + in_flight + 1, cap = crash->cap_events;
	struct bdev_crash_event *events;

	if (need <= cap)
		return 0;
	cap = MAX(need, MAX(cap * 2, 256u));
	events = realloc(crash->events, cap * sizeof(*events));
	if (!events)
		return -ENOMEM;
	crash->events = events;
	crash->cap_events = cap;
	return 0;
}

static void crash_done(struct bdev_req *child, int status)
{
	struct crash_io *c = container_of(child, struct crash_io, child);
	struct crash *crash = to_crash(c->io.queue->bdev);

	if (status) {
		free((void *)c->event.data);
	} else {
		pthread_mutex_lock(&crash->lock);
		c->event.user_mark = crash->mark;
		crash->events[crash->nr_events++] = c->event;
		pthread_mutex_unlock(&crash->lock);
	}
	bdev_io_complete(&c->io, status);
}

static void crash_submit(struct bdev_queue *queue, struct bdev_io *io)
{
	struct crash_io *c = container_of(io, struct crash_io, io);
	struct crash *crash = to_crash(queue->bdev);
	void *data = NULL;
	int err;

	if (!recorded(io->op)) {
		bdev_filter_forward(io, &c->child, NULL);
		return;
	}
	if (io->op == BDEV_WRITE) {
		data = malloc(io->len_bytes);
		if (!data) {
			bdev_io_complete(io, -ENOMEM);
			return;
		}
		bdev_iov_to_buf(io->iov, io->nr_iov, data, io->len_bytes);
	}
	pthread_mutex_lock(&crash->lock);
	err = reserve_room(crash);
	c->event = (struct bdev_crash_event){
		.op = io->op,
		.off_bytes = io->op == BDEV_FLUSH ? 0 : io->off_bytes,
		.len_bytes = io->op == BDEV_FLUSH ? 0 : io->len_bytes,
		.data = data,
		.fua = io->flags & BDEV_FUA,
		.submit_seq = err ? 0 : ++crash->next_seq,
		.flush_covers = io->op == BDEV_FLUSH ? crash->nr_events : 0,
		.size_bytes = atomic_load(&io->queue->bdev->size_bytes),
	};
	pthread_mutex_unlock(&crash->lock);
	if (err) {
		free(data);
		bdev_io_complete(io, err);
		return;
	}
	/* A refusal by the lower device ends in crash_done() too: nothing must leak. */
	bdev_filter_forward(io, &c->child, crash_done);
}

static void crash_close(struct bdev *bdev)
{
	struct crash *crash = to_crash(bdev);

	for (uint64_t i = 0; i < crash->nr_events; i++)
		free((void *)crash->events[i].data);
	free(crash->events);
	pthread_mutex_destroy(&crash->lock);
}

static const struct bdev_ops crash_ops = {
	.name = "crash",
	.bdev_bytes = sizeof(struct crash),
	.io_bytes = sizeof(struct crash_io),
	.close = crash_close,
	.submit = crash_submit,
};

int bdev_crash_new(struct bdev *lower, struct bdev **ret_bdev)
{
	struct bdev *bdev;
	int err = bdev_filter_new(&crash_ops, lower, &bdev);

	if (err)
		return err;
	pthread_mutex_init(&to_crash(bdev)->lock, NULL);
	*ret_bdev = bdev;
	return 0;
}

uint64_t bdev_crash_nr_events(const struct bdev *bdev)
{
	struct crash *crash = to_crash(bdev);
	uint64_t n;

	pthread_mutex_lock(&crash->lock);
	n = crash->nr_events;
	pthread_mutex_unlock(&crash->lock);
	return n;
}

const struct bdev_crash_event *bdev_crash_event(const struct bdev *bdev, uint64_t nth)
{
	struct crash *crash = to_crash(bdev);

	assert(nth < crash->nr_events);
	return &crash->events[nth];
}

void bdev_crash_mark(struct bdev *bdev, uint64_t mark)
{
	struct crash *crash = to_crash(bdev);

	pthread_mutex_lock(&crash->lock);
	crash->mark = mark;
	pthread_mutex_unlock(&crash->lock);
}
