/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The checkpoint: what is stable goes in place, and the tail follows.
 *
 *   state   waits for                          then
 *   IDLE    a reason (want)                    target = the last record on the LUN -> STABLE
 *   STABLE  the target to be stable (J2)       its images go in place -> WRITE
 *   WRITE   the in-place writes                -> FLUSH
 *   FLUSH   a flush submitted after them (J3)  header with the tail behind the target -> HEADER
 *   HEADER  the header's write                 -> HFLUSH
 *   HFLUSH  a flush submitted after it (K3)    the tail moves -> IDLE
 *
 * A closing journal ends with one more round, which has nothing to write but a clean header.
 */
#include "journal/journal_internal.h"

/* Everything that was committed is on the LUN. */
static bool idle(const struct jnl *jnl)
{
	return jnl->wr_state == JNL_WR_IDLE && jnl_open_empty(jnl);
}

/* Something waits for the tail to move, and it can. */
static bool want(const struct jnl *jnl)
{
	if (jnl->written_seq < jnl->tail_seq)
		return false;
	return jnl->used >= jnl->ring_blks / 2 ||
	       (jnl->ck_want >= jnl->tail_seq && jnl->ck_want <= jnl->written_seq) ||
	       (jnl->room_want && jnl_lacks_space(jnl, jnl->room_want)) ||
	       (jnl->state == JNL_CLOSING && idle(jnl));
}

static void on_header(struct jnl *jnl)
{
	jnl->ck_flush_after = jnl->flush_id;
	jnl->ck_state = JNL_CK_HFLUSH;
	jnl_progress(jnl);
}

static void write_header(struct jnl *jnl)
{
	struct list *pos;

	jnl->ck_state = JNL_CK_HEADER;
	jnl->ck_tail_pos = jnl->head;
	list_for_each (pos, &jnl->recs) {
		const struct jnl_rec *rec = list_entry(pos, struct jnl_rec, link);

		if (rec->seq > jnl->ck_target) {
			jnl->ck_tail_pos = rec->pos;
			break;
		}
	}
	jnl_hdr_write(
		jnl, jnl->ck_target + 1, jnl->ck_tail_pos, jnl->epoch, jnl->ck_clean, on_header);
}

static void begin(struct jnl *jnl)
{
	jnl->ck_target = jnl->written_seq;
	if (want(jnl)) {
		jnl->ck_state = JNL_CK_STABLE;
		jnl->stats.checkpoints++;
	} else if (jnl->state == JNL_CLOSING && idle(jnl)) {
		/* Everything is in place, and stable: only the header does not say so. */
		jnl->ck_clean = true;
		write_header(jnl);
	}
}

static void on_in_place(struct jnl *jnl)
{
	jnl->ck_flush_after = jnl->flush_id;
	jnl->ck_state = JNL_CK_FLUSH;
	jnl_progress(jnl);
}

static void write_in_place(struct jnl *jnl)
{
	struct list *pos, *ipos;

	jnl->ck_state = JNL_CK_WRITE;
	jnl_supersede(jnl, jnl->ck_target); /* K1; done already but for a test */
	list_for_each (pos, &jnl->recs) {
		struct jnl_rec *rec = list_entry(pos, struct jnl_rec, link);

		if (rec->seq > jnl->ck_target)
			break;
		list_for_each (ipos, &rec->imgs) {
			struct jnl_img *img = list_entry(ipos, struct jnl_img, link);

			assert(!img->older);
			list_add_tail(&jnl->ip.queue, &img->ip_link);
		}
	}
	jnl_inplace_start(jnl, on_in_place);
}

/* The image is in place, flushed, and behind the tail. */
static void forget_img(struct jnl *jnl, struct jnl_img *img)
{
	uint64_t blk = jnl_img_blk(img);
	bool clean = !img->newer && !htab_find(&jnl->open_blks, blk);

	assert(!img->older && !img->in_flight);
	if (img->newer)
		img->newer->older = NULL;
	else
		htab_remove(&jnl->newest, &img->node);
	list_del(&img->link);
	jnl_img_free(jnl, img);
	if (clean && jnl->cfg.clean)
		jnl->cfg.clean(jnl->cfg.arg, blk);
}

static void move_tail(struct jnl *jnl)
{
	bool moved = jnl->tail_seq <= jnl->ck_target;

	jnl->hdr.stable_seq = jnl->hdr.seq;
	jnl->tail_seq = jnl->ck_target + 1;
	while (!list_empty(&jnl->recs)) {
		struct jnl_rec *rec = list_entry(jnl->recs.next, struct jnl_rec, link);

		if (rec->seq > jnl->ck_target)
			break;
		list_del(&rec->link);
		jnl->used -= rec->nr_blks;
		while (!list_empty(&rec->imgs))
			forget_img(jnl, list_entry(rec->imgs.next, struct jnl_img, link));
		jnl_rec_free(jnl, rec);
	}
	jnl->ck_state = JNL_CK_IDLE;
	if (jnl->ck_clean)
		jnl->state = JNL_CLOSED;
	if (moved && jnl->cfg.tail_moved)
		jnl->cfg.tail_moved(jnl->cfg.arg, jnl->tail_seq);
	jnl_wake(jnl, &jnl->wait_tail, jnl->tail_seq - 1);
	jnl_kick(jnl); /* room, close, the next one */
}

static bool flushed(struct jnl *jnl, unsigned broken)
{
	if (jnl->flush_done_id > jnl->ck_flush_after || (jnl->broken & broken))
		return true;
	jnl_flush_want(jnl, jnl->ck_flush_after);
	return false;
}

void jnl_ckpt_progress(struct jnl *jnl)
{
	if (jnl->error || jnl->state < JNL_RUNNING || jnl->state == JNL_CLOSED)
		return;
	if (jnl->ck_state == JNL_CK_IDLE)
		begin(jnl);
	if (jnl->ck_state == JNL_CK_STABLE &&
		(jnl->stable_seq >= jnl->ck_target || (jnl->broken & JNL_BREAK_CKPT_STABLE)))
		write_in_place(jnl);
	if (jnl->ck_state == JNL_CK_FLUSH && flushed(jnl, JNL_BREAK_CKPT_FLUSH))
		write_header(jnl);
	if (jnl->ck_state == JNL_CK_HFLUSH && flushed(jnl, JNL_BREAK_TAIL_FLUSH))
		move_tail(jnl);
}
