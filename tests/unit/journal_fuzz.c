/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: util blockdev journal */
/* also plain: five times the rounds */
/*
 * Recovery of damaged and of hostile logs.
 *
 * Damage (bytes changed at random) is either noticed, or ends the log early: what is in place then
 * is what some record left. Hostile blocks have fields changed and a right checksum; whatever they
 * make recovery do, it answers, and touches nothing outside of the device's home blocks.
 *
 *	journal_fuzz [rounds [seed]]
 */
#include "tests/unit/journal_life.h"
#include "util/log.h"

#ifdef __SANITIZE_ADDRESS__
#define ROUNDS 2000u
#else
#define ROUNDS 10000u
#endif

/* Changes some bytes of one block; most often where something stands. */
static void damage(uint8_t *block, uint64_t *rnd)
{
	unsigned n = 1 + (unsigned)(rnd_next(rnd) % 4);

	while (n-- > 0) {
		size_t span = rnd_next(rnd) % 4 ? 0x100 : JNL_BLOCK_BYTES;

		block[rnd_next(rnd) % span] ^= (uint8_t)(1 + rnd_next(rnd) % 255);
	}
}

/* Changes a field to a number that somebody may have forgotten, and seals the block again. */
static void forge(uint8_t *block, uint64_t blkno, uint64_t *rnd)
{
	static const uint64_t evil[] = { 0, 1, 2, LOG_BLK, LOG_BLKS - 2, LOG_BLKS - 1, LOG_BLKS,
		250, 251, DEV_BYTES / JNL_BLOCK_BYTES, UINT32_MAX, UINT64_MAX, 1ull << 63 };
	struct jnl_blk_hdr *h = (struct jnl_blk_hdr *)block;
	unsigned n = 1 + (unsigned)(rnd_next(rnd) % 2);
	uint16_t type = le16_get(h->type);

	while (n-- > 0) {
		size_t at = 0x40 + rnd_next(rnd) % 16 * 4;
		uint64_t v = evil[rnd_next(rnd) % ARRAY_SIZE(evil)];

		memcpy(block + at, &v, rnd_next(rnd) % 2 ? 4 : 8);
	}
	jnl_seal_block(block, rnd_next(rnd) % 8 ? le32_get(h->len) : (size_t)rnd_next(rnd), type,
		blkno, crash_uuid, le64_get(h->epoch), le64_get(h->seq));
}

static void try_round(struct run *run, uint64_t round)
{
	static uint8_t blocks[4][JNL_BLOCK_BYTES];
	struct bench *b = &run->bench[0];
	uint64_t rnd = run->seed * 1000003 + round, n = 1 + rnd_next(&rnd) % 4, r;
	bool hostile = round % 2;
	struct outcome out;
	struct state s = { .nr = 0 };
	struct jnl *jnl;

	for (uint64_t i = 0; i < n; i++) {
		/* The first hundred blocks hold the records, most of them descriptors; the headers.
		 */
		uint64_t blk = LOG_BLK + rnd_next(&rnd) % 100;

		if (rnd_next(&rnd) % 16 == 0)
			blk = jnl_hdr_slot_blk(LOG_BLK, LOG_BLKS, rnd_next(&rnd) % 2);
		else if (hostile || rnd_next(&rnd) % 2)
			blk = LOG_BLK + 1 + rnd_next(&rnd) % 20 * 4; /* a record has 4 */
		memcpy(blocks[i], b->sure + blk * JNL_BLOCK_BYTES, JNL_BLOCK_BYTES);
		if (hostile)
			forge(blocks[i], blk, &rnd);
		else
			damage(blocks[i], &rnd);
		s.piece[s.nr++] =
			(struct piece){ blk * JNL_BLOCK_BYTES, JNL_BLOCK_BYTES, blocks[i] };
	}
	snprintf(run->id, sizeof(run->id), "1 %" PRIu64, round);
	put_state(b, &s);
	jnl = recover(run, &b->st, run->epoch + 1, &out);
	CHECK(out.status <= 0);
	r = jnl_open_seq(jnl) - 1;
	jnl_free(jnl);
	run->nr_states++;
	if (out.status && out.status != -ERR_CORRUPT && out.status != -ERR_VERSION)
		complain(run, err_str(out.status), round, 0);
	else if (out.status == 0 && !hostile && !same_as_model(run, b, r))
		complain(run, "in the round", round, r);
	run->nr_second += out.status != 0;
	/* A hostile entry may name any block of the device: all of it is put back. */
	CHECK_OK(bdev_pwrite(b->st.queue, b->sure, DEV_BYTES, 0));
}

int main(int argc, char **argv)
{
	uint64_t rounds = argc > 1 ? strtoull(argv[1], NULL, 10) : ROUNDS;
	uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
	struct run run = { .max_states = UINT64_MAX };

	crash_setup();
	log_set_level((enum log_level)-1);
	life_log(&run, 1);
	for (uint64_t i = first; i < first + rounds && !run.failed; i++)
		try_round(&run, i);
	printf("%" PRIu64 " damaged logs, %" PRIu64 " of them refused\n", run.nr_states,
		run.nr_second);
	CHECK(run.nr_second > 0 && run.nr_second < run.nr_states);
	bench_close(&run.bench[0]);
	free(run.model);
	return run.failed;
}
