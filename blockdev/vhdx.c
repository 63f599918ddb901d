/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VHDX: requests. See vhdx_internal.h.
 *
 * An io goes through its blocks one after the other; several ios are under way. What needs a block, or
 * the first change of the file, waits for a transaction (vhdx_txn.c) and then looks again. A discard
 * or write-zeroes does it with what is there first, and then gives up the blocks that it has whole.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blockdev/vhdx_internal.h"

static void advance(struct vhdx_io *vio);

static void finish(struct vhdx_io *vio, int status)
{
	free(vio->iov);
	vio->iov = NULL;
	bdev_io_complete(&vio->io, status);
}

void vhdx_resume(struct vhdx_io *vio)
{
	if (vio->status)
		finish(vio, vio->status);
	else
		advance(vio);
}

static void wait_for(struct vhdx *v, struct vhdx_io *vio, enum vhdx_want want, uint64_t first,
	uint64_t nr)
{
	vio->want = want;
	vio->first = first;
	vio->nr = nr;
	vhdx_wait(v, vio);
}

/* ---- data ---- */

/* The memory of the part [at, at + part) of the io; how many pieces. */
static int slice(struct vhdx_io *vio)
{
	const struct bdev_io *io = &vio->io;
	uint64_t skip = vio->at, left = vio->part;
	int nr = 0;

	if (!vio->iov)
		vio->iov = calloc((size_t)io->nr_iov, sizeof(*vio->iov));
	if (!vio->iov)
		return -ENOMEM;
	for (int i = 0; i < io->nr_iov && left > 0; i++) {
		uint64_t in = MIN(skip, io->iov[i].iov_len), n = MIN(io->iov[i].iov_len - in, left);

		skip -= in;
		left -= n;
		if (n > 0)
			vio->iov[nr++] = (struct iovec){ (char *)io->iov[i].iov_base + in, n };
	}
	return nr;
}

static void child_done(struct bdev_req *child, int status)
{
	struct vhdx_io *vio = child->arg;

	vio->at += vio->part;
	if (status)
		finish(vio, status);
	else
		advance(vio);
}

static void send_data(struct vhdx *v, struct vhdx_io *vio, uint64_t block_off)
{
	const struct bdev_io *io = &vio->io;
	bool has_iov = io->op == BDEV_READ || io->op == BDEV_WRITE;
	int nr = has_iov ? slice(vio) : 0, err = MIN(nr, 0);

	if (!err) {
		vio->child = (struct bdev_req){ .op = io->op, .flags = io->flags,
			.off_bytes = block_off + (io->off_bytes + vio->at) % v->block_bytes,
			.len_bytes = vio->part, .iov = has_iov ? vio->iov : NULL, .nr_iov = nr,
			.done = child_done, .arg = vio };
		err = bdev_submit(io->queue->lower, &vio->child);
	}
	if (err)
		finish(vio, err);
}

static int read_zeroes(struct vhdx_io *vio)
{
	int nr = slice(vio);

	for (int i = 0; i < nr; i++)
		memset(vio->iov[i].iov_base, 0, vio->iov[i].iov_len);
	return MIN(nr, 0);
}

/* ---- giving up blocks ---- */

/* Whether what an io does to whole blocks changes the entry of one. */
static bool changes(const struct vhdx *v, const struct vhdx_io *vio, uint64_t block)
{
	uint64_t e = le64_get(v->bat[vhdx_index(v, block)]);

	return VHDX_STATE(e) == VHDX_PRESENT ||
	       (vio->io.op == BDEV_WRITE_ZEROES && VHDX_STATE(e) != VHDX_ZERO &&
		       VHDX_STATE(e) != VHDX_NOT_PRESENT);
}

/* The blocks that the io has whole: [first, end). */
static void whole_blocks(const struct vhdx *v, const struct bdev_io *io, uint64_t *ret_first,
	uint64_t *ret_end)
{
	uint64_t end = io->off_bytes + io->len_bytes;

	*ret_first = DIV_ROUND_UP(io->off_bytes, v->block_bytes);
	*ret_end = end == v->size_bytes ? v->nr_blocks : end / v->block_bytes;
}

static bool is_whole(const struct vhdx *v, const struct bdev_io *io, uint64_t block)
{
	uint64_t first, end;

	whole_blocks(v, io, &first, &end);
	return !v->fixed && block >= first && block < end;
}

static void give_up(struct vhdx *v, struct vhdx_io *vio)
{
	const uint64_t per_page = VHDX_PAGE / sizeof(struct le64);
	uint64_t first, end, at;

	whole_blocks(v, &vio->io, &first, &end);
	at = MAX(vio->unmap_at, first);
	pthread_mutex_lock(&v->lock);
	while (at < end && !changes(v, vio, at))
		at++;
	first = at;
	while (at < end && vhdx_index(v, at) / per_page == vhdx_index(v, first) / per_page)
		at++;
	pthread_mutex_unlock(&v->lock);
	vio->unmap_at = at;
	if (first >= end || v->fixed) {
		finish(vio, 0);
		return;
	}
	vio->state = vio->io.op == BDEV_DISCARD ? VHDX_UNMAPPED : VHDX_ZERO;
	wait_for(v, vio, VHDX_WANT_STATE, first, at - first);
}

/* ---- the io ---- */

