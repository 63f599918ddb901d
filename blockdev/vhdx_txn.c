/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VHDX: changes of the BAT (X1 to X5). See vhdx_internal.h.
 *
 *   step     request                              then
 *   ZERO     zeroes to each place that was        FLUSH
 *            in the file before
 *   FLUSH    flush                                LOG
 *   LOG      the entry, FUA                       HEADER0, or PAGES
 *   HEADER0  the header that is not the current   HEADER1
 *            one, FUA (X4)
 *   HEADER1  the other one, FUA                   PAGES
 *   PAGES    each page of the BAT                 the waiters go on
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blockdev/vhdx_internal.h"

enum { STEP_ZERO, STEP_FLUSH, STEP_LOG, STEP_HEADER0, STEP_HEADER1, STEP_PAGES };

#define PER_PAGE (VHDX_PAGE / sizeof(struct le64))

static void begin(struct vhdx *v, struct bdev_queue *queue);
static void next_step(struct vhdx *v);

/* ---- who waits ---- */

static void lead_fn(struct loop_work *work)
{
	struct vhdx_io *vio = container_of(work, struct vhdx_io, work);

	begin(to_vhdx(vio->io.queue->bdev), vio->io.queue->lower);
}

static void resume_fn(struct loop_work *work)
{
	vhdx_resume(container_of(work, struct vhdx_io, work));
}

void vhdx_wait(struct vhdx *v, struct vhdx_io *vio)
{
	bool lead;

	vio->status = 0;
	pthread_mutex_lock(&v->lock);
	list_add_tail(&v->waiters, &vio->io.node);
	lead = !v->busy;
	v->busy = true;
	pthread_mutex_unlock(&v->lock);
	if (lead)
		begin(v, vio->io.queue->lower);
}

/* Tells the batch; the first of those that came meanwhile begins anew, on its own thread. */
static void end(struct vhdx *v)
{
	struct vhdx_txn *txn = &v->txn;

	pthread_mutex_lock(&v->lock);
	while (!list_empty(&txn->batch)) {
		struct vhdx_io *vio = list_entry(txn->batch.next, struct vhdx_io, io.node);

		list_del(&vio->io.node);
		if (txn->status)
			vio->status = txn->status;
		vio->work.fn = resume_fn;
		loop_post(vio->io.queue->loop, &vio->work);
	}
	v->busy = !list_empty(&v->waiters);
	if (v->busy) {
		struct vhdx_io *vio = list_entry(v->waiters.next, struct vhdx_io, io.node);

		vio->work.fn = lead_fn;
		loop_post(vio->io.queue->loop, &vio->work);
	}
	pthread_mutex_unlock(&v->lock);
}

/* ---- what is to be changed ---- */

/* The new page of the BAT that has an entry; NULL: no room for one more. */
static struct le64 *entry_of(struct vhdx *v, uint64_t index)
{
	struct vhdx_txn *txn = &v->txn;
	uint32_t page = (uint32_t)(index / PER_PAGE), i = 0;
	struct le64 *image;

	while (i < txn->nr_pages && txn->pages[i] != page)
		i++;
	if (i == VHDX_TXN_PAGES)
		return NULL;
	image = (struct le64 *)(txn->images + (size_t)i * VHDX_PAGE);
	if (i == txn->nr_pages) {
		memcpy(image, v->bat + (size_t)page * PER_PAGE, VHDX_PAGE);
		txn->pages[txn->nr_pages++] = page;
	}
	return image + index % PER_PAGE;
}

/* A place that no one has: a gap that there was at opening, or behind the end. */
static int find_place(struct vhdx *v, uint64_t *ret_off, bool *ret_was_there)
{
	struct bdev *lower = v->txn.queue->bdev;
	uint64_t nr = v->block_bytes / VHDX_MB, run = 0, size, off;
	int err;

	for (; v->scan_mb < v->nr_mb && run < nr; v->scan_mb++) {
		bool used = v->used[v->scan_mb / 8] >> v->scan_mb % 8 & 1;
		run = used ? 0 : run + 1;
	}
	if (run == nr) {
		*ret_off = (v->scan_mb - nr) * VHDX_MB;
		*ret_was_there = true;
		return 0;
	}
	size = atomic_load(&lower->size_bytes);
	off = ALIGN_UP(size, (uint64_t)VHDX_MB);
	if (off + v->block_bytes > VHDX_MAX_MB * VHDX_MB)
		return -ENOSPC;
	err = bdev_grow(lower, off + v->block_bytes);
	if (err)
		return err;
	*ret_off = off;
	*ret_was_there = false;
	return 0;
}

