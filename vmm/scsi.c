/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/scsi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/checked.h"
#include "util/err.h"
#include "vmm/scsi_internal.h"
#include "vmm/virtqueue.h"

#define FIXED_BYTES 18
#define DESCRIPTOR_BYTES 8

static const uint32_t attention_sense[VMM_SCSI_NR_ATTENTIONS] = {
	[VMM_SCSI_POWER_ON] = SENSE(0x6, 0x29, 0x01),
	[VMM_SCSI_RESET] = SENSE(0x6, 0x29, 0x03),
	[VMM_SCSI_CAPACITY_CHANGED] = SENSE(0x6, 0x2a, 0x09),
	[VMM_SCSI_LUNS_CHANGED] = SENSE(0x6, 0x3f, 0x0e),
};

/* ---- how a command ends ---- */

/* SPC-5 4.4.2 and 4.4.3; gives its length. */
static uint8_t put_sense(uint8_t *buf, uint32_t sense, bool descriptor)
{
	uint8_t key = (uint8_t)(sense >> 16), asc = (uint8_t)(sense >> 8), ascq = (uint8_t)sense;

	memset(buf, 0, VMM_SCSI_SENSE);
	if (descriptor) {
		buf[0] = 0x72;
		buf[1] = key;
		buf[2] = asc;
		buf[3] = ascq;
		return DESCRIPTOR_BYTES;
	}
	buf[0] = 0x70;
	buf[2] = key;
	buf[7] = FIXED_BYTES - 8;
	buf[12] = asc;
	buf[13] = ascq;
	return FIXED_BYTES;
}

static enum vmm_scsi_next end(struct vmm_scsi_cmd *cmd, enum vmm_scsi_status status)
{
	free(cmd->scratch);
	cmd->scratch = NULL;
	cmd->status = (uint8_t)status;
	return VMM_SCSI_DONE;
}

enum vmm_scsi_next scsi_good(struct vmm_scsi_cmd *cmd)
{
	return end(cmd, VMM_SCSI_GOOD);
}

enum vmm_scsi_next scsi_fail(struct vmm_scsi_cmd *cmd, uint32_t sense)
{
	cmd->sense_bytes = put_sense(cmd->sense, sense, false);
	cmd->moved_bytes = 0;
	return end(cmd, VMM_SCSI_CHECK_CONDITION);
}

enum vmm_scsi_next scsi_answer(
	struct vmm_scsi_cmd *cmd, const void *data, size_t len, uint32_t alloc_len)
{
	size_t wanted = MIN(len, alloc_len);

	cmd->moved_bytes = vmm_iov_put(cmd->in, cmd->nr_in, data, wanted);
	cmd->overrun = cmd->moved_bytes < wanted;
	return end(cmd, VMM_SCSI_GOOD);
}

static uint32_t sense_of(int err, enum bdev_op op)
{
	switch (err) {
	case -ECANCELED:
		return SENSE_CANCELED;
	case -ENOSPC:
		return SENSE_NO_SPACE;
	case -EROFS:
		return SENSE_WRITE_PROTECTED;
	case -ERANGE: /* it has shrunk behind our back */
		return SENSE_LBA;
	case -EOPNOTSUPP:
		return SENSE_OPCODE;
	case -EIO:
		return op == BDEV_READ ? SENSE_READ_ERROR : SENSE_WRITE_ERROR;
	case -ERR_TRANSPORT:
		return SENSE_COMMUNICATION;
	default:
		return SENSE_TARGET_FAILURE;
	}
}

/* ---- attentions (SAM-6 5.14) ---- */

void vmm_scsi_raise(struct vmm_scsi_unit_state *state, enum vmm_scsi_attention attention)
{
	__atomic_fetch_or(&state->attentions, 1u << attention, __ATOMIC_SEQ_CST);
}

static bool take(struct vmm_scsi_unit *unit, enum vmm_scsi_attention attention)
{
	uint32_t bit = 1u << attention;

	return __atomic_fetch_and(&unit->state->attentions, ~bit, __ATOMIC_SEQ_CST) & bit;
}

/* The sense data of one that waits, which does so no more; or SENSE_NONE. */
static uint32_t take_attention(struct vmm_scsi_unit *unit)
{
	if (__atomic_load_n(&unit->state->attentions, __ATOMIC_SEQ_CST) == 0)
		return SENSE_NONE;
	for (unsigned int i = 0; i < VMM_SCSI_NR_ATTENTIONS; i++) {
		if (take(unit, i))
			return attention_sense[i];
	}
	return SENSE_NONE;
}

/* ---- commands without the disk ---- */

static enum vmm_scsi_next request_sense(struct vmm_scsi_cmd *cmd)
{
	uint32_t sense = cmd->unit ? take_attention(cmd->unit) : SENSE_NO_UNIT;
	uint8_t data[VMM_SCSI_SENSE], len = put_sense(data, sense, cmd->cdb[1] & 1);

	return scsi_answer(cmd, data, len, cmd->cdb[4]);
}

