/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Virtio over PCI, without the transitional parts (virtio 1.2, 4.1). */
#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "util/log.h"
#include "vmm/kvm.h"
#include "vmm/virtio.h"

#define F_INDIRECT (1ull << 28)
#define F_EVENT_IDX (1ull << 29)
#define F_RINGS (F_INDIRECT | F_EVENT_IDX | VMM_VIRTIO_F_VERSION_1)

#define STATUS_FEATURES_OK 0x08
#define STATUS_NEEDS_RESET 0x40

/* The BAR, a page or more for each part. */
#define BAR_COMMON 0x0000
#define BAR_ISR 0x1000
#define BAR_DEVICE 0x2000
#define BAR_DOORBELLS 0x3000
#define BAR_MSIX 0x4000
#define BAR_BYTES 0x8000
#define DOORBELL_BYTES 4

enum { CAP_COMMON = 1, CAP_NOTIFY, CAP_ISR, CAP_DEVICE, CAP_WINDOW };

/* virtio 1.2, 4.1.4.3 */
enum {
	DEVICE_FEATURE_SELECT = 0x00,
	DEVICE_FEATURE = 0x04,
	DRIVER_FEATURE_SELECT = 0x08,
	DRIVER_FEATURE = 0x0c,
	CONFIG_VECTOR = 0x10,
	NUM_QUEUES = 0x12,
	DEVICE_STATUS = 0x14,
	CONFIG_GENERATION = 0x15,
	QUEUE_SELECT = 0x16,
	QUEUE_SIZE = 0x18,
	QUEUE_VECTOR = 0x1a,
	QUEUE_ENABLE = 0x1c,
	QUEUE_NOTIFY_OFF = 0x1e,
	QUEUE_DESC = 0x20,
	QUEUE_DRIVER = 0x28,
	QUEUE_DEVICE = 0x30,
};

static void signal_vector(struct vmm_virtio *dev, uint16_t nth)
{
	if (nth < dev->pci.nr_vectors)
		(void)eventfd_write(dev->pci.vectors[nth].eventfd, 1);
}

void vmm_virtio_interrupt(struct vmm_virtio *dev, unsigned int nth)
{
	signal_vector(dev, dev->state.queues[nth].vector);
}

void vmm_virtio_broken(struct vmm_virtio *dev, const char *why)
{
	if (atomic_exchange(&dev->broken, true))
		return;
	log_warn("%s: stopped until the guest resets it: %s", dev->name, why);
	signal_vector(dev, dev->state.config_vector);
}

void vmm_virtio_config_changed(struct vmm_virtio *dev)
{
	dev->state.generation++;
	signal_vector(dev, dev->state.config_vector);
}

bool vmm_virtio_works(const struct vmm_virtio *dev, uint64_t features)
{
	return dev->state.status & VMM_VIRTIO_DRIVER_OK && !dev->resetting &&
	       (dev->state.features & features) == features;
}

static void stop(struct vmm_virtio *dev)
{
	for (unsigned int i = 0; i < dev->nr_queues; i++) {
		if (dev->queues[i].started)
			dev->ops->stop(dev->arg, i);
	}
}

static bool has_stopped(struct vmm_virtio *dev, bool wait)
{
	for (unsigned int i = 0; i < dev->nr_queues; i++) {
		if (dev->queues[i].started && !dev->ops->stopped(dev->arg, i, wait))
			return false;
		dev->queues[i].started = false;
	}
	return true;
}

static void set_initial(struct vmm_virtio *dev)
{
	memset(&dev->state, 0, sizeof(dev->state));
	dev->state.head =
		(struct vmm_state_head){ VMM_VIRTIO_VERSION, sizeof(struct vmm_virtio_state) };
	dev->state.config_vector = VMM_NO_VECTOR;
	for (unsigned int i = 0; i < dev->nr_queues; i++) {
		dev->state.queues[i].size = VMM_VQ_SIZE_MAX;
		dev->state.queues[i].vector = VMM_NO_VECTOR;
	}
	atomic_store(&dev->broken, false);
	dev->resetting = false;
}

