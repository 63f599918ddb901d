/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/pci.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "util/log.h"
#include "vmm/kvm.h"
#include "vmm/layout.h"

/* PCI 3.0, 6.1 */
#define CFG_COMMAND 0x04
#define CFG_STATUS 0x06
#define CFG_BAR0 0x10
#define CFG_SUBSYSTEM 0x2c
#define CFG_CAPS 0x34
#define CFG_LINE 0x3c
#define CFG_FIRST_CAP 0x40

#define COMMAND_MEMORY 0x0002
#define COMMAND_WRITABLE 0x0406 /* memory, bus master, INTx off */
#define STATUS_CAPS 0x10

#define CAP_MSIX 0x11
#define MSIX_ENABLE 0x8000u
#define MSIX_MASK_ALL 0x4000u
#define MSIX_PBA_OFF 4096

/* in the capability of a window (P3) */
#define WINDOW_BAR 4u
#define WINDOW_OFF 8u
#define WINDOW_LEN 12u
#define WINDOW_DATA 16u

static uint32_t get(const struct vmm_pci_dev *dev, unsigned int off, unsigned int len)
{
	uint32_t x = 0;

	memcpy(&x, dev->state.config + off, len);
	return le32toh(x);
}

static void set(struct vmm_pci_dev *dev, unsigned int off, unsigned int len, uint32_t x)
{
	x = htole32(x);
	memcpy(dev->state.config + off, &x, len);
}

/* ---- MSI-X ---- */

/* Makes the vector's irqfd and route what table, enable and mask bits say (P1). */
static void update_vector(struct vmm_pci_dev *dev, uint16_t nth)
{
	struct vmm_vector *vector = &dev->vectors[nth];
	const struct vmm_msix_entry *entry = &dev->state.msix[nth];
	uint32_t control = get(dev, dev->msix_cap + 2u, 2);
	bool on = control & MSIX_ENABLE && !(control & MSIX_MASK_ALL) && !(entry->control & 1);
	int err = 0;

	if (on)
		err = vmm_kvm_msi_route(dev->pci->kvm, vector->gsi, entry->addr, entry->data);
	if (!err && on != vector->on) {
		err = vmm_kvm_irqfd(dev->pci->kvm, vector->gsi, vector->eventfd, on);
		if (!err)
			vector->on = on;
	}
	if (err)
		log_error("an interrupt of a device cannot be set: %s", strerror(-err));
}

static void update_vectors(struct vmm_pci_dev *dev)
{
	for (uint16_t i = 0; i < dev->nr_vectors; i++)
		update_vector(dev, i);
}

static bool is_pending(const struct vmm_vector *vector)
{
	struct pollfd pfd = { .fd = vector->eventfd, .events = POLLIN };

	return !vector->on && poll(&pfd, 1, 0) == 1;
}

static uint64_t read_msix(struct vmm_pci_dev *dev, uint64_t off, unsigned int len)
{
	uint64_t value = 0;

	if (off + len <= 16ull * dev->nr_vectors) {
		memcpy(&value, (const uint8_t *)dev->state.msix + off, len);
		return value;
	}
	if (off < MSIX_PBA_OFF)
		return 0;
	for (unsigned int i = 0; i < len * 8; i++) {
		uint64_t nth = (off - MSIX_PBA_OFF) * 8 + i;

		if (nth < dev->nr_vectors && is_pending(&dev->vectors[nth]))
			value |= 1ull << i;
	}
	return value;
}

static void write_msix(struct vmm_pci_dev *dev, uint64_t off, unsigned int len, uint64_t value)
{
	if (len < 4 || off % len != 0 || off + len > 16ull * dev->nr_vectors)
		return;
	memcpy((uint8_t *)dev->state.msix + off, &value, len);
	update_vector(dev, (uint16_t)(off / 16));
}

static bool in_msix(const struct vmm_pci_dev *dev, uint64_t off)
{
	return dev->nr_vectors > 0 && off >= dev->msix_off &&
	       off < dev->msix_off + 2ull * MSIX_PBA_OFF;
}

