/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The iSCSI backend's ops. See iscsi_internal.h.
 *
 * A queue's watchers: `io` on the session's socket, `tick` for timeouts and keepalive, `retry` for
 * the next attempt to connect, `resend` for what the target was too busy for. `prepare` runs before
 * the loop sleeps: there what was submitted since goes out in one go, and the socket's events are
 * set. All of them end in settle(), which acts on what the session has become.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "blockdev/iscsi_internal.h"
#include "util/log.h"

#define BYE_MS 2000
#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 2000
#define STEADY_MS 5000 /* a session that lived that long is worth an immediate reconnect */

static struct ev_loop *queue_ev(struct isc_queue *queue)
{
	return loop_ev(queue->base.loop);
}

static bool expired(uint64_t now_ns, uint64_t then_ns, uint64_t ms)
{
	return now_ns > then_ns && now_ns - then_ns > ms * 1000000;
}

/* ---- ios ---- */

void isc_io_done(struct isc_io *io, int status)
{
	io->nr_retries = 0;
	io->flushing = false;
	if (status == 0)
		isc_queue(io->base.queue)->stall_ms = ISC_STALL_MS;
	bdev_io_complete(&io->base, status);
}

void isc_io_later(struct isc_queue *queue, struct isc_io *io, unsigned ms)
{
	io->flushing = false;
	io->again_ns = clock_mono_ns() + ms * 1000000ull;
	list_add_tail(&queue->delayed, &io->base.node);
	if (!ev_is_active(&queue->resend)) {
		ev_timer_set(&queue->resend, ms / 1000.0, 0);
		ev_timer_start(queue_ev(queue), &queue->resend);
	}
}

static void on_resend(struct ev_loop *ev, struct ev_timer *timer, int revents)
{
	struct isc_queue *queue = timer->data;
	uint64_t now = clock_mono_ns();
	struct list *pos, *tmp;

	list_for_each_safe(pos, tmp, &queue->delayed)
	{
		struct isc_io *io = isc_io(list_entry(pos, struct bdev_io, node));

		if (io->again_ns > now)
			continue;
		list_del(pos);
		bdev_io_requeue(&io->base);
	}
	if (!list_empty(&queue->delayed)) {
		ev_timer_set(timer, 0.01, 0);
		ev_timer_start(ev, timer);
	}
}

static void isc_submit(struct bdev_queue *base, struct bdev_io *io)
{
	struct isc_queue *queue = isc_queue(base);

	/* tgtd reserves for a registrant whatever key it tells, against SPC-4 5.12.9. */
	if (io->op == BDEV_PR_RESERVE && queue->key && io->pr->key != queue->key) {
		bdev_io_complete(io, -EBUSY);
		return;
	}
	if (queue->conn.fail || queue->conn.state != ISC_UP) /* settle() is about to tell */
		isc_io_later(queue, isc_io(io), 0);
	else
		isc_io_send(queue, isc_io(io));
}

void isc_queue_suspect(struct isc_queue *queue)
{
	if (!list_empty(&queue->changes) || !list_empty(&queue->others))
		queue->reset_ns = clock_mono_ns();
}

/* ---- capacity ---- */

void isc_queue_set_capacity(struct isc_queue *queue, const struct isc_lun *lun)
{
	struct bdev *bdev = queue->base.bdev;
	uint64_t bytes = lun->nr_blocks * lun->block_bytes;

	if (bytes != bdev_geom(bdev).size_bytes) {
		log_info("%s: the LUN has %llu bytes now", bdev->name, (unsigned long long)bytes);
		bdev_set_size(bdev, bytes);
	}
}

static void on_capacity(struct isc_cmd *cmd, int status, struct scsi_task *task)
{
	struct isc_queue *queue = cmd->conn->queue;
	struct isc_lun lun = {0};

	if (status == SCSI_STATUS_CHECK_CONDITION && task->sense.key == SCSI_SENSE_UNIT_ATTENTION) {
		isc_attention(queue, task->sense.ascq);
		queue->want_capacity = true;
	} else if (status == SCSI_STATUS_GOOD && !isc_parse_capacity(&lun, task) &&
		   lun.block_bytes == isc_dev(queue->base.bdev)->lun.block_bytes) {
		isc_queue_set_capacity(queue, &lun);
	}
}

void isc_queue_read_capacity(struct isc_queue *queue)
{
	queue->want_capacity = true;
	if (queue->conn.cmd.task || queue->conn.state != ISC_UP || queue->conn.fail)
		return; /* the tick comes back to it */
	queue->want_capacity = false;
	isc_cmd_send(&queue->conn.cmd, scsi_cdb_readcapacity16(), on_capacity);
}

