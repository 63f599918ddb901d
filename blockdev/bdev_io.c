/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests: checks, cutting into pieces (bdev_io), emulation, completion, counters.
 *
 * The first piece of a request is its `lead`: it holds what is left to send and counts the pieces
 * under way. It is the last to be freed, and becomes the flush where FUA is emulated. At most
 * PIECES_AT_ONCE pieces of a request are under way. A filter's queue does not cut or emulate: the
 * bottom of the stack does, so filters see requests as they were made.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blockdev/bdev_core_internal.h"

#define PIECES_AT_ONCE 8
#define ZERO_BYTES (1u << 20)

/* Never written, so all of it is the kernel's one zero page. */
static char zero_buf[ZERO_BYTES] __attribute__((aligned(4096)));

static bool op_writes(enum bdev_op op)
{
	return op == BDEV_WRITE || op == BDEV_DISCARD || op == BDEV_WRITE_ZEROES;
}

static bool op_has_range(enum bdev_op op)
{
	return op == BDEV_READ || op_writes(op);
}

/* ---- checks ---- */

static int check_range(const struct bdev *bdev, const struct bdev_req *req)
{
	uint64_t size = atomic_load_explicit(&bdev->size_bytes, memory_order_relaxed);
	uint64_t sum = 0;

	if (req->len_bytes == 0 || (req->off_bytes | req->len_bytes) % bdev->geom.block_bytes)
		return -EINVAL;
	if (req->op == BDEV_READ || req->op == BDEV_WRITE) {
		if (req->nr_iov <= 0 || !req->iov)
			return -EINVAL;
		for (int i = 0; i < req->nr_iov; i++)
			if (checked_add(sum, req->iov[i].iov_len, &sum))
				return -EINVAL;
		if (sum != req->len_bytes)
			return -EINVAL;
	}
	return range_ok(req->off_bytes, req->len_bytes, size) ? 0 : -ERANGE;
}

static int check_caps(const struct bdev *bdev, const struct bdev_req *req)
{
	uint32_t caps = atomic_load_explicit(&bdev->caps, memory_order_relaxed), need = 0;
	uint32_t any = 0;

	switch (req->op) {
	case BDEV_READ:
	case BDEV_MEASURE:
		break;
	case BDEV_FLUSH:
		need = BDEV_CAN_FLUSH;
		break;
	case BDEV_DISCARD:
		need = BDEV_CAN_DISCARD;
		break;
	case BDEV_WRITE:
	case BDEV_WRITE_ZEROES:
		any = req->flags & BDEV_FUA ? BDEV_CAN_FUA | BDEV_CAN_FLUSH : 0;
		break;
	case BDEV_LUN_RESET:
		return bdev->can_lun_reset ? 0 : -EOPNOTSUPP;
	default:
		need = BDEV_CAN_PR;
		if (req->op == BDEV_PR_PREEMPT && req->pr.abort)
			need |= BDEV_CAN_PR_ABORT;
	}
	if ((caps & need) != need || (any && !(caps & any)))
		return -EOPNOTSUPP;
	return op_writes(req->op) && (caps & BDEV_READONLY) ? -EROFS : 0;
}

static int check(const struct bdev *bdev, const struct bdev_req *req)
{
	int err;

	if ((unsigned int)req->op >= BDEV_NR_OPS)
		return -EINVAL;
	err = check_caps(bdev, req);
	if (err)
		return err;
	return op_has_range(req->op) ? check_range(bdev, req) : 0;
}

/* ---- ios ---- */

static struct bdev_io *io_get(struct bdev_queue *queue)
{
	struct bdev_io *io;

	if (!list_empty(&queue->free_ios)) {
		io = list_entry(queue->free_ios.next, struct bdev_io, link);
		list_del(&io->link);
		memset(io, 0, sizeof(*io));
	} else {
		io = calloc(1, MAX(queue->bdev->ops->io_bytes, sizeof(*io)));
		if (!io)
			return NULL;
	}
	io->queue = queue;
	list_init(&io->link);
	list_init(&io->node);
	return io;
}