/* False: it must wait for the next transaction. */
static bool plan_block(struct vhdx *v, struct vhdx_io *vio)
{
	struct vhdx_txn *txn = &v->txn;
	struct le64 *e;
	bool was_there;
	uint64_t off;

	if (txn->nr_places == VHDX_TXN_PAGES)
		return false;
	e = entry_of(v, vhdx_index(v, vio->first));
	if (!e)
		return false;
	if (VHDX_STATE(le64_get(*e)) == VHDX_PRESENT)
		return true;
	vio->status = find_place(v, &off, &was_there);
	if (vio->status)
		return true;
	*e = le64_of(off | VHDX_PRESENT);
	if (was_there)
		txn->places[txn->nr_places++] = off;
	return true;
}

static bool plan_state(struct vhdx *v, struct vhdx_io *vio)
{
	for (uint64_t b = vio->first; b < vio->first + vio->nr; b++) {
		struct le64 *e = entry_of(v, vhdx_index(v, b));

		if (!e)
			return false; /* at the first block only: they are all in one page */
		if (VHDX_STATE(le64_get(*e)) == VHDX_PRESENT || vio->state == VHDX_ZERO)
			*e = le64_of(vio->state);
	}
	return true;
}

static void plan(struct vhdx *v)
{
	struct vhdx_txn *txn = &v->txn;
	struct list mine = LIST_INIT(mine);
	bool fits = true;

	pthread_mutex_lock(&v->lock);
	list_splice_tail(&mine, &v->waiters);
	pthread_mutex_unlock(&v->lock);
	while (!list_empty(&mine)) {
		struct vhdx_io *vio = list_entry(mine.next, struct vhdx_io, io.node);

		if (vio->want == VHDX_WANT_BLOCK)
			fits = plan_block(v, vio);
		else if (vio->want == VHDX_WANT_STATE)
			fits = plan_state(v, vio);
		if (!fits)
			break;
		list_del(&vio->io.node);
		list_add_tail(&txn->batch, &vio->io.node);
	}
	pthread_mutex_lock(&v->lock);
	list_splice_tail(&mine, &v->waiters); /* those that came later go behind */
	list_splice_tail(&v->waiters, &mine);
	pthread_mutex_unlock(&v->lock);
}

static int alloc_buffers(struct vhdx_txn *txn)
{
	if (!txn->images &&
		posix_memalign((void **)&txn->images, VHDX_PAGE, VHDX_TXN_PAGES * VHDX_PAGE))
		txn->images = NULL;
	if (!txn->log &&
		posix_memalign((void **)&txn->log, VHDX_PAGE, (1 + VHDX_TXN_PAGES) * VHDX_PAGE))
		txn->log = NULL;
	return txn->images && txn->log ? 0 : -ENOMEM;
}

/* On the thread of queue, the lower one of the first waiter. */
static void begin(struct vhdx *v, struct bdev_queue *queue)
{
	struct vhdx_txn *txn = &v->txn;

	txn->queue = queue;
	txn->nr_pages = txn->nr_places = txn->at = 0;
	list_init(&txn->batch);
	txn->status = alloc_buffers(txn);
	if (!txn->status && v->failed)
		txn->status = -EIO;
	if (txn->status) {
		pthread_mutex_lock(&v->lock);
		list_splice_tail(&txn->batch, &v->waiters);
		pthread_mutex_unlock(&v->lock);
		end(v);
		return;
	}
	plan(v);
	/* An entry changes something, though it may be to what is there (X4). */
	if (!v->active && !txn->nr_pages)
		entry_of(v, 0);
	txn->step = STEP_ZERO;
	next_step(v);
}

/* ---- the steps ---- */

static void commit(struct vhdx *v)
{
	struct vhdx_txn *txn = &v->txn;

	pthread_mutex_lock(&v->lock);
	for (uint32_t i = 0; i < txn->nr_pages; i++)
		memcpy(v->bat + (size_t)txn->pages[i] * PER_PAGE,
			txn->images + (size_t)i * VHDX_PAGE, VHDX_PAGE);
	v->active = true;
	pthread_mutex_unlock(&v->lock);
	end(v);
}

