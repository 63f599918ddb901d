/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files and block devices of this host: the data path. See file_internal.h. */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "blockdev/file_internal.h"

#define MAX_IOV 1024 /* the kernel's UIO_MAXIOV */

static struct file_queue *to_fq(struct bdev_queue *queue)
{
	return container_of(queue, struct file_queue, queue);
}

static struct file_io *to_fio(struct bdev_io *io)
{
	return container_of(io, struct file_io, io);
}

/* ---- a request on its way in ---- */

static bool needs_bounce(const struct file_dev *dev, const struct bdev_io *io)
{
	uint32_t mask = dev->bdev.geom.mem_align - 1;

	if (io->nr_iov > MAX_IOV)
		return true;
	for (int i = 0; i < io->nr_iov && dev->direct; i++)
		if (((uintptr_t)io->iov[i].iov_base | io->iov[i].iov_len) & mask)
			return true;
	return false;
}

static int bounce(struct file_io *f)
{
	struct bdev_io *io = &f->io;

	if (posix_memalign(&f->bounce, 4096, io->len_bytes)) {
		f->bounce = NULL;
		return -ENOMEM;
	}
	f->bounce_iov = (struct iovec){ f->bounce, io->len_bytes };
	if (io->op == BDEV_WRITE)
		bdev_iov_to_buf(io->iov, io->nr_iov, f->bounce, io->len_bytes);
	return 0;
}

static int prepare_rw(struct file_dev *dev, struct file_io *f)
{
	struct bdev_io *io = &f->io;
	const struct iovec *iov = io->iov;
	int nr = io->nr_iov, err;

	if (needs_bounce(dev, io)) {
		err = bounce(f);
		if (err)
			return err;
		iov = &f->bounce_iov;
		nr = 1;
	}
	if (io->op == BDEV_READ)
		io_prep_preadv(&f->iocb, dev->fd, iov, nr, (long long)io->off_bytes);
	else
		io_prep_pwritev(&f->iocb, dev->fd, iov, nr, (long long)io->off_bytes);
	if (io->flags & BDEV_FUA)
		f->iocb.aio_rw_flags = RWF_DSYNC;
	return 0;
}

static int measure(struct file_dev *dev)
{
	uint64_t size_bytes;
	int err = file_get_size(dev, &size_bytes);

	if (!err)
		bdev_set_size(&dev->bdev, size_bytes);
	return err ? file_status(err) : 0;
}

static void file_submit(struct bdev_queue *queue, struct bdev_io *io)
{
	struct file_dev *dev = to_file_dev(queue->bdev);
	struct file_queue *fq = to_fq(queue);
	struct file_io *f = to_fio(io);
	int err = 0;

	f->bounce = NULL;
	switch (io->op) {
	case BDEV_READ:
	case BDEV_WRITE:
		err = prepare_rw(dev, f);
		break;
	case BDEV_FLUSH:
		if (atomic_load_explicit(&dev->no_aio_fsync, memory_order_relaxed)) {
			file_helper_do(f);
			return;
		}
		io_prep_fdsync(&f->iocb, dev->fd);
		break;
	case BDEV_MEASURE:
		bdev_io_complete(io, measure(dev));
		return;
	default:
		file_helper_do(f);
		return;
	}
	if (err) {
		bdev_io_complete(io, err);
		return;
	}
	io_set_eventfd(&f->iocb, fq->event_fd);
	f->iocb.data = f;
	list_add_tail(&fq->pending, &io->node);
}

static void drop_bounce(struct file_io *f)
{
	free(f->bounce);
	f->bounce = NULL;
}

/* ---- once per round of the loop ---- */

/* Takes from pending what may go now. What came too late goes back (B7). */
static int take_pending(struct file_queue *fq, struct iocb **batch)
{
	uint64_t now_ns = clock_mono_ns();
	int n = 0;

	while (!list_empty(&fq->pending) && fq->in_kernel + (uint32_t)n < FILE_DEPTH) {
		struct file_io *f = list_entry(fq->pending.next, struct file_io, io.node);

		list_del(&f->io.node);
		if (bdev_io_too_late(&f->io, now_ns)) {
			drop_bounce(f);
			bdev_io_requeue(&f->io);
			continue;
		}
		batch[n++] = &f->iocb;
	}
	return n;
}

static void put_back(struct file_queue *fq, struct iocb **batch, int from, int n)
{
	while (n-- > from)
		list_add(&fq->pending, &((struct file_io *)batch[n]->data)->io.node);
}

/* aio will not have it: the helper thread does it and learns the true error. */
static void refused(struct file_io *f)
{
	struct file_dev *dev = to_file_dev(f->io.queue->bdev);

	if (f->io.op == BDEV_FLUSH)
		atomic_store(&dev->no_aio_fsync, true);
	drop_bounce(f);
	file_helper_do(f);
}

static void prepare_cb(struct ev_loop *ev, struct ev_prepare *w, int revents)
{
	struct file_queue *fq = w->data;
	struct iocb *batch[FILE_DEPTH];
	int n, at = 0;

	if (list_empty(&fq->pending) || fq->in_kernel >= FILE_DEPTH)
		return;
	n = take_pending(fq, batch);
	while (at < n) {
		int ret = io_submit(fq->aio, n - at, batch + at);

		if (ret > 0) {
			fq->in_kernel += (uint32_t)ret;
			at += ret;
		} else if (ret == -EAGAIN && fq->in_kernel > 0) {
			put_back(fq, batch, at, n);
			return; /* until something comes back */
		} else {
			refused(batch[at++]->data);
		}
	}
}

