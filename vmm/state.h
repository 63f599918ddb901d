/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What of a machine outlives its process: one struct for each device, with a version. A device
 * keeps no other state that the guest can notice; pointers, descriptors and locks stay outside of
 * it. A snapshot or a migration carries the structs as they are, so a change of one raises its
 * version.
 */
#ifndef VMM_STATE_H
#define VMM_STATE_H

#include <assert.h>
#include <stdint.h>

struct vmm_state_head {
	uint32_t version;
	uint32_t len_bytes; /* of the whole struct */
};

#define VMM_SERIAL_VERSION 1
#define VMM_SERIAL_FIFO 16

struct vmm_serial_state {
	struct vmm_state_head head;
	uint8_t ier, fcr, lcr, mcr, scr, dll, dlm;
	uint8_t thre_pending; /* the transmit interrupt is raised and was not yet read from IIR */
	uint8_t overrun;      /* LSR bit 1, until LSR is read */
	uint8_t rx_count;
	uint8_t pad[6];
	uint8_t rx[VMM_SERIAL_FIFO]; /* the oldest first */
};
static_assert(sizeof(struct vmm_serial_state) == 40, "no padding");

#define VMM_PM_VERSION 1

struct vmm_pm_state {
	struct vmm_state_head head;
	uint16_t pm1_status, pm1_enable, pm1_control;
	uint16_t pad;
};
static_assert(sizeof(struct vmm_pm_state) == 16, "no padding");

#define VMM_RTC_VERSION 1

struct vmm_rtc_state {
	struct vmm_state_head head;
	int64_t offset_s; /* the guest's clock minus the host's */
	int64_t seen_s;	  /* the guest's time until which C is complete */
	uint8_t index;	  /* of the register that the data port is */
	uint8_t pad[7];
	uint8_t regs[128]; /* the clock's, and memory */
};
static_assert(sizeof(struct vmm_rtc_state) == 160, "no padding");

#define VMM_PCI_VERSION 1
#define VMM_MSIX_MAX 66

/* One PCI function with MSI-X. */
struct vmm_pci_state {
	struct vmm_state_head head;
	uint8_t config[256];
	struct vmm_msix_entry {
		uint64_t addr;
		uint32_t data;
		uint32_t control; /* bit 0: masked */
	} msix[VMM_MSIX_MAX];
};
static_assert(sizeof(struct vmm_pci_state) == 8 + 256 + 16 * VMM_MSIX_MAX, "no padding");

#define VMM_VIRTIO_VERSION 1
#define VMM_VIRTIO_QUEUES 64
#define VMM_NO_VECTOR 0xffffu

struct vmm_vq_state {
	uint64_t desc, driver, device; /* guest addresses */
	uint16_t size, vector;
	uint16_t enabled;
	uint16_t avail_idx; /* the next entry of the available ring that we take */
	uint16_t used_idx;  /* of the used ring that we fill */
	uint16_t signalled; /* used_idx when the guest was last told */
	uint16_t has_signalled;
	uint16_t pad;
};
static_assert(sizeof(struct vmm_vq_state) == 40, "no padding");

/* What every virtio device has, behind its PCI function. */
struct vmm_virtio_state {
	struct vmm_state_head head;
	uint64_t features; /* as the driver chose */
	uint32_t device_select, driver_select;
	uint16_t config_vector, queue_select;
	uint8_t status, generation, isr;
	uint8_t pad;
	struct vmm_vq_state queues[VMM_VIRTIO_QUEUES];
};
static_assert(sizeof(struct vmm_virtio_state) == 32 + 40 * VMM_VIRTIO_QUEUES, "no padding");

#define VMM_NET_VERSION 1

/* virtio-net, beside its struct vmm_virtio_state. */
struct vmm_net_state {
	struct vmm_state_head head;
	uint8_t mac[6];
	uint16_t mtu;
	uint16_t max_pairs; /* of queues */
	uint16_t pairs;	    /* that the driver uses */
	uint16_t pad[2];
};
static_assert(sizeof(struct vmm_net_state) == 24, "no padding");

#define VMM_SCSI_VERSION 1
#define VMM_SCSI_TARGETS 256

/* virtio-scsi, beside its struct vmm_virtio_state. Each target has one logical unit, 0. */
struct vmm_scsi_state {
	struct vmm_state_head head;
	uint32_t sense_bytes, cdb_bytes; /* as the driver chose */
	struct vmm_scsi_unit_state {
		uint64_t nr_blocks;  /* as the driver is told */
		uint32_t attentions; /* that wait: bits by enum vmm_scsi_attention */
		uint8_t present;
		uint8_t events; /* that the driver is to hear: bits of virtio_scsi_events.c */
		uint8_t pad[2];
	} units[VMM_SCSI_TARGETS];
};
static_assert(sizeof(struct vmm_scsi_state) == 16 + 16 * VMM_SCSI_TARGETS, "no padding");

#define VMM_BALLOON_VERSION 1

/* virtio-balloon, beside its struct vmm_virtio_state. */
struct vmm_balloon_state {
	struct vmm_state_head head;
	uint32_t nr_pages; /* that the guest is to give up */
	uint32_t actual;   /* that it says it has */
};
static_assert(sizeof(struct vmm_balloon_state) == 16, "no padding");

#endif
