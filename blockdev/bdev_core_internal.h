/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the common code (bdev.c, bdev_queue.c, bdev_io.c) share; not for backends. */
#ifndef BLOCKDEV_BDEV_CORE_INTERNAL_H
#define BLOCKDEV_BDEV_CORE_INTERNAL_H

#include "blockdev/bdev_internal.h"

/* Written by the queue's thread only, read by any. */
struct bdev_stats {
	_Atomic uint64_t ops[BDEV_NR_OPS], bytes[BDEV_NR_OPS], errors[BDEV_NR_OPS];
	_Atomic uint64_t total_ns[BDEV_NR_OPS], max_ns[BDEV_NR_OPS];
	_Atomic uint64_t latency_log2_us[BDEV_NR_OPS][32];
	_Atomic uint64_t reconnects, resends, gate_closings, held_by_deadline;
};

static inline void stat_add(_Atomic uint64_t *counter, uint64_t n)
{
	uint64_t v = atomic_load_explicit(counter, memory_order_relaxed);

	atomic_store_explicit(counter, v + n, memory_order_relaxed);
}

/* Adds a queue's counters to sum. */
void bdev_stats_sum(const struct bdev_queue *queue, struct bdev_counters *sum);

static inline struct bdev *bdev_bottom(const struct bdev *bdev)
{
	while (bdev->lower)
		bdev = bdev->lower;
	return (struct bdev *)bdev;
}

static inline struct bdev_queue *bdev_queue_bottom(struct bdev_queue *queue)
{
	while (queue->lower)
		queue = queue->lower;
	return queue;
}

/* Tells bdev's owner, and those of the filters above unless own_only. */
void bdev_notify(struct bdev *bdev, enum bdev_event ev, bool own_only);

/* Has bdev_queue_run() called from the loop: from its thread, or (with bdev->lock) from another. */
void bdev_queue_kick(struct bdev_queue *queue);
void bdev_queue_wake(struct bdev_queue *queue);

/* True once nothing may be sent any more (B6); notices bdev_fence_self(). */
bool bdev_queue_is_fenced(struct bdev_queue *queue);
/* Makes it so. */
void bdev_queue_fence(struct bdev_queue *queue);

/* Sends the io down, or holds it, or fails it (bdev_io.c). */
void bdev_io_dispatch(struct bdev_io *io);
/* Finishes what is in queue->completed. The queue may be gone afterwards. */
void bdev_io_run_completed(struct bdev_queue *queue);
/* Puts an io among those that wait for the path or the gate (bdev_queue.c). */
void bdev_queue_hold(struct bdev_queue *queue, struct bdev_io *io);
/* Puts an io among those that wait for the write deadline to be moved. */
void bdev_queue_hold_late(struct bdev_queue *queue, struct bdev_io *io);

#endif
