/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bdev_io to an NBD command and back. */
#include <errno.h>
#include <stdlib.h>

#include "blockdev/nbd_internal.h"
#include "util/log.h"

#define NO_MEMORY_MS 20

void nbc_io_forget_bounce(struct nbc_io *io)
{
	free(io->bounce);
	io->bounce = NULL;
}

void nbc_io_later(struct nbc_queue *queue, struct nbc_io *io, unsigned int ms)
{
	list_add_tail(&queue->delayed, &io->base.node);
	if (!ev_is_active(&queue->resend)) {
		ev_timer_set(&queue->resend, ms / 1000.0, 0);
		ev_timer_start(loop_ev(queue->base.loop), &queue->resend);
	}
}

/* (N2) */
static int on_answer(void *arg, int *error)
{
	struct nbc_io *io = arg;

	io->error = *error;
	list_del(&io->base.node);
	list_add_tail(&nbc_queue(io->base.queue)->answered, &io->base.node);
	return 0;
}

/* libnbd knows no scatter-gather: several iovecs go through one buffer. */
static void *io_buffer(struct nbc_io *io)
{
	if (io->base.nr_iov == 1)
		return io->base.iov[0].iov_base;
	io->bounce = malloc(io->base.len_bytes);
	if (io->bounce && io->base.op == BDEV_WRITE)
		bdev_iov_to_buf(io->base.iov, io->base.nr_iov, io->bounce, io->base.len_bytes);
	return io->bounce;
}

void nbc_io_send(struct nbc_queue *queue, struct nbc_io *io)
{
	struct nbd_handle *h = queue->conn.h;
	nbd_completion_callback done = {.callback = on_answer, .user_data = io};
	uint32_t fua = io->base.flags & BDEV_FUA ? LIBNBD_CMD_FLAG_FUA : 0;
	uint64_t off = io->base.off_bytes, len = io->base.len_bytes;
	void *buf = NULL;

	if (io->base.op == BDEV_READ || io->base.op == BDEV_WRITE) {
		buf = io_buffer(io);
		if (!buf) {
			nbc_io_later(queue, io, NO_MEMORY_MS);
			return;
		}
	}
	io->sent_ns = clock_mono_ns();
	io->error = 0;
	list_add_tail(&queue->flight, &io->base.node);
	switch (io->base.op) {
	case BDEV_READ:
		io->cookie = nbd_aio_pread(h, buf, len, off, done, 0);
		break;
	case BDEV_WRITE:
		io->cookie = nbd_aio_pwrite(h, buf, len, off, done, fua);
		break;
	case BDEV_FLUSH:
		io->cookie = nbd_aio_flush(h, done, 0);
		break;
	case BDEV_DISCARD:
		io->cookie = nbd_aio_trim(h, len, off, done, fua);
		break;
	case BDEV_WRITE_ZEROES:
		io->cookie = nbd_aio_zero(h, len, off, done, fua);
		break;
	default:
		list_del(&io->base.node);
		bdev_io_complete(&io->base, -EOPNOTSUPP);
		return;
	}
	if (io->cookie >= 0)
		return;
	if (nbd_aio_is_dead(h) || nbd_aio_is_closed(h)) { /* waits in flight for the end of it */
		nbc_conn_fail_libnbd(&queue->conn);
		return;
	}
	log_debug("%s: %s", queue->base.bdev->name, nbd_get_error());
	list_del(&io->base.node);
	nbc_io_forget_bounce(io);
	bdev_io_complete(&io->base, -EREMOTEIO);
}

static int status_of(int error)
{
	switch (error) {
	case 0:
		return 0;
	case EIO:
		return -EIO;
	case ENOSPC:
		return -ENOSPC;
	case EOPNOTSUPP:
#if ENOTSUP != EOPNOTSUPP
	case ENOTSUP:
#endif
		return -EOPNOTSUPP;
	default:
		return -EREMOTEIO;
	}
}

void nbc_run_answers(struct nbc_queue *queue)
{
	struct nbc_conn *conn = &queue->conn;

	while (!list_empty(&queue->answered)) {
		struct nbc_io *io = nbc_first_io(&queue->answered);
		int error = io->error;

		/* Also tells of a read with a part left out. */
		if (nbd_aio_command_completed(conn->h, io->cookie) < 0 && !error)
			error = nbd_get_errno() ? nbd_get_errno() : EIO;
		if (error == ESHUTDOWN)
			nbc_conn_fail(conn, -ERR_TRANSPORT, "the server at %s is shutting down",
				conn->cfg->where);
		list_del(&io->base.node);
		if (error && conn->fail) {
			list_add_tail(&queue->flight, &io->base.node);
			continue;
		}
		if (!error && io->bounce && io->base.op == BDEV_READ)
			bdev_iov_from_buf(
				io->base.iov, io->base.nr_iov, io->bounce, io->base.len_bytes);
		nbc_io_forget_bounce(io);
		if (!error)
			queue->stall_ms = NBC_STALL_MS;
		bdev_io_complete(&io->base, status_of(error));
	}
}
