/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The coordinator's own writes of file data: zeroing parts of blocks, moving inline data out, and
 * filling new space (docs/DESIGN.md, 3 and 4).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "csvfs/coord/coord_internal.h"
#include "util/checked.h"

#define BLK CSV_COORD_BLK
#define FILL_BYTES (1u << 20) /* copied at a time */

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

/* len_bytes at least. */
static int data_buf(struct request *r, size_t len_bytes)
{
	if (r->io_buf_bytes >= len_bytes)
		return 0;
	free(r->io_buf);
	r->io_buf = aligned_alloc(BLK, len_bytes);
	r->io_buf_bytes = r->io_buf ? len_bytes : 0;
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
		r->part_then(r, status);
		return;
	}
	memset((uint8_t *)r->io_buf + r->from, 0, r->to - r->from);
	data_io(r, BDEV_WRITE, r->ext[0].phys * BLK, BLK, r->part_then);
}

static void part_filled(struct request *r, int status);

static void part_mapped(struct request *r, int status)
{
	uint64_t cluster = csv_fs_geometry(r->coord->cfg.fs)->cluster_blks;

	if (status || r->nr_ext == 0 || r->ext[0].state == CSV_HOLE ||
		r->ext[0].state == CSV_UNWRITTEN)
		r->part_then(r, status);
	else if (r->ext[0].state == CSV_SHARED) /* first it gets a place of its own */
		data_own(r, ALIGN_DOWN(r->zero_blk, cluster), cluster, part_filled);
	else
		data_io(r, BDEV_READ, r->ext[0].phys * BLK, BLK, part_read);
}

static void part_map(struct request *r)
{
	r->pos = r->zero_blk;
	r->last_step = false;
	request_run(r, run_map_one, part_mapped);
}

static void part_filled(struct request *r, int status)
{
	if (status)
		r->part_then(r, status);
	else
		part_map(r);
}

void data_zero_part(struct request *r, uint64_t blk, uint32_t from, uint32_t to,
	void (*then)(struct request *r, int status))
{
	if (from >= to) {
		then(r, 0);
		return;
	}
	if (data_buf(r, BLK) || data_ext(r)) {
		then(r, -ENOMEM);
		return;
	}
	r->part_then = then;
	r->zero_blk = blk;
	r->from = from;
	r->to = to;
	part_map(r);
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
	if (data_buf(r, BLK) || data_ext(r))
		then(r, -ENOMEM);
	else
		request_run(r, run_uninline_alloc, uninline_alloced);
}

/* ---- space of its own, filled ---- */

static int run_own_alloc(struct request *r, struct csv_txn *txn)
{
	return csv_extent_alloc(txn, r->ci->hash.key, r->pos, r->left, &r->nr_done);
}

static void own_alloced(struct request *r, int status)
{
	if (status) {
		r->then(r, status);
		return;
	}
	r->pos += r->nr_done;
	r->left -= r->nr_done;
	if (r->left)
		request_run(r, run_own_alloc, own_alloced);
	else
		data_fill_unwritten(r, r->fill.blk, r->fill.nr, r->then);
}

void data_own(struct request *r, uint64_t blk, uint64_t nr,
	void (*then)(struct request *r, int status))
{
	r->then = then;
	r->pos = r->fill.blk = blk;
	r->left = r->fill.nr = nr;
	r->last_step = false;
	request_run(r, run_own_alloc, own_alloced);
}

static void fill_end(struct request *r, int status)
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

/* nr 0: nothing is left. */
static int run_fill_next(struct request *r, struct csv_txn *txn)
{
	int err = csv_extent_fill_next(txn, r->ci->hash.key, r->pos, r->left, &r->fill);

	if (err == -ENOENT)
		r->fill.nr = 0;
	return err == -ENOENT ? 0 : err;
}

static int run_fill_written(struct request *r, struct csv_txn *txn)
{
	return csv_extent_written(txn, r->ci->hash.key, r->fill.blk, r->fill.nr);
}

/* Goes on with the range [pos, pos + left): finds the next unwritten run, fills it, marks it. */
static void fill_next(struct request *r, int status);

static void fill_filled(struct request *r, int status)
{
	if (status)
		fill_end(r, status);
	else
		request_run(r, run_fill_written, fill_next);
}

static void fill_read(struct request *r, int status)
{
	if (status)
		fill_end(r, status);
	else
		data_io(r, BDEV_WRITE, r->fill.phys * BLK, r->fill.nr * BLK, fill_filled);
}

static void fill_found(struct request *r, int status)
{
	struct csv_fill *f = &r->fill;

	if (status || f->nr == 0) {
		fill_end(r, status);
		return;
	}
	r->left -= f->blk - r->pos;
	r->pos = f->blk;
	if (!f->from_phys) {
		data_io(r, BDEV_WRITE_ZEROES, f->phys * BLK, f->nr * BLK, fill_filled);
		return;
	}
	f->nr = MIN(f->nr, FILL_BYTES / BLK);
	if (data_buf(r, FILL_BYTES))
		fill_end(r, -ENOMEM);
	else
		data_io(r, BDEV_READ, f->from_phys * BLK, f->nr * BLK, fill_read);
}

static void fill_next(struct request *r, int status)
{
	if (status)
		fill_end(r, status);
	else
		request_run(r, run_fill_next, fill_found);
}

void data_fill_unwritten(struct request *r, uint64_t blk, uint64_t nr,
	void (*then)(struct request *r, int status))
{
	r->then = then;
	r->pos = blk;
	r->left = nr;
	r->last_step = false;
	r->ci->zeroing = true;
	if (r->ci->nr_commits) { /* the last of them goes on here */
		r->step = fill_next;
		r->ci->zeroer = r;
		return;
	}
	fill_next(r, 0);
}
