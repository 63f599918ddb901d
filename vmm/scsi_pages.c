/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a SCSI disk says of itself: INQUIRY, MODE SENSE, READ CAPACITY. */
#include <assert.h>
#include <string.h>

#include "util/checked.h"
#include "vmm/scsi_internal.h"

#define VENDOR "CSVFS   "
#define PRODUCT "csvvm disk      "
#define REVISION "1   "
static_assert(sizeof(VENDOR) == 8 + 1 && sizeof(PRODUCT) == 16 + 1 && sizeof(REVISION) == 4 + 1,
	"SPC-5 6.7.2");

#define NO_UNIT 0x7f /* peripheral qualifier 3, device type 1f */

static uint32_t phys_blocks(const struct vmm_scsi_unit *unit)
{
	return MAX(unit->geom.phys_bytes / unit->geom.block_bytes, 1);
}

static bool can_unmap(const struct vmm_scsi_unit *unit)
{
	return !unit->readonly && unit->geom.caps & BDEV_CAN_DISCARD;
}

/* ---- INQUIRY (SPC-5 6.7, 7.7; SBC-4 6.6) ---- */

/* Vital product data: each fills in what follows the page's header, and gives its length. */

static size_t vpd_serial(const struct vmm_scsi_unit *unit, uint8_t *body)
{
	size_t len = strlen(unit->serial);

	memcpy(body, unit->serial, len);
	return len;
}

/* Of the logical unit, in ASCII, based on a T10 vendor id. */
static size_t vpd_identification(const struct vmm_scsi_unit *unit, uint8_t *body)
{
	size_t len = strlen(unit->serial);

	body[0] = 0x02;
	body[1] = 0x01;
	body[3] = (uint8_t)(8 + len);
	memcpy(body + 4, VENDOR, 8);
	memcpy(body + 12, unit->serial, len);
	return 12 + len;
}

static size_t vpd_limits(const struct vmm_scsi_unit *unit, uint8_t *body)
{
	uint32_t block = unit->geom.block_bytes;

	body[0] = 0x01; /* a WRITE SAME of no blocks is not one of all */
	put16(body + 2, (uint16_t)MIN(phys_blocks(unit), UINT16_MAX));
	if (can_unmap(unit)) {
		put32(body + 16, (uint32_t)(MAX_UNMAP_BYTES / block));
		put32(body + 20, MAX_UNMAP_DESCS);
		put32(body + 24, phys_blocks(unit));
		put32(body + 28, 1u << 31); /* aligned to 0 */
	}
	put64(body + 32, MAX_WRITE_SAME_BYTES / block);
	return 60;
}

static size_t vpd_characteristics(const struct vmm_scsi_unit *unit, uint8_t *body)
{
	put16(body, unit->geom.caps & BDEV_ROTATIONAL ? 0 : 1); /* not told; does not rotate */
	return 60;
}

static size_t vpd_provisioning(const struct vmm_scsi_unit *unit, uint8_t *body)
{
	if (can_unmap(unit)) {
		body[1] =
			0xe0; /* UNMAP, WRITE SAME(16) and (10) can; what it reads as is not said */
		body[2] = 2;  /* thin */
	}
	return 4;
}

static const struct vpd {
	uint8_t code;
	size_t (*fill)(const struct vmm_scsi_unit *unit, uint8_t *body);
} vpds[] = {
	{ 0x80, vpd_serial },
	{ 0x83, vpd_identification },
	{ 0xb0, vpd_limits },
	{ 0xb1, vpd_characteristics },
	{ 0xb2, vpd_provisioning },
};

static enum vmm_scsi_next inquiry_vpd(struct vmm_scsi_cmd *cmd)
{
	uint8_t data[64] = { 0 }, code = cmd->cdb[2];
	bool found = code == 0;
	size_t len = 0;

	if (!cmd->unit)
		return scsi_fail(cmd, SENSE_CDB_FIELD);
	if (code == 0)
		data[4 + len++] = 0;
	for (size_t i = 0; i < ARRAY_SIZE(vpds); i++) {
		if (code == 0) {
			data[4 + len++] = vpds[i].code;
		} else if (code == vpds[i].code) {
			len = vpds[i].fill(cmd->unit, data + 4);
			found = true;
		}
	}
	if (!found)
		return scsi_fail(cmd, SENSE_CDB_FIELD);
	data[1] = code;
	put16(data + 2, (uint16_t)len);
	return scsi_answer(cmd, data, 4 + len, get16(cmd->cdb + 3));
}

enum vmm_scsi_next scsi_inquiry(struct vmm_scsi_cmd *cmd)
{
	uint8_t data[36] = { 0 };

	if (cmd->cdb[1] & 1)
		return inquiry_vpd(cmd);
	if (cmd->cdb[1] & 2 || cmd->cdb[2])
		return scsi_fail(cmd, SENSE_CDB_FIELD);
	data[0] = cmd->unit ? 0 : NO_UNIT;
	data[2] = 6;	/* SPC-4 */
	data[3] = 0x12; /* LUNs of many levels; the format of this data */
	data[4] = sizeof(data) - 5;
	data[7] = 0x02; /* commands queue */
	memcpy(data + 8, VENDOR PRODUCT REVISION, 28);
	return scsi_answer(cmd, data, sizeof(data), get16(cmd->cdb + 3));
}

