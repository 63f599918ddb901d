/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: util blockdev journal */
/*
 * A flipped bit in the log is detected, whichever it is. In a header: the other slot is taken, or that
 * the newest is lost is noticed. In a record: it is not replayed; and if a later record says that this
 * one was stable, recovery does not pass for a shorter log but fails, and names the record. For repair it
 * replays what is before the damage; the same with that allowed from the start is the twin, which
 * notices nothing.
 *
 * By the reader's own checks all bits of a block; by a recovery those of its fields and some of the rest
 * (CSVFS_TEST_FULL=1: all).
 */
#include <stdlib.h>

#include "tests/unit/journal_life.h"
#include "util/crc32c.h"
#include "util/log.h"

#define BITS (JNL_BLOCK_BYTES * 8u)
#define FIELD_BITS 0x80u * 8u
#define STRIDE 509u

struct record {
	uint64_t seq, pos, stable_seq;
	uint32_t nr_blks;
};

struct flips {
	struct run run;
	struct record rec[64];
	unsigned nr;
	uint64_t nr_tried, nr_holes;
};

static uint8_t *ring_block(struct flips *f, uint64_t pos)
{
	return f->run.bench[0].sure + (LOG_BLK + 1 + pos) * JNL_BLOCK_BYTES;
}

/* The records from the tail on, as they lie in the ring. */
static void find_records(struct flips *f)
{
	struct jnl_hdr_info info[2];
	uint64_t pos, seq;
	unsigned slot;
	int errs[2];

	for (unsigned i = 0; i < 2; i++) {
		uint64_t blk = jnl_hdr_slot_blk(LOG_BLK, LOG_BLKS, i);

		errs[i] = jnl_hdr_decode(f->run.bench[0].sure + blk * JNL_BLOCK_BYTES, blk, LOG_BLKS,
			crash_uuid, &info[i]);
	}
	CHECK_OK(jnl_hdr_pick(info, errs, &slot));
	pos = info[slot].tail_pos;
	seq = info[slot].pub.tail_seq;
	for (;; seq++) {
		const struct jnl_desc_blk *d = (const void *)ring_block(f, pos);
		struct record *r = &f->rec[f->nr];

		if (jnl_check_block(d, JNL_BT_RECORD, LOG_BLK + 1 + pos, crash_uuid, sizeof(*d)) ||
			le64_get(d->h.seq) != seq)
			return;
		*r = (struct record){ seq, pos, le64_get(d->stable_seq),
			le32_get(d->nr_imgs) + le32_get(d->nr_desc) };
		pos = (pos + r->nr_blks) % (LOG_BLKS - 2);
		CHECK(++f->nr < ARRAY_SIZE(f->rec));
	}
}

/* Recovers with one bit flipped; what it ends with. */
static int recovery(struct flips *f, uint64_t blk, uint32_t bit, bool hole_ok, uint64_t *ret_hole,
	uint64_t *ret_last)
{
	struct bench *b = &f->run.bench[0];
	uint8_t bad[JNL_BLOCK_BYTES];
	struct outcome out;
	struct jnl *jnl;

	memcpy(bad, b->sure + blk * JNL_BLOCK_BYTES, sizeof(bad));
	bad[bit / 8] ^= (uint8_t)(1u << bit % 8);
	CHECK_OK(bdev_pwrite(b->st.queue, bad, sizeof(bad), blk * JNL_BLOCK_BYTES));
	f->run.hole_ok = hole_ok;
	jnl = recover(&f->run, &b->st, f->run.epoch + 1, &out);
	*ret_hole = jnl_hole(jnl);
	*ret_last = jnl_open_seq(jnl) - 1;
	jnl_free(jnl);
	if (out.status == 0)
		CHECK(same_as_model(&f->run, b, *ret_last));
	CHECK_OK(bdev_pwrite(b->st.queue, b->sure, DEV_BYTES, 0));
	f->nr_tried++;
	return out.status;
}

static bool tried(uint32_t bit)
{
	return getenv("CSVFS_TEST_FULL") || bit < FIELD_BITS || bit % STRIDE == 0;
}

static void flip_header(struct flips *f, unsigned slot)
{
	uint64_t blk = jnl_hdr_slot_blk(LOG_BLK, LOG_BLKS, slot), hole, last;
	uint8_t *block = f->run.bench[0].sure + blk * JNL_BLOCK_BYTES;
	struct jnl_hdr_info info;

	for (uint32_t bit = 0; bit < BITS; bit++) {
		block[bit / 8] ^= (uint8_t)(1u << bit % 8);
		CHECK(jnl_hdr_decode(block, blk, LOG_BLKS, crash_uuid, &info));
		block[bit / 8] ^= (uint8_t)(1u << bit % 8);
		if (!tried(bit))
			continue;
		int err = recovery(f, blk, bit, false, &hole, &last);
		CHECK(err == -ERR_CORRUPT || (!err && last == f->rec[f->nr - 1].seq));
	}
}

/* Block at of a record. */
static void flip_record(struct flips *f, unsigned nth, uint32_t at)
{
	const struct record *r = &f->rec[nth];
	uint64_t pos = (r->pos + at) % (LOG_BLKS - 2), hole, last;
	uint8_t *block = ring_block(f, pos);
	uint32_t crc = crc32c(0, block, JNL_BLOCK_BYTES);
	bool was_stable = false;

	for (unsigned i = nth + 1; i < f->nr; i++)
		was_stable |= f->rec[i].stable_seq >= r->seq;
	for (uint32_t bit = 0; bit < BITS; bit++) {
		block[bit / 8] ^= (uint8_t)(1u << bit % 8);
		CHECK(crc32c(0, block, JNL_BLOCK_BYTES) != crc);
		if (at == 0)
			CHECK(jnl_check_block(block, JNL_BT_RECORD, LOG_BLK + 1 + pos, crash_uuid,
				sizeof(struct jnl_desc_blk)));
		block[bit / 8] ^= (uint8_t)(1u << bit % 8);
		if (!tried(bit))
			continue;
		int err = recovery(f, LOG_BLK + 1 + pos, bit, false, &hole, &last);
		CHECK_EQ(hole, was_stable ? r->seq : 0);
		CHECK_EQ(err, was_stable ? -ERR_CORRUPT : 0);
		f->nr_holes += was_stable;
		CHECK_OK(recovery(f, LOG_BLK + 1 + pos, bit, true, &hole, &last));
		CHECK_EQ(last, r->seq - 1);
	}
}

int main(void)
{
	static struct flips f = { .run = { .max_states = UINT64_MAX } };

	crash_setup();
	log_set_level((enum log_level)-1);
	life_log(&f.run, 1);
	find_records(&f);
	CHECK(f.nr > 6);
	for (unsigned slot = 0; slot < 2; slot++)
		flip_header(&f, slot);
	for (unsigned nth = 0; nth < f.nr; nth += f.nr / 3)
		for (uint32_t at = 0; at < 2; at++)
			flip_record(&f, nth, at);
	flip_record(&f, f.nr - 1, 0);
	printf("%u records; %" PRIu64 " recoveries with a flipped bit, %" PRIu64 " found a hole\n", f.nr,
		f.nr_tried, f.nr_holes);
	CHECK(f.nr_holes && f.nr_holes < f.nr_tried / 2);
	bench_close(&f.run.bench[0]);
	free(f.run.model);
	return 0;
}
