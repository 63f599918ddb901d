/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-net (virtio 1.2, 5.1) on a link (link.h), with a thread for each pair of queues.
 *
 * N1  What the header of a frame says is passed on: the kernel, behind a tap, does not trust it either.
 * N2  Buffers taken from a receive queue wait in order for frames. When the queue stops they go
 *     back, so that its state says only what the driver can see.
 */
#ifndef VMM_VIRTIO_NET_H
#define VMM_VIRTIO_NET_H

#include <stdint.h>

struct vmm_link;
struct vmm_mem;
struct vmm_pci;
struct vmm_virtio_net;

/*
 * Puts a network card on the bus, with a pair of queues for each queue of the link (the caller's,
 * outlives it). Errors: those of vmm_iothread_new() and vmm_virtio_plug(), -ENOMEM.
 */
int vmm_virtio_net_new(struct vmm_link *link, const uint8_t mac[6], const struct vmm_mem *mem,
	struct vmm_pci *pci, struct vmm_virtio_net **ret_net)
	__attribute__((warn_unused_result, nonnull));

/* Stops it and takes it off the bus. NULL is allowed. */
void vmm_virtio_net_free(struct vmm_virtio_net *net);

#endif
