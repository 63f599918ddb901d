/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Life of the journal, commits, waiters, failure. The design note is in journal_internal.h. */
#include "journal/journal_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/log.h"

#define POOL_BYTES ((size_t)16 << 20)

static void destroy(struct jnl *jnl);
static void kick_run(struct loop_work *work);

/* ---- requests ---- */

static void on_io_done(struct bdev_req *req, int status)
{
	struct jnl_io *io = container_of(req, struct jnl_io, req);
	struct jnl *jnl = io->jnl;

	jnl->inflight--;
	if (jnl->dead) {
		if (jnl->inflight == 0)
			destroy(jnl);
	} else if (jnl->error) {
		if (jnl->inflight == 0)
			jnl_kick(jnl);
	} else {
		io->done(io, status); /* may free the journal */
	}
}

void jnl_submit(struct jnl *jnl, struct jnl_io *io, void (*done)(struct jnl_io *io, int status))
{
	int err;

	assert(!jnl->error && !jnl->dead);
	io->jnl = jnl;
	io->done = done;
	io->req.done = on_io_done;
	jnl->inflight++;
	err = bdev_submit(jnl->cfg.queue, &io->req);
	if (err) {
		jnl->inflight--;
		jnl_fail(jnl, err);
	}
}

/* ---- life ---- */

void jnl_assert_state(const struct jnl *jnl)
{
	if (jnl->open_seq == 0)
		return; /* not recovered */
	assert(jnl->stable_seq <= jnl->written_seq);
	assert(jnl->tail_seq <= jnl->stable_seq + 1 || jnl->broken);
	assert(jnl->written_seq + 1 + (jnl->wr_state != JNL_WR_IDLE) == jnl->open_seq ||
		jnl->error);
	assert((jnl->wr_state == JNL_WR_IDLE) == !jnl->wr_rec || jnl->error);
	assert(jnl->used <= jnl->ring_blks && jnl->head < jnl->ring_blks);
	assert((jnl->used == 0) == list_empty(&jnl->recs));
}

int jnl_new(const struct jnl_cfg *cfg, struct jnl **ret_jnl)
{
	const struct bdev_geom geom = bdev_geom(bdev_queue_bdev(cfg->queue));
	uint64_t dev_blks = geom.size_bytes / JNL_BLOCK_BYTES;
	struct jnl *jnl;

	if (!cfg->seal || cfg->nr_blks < JNL_MIN_BLOCKS || cfg->nr_blks > UINT32_MAX ||
		!range_ok(cfg->start_blk, cfg->nr_blks, dev_blks))
		return -EINVAL;
	jnl = calloc(1, sizeof(*jnl));
	if (!jnl)
		return -ENOMEM;
	jnl->cfg = *cfg;
	jnl->loop = bdev_queue_loop(cfg->queue);
	jnl->ring_blks = cfg->nr_blks - 2;
	/* In a small log a quarter would not even hold one commit. */
	jnl->cap_blks = (uint32_t)MAX(
		MIN(jnl->ring_blks / 4, JNL_REC_BLKS), JNL_TXN_MAX_BLOCKS + jnl_desc_blks(JNL_TXN_MAX_BLOCKS));
	htab_init(&jnl->open_blks);
	htab_init(&jnl->newest);
	list_init(&jnl->recs);
	list_init(&jnl->wait_written);
	list_init(&jnl->wait_stable);
	list_init(&jnl->wait_tail);
	list_init(&jnl->ready);

	jnl->kick = calloc(1, sizeof(*jnl->kick));
	jnl->hdr.buf = aligned_alloc(JNL_BLOCK_BYTES, JNL_BLOCK_BYTES);
	if (!jnl->kick || !jnl->hdr.buf || buf_pool_new(POOL_BYTES, &jnl->pool) ||
		jnl_inplace_new(jnl)) {
		free(jnl->kick);
		jnl->kick = NULL;
		destroy(jnl);
		return -ENOMEM;
	}
	jnl->kick->jnl = jnl;
	jnl->kick->work.fn = kick_run;
	*ret_jnl = jnl;
	return 0;
}

