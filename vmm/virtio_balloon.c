/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/virtio_balloon.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "util/checked.h"
#include "util/le.h"
#include "util/list.h"
#include "vmm/mem.h"
#include "vmm/virtio.h"
#include "vmm/worker.h"

#define F_DEFLATE_ON_OOM (1u << 2)
#define F_REPORTING (1u << 5)

#define PAGE 4096u /* of the protocol, whatever the host's are */

/* Without the features of the queues for statistics and hints, reporting is the third. */
enum { INFLATE, DEFLATE, REPORTING, NR_QUEUES };

struct config {
	struct le32 nr_pages, actual;
} __attribute__((packed));
static_assert(sizeof(struct config) == 8, "virtio 1.2, 5.5.4");

struct vmm_virtio_balloon {
	struct vmm_virtio virtio;
	struct vmm_balloon_state state;
	struct config config; /* what the guest sees of it */
	struct vmm_worker workers[NR_QUEUES];
};

/* The page numbers in the chain; those that lie next to each other are given up together. */
static int inflate(struct vmm_virtio_balloon *balloon, struct vmm_vq_chain *chain)
{
	struct iovec *iov = chain->iov;
	uint64_t first = 0, nr = 0;
	struct le32 page;
	size_t got;

	for (;;) {
		got = vmm_iov_take(&iov, &chain->nr_out, &page, sizeof(page));
		if (got == sizeof(page) && nr > 0 && le32_get(page) == first + nr) {
			nr++;
			continue;
		}
		if (nr > 0 && vmm_mem_give_up(balloon->virtio.mem, first * PAGE, nr * PAGE) < 0)
			return -EBADMSG;
		if (got != sizeof(page))
			return got ? -EBADMSG : 0;
		first = le32_get(page);
		nr = 1;
	}
}

static int take_inflate(struct vmm_virtio_balloon *balloon, struct vmm_vq_chain *chain)
{
	return chain->nr_in > 0 ? -EBADMSG : inflate(balloon, chain);
}

/* The guest takes them back by touching them: there is nothing to do. */
static int take_deflate(struct vmm_virtio_balloon *balloon, struct vmm_vq_chain *chain)
{
	return chain->nr_in > 0 ? -EBADMSG : 0;
}

/* Its buffers are the pages themselves. */
static int take_report(struct vmm_virtio_balloon *balloon, struct vmm_vq_chain *chain)
{
	if (chain->nr_out > 0)
		return -EBADMSG;
	for (uint16_t i = 0; i < chain->nr_in; i++)
		vmm_mem_give_up_iov(balloon->virtio.mem, &chain->iov[i]);
	return 0;
}

static int take_one(struct vmm_worker *worker)
{
	static int (*const takes[])(struct vmm_virtio_balloon *, struct vmm_vq_chain *) = {
		[INFLATE] = take_inflate, [DEFLATE] = take_deflate, [REPORTING] = take_report
	};
	struct vmm_virtio_balloon *balloon =
		container_of(worker->virtio, struct vmm_virtio_balloon, virtio);
	struct vmm_vq_chain chain;
	int got = vmm_vq_pop(worker->vq, &chain);

	if (got <= 0)
		return got;
	got = takes[worker->nth](balloon, &chain);
	if (got < 0)
		return got;
	vmm_worker_push(worker, chain.head, 0);
	return 1;
}

static int start(void *arg, unsigned int nth, struct vmm_vq *vq, int kick_fd)
{
	vmm_worker_start(&((struct vmm_virtio_balloon *)arg)->workers[nth], vq, kick_fd);
	return 0;
}

static void stop(void *arg, unsigned int nth)
{
	vmm_worker_stop(&((struct vmm_virtio_balloon *)arg)->workers[nth]);
}

static bool stopped(void *arg, unsigned int nth, bool wait)
{
	return vmm_worker_stopped(&((struct vmm_virtio_balloon *)arg)->workers[nth], wait);
}

/* The driver tells how many pages it has given up so far, in one write. */
static void write_config(void *arg, uint32_t off, unsigned int len, uint64_t value)
{
	struct vmm_virtio_balloon *balloon = arg;

	if (off != offsetof(struct config, actual) || len != sizeof(balloon->config.actual))
		return;
	balloon->state.actual = (uint32_t)value;
	balloon->config.actual = le32_of((uint32_t)value);
}

/* Another driver begins with all of its memory. */
static void reset(void *arg)
{
	struct vmm_virtio_balloon *balloon = arg;

	balloon->state.actual = 0;
	balloon->config.actual = le32_of(0);
}

static const struct vmm_virtio_ops balloon_ops = {
	.id = VMM_VIRTIO_ID_BALLOON,
	.class_code = 0x050000, /* memory */
	.start = start,
	.stop = stop,
	.stopped = stopped,
	.reset = reset,
	.write_config = write_config,
};

int vmm_virtio_balloon_new(const struct vmm_mem *mem, struct vmm_pci *pci,
	struct vmm_iothread *thread, struct vmm_virtio_balloon **ret_balloon)
{
	struct vmm_virtio_balloon *balloon = calloc(1, sizeof(*balloon));
	int err;

	if (!balloon)
		return -ENOMEM;
	balloon->state.head =
		(struct vmm_state_head){ VMM_BALLOON_VERSION, sizeof(struct vmm_balloon_state) };
	balloon->virtio.ops = &balloon_ops;
	balloon->virtio.arg = balloon;
	balloon->virtio.mem = mem;
	balloon->virtio.name = "balloon";
	balloon->virtio.offered = F_DEFLATE_ON_OOM | F_REPORTING;
	balloon->virtio.config = &balloon->config;
	balloon->virtio.config_bytes = sizeof(balloon->config);
	balloon->virtio.nr_queues = NR_QUEUES;
	for (unsigned int i = 0; i < NR_QUEUES; i++)
		vmm_worker_init(&balloon->workers[i], &balloon->virtio, i, thread, take_one);
	err = vmm_virtio_plug(&balloon->virtio, pci);
	if (err) {
		for (unsigned int i = 0; i < NR_QUEUES; i++)
			vmm_worker_done(&balloon->workers[i]);
		free(balloon);
		return err;
	}
	*ret_balloon = balloon;
	return 0;
}

void vmm_virtio_balloon_free(struct vmm_virtio_balloon *balloon)
{
	if (!balloon)
		return;
	vmm_virtio_unplug(&balloon->virtio);
	for (unsigned int i = 0; i < NR_QUEUES; i++)
		vmm_worker_done(&balloon->workers[i]);
	free(balloon);
}

void vmm_virtio_balloon_set(struct vmm_virtio_balloon *balloon, uint64_t bytes)
{
	balloon->state.nr_pages = (uint32_t)MIN(bytes / PAGE, (uint64_t)UINT32_MAX);
	balloon->config.nr_pages = le32_of(balloon->state.nr_pages);
	vmm_virtio_config_changed(&balloon->virtio);
}

uint64_t vmm_virtio_balloon_bytes(const struct vmm_virtio_balloon *balloon)
{
	return (uint64_t)balloon->state.actual * PAGE;
}
