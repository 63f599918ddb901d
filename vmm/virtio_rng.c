/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/virtio_rng.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "util/checked.h"
#include "util/list.h"
#include "vmm/virtio.h"
#include "vmm/worker.h"

#define MAX_BYTES 4096u /* for a chain; the driver may ask again */

struct vmm_virtio_rng {
	struct vmm_virtio virtio;
	struct vmm_worker worker;
};

/* At most MAX_BYTES, over all buffers. */
static uint32_t fill(const struct iovec *iov, uint16_t nr)
{
	uint8_t bytes[MAX_BYTES];
	size_t wanted = 0;
	ssize_t got;

	for (uint16_t i = 0; i < nr && wanted < sizeof(bytes); i++)
		wanted += MIN(iov[i].iov_len, sizeof(bytes) - wanted);
	got = getrandom(bytes, wanted, 0);
	return got > 0 ? (uint32_t)vmm_iov_put(iov, nr, bytes, (size_t)got) : 0;
}

static int take_one(struct vmm_worker *worker)
{
	struct vmm_vq_chain chain;
	int got = vmm_vq_pop(worker->vq, &chain);

	if (got <= 0)
		return got;
	if (chain.nr_out > 0 || chain.nr_in == 0)
		return -EBADMSG;
	vmm_worker_push(worker, chain.head, fill(chain.iov, chain.nr_in));
	return 1;
}

static int start(void *arg, unsigned int nth, struct vmm_vq *vq, int kick_fd)
{
	vmm_worker_start(&((struct vmm_virtio_rng *)arg)->worker, vq, kick_fd);
	return 0;
}

static void stop(void *arg, unsigned int nth)
{
	vmm_worker_stop(&((struct vmm_virtio_rng *)arg)->worker);
}

static bool stopped(void *arg, unsigned int nth, bool wait)
{
	return vmm_worker_stopped(&((struct vmm_virtio_rng *)arg)->worker, wait);
}

static const struct vmm_virtio_ops rng_ops = {
	.id = VMM_VIRTIO_ID_RNG,
	.class_code = 0x100000, /* encryption */
	.start = start,
	.stop = stop,
	.stopped = stopped,
};

int vmm_virtio_rng_new(const struct vmm_mem *mem, struct vmm_pci *pci, struct vmm_iothread *thread,
	struct vmm_virtio_rng **ret_rng)
{
	struct vmm_virtio_rng *rng = calloc(1, sizeof(*rng));
	int err;

	if (!rng)
		return -ENOMEM;
	rng->virtio.ops = &rng_ops;
	rng->virtio.arg = rng;
	rng->virtio.mem = mem;
	rng->virtio.name = "rng";
	rng->virtio.nr_queues = 1;
	vmm_worker_init(&rng->worker, &rng->virtio, 0, thread, take_one);
	err = vmm_virtio_plug(&rng->virtio, pci);
	if (err) {
		vmm_worker_done(&rng->worker);
		free(rng);
		return err;
	}
	*ret_rng = rng;
	return 0;
}

void vmm_virtio_rng_free(struct vmm_virtio_rng *rng)
{
	if (!rng)
		return;
	vmm_virtio_unplug(&rng->virtio);
	vmm_worker_done(&rng->worker);
	free(rng);
}
