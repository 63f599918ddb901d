/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control queue. A task management function visits each request queue's thread, marks what it
 * ends there, and is answered when the last visit has seen all of that end (H5). */
#include <errno.h>
#include <stdlib.h>

#include "vmm/virtio_scsi_internal.h"

enum { T_TMF = 0, T_AN_QUERY = 1, T_AN_SUBSCRIBE = 2 };

enum {
	TMF_ABORT_TASK,
	TMF_ABORT_TASK_SET,
	TMF_CLEAR_ACA,
	TMF_CLEAR_TASK_SET,
	TMF_NEXUS_RESET,
	TMF_LUN_RESET,
	TMF_QUERY_TASK,
	TMF_QUERY_TASK_SET,
};

struct tmf_header { /* behind the type */
	struct le32 subtype;
	uint8_t lun[8];
	struct le64 id;
} __attribute__((packed));

struct notify_header {
	uint8_t lun[8];
	struct le32 events;
} __attribute__((packed));

struct notify_answer {
	struct le32 events;
	uint8_t response;
} __attribute__((packed));

struct visit {
	struct loop_work work;
	struct list link;
	struct tmf *tmf;
	struct scsi_queue *queue;
};

struct tmf {
	struct vmm_virtio_scsi *scsi;
	uint16_t head;
	uint8_t *response;
	uint32_t subtype;
	unsigned int target;
	uint64_t id;
	atomic_uint nr_visits; /* that have not ended */
	atomic_bool found;
	struct loop_work done; /* for the control queue's thread */
	struct visit visits[];
};

/* ---- visits ---- */

static bool is_query(const struct tmf *tmf)
{
	return tmf->subtype == TMF_QUERY_TASK || tmf->subtype == TMF_QUERY_TASK_SET;
}

static bool concerns(const struct tmf *tmf, const struct scsi_request *req)
{
	bool one = tmf->subtype == TMF_ABORT_TASK || tmf->subtype == TMF_QUERY_TASK;

	return req->busy && req->lane && req->lane->disk->target == tmf->target &&
	       (!one || req->id == tmf->id);
}

static void visit_end(struct visit *visit)
{
	struct tmf *tmf = visit->tmf;

	if (atomic_fetch_sub(&tmf->nr_visits, 1) == 1)
		loop_post(vmm_iothread_loop(tmf->scsi->queues[0]->thread), &tmf->done);
}

/* Those whose requests have all ended. What began later has not the mark, and may go on. */
void scsi_visits_look(struct scsi_queue *queue)
{
	struct list *pos, *next;

	list_for_each_safe (pos, next, &queue->visits) {
		struct visit *visit = list_entry(pos, struct visit, link);
		bool waits = false;

		for (unsigned int i = 0; !waits && i < VMM_VQ_SIZE_MAX; i++)
			waits = queue->requests[i].aborted &&
				concerns(visit->tmf, &queue->requests[i]);
		if (waits)
			continue;
		list_del(&visit->link);
		visit_end(visit);
	}
}

static void visit(struct loop_work *work)
{
	struct visit *visit = container_of(work, struct visit, work);
	struct scsi_queue *queue = visit->queue;
	struct tmf *tmf = visit->tmf;

	for (unsigned int i = 0; i < VMM_VQ_SIZE_MAX; i++) {
		if (concerns(tmf, &queue->requests[i]) && !is_query(tmf))
			queue->requests[i].aborted = true;
		else if (concerns(tmf, &queue->requests[i]))
			atomic_store(&tmf->found, true);
	}
	for (unsigned int i = 0; !is_query(tmf) && i < VMM_VQ_SIZE_MAX; i++) {
		if (queue->requests[i].aborted)
			scsi_request_abort(&queue->requests[i]);
	}
	list_add_tail(&queue->visits, &visit->link); /* from here it may end, and tmf with it */
	scsi_visits_look(queue);
}

/* On the control queue's thread, which is that of the first request queue. */
static void tmf_done(struct loop_work *work)
{
	struct tmf *tmf = container_of(work, struct tmf, done);
	struct scsi_lane *lane = tmf->scsi->queues[0]->lanes[tmf->target];

	if (lane && (tmf->subtype == TMF_LUN_RESET || tmf->subtype == TMF_NEXUS_RESET))
		vmm_scsi_raise(lane->disk->unit.state, VMM_SCSI_RESET);
	*tmf->response = atomic_load(&tmf->found) ? SCSI_SUCCEEDED : SCSI_OK;
	vmm_worker_push(&tmf->scsi->control, tmf->head, 1);
	free(tmf);
}

