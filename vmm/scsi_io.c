/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The SCSI commands that reach the disk's blocks (SBC-4 5). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/checked.h"
#include "vmm/scsi_internal.h"
#include "vmm/virtqueue.h"

#define SCRATCH_BYTES 65536u

#define PROTECT 0xe0 /* of byte 1: protection information, which we have none of */
#define FUA 0x08

/* ---- helpers ---- */

/* Of cmd->lba, cmd->nr_left: what the CDB says, by its group of opcodes. */
static void take_range(struct vmm_scsi_cmd *cmd)
{
	const uint8_t *cdb = cmd->cdb;

	switch (cdb[0] >> 5) {
	case 0: /* 6 bytes; 0 is 256 */
		cmd->lba = get32(cdb) & 0x1fffff;
		cmd->nr_left = cdb[4] ? cdb[4] : 256;
		break;
	case 4: /* 16 */
		cmd->lba = get64(cdb + 2);
		cmd->nr_left = get32(cdb + 10);
		break;
	case 5: /* 12 */
		cmd->lba = get32(cdb + 2);
		cmd->nr_left = get32(cdb + 6);
		break;
	default: /* 10 */
		cmd->lba = get32(cdb + 2);
		cmd->nr_left = get16(cdb + 7);
	}
}

static bool in_range(const struct vmm_scsi_cmd *cmd)
{
	return range_ok(cmd->lba, cmd->nr_left, scsi_nr_blocks(cmd->unit));
}

/* Of nr_blocks from cmd->lba on, which in_range() has seen. step: what comes then; NULL: it is
 * done. */
static enum vmm_scsi_next disk(struct vmm_scsi_cmd *cmd, enum bdev_op op, uint64_t nr_blocks,
	const struct iovec *iov, int nr_iov, enum vmm_scsi_next (*step)(struct vmm_scsi_cmd *cmd))
{
	uint64_t block = cmd->unit->geom.block_bytes;

	cmd->req.op = op;
	cmd->req.flags = 0;
	cmd->req.off_bytes = cmd->lba * block;
	cmd->req.len_bytes = nr_blocks * block;
	cmd->req.iov = iov;
	cmd->req.nr_iov = nr_iov;
	cmd->step = step;
	return VMM_SCSI_DISK;
}

/* Cuts iov to its first len bytes: how many of its entries that takes; -1: there are less. */
static int trim(struct iovec *iov, uint16_t nr, uint64_t len)
{
	for (int i = 0; i < nr; i++) {
		if (iov[i].iov_len >= len) {
			iov[i].iov_len = (size_t)len;
			return i + 1;
		}
		len -= iov[i].iov_len;
	}
	return -1;
}

static enum vmm_scsi_next overrun(struct vmm_scsi_cmd *cmd)
{
	cmd->overrun = true;
	return scsi_good(cmd);
}

static int new_scratch(struct vmm_scsi_cmd *cmd)
{
	cmd->scratch = malloc(SCRATCH_BYTES);
	return cmd->scratch ? 0 : -ENOMEM;
}

/* The next blocks that fit, by way of cmd->scratch. */
static enum vmm_scsi_next disk_scratch(struct vmm_scsi_cmd *cmd, enum bdev_op op,
	enum vmm_scsi_next (*step)(struct vmm_scsi_cmd *cmd))
{
	uint64_t nr = MIN(cmd->nr_left, SCRATCH_BYTES / cmd->unit->geom.block_bytes);

	cmd->scratch_iov = (struct iovec){ cmd->scratch, nr * cmd->unit->geom.block_bytes };
	return disk(cmd, op, nr, &cmd->scratch_iov, 1, step);
}

/* That they are done. */
static void pass_scratch(struct vmm_scsi_cmd *cmd)
{
	uint64_t nr = cmd->scratch_iov.iov_len / cmd->unit->geom.block_bytes;

	cmd->lba += nr;
	cmd->nr_left -= nr;
}

/* ---- READ, WRITE, SYNCHRONIZE CACHE ---- */

