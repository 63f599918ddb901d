/* libs: util blockdev lockmgr */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fencing by reservations and the gate, on a device with reservations in memory. */
#include <errno.h>

#include "tests/unit/lockmgr_test.h"

static void open_two(struct tnode *n, const char *uri, bool no_fence)
{
	for (int i = 0; i < 2; i++) {
		struct lm_cfg cfg = t_cfg();

		cfg.no_fence = no_fence;
		t_open(&n[i], uri, &cfg, (uint32_t)i + 1);
		CHECK_EQ(n[i].lm->fencing, LM_FENCE_PR);
	}
	t_enter(&n[0]);
	t_enter(&n[1]);
}

static void close_two(struct tnode *n)
{
	t_close(&n[1]);
	t_close(&n[0]);
}

/* The victim stands still while it is fenced, then goes on with a write that is late. */
static void late_write(const char *uri, bool no_fence)
{
	struct tnode n[2];
	struct tfence f;

	open_two(n, uri, no_fence);
	t_write(&n[1], 'a');
	T_UNTIL(n, 2, n[1].written);
	CHECK_OK(n[1].status);
	CHECK_EQ(t_reservation(&n[0]), strstr(uri, "abort") ? BDEV_PR_WRITE_EXCLUSIVE_REGISTRANTS :
							   BDEV_PR_WRITE_EXCLUSIVE_ALL);
	CHECK(t_has_key(&n[0], n[1].lm->key));

	n[1].running = false;
	t_fence(&n[0], &f, &n[1]);
	T_UNTIL(n, 2, f.over);
	CHECK_OK(f.status);
	CHECK_EQ(t_has_key(&n[0], n[1].lm->key), no_fence);

	n[1].running = true;
	t_write(&n[1], 'b');
	T_UNTIL(n, 2, n[1].written);
	if (no_fence) {
		CHECK_OK(n[1].status);
		CHECK_EQ(t_read(&n[0]), 'b');
	} else {
		CHECK_EQ(n[1].status, -ERR_FENCED);
		CHECK_EQ(t_read(&n[0]), 'a');
		T_UNTIL(n, 2, n[1].nr_fenced);
		CHECK_EQ(n[1].nr_fenced, 1);
		CHECK_EQ(n[0].lm->table.nodes[2].slot.state, LM_SLOT_FENCED);
		CHECK_EQ(n[0].lm->table.nodes[2].slot.fenced_by, 1);
	}
	CHECK_EQ(n[0].nr_fenced, 0);
	close_two(n);
}

/* Twice, and by a second node: a key that is gone already is no error. */
static void fence_again(const char *uri)
{
	struct tnode n[3];
	struct lm_cfg cfg = t_cfg();
	struct tfence f, g, h;

	open_two(n, uri, false);
	t_open(&n[2], uri, &cfg, 3);
	t_enter(&n[2]);
	n[1].running = false;
	t_fence(&n[0], &f, &n[1]);
	t_fence(&n[0], &g, &n[1]);
	t_fence(&n[2], &h, &n[1]);
	T_UNTIL(n, 3, f.over && g.over && h.over);
	CHECK_OK(f.status);
	CHECK_OK(g.status);
	CHECK_OK(h.status);
	t_fence(&n[2], &h, &n[1]);
	T_UNTIL(n, 3, h.over);
	CHECK_OK(h.status);
	t_close(&n[2]);
	close_two(n);
}

/* The target forgets everything: members register again, and their writes go on. */
static void forgetful_target(const char *uri)
{
	struct tnode n[2];

	open_two(n, uri, false);
	bdev_ram_restart(n[0].bdev);
	CHECK(t_reservation(&n[0]) != 0);
	t_write(&n[1], 'c');
	T_UNTIL(n, 2, n[1].written);
	CHECK_OK(n[1].status);
	CHECK_EQ(t_read(&n[0]), 'c');
	CHECK(t_has_key(&n[0], n[0].lm->key));
	CHECK(t_has_key(&n[0], n[1].lm->key));
	close_two(n);
}

/* The same with a node that was fenced before: its slot tells that it was not only forgotten. */
static void forgetful_target_and_fenced_node(const char *uri, bool no_fence)
{
	struct tnode n[2];
	struct tfence f;

	open_two(n, uri, no_fence);
	t_write(&n[1], 'a');
	T_UNTIL(n, 2, n[1].written);
	n[1].running = false;
	t_fence(&n[0], &f, &n[1]);
	T_UNTIL(n, 2, f.over);
	bdev_ram_restart(n[0].bdev);
	n[1].running = true;
	t_write(&n[1], 'd');
	T_UNTIL(n, 2, n[1].written);
	CHECK_EQ(n[1].status, no_fence ? 0 : -ERR_FENCED);
	CHECK_EQ(t_read(&n[0]), no_fence ? 'd' : 'a');
	if (!no_fence)
		T_UNTIL(n, 2, n[1].nr_fenced);
	close_two(n);
}

/* A node comes back under its id while the process before it still has a session: that one's key
 * goes, and what it sends later is refused. */
