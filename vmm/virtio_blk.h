/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-blk (virtio 1.2, 5.2): a disk with an I/O thread a queue. */
#ifndef VMM_VIRTIO_BLK_H
#define VMM_VIRTIO_BLK_H

struct vmm_disk;
struct vmm_mem;
struct vmm_pci;
struct vmm_virtio_blk;

/*
 * Puts the disk (the caller's, must outlive it) on the bus with nr_queues queues (1 to 64), each
 * with a thread and a queue of the device below. serial, up to 20 bytes, is what the guest sees as
 * its id. Errors: those of bdev_queue_open(), vmm_virtio_plug(), -ENOMEM.
 */
int vmm_virtio_blk_new(struct vmm_disk *disk, const struct vmm_mem *mem, struct vmm_pci *pci,
	unsigned int nr_queues, const char *serial, struct vmm_virtio_blk **ret_blk)
	__attribute__((warn_unused_result, nonnull));

/* The disk's bdev_geom() may have another size: tells the driver, if so. With the machine's mutex held
 * (V1). */
void vmm_virtio_blk_resized(struct vmm_virtio_blk *blk) __attribute__((nonnull));

/* Tries again what storage has failed (V5). */
void vmm_virtio_blk_retry(struct vmm_virtio_blk *blk) __attribute__((nonnull));

/* Waits for what is under way, then takes it off the bus. NULL is allowed. */
void vmm_virtio_blk_free(struct vmm_virtio_blk *blk);

#endif
