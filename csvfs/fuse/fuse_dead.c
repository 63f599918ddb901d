/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What stays of a mount that was shut down: a process that answers each request with EIO until the
 * kernel has unmounted. Without it the kernel would end the connection, and give ECONNABORTED or
 * ENOTCONN, which no program expects of a file system.
 *
 * It is a fork of a process with threads, so it does nothing but make system calls, on memory that was
 * there before. It begins when the process of the mount is gone, with all of its descriptors: nothing
 * is answered twice, and the device is free. What that one has left unanswered the kernel sends
 * again (FUSE_NOTIFY_RESEND, Linux 6.9).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/fuse.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "csvfs/fuse/fuse_internal.h"
#include "csvfs/fuse/ioctl.h"

#define NOTIFY_RESEND 7 /* as in linux/fuse.h from 7.40 on */
#define FUSE_FD 3
#define ALIVE_FD 4 /* the other end closes with the process of the mount */
#define FIRST_OTHER_FD 5u
/* Longer it is not waited for: one of its threads may itself wait for a page that a READ is to fill. */
#define ALIVE_MAX_MS 10000

/* The shutdown itself ends well, as its repetition does. */
static bool is_shutdown(const struct fuse_in_header *in)
{
	const struct fuse_ioctl_in *arg = (const struct fuse_ioctl_in *)(const void *)(in + 1);

	return in->opcode == FUSE_IOCTL && in->uid == 0 && in->len >= sizeof(*in) + sizeof(*arg) &&
		arg->cmd == CSV_IOC_SHUTDOWN;
}

static void answer(const struct fuse_in_header *in)
{
	struct fuse_ioctl_out done = { .result = 0 };
	struct fuse_out_header out = { .len = sizeof(out), .error = -EIO, .unique = in->unique };
	struct iovec iov[2] = { { &out, sizeof(out) }, { &done, sizeof(done) } };
	int nr = 1;

	if (in->opcode == FUSE_FORGET || in->opcode == FUSE_BATCH_FORGET || in->opcode == FUSE_INTERRUPT)
		return; /* without an answer */
	if (is_shutdown(in)) {
		out.error = 0;
		out.len += sizeof(done);
		nr = 2;
	}
	if (writev(FUSE_FD, iov, nr) < 0)
		return; /* nobody waits for it any more */
}

static void resend(void)
{
	struct fuse_out_header out = { .len = sizeof(out), .error = NOTIFY_RESEND };

	if (write(FUSE_FD, &out, sizeof(out)) < 0)
		_exit(1); /* with the last descriptor the connection ends */
}

static _Noreturn void serve(void *mem, size_t len)
{
	struct pollfd alive = { .fd = ALIVE_FD, .events = POLLIN };
	struct pollfd fuse = { .fd = FUSE_FD, .events = POLLIN };

	while (poll(&alive, 1, ALIVE_MAX_MS) < 0 && errno == EINTR)
		;
	close(ALIVE_FD);
	resend();
	for (;;) {
		ssize_t n = read(FUSE_FD, mem, len);
		if (n >= (ssize_t)sizeof(struct fuse_in_header))
			answer(mem);
		else if (n < 0 && errno == EAGAIN)
			(void)poll(&fuse, 1, -1);
		else if (n < 0 && errno != EINTR && errno != ENOENT)
			_exit(0); /* ENODEV: unmounted */
	}
}

/* fd and alive become FUSE_FD and ALIVE_FD, null the standard ones, and there are no others. */
static void only(int fd, int alive, int null)
{
	int high_fd = fcntl(fd, F_DUPFD, 10), high_alive = fcntl(alive, F_DUPFD, 10);

	for (int i = 0; i < 3; i++)
		dup2(null, i);
	if (high_fd < 0 || high_alive < 0 || dup2(high_fd, FUSE_FD) < 0 ||
		dup2(high_alive, ALIVE_FD) < 0 || syscall(SYS_close_range, FIRST_OTHER_FD, ~0u, 0))
		_exit(1);
}

int dead_start(struct fmount *m)
{
	struct recv_buf *rb = m->resends ? recv_get(fworker_self) : NULL;
	int fds[2], null, err = 0;

	if (!rb)
		return m->resends ? -ENOMEM : -EOPNOTSUPP;
	if (pipe2(fds, O_CLOEXEC)) {
		recv_put(fworker_self, rb);
		return -errno;
	}
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	pid_t pid = null < 0 ? -1 : fork();
	if (pid == 0) {
		static const int signals[] = { SIGINT, SIGTERM, SIGSEGV, SIGBUS, SIGABRT };
		for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
			signal(signals[i], SIG_DFL);
		only(fuse_session_fd(m->se), fds[0], null);
		prctl(PR_SET_NAME, "csvfs-dead");
		serve(rb->mem, RECV_BYTES);
	}
	if (pid < 0)
		err = -errno;
	close(fds[0]);
	if (err) {
		close(fds[1]);
		recv_put(fworker_self, rb);
	}
	if (null >= 0)
		close(null);
	return err;
}
