/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/virtqueue.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "util/checked.h"
#include "util/le.h"
#include "vmm/mem.h"

#define DESC_NEXT 1u
#define DESC_WRITE 2u
#define DESC_INDIRECT 4u

#define AVAIL_NO_INTERRUPT 1u

struct desc {
	struct le64 addr;
	struct le32 len_bytes;
	struct le16 flags;
	struct le16 next;
};
static_assert(sizeof(struct desc) == 16, "virtio 1.2, 2.7.5");

/* Rings hold 16-bit words: flags, idx, then entries. The guest writes at the same time. */
static uint16_t ring_get(const void *ring, size_t off_bytes)
{
	return le16toh(__atomic_load_n(
		(const uint16_t *)((const uint8_t *)ring + off_bytes), __ATOMIC_ACQUIRE));
}

static void ring_set(void *ring, size_t off_bytes, uint16_t value)
{
	__atomic_store_n(
		(uint16_t *)((uint8_t *)ring + off_bytes), htole16(value), __ATOMIC_RELEASE);
}

static size_t used_event_off(const struct vmm_vq *vq)
{
	return 4 + 2 * (size_t)vq->state->size;
}

static size_t avail_event_off(const struct vmm_vq *vq)
{
	return 4 + 8 * (size_t)vq->state->size;
}

int vmm_vq_start(
	struct vmm_vq *vq, struct vmm_vq_state *state, const struct vmm_mem *mem, bool event_idx)
{
	size_t size = state->size;

	if (size == 0 || size > VMM_VQ_SIZE_MAX || (size & (size - 1)) != 0 ||
		state->desc % 16 != 0 || state->driver % 2 != 0 || state->device % 4 != 0)
		return -EBADMSG;
	*vq = (struct vmm_vq){ .state = state, .mem = mem, .event_idx = event_idx };
	if (vmm_mem_ptr(mem, state->desc, 16 * size, &vq->desc) < 0 ||
		vmm_mem_ptr(mem, state->driver, 6 + 2 * size, &vq->avail) < 0 ||
		vmm_mem_ptr(mem, state->device, 6 + 8 * size, &vq->used) < 0)
		return -EBADMSG;
	return 0;
}

static int add(struct vmm_vq *vq, struct vmm_vq_chain *chain, const struct desc *desc)
{
	uint32_t len = le32_get(desc->len_bytes);
	unsigned int nr = chain->nr_out + chain->nr_in;
	void *ptr;

	if (nr == VMM_VQ_MAX_IOV || len == 0 ||
		vmm_mem_ptr(vq->mem, le64_get(desc->addr), len, &ptr) < 0)
		return -EBADMSG;
	if (le16_get(desc->flags) & DESC_WRITE)
		chain->nr_in++;
	else if (chain->nr_in > 0)
		return -EBADMSG;
	else
		chain->nr_out++;
	chain->iov[nr] = (struct iovec){ ptr, len };
	return 0;
}

/* A table of size descriptors, from its index at; one that is in the ring may be indirect. */
static int walk(struct vmm_vq *vq, struct vmm_vq_chain *chain, const void *table, uint32_t size,
	uint32_t at, bool may_indirect)
{
	struct desc desc;
	void *inner;
	int err;

	/* no more steps than entries, or it is a loop */
	for (uint32_t steps = 0; steps < size; steps++) {
		uint16_t flags;

		if (at >= size)
			return -EBADMSG;
		memcpy(&desc, (const uint8_t *)table + 16 * at, sizeof(desc)); /* (Q1) */
		flags = le16_get(desc.flags);
		if (flags & DESC_INDIRECT) {
			uint32_t len = le32_get(desc.len_bytes);

			if (!may_indirect || flags & DESC_NEXT || len == 0 || len % 16 != 0 ||
				vmm_mem_ptr(vq->mem, le64_get(desc.addr), len, &inner) < 0)
				return -EBADMSG;
			return walk(vq, chain, inner, MIN(len / 16, 65536), 0, false);
		}
		err = add(vq, chain, &desc);
		if (err)
			return err;
		if (!(flags & DESC_NEXT))
			return 0;
		at = le16_get(desc.next);
	}
	return -EBADMSG;
}

