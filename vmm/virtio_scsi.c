/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/virtio_scsi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/checked.h"
#include "util/err.h"
#include "vmm/virtio_scsi_internal.h"

#define DEFAULT_SENSE_BYTES 96
#define DEFAULT_CDB_BYTES 32
#define MAX_DRIVER_BYTES 256 /* of either, if the driver chooses */
#define MAX_SECTORS 0xffffu

struct header { /* the CDB follows */
	uint8_t lun[8];
	struct le64 id;
	uint8_t task_attr, prio, crn;
} __attribute__((packed));
static_assert(sizeof(struct header) == 19, "virtio 1.2, 5.6.6.1");

struct response { /* sense data follows */
	struct le32 sense_len, residual;
	struct le16 status_qualifier;
	uint8_t status, response;
} __attribute__((packed));
static_assert(sizeof(struct response) == 12, "virtio 1.2, 5.6.6.1");

int scsi_target_of(const uint8_t lun[8], bool *ret_is_unit)
{
	if (lun[0] != 1)
		return -1;
	/* single level, peripheral or flat */
	*ret_is_unit = (lun[2] == 0 || lun[2] == 0x40) && lun[3] == 0;
	return lun[1];
}

/* ---- how a request ends ---- */

static void finish(struct scsi_request *req, enum scsi_response response)
{
	struct scsi_queue *queue = req->queue;
	const struct vmm_scsi_cmd *cmd = &req->cmd;
	bool has_status = response == SCSI_OK;
	uint32_t moved = has_status ? (uint32_t)cmd->moved_bytes : 0;
	uint32_t sense_bytes = queue->scsi->state.sense_bytes;
	struct {
		struct response head;
		uint8_t sense[MAX_DRIVER_BYTES];
	} __attribute__((packed))
	answer = { .head = { .response = (uint8_t)response,
			   .residual = le32_of(req->data_bytes - moved) } };

	if (has_status) {
		answer.head.status = cmd->status;
		answer.head.sense_len = le32_of(MIN(cmd->sense_bytes, sense_bytes));
		memcpy(answer.sense, cmd->sense, cmd->sense_bytes);
	}
	req->in[req->nr_response - 1] = req->last_was;
	vmm_iov_put(req->in, req->nr_response, &answer, sizeof(answer.head) + sense_bytes);
	req->busy = false;
	vmm_worker_push(&queue->worker, req->chain.head,
		(uint32_t)sizeof(answer.head) + sense_bytes + (req->chain.nr_in > 0 ? moved : 0));
	if (req->lane)
		scsi_lane_put(req->lane);
	if (req->aborted)
		scsi_visits_look(queue);
}

/* Steps that need the disk go to it, until one waits for it. */
static void advance(struct scsi_request *req, enum vmm_scsi_next next)
{
	while (next == VMM_SCSI_DISK) {
		int err = req->aborted ? -ECANCELED : bdev_submit(req->lane->bdev, &req->cmd.req);

		if (err == 0)
			return;
		next = vmm_scsi_go_on(&req->cmd, err);
	}
	finish(req, req->aborted ? SCSI_ABORTED : req->cmd.overrun ? SCSI_OVERRUN : SCSI_OK);
}

static void bdev_done(struct bdev_req *bdev, int status)
{
	struct scsi_request *req = bdev->arg;

	if (status && status != -EOPNOTSUPP && !req->aborted && !req->lane->leaving &&
		vmm_disk_hold(req->lane->disk->disk, &req->queue->worker, &req->held, bdev, status))
		return;
	advance(req, vmm_scsi_go_on(&req->cmd, status));
}

/*
 * Submits it again. Not a flush: what it should have made stable may be lost, and the next one
 * would say that all is well; so the guest is told.
 */
static void go_on(struct vmm_held *held, bool give_up)
{
	struct scsi_request *req = container_of(held, struct scsi_request, held);

	if (give_up || req->cmd.req.op == BDEV_FLUSH)
		advance(req, vmm_scsi_go_on(&req->cmd, -EIO));
	else
		advance(req, VMM_SCSI_DISK);
}

