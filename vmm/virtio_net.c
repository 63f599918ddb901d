/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/virtio_net.h"

#include <errno.h>
#include <ev.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "util/checked.h"
#include "util/le.h"
#include "util/loop.h"
#include "vmm/iothread.h"
#include "vmm/link.h"
#include "vmm/virtio.h"

#define F_CSUM (1ull << 0)
#define F_GUEST_CSUM (1ull << 1)
#define F_MTU (1ull << 3)
#define F_MAC (1ull << 5)
#define F_GUEST_TSO4 (1ull << 7)
#define F_GUEST_TSO6 (1ull << 8)
#define F_HOST_TSO4 (1ull << 11)
#define F_HOST_TSO6 (1ull << 12)
#define F_MRG_RXBUF (1ull << 15)
#define F_STATUS (1ull << 16)
#define F_CTRL_VQ (1ull << 17)
#define F_CTRL_RX (1ull << 18)
#define F_MQ (1ull << 22)
#define F_GUEST_USO4 (1ull << 54)
#define F_GUEST_USO6 (1ull << 55)
#define F_HOST_USO (1ull << 56)
#define F_GUEST_GSO (F_GUEST_TSO4 | F_GUEST_TSO6 | F_GUEST_USO4 | F_GUEST_USO6)

#ifndef TUN_F_USO4 /* Linux 6.2 */
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

#define LINK_UP 1
#define HDR_NUM_BUFFERS 10 /* where it is in the header */
#define ETH_MAX 18	   /* of a frame, its VLAN tag included */
#define BUDGET 256	   /* frames, then others have their turn on the thread */
#define MAX_IOV 1024	   /* of readv() */

enum { CTRL_RX = 0, CTRL_MQ = 4 };
enum { CTRL_MQ_PAIRS_SET = 0, CTRL_RX_LAST = 1 };
enum { CTRL_OK = 0, CTRL_ERR = 1 };

struct config {
	uint8_t mac[6];
	struct le16 status;
	struct le16 max_pairs;
	struct le16 mtu;
} __attribute__((packed));
static_assert(sizeof(struct config) == 12, "virtio 1.2, 5.1.4");

struct queue {
	struct vmm_virtio_net *net;
	unsigned int nth;
	struct vmm_iothread *thread; /* its pair's */
	unsigned int pair;
	/* the thread's, from start() to stop(): */
	struct vmm_vq *vq;
	void (*serve)(struct queue *queue);
	struct ev_io kick;
	struct ev_io ready; /* the link: has a frame, or room */
	struct vmm_vq_chain chain;
	/* receiving: buffers that wait for a frame (N2) */
	size_t need_bytes, held_bytes; /* for any frame; that there are */
	unsigned int nr_held, nr_iov;
	struct held {
		uint16_t head, nr_iov;
		size_t len_bytes;
	} held[VMM_VQ_SIZE_MAX];
	struct iovec iov[MAX_IOV];
};

struct vmm_virtio_net {
	struct vmm_virtio virtio;
	struct vmm_net_state state;
	struct config config;
	struct vmm_link *link;
	unsigned int nr_pairs;
	struct vmm_iothread *threads[VMM_LINK_MAX_QUEUES];
	struct queue queues[2 * VMM_LINK_MAX_QUEUES + 1];
};
static_assert(2 * VMM_LINK_MAX_QUEUES + 1 <= VMM_VIRTIO_QUEUES, "all have a place");

static struct ev_loop *ev_of(const struct queue *queue)
{
	return loop_ev(vmm_iothread_loop(queue->thread));
}

static size_t iov_bytes(const struct iovec *iov, unsigned int nr)
{
	size_t sum = 0;

	for (unsigned int i = 0; i < nr; i++)
		sum += iov[i].iov_len;
	return sum;
}

/* ---- sending and commands ---- */

/* Takes from the queue while it can, one by one, but no more than a turn's worth. */
static void take_all(
	struct queue *queue, bool (*can)(struct queue *queue), int (*take)(struct queue *queue))
{
	struct vmm_virtio *virtio = &queue->net->virtio;
	bool interrupt = false;

	for (unsigned int n = 0; !atomic_load(&virtio->broken); n++) {
		int got;

		if (n == BUDGET) {
			(void)eventfd_write(queue->kick.fd, 1);
			break;
		}
		if (can && !can(queue))
			break;
		got = vmm_vq_pop(queue->vq, &queue->chain);
		if (got == 0 && !vmm_vq_wait(queue->vq))
			break;
		if (got > 0)
			got = take(queue);
		if (got < 0)
			vmm_virtio_broken(virtio, "a chain is malformed");
		else if (got > 0)
			interrupt |= vmm_vq_push(queue->vq, queue->chain.head, (uint32_t)got - 1);
	}
	if (interrupt)
		vmm_virtio_interrupt(virtio, queue->nth);
}

