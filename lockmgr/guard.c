/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One mount of a volume on a node: an abstract Unix socket is the lock. It goes with its process
 * whatever kills that, leaves nothing behind, and is private to a network namespace, as the
 * cluster's node is.
 *
 * A mount that is ending listens on it: umount(8) returns before its process has left the volume, and
 * who mounts again right then connects, and waits until the connection ends with that process.
 */
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lockmgr/lm_internal.h"
#include "util/checked.h"

#define BACKLOG 16

static socklen_t address(struct sockaddr_un *addr, const uint8_t uuid[16])
{
	*addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
	int n = snprintf(addr->sun_path + 1, sizeof(addr->sun_path) - 1, "csvfs-mount-");

	for (int i = 0; i < 16; i++)
		n += snprintf(addr->sun_path + 1 + n, sizeof(addr->sun_path) - 1 - (size_t)n, "%02x",
			uuid[i]);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
}

static int try_take(const uint8_t uuid[16], int *ret_fd)
{
	struct sockaddr_un addr;
	socklen_t len = address(&addr, uuid);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&addr, len) < 0) {
		int err = errno == EADDRINUSE ? -EBUSY : -errno;
		close(fd);
		return err;
	}
	*ret_fd = fd;
	return 0;
}

/* 0: who has it was ending, and is gone or was not there any more; -EBUSY: it is not ending;
 * -ETIMEDOUT. */
static int wait_for_end(const uint8_t uuid[16], uint64_t deadline_ns)
{
	struct sockaddr_un addr;
	socklen_t len = address(&addr, uuid);
	int err = 0, fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&addr, len) < 0) {
		err = errno == ECONNREFUSED ? -EBUSY : -errno;
	} else {
		uint64_t now_ns = clock_mono_ns();
		uint64_t ms = deadline_ns > now_ns ? (deadline_ns - now_ns) / LM_NS_PER_MS : 0;
		struct pollfd pfd = { .fd = fd, .events = POLLIN };
		if (poll(&pfd, 1, (int)MIN(ms, 60000u)) == 0)
			err = -ETIMEDOUT;
	}
	close(fd);
	return err;
}

int lm_guard_take(const uint8_t uuid[16], uint64_t deadline_ns, int *ret_fd)
{
	bool refused = false;

	for (;;) {
		int err = try_take(uuid, ret_fd);
		if (err != -EBUSY || refused)
			return err;
		err = wait_for_end(uuid, deadline_ns);
		refused = err == -EBUSY; /* once more: it may just have gone */
		if (err && !refused)
			return err;
	}
}

void lm_guard_ending(int fd)
{
	if (fd >= 0)
		(void)!listen(fd, BACKLOG); /* else who comes is refused, as by a mount that stays */
}
