/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-balloon (virtio 1.2, 5.5): memory that the guest does not need is the host's again. It comes
 * back to the guest, as zeroes, page by page as the guest touches it.
 *
 * B1  The guest inflates the balloon to the size that it is told, by pages that it gives up; under
 *     memory pressure it takes them back. How far it is, it says itself: that is not to be trusted.
 * B2  With free page reporting it tells of runs of pages that it does not use at the moment, whatever
 *     the balloon's size. They are its own all the while.
 *
 * All calls but those of its thread are with the machine's mutex held (V1).
 */
#ifndef VMM_VIRTIO_BALLOON_H
#define VMM_VIRTIO_BALLOON_H

#include <stdint.h>

struct vmm_iothread;
struct vmm_mem;
struct vmm_pci;
struct vmm_virtio_balloon;

/* Puts it on the bus, empty, served on thread (the caller's, outlives it). Errors: those of
 * vmm_virtio_plug(), -ENOMEM. */
int vmm_virtio_balloon_new(const struct vmm_mem *mem, struct vmm_pci *pci,
	struct vmm_iothread *thread, struct vmm_virtio_balloon **ret_balloon)
	__attribute__((warn_unused_result, nonnull));

/* Stops it and takes it off the bus. NULL is allowed. */
void vmm_virtio_balloon_free(struct vmm_virtio_balloon *balloon);

/* What the guest is to give up in all; whole pages of it. */
void vmm_virtio_balloon_set(struct vmm_virtio_balloon *balloon, uint64_t bytes)
	__attribute__((nonnull));

/* What it says that it has given up (B1). */
uint64_t vmm_virtio_balloon_bytes(const struct vmm_virtio_balloon *balloon) __attribute__((nonnull));

#endif