static void io_put(struct bdev_io *io)
{
	list_add(&io->queue->free_ios, &io->link);
}

bool bdev_io_too_late(const struct bdev_io *io, uint64_t now_ns)
{
	uint64_t deadline = atomic_load(&io->queue->bdev->write_deadline_ns);

	return deadline != UINT64_MAX && now_ns >= deadline && op_writes(io->op) &&
	       !(io->flags & BDEV_GATE);
}

void bdev_io_dispatch(struct bdev_io *io)
{
	struct bdev_queue *queue = io->queue;

	if (bdev_queue_is_fenced(queue)) {
		bdev_io_complete(io, -ERR_FENCED);
		return;
	}
	if (queue->path == BDEV_PATH_STATE_DOWN ||
		(queue->path == BDEV_PATH_STATE_GATED && !(io->flags & BDEV_GATE))) {
		bdev_queue_hold(queue, io);
		return;
	}
	if (!queue->lower && op_writes(io->op) && bdev_io_too_late(io, clock_mono_ns())) {
		bdev_queue_hold_late(queue, io);
		return;
	}
	io->wait_ns = 0;
	list_add_tail(&queue->sent, &io->link);
	queue->bdev->ops->submit(queue, io);
}

void bdev_io_complete(struct bdev_io *io, int status)
{
	struct bdev_queue *queue = io->queue;

	assert(loop_is_owner(queue->loop) && status <= 0);
	io->status = status;
	list_del(&io->link);
	list_add_tail(&queue->completed, &io->link);
	bdev_queue_kick(queue);
}

void bdev_io_requeue(struct bdev_io *io)
{
	struct bdev_queue *queue = io->queue;

	assert(loop_is_owner(queue->loop) && !queue->lower);
	stat_add(&queue->stats->resends, 1);
	list_del(&io->link);
	if (bdev_queue_is_fenced(queue)) {
		bdev_io_complete(io, -ERR_FENCED);
		return;
	}
	bdev_queue_hold(queue, io);
	bdev_queue_kick(queue);
}

/* ---- cutting ---- */

/* The most that one piece of the lead's request may have. */
static uint64_t piece_limit(const struct bdev_io *lead)
{
	const struct bdev *bdev = lead->queue->bdev;

	if (bdev->lower)
		return UINT64_MAX;
	if (lead->emulate_zeroes)
		return MIN(bdev->geom.max_io_bytes, ZERO_BYTES);
	if (lead->req->op == BDEV_READ || lead->req->op == BDEV_WRITE)
		return bdev->geom.max_io_bytes;
	return bdev->geom.max_zero_bytes;
}

static void set_whole(struct bdev_io *lead)
{
	const struct bdev_req *req = lead->req;

	lead->next_off = req->off_bytes;
	lead->left_bytes = op_has_range(req->op) ? req->len_bytes : 0;
	lead->iov_at = 0;
	lead->iov_skip = 0;
	lead->slab_next = lead->slab;
}

/* Room for the iovecs of all pieces: each piece adds at most one to those of the request. */
static int alloc_slab(struct bdev_io *lead)
{
	const struct bdev_req *req = lead->req;
	uint64_t limit = piece_limit(lead);

	if (lead->left_bytes <= limit || !req->iov ||
		!(req->op == BDEV_READ || req->op == BDEV_WRITE))
		return 0;
	lead->slab = calloc(
		(size_t)req->nr_iov + DIV_ROUND_UP(lead->left_bytes, limit), sizeof(*lead->slab));
	lead->slab_next = lead->slab;
	return lead->slab ? 0 : -ENOMEM;
}