static void successor(const char *uri)
{
	struct tnode n[3];
	struct lm_cfg cfg = t_cfg();

	open_two(n, uri, false);
	t_write(&n[1], 'a');
	T_UNTIL(n, 2, n[1].written);
	n[1].running = false;
	t_open(&n[2], uri, &cfg, 2);
	t_enter(&n[2]);
	CHECK(n[2].lm->generation != n[1].lm->generation);
	CHECK(!t_has_key(&n[0], n[1].lm->key));
	t_write(&n[2], 'e');
	T_UNTIL(n, 3, n[2].written);
	CHECK_OK(n[2].status);
	n[1].running = true;
	t_write(&n[1], 'f');
	T_UNTIL(n, 3, n[1].written && n[1].nr_fenced);
	CHECK_EQ(n[1].status, -ERR_FENCED);
	CHECK_EQ(t_read(&n[0]), 'e');
	CHECK_EQ(n[2].nr_fenced, 0);
	t_close(&n[2]);
	close_two(n);
}

/* Leaving in order: LEFT, no key, and after the last one no reservation. */
static void leaving(const char *uri)
{
	struct tnode n[2];
	bool left = false;
	uint64_t key;

	open_two(n, uri, false);
	key = n[1].lm->key;
	t_close_data(&n[1]);
	lm_leave(n[1].lm, t_left, &left);
	T_UNTIL(n, 2, left);
	CHECK(!t_has_key(&n[0], key));
	T_UNTIL(n, 1, n[0].lm->table.nodes[2].slot.state == LM_SLOT_LEFT);
	CHECK_EQ(n[0].nr_fenced, 0);
	t_close_data(&n[0]);
	left = false;
	lm_leave(n[0].lm, t_left, &left);
	T_UNTIL(n, 2, left);
	CHECK_EQ(t_reservation(&n[0]), 0);
	close_two(n);
}

/* A takeover fences whoever is no member: by the slot, and by a key that no slot tells about. */
static void takeover(const char *uri, bool no_fence)
{
	static const uint32_t alone[] = { 1 }, both[] = { 1, 2 };
	struct tnode n[2];
	uint64_t stray = lm_key_make(t_cfg().uuid, 7, 12345);
	struct bdev_queue *other;
	struct bdev_req req = { .op = BDEV_PR_REGISTER, .pr.new_key = stray };

	open_two(n, uri, no_fence);
	CHECK_OK(bdev_queue_open(n[0].bdev, n[0].loop, &other));
	CHECK_OK(bdev_sync(other, &req));
	CHECK(t_has_key(&n[0], stray));

	/* As long as both are members nobody is fenced. */
	t_members(&n[0], both, 2);
	n[0].lm->elect.members[2].spoken = n[0].lm->elect.members[2].known = true;
	n[0].lm->elect.members[2].state.generation = n[1].lm->generation;
	lm_take_over(n[0].lm);
	T_UNTIL(n, 2, n[0].nr_become == 1);
	CHECK(t_has_key(&n[0], n[1].lm->key));
	CHECK_EQ(t_has_key(&n[0], stray), no_fence);

	n[0].lm->step = LM_STEP_NONE;
	t_members(&n[0], alone, 1);
	n[1].running = false;
	lm_take_over(n[0].lm);
	T_UNTIL(n, 2, n[0].nr_become == 2);
	CHECK_EQ(t_has_key(&n[0], n[1].lm->key), no_fence);
	bdev_queue_close(other);
	close_two(n);
}

/* A fence that cannot be confirmed does not end: here the device loses its path meanwhile. */
static void unconfirmed(const char *uri)
{
	struct tnode n[2];
	struct tfence f;
	uint64_t until_ns;

	open_two(n, uri, false);
	n[1].running = false;
	bdev_ram_cut(n[0].bdev, true);
	t_fence(&n[0], &f, &n[1]);
	until_ns = clock_mono_ns() + 500000000;
	T_UNTIL(n, 1, clock_mono_ns() > until_ns);
	CHECK(!f.over);
	CHECK(!n[0].nr_become);
	bdev_ram_cut(n[0].bdev, false);
	T_UNTIL(n, 1, f.over);
	CHECK_OK(f.status);
	n[1].running = true;
	T_UNTIL(n, 2, n[1].nr_fenced);
	close_two(n);
}

/* Whoever else has reserved the LUN keeps it. */
static void foreign(const char *uri)
{
	struct tnode n[2];
	struct lm_cfg cfg = t_cfg(), other = t_cfg();
	char *why = NULL;

	other.uuid[0] ^= 0x5a;
	t_open(&n[0], uri, &other, 1);
	t_enter(&n[0]);
	t_open(&n[1], uri, &cfg, 2);
	CHECK_EQ(lm_enter(n[1].lm, clock_mono_ns() + 5000000000ull, &why), -EBUSY);
	CHECK(why && strstr(why, "reserved by another system"));
	free(why);
	lm_set_phase(n[1].lm, LM_NEW);
	close_two(n);
}

int main(void)
{
	log_set_level(LOG_LVL_ERROR);
	late_write("ram:1M?name=lw", false);
	late_write("ram:1M?name=lw&no=abort", false);
	late_write("ram:1M?name=lw", true);
	fence_again("ram:1M?name=fa");
	fence_again("ram:1M?name=fa&no=abort");
	forgetful_target("ram:1M?name=ft");
	forgetful_target("ram:1M?name=ft&no=abort");
	forgetful_target_and_fenced_node("ram:1M?name=ff", false);
	forgetful_target_and_fenced_node("ram:1M?name=ff", true);
	successor("ram:1M?name=su");
	successor("ram:1M?name=su&no=abort");
	leaving("ram:1M?name=le");
	leaving("ram:1M?name=le&no=abort");
	takeover("ram:1M?name=to", false);
	takeover("ram:1M?name=to&no=abort", false);
	takeover("ram:1M?name=to", true);
	unconfirmed("ram:1M?name=uc");
	foreign("ram:1M?name=fo");
	return 0;
}