/* Nothing is in flight, nothing refers to the journal. */
static void destroy(struct jnl *jnl)
{
	jnl_inplace_abandon(jnl);
	jnl_replay_free(jnl);
	if (jnl->open)
		jnl_rec_free(jnl, jnl->open);
	while (!list_empty(&jnl->recs)) {
		struct jnl_rec *rec = list_entry(jnl->recs.next, struct jnl_rec, link);

		list_del(&rec->link);
		jnl_rec_free(jnl, rec);
	}
	htab_done(&jnl->open_blks);
	htab_done(&jnl->newest);
	jnl_inplace_free(jnl);
	buf_pool_free(jnl->pool);
	free(jnl->hdr.buf);
	free(jnl);
}

void jnl_free(struct jnl *jnl)
{
	struct jnl_kick *kick;

	if (!jnl)
		return;
	kick = jnl->kick;
	assert(list_empty(&jnl->wait_written) && list_empty(&jnl->wait_stable) &&
		list_empty(&jnl->wait_tail) && list_empty(&jnl->ready) && !jnl->close_wait);
	kick->jnl = NULL;
	if (!kick->armed && !kick->running)
		free(kick);
	jnl->kick = NULL;
	jnl->dead = true;
	if (jnl->inflight == 0)
		destroy(jnl);
}

void jnl_close(struct jnl *jnl, struct jnl_wait *wait)
{
	assert(!jnl->close_wait && jnl->state != JNL_RECOVERING && jnl->state < JNL_CLOSING);
	jnl->close_wait = wait;
	jnl->state = jnl->state == JNL_NEW ? JNL_CLOSED : JNL_CLOSING;
	jnl_kick(jnl);
}

static bool close_done(const struct jnl *jnl)
{
	return jnl->close_wait && jnl->inflight == 0 && (jnl->error || jnl->state == JNL_CLOSED);
}

/* ---- waiters ---- */

static void make_ready(struct jnl *jnl, struct jnl_wait *wait, int status)
{
	wait->seq = (uint64_t)(int64_t)status;
	list_add_tail(&jnl->ready, &wait->link);
	jnl_kick(jnl);
}

void jnl_wake(struct jnl *jnl, struct list *waiters, uint64_t seq)
{
	while (!list_empty(waiters)) {
		struct jnl_wait *wait = list_entry(waiters->next, struct jnl_wait, link);

		if (wait->seq > seq)
			break;
		list_del(&wait->link);
		make_ready(jnl, wait, jnl->error);
	}
}

/* wait is done when done_seq >= seq; the caller moves done_seq and wakes. */
static void add_waiter(struct jnl *jnl, struct list *waiters, struct jnl_wait *wait, uint64_t seq,
	uint64_t done_seq)
{
	struct list *at = waiters->prev;

	list_init(&wait->link);
	if (jnl->error || seq <= done_seq) {
		make_ready(jnl, wait, jnl->error);
		return;
	}
	wait->seq = seq;
	while (at != waiters && list_entry(at, struct jnl_wait, link)->seq > seq)
		at = at->prev;
	list_add(at, &wait->link);
}

/* An open and empty compound has nothing to wait for; what is before it has. */
static uint64_t clip_seq(const struct jnl *jnl, uint64_t seq)
{
	assert(seq <= jnl->open_seq || jnl->error);
	return seq == jnl->open_seq && jnl_open_empty(jnl) ? seq - 1 : seq;
}

void jnl_wait_written(struct jnl *jnl, uint64_t seq, struct jnl_wait *wait)
{
	assert(jnl->state >= JNL_RUNNING || jnl->error);
	add_waiter(jnl, &jnl->wait_written, wait, clip_seq(jnl, seq), jnl->written_seq);
}

void jnl_wait_stable(struct jnl *jnl, uint64_t seq, struct jnl_wait *wait)
{
	assert(jnl->state >= JNL_RUNNING || jnl->error);
	add_waiter(jnl, &jnl->wait_stable, wait, clip_seq(jnl, seq), jnl->stable_seq);
	jnl_kick(jnl); /* may want a flush */
}

void jnl_checkpoint(struct jnl *jnl, struct jnl_wait *wait)
{
	uint64_t seq = clip_seq(jnl, jnl->open_seq);

	assert(jnl->state >= JNL_RUNNING || jnl->error);
	if (wait)
		add_waiter(jnl, &jnl->wait_tail, wait, seq, jnl->tail_seq - 1);
	jnl->ck_want = MAX(jnl->ck_want, seq);
	jnl_kick(jnl);
}

/* ---- the loop ---- */

void jnl_kick(struct jnl *jnl)
{
	if (jnl->kick->armed)
		return;
	jnl->kick->armed = true;
	loop_defer(jnl->loop, &jnl->kick->work);
}

