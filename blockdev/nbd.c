/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The NBD backend's ops. See nbd_internal.h. The watchers of a queue are as in iscsi.c; libnbd
 * sends by itself when a command is handed to it, as far as the socket takes it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "blockdev/nbd_internal.h"
#include "util/log.h"

#define BYE_MS 1000
#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 2000
#define STEADY_MS 5000
#define ANSWERS_AT_ONCE 64

static struct ev_loop *queue_ev(struct nbc_queue *queue)
{
	return loop_ev(queue->base.loop);
}

static bool expired(uint64_t now_ns, uint64_t then_ns, uint64_t ms)
{
	return now_ns > then_ns && now_ns - then_ns > ms * 1000000;
}

/* ---- ios ---- */

static void on_resend(struct ev_loop *ev, struct ev_timer *timer, int revents)
{
	struct nbc_queue *queue = timer->data;

	while (!list_empty(&queue->delayed)) {
		struct nbc_io *io = nbc_first_io(&queue->delayed);

		list_del(&io->base.node);
		bdev_io_requeue(&io->base);
	}
}

/* The size is told when a connection begins, and a server holds each one to its own. True: io needs
 * a younger one. */
static bool needs_new_connection(const struct nbc_queue *queue, const struct bdev_io *io)
{
	uint64_t end = 0;

	if (io->op == BDEV_READ || io->op == BDEV_WRITE || io->op == BDEV_DISCARD ||
		io->op == BDEV_WRITE_ZEROES)
		end = io->off_bytes + io->len_bytes;
	return (io->op == BDEV_MEASURE || end > queue->conn.info.size_bytes) &&
	       queue->up_ns < io->req->start_ns;
}

static void nbc_submit(struct bdev_queue *base, struct bdev_io *io)
{
	struct nbc_queue *queue = nbc_queue(base);

	if (!queue->conn.fail && queue->conn.up && needs_new_connection(queue, io))
		nbc_conn_fail(&queue->conn, -ERR_TRANSPORT,
			"connecting anew, to be told the export's size");
	if (queue->conn.fail || !queue->conn.up) /* settle() is about to tell */
		nbc_io_later(queue, nbc_io(io), 0);
	else if (io->op == BDEV_MEASURE)
		bdev_io_complete(io, 0); /* came_up() has set it */
	else
		nbc_io_send(queue, nbc_io(io));
}

/* ---- the connection's life ---- */

static void set_size(struct nbc_queue *queue)
{
	struct bdev *bdev = queue->base.bdev;
	uint64_t bytes = queue->conn.info.size_bytes;

	if (bytes != bdev_geom(bdev).size_bytes) {
		log_info(
			"%s: the export has %llu bytes now", bdev->name, (unsigned long long)bytes);
		bdev_set_size(bdev, bytes);
	}
}

/* An export that lost abilities which its users count on is not what was opened. */
static void compare(struct nbc_queue *queue)
{
	const struct nbc_info *known = &nbc_dev(queue->base.bdev)->info, *now = &queue->conn.info;
	uint32_t musts = BDEV_CAN_FLUSH | BDEV_CAN_FUA | BDEV_GLOBAL_FLUSH;

	if (now->block_bytes > known->block_bytes || now->max_io_bytes < known->max_io_bytes ||
		(known->caps & ~now->caps & musts) || (now->caps & ~known->caps & BDEV_READONLY))
		nbc_conn_fail(&queue->conn, -ENODEV,
			"the export is another one now (block size, flush, FUA, several "
			"connections "
			"or read-only differ); nothing is sent to it");
}

static void schedule_retry(struct nbc_queue *queue, bool was_up)
{
	unsigned ms;

	if (was_up && expired(clock_mono_ns(), queue->up_ns, STEADY_MS))
		queue->backoff_ms = 0;
	ms = queue->backoff_ms + rand() % 20;
	queue->backoff_ms = MIN(MAX(2 * queue->backoff_ms, BACKOFF_MIN_MS), BACKOFF_MAX_MS);
	ev_timer_set(&queue->retry, ms / 1000.0, 0);
	ev_timer_start(queue_ev(queue), &queue->retry);
}

static void forget_ios(struct list *ios)
{
	while (!list_empty(ios)) {
		struct nbc_io *io = nbc_first_io(ios);

		list_del(&io->base.node);
		nbc_io_forget_bounce(io);
	}
}

static void drop_connection(struct nbc_queue *queue)
{
	ev_io_stop(queue_ev(queue), &queue->io);
	queue->told_up = false;
	nbc_conn_drop(&queue->conn); /* before the buffers go */
	forget_ios(&queue->flight);
	forget_ios(&queue->answered);
	forget_ios(&queue->delayed);
}