static enum vmm_scsi_next read_write(
	struct vmm_scsi_cmd *cmd, enum bdev_op op, struct iovec *iov, uint16_t nr)
{
	bool is_short = cmd->cdb[0] >> 5 == 0;
	uint64_t len;
	int nr_iov;

	take_range(cmd);
	if (!is_short && cmd->cdb[1] & PROTECT)
		return scsi_fail(cmd, SENSE_CDB_FIELD);
	if (!in_range(cmd))
		return scsi_fail(cmd, SENSE_LBA);
	if (cmd->nr_left == 0)
		return scsi_good(cmd);
	len = cmd->nr_left * cmd->unit->geom.block_bytes;
	nr_iov = trim(iov, nr, len);
	if (nr_iov < 0)
		return overrun(cmd);
	disk(cmd, op, cmd->nr_left, iov, nr_iov, NULL);
	if (op == BDEV_WRITE && !is_short && cmd->cdb[1] & FUA)
		cmd->req.flags = BDEV_FUA;
	cmd->moved_bytes = len;
	return VMM_SCSI_DISK;
}

enum vmm_scsi_next scsi_read(struct vmm_scsi_cmd *cmd)
{
	return read_write(cmd, BDEV_READ, cmd->in, cmd->nr_in);
}

enum vmm_scsi_next scsi_write(struct vmm_scsi_cmd *cmd)
{
	return read_write(cmd, BDEV_WRITE, cmd->out, cmd->nr_out);
}

/* All of the cache, whatever the range. */
enum vmm_scsi_next scsi_sync_cache(struct vmm_scsi_cmd *cmd)
{
	take_range(cmd);
	if (!in_range(cmd))
		return scsi_fail(cmd, SENSE_LBA);
	if (cmd->unit->readonly || !(cmd->unit->geom.caps & BDEV_CAN_FLUSH))
		return scsi_good(cmd);
	cmd->lba = 0;
	return disk(cmd, BDEV_FLUSH, 0, NULL, 0, NULL);
}

/* ---- UNMAP (SBC-4 5.35) ---- */

/* cmd->nr_left descriptors are to come, at the front of data-out. */
static enum vmm_scsi_next unmap_next(struct vmm_scsi_cmd *cmd)
{
	while (cmd->nr_left > 0) {
		uint8_t desc[16];
		uint32_t nr;

		cmd->nr_left--;
		if (vmm_iov_take(&cmd->out, &cmd->nr_out, desc, sizeof(desc)) != sizeof(desc))
			return overrun(cmd);
		cmd->moved_bytes += sizeof(desc);
		cmd->lba = get64(desc);
		nr = get32(desc + 8);
		if (!range_ok(cmd->lba, nr, scsi_nr_blocks(cmd->unit)))
			return scsi_fail(cmd, SENSE_LBA);
		if (nr > MAX_UNMAP_BYTES / cmd->unit->geom.block_bytes)
			return scsi_fail(cmd, SENSE_LIST_FIELD);
		if (nr > 0)
			return disk(cmd, BDEV_DISCARD, nr, NULL, 0, unmap_next);
	}
	return scsi_good(cmd);
}

enum vmm_scsi_next scsi_unmap(struct vmm_scsi_cmd *cmd)
{
	uint16_t list_len = get16(cmd->cdb + 7);
	uint8_t head[8];

	if (!(cmd->unit->geom.caps & BDEV_CAN_DISCARD))
		return scsi_fail(cmd, SENSE_OPCODE);
	if (cmd->cdb[1] & 1) /* anchor */
		return scsi_fail(cmd, SENSE_CDB_FIELD);
	if (list_len == 0)
		return scsi_good(cmd);
	if (list_len < sizeof(head))
		return scsi_fail(cmd, SENSE_LIST_LENGTH);
	if (vmm_iov_take(&cmd->out, &cmd->nr_out, head, sizeof(head)) != sizeof(head))
		return overrun(cmd);
	cmd->moved_bytes = sizeof(head);
	cmd->nr_left = MIN(get16(head + 2), list_len - sizeof(head)) / 16;
	if (cmd->nr_left > MAX_UNMAP_DESCS)
		return scsi_fail(cmd, SENSE_LIST_FIELD);
	return unmap_next(cmd);
}