/* ---- and back ---- */

static void finish(struct file_io *f, long res)
{
	struct bdev_io *io = &f->io;

	if (io->op == BDEV_FLUSH) {
		if (res == -EINVAL || res == -EOPNOTSUPP)
			refused(f);
		else
			bdev_io_complete(io, file_status((int)res));
		return;
	}
	if (res >= 0 && (uint64_t)res == io->len_bytes) {
		if (f->bounce && io->op == BDEV_READ)
			bdev_iov_from_buf(io->iov, io->nr_iov, f->bounce, io->len_bytes);
		drop_bounce(f);
		bdev_io_complete(io, 0);
	} else if (res >= 0 || res == -EAGAIN || res == -EINVAL || res == -EOPNOTSUPP) {
		refused(f); /* only a part of it, or the file system has no such aio */
	} else {
		drop_bounce(f);
		bdev_io_complete(io, file_status((int)res));
	}
}

static void event_cb(struct ev_loop *ev, struct ev_io *w, int revents)
{
	struct file_queue *fq = w->data;
	struct io_event events[64];
	struct timespec no_wait = { 0 };
	uint64_t count;
	int n;

	if (read(fq->event_fd, &count, sizeof(count)) != sizeof(count))
		return;
	do {
		n = io_getevents(fq->aio, 0, ARRAY_SIZE(events), events, &no_wait);
		for (int i = 0; i < n; i++) {
			fq->in_kernel--;
			finish(events[i].data, (long)events[i].res);
		}
	} while (n == ARRAY_SIZE(events));
}

static void file_fence(struct bdev_queue *queue)
{
	struct file_queue *fq = to_fq(queue);

	while (!list_empty(&fq->pending)) {
		struct file_io *f = list_entry(fq->pending.next, struct file_io, io.node);

		list_del(&f->io.node);
		drop_bounce(f);
		bdev_io_complete(&f->io, -ERR_FENCED);
	}
}

/* ---- queues ---- */

/* Somebody may have made it larger; nobody tells. */
static void size_cb(struct ev_loop *ev, struct ev_timer *w, int revents)
{
	struct file_queue *fq = w->data;

	(void)measure(to_file_dev(fq->queue.bdev));
}

static int file_queue_open(struct bdev_queue *queue)
{
	struct file_queue *fq = to_fq(queue);
	struct ev_loop *ev = loop_ev(queue->loop);
	int err;

	list_init(&fq->pending);
	fq->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fq->event_fd < 0)
		return -errno;
	err = io_setup(FILE_DEPTH, &fq->aio); /* -EAGAIN: /proc/sys/fs/aio-max-nr is too low */
	if (err) {
		close(fq->event_fd);
		return err;
	}
	ev_io_init(&fq->event, event_cb, fq->event_fd, EV_READ);
	ev_prepare_init(&fq->prepare, prepare_cb);
	/* After everything that may still submit in this round. */
	ev_set_priority(&fq->prepare, EV_MINPRI);
	ev_timer_init(&fq->size_timer, size_cb, 1, 1);
	fq->event.data = fq->prepare.data = fq->size_timer.data = fq;
	ev_io_start(ev, &fq->event);
	ev_prepare_start(ev, &fq->prepare);
	ev_timer_start(ev, &fq->size_timer);
	return 0;
}

static void file_queue_close(struct bdev_queue *queue)
{
	struct file_queue *fq = to_fq(queue);
	struct ev_loop *ev = loop_ev(queue->loop);

	ev_io_stop(ev, &fq->event);
	ev_prepare_stop(ev, &fq->prepare);
	ev_timer_stop(ev, &fq->size_timer);
	io_destroy(fq->aio);
	close(fq->event_fd);
}

static int file_grow(struct bdev *bdev, uint64_t size_bytes)
{
	struct file_dev *dev = to_file_dev(bdev);

	if (dev->is_block)
		return -ENOSPC;
	return ftruncate(dev->fd, (off_t)size_bytes) < 0 ? -errno : 0;
}

static void file_extent(struct bdev *bdev, uint64_t off, uint64_t *ret_len, bool *ret_zero)
{
	struct file_dev *dev = to_file_dev(bdev);
	off_t data, hole;

	if (dev->is_block)
		return;
	data = lseek(dev->fd, (off_t)off, SEEK_DATA);
	if (data < 0 && errno != ENXIO)
		return;
	*ret_zero = data < 0 || (uint64_t)data > off;
	if (*ret_zero) {
		*ret_len = data < 0 ? *ret_len : MIN(*ret_len, (uint64_t)data - off);
		return;
	}
	hole = lseek(dev->fd, (off_t)off, SEEK_HOLE);
	if (hole > 0 && (uint64_t)hole > off)
		*ret_len = MIN(*ret_len, (uint64_t)hole - off);
}

static void file_close(struct bdev *bdev)
{
	struct file_dev *dev = to_file_dev(bdev);

	file_helper_stop(dev);
	pthread_cond_destroy(&dev->more);
	pthread_mutex_destroy(&dev->lock);
	close(dev->fd);
}

const struct bdev_ops bdev_file_ops = {
	.name = "file",
	.bdev_bytes = sizeof(struct file_dev),
	.queue_bytes = sizeof(struct file_queue),
	.io_bytes = sizeof(struct file_io),
	.open = file_open,
	.close = file_close,
	.queue_open = file_queue_open,
	.queue_close = file_queue_close,
	.grow = file_grow,
	.extent = file_extent,
	.submit = file_submit,
	.fence = file_fence,
};