/* ---- the session's life ---- */

static void stop_io(struct isc_queue *queue)
{
	ev_io_stop(queue_ev(queue), &queue->io);
}

static void free_tasks(struct list *ios)
{
	while (!list_empty(ios)) {
		struct isc_io *io = isc_io(list_entry(ios->next, struct bdev_io, node));

		list_del(&io->base.node);
		scsi_free_scsi_task(io->task);
		io->task = NULL;
		io->flushing = false; /* what was zeroed may have been in a cache that is gone */
	}
}

static void schedule_retry(struct isc_queue *queue, bool was_up)
{
	unsigned ms;

	if (was_up && expired(clock_mono_ns(), queue->up_ns, STEADY_MS))
		queue->backoff_ms = 0;
	ms = queue->backoff_ms + rand() % 20;
	queue->backoff_ms = MIN(MAX(2 * queue->backoff_ms, BACKOFF_MIN_MS), BACKOFF_MAX_MS);
	ev_timer_set(&queue->retry, ms / 1000.0, 0);
	ev_timer_start(queue_ev(queue), &queue->retry);
}

static void drop_session(struct isc_queue *queue)
{
	struct isc_conn *conn = &queue->conn;

	stop_io(queue);
	isc_conn_drop(conn);
	queue->told_up = false;
	queue->reset_ns = 0;
	free_tasks(&queue->changes);
	free_tasks(&queue->others);
	free_tasks(&queue->delayed);
}

static void lost(struct isc_queue *queue)
{
	struct isc_conn *conn = &queue->conn;
	bool was_up = queue->told_up;

	if (was_up)
		log_warn("%s: path lost: %s; trying again until it is back", conn->name, conn->why);
	else if (strcmp(queue->told, conn->why))
		log_warn("%s: no path yet: %s", conn->name, conn->why);
	snprintf(queue->told, sizeof(queue->told), "%s", conn->why);
	bdev_queue_path_lost(&queue->base);
	drop_session(queue);
	bdev_queue_requeue_all(&queue->base);
	if (!was_up)
		conn->portal = (conn->portal + 1) % conn->cfg->nr_portals;
	schedule_retry(queue, was_up);
}

static void came_up(struct isc_queue *queue)
{
	log_info("%s: path is back", queue->conn.name);
	queue->told_up = true;
	queue->told[0] = 0;
	queue->up_ns = clock_mono_ns();
	isc_queue_set_capacity(queue, &queue->conn.lun);
	bdev_queue_path_up(&queue->base);
}

static void settle(struct isc_queue *queue)
{
	if (queue->conn.fail)
		lost(queue);
	else if (queue->conn.up && !queue->told_up)
		came_up(queue);
}

/* (B7, D4) Nothing that is still here, in libiscsi or in the socket may go out any more (I5). */
static bool too_late(struct isc_queue *queue)
{
	uint64_t now = list_empty(&queue->changes) ? 0 : clock_mono_ns();
	struct list *pos;

	list_for_each(pos, &queue->changes)
	{
		struct bdev_io *io = list_entry(pos, struct bdev_io, node);

		if (bdev_io_too_late(io, now)) {
			isc_conn_fail(&queue->conn, -ERR_TRANSPORT,
				"the write deadline passed while writes were under way");
			return true;
		}
		if (!(io->flags & BDEV_GATE))
			return false;
	}
	return false;
}

static void service(struct isc_queue *queue, int revents)
{
	if (!(revents & POLLOUT) || !too_late(queue))
		isc_conn_service(&queue->conn, revents);
}

static void on_retry(struct ev_loop *ev, struct ev_timer *timer, int revents)
{
	struct isc_queue *queue = timer->data;

	isc_conn_start(&queue->conn);
	settle(queue);
}

static void on_io(struct ev_loop *ev, struct ev_io *io, int revents)
{
	struct isc_queue *queue = io->data;

	service(queue, (revents & EV_READ ? POLLIN : 0) | (revents & EV_WRITE ? POLLOUT : 0));
	settle(queue);
}

