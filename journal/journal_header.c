/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The two header blocks (J6), and the common header of the journal's blocks. */
#include "journal/journal_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/crc32c.h"

/* crc32c of a block as if its crc field were zero. */
static uint32_t block_crc(const void *block)
{
	static const uint8_t zero[4];
	const uint8_t *p = block;
	const size_t at = offsetof(struct jnl_blk_hdr, crc);
	uint32_t crc = crc32c(0, p, at);

	crc = crc32c(crc, zero, sizeof(zero));
	return crc32c(crc, p + at + 4, JNL_BLOCK_BYTES - at - 4);
}

void jnl_seal_block(void *block, size_t len, uint16_t type, uint64_t blkno, const uint8_t uuid[16],
	uint64_t epoch, uint64_t seq)
{
	struct jnl_blk_hdr *h = block;

	h->magic = le32_of(JNL_MAGIC);
	h->type = le16_of(type);
	h->version = le16_of(JNL_VERSION);
	h->len = le32_of((uint32_t)len);
	h->blkno = le64_of(blkno);
	memcpy(h->uuid, uuid, 16);
	h->epoch = le64_of(epoch);
	h->seq = le64_of(seq);
	h->owner = le64_of(0);
	h->crc = le32_of(block_crc(block));
}

int jnl_check_block(
	const void *block, uint16_t type, uint64_t blkno, const uint8_t uuid[16], uint32_t min_len)
{
	const struct jnl_blk_hdr *h = block;

	if (le32_get(h->magic) != JNL_MAGIC || le16_get(h->type) != type ||
		le64_get(h->blkno) != blkno || memcmp(h->uuid, uuid, 16) != 0)
		return -ERR_CORRUPT;
	if (le32_get(h->crc) != block_crc(block))
		return -ERR_CORRUPT;
	if (le16_get(h->version) != JNL_VERSION)
		return -ERR_VERSION;
	if (le32_get(h->len) < min_len || le32_get(h->len) > JNL_BLOCK_BYTES)
		return -ERR_CORRUPT;
	return 0;
}

int jnl_hdr_decode(const void *block, uint64_t blkno, uint64_t nr_blks, const uint8_t uuid[16],
	struct jnl_hdr_info *ret)
{
	const struct jnl_hdr_blk *b = block;
	struct jnl_hdr_info info = {
		.pub = {
			.epoch = le64_get(b->h.epoch),
			.tail_seq = le64_get(b->tail_seq),
			.coord_node = le32_get(b->coord_node),
			.clean = le32_get(b->flags) & JNL_HDR_CLEAN,
		},
		.seq = le64_get(b->h.seq),
		.tail_pos = le64_get(b->tail_pos),
		.tail_epoch = le64_get(b->tail_epoch),
	};
	int err = jnl_check_block(block, JNL_BT_HEADER, blkno, uuid, sizeof(*b));

	if (err)
		return err;
	if (le64_get(b->nr_blks) != nr_blks || info.tail_pos >= nr_blks - 2 ||
		info.pub.tail_seq == 0 || info.pub.tail_seq > JNL_MAX_SEQ ||
		info.seq > JNL_MAX_SEQ || info.tail_epoch > info.pub.epoch)
		return -ERR_CORRUPT;
	*ret = info;
	return 0;
}

int jnl_hdr_pick(const struct jnl_hdr_info info[2], const int err[2], unsigned *ret_slot)
{
	if (err[0] == 0 && err[1] == 0)
		*ret_slot = info[1].seq > info[0].seq;
	else if (err[0] == 0)
		*ret_slot = 0;
	else if (err[1] == 0)
		*ret_slot = 1;
	else
		return err[0] != -ERR_CORRUPT ? err[0] : err[1];
	return 0;
}

static void hdr_encode(struct jnl_hdr_blk *b, const struct jnl_hdr_info *info, uint64_t blkno,
	uint64_t nr_blks, const uint8_t uuid[16])
{
	memset(b, 0, JNL_BLOCK_BYTES);
	b->tail_seq = le64_of(info->pub.tail_seq);
	b->tail_pos = le64_of(info->tail_pos);
	b->tail_epoch = le64_of(info->tail_epoch);
	b->nr_blks = le64_of(nr_blks);
	b->coord_node = le32_of(info->pub.coord_node);
	b->flags = le32_of(info->pub.clean ? JNL_HDR_CLEAN : 0);
	jnl_seal_block(b, sizeof(*b), JNL_BT_HEADER, blkno, uuid, info->pub.epoch, info->seq);
}

