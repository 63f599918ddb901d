/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether an I/O may go to the device now, and where (N2 to N4). Called with the inode locked, by the
 * worker that begins the I/O, and by the service thread right after a layout was answered (fresh).
 */
#include <errno.h>
#include <string.h>

#include "csvfs/node/node_internal.h"
#include "util/checked.h"

/* Below this a write into a hole lets the coordinator zero a run ahead (docs/DESIGN.md, 3). */
#define LARGE_WRITE_BYTES (64u << 10)

static enum admit fetch(struct node_io *io, enum csvp_mode mode, uint32_t flags)
{
	io->want_mode = io->paging ? CSVP_EXCL : mode;
	io->want_flags = flags;
	io->want_blk = io->off_bytes / NODE_BLK;
	io->want_nr = DIV_ROUND_UP(io->off_bytes + io->len_bytes, NODE_BLK) - io->want_blk;
	return ADMIT_FETCH;
}

static void io_reset(struct node_io *io)
{
	io->nr_segs = io->nr_ranges = 0;
	io->new_size = 0;
	rmw_free(io);
}

static enum admit admit_failed(struct node_io *io, int err)
{
	io->status = err;
	io->nr_segs = io->nr_ranges = 0;
	return ADMIT;
}

static enum admit admit_read(struct node_io *io)
{
	struct node_inode *ni = io->ni;
	uint64_t off = io->off_bytes, end = off + io->len_bytes;

	if (io->paging && ni->mode != CSVP_EXCL)
		return fetch(io, CSVP_EXCL, 0);
	if (ni->mode < CSVP_READ || (ni->is_inline && !io->fresh))
		return fetch(io, CSVP_READ, 0);
	if (end > ni->size && ni->mode == CSVP_WRITE && !io->fresh)
		return fetch(io, CSVP_READ, 0);
	end = MIN(end, ni->size);
	io->nr_bytes = end > off ? (uint32_t)(end - off) : 0;
	io->skip_bytes = off % NODE_BLK;
	if (!io->nr_bytes)
		return ADMIT;
	uint64_t blk = off / NODE_BLK, last = DIV_ROUND_UP(end, NODE_BLK);
	uint8_t *mem = io->buf;
	while (blk < last) {
		struct csv_extent e;
		if (!layout_find(&ni->layout, blk, &e))
			return fetch(io, CSVP_READ, 0);
		uint64_t nr = MIN(e.nr, last - blk);
		if (e.state == CSV_HOLE || e.state == CSV_UNWRITTEN)
			memset(mem, 0, nr * NODE_BLK);
		else if (io_add_seg(io, e.phys * NODE_BLK, mem, nr * NODE_BLK))
			return admit_failed(io, -ENOMEM);
		mem += nr * NODE_BLK;
		blk += nr;
	}
	return ADMIT;
}

/* Adds the places of blocks [blk, last) for a write of whole blocks or of parts of written ones;
 * mem holds the bytes from `from` to `to` of the file. */
static enum admit admit_blocks(struct node_io *io, uint64_t from, uint64_t to, uint8_t *mem)
{
	struct node_inode *ni = io->ni;
	bool whole = from % NODE_BLK == 0 && to % NODE_BLK == 0;
	bool large = whole && io->len_bytes >= LARGE_WRITE_BYTES;
	uint32_t flags = large ? CSVP_LAYOUT_ALLOC : CSVP_LAYOUT_ZERO_AHEAD;
	enum csvp_mode mode = io->exclusive ? CSVP_EXCL : CSVP_WRITE;
	uint64_t pos = from;

	if (ni->is_inline)
		return fetch(io, mode, flags);
	while (pos < to) {
		struct csv_extent e;
		if (!layout_find(&ni->layout, pos / NODE_BLK, &e))
			return fetch(io, mode, 0);
		if (e.state == CSV_HOLE || e.state == CSV_SHARED)
			return fetch(io, mode, flags);
		uint64_t end = MIN((e.blk + e.nr) * NODE_BLK, to);
		if (e.state == CSV_UNWRITTEN) {
			if (!large)
				return fetch(io, mode, CSVP_LAYOUT_ZERO_AHEAD);
			if (io->nr_ranges == ARRAY_SIZE(io->ranges))
				return fetch(io, mode, CSVP_LAYOUT_ZERO_AHEAD);
			io->ranges[io->nr_ranges++] = (struct csvp_range){ le64_of(e.blk),
				le64_of((end - pos) / NODE_BLK) };
		}
		if (io_add_seg(io, e.phys * NODE_BLK + pos % NODE_BLK, mem + (pos - from), end - pos))
			return admit_failed(io, -ENOMEM);
		pos = end;
	}
	return ADMIT;
}

