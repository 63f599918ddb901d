/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What follows a login: unit attentions are taken away (a login is a sign of them all, B5), the
 * logical unit is identified and measured. bdev_open()'s probe asks for limits and abilities too.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "blockdev/iscsi_internal.h"
#include "util/log.h"

#define MAX_ATTENTIONS 64
#define NOT_READY_MS 300
#define BUSY_MS 100
#define INQUIRY_BYTES 255

struct step {
	bool probe_only;
	bool (*wanted)(const struct isc_lun *lun); /* NULL = always */
	struct scsi_task *(*task)(void);
	void (*result)(struct isc_conn *conn, int status, const struct scsi_task *task);
};

static uint8_t data8(const struct scsi_task *task, int off)
{
	return off < task->datain.size ? task->datain.data[off] : 0;
}

static uint64_t data_be(const struct scsi_task *task, int off, int bytes)
{
	uint64_t v = 0;

	for (int i = 0; i < bytes; i++)
		v = v << 8 | data8(task, off + i);
	return v;
}

static struct scsi_task *test_unit_ready(void)
{
	return scsi_cdb_testunitready();
}

static void ready(struct isc_conn *conn, int status, const struct scsi_task *task)
{
	/* RESERVATION CONFLICT and the like: the gate's owner decides what that means. */
}

static struct scsi_task *inquiry(void)
{
	return scsi_cdb_inquiry(0, 0, INQUIRY_BYTES);
}

static void standard_data(struct isc_conn *conn, int status, const struct scsi_task *task)
{
	uint8_t qualifier = data8(task, 0) >> 5, type = data8(task, 0) & 0x1f;

	if (status != SCSI_STATUS_GOOD)
		isc_conn_fail(conn, -ENOTSUP, "LUN %u does not answer INQUIRY", conn->cfg->lun_nr);
	else if (qualifier != 0)
		isc_conn_fail(conn, -ENOENT, "target %s has no LUN %u", conn->cfg->target,
			conn->cfg->lun_nr);
	else if (type != SCSI_INQUIRY_PERIPHERAL_DEVICE_TYPE_DIRECT_ACCESS)
		isc_conn_fail(conn, -ENOTSUP, "LUN %u is no disk (%s)", conn->cfg->lun_nr,
			scsi_devtype_to_str(type));
}

static struct scsi_task *read_capacity(void)
{
	return scsi_cdb_readcapacity16();
}

int isc_parse_capacity(struct isc_lun *lun, const struct scsi_task *task)
{
	uint64_t last = data_be(task, 0, 8);
	uint32_t block = data_be(task, 8, 4);

	if (task->datain.size < 12 || last == UINT64_MAX || (block != 512 && block != 4096) ||
		(last + 1) > UINT64_MAX / block)
		return -ENOTSUP;
	lun->nr_blocks = last + 1;
	lun->block_bytes = block;
	lun->phys_shift = data8(task, 13) & 0x0f;
	lun->lbprz = data8(task, 14) & 0x40;
	return 0;
}

static void capacity(struct isc_conn *conn, int status, const struct scsi_task *task)
{
	if (status != SCSI_STATUS_GOOD)
		isc_conn_fail(conn, -ENOTSUP, "LUN %u does not answer READ CAPACITY(16)",
			conn->cfg->lun_nr);
	else if (isc_parse_capacity(&conn->lun, task))
		isc_conn_fail(conn, -ENOTSUP, "LUN %u has blocks of %u bytes; 512 and 4096 work",
			conn->cfg->lun_nr, (unsigned)data_be(task, 8, 4));
}

static struct scsi_task *vpd_list(void)
{
	return scsi_cdb_inquiry(1, 0, INQUIRY_BYTES);
}

static void pages(struct isc_conn *conn, int status, const struct scsi_task *task)
{
	int n = data_be(task, 2, 2);

	if (status != SCSI_STATUS_GOOD)
		return;
	for (int i = 0; i < n && 4 + i < task->datain.size; i++) {
		conn->lun.has_83 |= data8(task, 4 + i) == 0x83;
		conn->lun.has_b0 |= data8(task, 4 + i) == 0xb0;
		conn->lun.has_b1 |= data8(task, 4 + i) == 0xb1;
		conn->lun.has_b2 |= data8(task, 4 + i) == 0xb2;
	}
}

