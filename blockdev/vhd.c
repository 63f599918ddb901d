/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VHD: requests. See vhd_internal.h.
 *
 * An io goes through its blocks one after the other; several ios are under way. A block that is not
 * allocated reads as zeroes, and a write takes these steps, each a request to the lower device:
 *
 *   step    request                               then
 *   FOOTER  the footer behind the new block (V2)  ZERO
 *   ZERO    zeroes, where the file was before     BITMAP
 *   BITMAP  all bits of the bitmap                FLUSH
 *   FLUSH   flush                                 BAT
 *   BAT     the entry's sector, FUA (V1)          the data, as to any block
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blockdev/vhd_internal.h"

enum step { STEP_DATA, STEP_MARK, STEP_FOOTER, STEP_ZERO, STEP_BITMAP, STEP_FLUSH, STEP_BAT };

struct vhd_io {
	struct bdev_io io;
	struct bdev_req child;
	struct iovec *iov; /* the part that is under way */
	uint64_t at, part;
	enum step step;
	uint64_t new_off, old_size; /* of the lower device */
	uint8_t *meta; /* of the steps */
	struct iovec meta_iov;
	struct loop_work resume; /* posted while in vhd->waiters */
};

static struct vhd *to_vhd(const struct bdev *bdev)
{
	return container_of(bdev, struct vhd, bdev);
}

static void advance(struct vhd_io *vio);
static void alloc_step(struct vhd_io *vio);

static uint32_t block_of(const struct vhd *v, const struct vhd_io *vio)
{
	return (uint32_t)((vio->io.off_bytes + vio->at) / v->block_bytes);
}

static void finish(struct vhd_io *vio, int status)
{
	free(vio->iov);
	free(vio->meta);
	vio->iov = NULL;
	vio->meta = NULL;
	bdev_io_complete(&vio->io, status);
}

/* ---- the allocation's turn (V3) ---- */

static void resume_fn(struct loop_work *work)
{
	advance(container_of(work, struct vhd_io, resume));
}

/* False: it waits, and will go on by itself. */
static bool take_turn(struct vhd *v, struct vhd_io *vio)
{
	bool mine;

	pthread_mutex_lock(&v->lock);
	mine = !v->allocating;
	if (mine)
		v->allocating = true;
	else
		list_add_tail(&v->waiters, &vio->io.node);
	pthread_mutex_unlock(&v->lock);
	return mine;
}

static void end_turn(struct vhd *v)
{
	pthread_mutex_lock(&v->lock);
	v->allocating = false;
	while (!list_empty(&v->waiters)) {
		struct vhd_io *vio = list_entry(v->waiters.next, struct vhd_io, io.node);

		list_del(&vio->io.node);
		vio->resume.fn = resume_fn;
		loop_post(vio->io.queue->loop, &vio->resume);
	}
	pthread_mutex_unlock(&v->lock);
}

/* ---- requests to the lower device ---- */

static void child_done(struct bdev_req *child, int status);

static void send(struct vhd_io *vio, enum step step, struct bdev_req req)
{
	struct bdev_queue *lower = vio->io.queue->lower;
	int err;

	vio->step = step;
	req.done = child_done;
	req.arg = vio;
	req.flags |= vio->io.flags & BDEV_GATE;
	if (!(atomic_load(&lower->bdev->caps) & (BDEV_CAN_FUA | BDEV_CAN_FLUSH)))
		req.flags &= ~BDEV_FUA;
	vio->child = req;
	err = bdev_submit(lower, &vio->child);
	if (err)
		child_done(&vio->child, err);
}

static void send_meta(struct vhd_io *vio, enum step step, uint64_t off, uint64_t len, uint32_t flags)
{
	vio->meta_iov = (struct iovec){ vio->meta, len };
	send(vio, step, (struct bdev_req){ .op = BDEV_WRITE, .flags = flags, .off_bytes = off,
		.len_bytes = len, .iov = &vio->meta_iov, .nr_iov = 1 });
}

/* The memory of the part [at, at + part) of the io. */
static int slice(struct vhd_io *vio)
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

static void send_data(struct vhd *v, struct vhd_io *vio, uint64_t block_off)
{
	const struct bdev_io *io = &vio->io;
	bool has_iov = io->op == BDEV_READ || io->op == BDEV_WRITE;
	int nr = has_iov ? slice(vio) : 0;

	if (nr < 0) {
		finish(vio, nr);
		return;
	}
	send(vio, STEP_DATA, (struct bdev_req){ .op = io->op, .flags = io->flags,
		.off_bytes = block_off + v->bitmap_bytes +
			(io->off_bytes + vio->at) % v->block_bytes,
		.len_bytes = vio->part, .iov = has_iov ? vio->iov : NULL, .nr_iov = nr });
}

