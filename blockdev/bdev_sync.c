/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests that are waited for, and copying to and from iovecs. */
#include <string.h>

#include "blockdev/bdev_internal.h"

struct sync {
	bool over;
	int status;
	void (*done)(struct bdev_req *req, int status);
	void *arg;
};

static void sync_done(struct bdev_req *req, int status)
{
	struct sync *sync = req->arg;

	sync->over = true;
	sync->status = status;
}

int bdev_sync(struct bdev_queue *queue, struct bdev_req *req)
{
	struct sync sync = { .done = req->done, .arg = req->arg };
	int err;

	req->done = sync_done;
	req->arg = &sync;
	err = bdev_submit(queue, req);
	if (!err) {
		while (!sync.over)
			loop_run_once(bdev_queue_loop(queue), true);
		err = sync.status;
	}
	req->done = sync.done;
	req->arg = sync.arg;
	return err;
}

int bdev_pread(struct bdev_queue *queue, void *buf, uint64_t len_bytes, uint64_t off_bytes)
{
	struct iovec iov = { buf, len_bytes };
	struct bdev_req req = { .op = BDEV_READ,
		.off_bytes = off_bytes,
		.len_bytes = len_bytes,
		.iov = &iov,
		.nr_iov = 1 };

	return bdev_sync(queue, &req);
}

int bdev_pwrite(struct bdev_queue *queue, const void *buf, uint64_t len_bytes, uint64_t off_bytes)
{
	struct iovec iov = { (void *)buf, len_bytes };
	struct bdev_req req = { .op = BDEV_WRITE,
		.off_bytes = off_bytes,
		.len_bytes = len_bytes,
		.iov = &iov,
		.nr_iov = 1 };

	return bdev_sync(queue, &req);
}

int bdev_flush_sync(struct bdev_queue *queue)
{
	struct bdev_req req = { .op = BDEV_FLUSH };

	return bdev_sync(queue, &req);
}

void bdev_iov_to_buf(const struct iovec *iov, int nr_iov, void *buf, size_t n)
{
	for (int i = 0; i < nr_iov && n > 0; i++) {
		size_t take = MIN(iov[i].iov_len, n);

		memcpy(buf, iov[i].iov_base, take);
		buf = (char *)buf + take;
		n -= take;
	}
}

void bdev_iov_from_buf(const struct iovec *iov, int nr_iov, const void *buf, size_t n)
{
	for (int i = 0; i < nr_iov && n > 0; i++) {
		size_t take = MIN(iov[i].iov_len, n);

		memcpy(iov[i].iov_base, buf, take);
		buf = (const char *)buf + take;
		n -= take;
	}
}
