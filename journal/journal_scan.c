/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads the log as J1 wants it. What it is fed is hostile until its checksum says otherwise. */
#include "journal/journal_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/crc32c.h"

void jnl_scan_init(struct jnl_scan *scan, struct jnl *jnl)
{
	memset(scan, 0, sizeof(*scan));
	scan->jnl = jnl;
	htab_init(&scan->newest);
}

/* Drops what was read of a record that is not whole. */
static void drop_rec(struct jnl_scan *scan)
{
	for (uint32_t i = 0; i < scan->nr_imgs; i++) {
		if (scan->imgs[i])
			jnl_img_free(scan->jnl, scan->imgs[i]);
		scan->imgs[i] = NULL;
	}
	scan->nr_imgs = 0;
	scan->nr_desc = 0;
	scan->at = 0;
}

void jnl_scan_done(struct jnl_scan *scan)
{
	struct htab_node *node, *tmp;

	drop_rec(scan);
	htab_for_each_safe (node, tmp, &scan->newest) {
		struct jnl_img *img = container_of(node, struct jnl_img, node);

		list_del(&img->ip_link);
		jnl_img_free(scan->jnl, img);
	}
	htab_done(&scan->newest);
	free(scan->imgs);
	free(scan->crcs);
	scan->imgs = NULL;
	scan->crcs = NULL;
}

static int begin_rec(struct jnl_scan *scan, const struct jnl_desc_blk *d)
{
	uint64_t left = scan->jnl->ring_blks - scan->eaten;
	uint32_t n = le32_get(d->nr_imgs);

	if (n == 0 || n > left || le32_get(d->nr_desc) != jnl_desc_blks(n) ||
		n + jnl_desc_blks(n) > left)
		return -ERR_CORRUPT;
	if (n > scan->max_imgs) {
		struct jnl_img **imgs = calloc(n, sizeof(*imgs));
		uint32_t *crcs = calloc(n, sizeof(*crcs));

		if (!imgs || !crcs) {
			free(imgs);
			free(crcs);
			return -ENOMEM;
		}
		free(scan->imgs);
		free(scan->crcs);
		scan->imgs = imgs;
		scan->crcs = crcs;
		scan->max_imgs = n;
	}
	scan->nr_imgs = n;
	scan->nr_desc = le32_get(d->nr_desc);
	scan->rec_epoch = le64_get(d->h.epoch);
	scan->newest_hdr_seq = MAX(scan->newest_hdr_seq, le64_get(d->hdr_seq));
	return 1;
}

/* 1 if the block is a descriptor that the log goes on with. */
static int admit(const struct jnl_scan *scan, const struct jnl_desc_blk *d)
{
	const struct jnl_cfg *cfg = &scan->jnl->cfg;
	uint64_t epoch = le64_get(d->h.epoch);
	int err = jnl_check_block(
		d, JNL_BT_RECORD, cfg->start_blk + 1 + scan->pos, cfg->uuid, sizeof(*d));

	if (err && err != -ERR_VERSION)
		return 0;
	if (le64_get(d->h.seq) != scan->next_seq)
		return 0;
	if ((epoch < scan->min_epoch || epoch > scan->max_epoch) &&
		!(scan->jnl->broken & JNL_BREAK_EPOCH))
		return 0;
	if (err)
		return err;
	if (le32_get(d->index) != scan->at)
		return 0;
	if (scan->at > 0 && (epoch != scan->rec_epoch || le32_get(d->nr_imgs) != scan->nr_imgs))
		return 0;
	return 1;
}

static int feed_desc(struct jnl_scan *scan, const struct jnl_desc_blk *d)
{
	uint32_t first = scan->at * JNL_DESC_ENTS, nr;
	int ret = admit(scan, d);

	if (ret == 1 && scan->at == 0)
		ret = begin_rec(scan, d);
	if (ret != 1)
		return ret;
	nr = MIN(scan->nr_imgs - first, JNL_DESC_ENTS);
	if (le32_get(d->h.len) != sizeof(*d) + nr * sizeof(d->ents[0]))
		return -ERR_CORRUPT;
	for (uint32_t i = 0; i < nr; i++) {
		uint64_t blk = le64_get(d->ents[i].blk);

		if (!jnl_blk_ok(scan->jnl, blk))
			return -ERR_CORRUPT;
		scan->crcs[first + i] = le32_get(d->ents[i].crc);
		scan->imgs[first + i] = jnl_img_new(scan->jnl, blk);
		if (!scan->imgs[first + i])
			return -ENOMEM;
	}
	return 1;
}

static int feed_img(struct jnl_scan *scan, const void *block)
{
	uint32_t i = scan->at - scan->nr_desc;

	if (crc32c(0, block, JNL_BLOCK_BYTES) != scan->crcs[i] &&
		!(scan->jnl->broken & JNL_BREAK_CRC))
		return 0;
	memcpy(scan->imgs[i]->data, block, JNL_BLOCK_BYTES);
	return 1;
}

/* The record is whole: its images are the newest ones. */
static void take_rec(struct jnl_scan *scan)
{
	for (uint32_t i = 0; i < scan->nr_imgs; i++) {
		struct jnl_img *img = scan->imgs[i];
		struct htab_node *old = htab_find(&scan->newest, jnl_img_blk(img));

		if (old) {
			htab_remove(&scan->newest, old);
			jnl_img_free(scan->jnl, container_of(old, struct jnl_img, node));
		}
		htab_insert(&scan->newest, jnl_img_blk(img), &img->node);
		scan->imgs[i] = NULL;
	}
	scan->min_epoch = scan->rec_epoch;
	scan->next_seq++;
	scan->nr_records++;
	scan->rec_pos = scan->pos;
	drop_rec(scan);
}

int jnl_scan_feed(struct jnl_scan *scan, const void *block)
{
	int ret;

	if (scan->at == 0 || scan->at < scan->nr_desc)
		ret = feed_desc(scan, block);
	else
		ret = feed_img(scan, block);
	if (ret != 1)
		return ret;
	scan->at++;
	scan->eaten++;
	scan->pos = (scan->pos + 1) % scan->jnl->ring_blks;
	if (scan->at == scan->nr_desc + scan->nr_imgs)
		take_rec(scan);
	return 1;
}
