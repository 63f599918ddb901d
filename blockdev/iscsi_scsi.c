/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From bdev_io to a SCSI command, and from its status and sense data to what becomes of the io. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "blockdev/iscsi_internal.h"
#include "util/log.h"

#define BUSY_MS 20
#define NOT_READY_MS 300
#define ABORTED_MS 100
#define MAX_RETRIES 10 /* of what should not happen twice; busy and not ready have no limit */
#define NO_MEMORY_MS 20

static const uint8_t zero_block[4096];

/* One buffer instead of more pieces than readv() and writev() take. */
static bool set_bounce(struct isc_io *io, struct scsi_task *task, bool in)
{
	io->bounce = scsi_malloc(task, io->base.len_bytes);
	if (!io->bounce)
		return false;
	if (!in)
		bdev_iov_to_buf(io->base.iov, io->base.nr_iov, io->bounce, io->base.len_bytes);
	io->iov[0].iov_base = io->bounce;
	io->iov[0].iov_len = io->base.len_bytes;
	return true;
}

/* libiscsi changes an iovec while it reads or writes, and puts it back: it gets copies. */
static bool set_iov(struct isc_io *io, struct scsi_task *task, bool in)
{
	struct scsi_iovec *iov = io->iov;
	int n = 0;

	io->bounce = NULL;
	for (int i = 0; i < io->base.nr_iov; i++)
		n += io->base.iov[i].iov_len > 0;
	if (n > IOV_MAX) {
		if (!set_bounce(io, task, in))
			return false;
		n = 1;
	} else {
		if (n > ISC_INLINE_IOV)
			iov = scsi_malloc(task, n * sizeof(*iov));
		if (!iov)
			return false;
		n = 0;
		for (int i = 0; i < io->base.nr_iov; i++) {
			if (io->base.iov[i].iov_len == 0)
				continue;
			iov[n].iov_base = io->base.iov[i].iov_base;
			iov[n++].iov_len = io->base.iov[i].iov_len;
		}
	}
	if (in)
		scsi_task_set_iov_in(task, iov, n);
	else
		scsi_task_set_iov_out(task, iov, n);
	return true;
}

static bool set_out(struct isc_io *io, struct scsi_task *task, void *data, size_t len)
{
	io->iov[0].iov_base = data;
	io->iov[0].iov_len = len;
	scsi_task_set_iov_out(task, io->iov, 1);
	return true;
}

static bool set_unmap_list(struct isc_io *io, struct scsi_task *task, uint64_t lba, uint32_t blocks)
{
	uint8_t *list = scsi_malloc(task, 24); /* SBC-4 5.31.2, zeroed */

	if (!list)
		return false;
	scsi_set_uint16(list, 22);
	scsi_set_uint16(list + 2, 16);
	scsi_set_uint64(list + 8, lba);
	scsi_set_uint32(list + 16, blocks);
	return set_out(io, task, list, 24);
}

static struct scsi_task *make_task(struct isc_queue *queue, struct isc_io *io)
{
	const struct isc_lun *lun = &isc_dev(queue->base.bdev)->lun;
	uint32_t block = lun->block_bytes, blocks = io->base.len_bytes / block;
	uint64_t lba = io->base.off_bytes / block;
	bool fua = (io->base.flags & BDEV_FUA) && lun->dpofua, ok = true;
	struct scsi_task *task;

	switch (io->base.op) {
	case BDEV_READ:
		task = scsi_cdb_read16(lba, io->base.len_bytes, block, 0, 0, 0, 0, 0);
		ok = task && set_iov(io, task, true);
		break;
	case BDEV_WRITE:
		task = scsi_cdb_write16(lba, io->base.len_bytes, block, 0, 0, fua, 0, 0);
		ok = task && set_iov(io, task, false);
		break;
	case BDEV_DISCARD:
		task = scsi_cdb_unmap(0, 0, 24);
		ok = task && set_unmap_list(io, task, lba, blocks);
		break;
	case BDEV_WRITE_ZEROES:
		if (!io->flushing) {
			task = scsi_cdb_writesame16(
				0, 0, lun->lbpws && lun->lbprz, lba, 0, blocks, block);
			ok = task && set_out(io, task, (void *)zero_block, block);
			break;
		}
		/* fall through */
	case BDEV_FLUSH:
		task = scsi_cdb_synchronizecache16(0, 0, 0, 0);
		break;
	case BDEV_MEASURE:
		task = scsi_cdb_readcapacity16();
		break;
	default:
		task = isc_pr_task(queue, io);
	}
	if (task && ok)
		return task;
	scsi_free_scsi_task(task);
	return NULL;
}

