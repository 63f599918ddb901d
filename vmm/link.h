/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a network card is wired to: a tap (tap.h), or a process that is the network (passt.h). Frames
 * come and go whole, each behind a virtio_net_hdr_v1, by one or more pairs of queues with a
 * descriptor each, which tells of frames to receive, and of room after send_room() said no.
 *
 * L1  A queue pair is one thread's; the functions of one pair are never called at the same time.
 * L2  Without offloads the headers are zeroes, both ways.
 */
#ifndef VMM_LINK_H
#define VMM_LINK_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define VMM_LINK_MAX_QUEUES 16
#define VMM_LINK_HDR 12 /* bytes of a virtio_net_hdr_v1 */

struct iovec;
struct vmm_link;

/* None of these blocks. */
struct vmm_link_ops {
	/* The next frame into iov: its bytes, the header included; -EAGAIN there is none; other
	 * errors: there will be none any more. What iov has no room for is lost. */
	ssize_t (*receive)(
		struct vmm_link *link, unsigned int nth, const struct iovec *iov, int nr);
	/* A frame may be waiting of which the descriptor does not tell. NULL: never. */
	bool (*has_more)(struct vmm_link *link);
	/* Whether send() takes a frame. NULL: always. */
	bool (*send_room)(struct vmm_link *link);
	/* Sends a frame of at least a header; what is not taken is lost, as on any wire. */
	void (*send)(struct vmm_link *link, unsigned int nth, const struct iovec *iov, int nr);
	/* The first nr queues get frames, the others none; any thread. NULL: there is one. */
	int (*set_queues)(struct vmm_link *link, unsigned int nr);
	/* What the receiver takes, TUN_F_ flags. NULL: no offloads. */
	int (*set_offload)(struct vmm_link *link, unsigned int flags);
};

struct vmm_link {
	const struct vmm_link_ops *ops;
	char name[IFNAMSIZ];
	unsigned int nr_queues;
	int fds[VMM_LINK_MAX_QUEUES]; /* non-blocking */
	unsigned int mtu;
	bool uso; /* of the offloads, UDP, too */
};

#endif
