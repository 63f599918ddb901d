/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: util blockdev journal */
/* The journal meets errors: of the device (J5), in what it reads, in what it is given. */
#include "tests/unit/journal_env.h"

/* J5: the nth write or flush fails, n rising until nothing fails any more. */
static void test_fault(uint32_t op_mask, uint64_t *ret_n)
{
	uint64_t n = 0;
	bool fired = true;

	while (fired) {
		struct waiter wr, st, ck, cl;
		uint64_t seq, writes;
		struct env e;

		env_start(&e, 256);
		bdev_fault_set(e.fault, &(struct bdev_fault_rule){ op_mask, ++n, -EIO, false });
		wr.status = st.status = ck.status = 0;
		for (uint64_t v = 1; v < 40 && !jnl_error(e.jnl); v++) {
			while (!jnl_has_room(e.jnl, 60))
				loop_run_once(e.loop, false);
			if (try_commit(&e, 0, 1 + (uint32_t)v, v, v % 4 ? 0 : JNL_PREFLUSH, &seq))
				break;
			if (v % 8 == 0 && ck.status == 0)
				jnl_checkpoint(e.jnl, waiter(&ck));
			if (v % 5 == 0 && st.status == 0)
				jnl_wait_stable(e.jnl, seq, waiter(&st));
			if (wr.status == 0)
				jnl_wait_written(e.jnl, seq, waiter(&wr));
			for (uint64_t i = 0; i < v % 5; i++)
				loop_run_once(e.loop, false);
		}
		RUN_UNTIL(&e, wr.status != 1 && st.status != 1 && ck.status != 1);
		fired = bdev_fault_fired(e.fault) > 0;
		if (fired) {
			RUN_UNTIL(&e, e.nr_failed > 0);
			settle(&e);
			writes = nr_ops(&e, BDEV_WRITE);
			CHECK_EQ(e.failed, -EIO);
			CHECK_EQ(jnl_error(e.jnl), -EIO);
			CHECK(jnl_has_room(e.jnl, 192));
			CHECK_EQ(try_commit(&e, 0, 1, 99, 0, &seq), -EIO);
			jnl_wait_written(e.jnl, jnl_open_seq(e.jnl), waiter(&wr));
			jnl_wait_stable(e.jnl, jnl_open_seq(e.jnl), waiter(&st));
			jnl_checkpoint(e.jnl, waiter(&ck));
			jnl_close(e.jnl, waiter(&cl));
			RUN_UNTIL(&e, wr.status != 1 && st.status != 1 && ck.status != 1 &&
					      cl.status != 1);
			CHECK(wr.status == -EIO && st.status == -EIO && ck.status == -EIO);
			CHECK_EQ(cl.status, -EIO);
			settle(&e);
			CHECK_EQ(nr_ops(&e, BDEV_WRITE), writes); /* nothing more */
			CHECK_EQ(e.nr_failed, 1);
		}
		env_stop(&e);
	}
	*ret_n = n;
}

/* Recovery meets an error at each of its requests. */
static void test_recover_fault(void)
{
	bool fired = true;
	uint64_t n, unneeded = 0;

	for (n = 1; fired; n++) {
		struct env e;

		env_start(&e, 256);
		wait_written(&e, commit(&e, 0, 40, 5));
		wait_written(&e, commit(&e, 20, 80, 6));
		jnl_free(e.jnl);
		bdev_fault_set(
			e.fault, &(struct bdev_fault_rule){
					 1u << BDEV_READ | 1u << BDEV_WRITE | 1u << BDEV_FLUSH, n,
					 -ERR_TRANSPORT, false });
		env_recover(&e, 3);
		fired = bdev_fault_fired(e.fault) > 0;
		if (fired && e.recovered == 0)
			unneeded++; /* a read too far ahead */
		else
			CHECK_EQ(e.recovered, fired ? -ERR_TRANSPORT : 0);
		bdev_fault_set(e.fault, NULL);
		if (e.recovered) {
			jnl_free(e.jnl);
			settle(&e);
			env_recover(&e, 4);
			CHECK_OK(e.recovered);
		}
		CHECK_EQ(on_disk(&e, 0), 5);
		CHECK_EQ(on_disk(&e, 99), 6);
		env_stop(&e);
	}
	CHECK(n > 10 && unneeded < n / 2);
}