void jnl_progress(struct jnl *jnl)
{
	jnl_assert_state(jnl);
	if (!jnl->error && jnl->state >= JNL_RUNNING) {
		jnl_write_progress(jnl);
		jnl_ckpt_progress(jnl);
	}
	if (!jnl->error && jnl->state >= JNL_RUNNING)
		jnl_flush_progress(jnl);
	if (close_done(jnl) || (jnl->room_want && jnl_fits(jnl, jnl->room_want)))
		jnl_kick(jnl);
	jnl_assert_state(jnl);
}

static void tell_failed(struct jnl *jnl)
{
	if (!jnl->error || jnl->failed_told)
		return;
	jnl->failed_told = true;
	if (jnl->cfg.failed && jnl->state != JNL_RECOVERING)
		jnl->cfg.failed(jnl->cfg.arg, jnl->error);
}

static void tell_room(struct jnl *jnl)
{
	if (!jnl->room_want || !(jnl->error || jnl_fits(jnl, jnl->room_want)))
		return;
	jnl->room_want = 0;
	if (jnl->cfg.room)
		jnl->cfg.room(jnl->cfg.arg);
}

static void tell_waiters(struct jnl *jnl)
{
	struct list batch;

	list_init(&batch);
	if (close_done(jnl)) {
		list_init(&jnl->close_wait->link);
		make_ready(jnl, jnl->close_wait, jnl->error);
		jnl->close_wait = NULL;
	}
	list_splice_tail(&batch, &jnl->ready);
	while (!list_empty(&batch)) {
		struct jnl_wait *wait = list_entry(batch.next, struct jnl_wait, link);

		list_del(&wait->link);
		wait->done(wait, (int)(int64_t)wait->seq);
	}
}

/* Each of the callbacks may free the journal (K5): the kick knows. */
static void kick_run(struct loop_work *work)
{
	struct jnl_kick *kick = container_of(work, struct jnl_kick, work);

	kick->armed = false;
	kick->running = true;
	if (kick->jnl)
		jnl_progress(kick->jnl);
	if (kick->jnl)
		tell_failed(kick->jnl);
	if (kick->jnl)
		tell_waiters(kick->jnl);
	if (kick->jnl)
		tell_room(kick->jnl);
	if (kick->jnl && kick->jnl->error && kick->jnl->replay && kick->jnl->inflight == 0)
		jnl_replay_failed(kick->jnl);
	kick->running = false;
	if (!kick->jnl && !kick->armed)
		free(kick);
}

void jnl_fail(struct jnl *jnl, int err)
{
	assert(err < 0);
	if (jnl->error)
		return;
	log_debug("journal at block %llu: failed: %s", (unsigned long long)jnl->cfg.start_blk,
		err_str(err));
	jnl->error = err;
	jnl_wake(jnl, &jnl->wait_written, UINT64_MAX);
	jnl_wake(jnl, &jnl->wait_stable, UINT64_MAX);
	jnl_wake(jnl, &jnl->wait_tail, UINT64_MAX);
	jnl_kick(jnl);
}

/* ---- commits ---- */

bool jnl_open_empty(const struct jnl *jnl)
{
	return !jnl->open || jnl->open->nr_imgs == 0;
}

bool jnl_blk_ok(const struct jnl *jnl, uint64_t blk)
{
	const struct bdev_geom geom = bdev_geom(bdev_queue_bdev(jnl->cfg.queue));

	return blk < geom.size_bytes / JNL_BLOCK_BYTES &&
	       (blk < jnl->cfg.start_blk || blk - jnl->cfg.start_blk >= jnl->cfg.nr_blks);
}

/* Blocks of the open compound's record if nr_blks more join it. */
static uint32_t open_blks(const struct jnl *jnl, uint32_t nr_blks)
{
	uint32_t imgs = nr_blks + (jnl->open ? jnl->open->nr_imgs : 0);

	return imgs + jnl_desc_blks(imgs);
}

bool jnl_lacks_space(const struct jnl *jnl, uint32_t nr_blks)
{
	return open_blks(jnl, nr_blks) > jnl->ring_blks - jnl->used;
}

bool jnl_fits(const struct jnl *jnl, uint32_t nr_blks)
{
	return open_blks(jnl, nr_blks) <= jnl->cap_blks && !jnl_lacks_space(jnl, nr_blks);
}