void scsi_request_abort(struct scsi_request *req)
{
	if (list_empty(&req->held.link)) /* the disk has it, or it has ended */
		return;
	list_del(&req->held.link);
	go_on(&req->held, true);
}

/* ---- how it begins ---- */

/* Drops the first len bytes of iov, which has as many. */
static void drop(struct iovec **iov, uint16_t *nr, size_t len)
{
	while (len > 0) {
		size_t n = MIN(len, (*iov)->iov_len);

		(*iov)->iov_base = (uint8_t *)(*iov)->iov_base + n;
		(*iov)->iov_len -= n;
		len -= n;
		if ((*iov)->iov_len == 0) {
			(*iov)++;
			(*nr)--;
		}
	}
}

static uint64_t iov_bytes(const struct iovec *iov, uint16_t nr)
{
	uint64_t sum = 0;

	for (uint16_t i = 0; i < nr; i++)
		sum += iov[i].iov_len;
	return sum;
}

/*
 * Cuts the response off the front of data-in. Its last entry may go on as data: what of it is the
 * response's is kept aside, since the command cuts what it is given.
 */
static void cut_response(struct scsi_request *req, size_t len, struct iovec *in, uint16_t nr)
{
	struct iovec *last;
	size_t left = len;

	for (last = in; last->iov_len < left; last++)
		left -= last->iov_len;
	req->in = in;
	req->nr_response = (uint16_t)(last - in + 1);
	req->last_was = (struct iovec){ last->iov_base, left };
	req->cmd.in = last;
	req->cmd.nr_in = (uint16_t)(nr - (last - in));
	drop(&req->cmd.in, &req->cmd.nr_in, left);
}

/* The framing, which the driver may cut as it likes: header and CDB, data-out; response and sense
 * data, data-in. */
static int take_request(struct scsi_queue *queue, struct scsi_request *req)
{
	const struct vmm_scsi_state *state = &queue->scsi->state;
	size_t response = sizeof(struct response) + state->sense_bytes, cdb = state->cdb_bytes;
	struct vmm_vq_chain *chain = &req->chain;
	struct iovec *iov = chain->iov;
	struct header header;
	uint64_t out, in;
	bool is_unit;
	int target;

	if (iov_bytes(iov, chain->nr_out) < sizeof(header) + cdb ||
		iov_bytes(iov + chain->nr_out, chain->nr_in) < response)
		return -EBADMSG;
	vmm_iov_take(&iov, &chain->nr_out, &header, sizeof(header));
	memset(req->cmd.cdb, 0, sizeof(req->cmd.cdb));
	vmm_iov_take(&iov, &chain->nr_out, req->cmd.cdb, MIN(cdb, sizeof(req->cmd.cdb)));
	if (cdb > sizeof(req->cmd.cdb))
		drop(&iov, &chain->nr_out, cdb - sizeof(req->cmd.cdb));
	req->cmd.out = iov;
	req->cmd.nr_out = chain->nr_out;
	cut_response(req, response, iov + chain->nr_out, chain->nr_in);
	req->queue = queue;
	req->held.go = go_on;
	list_init(&req->held.link);
	req->id = le64_get(header.id);
	req->busy = true;
	req->aborted = false;
	out = iov_bytes(req->cmd.out, req->cmd.nr_out);
	in = iov_bytes(req->cmd.in, req->cmd.nr_in);
	chain->nr_in = req->cmd.nr_in;
	req->data_bytes = (uint32_t)(out + in);
	target = scsi_target_of(header.lun, &is_unit);
	req->lane = target >= 0 ? queue->lanes[target] : NULL;
	if (!req->lane) {
		finish(req, SCSI_BAD_TARGET);
		return 0;
	}
	req->lane->nr_in_flight++;
	if ((out > 0 && in > 0) || out + in > UINT32_MAX) {
		finish(req, SCSI_FAILURE);
		return 0;
	}
	req->cmd.unit = is_unit ? &req->lane->disk->unit : NULL;
	req->cmd.req = (struct bdev_req){ .done = bdev_done, .arg = req };
	advance(req, vmm_scsi_begin(&req->cmd));
	return 0;
}

