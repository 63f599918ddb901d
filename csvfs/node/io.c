/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The way of an I/O. States, and what moves it on:
 *
 *   begin     io_admit: may go / must wait (inode's waiters) / needs a layout
 *   fetching  LAYOUT is answered: io_admit again, on the service thread, so that what was granted is
 *             used before it can be recalled; then go, or begin again
 *   going     the device has every segment done
 *   committing  COMMIT is answered; -ERR_STALE: begin again (the space was zeroed or taken)
 *   ended     the count falls, done() is called
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "csvfs/node/node_internal.h"
#include "util/checked.h"
#include "util/err.h"

#define INLINE_BYTES 1024u
#define LAYOUT_READ_AHEAD_BLKS (1u << 18) /* 1 GiB of mapping is asked for at once */

static void io_go(struct loop_work *work);

static void post(struct node_io *io, void (*fn)(struct loop_work *work))
{
	io->work.fn = fn;
	loop_post(io->worker->loop, &io->work);
}

static void io_begin_work(struct loop_work *work)
{
	io_begin(container_of(work, struct node_io, work));
}

void io_restart(struct node_io *io)
{
	post(io, io_begin_work);
}

/* ---- end ---- */

/* It goes to the device no more, or not now; others may. Also one that was never counted: who found
 * it in excl_wanted waits for it. */
static void io_uncount(struct node_io *io)
{
	struct node_inode *ni = io->ni;

	pthread_mutex_lock(&ni->lock);
	if (io->counted) {
		io->counted = false;
		ni->inflight--;
		if (io->exclusive)
			ni->excl_busy = false;
	}
	if (ni->excl_wanted == io)
		ni->excl_wanted = NULL;
	if (ni->recall_pending || ni->refresh_pending || !list_empty(&ni->waiters))
		inode_settle(ni);
	pthread_mutex_unlock(&ni->lock);
}

/* On the worker's thread. */
static void io_end_work(struct loop_work *work)
{
	struct node_io *io = container_of(work, struct node_io, work);
	struct node *node = io->worker->node;

	io_uncount(io);
	if (io->segs != &io->one_seg)
		free(io->segs);
	rmw_free(io);
	if (io->status == 0) {
		atomic_fetch_add(&node->io_ops[io->op], 1);
		atomic_fetch_add(&node->io_bytes[io->op], io->nr_bytes);
	}
	io->done(io, io->status, io->status ? 0 : io->nr_bytes, io->skip_bytes);
}

void io_end(struct node_io *io, int status)
{
	io->status = status;
	post(io, io_end_work);
}

/* ---- commit ---- */

static void commit_answered(struct node_call *call, int status, struct csvp_in *reply)
{
	struct node_io *io = container_of(call, struct node_io, call);
	struct node_inode *ni = io->ni;
	const struct csvp_size *body = reply ? csvp_get(reply, sizeof(*body)) : NULL;

	if (status == 0 && !body)
		status = -EPROTO;
	if (status == -ERR_STALE) {
		pthread_mutex_lock(&ni->lock);
		layout_clear(&ni->layout);
		pthread_mutex_unlock(&ni->lock);
		/* An append is alone here: its COMMIT was carried out, and the answer lost with a
		 * coordinator. Written again, where it was. */
		io->append = false;
		io_uncount(io);
		io_restart(io);
		return;
	}
	if (status == 0) {
		pthread_mutex_lock(&ni->lock);
		ni->size = MAX(ni->size, le64_get(body->size));
		for (uint32_t i = 0; i < io->nr_ranges; i++) {
			struct csv_extent e;
			uint64_t blk = le64_get(io->ranges[i].blk);
			if (!layout_find(&ni->layout, blk, &e))
				continue; /* the cache was started anew */
			e.nr = MIN(e.nr, le64_get(io->ranges[i].nr));
			e.state = CSV_WRITTEN;
			if (layout_insert(&ni->layout, &e))
				break;
		}
		pthread_mutex_unlock(&ni->lock);
	}
	io_end(io, status);
}

static void io_commit(struct node_io *io, uint64_t wrote_ns);

static void io_flushed(struct bdev_req *req, int status)
{
	struct node_io *io = req->arg;

	if (status)
		io_end(io, status);
	else
		io_commit(io, clock_real_ns());
}

/* The flush before the record (docs/DESIGN.md, E6) is the coordinator's; where that does not cover
 * our writes, they are made stable first. */
static void io_flush(struct node_io *io)
{
	struct bdev_req *req = &io->flush;

	*req = (struct bdev_req){ .op = BDEV_FLUSH, .done = io_flushed, .arg = io };
	int err = bdev_submit(io->worker->queue, req);
	if (err == -EOPNOTSUPP) /* nothing is cached there */
		io_commit(io, clock_real_ns());
	else if (err)
		io_end(io, err);
}

void io_written(struct node_io *io)
{
	struct node_inode *ni = io->ni;

	if (io->status) {
		io_end(io, io->status);
		return;
	}
	pthread_mutex_lock(&ni->lock);
	inode_wrote(ni);
	uint64_t wrote_ns = ni->wrote_ns;
	pthread_mutex_unlock(&ni->lock);
	if (!io->nr_ranges && !io->new_size) {
		io_end_work(&io->work);
		return;
	}
	if (ni->node->global_flush)
		io_commit(io, wrote_ns);
	else
		io_flush(io);
}

static void io_commit(struct node_io *io, uint64_t wrote_ns)
{
	struct node_inode *ni = io->ni;

	csvp_begin(&io->call.msg, CSVP_COMMIT, 0, 0, 0);
	struct csvp_commit *body = csvp_put(&io->call.msg, sizeof(*body));
	if (body) {
		body->ino = le64_of(ni->hash.key);
		body->new_size = le64_of(io->new_size);
		body->wrote_ns = le64_of(wrote_ns);
		body->nr_ranges = le32_of(io->nr_ranges);
	}
	csvp_put_bytes(&io->call.msg, io->ranges, io->nr_ranges * sizeof(io->ranges[0]));
	io->call.modifies = false; /* a second COMMIT of the same finds it written: -ERR_STALE */
	io->call.done = commit_answered;
	node_call(ni->node, &io->call);
}

/* ---- the device ---- */

int io_add_seg(struct node_io *io, uint64_t phys_bytes, void *mem, uint64_t len_bytes)
{
	if (io->nr_segs) { /* often it only continues, on the device and in memory (no hole between) */
		struct node_seg *last = &io->segs[io->nr_segs - 1];
		if (last->req.off_bytes + last->req.len_bytes == phys_bytes &&
			(uint8_t *)last->iov.iov_base + last->iov.iov_len == mem) {
			last->req.len_bytes += len_bytes;
			last->iov.iov_len += len_bytes;
			return 0;
		}
	}
	if (io->nr_segs == io->room_segs) {
		uint32_t room = io->room_segs ? io->room_segs * 4 : 1;
		struct node_seg *segs = room == 1 ? &io->one_seg : malloc(room * sizeof(*segs));
		if (!segs)
			return -ENOMEM;
		if (io->nr_segs)
			memcpy(segs, io->segs, io->nr_segs * sizeof(*segs));
		if (io->segs != &io->one_seg)
			free(io->segs);
		io->segs = segs;
		io->room_segs = room;
	}
	io->segs[io->nr_segs++] = (struct node_seg){
		.req = { .off_bytes = phys_bytes, .len_bytes = len_bytes },
		.iov = { mem, len_bytes },
	};
	return 0;
}

static void seg_done(struct bdev_req *req, int status)
{
	struct node_io *io = req->arg;

	if (status && !io->status)
		io->status = status;
	if (--io->segs_left == 0) {
		if (io->op == NODE_READ)
			io_end_work(&io->work);
		else
			io_written(io);
	}
}

void io_submit_segs(struct node_io *io)
{
	io->segs_left = io->nr_segs + 1;
	for (uint32_t i = 0; i < io->nr_segs; i++) {
		struct node_seg *seg = &io->segs[i];
		seg->req.op = io->op == NODE_READ ? BDEV_READ : BDEV_WRITE;
		seg->req.iov = &seg->iov;
		seg->req.nr_iov = 1;
		seg->req.done = seg_done;
		seg->req.arg = io;
		int err = bdev_submit(io->worker->queue, &seg->req);
		if (err) {
			if (!io->status)
				io->status = err;
			io->segs_left--;
		}
	}
	if (--io->segs_left == 0) { /* none was taken */
		if (io->op == NODE_READ)
			io_end(io, io->status);
		else
			io_written(io);
	}
}

static void io_go(struct loop_work *work)
{
	struct node_io *io = container_of(work, struct node_io, work);

	if (io->status)
		io_end(io, io->status);
	else if (io->rmw)
		rmw_go(io);
	else
		io_submit_segs(io);
}

/* ---- layouts ---- */

static int layout_apply(struct node_io *io, struct csvp_in *in)
{
	struct node_inode *ni = io->ni;
	const struct csvp_layout_reply *body = csvp_get(in, sizeof(*body));

	if (!body || le32_get(body->nr_extents) > CSVP_MAX_EXTENTS ||
		le32_get(body->mode) > CSVP_EXCL || le32_get(body->inline_len) > INLINE_BYTES)
		return -EPROTO;
	ni->mode = le32_get(body->mode);
	ni->size = le64_get(body->size);
	ni->is_inline = le32_get(body->is_inline);
	ni->has_priv = le32_get(body->has_priv);
	for (uint32_t i = 0; i < le32_get(body->nr_extents); i++) {
		const struct csvp_extent *e = csvp_get(in, sizeof(*e));
		if (!e || le32_get(e->state) > CSV_SHARED || !le64_get(e->nr) ||
			!range_ok(le64_get(e->blk), le64_get(e->nr), CSVP_FILE_MAX_BLKS) ||
			!range_ok(le64_get(e->phys), le64_get(e->nr), CSVP_FILE_MAX_BLKS))
			return -EPROTO;
		struct csv_extent ext = { le64_get(e->blk), le64_get(e->nr), le64_get(e->phys),
			le32_get(e->state) };
		int err = layout_insert(&ni->layout, &ext);
		if (err)
			return err;
	}
	if (!ni->is_inline || io->op != NODE_READ)
		return 0;
	/* The bytes came along. */
	inode_was_read(ni);
	uint32_t len = le32_get(body->inline_len);
	const uint8_t *bytes = csvp_get(in, len);
	uint64_t end = MIN(io->off_bytes + io->len_bytes, ni->size);
	if (!bytes)
		return -EPROTO;
	io->skip_bytes = 0;
	io->nr_bytes = end > io->off_bytes ? (uint32_t)(end - io->off_bytes) : 0;
	memset(io->buf, 0, io->nr_bytes);
	if (io->off_bytes < len)
		memcpy(io->buf, bytes + io->off_bytes, MIN(len - io->off_bytes, io->nr_bytes));
	return 0;
}

static void io_fetch(struct node_io *io);

static void layout_answered(struct node_call *call, int status, struct csvp_in *reply)
{
	struct node_io *io = container_of(call, struct node_io, call);
	struct node_inode *ni = io->ni;

	if (status == -ERR_STALE && io->paging) { /* the token went while it was asked about (C7) */
		io_restart(io);
		return;
	}
	pthread_mutex_lock(&ni->lock);
	if (!status)
		status = layout_apply(io, reply);
	if (!status && ni->is_inline && io->op == NODE_READ && io->paging)
		status = inode_filled(ni, io->off_bytes, io->len_bytes);
	if (status || (ni->is_inline && io->op == NODE_READ)) {
		pthread_mutex_unlock(&ni->lock);
		io_end(io, status);
		return;
	}
	io->fresh = true;
	enum admit a = io_admit(io);
	io->fresh = false;
	if (ni->mode == CSVP_WRITE)
		layout_keep_written(&ni->layout);
	if (a == ADMIT_WAIT)
		list_add_tail(&ni->waiters, &io->link);
	pthread_mutex_unlock(&ni->lock);
	if (a == ADMIT)
		post(io, io_go);
	else if (a == ADMIT_FETCH) /* the hole that was found: not cached in every mode (N3) */
		io_fetch(io);
}

static void io_fetch(struct node_io *io)
{
	csvp_begin(&io->call.msg, CSVP_LAYOUT, 0, 0, 0);
	struct csvp_layout *body = csvp_put(&io->call.msg, sizeof(*body));
	if (body) {
		body->ino = le64_of(io->ni->hash.key);
		body->blk = le64_of(io->want_blk);
		body->nr = le64_of(io->want_flags ? io->want_nr :
						    MIN(LAYOUT_READ_AHEAD_BLKS,
							    CSVP_FILE_MAX_BLKS - io->want_blk));
		body->mode = le32_of(io->want_mode);
		body->flags = le32_of(io->want_flags | (io->paging ? CSVP_LAYOUT_PAGES : 0));
	}
	io->call.modifies = false; /* space that is given twice is the same space */
	io->call.done = layout_answered;
	node_call(io->ni->node, &io->call);
}

/* ---- small files: their bytes go with the request ---- */

static void inline_answered(struct node_call *call, int status, struct csvp_in *reply)
{
	struct node_io *io = container_of(call, struct node_io, call);
	struct node_inode *ni = io->ni;
	const struct csvp_size *body = reply ? csvp_get(reply, sizeof(*body)) : NULL;

	if (status == -EFBIG) {
		io_restart(io);
		return;
	}
	if (status == 0 && body) {
		pthread_mutex_lock(&ni->lock);
		ni->size = MAX(ni->size, le64_get(body->size));
		ni->is_inline = true;
		pthread_mutex_unlock(&ni->lock);
		io->nr_bytes = io->len_bytes;
	}
	io_end(io, status == 0 && !body ? -EPROTO : status);
}

/* Worth asking: a small file as far as is known. lock held. */
static bool inline_fits(const struct node_io *io)
{
	const struct node_inode *ni = io->ni;

	if (io->op != NODE_WRITE || io->paging || io->inline_tried || io->len_bytes > INLINE_BYTES ||
		(!io->append && io->off_bytes + io->len_bytes > INLINE_BYTES))
		return false;
	return !ni->recall_pending && !ni->refresh_pending &&
		(ni->mode == CSVP_NONE || ni->is_inline || ni->size == 0);
}

static void io_write_inline(struct node_io *io)
{
	io->inline_tried = true;
	csvp_begin(&io->call.msg, CSVP_WRITE_INLINE, 0, 0, 0);
	struct csvp_write_inline *body = csvp_put(&io->call.msg, sizeof(*body));
	if (body) {
		body->ino = le64_of(io->ni->hash.key);
		body->off_bytes = le64_of(io->off_bytes);
		body->wrote_ns = le64_of(clock_real_ns());
		body->len = le32_of(io->len_bytes);
		body->flags = le32_of((io->append ? CSVP_INLINE_APPEND : 0) |
			(io->drop_priv ? CSVP_INLINE_DROP_PRIV : 0));
	}
	csvp_put_bytes(&io->call.msg, io->buf, io->len_bytes);
	io->call.modifies = true;
	io->call.done = inline_answered;
	node_call(io->ni->node, &io->call);
}

/* ---- begin ---- */

void io_begin(struct node_io *io)
{
	struct node_inode *ni = io->ni;

	pthread_mutex_lock(&ni->lock);
	if (inline_fits(io)) {
		pthread_mutex_unlock(&ni->lock);
		io_uncount(io); /* nobody needs to wait for it meanwhile */
		io_write_inline(io);
		return;
	}
	enum admit a = io_admit(io);
	if (a == ADMIT_WAIT)
		list_add_tail(&ni->waiters, &io->link);
	pthread_mutex_unlock(&ni->lock);
	if (a == ADMIT)
		io_go(&io->work);
	else if (a == ADMIT_FETCH)
		io_fetch(io);
}

void node_io_submit(struct node_io *io)
{
	uint64_t end;

	io->counted = io->fresh = io->inline_tried = io->exclusive = false;
	io->status = 0;
	io->segs = NULL;
	io->nr_segs = io->room_segs = io->nr_ranges = 0;
	io->skip_bytes = io->nr_bytes = 0;
	io->rmw = NULL;
	list_init(&io->link);
	if (io->len_bytes == 0 || io->len_bytes > NODE_IO_MAX_BYTES)
		io_end(io, io->len_bytes ? -EINVAL : 0);
	else if (checked_add(io->off_bytes, io->len_bytes, &end) || end > INT64_MAX)
		io_end(io, io->op == NODE_READ ? 0 : -EFBIG);
	else
		io_begin(io);
}

/* ---- flush ---- */

static void sync_end(struct loop_work *work)
{
	struct node_sync *sync = container_of(work, struct node_sync, work);

	sync->done(sync, sync->status);
}

static void sync_answered(struct node_call *call, int status, struct csvp_in *reply)
{
	struct node_sync *sync = container_of(call, struct node_sync, call);

	sync->status = status;
	sync->work.fn = sync_end;
	loop_post(sync->worker->loop, &sync->work);
}

static void sync_flushed(struct bdev_req *req, int status)
{
	struct node_sync *sync = req->arg;
	struct node *node = sync->worker->node;

	if (status || node->global_flush) {
		sync->done(sync, status);
		return;
	}
	csvp_begin(&sync->call.msg, CSVP_SYNC, 0, 0, 0);
	sync->call.modifies = false;
	sync->call.done = sync_answered;
	node_call(node, &sync->call);
}

void node_sync(struct node_worker *worker, struct node_sync *sync)
{
	sync->worker = worker;
	sync->req = (struct bdev_req){ .op = BDEV_FLUSH, .done = sync_flushed, .arg = sync };
	int err = bdev_submit(worker->queue, &sync->req);
	if (err == -EOPNOTSUPP) /* nothing is cached there */
		err = 0;
	else if (!err)
		return;
	sync->status = err;
	sync->work.fn = sync_end;
	loop_post(worker->loop, &sync->work);
}
