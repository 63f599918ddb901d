/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Persistent reservations (SPC-4 5.12, 6.15, 6.16) and LUN RESET (RFC 7143 11.5). */
#include <errno.h>
#include <string.h>

#include "blockdev/iscsi_internal.h"
#include "util/log.h"

#define KEYS_BYTES_MIN 1032
#define KEYS_BYTES_MAX 65528

struct scsi_task *isc_pr_out_task(
	int action, int type, uint64_t key, uint64_t action_key, bool aptpl)
{
	struct scsi_persistent_reserve_out_basic basic = {
		.reservation_key = key,
		.service_action_reservation_key = action_key,
		.aptpl = aptpl,
	};

	return scsi_cdb_persistent_reserve_out(
		action, SCSI_PERSISTENT_RESERVE_SCOPE_LU, type, &basic);
}

struct scsi_task *isc_pr_task(struct isc_queue *queue, struct isc_io *io)
{
	struct isc_dev *dev = isc_dev(queue->base.bdev);
	const struct bdev_pr *pr = io->base.pr;
	uint64_t bytes;

	switch (io->base.op) {
	case BDEV_PR_REGISTER:
		return isc_pr_out_task(SCSI_PERSISTENT_RESERVE_REGISTER_AND_IGNORE_EXISTING_KEY, 0,
			pr->key, pr->new_key, dev->lun.ptpl && !atomic_load(&dev->no_aptpl));
	case BDEV_PR_RESERVE:
		return isc_pr_out_task(
			SCSI_PERSISTENT_RESERVE_RESERVE, pr->type, pr->key, 0, false);
	case BDEV_PR_PREEMPT:
		return isc_pr_out_task(pr->abort ? SCSI_PERSISTENT_RESERVE_PREEMPT_AND_ABORT
						 : SCSI_PERSISTENT_RESERVE_PREEMPT,
			pr->type, pr->key, pr->victim, false);
	case BDEV_PR_READ_KEYS:
		bytes = 8 + 8 * (uint64_t)pr->max_keys;
		return scsi_cdb_persistent_reserve_in(SCSI_PERSISTENT_RESERVE_READ_KEYS,
			MIN(MAX(bytes, KEYS_BYTES_MIN), KEYS_BYTES_MAX));
	default:
		return scsi_cdb_persistent_reserve_in(SCSI_PERSISTENT_RESERVE_READ_RESERVATION, 24);
	}
}

/* SPC-4 6.15.2 */
static int read_keys(struct bdev_pr *pr, const struct scsi_task *task)
{
	const uint8_t *data = task->datain.data;
	uint32_t size = task->datain.size, nr;

	if (!data || size < 8)
		return -EREMOTEIO;
	nr = scsi_get_uint32(data + 4) / 8;
	for (uint32_t i = 0; i < nr && i < pr->max_keys; i++) {
		if (16 + 8 * i > size)
			return -EREMOTEIO; /* more keys than even the largest answer can carry */
		pr->keys[i] = scsi_get_uint64(data + 8 + 8 * i);
	}
	pr->nr_keys = nr;
	return 0;
}

/* SPC-4 6.15.3 */
static int read_reservation(struct bdev_pr *pr, const struct scsi_task *task)
{
	const uint8_t *data = task->datain.data;
	uint32_t size = task->datain.size;

	if (!data || size < 8)
		return -EREMOTEIO;
	pr->key = 0;
	pr->type = 0;
	if (scsi_get_uint32(data + 4) < 16)
		return 0;
	if (size < 24)
		return -EREMOTEIO;
	pr->key = scsi_get_uint64(data + 8);
	pr->type = data[21] & 0x0f;
	return 0;
}

int isc_pr_result(struct isc_queue *queue, struct isc_io *io, const struct scsi_task *task)
{
	switch (io->base.op) {
	case BDEV_PR_REGISTER:
		queue->key = io->base.pr->new_key;
		return 0;
	case BDEV_PR_READ_KEYS:
		return read_keys(io->base.pr, task);
	case BDEV_PR_READ_RESERVATION:
		return read_reservation(io->base.pr, task);
	default:
		return 0;
	}
}

static void on_reset(struct iscsi_context *ctx, int status, void *data, void *arg)
{
	struct isc_io *io = arg;
	struct isc_queue *queue = isc_queue(io->base.queue);
	uint32_t response;

	if (status != SCSI_STATUS_GOOD) {
		isc_conn_fail(&queue->conn, -ERR_TRANSPORT, "the connection to the target broke");
		return;
	}
	memcpy(&response, data, sizeof(response));
	list_del(&io->base.node);
	isc_queue_suspect(queue);
	switch (response) {
	case ISCSI_TMR_FUNC_COMPLETE:
		isc_io_done(io, 0);
		break;
	case ISCSI_TMR_TMF_NOT_SUPPORTED:
		isc_io_done(io, -EOPNOTSUPP);
		break;
	default:
		log_warn("%s: the target refused LUN RESET (response %u)", queue->conn.name,
			response);
		isc_io_done(io, -EREMOTEIO);
	}
}

/* Not iscsi_task_mgmt_lun_reset_async(): that forgets what is in flight before the target does. */
int isc_lun_reset(struct isc_queue *queue, struct isc_io *io)
{
	return iscsi_task_mgmt_async(queue->conn.ctx, queue->conn.cfg->lun, ISCSI_TM_LUN_RESET,
		0xffffffff, 0, on_reset, io);
}