static int take_one(struct vmm_worker *worker)
{
	struct scsi_queue *queue = container_of(worker, struct scsi_queue, worker);
	struct vmm_vq_chain chain;
	struct scsi_request *req;
	int got = vmm_vq_pop(worker->vq, &chain);

	if (got <= 0)
		return got;
	req = &queue->requests[chain.head];
	if (req->busy)
		return -EBADMSG;
	vmm_vq_keep(&req->chain, &chain);
	got = take_request(queue, req);
	return got < 0 ? got : 1;
}

/* ---- what the transport calls ---- */

static struct vmm_worker *worker_of(struct vmm_virtio_scsi *scsi, unsigned int nth)
{
	return nth == SCSI_CONTROL  ? &scsi->control
	       : nth == SCSI_EVENTS ? &scsi->events.worker
				    : &scsi->queues[nth - SCSI_REQUESTS]->worker;
}

static int start(void *arg, unsigned int nth, struct vmm_vq *vq, int kick_fd)
{
	if (nth == SCSI_EVENTS)
		scsi_events_on(arg);
	vmm_worker_start(worker_of(arg, nth), vq, kick_fd);
	return 0;
}

static void stop(void *arg, unsigned int nth)
{
	vmm_worker_stop(worker_of(arg, nth));
	if (nth == SCSI_EVENTS)
		scsi_events_off(arg);
}

static bool stopped(void *arg, unsigned int nth, bool wait)
{
	return vmm_worker_stopped(worker_of(arg, nth), wait);
}

static void set_sizes(struct vmm_virtio_scsi *scsi, uint32_t sense_bytes, uint32_t cdb_bytes)
{
	scsi->state.sense_bytes = sense_bytes;
	scsi->state.cdb_bytes = cdb_bytes;
	scsi->config.sense_size = le32_of(sense_bytes);
	scsi->config.cdb_size = le32_of(cdb_bytes);
}

/* scsi->disks is not for here, on a CPU's thread. */
static void reset(void *arg)
{
	struct vmm_virtio_scsi *scsi = arg;

	set_sizes(scsi, DEFAULT_SENSE_BYTES, DEFAULT_CDB_BYTES);
	for (unsigned int i = 0; i < VMM_SCSI_TARGETS; i++)
		vmm_scsi_raise(&scsi->state.units[i], VMM_SCSI_POWER_ON);
}

/* Only before the threads use them; what is too large or too small for anybody is not taken, as the
 * driver sees. */
static void write_config(void *arg, uint32_t off, unsigned int len, uint64_t value)
{
	struct vmm_virtio_scsi *scsi = arg;

	if (len != 4 || value > MAX_DRIVER_BYTES || scsi->virtio.state.status & VMM_VIRTIO_DRIVER_OK)
		return;
	if (off == offsetof(struct scsi_config, sense_size))
		set_sizes(scsi, (uint32_t)value, scsi->state.cdb_bytes);
	else if (off == offsetof(struct scsi_config, cdb_size) && value > 0)
		set_sizes(scsi, scsi->state.sense_bytes, (uint32_t)value);
}

static const struct vmm_virtio_ops scsi_ops = {
	.id = VMM_VIRTIO_ID_SCSI,
	.class_code = 0x010000,
	.start = start,
	.stop = stop,
	.stopped = stopped,
	.reset = reset,
	.write_config = write_config,
};

/* ---- life ---- */

static void queue_free(struct scsi_queue *queue)
{
	vmm_iothread_free(queue->thread);
	vmm_worker_done(&queue->worker);
	free(queue);
}

