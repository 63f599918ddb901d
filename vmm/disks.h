/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The disks of a machine, on whatever bus, by their ids.
 *
 * D1  All is the main thread's. What reaches a device is done with the machine's mutex held (V1),
 * which the functions take; so a disk that is slow to open stops what guests reach by slow exits.
 * D2  Of a disk that is asked for, or measured, one thing is under way at a time, and it ends with
 * a callback: gone() or resized().
 */
#ifndef VMM_DISKS_H
#define VMM_DISKS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/disk.h"

struct loop;
struct vmm_disks;
struct vmm_mem;
struct vmm_pci;

#define VMM_MAX_DISKS 256
#define VMM_MAX_BLKS 24 /* of them on the bus blk, a PCI function each */
#define VMM_DISK_ID_MAX 20

/* VMM_BUS_ANY: it was not said; blk for a disk that a machine begins with, scsi for a later one. */
enum vmm_disk_bus { VMM_BUS_ANY, VMM_BUS_BLK, VMM_BUS_SCSI };

struct vmm_disk_conf {
	const char *path;
	char *own_path;		      /* path, if it is for who has the struct to free; or NULL */
	char id[VMM_DISK_ID_MAX + 1]; /* "": one is found */
	bool readonly;
	enum vmm_disk_bus bus;
	unsigned int nr_queues; /* of blk; 0 = one a CPU, at most 4 */
	enum vmm_on_error on_error;
};

struct vmm_disk_info {
	struct vmm_disk_conf conf; /* its path stays the disks' */
	uint64_t size_bytes;
	bool detaching;
};

struct vmm_disks_conf {
	struct loop *loop; /* the main thread's */
	pthread_mutex_t *mutex;
	const struct vmm_mem *mem;
	struct vmm_pci *pci;
	unsigned int nr_queues; /* of the SCSI controller, and of a disk that does not say */
	void (*failed)(void *arg, const struct vmm_disk_failure *failure); /* struct vmm_disk */
	/* A disk was let go, its image unlocked; err: of its last flush. */
	void (*gone)(void *arg, const char *id, int err);
	/* It is of this size, which the guest knows; or err: it could not be measured. */
	void (*resized)(void *arg, const char *id, int err, uint64_t size_bytes);
	void *arg; /* of all three */
};

/* With a SCSI controller, and no disks. Errors: those of vmm_virtio_scsi_new(), -ENOMEM. */
int vmm_disks_new(const struct vmm_disks_conf *conf, struct vmm_disks **ret_disks)
	__attribute__((warn_unused_result, nonnull));

/* Waits for what is under way and closes all. gone() is called for disks that were asked for. NULL
 * is allowed. */
void vmm_disks_free(struct vmm_disks *disks);

/* Each of these may say why not: *ret_error is a sentence, the caller's, or NULL. */

/* Opens one, locks its image, and shows it to the guest. conf has an id that is free. With running
 * it must be of the bus scsi. */
int vmm_disks_attach(struct vmm_disks *disks, const struct vmm_disk_conf *conf, bool running,
	char **ret_error) __attribute__((warn_unused_result, nonnull));

/* Asks the guest to let it go, or with force takes it away (virtio_scsi.h); gone() follows. */
int vmm_disks_detach(struct vmm_disks *disks, const char *id, bool force, char **ret_error)
	__attribute__((warn_unused_result, nonnull));

/* Looks at its size anew, with size_bytes not 0 after its image has grown to that; resized()
 * follows. */
int vmm_disks_resize(struct vmm_disks *disks, const char *id, uint64_t size_bytes, char **ret_error)
	__attribute__((warn_unused_result, nonnull));

/* The nth in the order of coming. Errors: -ENOENT, there are fewer. */
int vmm_disks_info(struct vmm_disks *disks, unsigned int nth, struct vmm_disk_info *ret_info)
	__attribute__((warn_unused_result, nonnull));

/* Tries again what storage has failed (V5). */
void vmm_disks_retry(struct vmm_disks *disks) __attribute__((nonnull));

#endif