/* ---- MODE SENSE (SPC-5 6.14, 7.5; SBC-4 6.5) ---- */

enum { PC_CURRENT, PC_CHANGEABLE, PC_DEFAULT, PC_SAVED };

static size_t mode_caching(const struct vmm_scsi_unit *unit, uint8_t *body)
{
	if (!unit->readonly && unit->geom.caps & BDEV_CAN_FLUSH)
		body[0] = 0x04; /* a write cache */
	return 18;
}

static size_t mode_control(const struct vmm_scsi_unit *unit, uint8_t *body)
{
	body[0] = 0x02; /* nothing is logged; sense data has the fixed format */
	body[1] = 0x10; /* commands may overtake each other */
	return 10;
}

static const struct mode {
	uint8_t code;
	size_t (*fill)(const struct vmm_scsi_unit *unit, uint8_t *body);
} modes[] = {
	{ 0x08, mode_caching },
	{ 0x0a, mode_control },
};

/* The pages that are asked for; 0: there is no such one. Nothing in them can be changed. */
static size_t put_modes(const struct vmm_scsi_cmd *cmd, uint8_t *at)
{
	uint8_t code = cmd->cdb[2] & 0x3f, subcode = cmd->cdb[3], pc = cmd->cdb[2] >> 6;
	size_t len = 0;

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		uint8_t *page = at + len;
		size_t body;

		if ((code != 0x3f && code != modes[i].code) || (subcode != 0 && subcode != 0xff))
			continue;
		body = modes[i].fill(cmd->unit, page + 2);
		if (pc == PC_CHANGEABLE)
			memset(page + 2, 0, body);
		page[0] = modes[i].code;
		page[1] = (uint8_t)body;
		len += 2 + body;
	}
	return len;
}

/* The short block descriptor (SBC-4 6.5.2). */
static size_t put_block_desc(const struct vmm_scsi_unit *unit, uint8_t *at)
{
	uint64_t nr_blocks = scsi_nr_blocks(unit);

	put32(at, (uint32_t)MIN(nr_blocks, 0xffffffu));
	put32(at + 4, unit->geom.block_bytes);
	return 8;
}

enum vmm_scsi_next scsi_mode_sense(struct vmm_scsi_cmd *cmd)
{
	const struct vmm_scsi_unit *unit = cmd->unit;
	bool is_long = cmd->cdb[0] == 0x5a;
	uint8_t data[128] = { 0 }, flags = 0x10; /* it knows FUA */
	size_t head = is_long ? 8 : 4, desc = 0, pages;

	if (cmd->cdb[2] >> 6 == PC_SAVED)
		return scsi_fail(cmd, SENSE_NOT_SAVED);
	if (!(cmd->cdb[1] & 0x08))
		desc = put_block_desc(unit, data + head);
	pages = put_modes(cmd, data + head + desc);
	if (pages == 0)
		return scsi_fail(cmd, SENSE_CDB_FIELD);
	if (unit->readonly)
		flags |= 0x80;
	if (is_long) {
		put16(data, (uint16_t)(head + desc + pages - 2));
		data[3] = flags;
		put16(data + 6, (uint16_t)desc);
		return scsi_answer(cmd, data, head + desc + pages, get16(cmd->cdb + 7));
	}
	data[0] = (uint8_t)(head + desc + pages - 1);
	data[2] = flags;
	data[3] = (uint8_t)desc;
	return scsi_answer(cmd, data, head + desc + pages, cmd->cdb[4]);
}

/* ---- READ CAPACITY (SBC-4 5.19, 5.20) ---- */

/* A disk of no blocks cannot say so, and has one that no command reaches. */
static uint64_t last_lba(const struct vmm_scsi_unit *unit)
{
	uint64_t nr_blocks = scsi_nr_blocks(unit);

	return nr_blocks ? nr_blocks - 1 : 0;
}

enum vmm_scsi_next scsi_read_capacity10(struct vmm_scsi_cmd *cmd)
{
	uint8_t data[8];

	put32(data, (uint32_t)MIN(last_lba(cmd->unit), UINT32_MAX));
	put32(data + 4, cmd->unit->geom.block_bytes);
	return scsi_answer(cmd, data, sizeof(data), sizeof(data));
}

/* SERVICE ACTION IN(16), of which READ CAPACITY(16) is the one there is. */
enum vmm_scsi_next scsi_service_action_in(struct vmm_scsi_cmd *cmd)
{
	uint8_t data[32] = { 0 };

	if ((cmd->cdb[1] & 0x1f) != 0x10)
		return scsi_fail(cmd, SENSE_CDB_FIELD);
	put64(data, last_lba(cmd->unit));
	put32(data + 8, cmd->unit->geom.block_bytes);
	for (uint32_t n = phys_blocks(cmd->unit); n > 1 && data[13] < 15; n /= 2)
		data[13]++;
	if (can_unmap(cmd->unit))
		data[14] = 0x80;
	return scsi_answer(cmd, data, sizeof(data), get32(cmd->cdb + 10));
}
