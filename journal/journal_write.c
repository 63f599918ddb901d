/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Records: their images, closing the open compound, writing it. */
#include "journal/journal_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/crc32c.h"

/* ---- images and records ---- */

struct jnl_img *jnl_img_new(struct jnl *jnl, uint64_t blk)
{
	struct jnl_img *img = calloc(1, sizeof(*img));

	if (!img)
		return NULL;
	img->data = buf_get(jnl->pool, JNL_BLOCK_BYTES);
	if (!img->data) {
		free(img);
		return NULL;
	}
	img->node.key = blk;
	list_init(&img->link);
	list_init(&img->ip_link);
	return img;
}

void jnl_img_free(struct jnl *jnl, struct jnl_img *img)
{
	buf_put(jnl->pool, img->data, JNL_BLOCK_BYTES);
	free(img);
}

struct jnl_rec *jnl_rec_new(void)
{
	struct jnl_rec *rec = calloc(1, sizeof(*rec));

	if (rec) {
		list_init(&rec->link);
		list_init(&rec->imgs);
	}
	return rec;
}

void jnl_rec_free_io(struct jnl *jnl, struct jnl_rec *rec)
{
	while (rec->nr_descs > 0)
		buf_put(jnl->pool, rec->descs[--rec->nr_descs], JNL_BLOCK_BYTES);
	free(rec->descs);
	free(rec->iov);
	free(rec->ios);
	rec->descs = NULL;
	rec->iov = NULL;
	rec->ios = NULL;
	rec->max_descs = rec->max_iov = rec->max_ios = 0;
}

void jnl_rec_free(struct jnl *jnl, struct jnl_rec *rec)
{
	while (!list_empty(&rec->imgs)) {
		struct jnl_img *img = list_entry(rec->imgs.next, struct jnl_img, link);

		list_del(&img->link);
		list_del(&img->ip_link);
		jnl_img_free(jnl, img);
	}
	jnl_rec_free_io(jnl, rec);
	free(rec);
}

/* ---- writing ---- */

/* Grows an array to hold n; the content is kept. */
static int grow(void **array, uint32_t *max, uint32_t n, size_t size)
{
	uint32_t want = MAX(n, *max * 2);
	void *p;

	if (n <= *max)
		return 0;
	p = realloc(*array, want * size);
	if (!p)
		return -ENOMEM;
	*array = p;
	*max = want;
	return 0;
}

int jnl_rec_reserve(struct jnl *jnl, struct jnl_rec *rec, uint32_t nr)
{
	uint32_t nr_descs = jnl_desc_blks(nr);
	uint32_t nr_blks = nr + nr_descs;
	/* One more for each piece that ends early at the end of the ring. */
	uint32_t nr_ios = DIV_ROUND_UP(nr_blks, JNL_IO_BLKS) + 1;

	if (grow((void **)&rec->descs, &rec->max_descs, nr_descs, sizeof(*rec->descs)) ||
		grow((void **)&rec->iov, &rec->max_iov, nr_blks, sizeof(*rec->iov)) ||
		grow((void **)&rec->ios, &rec->max_ios, nr_ios, sizeof(*rec->ios)))
		return -ENOMEM;
	while (rec->nr_descs < nr_descs) {
		void *buf = buf_get(jnl->pool, JNL_BLOCK_BYTES);

		if (!buf)
			return -ENOMEM;
		rec->descs[rec->nr_descs++] = buf;
	}
	return 0;
}

/* Copies and seals the live block; from now on this is the newest closed image. */
static int close_img(struct jnl *jnl, struct jnl_rec *rec, struct jnl_img *img)
{
	uint64_t blk = jnl_img_blk(img);
	struct htab_node *prev;
	int err;

	htab_remove(&jnl->open_blks, &img->node);
	prev = htab_find(&jnl->newest, blk);
	if (prev) {
		htab_remove(&jnl->newest, prev);
		img->older = container_of(prev, struct jnl_img, node);
		img->older->newer = img;
	}
	htab_insert(&jnl->newest, blk, &img->node);

	memcpy(img->data, img->live, JNL_BLOCK_BYTES);
	img->live = NULL;
	err = jnl->cfg.seal(jnl->cfg.arg, blk, img->data, jnl->epoch, rec->seq);
	if (jnl->cfg.taken)
		jnl->cfg.taken(jnl->cfg.arg, blk);
	return err;
}

static void seal_descs(struct jnl *jnl, struct jnl_rec *rec)
{
	const struct jnl_cfg *cfg = &jnl->cfg;

	for (uint32_t i = 0; i < rec->nr_descs; i++) {
		uint32_t nr = MIN(rec->nr_imgs - i * JNL_DESC_ENTS, JNL_DESC_ENTS);
		struct jnl_desc_blk *d = rec->descs[i];
		uint64_t pos = (rec->pos + i) % jnl->ring_blks;

		d->nr_imgs = le32_of(rec->nr_imgs);
		d->nr_desc = le32_of(rec->nr_descs);
		d->index = le32_of(i);
		d->hdr_seq = le64_of(jnl->hdr.stable_seq);
		d->stable_seq = le64_of(jnl->stable_seq);
		jnl_seal_block(d, sizeof(*d) + nr * sizeof(d->ents[0]), JNL_BT_RECORD,
			cfg->start_blk + 1 + pos, cfg->uuid, jnl->epoch, rec->seq);
	}
}

