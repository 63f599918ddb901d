/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtqueue that is served on an I/O thread: taken from as doorbells ring, and drained when the
 * driver resets the device.
 *
 * W1  From vmm_worker_start() until it has stopped all of it belongs to the thread, but for what the
 *     mutex covers. What the device has taken is in flight until vmm_worker_push().
 * W2  A request that storage has failed may be held, in flight, until somebody has it tried again
 *     (V5). Stopping gives it up, so that nobody waits for storage that does not come back.
 */
#ifndef VMM_WORKER_H
#define VMM_WORKER_H

#include <ev.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/list.h"

struct vmm_iothread;
struct vmm_virtio;
struct vmm_vq;

/* In a device's request. go() runs on the thread: submits it again, or with give_up ends it. */
struct vmm_held {
	struct list link;
	void (*go)(struct vmm_held *held, bool give_up);
};

struct vmm_worker {
	struct vmm_virtio *virtio;
	unsigned int nth;
	struct vmm_iothread *thread;
	int (*take)(struct vmm_worker *worker);
	struct vmm_vq *vq;
	struct ev_io kick;
	unsigned int nr_in_flight;
	bool stopping;
	struct list held;
	pthread_mutex_t mutex;
	pthread_cond_t drained_cond;
	bool drained;
};

/*
 * Serves queue nth of virtio on thread (several may share one), once it is started. take() runs
 * there, for each chain: 1 = it took one, 0 = there is none, negative = the driver broke a rule.
 */
void vmm_worker_init(struct vmm_worker *worker, struct vmm_virtio *virtio, unsigned int nth,
	struct vmm_iothread *thread, int (*take)(struct vmm_worker *worker))
	__attribute__((nonnull));

/* It is not started. */
void vmm_worker_done(struct vmm_worker *worker) __attribute__((nonnull));

/* For struct vmm_virtio_ops: start; stop; whether it has stopped, or with wait until it has. */
void vmm_worker_start(struct vmm_worker *worker, struct vmm_vq *vq, int kick_fd)
	__attribute__((nonnull));
void vmm_worker_stop(struct vmm_worker *worker) __attribute__((nonnull));
bool vmm_worker_stopped(struct vmm_worker *worker, bool wait) __attribute__((nonnull));

/* On the thread: gives back a chain that take() took, len_bytes of it written. */
void vmm_worker_push(struct vmm_worker *worker, uint16_t head, uint32_t len_bytes)
	__attribute__((nonnull));

/* On the thread: as if the latest chain that is in flight had not been taken. For a queue of which
 * chains are used in order, as it stops (W2). */
void vmm_worker_put_back(struct vmm_worker *worker) __attribute__((nonnull));

/* On the thread: holds a request. False: it is stopping, and wants it given back. */
bool vmm_worker_hold(struct vmm_worker *worker, struct vmm_held *held) __attribute__((nonnull));

/* Tries again what is held; from another thread, waits until all of it is submitted. */
void vmm_worker_retry(struct vmm_worker *worker) __attribute__((nonnull));

#endif