static void lost(struct nbc_queue *queue)
{
	struct nbc_conn *conn = &queue->conn;
	bool was_up = queue->told_up;

	if (was_up)
		log_warn("%s: path lost: %s; trying again until it is back", queue->base.bdev->name,
			conn->why);
	else if (strcmp(queue->told, conn->why))
		log_warn("%s: no path yet: %s", queue->base.bdev->name, conn->why);
	snprintf(queue->told, sizeof(queue->told), "%s", conn->why);
	bdev_queue_path_lost(&queue->base);
	drop_connection(queue);
	bdev_queue_requeue_all(&queue->base);
	if (!was_up)
		conn->address = (conn->address + 1) % conn->cfg->nr_addresses;
	schedule_retry(queue, was_up);
}

static void came_up(struct nbc_queue *queue)
{
	log_info("%s: path is back", queue->base.bdev->name);
	queue->told_up = true;
	queue->told[0] = 0;
	queue->up_ns = clock_mono_ns();
	set_size(queue);
	bdev_queue_path_up(&queue->base);
}

static void settle(struct nbc_queue *queue)
{
	struct nbc_conn *conn = &queue->conn;

	if (conn->h && !conn->fail && nbd_aio_is_dead(conn->h))
		nbc_conn_fail(conn, -ERR_TRANSPORT, "the connection to %s broke", conn->cfg->where);
	nbc_run_answers(queue);
	if (!conn->fail && conn->up && !queue->told_up)
		compare(queue);
	if (conn->fail)
		lost(queue);
	else if (conn->up && !queue->told_up)
		came_up(queue);
}

/* (B7, D4) Nothing that is still here, in libnbd or in the socket may go out any more (N3). */
static void check_deadline(struct nbc_queue *queue)
{
	uint64_t now = list_empty(&queue->flight) ? 0 : clock_mono_ns();
	struct list *pos;

	list_for_each(pos, &queue->flight)
	{
		struct bdev_io *io = list_entry(pos, struct bdev_io, node);

		if (bdev_io_too_late(io, now)) {
			nbc_conn_fail(&queue->conn, -ERR_TRANSPORT,
				"the write deadline passed while writes were under way");
			return;
		}
		if (io->op == BDEV_WRITE && !(io->flags & BDEV_GATE))
			return; /* one deadline for all */
	}
}

static void on_retry(struct ev_loop *ev, struct ev_timer *timer, int revents)
{
	struct nbc_queue *queue = timer->data;

	queue->new_socket = true;
	nbc_conn_start(&queue->conn);
	settle(queue);
}

/* libnbd takes one answer a call: go on while there are more in the socket. */
static void on_io(struct ev_loop *ev, struct ev_io *io, int revents)
{
	struct nbc_queue *queue = io->data;
	struct nbc_conn *conn = &queue->conn;
	int n = 0, left = ANSWERS_AT_ONCE;

	if (conn->up && (nbd_aio_get_direction(conn->h) & LIBNBD_AIO_DIRECTION_WRITE))
		check_deadline(queue);
	if (conn->fail) {
		settle(queue);
		return;
	}
	do {
		nbc_conn_service(conn, revents);
	} while (conn->up && !conn->fail && (revents & EV_READ) && left-- > 0 &&
		 !list_empty(&queue->flight) && !ioctl(io->fd, FIONREAD, &n) && n > 0);
	settle(queue);
}

static void watch_socket(struct nbc_queue *queue)
{
	int events, fd = nbc_conn_socket(&queue->conn, &events);

	if (fd < 0 && !ev_is_active(&queue->io))
		return;
	if (ev_is_active(&queue->io) && !queue->new_socket && queue->io.fd == fd &&
		(queue->io.events & (EV_READ | EV_WRITE)) == events)
		return;
	queue->new_socket = false;
	ev_io_stop(queue_ev(queue), &queue->io);
	if (fd < 0 || !events)
		return;
	ev_io_set(&queue->io, fd, events);
	ev_io_start(queue_ev(queue), &queue->io);
}

static void on_prepare(struct ev_loop *ev, struct ev_prepare *prepare, int revents)
{
	struct nbc_queue *queue = prepare->data;

	settle(queue);
	watch_socket(queue);
}

static void on_tick(struct ev_loop *ev, struct ev_timer *timer, int revents)
{
	struct nbc_queue *queue = timer->data;
	struct nbc_conn *conn = &queue->conn;
	uint64_t now = clock_mono_ns();

	nbc_conn_tick(conn, now);
	if (conn->up && !conn->fail)
		check_deadline(queue);
	if (conn->up && !conn->fail && !list_empty(&queue->flight) &&
		expired(now, nbc_first_io(&queue->flight)->sent_ns, queue->stall_ms)) {
		queue->stall_ms = MIN(queue->stall_ms * 2, 16u * NBC_STALL_MS);
		nbc_conn_fail(conn, -ERR_TRANSPORT, "a command had no answer for %llu seconds",
			(unsigned long long)(now - nbc_first_io(&queue->flight)->sent_ns) /
				1000000000);
	}
	settle(queue);
}