/* Alone on the inode: unaligned, append, or a gap between the end of file and the write. */
static enum admit admit_exclusive(struct node_io *io)
{
	struct node_inode *ni = io->ni;

	if (ni->mode != CSVP_EXCL)
		return fetch(io, CSVP_EXCL, 0);
	if (ni->inflight) {
		ni->excl_wanted = io;
		return ADMIT_WAIT;
	}
	if (io->append)
		io->off_bytes = ni->size;
	uint64_t from = ALIGN_DOWN(io->off_bytes, NODE_BLK);
	uint64_t to = ALIGN_UP(io->off_bytes + io->len_bytes, NODE_BLK);
	uint64_t eof_blk = ni->size / NODE_BLK;
	struct csv_extent e;
	if (ni->size % NODE_BLK && eof_blk < from / NODE_BLK && !ni->is_inline) {
		bool known = layout_find(&ni->layout, eof_blk, &e);
		if (!known || e.state == CSV_SHARED) {
			fetch(io, CSVP_EXCL, known ? CSVP_LAYOUT_ZERO_AHEAD : 0);
			io->want_blk = eof_blk;
			io->want_nr = known ? 1 : io->want_nr;
			return ADMIT_FETCH;
		}
	}
	int err = rmw_prepare(io);
	if (err)
		return admit_failed(io, err);
	return admit_blocks(io, from, to, rmw_memory(io));
}

static enum admit admit_write(struct node_io *io)
{
	struct node_inode *ni = io->ni;
	uint64_t off = io->off_bytes, end = off + io->len_bytes;
	uint32_t mask = ni->node->block_bytes - 1;
	enum admit a;

	io->exclusive = false;
	if (ni->mode < CSVP_WRITE || (io->paging && ni->mode != CSVP_EXCL))
		return fetch(io, CSVP_WRITE, 0);
	/* Once is enough, whatever the answer was. */
	if (io->drop_priv && ni->has_priv &&
		!(io->fresh && (io->want_flags & CSVP_LAYOUT_DROP_PRIV)))
		return fetch(io, CSVP_WRITE, CSVP_LAYOUT_DROP_PRIV);
	bool gap = off > ni->size && ni->size % NODE_BLK;
	io->exclusive = io->append || (off & mask) || (end & mask) || gap;
	a = io->exclusive ? admit_exclusive(io) : admit_blocks(io, off, end, io->buf);
	end = io->off_bytes + io->len_bytes;
	if (a == ADMIT && end > INT64_MAX)
		return admit_failed(io, -EFBIG);
	if (a == ADMIT && end > ni->size)
		io->new_size = end;
	io->nr_bytes = io->len_bytes;
	return a;
}

/* I/O is held, but this is what the recall waits for (N6). */
static bool passes(const struct node_io *io)
{
	const struct node_inode *ni = io->ni;

	if (!io->paging || !ni->recall_purges)
		return false;
	return io->op == NODE_WRITE || (io->off_bytes < ni->purge_off + ni->purge_len &&
					       ni->purge_off < io->off_bytes + io->len_bytes);
}

enum admit io_admit(struct node_io *io)
{
	struct node_inode *ni = io->ni;
	int failed = atomic_load(&ni->node->failed);
	enum admit a;

	io_reset(io);
	if (failed)
		return admit_failed(io, failed);
	if (ni->refresh_pending || (ni->recall_pending && !passes(io)))
		return ADMIT_WAIT;
	if (ni->excl_busy || (ni->excl_wanted && ni->excl_wanted != io))
		return ADMIT_WAIT;
	bool others_wait = ni->excl_wanted == io;
	ni->excl_wanted = NULL;
	a = io->op == NODE_READ ? admit_read(io) : admit_write(io);
	if (a == ADMIT_FETCH && others_wait)
		inode_wake(ni); /* that may take long, and pages among them may be waited for (N6) */
	if (a != ADMIT || io->status)
		return a;
	if (io->op == NODE_READ && io->len_bytes)
		inode_was_read(ni);
	if (io->op == NODE_READ && io->paging && inode_filled(ni, io->off_bytes, io->len_bytes))
		return admit_failed(io, -ENOMEM);
	io->counted = true;
	ni->inflight++;
	ni->excl_busy = io->exclusive;
	return a;
}