static int queue_new(struct vmm_virtio_scsi *scsi, unsigned int nth)
{
	struct scsi_queue *queue = calloc(1, sizeof(*queue));
	int err;

	if (!queue)
		return -ENOMEM;
	queue->scsi = scsi;
	queue->nth = nth;
	list_init(&queue->visits);
	scsi->queues[scsi->nr_queues++] = queue;
	err = vmm_iothread_new(&queue->thread);
	vmm_worker_init(
		&queue->worker, &scsi->virtio, SCSI_REQUESTS + nth, queue->thread, take_one);
	return err;
}

static void fill_config(struct vmm_virtio_scsi *scsi)
{
	struct scsi_config *config = &scsi->config;

	config->num_queues = le32_of(scsi->nr_queues);
	config->seg_max = le32_of(VMM_VQ_MAX_IOV - 2);
	config->max_sectors = le32_of(MAX_SECTORS);
	config->cmd_per_lun = le32_of(VMM_VQ_SIZE_MAX);
	config->event_info_size = le32_of(SCSI_EVENT_BYTES);
	config->max_target = le16_of(VMM_SCSI_TARGETS - 1);
	set_sizes(scsi, DEFAULT_SENSE_BYTES, DEFAULT_CDB_BYTES);
}

static void free_all(struct vmm_virtio_scsi *scsi)
{
	for (unsigned int i = 0; i < scsi->nr_queues; i++)
		queue_free(scsi->queues[i]);
	vmm_worker_done(&scsi->control);
	vmm_worker_done(&scsi->events.worker);
	free(scsi);
}

int vmm_virtio_scsi_new(const struct vmm_mem *mem, struct vmm_pci *pci, struct loop *loop,
	unsigned int nr_queues, struct vmm_virtio_scsi **ret_scsi)
{
	struct vmm_virtio_scsi *scsi = calloc(1, sizeof(*scsi));
	struct vmm_iothread *thread;
	int err = 0;

	if (!scsi)
		return -ENOMEM;
	scsi->state.head =
		(struct vmm_state_head){ VMM_SCSI_VERSION, sizeof(struct vmm_scsi_state) };
	scsi->loop = loop;
	scsi->virtio.ops = &scsi_ops;
	scsi->virtio.arg = scsi;
	scsi->virtio.mem = mem;
	scsi->virtio.name = "virtio-scsi";
	scsi->virtio.offered = SCSI_F_HOTPLUG | SCSI_F_CHANGE;
	scsi->virtio.config = &scsi->config;
	scsi->virtio.config_bytes = sizeof(scsi->config);
	scsi->virtio.nr_queues = (uint16_t)(SCSI_REQUESTS + nr_queues);
	for (unsigned int i = 0; !err && i < nr_queues; i++)
		err = queue_new(scsi, i);
	thread = scsi->nr_queues > 0 ? scsi->queues[0]->thread : NULL;
	vmm_worker_init(&scsi->control, &scsi->virtio, SCSI_CONTROL, thread, scsi_take_control);
	vmm_worker_init(&scsi->events.worker, &scsi->virtio, SCSI_EVENTS, thread, scsi_take_event);
	fill_config(scsi);
	if (!err)
		err = vmm_virtio_plug(&scsi->virtio, pci);
	if (err) {
		free_all(scsi);
		return err;
	}
	*ret_scsi = scsi;
	return 0;
}

void vmm_virtio_scsi_retry(struct vmm_virtio_scsi *scsi)
{
	for (unsigned int i = 0; i < scsi->nr_queues; i++)
		vmm_worker_retry(&scsi->queues[i]->worker);
}

void vmm_virtio_scsi_free(struct vmm_virtio_scsi *scsi)
{
	if (!scsi)
		return;
	vmm_virtio_unplug(&scsi->virtio);
	for (unsigned int i = 0; i < VMM_SCSI_TARGETS; i++) {
		if (scsi->disks[i])
			scsi_disk_free(scsi->disks[i]);
	}
	free_all(scsi);
}
