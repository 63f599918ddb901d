/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/passt.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/checked.h"
#include "util/list.h"
#include "util/log.h"

#define LEN_BYTES 4
#define CHILD_FD 3 /* of the stream, in passt */

static struct vmm_passt *passt_of(struct vmm_link *link)
{
	return container_of(link, struct vmm_passt, link);
}

static uint32_t get_len(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
	       bytes[3];
}

/* The frame that is whole, behind its length, or NULL. */
static const uint8_t *whole_frame(const struct vmm_passt *passt, uint32_t *ret_len_bytes)
{
	const uint8_t *at = passt->rx + passt->rx_taken;
	uint32_t there = passt->rx_bytes - passt->rx_taken;

	if (there < LEN_BYTES)
		return NULL;
	*ret_len_bytes = get_len(at);
	return *ret_len_bytes <= there - LEN_BYTES ? at + LEN_BYTES : NULL;
}

/* Reads what there is, once. */
static int fill(struct vmm_passt *passt)
{
	ssize_t len;

	passt->rx_bytes -= passt->rx_taken;
	memmove(passt->rx, passt->rx + passt->rx_taken, passt->rx_bytes);
	passt->rx_taken = 0;
	if (passt->rx_bytes >= LEN_BYTES && get_len(passt->rx) > VMM_PASST_FRAME_MAX)
		len = 0; /* that is no frame */
	else
		len = recv(passt->link.fds[0], passt->rx + passt->rx_bytes,
			sizeof(passt->rx) - passt->rx_bytes, MSG_DONTWAIT);
	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return -EAGAIN;
	if (len <= 0 && !passt->gone) {
		passt->gone = true;
		log_error("passt has ended: the network card of it has no network any more");
	}
	if (len <= 0)
		return -EPIPE;
	passt->rx_bytes += (uint32_t)len;
	return 0;
}

static ssize_t passt_receive(
	struct vmm_link *link, unsigned int nth, const struct iovec *iov, int nr)
{
	static const uint8_t header[VMM_LINK_HDR];
	struct vmm_passt *passt = passt_of(link);
	const uint8_t *frame;
	uint32_t len, done = 0;
	int err = 0;

	while (!(frame = whole_frame(passt, &len))) {
		err = fill(passt);
		if (err)
			return err;
	}
	for (int i = 0; i < nr; i++) {
		for (size_t at = 0; at < iov[i].iov_len && done < sizeof(header) + len;) {
			bool head = done < sizeof(header);
			const uint8_t *from = head ? header + done : frame + done - sizeof(header);
			size_t left = (head ? sizeof(header) : sizeof(header) + len) - done;
			size_t n = MIN(left, iov[i].iov_len - at);

			memcpy((uint8_t *)iov[i].iov_base + at, from, n);
			at += n;
			done += (uint32_t)n;
		}
	}
	passt->rx_taken += LEN_BYTES + len;
	return done;
}

static bool passt_has_more(struct vmm_link *link)
{
	uint32_t len;

	return whole_frame(passt_of(link), &len) != NULL;
}

/* True once nothing is left of the frame. A stream that is broken takes all. */
static bool passt_send_room(struct vmm_link *link)
{
	struct vmm_passt *passt = passt_of(link);

	while (passt->tx_sent < passt->tx_bytes) {
		ssize_t len = send(link->fds[0], passt->tx + passt->tx_sent,
			passt->tx_bytes - passt->tx_sent, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0 && errno == EAGAIN)
			return false;
		passt->tx_sent = len < 0 ? passt->tx_bytes : passt->tx_sent + (uint32_t)len;
	}
	return true;
}

static void passt_send(struct vmm_link *link, unsigned int nth, const struct iovec *iov, int nr)
{
	struct vmm_passt *passt = passt_of(link);
	size_t skip = VMM_LINK_HDR, len = 0;

	for (int i = 0; i < nr; i++) {
		size_t from = MIN(skip, iov[i].iov_len), n = iov[i].iov_len - from;

		skip -= from;
		if (n > VMM_PASST_FRAME_MAX - len)
			return;
		memcpy(passt->tx + LEN_BYTES + len, (const uint8_t *)iov[i].iov_base + from, n);
		len += n;
	}
	for (int i = 0; i < LEN_BYTES; i++)
		passt->tx[i] = (uint8_t)(len >> (24 - 8 * i));
	passt->tx_bytes = (uint32_t)(LEN_BYTES + len);
	passt->tx_sent = 0;
	(void)passt_send_room(link);
}

static const struct vmm_link_ops passt_ops = {
	.receive = passt_receive,
	.has_more = passt_has_more,
	.send_room = passt_send_room,
	.send = passt_send,
};

static int spawn(const char *tcp, const char *udp, int fd, pid_t *ret_pid)
{
	char mtu[16];
	char *args[16] = { "passt", "--foreground", "--quiet", "--stderr", "--mtu", mtu, "--fd" };
	char fd_text[16];
	unsigned int nr = 7;
	posix_spawn_file_actions_t actions;
	int err;

	snprintf(mtu, sizeof(mtu), "%d", VMM_PASST_MTU);
	snprintf(fd_text, sizeof(fd_text), "%d", CHILD_FD);
	args[nr++] = fd_text;
	if (tcp) {
		args[nr++] = "--tcp-ports";
		args[nr++] = (char *)tcp;
	}
	if (udp) {
		args[nr++] = "--udp-ports";
		args[nr++] = (char *)udp;
	}
	err = posix_spawn_file_actions_init(&actions);
	if (err)
		return -err;
	/* without close-on-exec there, also if it is that number already */
	err = posix_spawn_file_actions_adddup2(&actions, fd, CHILD_FD);
	if (!err)
		err = posix_spawnp(ret_pid, args[0], &actions, NULL, args, environ);
	posix_spawn_file_actions_destroy(&actions);
	return -err;
}

int vmm_passt_wrap(int fd, pid_t pid, struct vmm_passt **ret_passt)
{
	struct vmm_passt *passt = calloc(1, sizeof(*passt));

	if (!passt)
		return -ENOMEM;
	passt->pid = pid;
	passt->link = (struct vmm_link){ .ops = &passt_ops,
		.name = "passt",
		.nr_queues = 1,
		.fds = { fd },
		.mtu = VMM_PASST_MTU };
	*ret_passt = passt;
	return 0;
}

int vmm_passt_new(const char *tcp, const char *udp, struct vmm_passt **ret_passt)
{
	int ends[2], err;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	err = spawn(tcp, udp, ends[1], &pid);
	close(ends[1]);
	if (!err)
		err = vmm_passt_wrap(ends[0], pid, ret_passt);
	if (err)
		close(ends[0]);
	return err;
}

void vmm_passt_free(struct vmm_passt *passt)
{
	if (!passt)
		return;
	close(passt->link.fds[0]);
	while (passt->pid > 0 && waitpid(passt->pid, NULL, 0) < 0 && errno == EINTR)
		;
	free(passt);
}
