/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <assert.h>

#include "lockmgr/lm_internal.h"

static void over(struct lm_io *io, int status)
{
	io->busy = false;
	io->fn(io, status);
}

static void req_done(struct bdev_req *req, int status)
{
	over(container_of(req, struct lm_io, req), status);
}

static void early_done(struct loop_work *work)
{
	struct lm_io *io = container_of(work, struct lm_io, work);

	over(io, io->early);
}

static void start(struct lm_io *io, struct bdev_queue *queue,
	void (*fn)(struct lm_io *io, int status))
{
	io->req.done = req_done;
	io->queue = queue;
	io->fn = fn;
	io->busy = true;
	io->early = bdev_submit(queue, &io->req);
	if (io->early) {
		io->work.fn = early_done;
		loop_defer(bdev_queue_loop(queue), &io->work);
	}
}

void lm_io_rw(struct lm_io *io, struct bdev_queue *queue, enum bdev_op op, void *buf,
	uint64_t blk, uint32_t nr_blks, uint32_t flags, void (*fn)(struct lm_io *io, int status))
{
	assert(!io->busy);
	io->iov = (struct iovec){ buf, (size_t)nr_blks * LM_SLOT_BYTES };
	io->req = (struct bdev_req){
		.op = op,
		.flags = flags,
		.off_bytes = blk * LM_SLOT_BYTES,
		.len_bytes = io->iov.iov_len,
		.iov = &io->iov,
		.nr_iov = 1,
	};
	start(io, queue, fn);
}

void lm_io_cmd(struct lm_io *io, struct bdev_queue *queue, enum bdev_op op,
	const struct bdev_pr *pr, uint32_t flags, void (*fn)(struct lm_io *io, int status))
{
	assert(!io->busy);
	io->req = (struct bdev_req){ .op = op, .flags = flags };
	if (pr)
		io->req.pr = *pr;
	start(io, queue, fn);
}