static uint64_t read_bar(void *arg, uint64_t off, unsigned int len)
{
	struct vmm_pci_dev *dev = arg;

	if (in_msix(dev, off))
		return read_msix(dev, off - dev->msix_off, len);
	return dev->ops->bar.read(dev->arg, off, len);
}

static void write_bar(void *arg, uint64_t off, unsigned int len, uint64_t value)
{
	struct vmm_pci_dev *dev = arg;

	if (in_msix(dev, off))
		write_msix(dev, off - dev->msix_off, len, value);
	else
		dev->ops->bar.write(dev->arg, off, len, value);
}

static const struct vmm_bus_ops bar_ops = { .read = read_bar, .write = write_bar };

/* ---- the window (P3) ---- */

/* Config space at off is the window's data: gives the register that it shows. */
static bool in_window(
	const struct vmm_pci_dev *dev, unsigned int off, unsigned int len, uint64_t *ret_reg)
{
	unsigned int cap = dev->window_cap;

	if (!cap || off != cap + WINDOW_DATA)
		return false;
	*ret_reg = get(dev, cap + WINDOW_OFF, 4);
	return get(dev, cap + WINDOW_BAR, 1) == 0 && get(dev, cap + WINDOW_LEN, 4) == len &&
	       (len == 1 || len == 2 || len == 4) && *ret_reg % len == 0 &&
	       *ret_reg + len <= dev->bar_bytes;
}

/* ---- config space ---- */

static void update_bar(struct vmm_pci_dev *dev)
{
	uint64_t base = get(dev, CFG_BAR0, 4) & ~0xfull;

	if (dev->bar_bytes == 0)
		return;
	if (!(get(dev, CFG_COMMAND, 2) & COMMAND_MEMORY))
		base = 0;
	/* no guest has a reason to put it over something else */
	if (base < VMM_PCI_WINDOW || base + dev->bar_bytes > VMM_PCI_WINDOW_END)
		base = 0;
	if (base == dev->base)
		return;
	if (dev->base) {
		dev->ops->mapped(dev->arg, 0);
		vmm_bus_unmap(dev->pci->mmio, dev->base);
		dev->base = 0;
	}
	if (base && vmm_bus_map(dev->pci->mmio, base, dev->bar_bytes, &bar_ops, dev) == 0) {
		dev->base = base;
		dev->ops->mapped(dev->arg, base);
	}
}

/* The bits of the byte at off that the guest may set. */
static uint8_t writable(const struct vmm_pci_dev *dev, unsigned int off)
{
	uint32_t bar_mask = dev->bar_bytes ? ~(uint32_t)(dev->bar_bytes - 1) : 0;

	if (off == CFG_COMMAND || off == CFG_COMMAND + 1)
		return (uint8_t)(COMMAND_WRITABLE >> (off - CFG_COMMAND) * 8);
	if (off >= CFG_BAR0 && off < CFG_BAR0 + 4)
		return (uint8_t)(bar_mask >> (off - CFG_BAR0) * 8);
	if (off == CFG_LINE)
		return 0xff;
	if (dev->msix_cap && off == dev->msix_cap + 3u)
		return (MSIX_ENABLE | MSIX_MASK_ALL) >> 8;
	if (dev->window_cap && (off == dev->window_cap + WINDOW_BAR ||
				       (off >= dev->window_cap + WINDOW_OFF &&
					       off < dev->window_cap + WINDOW_DATA)))
		return 0xff;
	return 0;
}

static void write_config(
	struct vmm_pci_dev *dev, unsigned int off, unsigned int len, uint64_t value)
{
	uint64_t reg;

	if (in_window(dev, off, len, &reg)) {
		write_bar(dev, reg, len, value);
		return;
	}
	for (unsigned int i = off; i < off + len; i++, value >>= 8) {
		uint8_t mask = writable(dev, i);

		dev->state.config[i] =
			(uint8_t)((dev->state.config[i] & ~mask) | ((uint8_t)value & mask));
	}
	update_bar(dev);
	if (dev->msix_cap && off < dev->msix_cap + 4u && off + len > dev->msix_cap)
		update_vectors(dev);
}