static bool is_pr(const struct isc_io *io)
{
	return io->base.op >= BDEV_PR_REGISTER && io->base.op <= BDEV_PR_READ_RESERVATION;
}

static bool is_change(const struct isc_io *io)
{
	return io->base.op == BDEV_WRITE || io->base.op == BDEV_DISCARD ||
	       io->base.op == BDEV_WRITE_ZEROES;
}

static void retry(struct isc_queue *queue, struct isc_io *io, unsigned ms, int status)
{
	if (io->nr_retries++ < MAX_RETRIES)
		isc_io_later(queue, io, ms);
	else
		isc_io_done(io, status);
}

void isc_attention(struct isc_queue *queue, int ascq)
{
	const char *name = queue->conn.name;

	switch (ascq >> 8) {
	case 0x29: /* power on, reset, nexus loss */
		log_info("%s: the target reports a reset (29/%02x)", name, ascq & 0xff);
		isc_queue_suspect(queue);
		bdev_queue_gate_close(&queue->base);
		return;
	case 0x2f: /* commands cleared by another initiator */
		isc_queue_suspect(queue);
		return;
	}
	switch (ascq) {
	case 0x2a03: /* reservations preempted */
	case 0x2a04: /* reservations released */
	case 0x2a05: /* registrations preempted */
		log_info("%s: the target reports a change of reservations (2a/%02x)", name,
			ascq & 0xff);
		bdev_queue_gate_close(&queue->base);
		return;
	case SCSI_SENSE_ASCQ_CAPACITY_DATA_HAS_CHANGED:
		isc_queue_read_capacity(queue);
		return;
	case 0x3f05: /* device identifier changed: a new login compares it */
		isc_conn_fail(&queue->conn, -ERR_TRANSPORT, "the LUN reports a new identity");
		return;
	case SCSI_SENSE_ASCQ_THIN_PROVISION_SOFT_THRES_REACHED:
		log_warn("%s: the target's thin pool is filling up (38/07); give it more space",
			name);
		return;
	default:
		log_debug("%s: unit attention %02x/%02x", name, ascq >> 8, ascq & 0xff);
	}
}

static void check_condition(
	struct isc_queue *queue, struct isc_io *io, const struct scsi_task *task)
{
	const struct scsi_sense *sense = &task->sense;
	int asc = sense->ascq >> 8;

	/* A deferred error tells that an earlier, acknowledged write is lost: never retried. */
	if (sense->error_type == SCSI_SENSE_FIXED_DEFERRED_ERRORS ||
		sense->error_type == SCSI_SENSE_DESCRIPTOR_DEFERRED_ERRORS) {
		isc_io_done(io, -EIO);
		return;
	}
	switch (sense->key) {
	case SCSI_SENSE_UNIT_ATTENTION:
		isc_attention(queue, sense->ascq);
		io->flushing = false;
		bdev_io_requeue(&io->base);
		return;
	case SCSI_SENSE_NOT_READY:
		isc_io_later(queue, io, NOT_READY_MS);
		return;
	case SCSI_SENSE_COMMAND_ABORTED:
		retry(queue, io, ABORTED_MS, -EREMOTEIO);
		return;
	case SCSI_SENSE_DATA_PROTECTION:
		isc_io_done(io, sense->ascq == 0x2707 ? -ENOSPC : -EREMOTEIO);
		return;
	case SCSI_SENSE_MEDIUM_ERROR:
	case SCSI_SENSE_HARDWARE_ERROR:
		isc_io_done(io, -EIO);
		return;
	case SCSI_SENSE_ILLEGAL_REQUEST:
		if (sense->ascq == SCSI_SENSE_ASCQ_LOGICAL_UNIT_NOT_SUPPORTED) {
			isc_conn_fail(&queue->conn, -ERR_TRANSPORT, "the target has lost LUN %u",
				queue->conn.cfg->lun_nr);
			bdev_io_requeue(&io->base);
			return;
		}
		if (io->base.op == BDEV_PR_REGISTER && isc_dev(queue->base.bdev)->lun.ptpl &&
			!atomic_exchange(&isc_dev(queue->base.bdev)->no_aptpl, true)) {
			bdev_io_requeue(&io->base);
			return;
		}
		isc_io_done(
			io, asc == 0x20 || asc == 0x24 || asc == 0x26 ? -EOPNOTSUPP : -EREMOTEIO);
		return;
	case SCSI_SENSE_NO_SENSE:
	case SCSI_SENSE_RECOVERED_ERROR: /* the data is good */
		isc_io_done(io, is_pr(io) ? -EREMOTEIO : 0);
		return;
	default:
		isc_io_done(io, -EREMOTEIO);
	}
}

