/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/virtio_blk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blockdev/bdev.h"
#include "util/checked.h"
#include "util/err.h"
#include "util/le.h"
#include "util/list.h"
#include "util/log.h"
#include "vmm/disk.h"
#include "vmm/iothread.h"
#include "vmm/virtio.h"
#include "vmm/worker.h"

#define SECTOR 512u
#define ID_BYTES 20

#define F_SEG_MAX (1u << 2)
#define F_RO (1u << 5)
#define F_BLK_SIZE (1u << 6)
#define F_FLUSH (1u << 9)
#define F_TOPOLOGY (1u << 10)
#define F_MQ (1u << 12)
#define F_DISCARD (1u << 13)
#define F_WRITE_ZEROES (1u << 14)

enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2 };

#define MAX_RANGE_SECTORS (1u << 21) /* of a discard: 1 GiB */

struct config {
	struct le64 capacity; /* 0x00, sectors */
	struct le32 size_max, seg_max;
	uint8_t geometry[4];
	struct le32 blk_size; /* 0x14 */
	uint8_t phys_exp, alignment_off;
	struct le16 min_io;
	struct le32 opt_io;
	uint8_t writeback, unused0; /* 0x20 */
	struct le16 num_queues;
	struct le32 max_discard_sectors, max_discard_seg, discard_sector_alignment;
	struct le32 max_zeroes_sectors, max_zeroes_seg; /* 0x30 */
	uint8_t zeroes_may_unmap, unused1[3];
} __attribute__((packed));
static_assert(sizeof(struct config) == 60, "virtio 1.2, 5.2.4");

struct header {
	struct le32 type, reserved;
	struct le64 sector;
} __attribute__((packed));

struct range {
	struct le64 sector;
	struct le32 nr_sectors, flags;
} __attribute__((packed));

struct request {
	struct bdev_req bdev;
	struct vmm_held held;
	struct queue *queue;
	uint32_t type;
	uint32_t in_bytes; /* that a read fills */
	uint8_t *status;
	bool busy;
	struct vmm_vq_chain chain;
};

struct queue {
	struct vmm_worker worker; /* (W1) */
	struct vmm_virtio_blk *blk;
	struct vmm_iothread *thread;
	struct bdev_queue *bdev;
	int err; /* of bdev_queue_open() */
	struct request requests[VMM_VQ_SIZE_MAX]; /* by the head of their chain */
};

struct vmm_virtio_blk {
	struct vmm_virtio virtio;
	struct vmm_disk *disk;
	struct config config;
	char serial[ID_BYTES];
	unsigned int nr_queues;
	struct queue *queues[VMM_VIRTIO_QUEUES];
};

static void finish(struct request *req, uint8_t status)
{
	*req->status = status;
	req->busy = false;
	vmm_worker_push(&req->queue->worker, req->chain.head,
		1 + (status == S_OK ? req->in_bytes : 0));
}

static void bdev_done(struct bdev_req *bdev, int status)
{
	struct request *req = bdev->arg;

	if (status && status != -EOPNOTSUPP &&
		vmm_disk_hold(req->queue->blk->disk, &req->queue->worker, &req->held, bdev, status))
		return;
	finish(req, status == 0 ? S_OK : status == -EOPNOTSUPP ? S_UNSUPP : S_IOERR);
}

/*
 * Submits it again. Not a flush: what it should have made stable may be lost, and the next one would
 * say that all is well; so the guest is told.
 */
static void go_on(struct vmm_held *held, bool give_up)
{
	struct request *req = container_of(held, struct request, held);

	if (give_up || req->bdev.op == BDEV_FLUSH || bdev_submit(req->queue->bdev, &req->bdev) < 0)
		finish(req, S_IOERR);
}

static void submit(struct request *req, enum bdev_op op, uint64_t sector, uint64_t len_bytes,
	const struct iovec *iov, int nr_iov)
{
	req->bdev = (struct bdev_req){ .op = op,
		.len_bytes = len_bytes,
		.iov = iov,
		.nr_iov = nr_iov,
		.done = bdev_done,
		.arg = req };
	/* past any device's end, if it wraps */
	if (checked_mul(sector, (uint64_t)SECTOR, &req->bdev.off_bytes) ||
		bdev_submit(req->queue->bdev, &req->bdev) < 0)
		finish(req, S_IOERR);
}

static uint64_t iov_bytes(const struct iovec *iov, uint16_t nr)
{
	uint64_t sum = 0;

	for (uint16_t i = 0; i < nr; i++)
		sum += iov[i].iov_len;
	return sum;
}

