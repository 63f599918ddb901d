/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The event queue: what the driver is to hear waits for buffers, and buffers for it (H4). Buffers
 * are used in order, so that those that wait go back as if they had never been taken. */
#include <errno.h>

#include "util/checked.h"
#include "vmm/virtio_scsi_internal.h"

/* struct vmm_scsi_unit_state: events; those of a target are told in this order. */
#define EVENT_REMOVED 0x01
#define EVENT_ADDED 0x02
#define EVENT_CHANGED 0x04

enum { T_TRANSPORT_RESET = 1, T_PARAM_CHANGE = 3 };
enum { R_RESCAN = 1, R_REMOVED = 2, R_CAPACITY_CHANGED = 0x2a | 0x09 << 8 };

struct event {
	struct le32 event;
	uint8_t lun[8];
	struct le32 reason;
} __attribute__((packed));
static_assert(sizeof(struct event) == SCSI_EVENT_BYTES, "virtio 1.2, 5.6.6.3");

static struct vmm_iothread *thread_of(struct vmm_virtio_scsi *scsi)
{
	return scsi->queues[0]->thread;
}

/* ---- on the thread ---- */

static void answered(struct scsi_disk *disk)
{
	disk->scsi->events.asked[disk->target] = NULL;
	loop_post(disk->scsi->loop, &disk->answered);
}

/* bit: the event of the target that comes first. */
static void tell(struct vmm_virtio_scsi *scsi, unsigned int target, uint8_t bit)
{
	struct vmm_worker *worker = &scsi->events.worker;
	struct scsi_buffer *buffer = list_entry(worker->held.next, struct scsi_buffer, held.link);
	struct event event = { .lun = { 1, (uint8_t)target } };

	event.event = le32_of(bit == EVENT_CHANGED ? T_PARAM_CHANGE : T_TRANSPORT_RESET);
	event.reason = le32_of(bit == EVENT_CHANGED ? R_CAPACITY_CHANGED
			       : bit == EVENT_ADDED ? R_RESCAN
						    : R_REMOVED);
	vmm_iov_put(buffer->iov, buffer->nr_iov, &event, sizeof(event));
	scsi->state.units[target].events &= (uint8_t)~bit;
	if (bit == EVENT_REMOVED && scsi->events.asked[target])
		scsi->events.asked[target]->told = buffer->iov[0].iov_base;
	list_del(&buffer->held.link);
	buffer->busy = false;
	vmm_worker_push(worker, buffer->head, sizeof(event));
}

/* What waits for a buffer, as long as there are any. */
static void tell_all(struct vmm_virtio_scsi *scsi)
{
	for (unsigned int target = 0; target < VMM_SCSI_TARGETS; target++) {
		const uint8_t *events = &scsi->state.units[target].events;

		while (*events && !list_empty(&scsi->events.worker.held))
			tell(scsi, target, (uint8_t)(*events & -*events));
	}
}

/* The queue has stopped, and the buffer is the driver's again. */
static void give_up(struct vmm_held *held, bool give_up)
{
	struct scsi_buffer *buffer = container_of(held, struct scsi_buffer, held);

	buffer->busy = false;
	vmm_worker_put_back(&buffer->scsi->events.worker);
}

/* The first bytes of the chain, in which an event has room. */
static int take_buffer(struct scsi_buffer *buffer, const struct vmm_vq_chain *chain)
{
	size_t left = SCSI_EVENT_BYTES;

	if (buffer->busy || chain->nr_out > 0)
		return -EBADMSG;
	for (buffer->nr_iov = 0; left > 0 && buffer->nr_iov < chain->nr_in; buffer->nr_iov++) {
		struct iovec iov = chain->iov[buffer->nr_iov];

		iov.iov_len = MIN(iov.iov_len, left);
		left -= iov.iov_len;
		buffer->iov[buffer->nr_iov] = iov;
	}
	return left > 0 ? -EBADMSG : 0;
}

int scsi_take_event(struct vmm_worker *worker)
{
	struct vmm_virtio_scsi *scsi = container_of(worker, struct vmm_virtio_scsi, events.worker);
	struct vmm_vq_chain *chain = &scsi->events.chain;
	struct scsi_buffer *buffer;
	int got = vmm_vq_pop(worker->vq, chain);

	if (got <= 0)
		return got;
	buffer = &scsi->events.buffers[chain->head];
	if (take_buffer(buffer, chain) < 0)
		return -EBADMSG;
	buffer->scsi = scsi;
	buffer->head = chain->head;
	buffer->busy = true;
	buffer->held.go = give_up;
	for (unsigned int i = 0; i < VMM_SCSI_TARGETS; i++) {
		struct scsi_disk *disk = scsi->events.asked[i];

		if (disk && disk->told == buffer->iov[0].iov_base) /* (H3) */
			answered(disk);
	}
	/* from here it is not stopping: it would not take */
	(void)vmm_worker_hold(worker, &buffer->held);
	tell_all(scsi);
	return 1;
}

/* ---- called from elsewhere ---- */

static void on_here(void *arg)
{
	struct vmm_virtio_scsi *scsi = arg;

	/* a driver that begins sees for itself what there is */
	for (unsigned int i = 0; i < VMM_SCSI_TARGETS; i++)
		scsi->state.units[i].events = 0;
	scsi->events.on = true;
}

void scsi_events_on(struct vmm_virtio_scsi *scsi)
{
	vmm_iothread_call(thread_of(scsi), on_here, scsi);
}

static void off_here(void *arg)
{
	struct vmm_virtio_scsi *scsi = arg;

	scsi->events.on = false;
	for (unsigned int i = 0; i < VMM_SCSI_TARGETS; i++) {
		if (scsi->events.asked[i])
			answered(scsi->events.asked[i]);
	}
}

void scsi_events_off(struct vmm_virtio_scsi *scsi)
{
	vmm_iothread_call(thread_of(scsi), off_here, scsi);
}

struct add {
	struct vmm_virtio_scsi *scsi;
	unsigned int target;
	uint8_t bit;
};

static void add_here(void *arg)
{
	const struct add *add = arg;

	if (!add->scsi->events.on)
		return;
	add->scsi->state.units[add->target].events |= add->bit;
	tell_all(add->scsi);
}

static void add(struct vmm_virtio_scsi *scsi, unsigned int target, uint8_t bit)
{
	struct add add = { scsi, target, bit };

	vmm_iothread_call(thread_of(scsi), add_here, &add);
}

void scsi_event_added(struct vmm_virtio_scsi *scsi, unsigned int target)
{
	add(scsi, target, EVENT_ADDED);
}

void scsi_event_changed(struct vmm_virtio_scsi *scsi, unsigned int target)
{
	add(scsi, target, EVENT_CHANGED);
}

static void ask_here(void *arg)
{
	struct scsi_disk *disk = arg;
	struct vmm_virtio_scsi *scsi = disk->scsi;

	disk->told = NULL;
	scsi->events.asked[disk->target] = disk;
	if (!scsi->events.on) {
		answered(disk);
		return;
	}
	/* that it came, or has changed, is of no interest any more */
	scsi->state.units[disk->target].events = EVENT_REMOVED;
	tell_all(scsi);
}

void scsi_event_ask(struct scsi_disk *disk)
{
	vmm_iothread_call(thread_of(disk->scsi), ask_here, disk);
}

static void forget_here(void *arg)
{
	struct scsi_disk *disk = arg;

	disk->scsi->events.asked[disk->target] = NULL;
}

void scsi_event_forget(struct scsi_disk *disk)
{
	vmm_iothread_call(thread_of(disk->scsi), forget_here, disk);
}
