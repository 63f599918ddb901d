/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Queues: opening, the state of the path, the gate (B5), fencing (B6), what is held and why.
 *
 * An io of the bottom queue is on exactly one list: `sent` (the backend has it), `held` (waits for
 * path or gate), `late` (waits for the write deadline), `completed` (its end is to be told).
 * Everything that calls back into callers happens in bdev_queue_run(), from the loop.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blockdev/bdev_core_internal.h"
#include "util/log.h"

static void bdev_queue_run(struct bdev_queue *queue);

static void wake_fn(struct loop_work *work)
{
	struct bdev_queue *queue = container_of(work, struct bdev_queue, wake);

	atomic_store(&queue->wake_pending, false);
	bdev_queue_run(queue);
}

static void kick_fn(struct loop_work *work)
{
	struct bdev_queue *queue = container_of(work, struct bdev_queue, kick);

	queue->kick_pending = false;
	bdev_queue_run(queue);
}

void bdev_queue_kick(struct bdev_queue *queue)
{
	if (queue->kick_pending)
		return;
	queue->kick_pending = true;
	loop_defer(queue->loop, &queue->kick);
}

/* Under bdev->lock, so that the queue is not being closed. */
void bdev_queue_wake(struct bdev_queue *queue)
{
	if (!atomic_exchange(&queue->wake_pending, true))
		loop_post(queue->loop, &queue->wake);
}

/* ---- fencing (B6) ---- */

void bdev_queue_fence(struct bdev_queue *queue)
{
	if (queue->fenced)
		return;
	queue->fenced = true;
	queue->fence_wanted = true;
	bdev_queue_kick(queue);
	bdev_notify(queue->bdev, BDEV_FENCED, true);
}

bool bdev_queue_is_fenced(struct bdev_queue *queue)
{
	if (!queue->fenced && atomic_load(&queue->bdev->fenced))
		bdev_queue_fence(queue);
	return queue->fenced;
}

static void fail_list(struct list *list, int status)
{
	while (!list_empty(list))
		bdev_io_complete(list_entry(list->next, struct bdev_io, link), status);
}

static void run_fence(struct bdev_queue *queue)
{
	queue->fence_wanted = false;
	fail_list(&queue->held, -ERR_FENCED);
	fail_list(&queue->late, -ERR_FENCED);
	atomic_store(&queue->nr_late, 0);
	if (queue->bdev->ops->fence)
		queue->bdev->ops->fence(queue);
}

/* ---- path and gate (B4, B5); on the bottom queue of a stack ---- */

static struct bdev_queue *gate_owner(struct bdev_queue *queue)
{
	struct bdev_queue *owner = NULL;

	for (; queue; queue = queue->upper)
		if (queue->bdev->gate_fn)
			owner = queue;
	return owner;
}

static void run_gate(struct bdev_queue *queue)
{
	struct bdev_queue *owner = gate_owner(queue);

	queue->gate_wanted = false;
	if (queue->path != BDEV_PATH_STATE_GATED)
		return;
	if (!owner) {
		queue->path = BDEV_PATH_STATE_OPEN;
		return;
	}
	queue->gate_running = true;
	owner->bdev->gate_fn(owner->bdev->gate_arg, owner);
}

static void close_gate(struct bdev_queue *queue)
{
	queue->path = BDEV_PATH_STATE_GATED;
	stat_add(&queue->stats->gate_closings, 1);
	if (queue->gate_running)
		queue->gate_again = true;
	else
		queue->gate_wanted = true;
	bdev_queue_kick(queue);
}

void bdev_queue_gate_close(struct bdev_queue *queue)
{
	assert(!queue->lower && loop_is_owner(queue->loop));
	if (queue->path != BDEV_PATH_STATE_DOWN)
		close_gate(queue);
}

void bdev_queue_gate_done(struct bdev_queue *queue, int status)
{
	assert(loop_is_owner(queue->loop));
	queue = bdev_queue_bottom(queue);
	assert(queue->gate_running);
	queue->gate_running = false;
	if (status) {
		for (; queue; queue = queue->upper)
			bdev_queue_fence(queue);
		return;
	}
	if (queue->gate_again) {
		queue->gate_again = false;
		queue->gate_wanted = true;
		bdev_queue_kick(queue);
	} else if (queue->path == BDEV_PATH_STATE_GATED) {
		queue->path = BDEV_PATH_STATE_OPEN;
		if (!list_empty(&queue->held))
			bdev_queue_kick(queue);
	}
}