/* Until it is through, the driver sees the old status, and may only look. */
static void go_on_resetting(struct vmm_virtio *dev)
{
	if (!dev->resetting || !has_stopped(dev, false))
		return;
	set_initial(dev);
	if (dev->ops->reset)
		dev->ops->reset(dev->arg);
}

static void reset(struct vmm_virtio *dev)
{
	if (!dev->resetting)
		stop(dev);
	dev->resetting = true;
	go_on_resetting(dev);
}

static void start(struct vmm_virtio *dev)
{
	for (unsigned int i = 0; i < dev->nr_queues; i++) {
		struct vmm_virtio_queue *queue = &dev->queues[i];
		int err;

		if (!dev->state.queues[i].enabled)
			continue;
		err = vmm_vq_start(&queue->vq, &dev->state.queues[i], dev->mem,
			dev->state.features & F_EVENT_IDX);
		if (!err)
			err = dev->ops->start(dev->arg, i, &queue->vq, queue->kick_fd);
		if (err) {
			vmm_virtio_broken(dev, "a queue cannot be where the driver says");
			return;
		}
		queue->started = true;
	}
}

static void write_status(struct vmm_virtio *dev, uint8_t status)
{
	uint8_t before = dev->state.status;

	if (status == 0) {
		reset(dev);
		return;
	}
	/* what we did not offer cannot be agreed on */
	if (status & STATUS_FEATURES_OK && (dev->state.features & ~dev->offered ||
						   !(dev->state.features & VMM_VIRTIO_F_VERSION_1)))
		status &= (uint8_t)~STATUS_FEATURES_OK;
	dev->state.status = status;
	if (status & VMM_VIRTIO_DRIVER_OK && !(before & VMM_VIRTIO_DRIVER_OK))
		start(dev);
}

static uint64_t read_common(struct vmm_virtio *dev, uint64_t off)
{
	const struct vmm_virtio_state *state = &dev->state;
	const struct vmm_vq_state *queue =
		state->queue_select < dev->nr_queues ? &state->queues[state->queue_select] : NULL;

	switch (off) {
	case DEVICE_FEATURE_SELECT:
		return state->device_select;
	case DEVICE_FEATURE:
		return state->device_select < 2
			       ? (uint32_t)(dev->offered >> state->device_select * 32)
			       : 0;
	case DRIVER_FEATURE_SELECT:
		return state->driver_select;
	case DRIVER_FEATURE:
		return state->driver_select < 2
			       ? (uint32_t)(state->features >> state->driver_select * 32)
			       : 0;
	case CONFIG_VECTOR:
		return state->config_vector;
	case NUM_QUEUES:
		return dev->nr_queues;
	case DEVICE_STATUS:
		return state->status | (atomic_load(&dev->broken) ? STATUS_NEEDS_RESET : 0);
	case CONFIG_GENERATION:
		return state->generation;
	case QUEUE_SELECT:
		return state->queue_select;
	}
	if (!queue)
		return 0;
	switch (off) {
	case QUEUE_SIZE:
		return queue->size;
	case QUEUE_VECTOR:
		return queue->vector;
	case QUEUE_ENABLE:
		return queue->enabled;
	case QUEUE_NOTIFY_OFF:
		return state->queue_select;
	case QUEUE_DESC:
		return queue->desc;
	case QUEUE_DRIVER:
		return queue->driver;
	case QUEUE_DEVICE:
		return queue->device;
	}
	return 0;
}

/* Half or all of a 64-bit register. */
static void write_addr(uint64_t *reg, uint64_t off, unsigned int len, uint64_t value)
{
	if (len == 8)
		*reg = value;
	else if (off % 8 == 0)
		*reg = (*reg & ~0xffffffffull) | (uint32_t)value;
	else
		*reg = (*reg & 0xffffffffull) | value << 32;
}