/* Gives 1 and the bytes that were written into the chain. */
static int send_frame(struct queue *queue)
{
	struct vmm_link *link = queue->net->link;
	struct vmm_vq_chain *chain = &queue->chain;

	if (chain->nr_in > 0 || iov_bytes(chain->iov, chain->nr_out) < VMM_LINK_HDR)
		return -EBADMSG;
	link->ops->send(link, queue->pair, chain->iov, chain->nr_out);
	return 1;
}

/* Whether there is room to send; if not, we come back when there is. */
static bool send_room(struct queue *queue)
{
	struct vmm_link *link = queue->net->link;
	bool room = !link->ops->send_room || link->ops->send_room(link);

	if (room)
		ev_io_stop(ev_of(queue), &queue->ready);
	else
		ev_io_start(ev_of(queue), &queue->ready);
	return room;
}

static void serve_tx(struct queue *queue)
{
	take_all(queue, send_room, send_frame);
}

static int set_queues(struct vmm_virtio_net *net, unsigned int nr)
{
	struct vmm_link *link = net->link;

	return link->ops->set_queues ? link->ops->set_queues(link, nr) : 0;
}

static uint8_t command(
	struct vmm_virtio_net *net, const uint8_t *what, struct iovec *iov, uint16_t nr)
{
	struct le16 pairs;
	uint16_t n;

	switch (what[0]) {
	case CTRL_RX: /* what the link brings is for us: all is received always */
		return what[1] <= CTRL_RX_LAST ? CTRL_OK : CTRL_ERR;
	case CTRL_MQ:
		if (what[1] != CTRL_MQ_PAIRS_SET || !(net->virtio.state.features & F_MQ) ||
			vmm_iov_take(&iov, &nr, &pairs, sizeof(pairs)) != sizeof(pairs))
			return CTRL_ERR;
		n = le16_get(pairs);
		if (n < 1 || n > net->nr_pairs || set_queues(net, n) < 0)
			return CTRL_ERR;
		net->state.pairs = n;
		return CTRL_OK;
	default:
		return CTRL_ERR;
	}
}

static int take_command(struct queue *queue)
{
	struct vmm_vq_chain *chain = &queue->chain;
	struct iovec *iov = chain->iov;
	uint8_t what[2], ack;

	if (chain->nr_in == 0 || vmm_iov_take(&iov, &chain->nr_out, what, 2) != 2)
		return -EBADMSG;
	ack = command(queue->net, what, iov, chain->nr_out);
	vmm_iov_put(iov + chain->nr_out, chain->nr_in, &ack, 1);
	return 1 + 1;
}

static void serve_ctrl(struct queue *queue)
{
	take_all(queue, NULL, take_command);
}

/* ---- receiving ---- */

/* Takes buffers until any frame has room. 1, or 0 if the driver must give more, or negative. */
static int hold(struct queue *queue)
{
	bool merge = queue->net->virtio.state.features & F_MRG_RXBUF;
	struct vmm_vq_chain *chain = &queue->chain;

	while (merge ? queue->held_bytes < queue->need_bytes : queue->nr_held == 0) {
		struct held *held = &queue->held[queue->nr_held];
		int got;

		/* there will be no more: then this much has to do */
		if (queue->nr_held == queue->vq->state->size ||
			queue->nr_iov + VMM_VQ_MAX_IOV > MAX_IOV)
			break;
		got = vmm_vq_pop(queue->vq, chain);
		if (got <= 0)
			return got;
		if (chain->nr_out > 0)
			return -EBADMSG;
		*held = (struct held){ chain->head, chain->nr_in,
			iov_bytes(chain->iov, chain->nr_in) };
		if (held->len_bytes < VMM_LINK_HDR)
			return -EBADMSG;
		memcpy(&queue->iov[queue->nr_iov], chain->iov,
			sizeof(chain->iov[0]) * chain->nr_in);
		queue->nr_iov += chain->nr_in;
		queue->held_bytes += held->len_bytes;
		queue->nr_held++;
	}
	return 1;
}

/* How many buffers the frame fills goes into its header, wherever the driver cut that. */
static void put_num_buffers(struct queue *queue, uint16_t nr)
{
	struct le16 value = le16_of(nr);
	size_t at = HDR_NUM_BUFFERS, done = 0;

	for (const struct iovec *iov = queue->iov; done < sizeof(value); iov++) {
		for (; at < iov->iov_len && done < sizeof(value); at++, done++)
			((uint8_t *)iov->iov_base)[at] = ((const uint8_t *)&value)[done];
		at -= iov->iov_len;
	}
}