static int measured(struct isc_queue *queue, const struct scsi_task *task)
{
	struct isc_lun lun = { 0 };

	if (isc_parse_capacity(&lun, task) ||
		lun.block_bytes != isc_dev(queue->base.bdev)->lun.block_bytes)
		return -EREMOTEIO;
	isc_queue_set_capacity(queue, &lun);
	return 0;
}

static void good(struct isc_queue *queue, struct isc_io *io, const struct scsi_task *task)
{
	int status = 0;

	if (is_pr(io))
		status = isc_pr_result(queue, io, task);
	else if (io->base.op == BDEV_MEASURE)
		status = measured(queue, task);
	else if (io->base.op == BDEV_READ && task->residual_status != SCSI_RESIDUAL_NO_RESIDUAL)
		status = -EREMOTEIO;
	else if (io->base.op == BDEV_READ && io->bounce)
		bdev_iov_from_buf(io->base.iov, io->base.nr_iov, io->bounce, io->base.len_bytes);
	if (!status && io->base.op == BDEV_WRITE_ZEROES && (io->base.flags & BDEV_FUA) &&
		!io->flushing) {
		io->flushing = true; /* WRITE SAME has no FUA bit */
		isc_io_send(queue, io);
		return;
	}
	isc_io_done(io, status);
}

static void judge(
	struct isc_queue *queue, struct isc_io *io, int status, const struct scsi_task *task)
{
	switch (status) {
	case SCSI_STATUS_GOOD:
	case SCSI_STATUS_CONDITION_MET:
		good(queue, io, task);
		return;
	case SCSI_STATUS_CHECK_CONDITION:
		log_debug("%s: op %d: %s, %s", queue->conn.name, io->base.op,
			scsi_sense_key_str(task->sense.key), scsi_sense_ascq_str(task->sense.ascq));
		check_condition(queue, io, task);
		return;
	case SCSI_STATUS_RESERVATION_CONFLICT:
		isc_io_done(io, is_pr(io) ? -EBUSY : -ERR_FENCED);
		return;
	case SCSI_STATUS_BUSY:
	case SCSI_STATUS_TASK_SET_FULL:
	case SCSI_STATUS_ACA_ACTIVE:
		isc_io_later(queue, io, BUSY_MS);
		return;
	case SCSI_STATUS_TASK_ABORTED: /* by a reset or a preemption (SAM-5 5.6) */
		isc_queue_suspect(queue);
		retry(queue, io, ABORTED_MS, -EREMOTEIO);
		return;
	default:
		isc_io_done(io, -EREMOTEIO);
	}
}

static void on_answer(struct iscsi_context *ctx, int status, void *data, void *arg)
{
	struct isc_io *io = arg;
	struct isc_queue *queue = isc_queue(io->base.queue);
	struct scsi_task *task = io->task;

	if (isc_no_answer(status)) { /* (I4) */
		isc_conn_fail(&queue->conn, -ERR_TRANSPORT, "the connection to the target broke");
		return;
	}
	list_del(&io->base.node);
	io->task = NULL;
	judge(queue, io, status, task);
	scsi_free_scsi_task(task);
}

void isc_io_send(struct isc_queue *queue, struct isc_io *io)
{
	struct isc_conn *conn = &queue->conn;
	int r;

	io->sent_ns = clock_mono_ns();
	if (io->base.op == BDEV_LUN_RESET) {
		r = isc_lun_reset(queue, io);
	} else {
		io->task = make_task(queue, io);
		if (!io->task) {
			isc_io_later(queue, io, NO_MEMORY_MS);
			return;
		}
		r = iscsi_scsi_command_async(
			conn->ctx, conn->cfg->lun, io->task, on_answer, NULL, io);
	}
	/* When it can't be sent, it waits here for the session's end like the others. */
	list_add_tail(is_change(io) ? &queue->changes : &queue->others, &io->base.node);
	if (r)
		isc_conn_fail(conn, -ERR_TRANSPORT, "can't send a command: %s",
			iscsi_get_error(conn->ctx));
}