static struct scsi_task *vpd_83(void)
{
	return scsi_cdb_inquiry(1, 0x83, INQUIRY_BYTES);
}

static bool has_83(const struct isc_lun *lun)
{
	return lun->has_83;
}

static void identity(struct isc_conn *conn, int status, const struct scsi_task *task)
{
	if (status != SCSI_STATUS_GOOD || task->datain.size < 4)
		return;
	conn->lun.id_len = MIN(task->datain.size, (int)sizeof(conn->lun.id));
	memcpy(conn->lun.id, task->datain.data, conn->lun.id_len);
}

static struct scsi_task *vpd_b0(void)
{
	return scsi_cdb_inquiry(1, 0xb0, INQUIRY_BYTES);
}

static bool has_b0(const struct isc_lun *lun)
{
	return lun->has_b0;
}

/* SBC-4 6.6.4 */
static void block_limits(struct isc_conn *conn, int status, const struct scsi_task *task)
{
	if (status != SCSI_STATUS_GOOD)
		return;
	conn->lun.max_xfer_blocks = data_be(task, 8, 4);
	conn->lun.max_unmap_blocks = data_be(task, 20, 4);
	conn->lun.max_unmap_descs = data_be(task, 24, 4);
	conn->lun.max_same_blocks = data_be(task, 36, 8);
}

static struct scsi_task *vpd_b1(void)
{
	return scsi_cdb_inquiry(1, 0xb1, INQUIRY_BYTES);
}

static bool has_b1(const struct isc_lun *lun)
{
	return lun->has_b1;
}

static void characteristics(struct isc_conn *conn, int status, const struct scsi_task *task)
{
	if (status == SCSI_STATUS_GOOD)
		conn->lun.rotation = data_be(task, 4, 2);
}

static struct scsi_task *vpd_b2(void)
{
	return scsi_cdb_inquiry(1, 0xb2, INQUIRY_BYTES);
}

static bool has_b2(const struct isc_lun *lun)
{
	return lun->has_b2;
}

/* SBC-4 6.6.7 */
static void provisioning(struct isc_conn *conn, int status, const struct scsi_task *task)
{
	if (status != SCSI_STATUS_GOOD)
		return;
	conn->lun.lbpu = data8(task, 5) & 0x80;
	conn->lun.lbpws = data8(task, 5) & 0x40;
	conn->lun.lbprz |= ((data8(task, 5) >> 2) & 7) == 1;
}

static struct scsi_task *mode_sense(void)
{
	return scsi_cdb_modesense6(0, SCSI_MODESENSE_PC_CURRENT, SCSI_MODEPAGE_CACHING, 0, 255);
}

static void mode(struct isc_conn *conn, int status, const struct scsi_task *task)
{
	int page = 4 + data8(task, 3);

	if (status != SCSI_STATUS_GOOD || task->datain.size < 4) {
		conn->lun.wce = true;
		return;
	}
	conn->lun.readonly = data8(task, 2) & 0x80;
	conn->lun.dpofua = data8(task, 2) & 0x10;
	conn->lun.wce = (data8(task, page) & 0x3f) != 0x08 || (data8(task, page + 2) & 0x04);
}

static struct scsi_task *read_keys(void)
{
	return scsi_cdb_persistent_reserve_in(SCSI_PERSISTENT_RESERVE_READ_KEYS, 8192);
}

static void keys(struct isc_conn *conn, int status, const struct scsi_task *task)
{
	conn->lun.pr = status == SCSI_STATUS_GOOD;
}

static bool has_pr(const struct isc_lun *lun)
{
	return lun->pr;
}

static struct scsi_task *report_capabilities(void)
{
	return scsi_cdb_persistent_reserve_in(SCSI_PERSISTENT_RESERVE_REPORT_CAPABILITIES, 8);
}