int jnl_format(struct bdev_queue *queue, uint64_t start_blk, uint64_t nr_blks,
	const uint8_t uuid[16], uint64_t epoch)
{
	struct jnl_hdr_info info = {
		.pub = { .epoch = epoch, .tail_seq = 1, .clean = true },
		.tail_epoch = epoch,
	};
	uint64_t end;
	void *buf;
	int err;

	if (nr_blks < JNL_MIN_BLOCKS || checked_add(start_blk, nr_blks, &end) ||
		end > UINT64_MAX / JNL_BLOCK_BYTES)
		return -EINVAL;
	buf = aligned_alloc(JNL_BLOCK_BYTES, JNL_BLOCK_BYTES);
	if (!buf)
		return -ENOMEM;

	/* What an earlier volume left must not pass for the first record. */
	memset(buf, 0, JNL_BLOCK_BYTES);
	err = bdev_pwrite(queue, buf, JNL_BLOCK_BYTES, (start_blk + 1) * JNL_BLOCK_BYTES);
	for (unsigned slot = 0; slot < 2 && err == 0; slot++) {
		uint64_t blkno = jnl_hdr_slot_blk(start_blk, nr_blks, slot);

		info.seq = slot + 1;
		hdr_encode(buf, &info, blkno, nr_blks, uuid);
		err = bdev_pwrite(queue, buf, JNL_BLOCK_BYTES, blkno * JNL_BLOCK_BYTES);
	}
	if (err == 0)
		err = bdev_flush_sync(queue);
	free(buf);
	return err;
}

int jnl_read_header(struct bdev_queue *queue, uint64_t start_blk, uint64_t nr_blks,
	const uint8_t uuid[16], struct jnl_header *ret)
{
	struct jnl_hdr_info info[2];
	int errs[2];
	unsigned slot;
	void *buf;
	int err;

	if (nr_blks < JNL_MIN_BLOCKS || start_blk > UINT64_MAX / JNL_BLOCK_BYTES - nr_blks)
		return -EINVAL;
	buf = aligned_alloc(JNL_BLOCK_BYTES, JNL_BLOCK_BYTES);
	if (!buf)
		return -ENOMEM;
	for (unsigned i = 0; i < 2; i++) {
		uint64_t blkno = jnl_hdr_slot_blk(start_blk, nr_blks, i);

		errs[i] = bdev_pread(queue, buf, JNL_BLOCK_BYTES, blkno * JNL_BLOCK_BYTES);
		if (errs[i] == 0)
			errs[i] = jnl_hdr_decode(buf, blkno, nr_blks, uuid, &info[i]);
	}
	free(buf);
	err = jnl_hdr_pick(info, errs, &slot);
	if (err == 0)
		*ret = info[slot].pub;
	return err;
}

static void on_written(struct jnl_io *io, int status)
{
	struct jnl *jnl = io->jnl;

	if (status)
		jnl_fail(jnl, status);
	else
		jnl->hdr.done(jnl);
}

void jnl_hdr_write(struct jnl *jnl, uint64_t tail_seq, uint64_t tail_pos, uint64_t tail_epoch,
	bool clean, void (*done)(struct jnl *jnl))
{
	const struct jnl_cfg *cfg = &jnl->cfg;
	const struct jnl_hdr_info info = {
		.pub = {
			.epoch = jnl->epoch,
			.tail_seq = tail_seq,
			.coord_node = jnl->node,
			.clean = clean,
		},
		.seq = jnl->hdr.seq + 1,
		.tail_pos = tail_pos,
		.tail_epoch = tail_epoch,
	};
	uint64_t blkno;

	assert(jnl->hdr.stable_seq == jnl->hdr.seq); /* K3 */
	jnl->hdr.seq++;
	jnl->hdr.slot ^= 1;
	blkno = jnl_hdr_slot_blk(cfg->start_blk, cfg->nr_blks, jnl->hdr.slot);
	hdr_encode(jnl->hdr.buf, &info, blkno, cfg->nr_blks, cfg->uuid);

	jnl->hdr.done = done;
	jnl->hdr.iov = (struct iovec){ jnl->hdr.buf, JNL_BLOCK_BYTES };
	jnl->hdr.io.req = (struct bdev_req){
		.op = BDEV_WRITE,
		.off_bytes = blkno * JNL_BLOCK_BYTES,
		.len_bytes = JNL_BLOCK_BYTES,
		.iov = &jnl->hdr.iov,
		.nr_iov = 1,
	};
	jnl_submit(jnl, &jnl->hdr.io, on_written);
}