/* The open compound becomes a record with a place in the ring. */
static int close_open(struct jnl *jnl, struct jnl_rec **ret_rec)
{
	struct jnl_rec *rec = jnl->open;
	struct list *pos;
	uint32_t n = 0;

	jnl->open = NULL;
	rec->seq = jnl->open_seq++;
	rec->pos = jnl->head;
	rec->nr_blks = rec->nr_imgs + jnl_desc_blks(rec->nr_imgs);
	/* A refused commit may have reserved more than was used. */
	while (rec->nr_descs > jnl_desc_blks(rec->nr_imgs))
		buf_put(jnl->pool, rec->descs[--rec->nr_descs], JNL_BLOCK_BYTES);
	jnl->head = (jnl->head + rec->nr_blks) % jnl->ring_blks;
	jnl->used += rec->nr_blks;
	assert(jnl->used <= jnl->ring_blks);
	list_add_tail(&jnl->recs, &rec->link);

	for (uint32_t i = 0; i < rec->nr_descs; i++) {
		memset(rec->descs[i], 0, JNL_BLOCK_BYTES);
		rec->iov[i] = (struct iovec){ rec->descs[i], JNL_BLOCK_BYTES };
	}
	list_for_each (pos, &rec->imgs) {
		struct jnl_img *img = list_entry(pos, struct jnl_img, link);
		struct jnl_desc_blk *d = rec->descs[n / JNL_DESC_ENTS];
		struct jnl_desc_ent *ent = &d->ents[n % JNL_DESC_ENTS];
		int err = close_img(jnl, rec, img);

		if (err)
			return err;
		ent->blk = le64_of(jnl_img_blk(img));
		ent->crc = le32_of(crc32c(0, img->data, JNL_BLOCK_BYTES));
		rec->iov[rec->nr_descs + n] = (struct iovec){ img->data, JNL_BLOCK_BYTES };
		n++;
	}
	seal_descs(jnl, rec);
	jnl->stats.records++;
	jnl->stats.blocks += rec->nr_imgs;
	*ret_rec = rec;
	return 0;
}

static void on_written(struct jnl_io *io, int status)
{
	struct jnl *jnl = io->jnl;
	struct jnl_rec *rec = jnl->wr_rec;

	if (status) {
		jnl_fail(jnl, status);
		return;
	}
	if (--jnl->wr_left > 0)
		return;
	jnl->written_seq = rec->seq;
	jnl->wr_state = JNL_WR_IDLE;
	jnl->wr_rec = NULL;
	jnl_rec_free_io(jnl, rec);
	jnl_wake(jnl, &jnl->wait_written, jnl->written_seq);
	jnl_progress(jnl);
}

static void submit_rec(struct jnl *jnl, struct jnl_rec *rec)
{
	uint32_t at = 0, nr_ios = 0;

	jnl->wr_state = JNL_WR_WRITE;
	while (at < rec->nr_blks) {
		uint64_t pos = (rec->pos + at) % jnl->ring_blks;
		uint32_t n =
			(uint32_t)MIN(MIN(rec->nr_blks - at, JNL_IO_BLKS), jnl->ring_blks - pos);

		assert(nr_ios < rec->max_ios);
		rec->ios[nr_ios++].req = (struct bdev_req){
			.op = BDEV_WRITE,
			.off_bytes = (jnl->cfg.start_blk + 1 + pos) * JNL_BLOCK_BYTES,
			.len_bytes = (uint64_t)n * JNL_BLOCK_BYTES,
			.iov = rec->iov + at,
			.nr_iov = (int)n,
		};
		at += n;
	}
	jnl->wr_left = nr_ios;
	for (uint32_t i = 0; i < nr_ios && !jnl->error; i++)
		jnl_submit(jnl, &rec->ios[i], on_written);
}

/* J4: a flush that was submitted after the last commit that asked for it is done. */
static bool preflush_done(const struct jnl *jnl, const struct jnl_rec *rec)
{
	return !rec->preflush || jnl->flush_done_id > rec->flush_after ||
	       (jnl->broken & JNL_BREAK_PREFLUSH);
}

void jnl_write_progress(struct jnl *jnl)
{
	struct jnl_rec *rec;
	int err;

	if (jnl->error)
		return;
	if (jnl->wr_state == JNL_WR_IDLE && !jnl_open_empty(jnl)) {
		err = close_open(jnl, &rec);
		if (err) {
			jnl_fail(jnl, err);
			return;
		}
		if (rec->preflush)
			jnl->stats.preflushes++;
		jnl->wr_rec = rec;
		jnl->wr_state = JNL_WR_PREFLUSH;
	}
	if (jnl->wr_state == JNL_WR_PREFLUSH) {
		if (preflush_done(jnl, jnl->wr_rec))
			submit_rec(jnl, jnl->wr_rec);
		else
			jnl_flush_want(jnl, jnl->wr_rec->flush_after);
	}
}