static uint16_t vector_of(const struct vmm_virtio *dev, uint64_t value)
{
	return value < dev->pci.nr_vectors ? (uint16_t)value : VMM_NO_VECTOR;
}

static void write_queue(struct vmm_virtio *dev, uint64_t off, unsigned int len, uint64_t value)
{
	struct vmm_vq_state *queue;

	/* what runs does not change under the device (Q2) */
	if (dev->state.queue_select >= dev->nr_queues || dev->state.status & VMM_VIRTIO_DRIVER_OK)
		return;
	queue = &dev->state.queues[dev->state.queue_select];
	switch (off) {
	case QUEUE_SIZE:
		queue->size = (uint16_t)value;
		break;
	case QUEUE_VECTOR:
		queue->vector = vector_of(dev, value);
		break;
	case QUEUE_ENABLE:
		queue->enabled = value == 1;
		break;
	case QUEUE_DESC:
	case QUEUE_DESC + 4:
		write_addr(&queue->desc, off, len, value);
		break;
	case QUEUE_DRIVER:
	case QUEUE_DRIVER + 4:
		write_addr(&queue->driver, off, len, value);
		break;
	case QUEUE_DEVICE:
	case QUEUE_DEVICE + 4:
		write_addr(&queue->device, off, len, value);
		break;
	}
}

static void write_features(struct vmm_virtio *dev, uint32_t value)
{
	unsigned int shift = dev->state.driver_select * 32;

	if (dev->state.driver_select < 2 && !(dev->state.status & STATUS_FEATURES_OK))
		dev->state.features = (dev->state.features & ~(0xffffffffull << shift)) |
				      (uint64_t)value << shift;
}

static void write_common(struct vmm_virtio *dev, uint64_t off, unsigned int len, uint64_t value)
{
	switch (off) {
	case DEVICE_FEATURE_SELECT:
		dev->state.device_select = (uint32_t)value;
		break;
	case DRIVER_FEATURE_SELECT:
		dev->state.driver_select = (uint32_t)value;
		break;
	case DRIVER_FEATURE:
		write_features(dev, (uint32_t)value);
		break;
	case CONFIG_VECTOR:
		dev->state.config_vector = vector_of(dev, value);
		break;
	case DEVICE_STATUS:
		write_status(dev, (uint8_t)value);
		break;
	case QUEUE_SELECT:
		dev->state.queue_select = (uint16_t)value;
		break;
	default:
		write_queue(dev, off, len, value);
	}
}

static uint64_t read_bar(void *arg, uint64_t off, unsigned int len)
{
	struct vmm_virtio *dev = arg;
	uint64_t value = 0;

	go_on_resetting(dev);
	if (off == QUEUE_DESC + 4 || off == QUEUE_DRIVER + 4 || off == QUEUE_DEVICE + 4)
		return read_common(dev, off - 4) >> 32;
	if (off < BAR_ISR)
		return read_common(dev, off);
	if (off >= BAR_DEVICE && off - BAR_DEVICE + len <= dev->config_bytes)
		memcpy(&value, (const uint8_t *)dev->config + off - BAR_DEVICE, len);
	return value;
}

static void write_bar(void *arg, uint64_t off, unsigned int len, uint64_t value)
{
	struct vmm_virtio *dev = arg;
	uint64_t nth = (off - BAR_DOORBELLS) / DOORBELL_BYTES;

	go_on_resetting(dev);
	if (off < BAR_ISR) {
		if (!dev->resetting)
			write_common(dev, off, len, value);
	} else if (off >= BAR_DOORBELLS && nth < dev->nr_queues) {
		(void)eventfd_write(dev->queues[nth].kick_fd, 1);
	} else if (off >= BAR_DEVICE && off - BAR_DEVICE + len <= dev->config_bytes) {
		if (dev->ops->write_config && !dev->resetting)
			dev->ops->write_config(
				dev->arg, (uint32_t)(off - BAR_DEVICE), len, value);
	}
}

