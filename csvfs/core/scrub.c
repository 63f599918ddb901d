/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checks a volume while it is used.
 *
 * S1  Each step is one operation that reads a bounded number of blocks, and says only what is true of
 *     the one state that its last run saw: a run has no waits in it, so nothing changes meanwhile.
 *     What would need a view of everything at once is not compared: links, blocks with two owners,
 *     blocks that are nobody's (fsck.csvfs does).
 * S2  A run works on a copy of the position and keeps its messages; both count when it has ended well.
 * S3  What spans several steps (blocks of an inode with a large tree) is compared only if the inode's
 *     record was the same at its beginning and end.
 * S4  Between two steps passes the time that the rate asks for; requests of programs that come
 *     meanwhile go first. It holds no lock and keeps nobody waiting.
 */
#include "csvfs/core/scrub_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/err.h"

typedef unsigned long long ull;

static void step(struct csv_scrub *s);

void scrub_say(struct csv_scrub *s, const char *fmt, ...)
{
	va_list ap;

	if (s->nr_msgs == SCRUB_MSGS)
		return;
	va_start(ap, fmt);
	vsnprintf(s->msgs[s->nr_msgs++].text, sizeof(s->msgs[0].text), fmt, ap);
	va_end(ap);
}

static void tell(struct csv_scrub *s)
{
	for (uint32_t i = 0; i < s->nr_msgs; i++) {
		s->errors++;
		s->cfg.msg(s->cfg.arg, s->msgs[i].text);
	}
	s->nr_msgs = 0;
}

static void finish(struct csv_scrub *s, int status)
{
	s->over = true;
	s->cfg.done(s->cfg.arg, status);
}

/* ---- steps of the engine ---- */

static int run(struct csv_op *op, struct csv_txn *txn)
{
	struct csv_scrub *s = container_of(op, struct csv_scrub, op);

	s->next = s->pos;
	s->nr_msgs = 0;
	s->at_target = false;
	return scrub_look(s, txn);
}

static void wait_for_rate(struct csv_scrub *s, uint64_t blks)
{
	struct ev_loop *ev = loop_ev(bdev_queue_loop(s->fs->queue));
	double secs = s->cfg.bytes_per_s == 0
			      ? 0.0
			      : (double)(blks * CSV_BLOCK_BYTES) / (double)s->cfg.bytes_per_s;

	ev_now_update(ev);
	ev_timer_set(&s->timer, secs, 0.0);
	ev_timer_start(ev, &s->timer);
}

static void run_done(struct csv_op *op, int status)
{
	struct csv_scrub *s = container_of(op, struct csv_scrub, op);
	uint64_t blks = s->pos.blks;

	s->busy = false;
	if (s->stopped) {
		free(s);
		return;
	}
	if (status == -ERR_CORRUPT || status == -EIO || status == -EREMOTEIO) {
		/* Messages of the run that failed may be of half a view. */
		s->nr_msgs = 0;
		scrub_say(s, "%s: block %llu: %s",
			status == -ERR_CORRUPT ? "bad-block" : "read-error", (ull)s->at_blk,
			err_str(status));
		s->next = s->pos;
		scrub_skip(s);
		status = 0;
	}
	if (status) {
		finish(s, status);
		return;
	}
	s->pos = s->next;
	tell(s);
	if (s->pos.phase == SCRUB_END)
		finish(s, 0);
	else
		wait_for_rate(s, s->pos.blks > blks ? s->pos.blks - blks : 1);
}

static void on_timer(struct ev_loop *ev, struct ev_timer *timer, int revents)
{
	step(timer->data);
}

/* ---- the superblock and its copies: not the engine's, so read as they are ---- */

struct super_io {
	struct bdev_req req;
	struct iovec iov;
	struct csv_scrub *scrub;
	uint8_t *block;
	uint64_t blk;
	bool mended;
};

static void super_end(struct super_io *io, int status)
{
	struct csv_scrub *s = io->scrub;

	free(io->block);
	free(io);
	s->busy = false;
	if (!s->stopped) /* else the engine may be gone */
		s->fs->nr_super_io--;
	if (s->stopped) {
		free(s);
		return;
	}
	if (status) {
		finish(s, status);
		return;
	}
	tell(s);
	if (++s->pos.at == 3) {
		s->pos.at = 0;
		s->pos.phase = SCRUB_COUNTS;
	}
	wait_for_rate(s, 1);
}