/* The iovecs of the next n bytes. */
static void carve_iov(struct bdev_io *lead, struct bdev_io *io, uint64_t n)
{
	const struct iovec *iov = lead->req->iov;

	io->iov = lead->slab_next;
	io->nr_iov = 0;
	while (n > 0) {
		const struct iovec *from = &iov[lead->iov_at];
		size_t take = MIN(from->iov_len - lead->iov_skip, n);

		if (take > 0) {
			lead->slab_next->iov_base = (char *)from->iov_base + lead->iov_skip;
			lead->slab_next->iov_len = take;
			lead->slab_next++;
			io->nr_iov++;
		}
		lead->iov_skip += take;
		n -= take;
		if (lead->iov_skip == from->iov_len) {
			lead->iov_at++;
			lead->iov_skip = 0;
		}
	}
}

static void carve(struct bdev_io *lead, struct bdev_io *io)
{
	struct bdev_req *req = lead->req;
	uint64_t n = MIN(lead->left_bytes, piece_limit(lead));
	bool emulate_fua = lead->want_flush;

	io->lead = lead;
	io->req = req;
	io->op = lead->emulate_zeroes ? BDEV_WRITE : req->op;
	io->flags = req->flags & ~(emulate_fua ? BDEV_FUA : 0);
	io->off_bytes = lead->next_off;
	io->len_bytes = n;
	io->pr = &req->pr;
	if (lead->emulate_zeroes) {
		io->own_iov = (struct iovec){ zero_buf, n };
		io->iov = &io->own_iov;
		io->nr_iov = 1;
	} else if (lead->slab) {
		carve_iov(lead, io, n);
	} else {
		io->iov = req->iov;
		io->nr_iov = req->nr_iov;
	}
	lead->next_off += n;
	lead->left_bytes -= n;
}

/* Sends what may be sent now. What does not fit now goes when a piece is over. */
static void send_pieces(struct bdev_io *lead)
{
	do {
		struct bdev_io *io = lead->idle ? lead : io_get(lead->queue);

		if (!io)
			return; /* out of memory: others are under way, they go on */
		lead->idle = lead->idle && io != lead;
		carve(lead, io);
		lead->nr_pending++;
		bdev_io_dispatch(io);
	} while (lead->left_bytes > 0 && lead->nr_pending < PIECES_AT_ONCE);
}

int bdev_submit(struct bdev_queue *queue, struct bdev_req *req)
{
	struct bdev *bdev = queue->bdev;
	struct bdev_io *lead;
	uint32_t caps;
	int err;

	assert(loop_is_owner(queue->loop) && req->done);
	err = check(bdev, req);
	if (err)
		return err;
	lead = io_get(queue);
	if (!lead)
		return -ENOMEM;
	lead->lead = lead;
	lead->req = req;
	lead->idle = true;
	if (!bdev->lower) {
		caps = atomic_load_explicit(&bdev->caps, memory_order_relaxed);
		lead->emulate_zeroes =
			req->op == BDEV_WRITE_ZEROES && !(caps & BDEV_CAN_WRITE_ZEROES);
		lead->want_flush =
			op_writes(req->op) && (req->flags & BDEV_FUA) && !(caps & BDEV_CAN_FUA);
	}
	set_whole(lead);
	if (alloc_slab(lead)) {
		io_put(lead);
		return -ENOMEM;
	}
	req->queue = queue;
	req->start_ns = clock_mono_ns();
	/* Before fenced is looked at, see bdev_fence_self(). */
	atomic_fetch_add(&queue->in_flight, 1);
	send_pieces(lead);
	return 0;
}

/* ---- completion ---- */

static void account(struct bdev_queue *queue, const struct bdev_req *req, int status)
{
	struct bdev_stats *s = queue->stats;
	uint64_t ns = clock_mono_ns() - req->start_ns, us = ns / 1000;
	int bucket = us ? 63 - __builtin_clzll(us) : 0;

	stat_add(&s->ops[req->op], 1);
	if (op_has_range(req->op) && !status)
		stat_add(&s->bytes[req->op], req->len_bytes);
	if (status)
		stat_add(&s->errors[req->op], 1);
	stat_add(&s->total_ns[req->op], ns);
	if (ns > atomic_load_explicit(&s->max_ns[req->op], memory_order_relaxed))
		atomic_store_explicit(&s->max_ns[req->op], ns, memory_order_relaxed);
	stat_add(&s->latency_log2_us[req->op][MIN(bucket, 31)], 1);
}

