/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The helper thread of a file or block device: blocking calls, and whole requests (F2). */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "blockdev/file_internal.h"
#include "util/log.h"

int file_status(int err)
{
	switch (err) {
	case 0:
	case -EIO:
	case -ENOSPC:
	case -EOPNOTSUPP:
	case -EREMOTEIO:
	case -ENOMEM:
		return err;
	case -EDQUOT:
	case -EFBIG:
		return -ENOSPC;
	default:
		log_debug("file device: %s reported as an I/O error", strerror(-err));
		return -EIO;
	}
}

/* Reads or writes all of it, by aligned memory. */
static int do_rw(struct file_dev *dev, struct bdev_io *io)
{
	uint64_t at = 0;
	char *buf;
	int err = 0;

	if (posix_memalign((void **)&buf, 4096, io->len_bytes))
		return -ENOMEM;
	if (io->op == BDEV_WRITE)
		bdev_iov_to_buf(io->iov, io->nr_iov, buf, io->len_bytes);
	while (at < io->len_bytes) {
		off_t off = (off_t)(io->off_bytes + at);
		ssize_t n = io->op == BDEV_WRITE
				    ? pwrite(dev->fd, buf + at, io->len_bytes - at, off)
				    : pread(dev->fd, buf + at, io->len_bytes - at, off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			err = n < 0 ? -errno : -EIO; /* the file was made shorter */
			break;
		}
		at += (uint64_t)n;
	}
	if (!err && io->op == BDEV_READ)
		bdev_iov_from_buf(io->iov, io->nr_iov, buf, io->len_bytes);
	if (!err && io->op == BDEV_WRITE && (io->flags & BDEV_FUA) && fdatasync(dev->fd) < 0)
		err = -errno;
	free(buf);
	return err;
}

static int do_block_range(struct file_dev *dev, const struct bdev_io *io, unsigned long request)
{
	uint64_t range[2] = { io->off_bytes, io->len_bytes };

	return ioctl(dev->fd, request, range) < 0 ? -errno : 0;
}

static int do_fallocate(struct file_dev *dev, const struct bdev_io *io, int mode)
{
	int ret;

	do {
		ret = fallocate(dev->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)io->off_bytes,
			(off_t)io->len_bytes);
	} while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : 0;
}

static int do_discard(struct file_dev *dev, const struct bdev_io *io)
{
	return dev->is_block ? do_block_range(dev, io, BLKDISCARD)
			     : do_fallocate(dev, io, FALLOC_FL_PUNCH_HOLE);
}

/* Zeroing keeps the space of a file; where that is not known, a hole reads as zeroes too. */
static int do_zeroes(struct file_dev *dev, const struct bdev_io *io)
{
	int err = -EOPNOTSUPP;

	if (dev->is_block) {
		err = do_block_range(dev, io, BLKZEROOUT);
	} else {
		if (!atomic_load(&dev->no_zero_range))
			err = do_fallocate(dev, io, FALLOC_FL_ZERO_RANGE);
		if (err == -EOPNOTSUPP) {
			atomic_store(&dev->no_zero_range, true);
			err = do_fallocate(dev, io, FALLOC_FL_PUNCH_HOLE);
		}
	}
	if (!err && (io->flags & BDEV_FUA) && fdatasync(dev->fd) < 0)
		err = -errno;
	return err;
}

static int do_request(struct file_dev *dev, struct bdev_io *io)
{
	switch (io->op) {
	case BDEV_READ:
	case BDEV_WRITE:
		return do_rw(dev, io);
	case BDEV_FLUSH:
		return fdatasync(dev->fd) < 0 ? -errno : 0;
	case BDEV_DISCARD:
		return do_discard(dev, io);
	case BDEV_WRITE_ZEROES:
		return do_zeroes(dev, io);
	default:
		return -EOPNOTSUPP;
	}
}

/* On the queue's thread. */
static void answer(struct loop_work *work)
{
	struct file_io *f = container_of(work, struct file_io, work);

	if (f->too_late)
		bdev_io_requeue(&f->io);
	else
		bdev_io_complete(&f->io, f->result);
}

/* Requests may have waited here: fencing and the deadline are looked at once more (B6, B7). */
static void do_job(struct file_dev *dev, struct file_io *f)
{
	f->too_late = bdev_io_too_late(&f->io, clock_mono_ns());
	if (atomic_load(&dev->bdev.fenced))
		f->result = -ERR_FENCED;
	else if (!f->too_late)
		f->result = file_status(do_request(dev, &f->io));
	loop_post(f->io.queue->loop, &f->work);
}

static void *helper_main(void *arg)
{
	struct file_dev *dev = arg;

	pthread_mutex_lock(&dev->lock);
	while (!dev->helper_stop) {
		struct file_io *f;

		if (list_empty(&dev->jobs)) {
			pthread_cond_wait(&dev->more, &dev->lock);
			continue;
		}
		f = list_entry(dev->jobs.next, struct file_io, io.node);
		list_del(&f->io.node);
		pthread_mutex_unlock(&dev->lock);
		do_job(dev, f);
		pthread_mutex_lock(&dev->lock);
	}
	pthread_mutex_unlock(&dev->lock);
	return NULL;
}

/* Under dev->lock. Signals are for other threads. */
static int start_helper(struct file_dev *dev)
{
	sigset_t all, before;
	int err;

	if (dev->helper_runs)
		return 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&dev->helper, NULL, helper_main, dev);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	dev->helper_runs = err == 0;
	return -err;
}

void file_helper_do(struct file_io *f)
{
	struct file_dev *dev = to_file_dev(f->io.queue->bdev);
	int err;

	f->work.fn = answer;
	pthread_mutex_lock(&dev->lock);
	err = start_helper(dev);
	if (!err) {
		list_add_tail(&dev->jobs, &f->io.node);
		pthread_cond_signal(&dev->more);
	}
	pthread_mutex_unlock(&dev->lock);
	if (err)
		bdev_io_complete(&f->io, -ENOMEM);
}

void file_helper_stop(struct file_dev *dev)
{
	pthread_mutex_lock(&dev->lock);
	dev->helper_stop = true;
	pthread_cond_signal(&dev->more);
	pthread_mutex_unlock(&dev->lock);
	if (dev->helper_runs)
		pthread_join(dev->helper, NULL);
}
