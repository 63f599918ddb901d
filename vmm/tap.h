/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Linux's tap devices: a network interface whose frames, each behind a virtio_net_hdr, we read and
 * write (Documentation/networking/tuntap.rst). */
#ifndef VMM_TAP_H
#define VMM_TAP_H

#include "vmm/link.h"

/*
 * Opens the tap of this name with nr_queues (1 to VMM_LINK_MAX_QUEUES) queues, or makes it, if that
 * is allowed; then it goes away with the last descriptor. With name NULL it is a copy of fd, with
 * one queue. Queues but the first are off. Errors: of TUNSETIFF; -EINVAL, fd is no tap with a
 * header.
 */
int vmm_tap_open(struct vmm_link *tap, const char *name, int fd, unsigned int nr_queues)
	__attribute__((warn_unused_result, nonnull(1)));

void vmm_tap_close(struct vmm_link *tap) __attribute__((nonnull));

#endif