/* A frame of len_bytes is in the buffers: gives those back that it fills. */
static bool give_back(struct queue *queue, size_t len_bytes)
{
	unsigned int nr = 0, nr_iov = 0;

	for (size_t left = len_bytes; left > 0 && nr < queue->nr_held; nr++) {
		const struct held *held = &queue->held[nr];
		size_t n = MIN(left, held->len_bytes);

		vmm_vq_put(queue->vq, (uint16_t)nr, held->head, (uint32_t)n);
		left -= n;
		nr_iov += held->nr_iov;
		queue->held_bytes -= held->len_bytes;
	}
	put_num_buffers(queue, (uint16_t)nr);
	queue->nr_held -= nr;
	queue->nr_iov -= nr_iov;
	memmove(queue->held, queue->held + nr, sizeof(queue->held[0]) * queue->nr_held);
	memmove(queue->iov, queue->iov + nr_iov, sizeof(queue->iov[0]) * queue->nr_iov);
	return vmm_vq_publish(queue->vq, (uint16_t)nr);
}

static void serve_rx(struct queue *queue)
{
	struct vmm_virtio *virtio = &queue->net->virtio;
	struct vmm_link *link = queue->net->link;
	bool interrupt = false;

	ev_io_start(ev_of(queue), &queue->ready);
	for (unsigned int n = 0;; n++) {
		int got = atomic_load(&virtio->broken) ? -EBADMSG : hold(queue);
		ssize_t len;

		if (n >=
			BUDGET) { /* others have their turn; the link is ready still, or we are told */
			if (link->ops->has_more && link->ops->has_more(link))
				(void)eventfd_write(queue->kick.fd, 1);
			break;
		}
		if (got < 0)
			vmm_virtio_broken(virtio, "a receive buffer is malformed");
		if (got == 0 && vmm_vq_wait(queue->vq))
			continue;
		if (got <= 0) {
			ev_io_stop(ev_of(queue), &queue->ready);
			break;
		}
		len = link->ops->receive(link, queue->pair, queue->iov, (int)queue->nr_iov);
		if (len < 0 && len != -EAGAIN) /* it was taken away */
			ev_io_stop(ev_of(queue), &queue->ready);
		if (len < VMM_LINK_HDR)
			break;
		interrupt |= give_back(queue, (size_t)len);
	}
	if (interrupt)
		vmm_virtio_interrupt(virtio, queue->nth);
}

/* ---- life of a queue ---- */

static void on_event(struct ev_loop *ev, struct ev_io *watcher, int revents)
{
	struct queue *queue = watcher->data;
	eventfd_t nr;

	if (watcher == &queue->kick)
		(void)eventfd_read(watcher->fd, &nr);
	queue->serve(queue);
}

static void start_here(void *arg)
{
	struct queue *queue = arg;

	ev_io_start(ev_of(queue), &queue->kick);
	queue->serve(queue);
}

static void stop_here(void *arg)
{
	struct queue *queue = arg;

	ev_io_stop(ev_of(queue), &queue->kick);
	ev_io_stop(ev_of(queue), &queue->ready);
	queue->vq->state->avail_idx = (uint16_t)(queue->vq->state->avail_idx - queue->nr_held);
	queue->nr_held = queue->nr_iov = 0;
	queue->held_bytes = 0;
}

static int set_offload(struct vmm_virtio_net *net)
{
	static const struct {
		uint64_t feature;
		unsigned int flag;
	} map[] = {
		{ F_GUEST_TSO4, TUN_F_TSO4 },
		{ F_GUEST_TSO6, TUN_F_TSO6 },
		{ F_GUEST_USO4, TUN_F_USO4 },
		{ F_GUEST_USO6, TUN_F_USO6 },
	};
	uint64_t features = net->virtio.state.features;
	struct vmm_link *link = net->link;
	unsigned int flags = 0;

	/* without checksums there is no segmentation (virtio 1.2, 5.1.3.1); the kernel wants both
	 * of USO, and of the others at least what it knows */
	if (features & F_GUEST_CSUM) {
		flags = TUN_F_CSUM;
		for (size_t i = 0; i < ARRAY_SIZE(map); i++)
			flags |= features & map[i].feature ? map[i].flag : 0;
	}
	if ((flags & (TUN_F_USO4 | TUN_F_USO6)) != (TUN_F_USO4 | TUN_F_USO6))
		flags &= ~(unsigned int)(TUN_F_USO4 | TUN_F_USO6);
	return link->ops->set_offload ? link->ops->set_offload(link, flags) : 0;
}