static void watch_socket(struct isc_queue *queue)
{
	struct isc_conn *conn = &queue->conn;
	int fd, want, events = 0;

	if (!conn->ctx)
		return;
	fd = iscsi_get_fd(conn->ctx);
	want = iscsi_which_events(conn->ctx);
	events |= want & POLLIN ? EV_READ : 0;
	events |= want & POLLOUT ? EV_WRITE : 0;
	if (ev_is_active(&queue->io) && !conn->new_socket && queue->io.fd == fd &&
		(queue->io.events & (EV_READ | EV_WRITE)) == events)
		return;
	conn->new_socket = false;
	stop_io(queue);
	if (fd < 0 || !events)
		return;
	ev_io_set(&queue->io, fd, events);
	ev_io_start(queue_ev(queue), &queue->io);
}

static void on_prepare(struct ev_loop *ev, struct ev_prepare *prepare, int revents)
{
	struct isc_queue *queue = prepare->data;
	struct isc_conn *conn = &queue->conn;

	if (conn->ctx && conn->tcp_up && !conn->fail && (iscsi_which_events(conn->ctx) & POLLOUT))
		service(queue, POLLOUT);
	settle(queue);
	watch_socket(queue);
}

/* ---- what is in flight for too long ---- */

static void on_probe(struct isc_cmd *cmd, int status, struct scsi_task *task)
{
	if (status == SCSI_STATUS_CHECK_CONDITION && task->sense.key == SCSI_SENSE_UNIT_ATTENTION)
		isc_attention(cmd->conn->queue, task->sense.ascq);
}

static void judge_flight(struct isc_queue *queue, const struct list *ios, uint64_t now)
{
	struct isc_conn *conn = &queue->conn;
	struct isc_io *oldest;

	if (list_empty(ios) || conn->fail)
		return;
	oldest = isc_io(list_entry(ios->next, struct bdev_io, node));
	if (queue->reset_ns && oldest->sent_ns < queue->reset_ns) {
		if (expired(now, queue->reset_ns, ISC_SUSPECT_MS))
			isc_conn_fail(conn, -ERR_TRANSPORT, "a reset has dropped commands");
	} else if (expired(now, oldest->sent_ns, queue->stall_ms)) {
		queue->stall_ms = MIN(queue->stall_ms * 2, 16u * ISC_STALL_MS);
		isc_conn_fail(conn, -ERR_TRANSPORT,
			"the target answers, but a command has had no answer for %llu seconds",
			(unsigned long long)(now - oldest->sent_ns) / 1000000000);
	}
	if (!conn->fail && !conn->probe.task && expired(now, oldest->sent_ns, ISC_PROBE_MS) &&
		expired(now, queue->probe_ns, ISC_PROBE_MS)) {
		queue->probe_ns = now;
		isc_cmd_send(&conn->probe, scsi_cdb_testunitready(), on_probe);
	}
}

static void on_tick(struct ev_loop *ev, struct ev_timer *timer, int revents)
{
	struct isc_queue *queue = timer->data;
	uint64_t now = clock_mono_ns();

	isc_conn_tick(&queue->conn, now);
	if (queue->conn.state == ISC_UP && !queue->conn.fail) {
		judge_flight(queue, &queue->changes, now);
		judge_flight(queue, &queue->others, now);
		if (queue->want_capacity)
			isc_queue_read_capacity(queue);
		if (!queue->conn.fail)
			too_late(queue);
	}
	settle(queue);
}

/* ---- ops ---- */

static uint64_t timeout_ns(const struct bdev *bdev)
{
	return clock_mono_ns() + bdev->opts.connect_timeout_ms * 1000000ull;
}

/* libiscsi writes data with writev(): without this the loss of a connection ends the process. */
static void ignore_sigpipe(void)
{
	struct sigaction now, ignore = {.sa_handler = SIG_IGN};

	if (!sigaction(SIGPIPE, NULL, &now) && !(now.sa_flags & SA_SIGINFO) &&
		now.sa_handler == SIG_DFL)
		sigaction(SIGPIPE, &ignore, NULL);
}

static int isc_open(struct bdev *bdev, const struct bdev_uri *uri, char **ret_error)
{
	struct isc_dev *dev = isc_dev(bdev);
	struct isc_conn probe;
	int r;

	ignore_sigpipe();
	r = isc_cfg_make(bdev, uri, &dev->cfg, ret_error);
	if (r)
		return r;
	isc_conn_init(&probe, &dev->cfg, bdev->name, NULL);
	r = isc_conn_open(&probe, timeout_ns(bdev));
	if (r) {
		bdev_fail(ret_error, r, "%s: %s", uri->text, probe.why);
		isc_cfg_done(&dev->cfg);
		return r;
	}
	dev->lun = probe.lun;
	isc_geom(&dev->lun, &bdev->geom);
	bdev->can_lun_reset = true;
	isc_conn_logout(&probe, clock_mono_ns() + BYE_MS * 1000000ull);
	isc_conn_drop(&probe);
	return 0;
}

