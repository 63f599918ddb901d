/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A network without any right or set-up: passt(1), a process of its own, is the guest's DHCP server and
 * router, and makes of each connection of the guest's a socket of the user's. Frames pass through a stream,
 * each behind its length (32 bits, big endian).
 *
 * U1  The stream is cut into frames here, so the struct lives as long as the process of csvvm: a guest
 *     that reboots finds the stream where the last life left it.
 * U2  A frame that the stream takes in part is kept, and its rest goes first (send_room()).
 */
#ifndef VMM_PASST_H
#define VMM_PASST_H

#include <stdint.h>
#include <sys/types.h>

#include "vmm/link.h"

#define VMM_PASST_MTU 65520
#define VMM_PASST_FRAME_MAX 65556 /* bytes, with Ethernet's header and a tag */

struct vmm_passt {
	struct vmm_link link;
	pid_t pid; /* 0: somebody else's */
	bool gone; /* the stream has ended, and that was said */
	uint32_t rx_bytes, rx_taken, tx_bytes, tx_sent;
	uint8_t rx[2 * (4 + VMM_PASST_FRAME_MAX)], tx[4 + VMM_PASST_FRAME_MAX];
};

/*
 * Starts passt. tcp and udp, or NULL, are the host's ports that lead to the guest's, as its options
 * -t and -u have them ("2222:22,8080:80"). What it does not like it says on the standard error, and ends;
 * the card then has no network. Errors: of socketpair() and posix_spawn(), -ENOENT it is not installed.
 */
int vmm_passt_new(const char *tcp, const char *udp, struct vmm_passt **ret_passt)
	__attribute__((warn_unused_result, nonnull(3)));

/* Takes over a stream to one that runs, or to what speaks like it; pid is waited for in the end, 0: of
 * nobody. Errors: -ENOMEM, then fd stays the caller's. */
int vmm_passt_wrap(int fd, pid_t pid, struct vmm_passt **ret_passt)
	__attribute__((warn_unused_result, nonnull));

/* Ends it, and waits for that. NULL is allowed. */
void vmm_passt_free(struct vmm_passt *passt);

#endif