static uint64_t read_config(struct vmm_pci_dev *dev, unsigned int off, unsigned int len)
{
	uint64_t reg;

	return in_window(dev, off, len, &reg) ? read_bar(dev, reg, len) : get(dev, off, len);
}

static struct vmm_pci_dev *at(struct vmm_pci *pci, uint64_t devfn)
{
	return devfn % 8 == 0 && devfn / 8 < VMM_PCI_SLOTS ? pci->slots[devfn / 8] : NULL;
}

static uint64_t read_ecam(void *arg, uint64_t off, unsigned int len)
{
	struct vmm_pci_dev *dev = at(arg, off >> 12);
	uint64_t reg = off & 0xfff;

	if (!dev)
		return UINT64_MAX;
	return len <= 4 && reg + len <= 256 ? read_config(dev, (unsigned int)reg, len) : 0;
}

static void write_ecam(void *arg, uint64_t off, unsigned int len, uint64_t value)
{
	struct vmm_pci_dev *dev = at(arg, off >> 12);
	uint64_t reg = off & 0xfff;

	if (dev && len <= 4 && reg + len <= 256)
		write_config(dev, (unsigned int)reg, len, value);
}

/* The older way, by two ports: where, then what (PCI 3.0, 3.2.2.3.2). */
static bool port_target(const struct vmm_pci *pci, uint64_t port_off, uint64_t *ret_ecam)
{
	uint32_t where = pci->config_address;

	if (port_off < 4 || !(where & 0x80000000u) || where >> 16 & 0xff)
		return false;
	*ret_ecam = (uint64_t)(where >> 8 & 0xff) << 12 | (where & 0xfc) | (port_off - 4);
	return true;
}

static uint64_t read_port(void *arg, uint64_t off, unsigned int len)
{
	struct vmm_pci *pci = arg;
	uint64_t ecam;

	if (off == 0 && len == 4)
		return pci->config_address;
	return port_target(pci, off, &ecam) ? read_ecam(pci, ecam, len) : UINT64_MAX;
}

static void write_port(void *arg, uint64_t off, unsigned int len, uint64_t value)
{
	struct vmm_pci *pci = arg;
	uint64_t ecam;

	if (off == 0 && len == 4)
		pci->config_address = (uint32_t)value;
	else if (port_target(pci, off, &ecam))
		write_ecam(pci, ecam, len, value);
}

static const struct vmm_bus_ops ecam_ops = { .read = read_ecam, .write = write_ecam };
static const struct vmm_bus_ops port_ops = { .read = read_port, .write = write_port };
static const struct vmm_pci_dev_ops host_ops = { .mapped = NULL };

int vmm_pci_init(
	struct vmm_pci *pci, struct vmm_kvm *kvm, struct vmm_bus *ports, struct vmm_bus *mmio)
{
	/* any bridge will do; this one is QEMU's for paravirtual machines */
	static const struct vmm_pci_id host = { 0x1b36, 0x0008, 0, 0, 0x060000, 0 };
	int err;

	*pci = (struct vmm_pci){ .kvm = kvm, .mmio = mmio };
	vmm_pci_dev_init(&pci->host, &host, &host_ops, pci);
	pci->slots[0] = &pci->host;
	pci->host.pci = pci;
	err = vmm_bus_map(mmio, VMM_ECAM, VMM_ECAM_BYTES, &ecam_ops, pci);
	return err ? err : vmm_bus_map(ports, VMM_PORT_PCI_CONFIG, 8, &port_ops, pci);
}

void vmm_pci_dev_init(struct vmm_pci_dev *dev, const struct vmm_pci_id *id,
	const struct vmm_pci_dev_ops *ops, void *arg)
{
	*dev = (struct vmm_pci_dev){
		.state.head = { VMM_PCI_VERSION, sizeof(struct vmm_pci_state) },
		.ops = ops,
		.arg = arg,
		.cap_next = CFG_FIRST_CAP,
	};
	set(dev, 0, 4, id->vendor | (uint32_t)id->device << 16);
	set(dev, 8, 4, id->revision | id->class_code << 8);
	set(dev, CFG_SUBSYSTEM, 4, id->subsystem_vendor | (uint32_t)id->subsystem << 16);
}

