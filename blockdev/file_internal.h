/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files and block devices of this host.
 *
 * F1  Reads and writes go to the kernel by libaio, O_DIRECT where the file system has it; a queue
 *     hands in once per round of its loop what was submitted meanwhile.
 * F2  What can block (discard, write-zeroes, a flush that aio refuses), and what aio did not carry
 *     out whole, is done by the device's helper thread with plain system calls, whose errno is
 *     exact.
 */
#ifndef BLOCKDEV_FILE_INTERNAL_H
#define BLOCKDEV_FILE_INTERNAL_H

#include <libaio.h>

#include "blockdev/bdev_internal.h"

#define FILE_DEPTH 256 /* requests of a queue in the kernel */

struct file_dev {
	struct bdev bdev;
	int fd;
	bool is_block, direct;
	_Atomic bool no_aio_fsync, no_zero_range; /* found out by trying */
	/* the helper thread; lock guards the rest */
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct list jobs; /* file_io.io.node */
	bool helper_runs, helper_stop;
	pthread_t helper;
};

struct file_queue {
	struct bdev_queue queue;
	io_context_t aio;
	int event_fd;
	struct ev_io event;
	struct ev_prepare prepare;
	struct ev_timer size_timer;
	struct list pending; /* file_io.io.node: to be handed in by the prepare watcher */
	uint32_t in_kernel;
};

struct file_io {
	struct bdev_io io;
	struct iocb iocb;
	void *bounce; /* aligned memory in place of the caller's; NULL = none */
	struct iovec bounce_iov;
	struct loop_work work; /* the helper's answer */
	int result;
	bool too_late; /* the helper came to it after the write deadline */
};

static inline struct file_dev *to_file_dev(const struct bdev *bdev)
{
	return container_of(bdev, struct file_dev, bdev);
}

/* file_open.c */
int file_open(struct bdev *bdev, const struct bdev_uri *uri, char **ret_error);
/* Size in bytes right now. */
int file_get_size(const struct file_dev *dev, uint64_t *ret_bytes);

/* file_helper.c. Does f's request with blocking calls; completes it through the loop. */
void file_helper_do(struct file_io *f);
/* Ends the helper thread; it has nothing to do. */
void file_helper_stop(struct file_dev *dev);
/* What a system call's errno means for a request. */
int file_status(int negative_errno);

#endif