/* ---- requests of the queue ---- */

/* 0: it is under way; or its response. */
static enum scsi_response begin_tmf(struct vmm_virtio_scsi *scsi, const struct tmf_header *header,
	uint16_t head, uint8_t *response)
{
	uint32_t subtype = le32_get(header->subtype);
	bool is_unit;
	int target = scsi_target_of(header->lun, &is_unit);
	struct tmf *tmf;

	if (target < 0 || !scsi->queues[0]->lanes[target])
		return SCSI_BAD_TARGET;
	if (!is_unit)
		return SCSI_INCORRECT_LUN;
	if (subtype == TMF_CLEAR_ACA || subtype > TMF_QUERY_TASK_SET)
		return SCSI_REJECTED;
	tmf = calloc(1, sizeof(*tmf) + scsi->nr_queues * sizeof(tmf->visits[0]));
	if (!tmf)
		return SCSI_FAILURE;
	tmf->scsi = scsi;
	tmf->head = head;
	tmf->response = response;
	tmf->subtype = subtype;
	tmf->target = (unsigned int)target;
	tmf->id = le64_get(header->id);
	tmf->done.fn = tmf_done;
	atomic_init(&tmf->nr_visits, scsi->nr_queues);
	for (unsigned int i = 0; i < scsi->nr_queues; i++) {
		tmf->visits[i].tmf = tmf;
		tmf->visits[i].queue = scsi->queues[i];
		tmf->visits[i].work.fn = visit;
		list_init(&tmf->visits[i].link);
	}
	for (unsigned int i = 0, nr = scsi->nr_queues; i < nr; i++)
		loop_post(vmm_iothread_loop(scsi->queues[i]->thread), &tmf->visits[i].work);
	return SCSI_OK;
}

static int take_tmf(struct vmm_virtio_scsi *scsi, struct vmm_vq_chain *chain, struct iovec *iov)
{
	struct tmf_header header;
	uint8_t *response;
	enum scsi_response now;

	if (vmm_iov_take(&iov, &chain->nr_out, &header, sizeof(header)) != sizeof(header))
		return -EBADMSG;
	response = iov[chain->nr_out].iov_base;
	now = begin_tmf(scsi, &header, chain->head, response);
	if (now != SCSI_OK) {
		*response = (uint8_t)now;
		vmm_worker_push(&scsi->control, chain->head, 1);
	}
	return 1;
}

/* Of asynchronous notifications there are none. */
static int take_notify(struct vmm_virtio_scsi *scsi, struct vmm_vq_chain *chain, struct iovec *iov)
{
	struct notify_answer answer = { .response = SCSI_OK };
	struct notify_header header;
	bool is_unit;
	int target;

	if (vmm_iov_take(&iov, &chain->nr_out, &header, sizeof(header)) != sizeof(header))
		return -EBADMSG;
	target = scsi_target_of(header.lun, &is_unit);
	if (target < 0 || !scsi->queues[0]->lanes[target])
		answer.response = SCSI_BAD_TARGET;
	else if (!is_unit)
		answer.response = SCSI_INCORRECT_LUN;
	if (vmm_iov_put(iov + chain->nr_out, chain->nr_in, &answer, sizeof(answer)) !=
		sizeof(answer))
		return -EBADMSG;
	vmm_worker_push(&scsi->control, chain->head, sizeof(answer));
	return 1;
}

int scsi_take_control(struct vmm_worker *worker)
{
	struct vmm_virtio_scsi *scsi = container_of(worker, struct vmm_virtio_scsi, control);
	struct vmm_vq_chain *chain = &scsi->control_chain;
	struct iovec *iov = chain->iov;
	int got = vmm_vq_pop(worker->vq, chain);
	struct le32 type;

	if (got <= 0)
		return got;
	if (chain->nr_in == 0 ||
		vmm_iov_take(&iov, &chain->nr_out, &type, sizeof(type)) != sizeof(type))
		return -EBADMSG;
	switch (le32_get(type)) {
	case T_TMF:
		return take_tmf(scsi, chain, iov);
	case T_AN_QUERY:
	case T_AN_SUBSCRIBE:
		return take_notify(scsi, chain, iov);
	default:
		return -EBADMSG;
	}
}
