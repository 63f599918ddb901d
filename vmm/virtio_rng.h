/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-rng (virtio 1.2, 5.4): the host's random bytes. It has no state but its queue. */
#ifndef VMM_VIRTIO_RNG_H
#define VMM_VIRTIO_RNG_H

struct vmm_iothread;
struct vmm_mem;
struct vmm_pci;
struct vmm_virtio_rng;

/* Puts it on the bus, served on thread (the caller's, outlives it). Errors: those of
 * vmm_virtio_plug(), -ENOMEM. */
int vmm_virtio_rng_new(const struct vmm_mem *mem, struct vmm_pci *pci, struct vmm_iothread *thread,
	struct vmm_virtio_rng **ret_rng) __attribute__((warn_unused_result, nonnull));

/* Stops it and takes it off the bus. NULL is allowed. */
void vmm_virtio_rng_free(struct vmm_virtio_rng *rng);

#endif
