/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images of blocks that the ring still holds after they were written in place, for repair.
 *
 * The ring is overwritten from its oldest record on. So it holds the last records without a gap, and
 * the newest image among these of a block is the last one that was ever logged. A record behind a gap
 * (its successor was overwritten or is damaged) may be outdated, and is not looked at.
 */
#include "journal/journal_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/crc32c.h"

#define CHUNK_BLKS 256u

struct found_rec {
	uint64_t seq, epoch, pos;
	uint32_t nr_imgs, nr_desc;
};

struct jnl_images {
	struct bdev_queue *queue;
	uint64_t start_blk, ring_blks;
	uint8_t uuid[16];
	struct found_rec *recs; /* newest first, without a gap */
	uint64_t nr, max;
};

static int take(struct jnl_images *im, const struct jnl_desc_blk *d, uint64_t pos, uint64_t end_seq)
{
	uint32_t n = le32_get(d->nr_imgs);

	if (le16_get(d->h.type) != JNL_BT_RECORD ||
		jnl_check_block(d, JNL_BT_RECORD, im->start_blk + 1 + pos, im->uuid, sizeof(*d)) ||
		le32_get(d->index) != 0 || le64_get(d->h.seq) >= end_seq || n == 0 ||
		n >= im->ring_blks || le32_get(d->nr_desc) != jnl_desc_blks(n))
		return 0;
	if (im->nr == im->max) {
		uint64_t max = im->max ? im->max * 2 : 256;
		struct found_rec *recs = reallocarray(im->recs, max, sizeof(*recs));

		if (!recs)
			return -ENOMEM;
		im->recs = recs;
		im->max = max;
	}
	im->recs[im->nr++] = (struct found_rec){ .seq = le64_get(d->h.seq),
		.epoch = le64_get(d->h.epoch), .pos = pos, .nr_imgs = n,
		.nr_desc = le32_get(d->nr_desc) };
	return 0;
}

static int newest_first(const void *a, const void *b)
{
	const struct found_rec *x = a, *y = b;

	if (x->seq != y->seq)
		return x->seq > y->seq ? -1 : 1;
	if (x->epoch != y->epoch)
		return x->epoch > y->epoch ? -1 : 1;
	return 0;
}

/* Keeps the unbroken run from the newest record down. */
static void cut_at_gap(struct jnl_images *im, uint64_t end_seq)
{
	uint64_t nr = 0, want = end_seq - 1;

	if (im->nr)
		qsort(im->recs, im->nr, sizeof(*im->recs), newest_first);
	for (uint64_t i = 0; i < im->nr; i++) {
		const struct found_rec *rec = &im->recs[i];

		if (nr && rec->seq == im->recs[nr - 1].seq)
			continue; /* of an older epoch: it was torn, and written anew */
		if (rec->seq != want || (nr && rec->epoch > im->recs[nr - 1].epoch))
			break;
		im->recs[nr++] = *rec;
		want--;
	}
	im->nr = nr;
}

int jnl_images_load(struct bdev_queue *queue, uint64_t start_blk, uint64_t nr_blks,
	const uint8_t uuid[16], uint64_t end_seq, struct jnl_images **ret)
{
	struct jnl_images *im = calloc(1, sizeof(*im));
	uint8_t *buf = aligned_alloc(JNL_BLOCK_BYTES, CHUNK_BLKS * JNL_BLOCK_BYTES);
	int err = im && buf ? 0 : -ENOMEM;

	if (err)
		goto out;
	im->queue = queue;
	im->start_blk = start_blk;
	im->ring_blks = nr_blks - 2;
	memcpy(im->uuid, uuid, sizeof(im->uuid));
	for (uint64_t pos = 0; pos < im->ring_blks && !err; pos += CHUNK_BLKS) {
		uint64_t n = MIN(im->ring_blks - pos, CHUNK_BLKS);

		/* What cannot be read is a gap. */
		if (bdev_pread(queue, buf, n * JNL_BLOCK_BYTES,
			    (start_blk + 1 + pos) * JNL_BLOCK_BYTES))
			continue;
		for (uint64_t i = 0; i < n && !err; i++)
			err = take(im, (const void *)(buf + i * JNL_BLOCK_BYTES), pos + i, end_seq);
	}
	if (!err)
		cut_at_gap(im, end_seq);
out:
	free(buf);
	if (err)
		jnl_images_free(im);
	else
		*ret = im;
	return err;
}

