/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The commands of a SCSI disk (SPC-5, SBC-4), apart from any transport and from any thread.
 *
 * A command goes in steps: vmm_scsi_begin(), and then vmm_scsi_go_on() as often as it takes, say
 * what is next. VMM_SCSI_DISK: cmd->req is for the disk, and its outcome for vmm_scsi_go_on().
 * VMM_SCSI_DONE: status, sense, moved_bytes and overrun are what the initiator gets.
 *
 * S1  The initiator is hostile, and its memory changes at any time. The CDB is a copy; parameters are
 *     copied out of data-out as their turn comes, each once; each range of blocks is checked against
 *     the disk's size before a step has it.
 * S2  Commands of a unit may go on several threads, each command on one. They share what does not
 *     change while the unit serves, and two atomics: the size, the attentions.
 * S3  What has begun goes on until VMM_SCSI_DONE. With a failure of the last step, or -ECANCELED in
 *     its place, that is at once.
 */
#ifndef VMM_SCSI_H
#define VMM_SCSI_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "blockdev/bdev.h"
#include "vmm/state.h"

#define VMM_SCSI_CDB 32	  /* bytes of the longest CDB that is looked at */
#define VMM_SCSI_SENSE 18 /* of the longest sense data that is given */
#define VMM_SCSI_SERIAL 20

/* Unit attentions, the more important ones first. */
enum vmm_scsi_attention {
	VMM_SCSI_POWER_ON,
	VMM_SCSI_RESET, /* of the unit, by a task management function */
	VMM_SCSI_CAPACITY_CHANGED,
	VMM_SCSI_LUNS_CHANGED, /* of the target: REPORT LUNS takes it away, too */
	VMM_SCSI_NR_ATTENTIONS,
};

enum vmm_scsi_status {
	VMM_SCSI_GOOD = 0x00,
	VMM_SCSI_CHECK_CONDITION = 0x02,
	VMM_SCSI_BUSY = 0x08,
};

struct vmm_scsi_unit {
	struct bdev_geom geom; /* but its size_bytes */
	bool readonly;
	char serial[VMM_SCSI_SERIAL + 1];
	struct vmm_scsi_unit_state *state; /* atomically (S2) */
};

enum vmm_scsi_next { VMM_SCSI_DONE, VMM_SCSI_DISK };

struct vmm_scsi_cmd {
	/* The transport's, filled in before the command begins; the arrays are cut as it goes on.
	 */
	struct vmm_scsi_unit *unit; /* NULL: the target has no such logical unit */
	uint8_t cdb[VMM_SCSI_CDB];
	struct iovec *out, *in; /* data-out, data-in */
	uint16_t nr_out, nr_in;

	struct bdev_req req; /* its done and arg are the transport's */

	uint8_t status; /* enum vmm_scsi_status */
	uint8_t sense_bytes;
	uint8_t sense[VMM_SCSI_SENSE];
	bool overrun;	      /* the CDB wants more than there is of data-out or data-in */
	uint64_t moved_bytes; /* of the data */

	/* private */
	enum vmm_scsi_next (*step)(struct vmm_scsi_cmd *cmd);
	uint64_t lba, nr_left;
	uint8_t *scratch;
	struct iovec scratch_iov;
};

/* A unit that has just been switched on, for the disk of this geometry. serial: what there is of it
 * up to VMM_SCSI_SERIAL bytes. */
void vmm_scsi_unit_init(struct vmm_scsi_unit *unit, const struct bdev_geom *geom, bool readonly,
	const char *serial, struct vmm_scsi_unit_state *state) __attribute__((nonnull));

/* The disk's size is another now: the initiator hears of it by an attention. False: it is not. */
bool vmm_scsi_unit_resize(struct vmm_scsi_unit *unit, uint64_t size_bytes) __attribute__((nonnull));

/* Any thread. */
void vmm_scsi_raise(struct vmm_scsi_unit_state *state, enum vmm_scsi_attention attention)
	__attribute__((nonnull));

/* Decodes a command and says what comes first. */
enum vmm_scsi_next vmm_scsi_begin(struct vmm_scsi_cmd *cmd) __attribute__((nonnull));

/* The disk's request has ended, with a status of struct bdev_req or what bdev_submit() refused it
 * with. */
enum vmm_scsi_next vmm_scsi_go_on(struct vmm_scsi_cmd *cmd, int status) __attribute__((nonnull));

#endif