/* ---- WRITE SAME (SBC-4 5.53) ---- */

static enum vmm_scsi_next write_same_next(struct vmm_scsi_cmd *cmd)
{
	pass_scratch(cmd);
	return cmd->nr_left ? disk_scratch(cmd, BDEV_WRITE, write_same_next) : scsi_good(cmd);
}

/* Zeroes are for the disk to make, whether unmapped or not; any other block is written again and
 * again. */
enum vmm_scsi_next scsi_write_same(struct vmm_scsi_cmd *cmd)
{
	uint32_t block = cmd->unit->geom.block_bytes;
	bool no_data = cmd->cdb[0] == 0x93 && cmd->cdb[1] & 1;

	take_range(cmd);
	if (cmd->cdb[1] & (PROTECT | 0x10) || cmd->nr_left == 0 ||
		cmd->nr_left > MAX_WRITE_SAME_BYTES / block)
		return scsi_fail(cmd, SENSE_CDB_FIELD);
	if (!in_range(cmd))
		return scsi_fail(cmd, SENSE_LBA);
	if (no_data)
		return disk(cmd, BDEV_WRITE_ZEROES, cmd->nr_left, NULL, 0, NULL);
	if (new_scratch(cmd) < 0)
		return vmm_scsi_go_on(cmd, -ENOMEM);
	if (vmm_iov_take(&cmd->out, &cmd->nr_out, cmd->scratch, block) != block)
		return overrun(cmd);
	cmd->moved_bytes = block;
	if (cmd->scratch[0] == 0 && memcmp(cmd->scratch, cmd->scratch + 1, block - 1) == 0)
		return disk(cmd, BDEV_WRITE_ZEROES, cmd->nr_left, NULL, 0, NULL);
	for (uint32_t at = block; at < SCRATCH_BYTES; at += block)
		memcpy(cmd->scratch + at, cmd->scratch, block);
	return disk_scratch(cmd, BDEV_WRITE, write_same_next);
}

/* ---- VERIFY (SBC-4 5.38) ---- */

/* Whether data-out goes on with what is in cmd->scratch. -ENODATA: there is less of it. */
static int compare(struct vmm_scsi_cmd *cmd)
{
	uint8_t bytes[512];

	for (size_t at = 0; at < cmd->scratch_iov.iov_len; at += sizeof(bytes)) {
		if (vmm_iov_take(&cmd->out, &cmd->nr_out, bytes, sizeof(bytes)) != sizeof(bytes))
			return -ENODATA;
		cmd->moved_bytes += sizeof(bytes);
		if (memcmp(bytes, cmd->scratch + at, sizeof(bytes)) != 0)
			return -EILSEQ;
	}
	return 0;
}

static enum vmm_scsi_next verify_next(struct vmm_scsi_cmd *cmd)
{
	int err = cmd->cdb[1] & 2 ? compare(cmd) : 0;

	if (err)
		return err == -ENODATA ? overrun(cmd) : scsi_fail(cmd, SENSE_MISCOMPARE);
	pass_scratch(cmd);
	return cmd->nr_left ? disk_scratch(cmd, BDEV_READ, verify_next) : scsi_good(cmd);
}

/* Reads the blocks; with BYTCHK 1 they are to be equal to data-out. */
enum vmm_scsi_next scsi_verify(struct vmm_scsi_cmd *cmd)
{
	take_range(cmd);
	if (cmd->cdb[1] & (PROTECT | 0x04)) /* BYTCHK 2 and 3, too */
		return scsi_fail(cmd, SENSE_CDB_FIELD);
	if (!in_range(cmd))
		return scsi_fail(cmd, SENSE_LBA);
	if (cmd->nr_left == 0)
		return scsi_good(cmd);
	if (new_scratch(cmd) < 0)
		return vmm_scsi_go_on(cmd, -ENOMEM);
	return disk_scratch(cmd, BDEV_READ, verify_next);
}
