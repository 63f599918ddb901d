/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef TUN_F_USO4 /* Linux 6.2 */
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

static int open_queue(const char *name, bool multi, int *ret_fd)
{
	struct ifreq req = { .ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR |
						  (multi ? IFF_MULTI_QUEUE : 0)) };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK), err;

	if (fd < 0)
		return -errno;
	snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &req) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	*ret_fd = fd;
	return 0;
}

static int open_all(struct vmm_link *tap, const char *name, unsigned int nr_queues)
{
	int err = open_queue(name, nr_queues > 1, &tap->fds[0]);

	/* it was made for several, and is asked for one */
	if (err == -EINVAL && nr_queues == 1)
		err = open_queue(name, true, &tap->fds[0]);
	while (!err && ++tap->nr_queues < nr_queues)
		err = open_queue(name, true, &tap->fds[tap->nr_queues]);
	return err;
}

static int copy_fd(struct vmm_link *tap, int fd)
{
	tap->fds[0] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (tap->fds[0] < 0)
		return -errno;
	tap->nr_queues = 1;
	return fcntl(tap->fds[0], F_SETFL, O_RDWR | O_NONBLOCK) < 0 ? -errno : 0;
}

/* Its MTU, and brings it up where that is allowed; else who made it does. */
static int look(struct vmm_link *tap)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq req = { 0 };

	if (fd < 0)
		return -errno;
	memcpy(req.ifr_name, tap->name, sizeof(tap->name));
	/* of another network namespace, if it came as a descriptor */
	tap->mtu = ioctl(fd, SIOCGIFMTU, &req) < 0 ? 1500 : (unsigned int)req.ifr_mtu;
	if (ioctl(fd, SIOCGIFFLAGS, &req) == 0 && !(req.ifr_flags & IFF_UP)) {
		req.ifr_flags |= IFF_UP;
		(void)ioctl(fd, SIOCSIFFLAGS, &req);
	}
	close(fd);
	return 0;
}

static int set_queues(struct vmm_link *tap, unsigned int nr)
{
	for (unsigned int i = 1; i < tap->nr_queues; i++) {
		struct ifreq req = { .ifr_flags = i < nr ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };

		/* EINVAL: it is that already */
		if (ioctl(tap->fds[i], TUNSETQUEUE, &req) < 0 && errno != EINVAL)
			return -errno;
	}
	return 0;
}

static int set_offload(struct vmm_link *tap, unsigned int flags)
{
	return ioctl(tap->fds[0], TUNSETOFFLOAD, (unsigned long)flags) < 0 ? -errno : 0;
}

static int set_up(struct vmm_link *tap)
{
	int header = VMM_LINK_HDR, little = 1;
	struct ifreq req = { 0 };

	if (ioctl(tap->fds[0], TUNGETIFF, &req) < 0 ||
		(req.ifr_flags & (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)) !=
			(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
		return -EINVAL;
	memcpy(tap->name, req.ifr_name, sizeof(tap->name));
	for (unsigned int i = 0; i < tap->nr_queues; i++) {
		if (ioctl(tap->fds[i], TUNSETVNETHDRSZ, &header) < 0 ||
			ioctl(tap->fds[i], TUNSETVNETLE, &little) < 0)
			return -errno;
	}
	tap->uso = set_offload(tap, TUN_F_CSUM | TUN_F_USO4 | TUN_F_USO6) == 0;
	return set_offload(tap, 0);
}

static ssize_t tap_receive(struct vmm_link *tap, unsigned int nth, const struct iovec *iov, int nr)
{
	ssize_t len;

	do
		len = readv(tap->fds[nth], iov, nr);
	while (len < 0 && errno == EINTR);
	return len < 0 ? -errno : len;
}

static void tap_send(struct vmm_link *tap, unsigned int nth, const struct iovec *iov, int nr)
{
	while (writev(tap->fds[nth], iov, nr) < 0 && errno == EINTR)
		;
}

static const struct vmm_link_ops tap_ops = {
	.receive = tap_receive,
	.send = tap_send,
	.set_queues = set_queues,
	.set_offload = set_offload,
};

int vmm_tap_open(struct vmm_link *tap, const char *name, int fd, unsigned int nr_queues)
{
	int err;

	*tap = (struct vmm_link){ .ops = &tap_ops };
	err = name ? open_all(tap, name, nr_queues) : copy_fd(tap, fd);
	if (!err)
		err = set_up(tap);
	if (!err)
		err = look(tap);
	if (!err)
		err = set_queues(tap, 1);
	if (err)
		vmm_tap_close(tap);
	return err;
}

void vmm_tap_close(struct vmm_link *tap)
{
	for (unsigned int i = 0; i < tap->nr_queues; i++)
		close(tap->fds[i]);
	tap->nr_queues = 0;
}