/* A target has one logical unit, 0, and no well-known ones. */
static enum vmm_scsi_next report_luns(struct vmm_scsi_cmd *cmd)
{
	uint8_t data[16] = { 0 }, select = cmd->cdb[2];
	bool well_known = select == 1;

	if (select > 2)
		return scsi_fail(cmd, SENSE_CDB_FIELD);
	if (cmd->unit)
		(void)take(cmd->unit, VMM_SCSI_LUNS_CHANGED);
	put32(data, well_known ? 0 : 8);
	return scsi_answer(cmd, data, well_known ? 8 : 16, get32(cmd->cdb + 6));
}

static enum vmm_scsi_next nothing(struct vmm_scsi_cmd *cmd)
{
	return scsi_good(cmd);
}

/* ---- dispatch ---- */

#define ANY_TIME 1u /* where there is no such unit, too, and whatever attentions wait */
#define WRITES 2u

static const struct command {
	uint8_t opcode;
	uint8_t flags;
	enum vmm_scsi_next (*run)(struct vmm_scsi_cmd *cmd);
} commands[] = {
	{ 0x00, 0, nothing }, /* TEST UNIT READY */
	{ 0x03, ANY_TIME, request_sense },
	{ 0x08, 0, scsi_read }, /* (6) */
	{ 0x0a, WRITES, scsi_write },
	{ 0x12, ANY_TIME, scsi_inquiry },
	{ 0x1a, 0, scsi_mode_sense }, /* (6) */
	{ 0x1b, 0, nothing },	      /* START STOP UNIT: what could be stopped is the host's */
	{ 0x25, 0, scsi_read_capacity10 },
	{ 0x28, 0, scsi_read }, /* (10) */
	{ 0x2a, WRITES, scsi_write },
	{ 0x2f, 0, scsi_verify },
	{ 0x35, 0, scsi_sync_cache },
	{ 0x41, WRITES, scsi_write_same },
	{ 0x42, WRITES, scsi_unmap },
	{ 0x5a, 0, scsi_mode_sense },
	{ 0x88, 0, scsi_read }, /* (16) */
	{ 0x8a, WRITES, scsi_write },
	{ 0x8f, 0, scsi_verify },
	{ 0x91, 0, scsi_sync_cache },
	{ 0x93, WRITES, scsi_write_same },
	{ 0x9e, 0, scsi_service_action_in },
	{ 0xa0, ANY_TIME, report_luns },
	{ 0xa8, 0, scsi_read }, /* (12) */
	{ 0xaa, WRITES, scsi_write },
	{ 0xaf, 0, scsi_verify },
};

enum vmm_scsi_next vmm_scsi_begin(struct vmm_scsi_cmd *cmd)
{
	const struct command *command = NULL;
	uint32_t sense;

	cmd->sense_bytes = 0;
	cmd->overrun = false;
	cmd->moved_bytes = 0;
	cmd->step = NULL;
	cmd->scratch = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (commands[i].opcode == cmd->cdb[0])
			command = &commands[i];
	}
	if (command && command->flags & ANY_TIME)
		return command->run(cmd);
	if (!cmd->unit)
		return scsi_fail(cmd, SENSE_NO_UNIT);
	sense = take_attention(cmd->unit);
	if (sense != SENSE_NONE)
		return scsi_fail(cmd, sense);
	if (!command)
		return scsi_fail(cmd, SENSE_OPCODE);
	if (command->flags & WRITES && cmd->unit->readonly)
		return scsi_fail(cmd, SENSE_WRITE_PROTECTED);
	return command->run(cmd);
}

enum vmm_scsi_next vmm_scsi_go_on(struct vmm_scsi_cmd *cmd, int status)
{
	if (status == -ENOMEM)
		return end(cmd, VMM_SCSI_BUSY);
	if (status)
		return scsi_fail(cmd, sense_of(status, cmd->req.op));
	return cmd->step ? cmd->step(cmd) : scsi_good(cmd);
}

/* ---- units ---- */

void vmm_scsi_unit_init(struct vmm_scsi_unit *unit, const struct bdev_geom *geom, bool readonly,
	const char *serial, struct vmm_scsi_unit_state *state)
{
	memset(unit, 0, sizeof(*unit));
	unit->geom = *geom;
	unit->readonly = readonly;
	unit->state = state;
	memcpy(unit->serial, serial, strnlen(serial, VMM_SCSI_SERIAL));
	state->attentions = 1u << VMM_SCSI_POWER_ON;
	state->nr_blocks = geom->size_bytes / geom->block_bytes;
}

bool vmm_scsi_unit_resize(struct vmm_scsi_unit *unit, uint64_t size_bytes)
{
	uint64_t nr_blocks = size_bytes / unit->geom.block_bytes;

	if (__atomic_exchange_n(&unit->state->nr_blocks, nr_blocks, __ATOMIC_SEQ_CST) == nr_blocks)
		return false;
	vmm_scsi_raise(unit->state, VMM_SCSI_CAPACITY_CHANGED);
	return true;
}
