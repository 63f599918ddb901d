/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-scsi (virtio 1.2, 5.6): a controller with disks that come, go and grow while it works. A
 * disk is logical unit 0 of a target of its own.
 *
 * H1  Each request queue has a thread, and that thread a queue of its own of each disk, a lane. What a
 *     thread knows of lanes changes on that thread alone, so the data path has no lock.
 * H2  A disk comes to all threads before the driver hears of it. It goes in this order: the driver is
 *     told; it has let go, or is not asked; no thread takes a command for it any more; what is under
 *     way on a lane ends, and the lane is flushed and closed; the last one tells the main thread.
 * H3  The driver has let go when the buffer that told it of the removal is there again: a driver gives
 *     it back when it has dealt with it.
 * H4  What the driver is to hear of a target waits as bits of its state for a buffer. So no event is
 *     ever lost, and VIRTIO_SCSI_T_EVENTS_MISSED has no use.
 * H5  A task management function is answered when each command that it ends has ended: then the
 *     memory of those is the driver's again.
 *
 * All calls are on the main thread, with the machine's mutex held (V1).
 */
#ifndef VMM_VIRTIO_SCSI_H
#define VMM_VIRTIO_SCSI_H

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct vmm_disk;
struct vmm_mem;
struct vmm_pci;
struct vmm_virtio_scsi;

#define VMM_VIRTIO_SCSI_MAX_QUEUES 62 /* for requests */

/* Puts a controller without disks on the bus. loop is the main thread's. Errors: those of
 * vmm_iothread_new() and vmm_virtio_plug(), -ENOMEM. */
int vmm_virtio_scsi_new(const struct vmm_mem *mem, struct vmm_pci *pci, struct loop *loop,
	unsigned int nr_queues, struct vmm_virtio_scsi **ret_scsi)
	__attribute__((warn_unused_result, nonnull));

/*
 * Adds the disk (the caller's, until it has gone) as the first target that is free. serial, up to
 * 20 bytes, is what the guest sees as its id. Waits for its queues to open, and the threads wait
 * with it. Errors: -ENOSPC, -ENOMEM, those of bdev_queue_open().
 */
int vmm_virtio_scsi_attach(struct vmm_virtio_scsi *scsi, struct vmm_disk *disk, const char *serial,
	unsigned int *ret_target) __attribute__((warn_unused_result, nonnull));

/*
 * Asks the driver to let the target's disk go; or, with force, does not, and takes it away: later
 * commands find no target, held ones end. gone() follows, unless vmm_virtio_scsi_free() is first;
 * flush_err is what the last flush ended with. Once is enough; a second call may add force. Errors:
 * -EOPNOTSUPP, the driver does not take events, so only force does it; -EALREADY.
 */
int vmm_virtio_scsi_detach(struct vmm_virtio_scsi *scsi, unsigned int target, bool force,
	void (*gone)(void *arg, int flush_err), void *arg)
	__attribute__((warn_unused_result, nonnull(1, 4)));

/* The disk's bdev_geom() may have another size: tells the driver, if so. */
void vmm_virtio_scsi_resized(struct vmm_virtio_scsi *scsi, unsigned int target)
	__attribute__((nonnull));

/* Tries again what storage has failed (V5). */
void vmm_virtio_scsi_retry(struct vmm_virtio_scsi *scsi) __attribute__((nonnull));

/* Waits for what is under way, lets the disks go, takes it off the bus. NULL is allowed. */
void vmm_virtio_scsi_free(struct vmm_virtio_scsi *scsi);

#endif
