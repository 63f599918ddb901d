/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Recovery. The order of its steps, each after the one before it is done:
 *
 *   1  read both headers
 *   2  flush: the newest header may lie in a cache only, and step 3 overwrites the other (J6)
 *   3  header with the new epoch and the old tail; flush. Also makes the log stable (J2)
 *   4  read the log (journal_scan.c), with read-ahead
 *   5  write the newest image of each block in place; flush
 *   6  header with an empty log whose records must have the new epoch; flush
 *
 * A crash before step 6 leaves the log as it was. After it no older record can be taken, whatever
 * lies in the ring: not one that was torn, nor one behind a record that was lost.
 *
 * If one header block is not valid it was torn when its write was cut off, or it rotted; then it
 * may be the newest, and the other's tail is outdated. Each record names the header that was stable
 * when it was written: one that names a newer header than the one found proves such a loss.
 *
 * Likewise each record names the newest that was stable when it was written. The log ends with a record
 * that was cut off, or never written: nothing that comes behind it can say that it was stable. If
 * something does, it rotted or its write was lost, and with it what was promised to be there. The next
 * record begins at most the largest record further on: so far is looked, from each that is found.
 */
#include "journal/journal_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/log.h"

#define CHUNK_BLKS 16u
#define NR_CHUNKS 32u

struct chunk {
	struct jnl_io io;
	struct iovec iov;
	uint8_t *buf;
	uint64_t off; /* in blocks from the tail */
	uint32_t nr;
	uint32_t single; /* after an error: which block is read alone */
	bool busy, singly;
	int status;
};

struct jnl_replay {
	struct jnl *jnl;
	void (*done)(void *arg, int status, uint64_t nr_records, uint64_t nr_blks);
	void *arg;
	uint64_t epoch;
	struct jnl_hdr_info info; /* the newest header */
	bool suspect;		  /* it may not be the newest */
	struct jnl_io io;
	void (*next)(struct jnl_replay *rp);
	unsigned nr_reading;

	struct jnl_scan scan;
	bool ended; /* the log has */
	uint64_t eaten, look_to; /* in blocks from the tail; look_to: once it has ended */
	uint64_t next_off;
	uint32_t first, nr_used, depth; /* chunks: a ring; how many may be used */
	struct chunk chunks[NR_CHUNKS];
};

static void read_more(struct jnl_replay *rp);

static void on_flushed(struct jnl_io *io, int status)
{
	struct jnl_replay *rp = container_of(io, struct jnl_replay, io);

	if (status) {
		jnl_fail(rp->jnl, status);
		return;
	}
	rp->jnl->hdr.stable_seq = rp->jnl->hdr.seq;
	rp->next(rp);
}

static void flush(struct jnl_replay *rp, void (*next)(struct jnl_replay *rp))
{
	rp->next = next;
	rp->io.req = (struct bdev_req){ .op = BDEV_FLUSH };
	jnl_submit(rp->jnl, &rp->io, on_flushed);
}

/* ---- steps 5 and 6 ---- */

static void finish(struct jnl_replay *rp)
{
	void (*done)(void *arg, int status, uint64_t nr_records, uint64_t nr_blks) = rp->done;
	uint64_t nr_records = rp->scan.nr_records, nr_blks = htab_count(&rp->scan.newest);
	struct jnl *jnl = rp->jnl;
	void *arg = rp->arg;

	jnl->head = rp->scan.rec_pos;
	jnl->open_seq = jnl->tail_seq = rp->scan.next_seq;
	jnl->written_seq = jnl->stable_seq = jnl->super_seq = jnl->flush_covers =
		rp->scan.next_seq - 1;
	memset(&jnl->stats, 0, sizeof(jnl->stats));
	jnl_replay_free(jnl);
	jnl->state = JNL_RUNNING;
	jnl_assert_state(jnl);
	done(arg, 0, nr_records, nr_blks);
}

static void on_empty_header(struct jnl *jnl)
{
	flush(jnl->replay, finish);
}

static void empty_log(struct jnl_replay *rp)
{
	jnl_hdr_write(
		rp->jnl, rp->scan.next_seq, rp->scan.rec_pos, rp->epoch, false, on_empty_header);
}