/* ---- ops ---- */

static uint64_t timeout_ns(const struct bdev *bdev)
{
	return clock_mono_ns() + bdev->opts.connect_timeout_ms * 1000000ull;
}

static int nbc_open(struct bdev *bdev, const struct bdev_uri *uri, char **ret_error)
{
	struct nbc_dev *dev = nbc_dev(bdev);
	struct nbc_conn probe;
	int r = nbc_cfg_make(bdev, uri, &dev->cfg, ret_error);

	if (r)
		return r;
	nbc_conn_init(&probe, &dev->cfg);
	r = nbc_conn_open(&probe, timeout_ns(bdev));
	if (r) {
		bdev_fail(ret_error, r, "%s: %s", uri->text, probe.why);
		nbc_cfg_done(&dev->cfg);
		return r;
	}
	dev->info = probe.info;
	bdev->geom = (struct bdev_geom){
		.size_bytes = dev->info.size_bytes,
		.block_bytes = dev->info.block_bytes,
		.phys_bytes = dev->info.phys_bytes,
		.max_io_bytes = dev->info.max_io_bytes,
		.max_zero_bytes = NBC_MAX_ZERO_BYTES,
		.mem_align = 1,
		.caps = dev->info.caps,
	};
	nbc_conn_close(&probe, clock_mono_ns() + BYE_MS * 1000000ull);
	return 0;
}

static void nbc_close(struct bdev *bdev)
{
	nbc_cfg_done(&nbc_dev(bdev)->cfg);
}

static int nbc_queue_open(struct bdev_queue *base)
{
	struct nbc_queue *queue = nbc_queue(base);
	int r;

	list_init(&queue->flight);
	list_init(&queue->answered);
	list_init(&queue->delayed);
	queue->stall_ms = NBC_STALL_MS;
	nbc_conn_init(&queue->conn, &nbc_dev(base->bdev)->cfg);
	r = nbc_conn_open(&queue->conn, timeout_ns(base->bdev));
	if (!r) {
		compare(queue);
		r = queue->conn.fail;
	}
	if (r) {
		log_warn("%s: %s", base->bdev->name, queue->conn.why);
		nbc_conn_drop(&queue->conn);
		return r;
	}
	queue->told_up = queue->new_socket = true;
	queue->up_ns = clock_mono_ns();
	set_size(queue);
	ev_init(&queue->io, on_io);
	ev_init(&queue->retry, on_retry);
	ev_init(&queue->resend, on_resend);
	ev_timer_init(&queue->tick, on_tick, NBC_TICK_MS / 1000.0, NBC_TICK_MS / 1000.0);
	ev_prepare_init(&queue->prepare, on_prepare);
	queue->io.data = queue->retry.data = queue->resend.data = queue;
	queue->tick.data = queue->prepare.data = queue;
	ev_timer_start(queue_ev(queue), &queue->tick);
	ev_prepare_start(queue_ev(queue), &queue->prepare);
	return 0;
}

static void stop_watchers(struct nbc_queue *queue)
{
	struct ev_loop *ev = queue_ev(queue);

	ev_io_stop(ev, &queue->io);
	ev_timer_stop(ev, &queue->tick);
	ev_timer_stop(ev, &queue->retry);
	ev_timer_stop(ev, &queue->resend);
	ev_prepare_stop(ev, &queue->prepare);
}

static void nbc_queue_close(struct bdev_queue *base)
{
	struct nbc_queue *queue = nbc_queue(base);

	stop_watchers(queue);
	nbc_conn_close(&queue->conn, clock_mono_ns() + BYE_MS * 1000000ull);
}

/* Ends the connection at once: nothing that is in flight may still be sent (N3). */
static void nbc_fence(struct bdev_queue *base)
{
	struct nbc_queue *queue = nbc_queue(base);

	stop_watchers(queue);
	bdev_queue_path_lost(base);
	drop_connection(queue);
	bdev_queue_requeue_all(base); /* which fails them all, since the queue is fenced */
}

const struct bdev_ops bdev_nbd_ops = {
	.name = "nbd",
	.bdev_bytes = sizeof(struct nbc_dev),
	.queue_bytes = sizeof(struct nbc_queue),
	.io_bytes = sizeof(struct nbc_io),
	.open = nbc_open,
	.close = nbc_close,
	.queue_open = nbc_queue_open,
	.queue_close = nbc_queue_close,
	.submit = nbc_submit,
	.fence = nbc_fence,
};
