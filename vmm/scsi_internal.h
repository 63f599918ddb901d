/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the SCSI commands share: scsi.c dispatches, scsi_pages.c describes the disk,
 * scsi_io.c reaches it. */
#ifndef VMM_SCSI_INTERNAL_H
#define VMM_SCSI_INTERNAL_H

#include <stddef.h>

#include "util/be.h"
#include "vmm/scsi.h"

/* Sense key, additional sense code and its qualifier (SPC-5 4.4.7, annex F). */
#define SENSE(key, asc, ascq) ((uint32_t)(key) << 16 | (asc) << 8 | (ascq))

enum {
	SENSE_NONE = SENSE(0x0, 0x00, 0x00),
	SENSE_READ_ERROR = SENSE(0x3, 0x11, 0x00),
	SENSE_WRITE_ERROR = SENSE(0x3, 0x0c, 0x00),
	SENSE_COMMUNICATION = SENSE(0x4, 0x08, 0x00),
	SENSE_TARGET_FAILURE = SENSE(0x4, 0x44, 0x00),
	SENSE_LIST_LENGTH = SENSE(0x5, 0x1a, 0x00),
	SENSE_OPCODE = SENSE(0x5, 0x20, 0x00),
	SENSE_LBA = SENSE(0x5, 0x21, 0x00),
	SENSE_CDB_FIELD = SENSE(0x5, 0x24, 0x00),
	SENSE_NO_UNIT = SENSE(0x5, 0x25, 0x00),
	SENSE_LIST_FIELD = SENSE(0x5, 0x26, 0x00),
	SENSE_NOT_SAVED = SENSE(0x5, 0x39, 0x00),
	SENSE_WRITE_PROTECTED = SENSE(0x7, 0x27, 0x00),
	SENSE_NO_SPACE = SENSE(0x7, 0x27, 0x07),
	SENSE_CANCELED = SENSE(0xb, 0x00, 0x00),
	SENSE_MISCOMPARE = SENSE(0xe, 0x1d, 0x00),
};

/* What a CDB or a page has at p. */
static inline uint16_t get16(const uint8_t *p)
{
	return be16_get(*(const struct be16 *)p);
}

static inline uint32_t get32(const uint8_t *p)
{
	return be32_get(*(const struct be32 *)p);
}

static inline uint64_t get64(const uint8_t *p)
{
	return be64_get(*(const struct be64 *)p);
}

static inline void put16(uint8_t *p, uint16_t value)
{
	*(struct be16 *)p = be16_of(value);
}

static inline void put32(uint8_t *p, uint32_t value)
{
	*(struct be32 *)p = be32_of(value);
}

static inline void put64(uint8_t *p, uint64_t value)
{
	*(struct be64 *)p = be64_of(value);
}

static inline uint64_t scsi_nr_blocks(const struct vmm_scsi_unit *unit)
{
	return __atomic_load_n(&unit->state->nr_blocks, __ATOMIC_SEQ_CST);
}

#define MAX_UNMAP_BYTES (1ull << 30) /* of a descriptor */
#define MAX_UNMAP_DESCS 256u
#define MAX_WRITE_SAME_BYTES (1ull << 30)

/* Each ends the command: well; with sense data; as an answer of len bytes, of which it wants at
 * most alloc_len. */
enum vmm_scsi_next scsi_good(struct vmm_scsi_cmd *cmd);
enum vmm_scsi_next scsi_fail(struct vmm_scsi_cmd *cmd, uint32_t sense);
enum vmm_scsi_next scsi_answer(
	struct vmm_scsi_cmd *cmd, const void *data, size_t len, uint32_t alloc_len);

/* Commands, by what scsi.c's table has of them. */
enum vmm_scsi_next scsi_inquiry(struct vmm_scsi_cmd *cmd);
enum vmm_scsi_next scsi_mode_sense(struct vmm_scsi_cmd *cmd);
enum vmm_scsi_next scsi_read_capacity10(struct vmm_scsi_cmd *cmd);
enum vmm_scsi_next scsi_service_action_in(struct vmm_scsi_cmd *cmd);
enum vmm_scsi_next scsi_read(struct vmm_scsi_cmd *cmd);
enum vmm_scsi_next scsi_write(struct vmm_scsi_cmd *cmd);
enum vmm_scsi_next scsi_sync_cache(struct vmm_scsi_cmd *cmd);
enum vmm_scsi_next scsi_unmap(struct vmm_scsi_cmd *cmd);
enum vmm_scsi_next scsi_write_same(struct vmm_scsi_cmd *cmd);
enum vmm_scsi_next scsi_verify(struct vmm_scsi_cmd *cmd);

#endif