static void pr_capabilities(struct isc_conn *conn, int status, const struct scsi_task *task)
{
	conn->lun.ptpl = status == SCSI_STATUS_GOOD && (data8(task, 2) & 0x01);
}

/* An I_T nexus that is not registered gets RESERVATION CONFLICT for it (SPC-4 5.12.11.2.1), but a
 * target that does not have the action complains about the CDB first. The random key that is to be
 * preempted makes it harmless even for a target that looks at things in another order. */
static struct scsi_task *preempt_nobody(void)
{
	uint64_t nobody = 0;

	if (getrandom(&nobody, sizeof(nobody), 0) != sizeof(nobody))
		nobody = clock_mono_ns();
	return isc_pr_out_task(SCSI_PERSISTENT_RESERVE_PREEMPT_AND_ABORT,
		BDEV_PR_WRITE_EXCLUSIVE_ALL, nobody ^ 1, nobody | 1ull << 63, false);
}

static void preempt_and_abort(struct isc_conn *conn, int status, const struct scsi_task *task)
{
	conn->lun.pr_abort = status == SCSI_STATUS_RESERVATION_CONFLICT;
}

static const struct step steps[] = {
	{.task = test_unit_ready, .result = ready},
	{.task = inquiry, .result = standard_data},
	{.task = read_capacity, .result = capacity},
	{.task = vpd_list, .result = pages},
	{.task = vpd_83, .result = identity, .wanted = has_83},
	{.task = vpd_b0, .result = block_limits, .wanted = has_b0, .probe_only = true},
	{.task = vpd_b1, .result = characteristics, .wanted = has_b1, .probe_only = true},
	{.task = vpd_b2, .result = provisioning, .wanted = has_b2, .probe_only = true},
	{.task = mode_sense, .result = mode, .probe_only = true},
	{.task = read_keys, .result = keys, .probe_only = true},
	{.task = report_capabilities,
		.result = pr_capabilities,
		.wanted = has_pr,
		.probe_only = true},
	{.task = preempt_nobody, .result = preempt_and_abort, .wanted = has_pr, .probe_only = true},
};

static void step_done(struct isc_cmd *cmd, int status, struct scsi_task *task);

static void run_step(struct isc_conn *conn)
{
	const struct step *step;

	conn->step_at_ns = 0;
	for (; conn->step < (int)ARRAY_SIZE(steps); conn->step++) {
		step = &steps[conn->step];
		if (step->probe_only && conn->queue)
			continue;
		if (step->wanted && !step->wanted(&conn->lun))
			continue;
		isc_cmd_send(&conn->cmd, step->task(), step_done);
		return;
	}
	if (conn->queue)
		isc_setup_compare(conn, &isc_dev(conn->queue->base.bdev)->lun);
	if (!conn->fail) {
		conn->state = ISC_UP;
		conn->up = true;
		conn->rx_ns = clock_mono_ns();
	}
}

static void again_in(struct isc_conn *conn, unsigned ms, const char *waits_for)
{
	conn->step_at_ns = clock_mono_ns() + ms * 1000000ull;
	conn->waits_for = waits_for;
}

/* True if the step is to be repeated, or setup has failed. */
static bool step_again(struct isc_conn *conn, int status, const struct scsi_task *task)
{
	if (status == SCSI_STATUS_BUSY || status == SCSI_STATUS_TASK_SET_FULL) {
		again_in(conn, BUSY_MS, "the LUN is busy");
		return true;
	}
	if (status != SCSI_STATUS_CHECK_CONDITION)
		return false;
	switch (task->sense.key) {
	case SCSI_SENSE_UNIT_ATTENTION:
		if (conn->nr_attentions++ < MAX_ATTENTIONS)
			again_in(conn, 0, NULL);
		else
			isc_conn_fail(conn, -ERR_TRANSPORT, "LUN %u has no end of unit attentions",
				conn->cfg->lun_nr);
		return true;
	case SCSI_SENSE_NOT_READY:
		again_in(conn, NOT_READY_MS, "the LUN is not ready");
		return true;
	case SCSI_SENSE_ILLEGAL_REQUEST:
		if (task->sense.ascq != SCSI_SENSE_ASCQ_LOGICAL_UNIT_NOT_SUPPORTED)
			return false;
		isc_conn_fail(conn, -ENOENT, "target %s has no LUN %u", conn->cfg->target,
			conn->cfg->lun_nr);
		return true;
	default:
		return false;
	}
}