void bdev_queue_path_lost(struct bdev_queue *queue)
{
	assert(!queue->lower && loop_is_owner(queue->loop));
	if (queue->path == BDEV_PATH_STATE_DOWN)
		return;
	log_debug("%s: path lost", queue->bdev->name);
	queue->path = BDEV_PATH_STATE_DOWN;
	bdev_notify(queue->bdev, BDEV_PATH_DOWN, false);
}

void bdev_queue_path_up(struct bdev_queue *queue)
{
	assert(!queue->lower && queue->path == BDEV_PATH_STATE_DOWN);
	log_debug("%s: path is up again", queue->bdev->name);
	stat_add(&queue->stats->reconnects, 1);
	close_gate(queue);
	bdev_notify(queue->bdev, BDEV_PATH_UP, false);
}

/* ---- what is held ---- */

static void timeout_cb(struct ev_loop *ev, struct ev_timer *timer, int revents)
{
	struct bdev_queue *queue = timer->data;
	uint64_t limit_ns = (uint64_t)queue->bdev->opts.transport_timeout_ms * 1000000;
	uint64_t now_ns = clock_mono_ns();
	struct list *pos, *tmp;

	list_for_each_safe(pos, tmp, &queue->held) {
		struct bdev_io *io = list_entry(pos, struct bdev_io, link);

		if (now_ns - io->wait_ns >= limit_ns)
			bdev_io_complete(io, -ERR_TRANSPORT);
	}
	if (list_empty(&queue->held))
		ev_timer_stop(ev, timer);
}

void bdev_queue_hold(struct bdev_queue *queue, struct bdev_io *io)
{
	uint32_t limit_ms = queue->bdev->opts.transport_timeout_ms;

	if (io->wait_ns == 0)
		io->wait_ns = clock_mono_ns();
	list_add_tail(&queue->held, &io->link);
	if (limit_ms && !ev_is_active(&queue->timeout_timer)) {
		ev_timer_set(&queue->timeout_timer, 0, limit_ms / 8000.0 + 0.002);
		ev_timer_again(loop_ev(queue->loop), &queue->timeout_timer);
	}
}

/* See bdev_set_write_deadline() for why this order. */
void bdev_queue_hold_late(struct bdev_queue *queue, struct bdev_io *io)
{
	stat_add(&queue->stats->held_by_deadline, 1);
	list_add_tail(&queue->late, &io->link);
	atomic_fetch_add(&queue->nr_late, 1);
	if (!bdev_io_too_late(io, clock_mono_ns()))
		bdev_queue_kick(queue);
}

static void dispatch_list(struct list *list)
{
	struct list batch = LIST_INIT(batch);

	list_splice_tail(&batch, list);
	while (!list_empty(&batch)) {
		struct list *first = batch.next;

		list_del(first);
		bdev_io_dispatch(list_entry(first, struct bdev_io, link));
	}
}

static void bdev_queue_run(struct bdev_queue *queue)
{
	if (bdev_queue_is_fenced(queue) && queue->fence_wanted)
		run_fence(queue);
	if (queue->gate_wanted && !queue->fenced)
		run_gate(queue);
	if (queue->path != BDEV_PATH_STATE_DOWN)
		dispatch_list(&queue->held);
	if (!list_empty(&queue->late) &&
		!bdev_io_too_late(
			list_entry(queue->late.next, struct bdev_io, link), clock_mono_ns())) {
		atomic_store(&queue->nr_late, 0);
		dispatch_list(&queue->late);
	}
	bdev_io_run_completed(queue); /* last: the queue may be gone then */
}

void bdev_queue_requeue_all(struct bdev_queue *queue)
{
	struct list batch = LIST_INIT(batch);

	list_splice_tail(&batch, &queue->sent);
	while (!list_empty(&batch))
		bdev_io_requeue(list_entry(batch.next, struct bdev_io, link));
}