static int start(void *arg, unsigned int nth, struct vmm_vq *vq, int kick_fd)
{
	struct vmm_virtio_net *net = arg;
	struct queue *queue = &net->queues[nth];
	uint64_t features = net->virtio.state.features;
	unsigned int ctrl = features & F_MQ ? 2 * net->nr_pairs : 2;
	int err = nth == 0 ? set_offload(net) : 0;

	if (err)
		return err;
	queue->vq = vq;
	queue->serve = nth == ctrl ? serve_ctrl : nth % 2 == 0 ? serve_rx : serve_tx;
	queue->need_bytes = VMM_LINK_HDR + ETH_MAX +
			    (features & F_GUEST_GSO ? UINT16_MAX : MAX(net->link->mtu, 1500u));
	ev_io_init(&queue->kick, on_event, kick_fd, EV_READ);
	ev_io_init(&queue->ready, on_event, net->link->fds[queue->pair],
		queue->serve == serve_tx ? EV_WRITE : EV_READ);
	queue->kick.data = queue->ready.data = queue;
	vmm_iothread_call(queue->thread, start_here, queue);
	return 0;
}

static void stop(void *arg, unsigned int nth)
{
	struct vmm_virtio_net *net = arg;

	vmm_iothread_call(net->queues[nth].thread, stop_here, &net->queues[nth]);
}

/* Nothing outlives stop(); the next driver begins with one pair again. */
static bool stopped(void *arg, unsigned int nth, bool wait)
{
	struct vmm_virtio_net *net = arg;

	if (net->state.pairs != 1 && set_queues(net, 1) == 0)
		net->state.pairs = 1;
	return true;
}

static const struct vmm_virtio_ops net_ops = {
	.id = VMM_VIRTIO_ID_NET,
	.class_code = 0x020000,
	.start = start,
	.stop = stop,
	.stopped = stopped,
};

/* ---- life of the card ---- */

static void fill_config(struct vmm_virtio_net *net, const uint8_t mac[6])
{
	unsigned int mtu = MIN(net->link->mtu, 65535u);

	net->state = (struct vmm_net_state){ .head = { VMM_NET_VERSION, sizeof(net->state) },
		.mtu = (uint16_t)mtu,
		.max_pairs = (uint16_t)net->nr_pairs,
		.pairs = 1 };
	memcpy(net->state.mac, mac, 6);
	memcpy(net->config.mac, mac, 6);
	net->config.status = le16_of(LINK_UP);
	net->config.max_pairs = le16_of(net->state.max_pairs);
	net->config.mtu = le16_of(net->state.mtu);
	net->virtio.offered = F_MTU | F_MAC | F_MRG_RXBUF | F_STATUS | F_CTRL_VQ | F_CTRL_RX |
			      (net->nr_pairs > 1 ? F_MQ : 0);
	if (net->link->ops->set_offload)
		net->virtio.offered |= F_CSUM | F_GUEST_CSUM | F_GUEST_TSO4 | F_GUEST_TSO6 |
				       F_HOST_TSO4 | F_HOST_TSO6;
	if (net->link->uso)
		net->virtio.offered |= F_GUEST_USO4 | F_GUEST_USO6 | F_HOST_USO;
}

static void free_threads(struct vmm_virtio_net *net)
{
	for (unsigned int i = 0; i < net->nr_pairs; i++)
		vmm_iothread_free(net->threads[i]);
	free(net);
}

int vmm_virtio_net_new(struct vmm_link *link, const uint8_t mac[6], const struct vmm_mem *mem,
	struct vmm_pci *pci, struct vmm_virtio_net **ret_net)
{
	struct vmm_virtio_net *net = calloc(1, sizeof(*net));
	unsigned int nr_queues = 2 * link->nr_queues + 1;
	int err = 0;

	if (!net)
		return -ENOMEM;
	net->link = link;
	net->nr_pairs = link->nr_queues;
	for (unsigned int i = 0; !err && i < net->nr_pairs; i++)
		err = vmm_iothread_new(&net->threads[i]);
	for (unsigned int i = 0; i < nr_queues; i++) {
		unsigned int pair = i / 2 < net->nr_pairs ? i / 2 : 0;

		net->queues[i].net = net;
		net->queues[i].nth = i;
		net->queues[i].thread = net->threads[pair];
		net->queues[i].pair = pair;
	}
	fill_config(net, mac);
	net->virtio.ops = &net_ops;
	net->virtio.arg = net;
	net->virtio.mem = mem;
	net->virtio.name = link->name;
	net->virtio.config = &net->config;
	net->virtio.config_bytes = sizeof(net->config);
	net->virtio.nr_queues = (uint16_t)nr_queues;
	if (!err)
		err = vmm_virtio_plug(&net->virtio, pci);
	if (err) {
		free_threads(net);
		return err;
	}
	*ret_net = net;
	return 0;
}

void vmm_virtio_net_free(struct vmm_virtio_net *net)
{
	if (!net)
		return;
	vmm_virtio_unplug(&net->virtio);
	free_threads(net);
}