static void finish_request(struct bdev_io *lead)
{
	struct bdev_queue *queue = lead->queue;
	struct bdev_req *req = lead->req;
	int status = lead->req_status;

	account(queue, req, status);
	free(lead->slab);
	io_put(lead);
	list_init(&req->link);
	atomic_fetch_sub(&queue->in_flight, 1);
	req->done(req, status);
}

/* The device refused write-zeroes only now: once its pieces are over, write zeroes instead. */
static bool zeroes_refused(const struct bdev_io *io)
{
	return io->op == BDEV_WRITE_ZEROES && io->status == -EOPNOTSUPP && !io->queue->lower;
}

static void restart_emulated(struct bdev_io *lead)
{
	bdev_drop_cap(lead->queue->bdev, BDEV_CAN_WRITE_ZEROES | BDEV_CHEAP_ZEROES);
	lead->restart = false;
	lead->emulate_zeroes = true;
	lead->req_status = 0;
	set_whole(lead);
	send_pieces(lead);
}

static void send_flush(struct bdev_io *lead)
{
	lead->want_flush = false;
	lead->idle = false;
	lead->nr_pending = 1;
	lead->op = BDEV_FLUSH;
	lead->flags = lead->req->flags & BDEV_GATE;
	lead->off_bytes = lead->len_bytes = 0;
	lead->nr_iov = 0;
	bdev_io_dispatch(lead);
}

static void piece_done(struct bdev_io *io)
{
	struct bdev_io *lead = io->lead;
	struct bdev_queue *queue = io->queue;
	int status = queue->fenced ? -ERR_FENCED : io->status;

	if (status == -ERR_FENCED)
		bdev_queue_fence(queue);
	else if (zeroes_refused(io))
		lead->restart = true;
	if (status && !lead->req_status)
		lead->req_status = status;
	if (io == lead)
		lead->idle = true;
	else
		io_put(io);
	lead->nr_pending--;
	if (lead->left_bytes > 0 && !lead->req_status) {
		send_pieces(lead);
		return;
	}
	if (lead->nr_pending > 0)
		return;
	if (lead->restart && lead->req_status == -EOPNOTSUPP)
		restart_emulated(lead);
	else if (lead->want_flush && !lead->req_status)
		send_flush(lead);
	else
		finish_request(lead);
}

void bdev_io_run_completed(struct bdev_queue *queue)
{
	struct list batch = LIST_INIT(batch);

	list_splice_tail(&batch, &queue->completed);
	while (!list_empty(&batch)) {
		struct list *first = batch.next;

		list_del(first);
		piece_done(list_entry(first, struct bdev_io, link)); /* the queue may be gone */
	}
}

/* ---- counters ---- */

void bdev_stats_sum(const struct bdev_queue *queue, struct bdev_counters *sum)
{
	const struct bdev_stats *s = queue->stats;
#define GET(field) atomic_load_explicit(&s->field, memory_order_relaxed)

	for (int op = 0; op < BDEV_NR_OPS; op++) {
		sum->ops[op] += GET(ops[op]);
		sum->bytes[op] += GET(bytes[op]);
		sum->errors[op] += GET(errors[op]);
		sum->total_ns[op] += GET(total_ns[op]);
		sum->max_ns[op] = MAX(sum->max_ns[op], GET(max_ns[op]));
		for (int i = 0; i < 32; i++)
			sum->latency_log2_us[op][i] += GET(latency_log2_us[op][i]);
	}
	sum->reconnects += GET(reconnects);
	sum->resends += GET(resends);
	sum->gate_closings += GET(gate_closings);
	sum->held_by_deadline += GET(held_by_deadline);
	sum->in_flight += atomic_load_explicit(&queue->in_flight, memory_order_relaxed);
#undef GET
}