static void isc_close(struct bdev *bdev)
{
	isc_cfg_done(&isc_dev(bdev)->cfg);
}

static void init_watchers(struct isc_queue *queue)
{
	ev_init(&queue->io, on_io);
	ev_init(&queue->retry, on_retry);
	ev_init(&queue->resend, on_resend);
	ev_timer_init(&queue->tick, on_tick, ISC_TICK_MS / 1000.0, ISC_TICK_MS / 1000.0);
	ev_prepare_init(&queue->prepare, on_prepare);
	queue->io.data = queue->retry.data = queue->resend.data = queue;
	queue->tick.data = queue->prepare.data = queue;
}

static int isc_queue_open(struct bdev_queue *base)
{
	struct isc_queue *queue = isc_queue(base);
	struct isc_dev *dev = isc_dev(base->bdev);
	int r;

	list_init(&queue->changes);
	list_init(&queue->others);
	list_init(&queue->delayed);
	queue->stall_ms = ISC_STALL_MS;
	isc_conn_init(&queue->conn, &dev->cfg, base->bdev->name, queue);
	r = isc_conn_open(&queue->conn, timeout_ns(base->bdev));
	if (r) {
		log_warn("%s: %s", queue->conn.name, queue->conn.why);
		return r;
	}
	queue->told_up = true;
	queue->up_ns = clock_mono_ns();
	isc_queue_set_capacity(queue, &queue->conn.lun);
	init_watchers(queue);
	ev_timer_start(queue_ev(queue), &queue->tick);
	ev_prepare_start(queue_ev(queue), &queue->prepare);
	return 0;
}

static void stop_watchers(struct isc_queue *queue)
{
	struct ev_loop *ev = queue_ev(queue);

	ev_io_stop(ev, &queue->io);
	ev_timer_stop(ev, &queue->tick);
	ev_timer_stop(ev, &queue->retry);
	ev_timer_stop(ev, &queue->resend);
	ev_prepare_stop(ev, &queue->prepare);
}

static void on_unregistered(struct isc_cmd *cmd, int status, struct scsi_task *task)
{
	struct isc_queue *queue = cmd->conn->queue;

	if (status == SCSI_STATUS_CHECK_CONDITION && task->sense.key == SCSI_SENSE_UNIT_ATTENTION)
		isc_cmd_send(cmd,
			isc_pr_out_task(SCSI_PERSISTENT_RESERVE_REGISTER_AND_IGNORE_EXISTING_KEY, 0,
				0, 0, false),
			on_unregistered);
	else
		queue->unregistered = true;
}

static void isc_queue_close(struct bdev_queue *base)
{
	struct isc_queue *queue = isc_queue(base);
	struct isc_conn *conn = &queue->conn;
	uint64_t deadline = clock_mono_ns() + BYE_MS * 1000000ull;

	stop_watchers(queue);
	if (conn->state == ISC_UP && !conn->fail && queue->key && !queue->fenced) {
		isc_cmd_send(&conn->bye,
			isc_pr_out_task(SCSI_PERSISTENT_RESERVE_REGISTER_AND_IGNORE_EXISTING_KEY, 0,
				0, 0, false),
			on_unregistered);
		if (isc_conn_wait(conn, &queue->unregistered, deadline))
			log_warn("%s: the registration could not be taken back", conn->name);
	}
	isc_conn_logout(conn, deadline);
	isc_conn_drop(conn);
}

/* Ends the session at once: nothing that is in flight may still be sent (I5). */
static void isc_fence(struct bdev_queue *base)
{
	struct isc_queue *queue = isc_queue(base);

	queue->fenced = true;
	stop_watchers(queue);
	bdev_queue_path_lost(base);
	drop_session(queue);
	bdev_queue_requeue_all(base); /* which fails them all, since the queue is fenced */
}

const struct bdev_ops bdev_iscsi_ops = {
	.name = "iscsi",
	.bdev_bytes = sizeof(struct isc_dev),
	.queue_bytes = sizeof(struct isc_queue),
	.io_bytes = sizeof(struct isc_io),
	.open = isc_open,
	.close = isc_close,
	.queue_open = isc_queue_open,
	.queue_close = isc_queue_close,
	.submit = isc_submit,
	.fence = isc_fence,
};
