/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One mount of a volume on a node: an abstract Unix socket is the lock. It goes with its process
 * whatever kills that, leaves nothing behind, and is private to a network namespace, as the
 * cluster's node is.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lockmgr/lm_internal.h"

int lm_guard_take(const uint8_t uuid[16], int *ret_fd)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int n = snprintf(addr.sun_path + 1, sizeof(addr.sun_path) - 1, "csvfs-mount-");
	int fd, err;

	for (int i = 0; i < 16; i++)
		n += snprintf(addr.sun_path + 1 + n, sizeof(addr.sun_path) - 1 - (size_t)n, "%02x",
			uuid[i]);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&addr,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)) < 0) {
		err = errno == EADDRINUSE ? -EBUSY : -errno;
		close(fd);
		return err;
	}
	*ret_fd = fd;
	return 0;
}