static void super_done(struct bdev_req *req, int status);

static void super_submit(struct super_io *io, enum bdev_op op)
{
	int err;

	io->iov = (struct iovec){ io->block, CSV_BLOCK_BYTES };
	io->req = (struct bdev_req){ .op = op, .off_bytes = io->blk * CSV_BLOCK_BYTES,
		.len_bytes = CSV_BLOCK_BYTES, .iov = &io->iov, .nr_iov = 1, .done = super_done };
	err = bdev_submit(io->scrub->fs->queue, &io->req);
	if (err)
		super_end(io, err);
}

/* A copy that is damaged is written anew: the engine knows what it says. */
static void super_done(struct bdev_req *req, int status)
{
	struct super_io *io = container_of(req, struct super_io, req);
	struct csv_scrub *s = io->scrub;
	struct csv_super want = { 0 };
	struct csv_blk_hdr *h = (struct csv_blk_hdr *)io->block;

	if (s->stopped) { /* the engine may be gone */
		super_end(io, 0);
		return;
	}
	if (status == -ENOMEM || status == -ERR_FENCED || status == -ERR_TRANSPORT || io->mended) {
		super_end(io, io->mended ? 0 : status);
		return;
	}
	csv_super_encode(&want, &s->fs->geom);
	if (!status)
		status = csv_blk_verify(io->block, io->blk, CSV_BT_SUPER, &s->fs->geom);
	if (!status && !memcmp(io->block + sizeof(want.h), (uint8_t *)&want + sizeof(want.h),
			       sizeof(want) - sizeof(want.h))) {
		super_end(io, 0);
		return;
	}
	scrub_say(s, "sb-copy: block %llu: no valid superblock; written anew", (ull)io->blk);
	memset(io->block, 0, CSV_BLOCK_BYTES);
	h->type = le16_of(CSV_BT_SUPER);
	csv_super_encode(io->block, &s->fs->geom);
	io->mended = true;
	if (csv_blk_seal(io->block, io->blk, &s->fs->geom, 0, 0))
		super_end(io, 0);
	else
		super_submit(io, BDEV_WRITE);
}

static void look_at_super(struct csv_scrub *s)
{
	const uint64_t blks[] = { CSV_SB_BLK, CSV_SB_COPY_BLK, s->fs->geom.nr_blks - 1 };
	struct super_io *io;

	if (s->fs->grow) { /* they are changing, through the log */
		wait_for_rate(s, 1);
		return;
	}
	io = calloc(1, sizeof(*io));
	s->busy = true;
	s->nr_msgs = 0;
	if (io)
		io->block = aligned_alloc(CSV_BLOCK_BYTES, CSV_BLOCK_BYTES);
	if (!io || !io->block) {
		free(io);
		s->busy = false;
		finish(s, -ENOMEM);
		return;
	}
	io->scrub = s;
	io->blk = blks[s->pos.at];
	s->fs->nr_super_io++;
	super_submit(io, BDEV_READ);
}

/* ---- its life ---- */

static void step(struct csv_scrub *s)
{
	if (s->pos.phase == SCRUB_SUPERS) {
		look_at_super(s);
		return;
	}
	s->busy = true;
	s->op = (struct csv_op){ .run = run, .done = run_done };
	csv_op_submit(s->fs, &s->op);
}

int csv_scrub_start(struct csv_fs *fs, const struct csv_scrub_cfg *cfg, struct csv_scrub **ret)
{
	struct csv_scrub *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->fs = fs;
	s->cfg = *cfg;
	ev_timer_init(&s->timer, on_timer, 0.0, 0.0);
	s->timer.data = s;
	ev_timer_start(loop_ev(bdev_queue_loop(fs->queue)), &s->timer);
	*ret = s;
	return 0;
}

void csv_scrub_status(const struct csv_scrub *s, struct csv_scrub_status *ret)
{
	*ret = (struct csv_scrub_status){ .errors = s->errors, .inodes = s->pos.inodes,
		.blks = s->pos.blks, .nr_inodes = s->nr_inodes };
}

void csv_scrub_stop(struct csv_scrub *s)
{
	if (!s)
		return;
	ev_timer_stop(loop_ev(bdev_queue_loop(s->fs->queue)), &s->timer);
	s->stopped = true;
	if (s->busy && s->pos.phase == SCRUB_SUPERS)
		s->fs->nr_super_io--;
	if (!s->busy)
		free(s);
}