bool jnl_has_room(struct jnl *jnl, uint32_t nr_blks)
{
	assert(nr_blks <= JNL_TXN_MAX_BLOCKS);
	if (jnl->error || jnl_fits(jnl, nr_blks))
		return true; /* after a failure the commit tells */
	jnl->room_want = jnl->room_want ? MIN(jnl->room_want, nr_blks) : nr_blks;
	jnl_kick(jnl); /* may want a checkpoint */
	return false;
}

/* Makes images for those blocks that are not in the open compound yet. */
static int add_imgs(struct jnl *jnl, const struct jnl_blk *blks, uint32_t nr, struct list *added,
	uint32_t *nr_added)
{
	for (uint32_t i = 0; i < nr; i++) {
		struct jnl_img *img;

		if (!jnl_blk_ok(jnl, blks[i].blk))
			return -EINVAL;
		if (htab_find(&jnl->open_blks, blks[i].blk))
			continue;
		img = jnl_img_new(jnl, blks[i].blk);
		if (!img)
			return -ENOMEM;
		htab_insert(&jnl->open_blks, blks[i].blk, &img->node);
		list_add_tail(added, &img->link);
		(*nr_added)++;
	}
	return 0;
}

static void drop_imgs(struct jnl *jnl, struct list *added)
{
	while (!list_empty(added)) {
		struct jnl_img *img = list_entry(added->next, struct jnl_img, link);

		list_del(&img->link);
		htab_remove(&jnl->open_blks, &img->node);
		jnl_img_free(jnl, img);
	}
}

int jnl_commit(
	struct jnl *jnl, const struct jnl_blk *blks, uint32_t nr, unsigned flags, uint64_t *ret_seq)
{
	struct list added;
	uint32_t nr_added = 0;
	int err;

	if (jnl->error)
		return jnl->error;
	if (jnl->state != JNL_RUNNING || nr > JNL_TXN_MAX_BLOCKS)
		return -EINVAL;
	if (!jnl->open)
		jnl->open = jnl_rec_new();
	if (!jnl->open)
		return -ENOMEM;

	list_init(&added);
	err = add_imgs(jnl, blks, nr, &added, &nr_added);
	if (err == 0 && !jnl_fits(jnl, nr_added))
		err = -ENOSPC; /* who asks jnl_has_room() first is not refused */
	if (err == 0)
		err = jnl_rec_reserve(jnl, jnl->open, jnl->open->nr_imgs + nr_added);
	if (err) {
		drop_imgs(jnl, &added);
		return err;
	}
	list_splice_tail(&jnl->open->imgs, &added);
	jnl->open->nr_imgs += nr_added;
	for (uint32_t i = 0; i < nr; i++) {
		struct htab_node *node = htab_find(&jnl->open_blks, blks[i].blk);

		container_of(node, struct jnl_img, node)->live = blks[i].live;
	}
	if (flags & JNL_PREFLUSH) {
		jnl->open->preflush = true;
		jnl->open->flush_after = jnl->flush_id;
	}
	jnl->stats.commits++;
	*ret_seq = jnl->open_seq;
	jnl_kick(jnl);
	return 0;
}

/* ---- what it knows ---- */

const void *jnl_peek(struct jnl *jnl, uint64_t blk)
{
	struct htab_node *node = htab_find(&jnl->newest, blk);

	return node ? container_of(node, struct jnl_img, node)->data : NULL;
}

uint64_t jnl_epoch(const struct jnl *jnl)
{
	return jnl->epoch;
}

uint64_t jnl_open_seq(const struct jnl *jnl)
{
	return jnl->open_seq;
}

uint64_t jnl_written_seq(const struct jnl *jnl)
{
	return jnl->written_seq;
}

uint64_t jnl_stable_seq(const struct jnl *jnl)
{
	return jnl->stable_seq;
}

uint64_t jnl_tail_seq(const struct jnl *jnl)
{
	return jnl->tail_seq;
}

uint64_t jnl_hole(const struct jnl *jnl)
{
	return jnl->hole_seq;
}

int jnl_error(const struct jnl *jnl)
{
	return jnl->error;
}

void jnl_stats(const struct jnl *jnl, struct jnl_stats *ret)
{
	*ret = jnl->stats;
	ret->used_blks = jnl->used;
	ret->size_blks = jnl->ring_blks;
}

void jnl_test_break(struct jnl *jnl, unsigned what)
{
	jnl->broken |= what;
}