/* Blocks that cannot be read matter only if the log needs them. */
static void test_recover_bad_blocks(void)
{
	struct env e;

	env_start(&e, 256);
	wait_written(&e, commit(&e, 0, 10, 5));
	jnl_free(e.jnl);
	/* Reads: 2 headers, 1 chunk; then the chunk's blocks one by one, 11 of the record and the
	 * one behind it. */
	bdev_fault_set(e.fault, &(struct bdev_fault_rule){ 1u << BDEV_READ, 3, -EIO, false });
	env_recover(&e, 3);
	CHECK_OK(e.recovered);
	CHECK_EQ(on_disk(&e, 9), 5);
	wait_written(&e, commit(&e, 0, 10, 6));
	jnl_free(e.jnl);
	bdev_fault_set(e.fault, &(struct bdev_fault_rule){ 1u << BDEV_READ, 3, -EIO, true });
	env_recover(&e, 4);
	CHECK_EQ(e.recovered, -EIO);
	bdev_fault_set(e.fault, NULL);
	jnl_free(e.jnl);
	/* A header that cannot be read counts as torn. */
	bdev_fault_set(e.fault, &(struct bdev_fault_rule){ 1u << BDEV_READ, 1, -EIO, false });
	env_recover(&e, 5);
	CHECK_OK(e.recovered);
	CHECK_EQ(on_disk(&e, 9), 6);
	env_stop(&e);
}

/* The newest header rots: the records tell that the other one is outdated. */
static void test_lost_header(void)
{
	char buf[JNL_BLOCK_BYTES] = "";
	unsigned newest;
	struct env e;

	env_start(&e, 256);
	for (uint64_t v = 1; v < 8; v++) {
		wait_written(&e, commit(&e, 0, 100, v));
		checkpoint(&e);
	}
	wait_written(&e, commit(&e, 0, 30, 9));
	newest = e.jnl->hdr.slot;
	jnl_free(e.jnl);
	CHECK_OK(bdev_pwrite(
		e.queue, buf, sizeof(buf), jnl_hdr_slot_blk(START, 256, newest) * JNL_BLOCK_BYTES));
	env_recover(&e, 3);
	CHECK_EQ(e.recovered, -ERR_CORRUPT);
	CHECK_EQ(on_disk(&e, 0), 7);
	env_stop(&e);

	/* The other one: nothing is lost. */
	env_start(&e, 256);
	checkpoint(&e);
	wait_written(&e, commit(&e, 0, 30, 9));
	newest = e.jnl->hdr.slot;
	jnl_free(e.jnl);
	CHECK_OK(bdev_pwrite(e.queue, buf, sizeof(buf),
		jnl_hdr_slot_blk(START, 256, !newest) * JNL_BLOCK_BYTES));
	env_recover(&e, 3);
	CHECK_OK(e.recovered);
	CHECK_EQ(on_disk(&e, 0), 9);
	env_stop(&e);
}

/* A descriptor whose checksum is right and whose content is not: refused, nothing written. */
static void test_hostile(void)
{
	static const struct {
		uint32_t nr_imgs, nr_desc;
		uint64_t blk;
	} bad[] = { { 0, 0, 0 }, { UINT32_MAX, 17179870, 0 }, { 255, 2, 0 }, { 2, 3, 0 },
		{ 2, 1, START + 3 }, { 2, 1, UINT64_MAX }, { 2, 1, 65536 } };
	uint64_t buf[JNL_BLOCK_BYTES / 8];
	struct jnl_desc_blk *d = (struct jnl_desc_blk *)buf;
	struct env e;

	for (uint32_t i = 0; i < ARRAY_SIZE(bad); i++) {
		env_start(&e, 256);
		wait_written(&e, commit(&e, 0, 2, 5));
		jnl_free(e.jnl);
		CHECK_OK(bdev_pread(e.queue, buf, sizeof(buf), (START + 1) * JNL_BLOCK_BYTES));
		CHECK_EQ(le32_get(d->nr_imgs), 2);
		d->nr_imgs = le32_of(bad[i].nr_imgs);
		d->nr_desc = le32_of(bad[i].nr_desc);
		if (bad[i].blk)
			d->ents[1].blk = le64_of(bad[i].blk);
		jnl_seal_block(d, le32_get(d->h.len), JNL_BT_RECORD, START + 1, uuid, 2, 1);
		CHECK_OK(bdev_pwrite(e.queue, buf, sizeof(buf), (START + 1) * JNL_BLOCK_BYTES));
		env_recover(&e, 3);
		CHECK_EQ(e.recovered, -ERR_CORRUPT);
		CHECK_EQ(on_disk(&e, 0), 0);
		env_stop(&e);
	}
}

static void test_seal_fails(void)
{
	struct waiter w;
	struct env e;

	env_start(&e, 256);
	e.seal_err = -ERR_CORRUPT;
	jnl_wait_written(e.jnl, commit(&e, 0, 3, 1), waiter(&w));
	RUN_UNTIL(&e, w.status != 1);
	CHECK_EQ(w.status, -ERR_CORRUPT);
	RUN_UNTIL(&e, e.nr_failed == 1);
	env_stop(&e);
}

int main(void)
{
	uint64_t n_write, n_flush;

	test_fault(1u << BDEV_WRITE, &n_write);
	test_fault(1u << BDEV_FLUSH, &n_flush);
	test_recover_fault();
	test_recover_bad_blocks();
	test_lost_header();
	test_hostile();
	test_seal_fails();
	printf("faults tried: %llu writes, %llu flushes\n", (unsigned long long)n_write,
		(unsigned long long)n_flush);
	return 0;
}
