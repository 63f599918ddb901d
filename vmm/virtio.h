/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a virtio device and its transport know of each other (virtio 1.2). The transport,
 * virtio_pci.c, owns status, features, queues' registers, doorbells and interrupts; a device is one
 * file, with its struct vmm_virtio_ops, and owns its queues from start() until it has stopped.
 *
 * A reset waits for I/O under way, and that may take as long as storage takes. So it is the driver
 * that waits, as virtio 1.2, 4.1.4.3.1 tells it to, by reading the status until it is 0: nobody
 * holds the mutex meanwhile (V1).
 */
#ifndef VMM_VIRTIO_H
#define VMM_VIRTIO_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/pci.h"
#include "vmm/state.h"
#include "vmm/virtqueue.h"

struct vmm_mem;

#define VMM_VIRTIO_F_VERSION_1 (1ull << 32)
#define VMM_VIRTIO_DRIVER_OK 0x04 /* in the status */

enum { VMM_VIRTIO_ID_NET = 1, VMM_VIRTIO_ID_BLK = 2, VMM_VIRTIO_ID_RNG = 4, VMM_VIRTIO_ID_BALLOON = 5, VMM_VIRTIO_ID_SCSI = 8 };

/* Called with the machine's mutex held (V1). */
struct vmm_virtio_ops {
	uint16_t id;
	uint32_t class_code;
	/*
	 * The driver is ready: the device takes chains from vq, first those that are there, then as
	 * kick_fd (an eventfd) is signalled. Both stay the transport's. 0, or negative: the device
	 * is broken.
	 */
	int (*start)(void *arg, unsigned int nth, struct vmm_vq *vq, int kick_fd);
	/* Takes nothing more from the queue; does not wait. Only for what was started. */
	void (*stop)(void *arg, unsigned int nth);
	/* Nothing of the queue is under way any more; with wait, waits for that. After stop(). */
	bool (*stopped)(void *arg, unsigned int nth, bool wait);
	/* The driver has reset the device, and all has stopped. NULL: nothing is to be done. */
	void (*reset)(void *arg);
	/* The driver writes into the config space. NULL: it may not. */
	void (*write_config)(void *arg, uint32_t off, unsigned int len_bytes, uint64_t value);
};

struct vmm_virtio {
	struct vmm_pci_dev pci;
	struct vmm_virtio_state state;
	const struct vmm_virtio_ops *ops;
	void *arg;
	const struct vmm_mem *mem;
	const char *name; /* for messages */
	uint64_t offered; /* features */
	const void *config;
	uint32_t config_bytes;
	uint16_t nr_queues;
	uint64_t doorbells; /* guest address of the first, 0 = not mapped */
	atomic_bool broken;
	bool resetting; /* the driver has asked, and I/O is still under way */
	struct vmm_virtio_queue {
		struct vmm_vq vq;
		int kick_fd;
		bool started;
	} queues[VMM_VIRTIO_QUEUES];
};

/*
 * Puts a device with nr_queues queues on the bus. The caller has filled in ops, arg, mem, name,
 * offered (beside what the rings can: EVENT_IDX, INDIRECT, VERSION_1), config, nr_queues.
 * Errors: -ENOSPC, -EMFILE.
 */
int vmm_virtio_plug(struct vmm_virtio *dev, struct vmm_pci *pci)
	__attribute__((warn_unused_result, nonnull));

/* Stops it and takes it out. */
void vmm_virtio_unplug(struct vmm_virtio *dev) __attribute__((nonnull));

/* The config space has changed: tells the driver. With the machine's mutex held (V1). */
void vmm_virtio_config_changed(struct vmm_virtio *dev) __attribute__((nonnull));

/* The driver has agreed to these features, and is at work. With the machine's mutex held (V1). */
bool vmm_virtio_works(const struct vmm_virtio *dev, uint64_t features) __attribute__((nonnull));

/* An interrupt for queue nth; any thread, from start() to the end of stop(). */
void vmm_virtio_interrupt(struct vmm_virtio *dev, unsigned int nth) __attribute__((nonnull));

/* The driver broke a rule: says so in the log, once, and wants a reset; any thread. The device
 * takes nothing more from its queues. */
void vmm_virtio_broken(struct vmm_virtio *dev, const char *why) __attribute__((nonnull));

#endif
