/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI: one host bridge, one bus, functions with one memory BAR and MSI-X.
 *
 * P1  A vector is an eventfd: who signals it needs no lock and knows nothing of PCI. While the
 *     vector is masked its irqfd is taken off, so a signal stays pending in the eventfd, and KVM
 *     delivers it when the irqfd is put on again. The pending bits are the eventfds' counters.
 * P2  The BAR is on the bus exactly while memory decoding is on.
 * P3  Through a window in the config space (virtio 1.2, 4.1.4.9) firmware reaches the BAR where it is not
 *     mapped: the four bytes at WINDOW_DATA of its capability are the register that the guest has chosen.
 *
 * With the machine's mutex held (V1).
 */
#ifndef VMM_PCI_H
#define VMM_PCI_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/bus.h"
#include "vmm/state.h"

struct vmm_kvm;

#define VMM_PCI_SLOTS 32

struct vmm_pci_dev_ops {
	struct vmm_bus_ops bar; /* all of the BAR but the MSI-X table and pending bits */
	/* The BAR is at base from now on; or, base 0, nowhere. */
	void (*mapped)(void *arg, uint64_t base);
};

struct vmm_pci_dev {
	struct vmm_pci_state state;
	const struct vmm_pci_dev_ops *ops;
	void *arg;
	struct vmm_pci *pci;
	uint64_t bar_bytes, base; /* base 0: not mapped (P2) */
	uint64_t home;		  /* where its BAR was put first; no other's begins there */
	uint16_t cap_next, cap_last;
	uint16_t msix_cap, nr_vectors;
	uint16_t window_cap; /* 0: it has none */
	uint32_t msix_off; /* of the table in the BAR; the pending bits are 4 KiB on */
	struct vmm_vector {
		int eventfd;
		unsigned int gsi; /* 0: it has none */
		bool on; /* the irqfd */
	} vectors[VMM_MSIX_MAX];
};

struct vmm_pci {
	struct vmm_kvm *kvm;
	struct vmm_bus *mmio;
	uint32_t config_address;
	struct vmm_pci_dev host;
	struct vmm_pci_dev *slots[VMM_PCI_SLOTS];
};

struct vmm_pci_id {
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint32_t class_code; /* 24 bits */
	uint8_t revision;
};

/* An empty bus, on the ports and at the addresses of layout.h. Errors: those of vmm_bus_map(). */
int vmm_pci_init(struct vmm_pci *pci, struct vmm_kvm *kvm, struct vmm_bus *ports,
	struct vmm_bus *mmio) __attribute__((warn_unused_result, nonnull));

/* The function's config space; nothing is on the bus yet. */
void vmm_pci_dev_init(struct vmm_pci_dev *dev, const struct vmm_pci_id *id,
	const struct vmm_pci_dev_ops *ops, void *arg) __attribute__((nonnull(1, 2, 3)));

/* Adds a capability; body follows the two bytes that every one begins with. Gives where it is. */
uint16_t vmm_pci_add_cap(struct vmm_pci_dev *dev, uint8_t id, const void *body, uint8_t len_bytes)
	__attribute__((nonnull));

/* Adds the capability of a window (P3); body as above, with room for all of it. */
void vmm_pci_add_window(struct vmm_pci_dev *dev, uint8_t id, const void *body, uint8_t len_bytes)
	__attribute__((nonnull));

/* nr vectors, their table at off_bytes in the BAR. Errors: -EMFILE, -ENOSPC. */
int vmm_pci_add_msix(struct vmm_pci *pci, struct vmm_pci_dev *dev, uint16_t nr, uint32_t off_bytes)
	__attribute__((warn_unused_result, nonnull));

/* Puts it into the first free slot, with a BAR of bar_bytes, a power of two. Errors: -ENOSPC. */
int vmm_pci_plug(struct vmm_pci *pci, struct vmm_pci_dev *dev, uint64_t bar_bytes)
	__attribute__((warn_unused_result, nonnull));

/* Takes it out, its interrupts off; its place, its BAR's and its interrupts are free again. Waits
 * for nothing but the kernel. */
void vmm_pci_unplug(struct vmm_pci *pci, struct vmm_pci_dev *dev) __attribute__((nonnull));

#endif
