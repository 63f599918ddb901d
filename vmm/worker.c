/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/worker.h"

#include <sys/eventfd.h>

#include "util/loop.h"
#include "vmm/iothread.h"
#include "vmm/virtio.h"

void vmm_worker_init(struct vmm_worker *worker, struct vmm_virtio *virtio, unsigned int nth,
	struct vmm_iothread *thread, int (*take)(struct vmm_worker *worker))
{
	*worker = (struct vmm_worker){
		.virtio = virtio, .nth = nth, .thread = thread, .take = take, .drained = true
	};
	list_init(&worker->held);
	pthread_mutex_init(&worker->mutex, NULL);
	pthread_cond_init(&worker->drained_cond, NULL);
}

void vmm_worker_done(struct vmm_worker *worker)
{
	pthread_cond_destroy(&worker->drained_cond);
	pthread_mutex_destroy(&worker->mutex);
}

static void tell_drained(struct vmm_worker *worker)
{
	if (!worker->stopping || worker->nr_in_flight > 0)
		return;
	pthread_mutex_lock(&worker->mutex);
	worker->drained = true;
	pthread_cond_signal(&worker->drained_cond);
	pthread_mutex_unlock(&worker->mutex);
}

static void take_all(struct vmm_worker *worker)
{
	struct vmm_virtio *virtio = worker->virtio;
	int got;

	do {
		for (got = 1; got > 0 && !atomic_load(&virtio->broken);) {
			worker->nr_in_flight++; /* before, since it may end within */
			got = worker->take(worker);
			if (got <= 0)
				worker->nr_in_flight--;
			if (got < 0)
				vmm_virtio_broken(virtio, "a request is malformed");
		}
	} while (!atomic_load(&virtio->broken) && vmm_vq_wait(worker->vq));
}

static void on_kick(struct ev_loop *ev, struct ev_io *watcher, int revents)
{
	eventfd_t nr;

	(void)eventfd_read(watcher->fd, &nr);
	take_all(watcher->data);
}

static void start_here(void *arg)
{
	struct vmm_worker *worker = arg;

	worker->stopping = worker->drained = false;
	ev_io_start(loop_ev(vmm_iothread_loop(worker->thread)), &worker->kick);
	take_all(worker);
}

void vmm_worker_start(struct vmm_worker *worker, struct vmm_vq *vq, int kick_fd)
{
	worker->vq = vq;
	ev_io_init(&worker->kick, on_kick, kick_fd, EV_READ);
	worker->kick.data = worker;
	vmm_iothread_call(worker->thread, start_here, worker);
}

static void go_on(struct vmm_worker *worker, bool give_up)
{
	struct list held;

	list_init(&held);
	list_splice_tail(&held, &worker->held);
	while (!list_empty(&held)) {
		struct vmm_held *first = list_entry(held.next, struct vmm_held, link);

		list_del(&first->link);
		first->go(first, give_up);
	}
}

static void stop_here(void *arg)
{
	struct vmm_worker *worker = arg;

	ev_io_stop(loop_ev(vmm_iothread_loop(worker->thread)), &worker->kick);
	worker->stopping = true;
	worker->nr_in_flight++; /* so that the last one does not tell */
	go_on(worker, true);
	worker->nr_in_flight--;
	tell_drained(worker);
}

void vmm_worker_stop(struct vmm_worker *worker)
{
	vmm_iothread_call(worker->thread, stop_here, worker);
}

bool vmm_worker_stopped(struct vmm_worker *worker, bool wait)
{
	bool drained;

	pthread_mutex_lock(&worker->mutex);
	while (wait && !worker->drained)
		pthread_cond_wait(&worker->drained_cond, &worker->mutex);
	drained = worker->drained;
	pthread_mutex_unlock(&worker->mutex);
	return drained;
}

void vmm_worker_push(struct vmm_worker *worker, uint16_t head, uint32_t len_bytes)
{
	worker->nr_in_flight--;
	if (vmm_vq_push(worker->vq, head, len_bytes))
		vmm_virtio_interrupt(worker->virtio, worker->nth);
	tell_drained(worker);
}

void vmm_worker_put_back(struct vmm_worker *worker)
{
	worker->nr_in_flight--;
	worker->vq->state->avail_idx--;
	tell_drained(worker);
}

bool vmm_worker_hold(struct vmm_worker *worker, struct vmm_held *held)
{
	if (worker->stopping)
		return false;
	list_add_tail(&worker->held, &held->link);
	return true;
}

static void retry_here(void *arg)
{
	go_on(arg, false);
}

void vmm_worker_retry(struct vmm_worker *worker)
{
	vmm_iothread_call(worker->thread, retry_here, worker);
}