/* Discard and write zeroes: one range, as the config space says. */
static void submit_range(struct request *req, enum bdev_op op, struct iovec *iov, uint16_t nr)
{
	struct range range;

	if (iov_bytes(iov, nr) != sizeof(range) ||
		vmm_iov_take(&iov, &nr, &range, sizeof(range)) != sizeof(range) ||
		le32_get(range.nr_sectors) == 0 || le32_get(range.nr_sectors) > MAX_RANGE_SECTORS) {
		finish(req, S_IOERR);
		return;
	}
	if (le32_get(range.flags) & ~(op == BDEV_WRITE_ZEROES ? 1u : 0u)) {
		finish(req, S_UNSUPP);
		return;
	}
	submit(req, op, le64_get(range.sector), (uint64_t)le32_get(range.nr_sectors) * SECTOR, NULL,
		0);
}

/* iov: first nr_out that we read, then nr_in that we write, the status byte not among them. */
static void dispatch(
	struct request *req, uint64_t sector, struct iovec *iov, uint16_t nr_out, uint16_t nr_in)
{
	struct vmm_virtio_blk *blk = req->queue->blk;
	uint64_t in_bytes = iov_bytes(iov + nr_out, nr_in);

	switch (req->type) {
	case T_IN:
		if (in_bytes > UINT32_MAX - 1) {
			finish(req, S_IOERR);
			break;
		}
		req->in_bytes = (uint32_t)in_bytes;
		submit(req, BDEV_READ, sector, in_bytes, iov + nr_out, nr_in);
		break;
	case T_OUT:
		submit(req, BDEV_WRITE, sector, iov_bytes(iov, nr_out), iov, nr_out);
		break;
	case T_FLUSH:
		submit(req, BDEV_FLUSH, 0, 0, NULL, 0);
		break;
	case T_GET_ID:
		req->in_bytes = (uint32_t)vmm_iov_put(iov + nr_out, nr_in, blk->serial, ID_BYTES);
		finish(req, S_OK);
		break;
	case T_DISCARD:
		submit_range(req, BDEV_DISCARD, iov, nr_out);
		break;
	case T_WRITE_ZEROES:
		submit_range(req, BDEV_WRITE_ZEROES, iov, nr_out);
		break;
	default:
		finish(req, S_UNSUPP);
	}
}

/* The framing, which the driver may cut as it likes: header, data, and the status as the last byte.
 */
static int take_request(struct queue *queue, struct request *req)
{
	struct vmm_vq_chain *chain = &req->chain;
	struct iovec *iov = chain->iov, *last;
	struct header header;

	if (chain->nr_in == 0)
		return -EBADMSG;
	if (vmm_iov_take(&iov, &chain->nr_out, &header, sizeof(header)) != sizeof(header))
		return -EBADMSG;
	last = &iov[chain->nr_out + chain->nr_in - 1];
	last->iov_len--;
	req->status = (uint8_t *)last->iov_base + last->iov_len;
	if (last->iov_len == 0)
		chain->nr_in--;
	req->queue = queue;
	req->held.go = go_on;
	req->type = le32_get(header.type);
	req->in_bytes = 0;
	req->busy = true;
	dispatch(req, le64_get(header.sector), iov, chain->nr_out, chain->nr_in);
	return 0;
}

