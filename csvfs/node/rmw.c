/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes that are not whole blocks, alone on their inode (N4): append, unaligned, past a gap.
 *
 *   1. gap: the block that holds the end of file, if the write begins in a later one, is read, its
 *      rest zeroed, written back
 *   2. the first and last block of the write are read where they are written and not covered whole
 *   3. what lies past the end of file is zeroed, the bytes are put in, whole blocks are written
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "csvfs/node/node_internal.h"
#include "util/checked.h"

struct node_rmw {
	uint8_t *mem; /* whole blocks of the write; behind them one block for the gap */
	uint64_t from, to;	/* bytes of the file that mem holds */
	uint64_t size;		/* of the file before */
	uint64_t gap_phys;	/* 0 = there is nothing to zero there */
	uint64_t first_phys, last_phys; /* 0 = not to be read */
	struct bdev_req req[2];
	struct iovec iov[2];
	unsigned left;
};

static uint64_t written_phys(const struct node_inode *ni, uint64_t blk)
{
	struct csv_extent e;

	return layout_find(&ni->layout, blk, &e) && e.state == CSV_WRITTEN ? e.phys : 0;
}

int rmw_prepare(struct node_io *io)
{
	struct node_inode *ni = io->ni;
	uint64_t off = io->off_bytes, end = off + io->len_bytes;
	struct node_rmw *rmw = calloc(1, sizeof(*rmw));

	if (!rmw)
		return -ENOMEM;
	rmw->from = ALIGN_DOWN(off, NODE_BLK);
	rmw->to = ALIGN_UP(end, NODE_BLK);
	rmw->size = ni->size;
	rmw->mem = aligned_alloc(NODE_BLK, rmw->to - rmw->from + NODE_BLK);
	if (!rmw->mem) {
		free(rmw);
		return -ENOMEM;
	}
	if (ni->size % NODE_BLK && ni->size / NODE_BLK < rmw->from / NODE_BLK)
		rmw->gap_phys = written_phys(ni, ni->size / NODE_BLK);
	if (off % NODE_BLK)
		rmw->first_phys = written_phys(ni, off / NODE_BLK);
	if (end % NODE_BLK && (end / NODE_BLK != off / NODE_BLK || off % NODE_BLK == 0))
		rmw->last_phys = written_phys(ni, end / NODE_BLK);
	io->rmw = rmw;
	return 0;
}

uint8_t *rmw_memory(struct node_io *io)
{
	return io->rmw->mem;
}

void rmw_free(struct node_io *io)
{
	if (!io->rmw)
		return;
	free(io->rmw->mem);
	free(io->rmw);
	io->rmw = NULL;
}

/* One block; done runs once, also when it can't be submitted. */
static void block_io(struct node_io *io, unsigned i, enum bdev_op op, uint64_t phys, void *mem,
	void (*done)(struct bdev_req *req, int status))
{
	struct node_rmw *rmw = io->rmw;

	rmw->iov[i] = (struct iovec){ mem, NODE_BLK };
	rmw->req[i] = (struct bdev_req){
		.op = op,
		.off_bytes = phys * NODE_BLK,
		.len_bytes = NODE_BLK,
		.iov = &rmw->iov[i],
		.nr_iov = 1,
		.done = done,
		.arg = io,
	};
	int err = bdev_submit(io->worker->queue, &rmw->req[i]);
	if (err)
		done(&rmw->req[i], err);
}

static void merge_and_write(struct node_io *io)
{
	struct node_rmw *rmw = io->rmw;

	if (io->status) {
		io_end(io, io->status);
		return;
	}
	if (rmw->size < rmw->to) { /* what lies past the end is undefined */
		uint64_t keep = MAX(rmw->size, rmw->from) - rmw->from;
		memset(rmw->mem + keep, 0, rmw->to - rmw->from - keep);
	}
	memcpy(rmw->mem + (io->off_bytes - rmw->from), io->buf, io->len_bytes);
	io_submit_segs(io);
}

static void edge_read(struct bdev_req *req, int status)
{
	struct node_io *io = req->arg;

	if (status && !io->status)
		io->status = status;
	if (--io->rmw->left == 0)
		merge_and_write(io);
}

static void read_edges(struct node_io *io)
{
	struct node_rmw *rmw = io->rmw;
	uint64_t len = rmw->to - rmw->from;

	memset(rmw->mem, 0, NODE_BLK);
	memset(rmw->mem + len - NODE_BLK, 0, NODE_BLK);
	rmw->left = 1;
	if (rmw->first_phys) {
		rmw->left++;
		block_io(io, 0, BDEV_READ, rmw->first_phys, rmw->mem, edge_read);
	}
	if (rmw->last_phys) {
		rmw->left++;
		block_io(io, 1, BDEV_READ, rmw->last_phys, rmw->mem + len - NODE_BLK, edge_read);
	}
	if (--rmw->left == 0)
		merge_and_write(io);
}

static void gap_written(struct bdev_req *req, int status)
{
	struct node_io *io = req->arg;

	if (status)
		io_end(io, status);
	else
		read_edges(io);
}

static void gap_read(struct bdev_req *req, int status)
{
	struct node_io *io = req->arg;
	struct node_rmw *rmw = io->rmw;
	uint8_t *mem = rmw->mem + (rmw->to - rmw->from);

	if (status) {
		io_end(io, status);
		return;
	}
	memset(mem + rmw->size % NODE_BLK, 0, NODE_BLK - rmw->size % NODE_BLK);
	block_io(io, 0, BDEV_WRITE, rmw->gap_phys, mem, gap_written);
}

void rmw_go(struct node_io *io)
{
	struct node_rmw *rmw = io->rmw;

	if (rmw->gap_phys)
		block_io(io, 0, BDEV_READ, rmw->gap_phys, rmw->mem + (rmw->to - rmw->from), gap_read);
	else
		read_edges(io);
}