static void on_in_place(struct jnl *jnl)
{
	if (jnl->broken & JNL_BREAK_REPLAY_FLUSH)
		empty_log(jnl->replay);
	else
		flush(jnl->replay, empty_log);
}

static void apply(struct jnl_replay *rp)
{
	struct htab_node *node;

	htab_for_each (node, &rp->scan.newest) {
		struct jnl_img *img = container_of(node, struct jnl_img, node);

		list_add_tail(&rp->jnl->ip.queue, &img->ip_link);
	}
	jnl_inplace_start(rp->jnl, on_in_place);
}

/* ---- step 4 ---- */

/* A header that is newer than ours was stable when this block was written: ours is outdated. */
static bool proves_loss(const struct jnl_replay *rp, const struct jnl_desc_blk *d, uint64_t pos)
{
	const struct jnl_cfg *cfg = &rp->jnl->cfg;

	return jnl_check_block(d, JNL_BT_RECORD, cfg->start_blk + 1 + pos, cfg->uuid, sizeof(*d)) ==
		       0 &&
	       le64_get(d->h.epoch) >= rp->info.tail_epoch && le64_get(d->hdr_seq) > rp->info.seq;
}

static uint64_t ring_pos(const struct jnl_replay *rp, uint64_t off)
{
	return (rp->info.tail_pos + off) % rp->jnl->ring_blks;
}

/* The log has ended: a record behind the end says that the one which ends it was stable. */
static bool proves_hole(struct jnl_replay *rp, const struct jnl_desc_blk *d, uint64_t off)
{
	const struct jnl_cfg *cfg = &rp->jnl->cfg;
	const struct jnl_scan *scan = &rp->scan;
	uint64_t epoch = le64_get(d->h.epoch), nr;

	if (le32_get(d->h.magic) != JNL_MAGIC || le64_get(d->h.seq) <= scan->next_seq ||
		epoch < scan->min_epoch || epoch > scan->max_epoch ||
		jnl_check_block(d, JNL_BT_RECORD, cfg->start_blk + 1 + ring_pos(rp, off), cfg->uuid,
			sizeof(*d)))
		return false;
	nr = MIN((uint64_t)le32_get(d->nr_imgs) + le32_get(d->nr_desc), JNL_REC_BLKS);
	rp->look_to = MAX(rp->look_to, off + nr + JNL_REC_BLKS);
	return le64_get(d->stable_seq) >= scan->next_seq;
}

static int hole(struct jnl_replay *rp, const struct jnl_desc_blk *d)
{
	rp->jnl->hole_seq = rp->scan.next_seq;
	log_error("record %llu of the log is damaged: record %llu was written when it was stable",
		(unsigned long long)rp->scan.next_seq, (unsigned long long)le64_get(d->h.seq));
	return rp->jnl->cfg.hole_ok ? 0 : -ERR_CORRUPT;
}

static bool enough(const struct jnl_replay *rp)
{
	return rp->ended && !rp->suspect && rp->eaten >= rp->look_to;
}

/* 0 or a code. */
static int eat(struct jnl_replay *rp, const void *block, uint64_t off)
{
	rp->eaten = off + 1;
	if (!rp->ended) {
		int ret = jnl_scan_feed(&rp->scan, block);

		if (ret < 0)
			return ret;
		rp->ended = ret == 0;
		rp->look_to = off + JNL_REC_BLKS;
	} else if (!rp->jnl->hole_seq && proves_hole(rp, block, off)) {
		int err = hole(rp, block);

		if (err)
			return err;
	}
	if (rp->suspect && proves_loss(rp, block, ring_pos(rp, off)))
		return -ERR_CORRUPT;
	return 0;
}

static void on_chunk(struct jnl_io *io, int status);

static void read_chunk(struct jnl_replay *rp, struct chunk *c, uint32_t at, uint32_t nr)
{
	c->iov = (struct iovec){ c->buf + (size_t)at * JNL_BLOCK_BYTES,
		(size_t)nr * JNL_BLOCK_BYTES };
	c->io.req = (struct bdev_req){
		.op = BDEV_READ,
		.off_bytes =
			(rp->jnl->cfg.start_blk + 1 + ring_pos(rp, c->off + at)) * JNL_BLOCK_BYTES,
		.len_bytes = c->iov.iov_len,
		.iov = &c->iov,
		.nr_iov = 1,
	};
	c->busy = true;
	rp->nr_reading++;
	jnl_submit(rp->jnl, &c->io, on_chunk);
}

