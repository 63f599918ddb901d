/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Linux's tap devices: a network interface whose frames, each behind a virtio_net_hdr, we read and
 * write (Documentation/networking/tuntap.rst). */
#ifndef VMM_TAP_H
#define VMM_TAP_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#define VMM_TAP_MAX_QUEUES 16
#define VMM_TAP_HDR 12 /* bytes of a virtio_net_hdr_v1 */

struct vmm_tap {
	char name[IFNAMSIZ];
	unsigned int nr_queues;
	int fds[VMM_TAP_MAX_QUEUES]; /* non-blocking */
	unsigned int mtu;
	bool uso; /* the kernel segments UDP */
};

/*
 * Opens the tap of this name with nr_queues (1 to VMM_TAP_MAX_QUEUES) queues, or makes it, if that
 * is allowed; then it goes away with the last descriptor. With name NULL it is a copy of fd, with
 * one queue. Queues but the first are off. Errors: of TUNSETIFF; -EINVAL, fd is no tap with a
 * header.
 */
int vmm_tap_open(struct vmm_tap *tap, const char *name, int fd, unsigned int nr_queues)
	__attribute__((warn_unused_result, nonnull(1)));

void vmm_tap_close(struct vmm_tap *tap) __attribute__((nonnull));

/* The first nr queues get frames, the others none; any thread. Errors: of TUNSETQUEUE. */
int vmm_tap_set_queues(struct vmm_tap *tap, unsigned int nr)
	__attribute__((warn_unused_result, nonnull));

/* What the reader takes, TUN_F_ flags. Errors: of TUNSETOFFLOAD. */
int vmm_tap_set_offload(struct vmm_tap *tap, unsigned int flags)
	__attribute__((warn_unused_result, nonnull));

#endif
