/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Split virtqueues (virtio 1.2, 2.7), the device's side, with indirect descriptors and event
 * indices.
 *
 * Q1  The guest is hostile. Each index, length and address is read once and checked; a chain that
 *     breaks a rule gives -EBADMSG, and the device that got it takes no more from any queue.
 * Q2  A queue belongs to one thread from vmm_vq_start() until its device has stopped it.
 */
#ifndef VMM_VIRTQUEUE_H
#define VMM_VIRTQUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "vmm/state.h"

struct vmm_mem;

#define VMM_VQ_SIZE_MAX 256
#define VMM_VQ_MAX_IOV 130 /* descriptors in a chain */

struct vmm_vq {
	struct vmm_vq_state *state;
	const struct vmm_mem *mem;
	bool event_idx;
	void *desc, *avail, *used; /* all of each lies in RAM */
};

/* A chain: what the device reads comes first in iov, then what it writes. */
struct vmm_vq_chain {
	uint16_t head;
	uint16_t nr_out, nr_in;
	struct iovec iov[VMM_VQ_MAX_IOV];
};

/* Begins to use the queue that state describes; state and mem stay the caller's.
 * Errors: -EBADMSG, its size or its addresses are impossible. */
int vmm_vq_start(struct vmm_vq *vq, struct vmm_vq_state *state, const struct vmm_mem *mem,
	bool event_idx) __attribute__((warn_unused_result, nonnull));

/* The next chain that the driver made available: 1 = in *ret_chain, 0 = there is none,
 * -EBADMSG (Q1). */
int vmm_vq_pop(struct vmm_vq *vq, struct vmm_vq_chain *ret_chain)
	__attribute__((warn_unused_result, nonnull));

/* Copies a chain, without what its descriptors do not use. */
void vmm_vq_keep(struct vmm_vq_chain *to, const struct vmm_vq_chain *from) __attribute__((nonnull));

/* Gives a chain back, len_bytes of it written. True: the driver wants an interrupt for it. */
bool vmm_vq_push(struct vmm_vq *vq, uint16_t head, uint32_t len_bytes) __attribute__((nonnull));

/* The same for several that the driver is to see at once: put them, from 0 on, then publish all nr. */
void vmm_vq_put(struct vmm_vq *vq, uint16_t nth, uint16_t head, uint32_t len_bytes)
	__attribute__((nonnull));
bool vmm_vq_publish(struct vmm_vq *vq, uint16_t nr) __attribute__((nonnull));

/* Asks for a doorbell with the next chain. True: there is one already, look again. */
bool vmm_vq_wait(struct vmm_vq *vq) __attribute__((nonnull));

/* Copies out of, or into, at most len_bytes at the front of iov and drops them from it; gives the
 * bytes that there were. */
size_t vmm_iov_take(struct iovec **iov, uint16_t *nr, void *buf, size_t len_bytes)
	__attribute__((nonnull));
size_t vmm_iov_put(const struct iovec *iov, uint16_t nr, const void *buf, size_t len_bytes);

#endif