static int read_ring(const struct jnl_images *im, uint64_t pos, void *block)
{
	return bdev_pread(im->queue, block, JNL_BLOCK_BYTES,
		(im->start_blk + 1 + pos % im->ring_blks) * JNL_BLOCK_BYTES);
}

/* Which image of the record is blk's; -ENOENT: none. The image's checksum is *ret_crc. */
static int find_entry(const struct jnl_images *im, const struct found_rec *rec, uint64_t blk,
	void *block, uint32_t *ret_img, uint32_t *ret_crc)
{
	const struct jnl_desc_blk *d = block;

	for (uint32_t i = 0; i < rec->nr_desc; i++) {
		uint32_t first = i * JNL_DESC_ENTS;
		uint32_t nr = MIN(rec->nr_imgs - first, JNL_DESC_ENTS);
		int err = read_ring(im, rec->pos + i, block);

		if (!err)
			err = jnl_check_block(d, JNL_BT_RECORD,
				im->start_blk + 1 + (rec->pos + i) % im->ring_blks, im->uuid,
				sizeof(*d));
		if (!err && (le64_get(d->h.seq) != rec->seq || le32_get(d->index) != i))
			err = -ERR_CORRUPT; /* overwritten meanwhile */
		if (err)
			return err;
		for (uint32_t e = 0; e < nr; e++) {
			if (le64_get(d->ents[e].blk) != blk)
				continue;
			*ret_img = first + e;
			*ret_crc = le32_get(d->ents[e].crc);
			return 0;
		}
	}
	return -ENOENT;
}

int jnl_images_get(const struct jnl_images *im, uint64_t blk, void *image)
{
	uint8_t *block = aligned_alloc(JNL_BLOCK_BYTES, JNL_BLOCK_BYTES);
	int err = block ? -ENOENT : -ENOMEM;

	for (uint64_t i = 0; i < im->nr && err == -ENOENT; i++) {
		const struct found_rec *rec = &im->recs[i];
		uint32_t img, crc;

		err = find_entry(im, rec, blk, block, &img, &crc);
		if (err)
			continue;
		err = read_ring(im, rec->pos + rec->nr_desc + img, block);
		if (!err && crc32c(0, block, JNL_BLOCK_BYTES) != crc)
			err = -ERR_CORRUPT;
		if (!err)
			memcpy(image, block, JNL_BLOCK_BYTES);
		break;
	}
	free(block);
	return err == -ERR_CORRUPT ? -ENOENT : err;
}

void jnl_images_free(struct jnl_images *im)
{
	if (!im)
		return;
	free(im->recs);
	free(im);
}

int jnl_check_header(struct bdev_queue *queue, uint64_t start_blk, uint64_t nr_blks,
	const uint8_t uuid[16], unsigned slot, uint64_t *ret_blk)
{
	uint64_t blk = jnl_hdr_slot_blk(start_blk, nr_blks, slot);
	void *buf = aligned_alloc(JNL_BLOCK_BYTES, JNL_BLOCK_BYTES);
	struct jnl_hdr_info info;
	int err = buf ? 0 : -ENOMEM;

	*ret_blk = blk;
	if (!err)
		err = bdev_pread(queue, buf, JNL_BLOCK_BYTES, blk * JNL_BLOCK_BYTES);
	if (!err)
		err = jnl_hdr_decode(buf, blk, nr_blks, uuid, &info);
	free(buf);
	return err;
}