uint16_t vmm_pci_add_cap(struct vmm_pci_dev *dev, uint8_t id, const void *body, uint8_t len_bytes)
{
	uint16_t off = dev->cap_next;

	assert(off + 2u + len_bytes <= sizeof(dev->state.config));
	set(dev, off, 1, id);
	memcpy(dev->state.config + off + 2, body, len_bytes);
	set(dev, dev->cap_last ? dev->cap_last + 1u : CFG_CAPS, 1, off);
	set(dev, CFG_STATUS, 1, STATUS_CAPS);
	dev->cap_last = off;
	dev->cap_next = (uint16_t)((off + 2 + len_bytes + 3) & ~3);
	return off;
}

void vmm_pci_add_window(struct vmm_pci_dev *dev, uint8_t id, const void *body, uint8_t len_bytes)
{
	dev->window_cap = vmm_pci_add_cap(dev, id, body, len_bytes);
}

int vmm_pci_add_msix(struct vmm_pci *pci, struct vmm_pci_dev *dev, uint16_t nr, uint32_t off_bytes)
{
	struct {
		uint16_t control;
		uint32_t table, pba;
	} __attribute__((packed)) body = { htole16((uint16_t)(nr - 1)), htole32(off_bytes),
		htole32(off_bytes + MSIX_PBA_OFF) };
	int err;

	assert(nr >= 1 && nr <= VMM_MSIX_MAX && off_bytes % 4096 == 0);
	for (uint16_t i = 0; i < nr; i++) {
		struct vmm_vector *vector = &dev->vectors[i];

		vector->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (vector->eventfd < 0)
			return -errno;
		dev->nr_vectors++;
		dev->state.msix[i].control = 1;
		err = vmm_kvm_msi_new(pci->kvm, &vector->gsi);
		if (err)
			return err;
	}
	dev->msix_off = off_bytes;
	dev->msix_cap = vmm_pci_add_cap(dev, CAP_MSIX, &body, sizeof(body));
	return 0;
}

/* The lowest place that no other function's BAR was given. */
static uint64_t find_home(const struct vmm_pci *pci, uint64_t bar_bytes)
{
	for (uint64_t base = VMM_PCI_WINDOW; base + bar_bytes <= VMM_PCI_WINDOW_END;
		base += bar_bytes) {
		bool taken = false;

		for (unsigned int i = 1; i < VMM_PCI_SLOTS; i++) {
			const struct vmm_pci_dev *dev = pci->slots[i];

			taken |= dev && base < dev->home + dev->bar_bytes &&
				 dev->home < base + bar_bytes;
		}
		if (!taken)
			return base;
	}
	return 0;
}

int vmm_pci_plug(struct vmm_pci *pci, struct vmm_pci_dev *dev, uint64_t bar_bytes)
{
	uint64_t home = find_home(pci, bar_bytes);

	for (unsigned int i = 1; home && i < VMM_PCI_SLOTS; i++) {
		if (pci->slots[i])
			continue;
		pci->slots[i] = dev;
		dev->pci = pci;
		dev->bar_bytes = bar_bytes;
		dev->home = home;
		set(dev, CFG_BAR0, 4, (uint32_t)home);
		return 0;
	}
	return -ENOSPC;
}

void vmm_pci_unplug(struct vmm_pci *pci, struct vmm_pci_dev *dev)
{
	set(dev, CFG_COMMAND, 2, 0);
	if (dev->pci)
		update_bar(dev);
	for (uint16_t i = 0; i < dev->nr_vectors; i++) {
		struct vmm_vector *vector = &dev->vectors[i];

		if (vector->on && vmm_kvm_irqfd(pci->kvm, vector->gsi, vector->eventfd, false) < 0)
			log_debug("an interrupt was gone already");
		close(vector->eventfd);
		if (vector->gsi)
			vmm_kvm_msi_free(pci->kvm, vector->gsi);
	}
	dev->nr_vectors = 0;
	for (unsigned int i = 1; i < VMM_PCI_SLOTS; i++) {
		if (pci->slots[i] == dev)
			pci->slots[i] = NULL;
	}
}