static void child_done(struct bdev_req *child, int status)
{
	struct vhdx *v = child->arg;

	if (!status) {
		next_step(v);
		return;
	}
	v->txn.status = status;
	if (v->txn.step != STEP_ZERO) { /* X5 */
		pthread_mutex_lock(&v->lock);
		v->failed = true;
		pthread_mutex_unlock(&v->lock);
	}
	end(v);
}

static void send(struct vhdx *v, struct bdev_req req, void *data)
{
	struct vhdx_txn *txn = &v->txn;
	uint32_t caps = atomic_load(&txn->queue->bdev->caps);
	int err;

	req.done = child_done;
	req.arg = v;
	if (data) {
		txn->iov = (struct iovec){ data, req.len_bytes };
		req.op = BDEV_WRITE;
		req.iov = &txn->iov;
		req.nr_iov = 1;
	}
	if (!(caps & (BDEV_CAN_FUA | BDEV_CAN_FLUSH)))
		req.flags = 0;
	txn->child = req;
	err = bdev_submit(txn->queue, &txn->child);
	if (err)
		child_done(&txn->child, err);
}

static void send_entry(struct vhdx *v)
{
	if (!v->active) {
		v->log_at = 0;
		v->log_seq = 0;
		vhdx_new_guid(&v->header.log_guid);
		vhdx_new_guid(&v->header.file_write_guid);
		vhdx_new_guid(&v->header.data_write_guid);
	}
	vhdx_log_entry(v, atomic_load(&v->txn.queue->bdev->size_bytes));
	send(v, (struct bdev_req){ .flags = BDEV_FUA, .len_bytes = v->txn.log_bytes,
		.off_bytes = le64_get(v->header.log_off) + v->log_at }, v->txn.log);
	v->log_at += v->txn.log_bytes;
}

static void send_header(struct vhdx *v)
{
	v->slot ^= 1;
	v->header.sequence = le64_of(le64_get(v->header.sequence) + 1);
	vhdx_seal_header(&v->header);
	memcpy(v->txn.log, &v->header, VHDX_PAGE);
	send(v, (struct bdev_req){ .flags = BDEV_FUA, .len_bytes = VHDX_PAGE,
		.off_bytes = VHDX_HEADER_OFF(v->slot) }, v->txn.log);
}

static void send_place(struct vhdx *v)
{
	send(v, (struct bdev_req){ .op = BDEV_WRITE_ZEROES, .len_bytes = v->block_bytes,
		.off_bytes = v->txn.places[v->txn.at++] }, NULL);
}

static void send_page(struct vhdx *v)
{
	uint32_t i = v->txn.at++;

	send(v, (struct bdev_req){ .len_bytes = VHDX_PAGE,
		.off_bytes = v->bat_off + (uint64_t)v->txn.pages[i] * VHDX_PAGE },
		v->txn.images + (size_t)i * VHDX_PAGE);
}

/* After v->txn.step: the next request. */
static void next_step(struct vhdx *v)
{
	struct vhdx_txn *txn = &v->txn;
	bool can_flush = atomic_load(&txn->queue->bdev->caps) & BDEV_CAN_FLUSH;

	switch (txn->step) {
	case STEP_ZERO:
		if (txn->at < txn->nr_places) {
			send_place(v);
			break;
		}
		txn->at = 0;
		if (!txn->nr_pages) {
			commit(v); /* nothing was to be changed */
			break;
		}
		txn->step = STEP_FLUSH;
		if (can_flush) {
			send(v, (struct bdev_req){ .op = BDEV_FLUSH }, NULL);
			break;
		}
		/* fall through */
	case STEP_FLUSH:
		txn->step = STEP_LOG;
		send_entry(v);
		break;
	case STEP_LOG:
	case STEP_HEADER0:
		txn->step = v->active ? STEP_PAGES : txn->step + 1;
		if (v->active)
			send_page(v);
		else
			send_header(v);
		break;
	case STEP_HEADER1:
		txn->step = STEP_PAGES;
		/* fall through */
	default:
		if (txn->at < txn->nr_pages)
			send_page(v);
		else
			commit(v);
	}
}
