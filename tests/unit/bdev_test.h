/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the unit tests of block devices share. */
#ifndef TESTS_UNIT_BDEV_TEST_H
#define TESTS_UNIT_BDEV_TEST_H

#include <stdbool.h>

#include "blockdev/bdev.h"
#include "tests/unit/test.h"

/* A device with one queue on a loop of its own. */
struct dut {
	struct loop *loop;
	struct bdev *bdev;
	struct bdev_queue *queue;
};

static inline struct dut dut_open(const char *uri)
{
	struct dut d;

	CHECK_OK(loop_new(&d.loop));
	CHECK_OK(bdev_open(uri, NULL, &d.bdev, NULL));
	CHECK_OK(bdev_queue_open(d.bdev, d.loop, &d.queue));
	return d;
}

static inline void dut_close(struct dut *d)
{
	bdev_queue_close(d->queue);
	bdev_close(d->bdev);
	loop_free(d->loop);
}

/* A block of 4 KiB that is full of c. */
static inline int dut_write(struct dut *d, char c, uint64_t off, uint32_t flags)
{
	char buf[4096];
	struct iovec iov = { buf, sizeof(buf) };
	struct bdev_req req = { .op = BDEV_WRITE,
		.flags = flags,
		.off_bytes = off,
		.len_bytes = sizeof(buf),
		.iov = &iov,
		.nr_iov = 1 };

	memset(buf, c, sizeof(buf));
	return bdev_sync(d->queue, &req);
}

/* The first letter of a block all of which must be the same. */
static inline int dut_read(struct dut *d, uint64_t off)
{
	char buf[4096];

	CHECK_OK(bdev_pread(d->queue, buf, sizeof(buf), off));
	for (size_t i = 1; i < sizeof(buf); i++)
		CHECK_EQ(buf[i], buf[0]);
	return buf[0];
}

static inline int dut_op(struct dut *d, enum bdev_op op, uint64_t off, uint64_t len, uint32_t flags)
{
	struct bdev_req req = { .op = op, .flags = flags, .off_bytes = off, .len_bytes = len };

	return bdev_sync(d->queue, &req);
}

/* A request that is not waited for. */
struct async {
	struct bdev_req req;
	struct iovec iov;
	char buf[4096];
	bool over;
	int status;
};

static inline void async_done(struct bdev_req *req, int status)
{
	struct async *a = req->arg;

	CHECK(!a->over);
	a->over = true;
	a->status = status;
}

static inline void async_start(
	struct dut *d, struct async *a, enum bdev_op op, char c, uint64_t off, uint32_t flags)
{
	memset(a->buf, c, sizeof(a->buf));
	a->over = false;
	a->iov = (struct iovec){ a->buf, sizeof(a->buf) };
	a->req = (struct bdev_req){ .op = op,
		.flags = flags,
		.off_bytes = off,
		.len_bytes = op == BDEV_FLUSH ? 0 : sizeof(a->buf),
		.iov = &a->iov,
		.nr_iov = 1,
		.done = async_done,
		.arg = a };
	CHECK_OK(bdev_submit(d->queue, &a->req));
}

static inline int async_end(struct dut *d, struct async *a)
{
	while (!a->over)
		loop_run_once(d->loop, true);
	return a->status;
}

#endif