/* A block of a chunk cannot be read; each is tried alone, since only those that the log needs
 * matter. True if the chunk is being read still. */
static bool eat_singly(struct jnl_replay *rp, struct chunk *c)
{
	if (!c->singly) {
		c->singly = true;
		c->single = 0;
	} else if (c->status && !rp->ended) {
		jnl_fail(rp->jnl, c->status); /* torn, or lost: who knows */
		return true;
	} else {
		int err = c->status ? 0
				    : eat(rp, c->buf + (size_t)c->single * JNL_BLOCK_BYTES,
					      c->off + c->single);

		rp->eaten = c->off + c->single + 1;
		if (err) {
			jnl_fail(rp->jnl, err);
			return true;
		}
		c->single++;
	}
	if (c->single == c->nr || enough(rp))
		return false;
	read_chunk(rp, c, c->single, 1);
	return true;
}

/* True if the chunk is done with. */
static bool eat_chunk(struct jnl_replay *rp, struct chunk *c)
{
	if (c->status == -EIO || c->singly)
		return !eat_singly(rp, c);
	if (c->status) {
		jnl_fail(rp->jnl, c->status);
		return false;
	}
	for (uint32_t i = 0; i < c->nr && !enough(rp); i++) {
		int err = eat(rp, c->buf + (size_t)i * JNL_BLOCK_BYTES, c->off + i);

		if (err) {
			jnl_fail(rp->jnl, err);
			return false;
		}
	}
	return true;
}

static void on_chunk(struct jnl_io *io, int status)
{
	struct chunk *c = container_of(io, struct chunk, io);
	struct jnl_replay *rp = io->jnl->replay;

	c->busy = false;
	c->status = status;
	rp->nr_reading--;
	while (rp->nr_used > 0 && !rp->chunks[rp->first].busy && !enough(rp)) {
		if (!eat_chunk(rp, &rp->chunks[rp->first]))
			break;
		rp->first = (rp->first + 1) % NR_CHUNKS;
		rp->nr_used--;
		rp->depth = MIN(rp->depth + 1, NR_CHUNKS);
	}
	if (!rp->jnl->error)
		read_more(rp);
}

/* Reads ahead, the further the longer the log turns out to be. */
static void read_more(struct jnl_replay *rp)
{
	const uint64_t ring = rp->jnl->ring_blks;
	while (!enough(rp) && !rp->jnl->error && rp->nr_used < rp->depth && rp->next_off < ring) {
		struct chunk *c = &rp->chunks[(rp->first + rp->nr_used) % NR_CHUNKS];
		uint64_t pos = ring_pos(rp, rp->next_off);

		if (!c->buf)
			c->buf = aligned_alloc(JNL_BLOCK_BYTES, CHUNK_BLKS * JNL_BLOCK_BYTES);
		if (!c->buf) {
			jnl_fail(rp->jnl, -ENOMEM);
			return;
		}
		c->off = rp->next_off;
		c->nr = (uint32_t)MIN(MIN(CHUNK_BLKS, ring - rp->next_off), ring - pos);
		c->singly = false;
		rp->next_off += c->nr;
		rp->nr_used++;
		read_chunk(rp, c, 0, c->nr);
	}
	if (!rp->jnl->error && rp->nr_reading == 0)
		apply(rp);
}

static void scan_log(struct jnl_replay *rp)
{
	struct jnl_scan *scan = &rp->scan;

	scan->pos = scan->rec_pos = rp->info.tail_pos;
	scan->next_seq = rp->info.pub.tail_seq;
	scan->min_epoch = rp->info.tail_epoch;
	scan->max_epoch = rp->info.pub.epoch;
	rp->depth = 1;
	read_more(rp);
}

/* ---- steps 1 to 3 ---- */

static void on_epoch_header(struct jnl *jnl)
{
	flush(jnl->replay, scan_log);
}

static void write_epoch(struct jnl_replay *rp)
{
	const struct jnl_hdr_info *info = &rp->info;

	rp->jnl->epoch = rp->epoch;
	jnl_hdr_write(rp->jnl, info->pub.tail_seq, info->tail_pos, info->tail_epoch, false,
		on_epoch_header);
}