int vmm_vq_pop(struct vmm_vq *vq, struct vmm_vq_chain *ret_chain)
{
	struct vmm_vq_state *state = vq->state;
	uint16_t waiting = (uint16_t)(ring_get(vq->avail, 2) - state->avail_idx);
	int err;

	if (waiting == 0)
		return 0;
	if (waiting > state->size)
		return -EBADMSG;
	ret_chain->head = ring_get(vq->avail, 4 + 2 * (size_t)(state->avail_idx % state->size));
	ret_chain->nr_out = ret_chain->nr_in = 0;
	err = walk(vq, ret_chain, vq->desc, state->size, ret_chain->head, true);
	if (err)
		return err;
	state->avail_idx++;
	return 1;
}

static bool wants_interrupt(struct vmm_vq *vq)
{
	struct vmm_vq_state *state = vq->state;
	uint16_t event, old = state->signalled;
	bool first = !state->has_signalled;

	atomic_thread_fence(memory_order_seq_cst);
	if (!vq->event_idx)
		return !(ring_get(vq->avail, 0) & AVAIL_NO_INTERRUPT);
	/* virtio 1.2, 2.7.10: the index was passed since we looked last */
	event = ring_get(vq->avail, used_event_off(vq));
	state->signalled = state->used_idx;
	state->has_signalled = 1;
	return first || (uint16_t)(state->used_idx - event - 1) < (uint16_t)(state->used_idx - old);
}

void vmm_vq_put(struct vmm_vq *vq, uint16_t nth, uint16_t head, uint32_t len_bytes)
{
	struct vmm_vq_state *state = vq->state;
	struct le32 entry[2] = { le32_of(head), le32_of(len_bytes) };

	memcpy((uint8_t *)vq->used + 4 +
			8 * (size_t)((uint16_t)(state->used_idx + nth) % state->size),
		entry, sizeof(entry));
}

bool vmm_vq_publish(struct vmm_vq *vq, uint16_t nr)
{
	vq->state->used_idx = (uint16_t)(vq->state->used_idx + nr);
	ring_set(vq->used, 2, vq->state->used_idx);
	return wants_interrupt(vq);
}

void vmm_vq_keep(struct vmm_vq_chain *to, const struct vmm_vq_chain *from)
{
	to->head = from->head;
	to->nr_out = from->nr_out;
	to->nr_in = from->nr_in;
	memcpy(to->iov, from->iov, sizeof(from->iov[0]) * ((size_t)from->nr_out + from->nr_in));
}

bool vmm_vq_push(struct vmm_vq *vq, uint16_t head, uint32_t len_bytes)
{
	vmm_vq_put(vq, 0, head, len_bytes);
	return vmm_vq_publish(vq, 1);
}

bool vmm_vq_wait(struct vmm_vq *vq)
{
	if (vq->event_idx)
		ring_set(vq->used, avail_event_off(vq), vq->state->avail_idx);
	atomic_thread_fence(memory_order_seq_cst);
	return ring_get(vq->avail, 2) != vq->state->avail_idx;
}

size_t vmm_iov_take(struct iovec **iov, uint16_t *nr, void *buf, size_t len_bytes)
{
	size_t done = 0;

	while (done < len_bytes && *nr > 0) {
		size_t n = MIN(len_bytes - done, (*iov)->iov_len);

		memcpy((uint8_t *)buf + done, (*iov)->iov_base, n);
		done += n;
		(*iov)->iov_base = (uint8_t *)(*iov)->iov_base + n;
		(*iov)->iov_len -= n;
		if ((*iov)->iov_len == 0) {
			(*iov)++;
			(*nr)--;
		}
	}
	return done;
}

size_t vmm_iov_put(const struct iovec *iov, uint16_t nr, const void *buf, size_t len_bytes)
{
	size_t done = 0;

	for (; done < len_bytes && nr > 0; iov++, nr--) {
		size_t n = MIN(len_bytes - done, iov->iov_len);

		memcpy(iov->iov_base, (const uint8_t *)buf + done, n);
		done += n;
	}
	return done;
}