static void set_doorbells(struct vmm_virtio *dev, bool on)
{
	for (unsigned int i = 0; i < dev->nr_queues; i++) {
		int err = vmm_kvm_ioeventfd(dev->pci.pci->kvm, dev->doorbells + i * DOORBELL_BYTES,
			dev->queues[i].kick_fd, on);

		/* then it is an exit, and write_bar() passes it on */
		if (err)
			log_warn("%s: no fast doorbell: %s", dev->name, strerror(-err));
	}
}

static void mapped(void *arg, uint64_t base)
{
	struct vmm_virtio *dev = arg;

	if (dev->doorbells)
		set_doorbells(dev, false);
	dev->doorbells = base ? base + BAR_DOORBELLS : 0;
	if (dev->doorbells)
		set_doorbells(dev, true);
}

static const struct vmm_pci_dev_ops pci_ops = {
	.bar = { .read = read_bar, .write = write_bar },
	.mapped = mapped,
};

/* virtio 1.2, 4.1.4 */
static void add_cap(struct vmm_virtio *dev, uint8_t type, uint32_t off, uint32_t len)
{
	struct {
		uint8_t cap_len, cfg_type, bar, id, pad[2];
		uint32_t off, len, more;
	} __attribute__((packed)) body = { .cfg_type = type,
		.off = htole32(off),
		.len = htole32(len),
		.more = htole32(type == CAP_NOTIFY ? DOORBELL_BYTES : 0) };

	body.cap_len = type == CAP_NOTIFY || type == CAP_WINDOW ? 20 : 16;
	if (type == CAP_WINDOW)
		vmm_pci_add_window(&dev->pci, 0x09, &body, (uint8_t)(body.cap_len - 2));
	else
		vmm_pci_add_cap(&dev->pci, 0x09, &body, (uint8_t)(body.cap_len - 2));
}

int vmm_virtio_plug(struct vmm_virtio *dev, struct vmm_pci *pci)
{
	struct vmm_pci_id id = { 0x1af4, (uint16_t)(0x1040 + dev->ops->id), 0x1af4,
		(uint16_t)(0x1040 + dev->ops->id), dev->ops->class_code, 1 };
	int err;

	dev->offered |= F_RINGS;
	set_initial(dev);
	vmm_pci_dev_init(&dev->pci, &id, &pci_ops, dev);
	for (unsigned int i = 0; i < dev->nr_queues; i++)
		dev->queues[i].kick_fd = -1;
	for (unsigned int i = 0; i < dev->nr_queues; i++) {
		dev->queues[i].kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (dev->queues[i].kick_fd < 0) {
			err = -errno;
			goto out;
		}
	}
	add_cap(dev, CAP_COMMON, BAR_COMMON, 0x38);
	add_cap(dev, CAP_NOTIFY, BAR_DOORBELLS, dev->nr_queues * DOORBELL_BYTES);
	add_cap(dev, CAP_ISR, BAR_ISR, 1);
	if (dev->config_bytes)
		add_cap(dev, CAP_DEVICE, BAR_DEVICE, dev->config_bytes);
	add_cap(dev, CAP_WINDOW, 0, 0);
	err = vmm_pci_add_msix(pci, &dev->pci, (uint16_t)(dev->nr_queues + 1), BAR_MSIX);
	if (!err)
		err = vmm_pci_plug(pci, &dev->pci, BAR_BYTES);
out:
	if (err) {
		dev->pci.pci = pci;
		vmm_virtio_unplug(dev);
	}
	return err;
}

void vmm_virtio_unplug(struct vmm_virtio *dev)
{
	if (!dev->resetting)
		stop(dev);
	(void)has_stopped(dev, true);
	vmm_pci_unplug(dev->pci.pci, &dev->pci);
	for (unsigned int i = 0; i < dev->nr_queues; i++) {
		if (dev->queues[i].kick_fd >= 0)
			close(dev->queues[i].kick_fd);
	}
}