static int take_one(struct vmm_worker *worker)
{
	struct queue *queue = container_of(worker, struct queue, worker);
	struct vmm_vq_chain chain;
	struct request *req;
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

static int start(void *arg, unsigned int nth, struct vmm_vq *vq, int kick_fd)
{
	vmm_worker_start(&((struct vmm_virtio_blk *)arg)->queues[nth]->worker, vq, kick_fd);
	return 0;
}

static void stop(void *arg, unsigned int nth)
{
	vmm_worker_stop(&((struct vmm_virtio_blk *)arg)->queues[nth]->worker);
}

static bool stopped(void *arg, unsigned int nth, bool wait)
{
	return vmm_worker_stopped(&((struct vmm_virtio_blk *)arg)->queues[nth]->worker, wait);
}

static const struct vmm_virtio_ops blk_ops = {
	.id = VMM_VIRTIO_ID_BLK,
	.class_code = 0x018000,
	.start = start,
	.stop = stop,
	.stopped = stopped,
};

/* ---- life ---- */

static void open_here(void *arg)
{
	struct queue *queue = arg;

	queue->err = bdev_queue_open(
		queue->blk->disk->bdev, vmm_iothread_loop(queue->thread), &queue->bdev);
}

static void close_here(void *arg)
{
	bdev_queue_close(((struct queue *)arg)->bdev);
}

static void queue_free(struct queue *queue)
{
	if (queue->thread)
		vmm_iothread_call(queue->thread, close_here, queue);
	vmm_iothread_free(queue->thread);
	vmm_worker_done(&queue->worker);
	free(queue);
}

static int queue_new(struct vmm_virtio_blk *blk, unsigned int nth)
{
	struct queue *queue = calloc(1, sizeof(*queue));
	int err;

	if (!queue)
		return -ENOMEM;
	queue->blk = blk;
	blk->queues[blk->nr_queues++] = queue;
	err = vmm_iothread_new(&queue->thread);
	vmm_worker_init(&queue->worker, &blk->virtio, nth, queue->thread, take_one);
	if (err)
		return err;
	vmm_iothread_call(queue->thread, open_here, queue);
	return queue->err;
}

static struct le64 capacity_of(const struct vmm_virtio_blk *blk)
{
	struct bdev_geom geom = bdev_geom(blk->disk->bdev);

	return le64_of(ALIGN_DOWN(geom.size_bytes, (uint64_t)geom.block_bytes) / SECTOR);
}

static void fill_config(struct vmm_virtio_blk *blk, unsigned int nr_queues)
{
	struct bdev_geom geom = bdev_geom(blk->disk->bdev);
	struct config *config = &blk->config;
	uint64_t offered = F_SEG_MAX | F_BLK_SIZE | F_FLUSH | F_TOPOLOGY | F_MQ;

	config->capacity = capacity_of(blk);
	config->seg_max = le32_of(VMM_VQ_MAX_IOV - 2);
	config->blk_size = le32_of(geom.block_bytes);
	for (uint32_t bytes = geom.block_bytes; bytes < geom.phys_bytes; bytes *= 2)
		config->phys_exp++;
	config->min_io = le16_of((uint16_t)(1u << config->phys_exp));
	config->num_queues = le16_of((uint16_t)nr_queues);
	config->max_discard_sectors = config->max_zeroes_sectors = le32_of(MAX_RANGE_SECTORS);
	config->max_discard_seg = config->max_zeroes_seg = le32_of(1);
	config->discard_sector_alignment = le32_of(MAX(geom.phys_bytes, geom.block_bytes) / SECTOR);
	config->zeroes_may_unmap = 1;
	if (blk->disk->readonly)
		offered |= F_RO;
	else if (geom.caps & BDEV_CAN_DISCARD)
		offered |= F_DISCARD;
	if (!blk->disk->readonly && geom.caps & BDEV_CHEAP_ZEROES)
		offered |= F_WRITE_ZEROES;
	blk->virtio.offered = offered;
}

int vmm_virtio_blk_new(struct vmm_disk *disk, const struct vmm_mem *mem, struct vmm_pci *pci,
	unsigned int nr_queues, const char *serial, struct vmm_virtio_blk **ret_blk)
{
	struct vmm_virtio_blk *blk = calloc(1, sizeof(*blk));
	int err = 0;

	if (!blk)
		return -ENOMEM;
	blk->disk = disk;
	memcpy(blk->serial, serial, strnlen(serial, ID_BYTES));
	blk->virtio.ops = &blk_ops;
	blk->virtio.arg = blk;
	blk->virtio.mem = mem;
	blk->virtio.name = disk->name;
	blk->virtio.config = &blk->config;
	blk->virtio.config_bytes = sizeof(blk->config);
	blk->virtio.nr_queues = (uint16_t)nr_queues;
	for (unsigned int i = 0; !err && i < nr_queues; i++)
		err = queue_new(blk, i);
	if (!err) {
		fill_config(blk, nr_queues);
		err = vmm_virtio_plug(&blk->virtio, pci);
	}
	if (err) {
		for (unsigned int i = 0; i < blk->nr_queues; i++)
			queue_free(blk->queues[i]);
		free(blk);
		return err;
	}
	*ret_blk = blk;
	return 0;
}

void vmm_virtio_blk_resized(struct vmm_virtio_blk *blk)
{
	struct le64 capacity = capacity_of(blk);

	if (capacity.v == blk->config.capacity.v)
		return;
	blk->config.capacity = capacity;
	vmm_virtio_config_changed(&blk->virtio);
}

void vmm_virtio_blk_retry(struct vmm_virtio_blk *blk)
{
	for (unsigned int i = 0; i < blk->nr_queues; i++)
		vmm_worker_retry(&blk->queues[i]->worker);
}

void vmm_virtio_blk_free(struct vmm_virtio_blk *blk)
{
	if (!blk)
		return;
	vmm_virtio_unplug(&blk->virtio);
	for (unsigned int i = 0; i < blk->nr_queues; i++)
		queue_free(blk->queues[i]);
	free(blk);
}
