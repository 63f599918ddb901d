/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The coordinator's own writes of file data: zeroing parts of blocks, moving inline data out, and
 * zero-ahead (docs/DESIGN.md, 3).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "csvfs/coord/coord_internal.h"
#include "util/checked.h"

#define BLK CSV_COORD_BLK

static void io_done(struct bdev_req *io, int status)
{
	struct request *r = io->arg;
	struct coord *coord = r->coord;

	coord->nr_io--;
	r->step(r, status);
	stop_check(coord);
}

/* One I/O of r; step(r, status) follows, never from within. */
static void data_io(struct request *r, enum bdev_op op, uint64_t off_bytes, uint64_t len_bytes,
	void (*step)(struct request *r, int status))
{
	r->iov = (struct iovec){ r->io_buf, len_bytes };
	r->io = (struct bdev_req){
		.op = op,
		.off_bytes = off_bytes,
		.len_bytes = len_bytes,
		.done = io_done,
		.arg = r,
	};
	if (op == BDEV_READ || op == BDEV_WRITE) {
		r->io.iov = &r->iov;
		r->io.nr_iov = 1;
	}
	r->step = step;
	int err = r->coord->stopping ? -ESHUTDOWN : bdev_submit(r->coord->cfg.queue, &r->io);
	if (err)
		step(r, err);
	else
		r->coord->nr_io++;
}

static int data_buf(struct request *r)
{
	if (!r->io_buf)
		r->io_buf = aligned_alloc(BLK, BLK);
	return r->io_buf ? 0 : -ENOMEM;
}

static int data_ext(struct request *r)
{
	if (!r->ext)
		r->ext = malloc(CSVP_MAX_EXTENTS * sizeof(*r->ext));
	return r->ext ? 0 : -ENOMEM;
}

/* ---- part of a block ---- */

static int run_map_one(struct request *r, struct csv_txn *txn)
{
	return csv_extent_map(txn, r->ci->hash.key, r->pos, 1, r->ext, 1, &r->nr_ext);
}

static void part_read(struct request *r, int status)
{
	if (status) {
		r->then(r, status);
		return;
	}
	memset((uint8_t *)r->io_buf + r->from, 0, r->to - r->from);
	data_io(r, BDEV_WRITE, r->ext[0].phys * BLK, BLK, r->then);
}

static void part_mapped(struct request *r, int status)
{
	if (status || r->nr_ext == 0 || r->ext[0].state != CSV_WRITTEN)
		r->then(r, status);
	else
		data_io(r, BDEV_READ, r->ext[0].phys * BLK, BLK, part_read);
}

void data_zero_part(struct request *r, uint64_t blk, uint32_t from, uint32_t to,
	void (*then)(struct request *r, int status))
{
	if (from >= to) {
		then(r, 0);
		return;
	}
	if (data_buf(r) || data_ext(r)) {
		then(r, -ENOMEM);
		return;
	}
	r->then = then;
	r->pos = blk;
	r->from = from;
	r->to = to;
	request_run(r, run_map_one, part_mapped);
}

/* ---- inline data to a block ---- */

static int run_uninline_alloc(struct request *r, struct csv_txn *txn)
{
	uint64_t done;

	r->inline_len = sizeof(r->inline_data);
	int err = csv_inline_get(txn, r->ci->hash.key, r->inline_data, &r->inline_len);
	if (!err)
		err = csv_extent_alloc(txn, r->ci->hash.key, 0, 1, &done);
	return err;
}

static int run_uninline_map(struct request *r, struct csv_txn *txn)
{
	/* The map shows what stands beside the inline data. */
	return csv_extent_map(txn, r->ci->hash.key, 0, 1, r->ext, 1, &r->nr_ext);
}

static int run_uninline_drop(struct request *r, struct csv_txn *txn)
{
	return csv_inline_drop(txn, r->ci->hash.key);
}

static void uninline_written(struct request *r, int status)
{
	if (status)
		r->then(r, status);
	else
		request_run(r, run_uninline_drop, r->then);
}

static void uninline_mapped(struct request *r, int status)
{
	if (status == 0 && (r->nr_ext == 0 || r->ext[0].state == CSV_HOLE))
		status = -EIO;
	if (status) {
		r->then(r, status);
		return;
	}
	memset(r->io_buf, 0, BLK);
	memcpy(r->io_buf, r->inline_data, r->inline_len);
	data_io(r, BDEV_WRITE, r->ext[0].phys * BLK, BLK, uninline_written);
}

static void uninline_alloced(struct request *r, int status)
{
	if (status)
		r->then(r, status);
	else
		request_run(r, run_uninline_map, uninline_mapped);
}

void data_uninline(struct request *r, void (*then)(struct request *r, int status))
{
	r->then = then;
	r->last_step = false;
	if (data_buf(r) || data_ext(r))
		then(r, -ENOMEM);
	else
		request_run(r, run_uninline_alloc, uninline_alloced);
}

/* ---- zero-ahead ---- */

static void zero_end(struct request *r, int status)
{
	struct coord_inode *ci = r->ci;

	ci->zeroing = false;
	while (!list_empty(&ci->commits)) {
		struct request *commit = list_entry(ci->commits.next, struct request, link);
		list_del(&commit->link);
		commit->then(commit, 0);
	}
	r->then(r, status);
}

static int run_zero_map(struct request *r, struct csv_txn *txn)
{
	return csv_extent_map(txn, r->ci->hash.key, r->pos, r->left, r->ext, CSVP_MAX_EXTENTS,
		&r->nr_ext);
}

static int run_zero_written(struct request *r, struct csv_txn *txn)
{
	return csv_extent_written(txn, r->ci->hash.key, r->ext[0].blk, r->ext[0].nr);
}

/* Goes on with the range [pos, pos + left): finds the next unwritten run, zeroes it, marks it. */
static void zero_next(struct request *r, int status);

static void zero_zeroed(struct request *r, int status)
{
	if (status)
		zero_end(r, status);
	else
		request_run(r, run_zero_written, zero_next);
}

static void zero_mapped(struct request *r, int status)
{
	if (status) {
		zero_end(r, status);
		return;
	}
	for (uint32_t i = 0; i < r->nr_ext; i++) {
		const struct csv_extent *e = &r->ext[i];
		if (e->state != CSV_UNWRITTEN)
			continue;
		r->left -= e->blk - r->pos;
		r->pos = e->blk;
		r->ext[0] = *e;
		data_io(r, BDEV_WRITE_ZEROES, e->phys * BLK, e->nr * BLK, zero_zeroed);
		return;
	}
	zero_end(r, 0);
}

static void zero_next(struct request *r, int status)
{
	if (status)
		zero_end(r, status);
	else
		request_run(r, run_zero_map, zero_mapped);
}

void data_zero_unwritten(struct request *r, uint64_t blk, uint64_t nr,
	void (*then)(struct request *r, int status))
{
	r->then = then;
	r->pos = blk;
	r->left = nr;
	r->last_step = false;
	r->ci->zeroing = true;
	if (data_ext(r)) {
		zero_end(r, -ENOMEM);
		return;
	}
	if (r->ci->nr_commits) { /* the last of them goes on here */
		r->step = zero_next;
		r->ci->zeroer = r;
		return;
	}
	zero_next(r, 0);
}
