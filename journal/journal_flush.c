/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Flushes, shared by all who need one: waits for stable, PREFLUSH, the checkpoint. Each has an id
 * in the order of submission; who needs one that was submitted after some moment notes flush_id at
 * that moment and waits for a larger flush_done_id.
 */
#include "journal/journal_internal.h"

static void start(struct jnl *jnl);

void jnl_supersede(struct jnl *jnl, uint64_t seq)
{
	struct list *pos, *ipos;

	if (seq <= jnl->super_seq)
		return;
	list_for_each (pos, &jnl->recs) {
		struct jnl_rec *rec = list_entry(pos, struct jnl_rec, link);

		if (rec->seq <= jnl->super_seq)
			continue;
		if (rec->seq > seq)
			break;
		list_for_each (ipos, &rec->imgs) {
			struct jnl_img *img = list_entry(ipos, struct jnl_img, link);

			while (img->older) {
				struct jnl_img *old = img->older;

				img->older = old->older;
				list_del(&old->link);
				list_del(&old->ip_link);
				old->dropped = true;
				if (!old->in_flight)
					jnl_img_free(jnl, old);
			}
		}
	}
	jnl->super_seq = seq;
}

static void on_flushed(struct jnl_io *io, int status)
{
	struct jnl_flush *f = container_of(io, struct jnl_flush, io);
	struct jnl *jnl = io->jnl;

	if (status) {
		jnl_fail(jnl, status);
		return;
	}
	f->busy = false;
	jnl->flush_done_id = MAX(jnl->flush_done_id, f->id);
	if (f->covers_seq > jnl->stable_seq) {
		jnl->stable_seq = f->covers_seq;
		jnl_supersede(jnl, jnl->stable_seq);
		jnl_wake(jnl, &jnl->wait_stable, jnl->stable_seq);
	}
	if (jnl->flush_pending)
		start(jnl);
	jnl_progress(jnl);
}

static void start(struct jnl *jnl)
{
	struct jnl_flush *f = NULL;

	for (unsigned i = 0; i < JNL_NR_FLUSHES; i++) {
		if (!jnl->flushes[i].busy)
			f = &jnl->flushes[i];
	}
	jnl->flush_pending = !f;
	if (!f || jnl->error)
		return;
	f->busy = true;
	f->id = ++jnl->flush_id;
	f->covers_seq = jnl->flush_covers = jnl->written_seq;
	f->io.req = (struct bdev_req){ .op = BDEV_FLUSH };
	jnl_submit(jnl, &f->io, on_flushed);
}

void jnl_flush_want(struct jnl *jnl, uint64_t after_id)
{
	if (jnl->flush_id <= after_id && !jnl->flush_pending)
		start(jnl);
}

/* The newest record that somebody wants to be stable and that can be. */
static uint64_t stable_want(const struct jnl *jnl)
{
	uint64_t want = jnl->ck_state == JNL_CK_STABLE ? jnl->ck_target : 0;
	const struct list *pos;

	for (pos = jnl->wait_stable.prev; pos != &jnl->wait_stable; pos = pos->prev) {
		const struct jnl_wait *wait = list_entry(pos, struct jnl_wait, link);

		if (wait->seq <= jnl->written_seq)
			return MAX(want, wait->seq);
	}
	return want;
}

void jnl_flush_progress(struct jnl *jnl)
{
	uint64_t want;

	if (jnl->broken & JNL_BREAK_STABLE_WAIT)
		jnl_wake(jnl, &jnl->wait_stable, jnl->written_seq);
	want = stable_want(jnl);
	if (want > jnl->stable_seq && want > jnl->flush_covers && !jnl->flush_pending)
		start(jnl);
}