/* ---- allocation ---- */

/* A VHD's bitmap is at most 64 KiB: VHD_MAX_BLOCK / VHD_SECTOR / 8. */
static int alloc_meta(struct vhd *v, struct vhd_io *vio)
{
	if (!vio->meta && posix_memalign((void **)&vio->meta, 4096, ALIGN_UP(v->bitmap_bytes, 4096u)))
		vio->meta = NULL;
	return vio->meta ? 0 : -ENOMEM;
}

static void alloc_failed(struct vhd_io *vio, int status)
{
	end_turn(to_vhd(vio->io.queue->bdev));
	finish(vio, status);
}

static void alloc_start(struct vhd *v, struct vhd_io *vio)
{
	uint64_t whole = (uint64_t)v->bitmap_bytes + v->block_bytes, end, size, footer_end;
	struct bdev *lower = vio->io.queue->lower->bdev;
	int err = alloc_meta(v, vio);

	size = atomic_load(&lower->size_bytes);
	vio->new_off = v->next_off;
	end = vio->new_off + whole;
	vio->old_size = size;
	footer_end = ALIGN_UP(end + VHD_SECTOR, VHD_END_ALIGN);
	if (!err && end / VHD_SECTOR >= VHD_UNUSED)
		err = -ENOSPC;
	if (!err && end + VHD_SECTOR > size)
		err = bdev_grow(lower, footer_end);
	if (err) {
		alloc_failed(vio, err);
		return;
	}
	v->next_off = end; /* V5 */
	vio->step = STEP_FOOTER;
	if (end + VHD_SECTOR > size) {
		memcpy(vio->meta, &v->footer, VHD_SECTOR);
		send_meta(vio, STEP_FOOTER, footer_end - VHD_SECTOR, VHD_SECTOR, 0);
	} else {
		alloc_step(vio);
	}
}

static void alloc_bat(struct vhd *v, struct vhd_io *vio)
{
	uint32_t block = block_of(v, vio);
	uint64_t in_table = ALIGN_DOWN((uint64_t)block * 4, VHD_SECTOR);
	struct be32 entry = be32_of((uint32_t)(vio->new_off / VHD_SECTOR));

	memcpy(vio->meta, (char *)v->bat + in_table, VHD_SECTOR);
	memcpy(vio->meta + (uint64_t)block * 4 - in_table, &entry, sizeof(entry));
	send_meta(vio, STEP_BAT, v->table_off + in_table, VHD_SECTOR, BDEV_FUA);
}

static void alloc_done(struct vhd *v, struct vhd_io *vio)
{
	pthread_mutex_lock(&v->lock);
	v->bat[block_of(v, vio)] = be32_of((uint32_t)(vio->new_off / VHD_SECTOR));
	v->full[block_of(v, vio)] = 1;
	pthread_mutex_unlock(&v->lock);
	end_turn(v);
	advance(vio);
}

/* After vio->step: the next one. */
static void alloc_step(struct vhd_io *vio)
{
	struct vhd *v = to_vhd(vio->io.queue->bdev);
	uint32_t caps = atomic_load(&vio->io.queue->lower->bdev->caps);
	uint64_t data = vio->new_off + v->bitmap_bytes;

	switch (vio->step) {
	case STEP_FOOTER:
		if (vio->old_size > data) {
			send(vio, STEP_ZERO, (struct bdev_req){ .op = BDEV_WRITE_ZEROES,
				.off_bytes = data,
				.len_bytes = MIN(vio->old_size - data, v->block_bytes) });
			break;
		}
		/* fall through */
	case STEP_ZERO:
		memset(vio->meta, 0xff, v->bitmap_bytes);
		send_meta(vio, STEP_BITMAP, vio->new_off, v->bitmap_bytes, 0);
		break;
	case STEP_BITMAP:
		if (caps & BDEV_CAN_FLUSH) {
			send(vio, STEP_FLUSH, (struct bdev_req){ .op = BDEV_FLUSH });
			break;
		}
		/* fall through */
	case STEP_FLUSH:
		alloc_bat(v, vio);
		break;
	default:
		alloc_done(v, vio);
	}
}

/* ---- the io ---- */