static void step_done(struct isc_cmd *cmd, int status, struct scsi_task *task)
{
	struct isc_conn *conn = cmd->conn;

	if (step_again(conn, status, task)) {
		if (!conn->fail && conn->step_at_ns <= clock_mono_ns())
			run_step(conn);
		return;
	}
	steps[conn->step].result(conn, status, task);
	if (conn->fail)
		return;
	conn->waits_for = NULL;
	conn->step++;
	run_step(conn);
}

void isc_setup_start(struct isc_conn *conn)
{
	conn->state = ISC_SETUP;
	conn->step = conn->nr_attentions = 0;
	conn->waits_for = NULL;
	memset(&conn->lun, 0, sizeof(conn->lun));
	run_step(conn);
}

void isc_setup_tick(struct isc_conn *conn, uint64_t now_ns)
{
	if (conn->step_at_ns && conn->step_at_ns <= now_ns)
		run_step(conn);
}

void isc_setup_compare(struct isc_conn *conn, const struct isc_lun *known)
{
	const struct isc_lun *now = &conn->lun;

	if (now->block_bytes != known->block_bytes || now->id_len != known->id_len ||
		memcmp(now->id, known->id, now->id_len))
		isc_conn_fail(conn, -ENODEV,
			"LUN %u is another disk now (its identity, VPD page 83h, has changed); "
			"nothing is sent to it",
			conn->cfg->lun_nr);
}

static uint64_t at_most(uint64_t limit, uint64_t blocks, uint32_t block_bytes)
{
	return blocks && blocks < limit / block_bytes ? blocks * block_bytes : limit;
}

void isc_geom(const struct isc_lun *lun, struct bdev_geom *ret_geom)
{
	bool unmap_zeroes = lun->lbpws && lun->lbprz;
	bool unmap = lun->lbpu && lun->max_unmap_blocks && lun->max_unmap_descs;
	uint32_t block = lun->block_bytes;
	struct bdev_geom geom = {
		.size_bytes = lun->nr_blocks * block,
		.block_bytes = block,
		.phys_bytes = block << MIN(lun->phys_shift, 8),
		.max_io_bytes = at_most(ISC_MAX_IO_BYTES, lun->max_xfer_blocks, block),
		.mem_align = 1,
		.caps = BDEV_CAN_FLUSH | BDEV_GLOBAL_FLUSH | BDEV_SHARED,
	};

	geom.max_zero_bytes = at_most(unmap_zeroes ? ISC_MAX_UNMAP_BYTES : ISC_MAX_SAME_BYTES,
		lun->max_same_blocks, block);
	if (unmap)
		geom.max_zero_bytes = at_most(geom.max_zero_bytes, lun->max_unmap_blocks, block);
	if (lun->dpofua || !lun->wce) /* without a write cache every write is stable */
		geom.caps |= BDEV_CAN_FUA;
	if (lun->readonly)
		geom.caps |= BDEV_READONLY;
	else
		geom.caps |= BDEV_CAN_WRITE_ZEROES; /* dropped when WRITE SAME is refused */
	if (unmap && !lun->readonly)
		geom.caps |= BDEV_CAN_DISCARD;
	if (unmap_zeroes && !lun->readonly)
		geom.caps |= BDEV_CHEAP_ZEROES;
	if (lun->rotation > 1)
		geom.caps |= BDEV_ROTATIONAL;
	if (lun->pr)
		geom.caps |= BDEV_CAN_PR;
	if (lun->pr_abort)
		geom.caps |= BDEV_CAN_PR_ABORT;
	*ret_geom = geom;
}
