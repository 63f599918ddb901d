/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For tests of virtio devices: a board without KVM, and what a guest's driver does. Whoever includes it
 * may define SIZE before; puts the device on pci after board_new(), and sets dev to it.
 */
#ifndef TESTS_UNIT_VIRTIO_DRIVER_H
#define TESTS_UNIT_VIRTIO_DRIVER_H

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "tests/unit/test.h"
#include "vmm/kvm.h"
#include "vmm/mem.h"
#include "vmm/virtio.h"

#ifndef SIZE
#define SIZE 64 /* entries of each queue */
#endif
#define RINGS 0x10000 /* RING_BYTES a queue: descriptors, available at 4 KiB, used at 8 KiB */
#define RING_BYTES 0x4000

enum { NEXT = 1, WRITE = 2 }; /* of a descriptor */

static struct vmm_bus ports, mmio;
static struct vmm_pci pci;
static struct vmm_mem *mem;
static struct vmm_virtio *dev;

/* In place of kvm.c: the BAR is never mapped and no vector is on, so only numbers are handed out. */
int vmm_kvm_msi_new(struct vmm_kvm *kvm, unsigned int *ret_gsi)
{
	*ret_gsi = 24;
	return 0;
}

void vmm_kvm_msi_free(struct vmm_kvm *kvm, unsigned int gsi)
{
}

int vmm_kvm_msi_route(struct vmm_kvm *kvm, unsigned int gsi, uint64_t addr, uint32_t data)
{
	return -ENODEV;
}

int vmm_kvm_irqfd(struct vmm_kvm *kvm, unsigned int gsi, int eventfd, bool on)
{
	return -ENODEV;
}

int vmm_kvm_ioeventfd(struct vmm_kvm *kvm, uint64_t addr, int eventfd, bool on)
{
	return -ENODEV;
}

static inline void board_new(uint64_t ram_bytes)
{
	CHECK_OK(vmm_mem_new(ram_bytes, &mem));
	CHECK_OK(vmm_pci_init(&pci, (struct vmm_kvm *)(void *)&pci, &ports, &mmio));
}

/* ---- registers (virtio 1.2, 4.1.4.3) ---- */

static inline void reg(uint64_t off, unsigned int len, uint64_t value)
{
	dev->pci.ops->bar.write(dev, off, len, value);
}

static inline uint64_t get(uint64_t off, unsigned int len)
{
	return dev->pci.ops->bar.read(dev, off, len);
}

static inline bool broken(void)
{
	return get(0x14, 1) & 0x40;
}

/* ---- queues ---- */

/* Whoever uses more than 4 KiB there knows that it is memory. */
static inline uint8_t *ram(uint64_t addr)
{
	void *p;

	CHECK_OK(vmm_mem_ptr(mem, addr, 1, &p));
	return p;
}

static inline uint64_t ring(unsigned int queue)
{
	return RINGS + RING_BYTES * (uint64_t)queue;
}

static inline void desc(
	unsigned int queue, unsigned int nth, uint64_t addr, uint32_t len, uint16_t flags)
{
	uint16_t next = (uint16_t)(nth + 1);
	uint8_t *p = ram(ring(queue)) + 16 * nth;

	memcpy(p, &addr, 8);
	memcpy(p + 8, &len, 4);
	memcpy(p + 12, &flags, 2);
	memcpy(p + 14, &next, 2);
}

static inline void kick(unsigned int queue)
{
	reg(0x3000 + 4 * queue, 2, queue);
}

/* Makes a chain available; the doorbell is the caller's. */
static inline void offer(unsigned int queue, uint16_t head)
{
	uint16_t *avail = (uint16_t *)(void *)ram(ring(queue) + 0x1000), idx = avail[1];

	avail[2 + idx % SIZE] = head;
	__atomic_store_n(&avail[1], (uint16_t)(idx + 1), __ATOMIC_RELEASE);
}

/* The used index. */
static inline uint16_t used(unsigned int queue)
{
	return __atomic_load_n((uint16_t *)(void *)(ram(ring(queue) + 0x2000) + 2), __ATOMIC_ACQUIRE);
}

/* What a driver does after a reset up to DRIVER_OK, with empty rings. */
static inline void driver_start(unsigned int nr_queues, uint32_t features)
{
	memset(ram(RINGS), 0, RING_BYTES * (size_t)nr_queues);
	reg(0x14, 1, 3);
	reg(0x08, 4, 0);
	reg(0x0c, 4, features);
	reg(0x08, 4, 1);
	reg(0x0c, 4, 1); /* VERSION_1 */
	reg(0x14, 1, 0xb);
	CHECK_EQ(get(0x14, 1), 0xb);
	for (unsigned int i = 0; i < nr_queues; i++) {
		reg(0x16, 2, i);
		reg(0x18, 2, SIZE);
		reg(0x20, 8, ring(i));
		reg(0x28, 8, ring(i) + 0x1000);
		reg(0x30, 8, ring(i) + 0x2000);
		reg(0x1c, 2, 1);
	}
	reg(0x14, 1, 0xf);
	CHECK_EQ(get(0x14, 1), 0xf);
}

#endif