/* ---- opening and closing ---- */

/* Not in bdev->queues (any more), so nobody wakes it. */
static void queue_free(struct bdev_queue *queue)
{
	loop_cancel(queue->loop, &queue->wake);
	loop_cancel(queue->loop, &queue->kick);
	while (!list_empty(&queue->free_ios)) {
		struct list *first = queue->free_ios.next;

		list_del(first);
		free(list_entry(first, struct bdev_io, link));
	}
	free(queue->stats);
	free(queue);
}

static struct bdev_queue *queue_alloc(struct bdev *bdev, struct loop *loop)
{
	struct bdev_queue *queue = calloc(1, MAX(bdev->ops->queue_bytes, sizeof(*queue)));

	if (!queue)
		return NULL;
	queue->bdev = bdev;
	queue->loop = loop;
	list_init(&queue->link);
	list_init(&queue->free_ios);
	list_init(&queue->sent);
	list_init(&queue->held);
	list_init(&queue->late);
	list_init(&queue->completed);
	ev_init(&queue->timeout_timer, timeout_cb);
	queue->timeout_timer.data = queue;
	queue->wake.fn = wake_fn;
	queue->kick.fn = kick_fn;
	queue->stats = calloc(1, sizeof(*queue->stats));
	if (!queue->stats) {
		queue_free(queue);
		return NULL;
	}
	return queue;
}

/* Opens the queues of a stack, top first, so that a gate that closes early finds its way up. */
static int open_stack(struct bdev *bdev, struct loop *loop, struct bdev_queue *upper,
	struct bdev_queue **ret_queue)
{
	struct bdev_queue *queue = queue_alloc(bdev, loop);
	int err = 0;

	if (!queue)
		return -ENOMEM;
	queue->upper = upper;
	queue->path = bdev->lower ? BDEV_PATH_STATE_OPEN : BDEV_PATH_STATE_DOWN;
	if (bdev->lower) {
		err = open_stack(bdev->lower, loop, queue, &queue->lower);
		if (err)
			goto out_free;
	}
	if (bdev->ops->queue_open)
		err = bdev->ops->queue_open(queue);
	if (err) {
		bdev_queue_close(queue->lower);
		goto out_free;
	}
	pthread_mutex_lock(&bdev->lock);
	list_add_tail(&bdev->queues, &queue->link);
	pthread_mutex_unlock(&bdev->lock);
	*ret_queue = queue;
	return 0;
out_free:
	queue_free(queue);
	return err;
}

int bdev_queue_open(struct bdev *bdev, struct loop *loop, struct bdev_queue **ret_queue)
{
	struct bdev_queue *queue, *bottom;
	int err;

	assert(!bdev->upper && loop_is_owner(loop));
	if (atomic_load(&bdev->fenced))
		return -ERR_FENCED;
	err = open_stack(bdev, loop, NULL, &queue);
	if (err)
		return err;
	bottom = bdev_queue_bottom(queue);
	bottom->path = BDEV_PATH_STATE_GATED;
	stat_add(&bottom->stats->gate_closings, 1);
	run_gate(bottom);
	*ret_queue = queue;
	return 0;
}

void bdev_queue_close(struct bdev_queue *queue)
{
	struct bdev *bdev;

	if (!queue)
		return;
	bdev = queue->bdev;
	assert(loop_is_owner(queue->loop));
	assert(atomic_load(&queue->in_flight) == 0);
	assert(list_empty(&queue->sent) && list_empty(&queue->held) && list_empty(&queue->late));
	pthread_mutex_lock(&bdev->lock);
	list_del(&queue->link);
	bdev_stats_sum(queue, &bdev->closed);
	pthread_mutex_unlock(&bdev->lock);
	ev_timer_stop(loop_ev(queue->loop), &queue->timeout_timer);
	if (bdev->ops->queue_close)
		bdev->ops->queue_close(queue);
	bdev_queue_close(queue->lower);
	queue_free(queue);
}

struct bdev *bdev_queue_bdev(const struct bdev_queue *queue)
{
	return queue->bdev;
}

struct loop *bdev_queue_loop(const struct bdev_queue *queue)
{
	return queue->loop;
}