/* What is to be done with the part of a block whose entry is e. True: it is over; go on. */
static bool do_part(struct vhdx *v, struct vhdx_io *vio, uint64_t block, uint64_t e, bool active)
{
	const struct bdev_io *io = &vio->io;
	bool present = VHDX_STATE(e) == VHDX_PRESENT;
	uint32_t caps = atomic_load(&io->queue->lower->bdev->caps);
	int err;

	if (io->op == BDEV_READ && !present) {
		err = read_zeroes(vio);
		if (err)
			finish(vio, err);
		return !err;
	}
	if (io->op != BDEV_READ && io->op != BDEV_WRITE &&
		(!present || (io->op == BDEV_WRITE_ZEROES && is_whole(v, io, block) &&
				     !(caps & BDEV_CAN_WRITE_ZEROES))))
		return true;
	if (!present)
		wait_for(v, vio, VHDX_WANT_BLOCK, block, 1);
	else if (io->op != BDEV_READ && !active)
		wait_for(v, vio, VHDX_WANT_ACTIVE, 0, 0);
	else
		send_data(v, vio, VHDX_OFF(e));
	return false;
}

/* Does the next part. Nothing is under way. */
static void advance(struct vhdx_io *vio)
{
	struct bdev_io *io = &vio->io;
	struct vhdx *v = to_vhdx(io->queue->bdev);
	bool active, failed;
	uint64_t e;

	while (vio->at < io->len_bytes) {
		uint64_t off = io->off_bytes + vio->at, block = off / v->block_bytes;

		vio->part = MIN(v->block_bytes - off % v->block_bytes, io->len_bytes - vio->at);
		pthread_mutex_lock(&v->lock);
		e = le64_get(v->bat[vhdx_index(v, block)]);
		active = v->active;
		failed = v->failed;
		pthread_mutex_unlock(&v->lock);
		if (failed && io->op != BDEV_READ) {
			finish(vio, -EIO);
			return;
		}
		if (!do_part(v, vio, block, e, active))
			return;
		vio->at += vio->part;
	}
	if (io->op == BDEV_DISCARD || io->op == BDEV_WRITE_ZEROES)
		give_up(v, vio);
	else
		finish(vio, 0);
}

static void vhdx_submit(struct bdev_queue *queue, struct bdev_io *io)
{
	struct vhdx_io *vio = container_of(io, struct vhdx_io, io);
	struct vhdx *v = to_vhdx(queue->bdev);
	bool failed;

	vio->iov = NULL;
	vio->at = 0;
	vio->unmap_at = 0;
	switch (io->op) {
	case BDEV_READ:
	case BDEV_WRITE:
	case BDEV_DISCARD:
	case BDEV_WRITE_ZEROES:
		advance(vio);
		break;
	case BDEV_FLUSH:
		pthread_mutex_lock(&v->lock);
		failed = v->failed;
		pthread_mutex_unlock(&v->lock);
		if (failed) {
			bdev_io_complete(io, -EIO);
			break;
		}
		/* fall through */
	default:
		bdev_filter_forward(io, &vio->child, NULL);
	}
}

static void vhdx_extent(struct bdev *bdev, uint64_t off, uint64_t *ret_len, bool *ret_zero)
{
	struct vhdx *v = to_vhdx(bdev);
	uint64_t block = off / v->block_bytes, end = off + *ret_len;
	bool zero;

	pthread_mutex_lock(&v->lock);
	zero = VHDX_STATE(le64_get(v->bat[vhdx_index(v, block)])) != VHDX_PRESENT;
	while (++block * v->block_bytes < end &&
		zero == (VHDX_STATE(le64_get(v->bat[vhdx_index(v, block)])) != VHDX_PRESENT))
		;
	pthread_mutex_unlock(&v->lock);
	*ret_len = MIN(block * v->block_bytes, end) - off;
	*ret_zero = zero;
}

/* X4. A failure leaves a log, and that is replayed. */
static int close_log(struct bdev_queue *queue, void *arg)
{
	struct vhdx *v = arg;
	int err = 0;

	if (bdev_geom(bdev_queue_bdev(queue)).caps & BDEV_CAN_FLUSH)
		err = bdev_flush_sync(queue);
	if (err)
		return err;
	memset(&v->header.log_guid, 0, sizeof(v->header.log_guid));
	return vhdx_write_headers(v, queue);
}

static void vhdx_close(struct bdev *bdev)
{
	struct vhdx *v = to_vhdx(bdev);

	assert(list_empty(&v->waiters) && !v->busy);
	if (v->active && !v->failed && !atomic_load(&bdev->lower->fenced)) {
		bdev->lower->upper = NULL; /* bdev_close() does so next */
		if (image_with_queue(bdev->lower, close_log, v))
			v->failed = true;
	}
	vhdx_free_patches(v);
	free(v->bat);
	free(v->used);
	free(v->txn.images);
	free(v->txn.log);
	pthread_mutex_destroy(&v->lock);
}

const struct bdev_ops bdev_vhdx_ops = {
	.name = "vhdx",
	.bdev_bytes = sizeof(struct vhdx),
	.io_bytes = sizeof(struct vhdx_io),
	.close = vhdx_close,
	.extent = vhdx_extent,
	.submit = vhdx_submit,
};