static int take_headers(struct jnl_replay *rp)
{
	const struct jnl_cfg *cfg = &rp->jnl->cfg;
	struct jnl_hdr_info info[2];
	unsigned slot;
	int errs[2], err;

	for (unsigned i = 0; i < 2; i++) {
		const struct chunk *c = &rp->chunks[i];

		errs[i] = c->status ? c->status
				    : jnl_hdr_decode(c->buf,
					      jnl_hdr_slot_blk(cfg->start_blk, cfg->nr_blks, i),
					      cfg->nr_blks, cfg->uuid, &info[i]);
		/* A block that was torn may be unreadable, a lost path may come back. */
		if (errs[i] && errs[i] != -EIO && errs[i] != -ERR_CORRUPT)
			return errs[i];
	}
	err = jnl_hdr_pick(info, errs, &slot);
	if (err)
		return err;
	if (info[slot].pub.epoch >= rp->epoch)
		return -ERR_STALE;
	rp->info = info[slot];
	rp->suspect = errs[!slot] != 0;
	rp->jnl->hdr.seq = rp->info.seq;
	rp->jnl->hdr.slot = slot;
	return 0;
}

static void on_header_read(struct jnl_io *io, int status)
{
	struct chunk *c = container_of(io, struct chunk, io);
	struct jnl_replay *rp = io->jnl->replay;
	int err;

	c->busy = false;
	c->status = status;
	if (--rp->nr_reading > 0)
		return;
	err = take_headers(rp);
	if (err)
		jnl_fail(rp->jnl, err);
	else
		flush(rp, write_epoch);
}

static void read_header(struct jnl_replay *rp, unsigned slot)
{
	const struct jnl_cfg *cfg = &rp->jnl->cfg;
	struct chunk *c = &rp->chunks[slot];

	c->iov = (struct iovec){ c->buf, JNL_BLOCK_BYTES };
	c->io.req = (struct bdev_req){
		.op = BDEV_READ,
		.off_bytes = jnl_hdr_slot_blk(cfg->start_blk, cfg->nr_blks, slot) * JNL_BLOCK_BYTES,
		.len_bytes = JNL_BLOCK_BYTES,
		.iov = &c->iov,
		.nr_iov = 1,
	};
	jnl_submit(rp->jnl, &c->io, on_header_read);
}

int jnl_recover(struct jnl *jnl, uint64_t epoch, uint32_t node,
	void (*done)(void *arg, int status, uint64_t nr_records, uint64_t nr_blks), void *arg)
{
	struct jnl_replay *rp;

	if (jnl->error)
		return jnl->error;
	if (jnl->state != JNL_NEW)
		return -EINVAL;
	rp = calloc(1, sizeof(*rp));
	if (!rp)
		return -ENOMEM;
	for (unsigned i = 0; i < 2; i++) {
		rp->chunks[i].buf = aligned_alloc(JNL_BLOCK_BYTES, CHUNK_BLKS * JNL_BLOCK_BYTES);
		if (!rp->chunks[i].buf) {
			free(rp->chunks[0].buf);
			free(rp);
			return -ENOMEM;
		}
	}
	rp->jnl = jnl;
	rp->done = done;
	rp->arg = arg;
	rp->epoch = epoch;
	jnl_scan_init(&rp->scan, jnl);
	jnl->replay = rp;
	jnl->node = node;
	jnl->state = JNL_RECOVERING;

	rp->nr_reading = 2;
	for (unsigned i = 0; i < 2 && !jnl->error; i++)
		read_header(rp, i);
	return 0;
}

void jnl_replay_free(struct jnl *jnl)
{
	struct jnl_replay *rp = jnl->replay;

	if (!rp)
		return;
	jnl->replay = NULL;
	jnl_scan_done(&rp->scan);
	for (unsigned i = 0; i < NR_CHUNKS; i++)
		free(rp->chunks[i].buf);
	free(rp);
}

void jnl_replay_failed(struct jnl *jnl)
{
	struct jnl_replay *rp = jnl->replay;
	void (*done)(void *arg, int status, uint64_t nr_records, uint64_t nr_blks) = rp->done;
	void *arg = rp->arg;

	jnl_inplace_abandon(jnl);
	jnl_replay_free(jnl);
	jnl->state = JNL_NEW;
	done(arg, jnl->error, 0, 0);
}
