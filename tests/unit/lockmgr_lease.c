/* libs: util blockdev lockmgr */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fencing by leases: the holder stops before the taker goes on. */
#include <errno.h>

#include "tests/unit/lockmgr_test.h"

#define URI "ram:1M?name=lease&no=pr"

static uint64_t lease_ns(void)
{
	return t_cfg().lease_ms * LM_NS_PER_MS;
}

static void open_two(struct tnode *n, bool no_fence)
{
	for (int i = 0; i < 2; i++) {
		struct lm_cfg cfg = t_cfg();

		cfg.no_fence = no_fence;
		t_open(&n[i], URI, &cfg, (uint32_t)i + 1);
		CHECK_EQ(n[i].lm->fencing, LM_FENCE_LEASE);
	}
	t_enter(&n[0]);
	t_enter(&n[1]);
	t_write(&n[1], 'a');
	T_UNTIL(n, 2, n[1].written);
	CHECK_OK(n[1].status);
}

static void close_two(struct tnode *n)
{
	t_close(&n[1]);
	t_close(&n[0]);
}

/* A holder that stands still: confirmed no earlier than lease + margin after its last beat, and
 * what it writes when it goes on does not reach the device. */
static void late_write(bool no_fence)
{
	struct tnode n[2];
	struct tfence f;
	uint64_t begin_ns;

	open_two(n, no_fence);
	n[1].running = false;
	begin_ns = n[1].lm->beat_start_ns;
	t_fence(&n[0], &f, &n[1]);
	T_UNTIL(n, 2, f.over);
	CHECK_OK(f.status);
	if (!no_fence) {
		CHECK(clock_mono_ns() - begin_ns >=
			lease_ns() + lm_lease_margin_ms(t_cfg().lease_ms) * LM_NS_PER_MS);
		CHECK(n[1].lm->deadline_ns <= begin_ns + lease_ns());
		CHECK_EQ(n[0].lm->table.nodes[1].slot.fenced_gen[2], n[1].lm->generation);
	}
	n[1].running = true;
	t_write(&n[1], 'b');
	T_UNTIL(n, 2, n[1].written);
	CHECK_EQ(n[1].status, no_fence ? 0 : -ERR_FENCED);
	CHECK_EQ(t_read(&n[0]), no_fence ? 'b' : 'a');
	if (!no_fence)
		T_UNTIL(n, 2, n[1].nr_fenced == 1);
	close_two(n);
}

/* A holder that goes on beating sees the mark and stops by itself; only then the fence ends. */
static void holder_that_beats(void)
{
	struct tnode n[2];
	struct tfence f;

	open_two(n, false);
	t_fence(&n[0], &f, &n[1]);
	T_UNTIL(n, 2, n[1].nr_fenced);
	CHECK(!f.over);
	t_write(&n[1], 'b');
	T_UNTIL(n, 2, n[1].written);
	CHECK_EQ(n[1].status, -ERR_FENCED);
	T_UNTIL(n, 2, f.over);
	CHECK_OK(f.status);
	CHECK_EQ(t_read(&n[0]), 'a');
	close_two(n);
}

/* A stale beat that lands after the fence brings nothing back: the mark is elsewhere. */
static void stale_beat(void)
{
	struct tnode n[2];
	struct tfence f;
	char block[4096];
	uint64_t off = (TEST_SLOT_BLK + 1) * 4096ull;

	open_two(n, false);
	n[1].running = false;
	CHECK_OK(bdev_pread(n[0].data, block, sizeof(block), off));
	t_fence(&n[0], &f, &n[1]);
	T_UNTIL(n, 2, f.over);
	CHECK_OK(bdev_pwrite(n[0].data, block, sizeof(block), off));
	n[1].running = true;
	t_write(&n[1], 'b');
	T_UNTIL(n, 2, n[1].written);
	CHECK_EQ(n[1].status, -ERR_FENCED);
	CHECK_EQ(t_read(&n[0]), 'a');
	close_two(n);
}

/* A gap without a fence: writes wait past the deadline, and go on when the lease is renewed. */
static void gap(void)
{
	struct tnode n[2];
	struct bdev_counters counters;
	uint64_t until_ns = clock_mono_ns() + lease_ns() + lease_ns() / 2;

	open_two(n, false);
	n[1].running = false;
	T_UNTIL(n, 2, clock_mono_ns() > until_ns);
	CHECK(n[1].lm->deadline_ns < clock_mono_ns());
	t_write(&n[1], 'g');
	CHECK(!n[1].written);
	n[1].running = true;
	T_UNTIL(n, 2, n[1].written);
	CHECK_OK(n[1].status);
	bdev_counters(n[1].bdev, &counters);
	CHECK(counters.held_by_deadline > 0);
	CHECK(n[1].lm->deadline_ns > clock_mono_ns());
	CHECK_EQ(t_read(&n[0]), 'g');
	close_two(n);
}

/* Nothing is written before there is a lease, and a path that is lost ends writes at its end. */
static void no_lease_no_write(void)
{
	struct tnode n[2];
	struct lm_cfg cfg = t_cfg();
	uint64_t until_ns;

	t_open(&n[0], URI, &cfg, 1);
	CHECK_OK(bdev_queue_open(n[0].bdev, n[0].loop, &n[0].data));
	t_write(&n[0], 'x');
	until_ns = clock_mono_ns() + 100000000;
	T_UNTIL(n, 1, clock_mono_ns() > until_ns);
	CHECK(!n[0].written);
	bdev_queue_close(NULL);
	{
		char *why = NULL;

		CHECK_OK(lm_enter(n[0].lm, clock_mono_ns() + 5000000000ull, &why));
	}
	T_UNTIL(n, 1, n[0].written);
	CHECK_OK(n[0].status);
	t_close(&n[0]);
}

/* Another mount of the node: the fence of the first one ends at once. */
static void successor(void)
{
	struct tnode n[3];
	struct lm_cfg cfg = t_cfg();
	struct tfence f;

	open_two(n, false);
	n[1].running = false;
	t_open(&n[2], URI, &cfg, 2);
	t_enter(&n[2]);
	t_fence(&n[0], &f, &n[1]);
	T_UNTIL(n, 3, f.over);
	CHECK_OK(f.status);
	CHECK_EQ(n[2].nr_fenced, 0);
	n[1].running = true;
	t_write(&n[1], 'b');
	T_UNTIL(n, 3, n[1].nr_fenced && n[1].written);
	CHECK_EQ(n[1].status, -ERR_FENCED);
	CHECK_EQ(t_read(&n[0]), 'a');
	t_close(&n[2]);
	close_two(n);
}

int main(void)
{
	late_write(false);
	late_write(true);
	holder_that_beats();
	stale_beat();
	gap();
	no_lease_no_write();
	successor();
	return 0;
}