static void child_done(struct bdev_req *child, int status)
{
	struct vhd_io *vio = child->arg;
	struct vhd *v = to_vhd(vio->io.queue->bdev);

	if (vio->step == STEP_DATA || vio->step == STEP_MARK) {
		if (status) {
			finish(vio, status);
			return;
		}
		if (vio->step == STEP_DATA) {
			vio->at += vio->part;
		} else {
			pthread_mutex_lock(&v->lock);
			v->full[block_of(v, vio)] = 1;
			pthread_mutex_unlock(&v->lock);
		}
		advance(vio);
	} else if (status) {
		alloc_failed(vio, status);
	} else {
		alloc_step(vio);
	}
}

/* What is not allocated reads as zeroes, and stays so when it is discarded or zeroed. */
static int skip_hole(struct vhd_io *vio)
{
	int nr = vio->io.op == BDEV_READ ? slice(vio) : 0;

	for (int i = 0; i < nr; i++)
		memset(vio->iov[i].iov_base, 0, vio->iov[i].iov_len);
	vio->at += vio->part;
	return nr < 0 ? nr : 0;
}

static void mark_full(struct vhd *v, struct vhd_io *vio, uint64_t block_off)
{
	int err = alloc_meta(v, vio);

	if (err) {
		finish(vio, err);
		return;
	}
	memset(vio->meta, 0xff, v->bitmap_bytes);
	send_meta(vio, STEP_MARK, block_off, v->bitmap_bytes, 0);
}

/* Sends the next part. Nothing is under way. */
static void advance(struct vhd_io *vio)
{
	struct bdev_io *io = &vio->io;
	struct vhd *v = to_vhd(io->queue->bdev);
	uint32_t entry;
	bool full;
	int err = 0;

	while (vio->at < io->len_bytes && !err) {
		uint64_t in = (io->off_bytes + vio->at) % v->block_bytes;

		vio->part = MIN(v->block_bytes - in, io->len_bytes - vio->at);
		pthread_mutex_lock(&v->lock);
		entry = be32_get(v->bat[block_of(v, vio)]);
		full = v->full[block_of(v, vio)];
		pthread_mutex_unlock(&v->lock);
		if (entry != VHD_UNUSED) {
			uint64_t off = (uint64_t)entry * VHD_SECTOR;

			if (full || io->op != BDEV_WRITE)
				send_data(v, vio, off);
			else
				mark_full(v, vio, off);
			return;
		}
		if (io->op == BDEV_WRITE) {
			if (take_turn(v, vio)) {
				pthread_mutex_lock(&v->lock);
				entry = be32_get(v->bat[block_of(v, vio)]);
				pthread_mutex_unlock(&v->lock);
				if (entry == VHD_UNUSED) {
					alloc_start(v, vio);
					return;
				}
				end_turn(v); /* somebody was faster: look again */
				continue;
			}
			return;
		}
		err = skip_hole(vio);
	}
	finish(vio, err);
}

static void vhd_submit(struct bdev_queue *queue, struct bdev_io *io)
{
	struct vhd_io *vio = container_of(io, struct vhd_io, io);
	bool ranged = io->op == BDEV_READ || io->op == BDEV_WRITE || io->op == BDEV_DISCARD ||
		      io->op == BDEV_WRITE_ZEROES;

	if (!to_vhd(queue->bdev)->dynamic || !ranged) {
		bdev_filter_forward(io, &vio->child, NULL);
		return;
	}
	vio->iov = NULL;
	vio->meta = NULL;
	vio->at = 0;
	advance(vio);
}

static void vhd_extent(struct bdev *bdev, uint64_t off, uint64_t *ret_len, bool *ret_zero)
{
	struct vhd *v = to_vhd(bdev);
	uint64_t block, end = off + *ret_len;
	bool zero;

	if (!v->dynamic)
		return;
	block = off / v->block_bytes;
	pthread_mutex_lock(&v->lock);
	zero = be32_get(v->bat[block]) == VHD_UNUSED;
	while ((++block) * v->block_bytes < end &&
		zero == (be32_get(v->bat[block]) == VHD_UNUSED))
		;
	pthread_mutex_unlock(&v->lock);
	*ret_len = MIN(block * v->block_bytes, end) - off;
	*ret_zero = zero;
}

static void vhd_close(struct bdev *bdev)
{
	struct vhd *v = to_vhd(bdev);

	assert(list_empty(&v->waiters) && !v->allocating);
	free(v->bat);
	free(v->full);
	pthread_mutex_destroy(&v->lock);
}

const struct bdev_ops bdev_vhd_ops = {
	.name = "vhd",
	.bdev_bytes = sizeof(struct vhd),
	.io_bytes = sizeof(struct vhd_io),
	.close = vhd_close,
	.extent = vhd_extent,
	.submit = vhd_submit,
};
