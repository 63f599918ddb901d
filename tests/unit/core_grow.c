/* libs: util blockdev journal core */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A volume grows while it is used: every shape of its end, files in old and new space, errors. */
#include <errno.h>
#include <sys/stat.h>

#include "tests/unit/core_ops.h"

#define DEVICE_BLKS 131072u /* 512 MiB */
#define GROUP_BLKS 32256u   /* of volumes below 2 GiB */

/* A volume of nr_blks on a device that is larger. */
static void begin(struct engine *e, uint64_t nr_blks)
{
	struct csv_mkfs opts = { .uuid = { 0xc5, 7 }, .journal_bytes = 4 << 20 };
	struct csv_geometry geom;

	engine_device(e, "ram:512M", false, 0, 0);
	CHECK_OK(csv_mkfs_plan(&opts, nr_blks * CSV_BLOCK_BYTES, &geom));
	CHECK_EQ(geom.nr_blks, nr_blks);
	CHECK_OK(csv_mkfs_write(e->queue, &geom, NULL, NULL));
	engine_open(e, 0);
}

static int grow(struct engine *e, uint64_t nr_blks)
{
	struct engine_wait w = { 0 };
	int err = csv_grow(e->fs, nr_blks, engine_wait_done, &w);

	if (err)
		return err;
	RUN_UNTIL(e, w.done);
	return w.status;
}

static uint64_t free_blks(struct engine *e)
{
	struct csv_statfs st;

	CHECK_OK(t_statfs(e, &st));
	CHECK_EQ(st.nr_blks, csv_fs_geometry(e->fs)->nr_blks);
	return st.free_blks;
}

/* Takes every block that data may have; returns how many. */
static uint64_t fill(struct engine *e, const char *name)
{
	struct csv_attr attr;
	uint64_t at = 0;
	int err = 0;

	CHECK_OK(t_create(e, CSV_ROOT_INO, name, S_IFREG | 0644, &attr));
	while (!err) {
		uint64_t nr = 0;

		err = t_alloc_some(e, attr.ino, at, 4096, &nr);
		at += nr;
	}
	CHECK_EQ(err, -ENOSPC);
	return at;
}

static void reopen(struct engine *e)
{
	CHECK_OK(engine_close(e));
	engine_open(e, 0);
}

static void one_shape(uint64_t from, uint64_t to)
{
	struct csv_geometry want;
	struct engine e;
	uint64_t before;

	begin(&e, from);
	before = free_blks(&e);
	CHECK_OK(csv_grow_plan(csv_fs_geometry(e.fs), to, &want));
	CHECK(fill(&e, "old") > 0);
	CHECK_OK(grow(&e, to));
	CHECK_EQ(csv_fs_geometry(e.fs)->nr_blks, to);
	CHECK_EQ(csv_fs_geometry(e.fs)->nr_ags, want.nr_ags);
	t_check(&e);
	if (to - from > 1000)
		CHECK(fill(&e, "new") > (to - from) * 9 / 10 - 400);
	t_check(&e);
	reopen(&e);
	CHECK_EQ(csv_fs_geometry(e.fs)->nr_blks, to);
	CHECK(free_blks(&e) < before);
	t_check(&e);
	CHECK_OK(engine_close(&e));
	engine_done(&e);
}

static void test_shapes(void)
{
	const uint64_t ag0 = 1280, last = ag0 + GROUP_BLKS + 1; /* with a whole group, and the copy */

	one_shape(20000, 20001);
	one_shape(20000, 30000);	   /* within the group */
	one_shape(20000, DEVICE_BLKS);	   /* and new ones */
	one_shape(last, last + 1);	   /* a whole group; nothing that can be used */
	one_shape(last, last + 5000);	   /* one begins where the old copy was */
	one_shape(last + 20, last + 5000); /* … and covers it */
	one_shape(last + 20, last + 40);
	one_shape(last + 5000, last + GROUP_BLKS); /* to the end of the second group */
	one_shape(last + 5000, last + GROUP_BLKS + 30000);
}

static void test_step_by_step(void)
{
	struct engine e;

	begin(&e, 10000);
	for (uint64_t nr = 10777; nr < DEVICE_BLKS; nr += 7 + nr / 3) {
		char name[16];

		snprintf(name, sizeof(name), "f%llu", (unsigned long long)nr);
		CHECK_OK(grow(&e, nr));
		fill(&e, name);
		t_check(&e);
	}
	reopen(&e);
	t_check(&e);
	CHECK_OK(engine_close(&e));
	engine_done(&e);
}

static void test_refused(void)
{
	struct engine_wait w = { 0 };
	struct engine e;

	begin(&e, 20000);
	CHECK_EQ(grow(&e, 20000), -EINVAL);
	CHECK_EQ(grow(&e, 19000), -EINVAL);
	CHECK_EQ(grow(&e, DEVICE_BLKS + 1), -ENOSPC);
	CHECK_OK(csv_grow(e.fs, 90000, engine_wait_done, &w));
	CHECK_EQ(grow(&e, DEVICE_BLKS), -EBUSY);
	RUN_UNTIL(&e, w.done);
	CHECK_OK(w.status);
	t_check(&e);
	CHECK_OK(engine_close(&e));
	engine_done(&e);
}

/* The nth write or flush fails: the volume is as it was, or as it was to be. */
static void test_faults(void)
{
	for (uint64_t nth = 1;; nth++) {
		struct bdev_fault_rule rule = { .op_mask = 1u << BDEV_WRITE | 1u << BDEV_FLUSH,
			.nth = nth, .err = -EIO, .sticky = true };
		struct engine e;
		uint64_t nr;
		int err;

		begin(&e, 30000);
		fill(&e, "old");
		bdev_fault_set(e.fault, &rule);
		err = grow(&e, 100000);
		bool fired = bdev_fault_fired(e.fault) > 0;
		bdev_fault_set(e.fault, NULL);
		if (engine_close(&e))
			CHECK(fired);
		engine_open(&e, 0);
		nr = csv_fs_geometry(e.fs)->nr_blks;
		CHECK(nr == 30000 || nr == 100000);
		if (!err)
			CHECK_EQ(nr, 100000);
		t_check(&e);
		CHECK_OK(engine_close(&e));
		engine_done(&e);
		if (!fired) {
			CHECK(nth > 8);
			break;
		}
	}
}

/* ---- everything stops in the middle ---- */

#define CUT_URI "ram:192M"
#define CUT_BLKS 49152u

struct cuts {
	uint8_t *base, *now;
	bool used[CUT_BLKS]; /* blocks that are not all zeroes, or are written */
	uint64_t from, to, first, end; /* events */
};

static void put(struct cuts *c, const struct bdev_crash_event *ev, uint64_t len)
{
	if (ev->op == BDEV_WRITE)
		memcpy(c->now + ev->off_bytes, ev->data, len);
	else if (ev->op == BDEV_WRITE_ZEROES)
		memset(c->now + ev->off_bytes, 0, len);
}

enum loss { LOSS_NONE, LOSS_UNFLUSHED, LOSS_TORN, NR_LOSSES };

/* The device after cut events: with all of them, without those that no flush covers, or with a part of
 * the next one, too. */
static void make_state(struct cuts *c, const struct bdev *crash, uint64_t cut, enum loss loss)
{
	uint64_t sure = loss == LOSS_UNFLUSHED ? c->first : cut;

	for (uint64_t blk = 0; blk < CUT_BLKS; blk++)
		if (c->used[blk])
			memcpy(c->now + blk * CSV_BLOCK_BYTES, c->base + blk * CSV_BLOCK_BYTES,
				CSV_BLOCK_BYTES);
	for (uint64_t i = c->first; i < cut && loss == LOSS_UNFLUSHED; i++) {
		const struct bdev_crash_event *ev = bdev_crash_event(crash, i);

		if (ev->op == BDEV_FLUSH && ev->flush_covers > sure)
			sure = ev->flush_covers;
	}
	for (uint64_t i = c->first; i < sure; i++)
		put(c, bdev_crash_event(crash, i), bdev_crash_event(crash, i)->len_bytes);
	if (loss == LOSS_TORN && cut < bdev_crash_nr_events(crash)) {
		const struct bdev_crash_event *ev = bdev_crash_event(crash, cut);

		put(c, ev, ALIGN_DOWN(ev->len_bytes / 2 + 1, 512));
	}
}

static void judge(struct cuts *c, uint64_t cut, bool *ret_new)
{
	struct engine e;
	uint64_t nr;

	engine_device(&e, CUT_URI, false, 0, 0);
	for (uint64_t blk = 0; blk < CUT_BLKS; blk++)
		if (c->used[blk])
			CHECK_OK(bdev_pwrite(e.queue, c->now + blk * CSV_BLOCK_BYTES, CSV_BLOCK_BYTES,
				blk * CSV_BLOCK_BYTES));
	engine_open(&e, 0);
	nr = csv_fs_geometry(e.fs)->nr_blks;
	CHECK(nr == c->from || nr == c->to);
	CHECK(cut < c->end || nr == c->to);
	*ret_new = nr == c->to;
	t_check(&e);
	CHECK_OK(engine_close(&e));
	engine_done(&e);
}

/* A volume with a file, then the recording: it grows, and names are made meanwhile. */
static void record(struct cuts *c, struct engine *e)
{
	struct csv_mkfs opts = { .uuid = { 0xc5, 7 }, .journal_bytes = 4 << 20 };
	static const uint8_t zeroes[CSV_BLOCK_BYTES];
	struct engine_wait w = { 0 };
	struct csv_geometry geom;
	struct csv_attr attr;

	engine_device(e, "crash|" CUT_URI, false, 0, 0);
	CHECK_OK(csv_mkfs_plan(&opts, c->from * CSV_BLOCK_BYTES, &geom));
	CHECK_OK(csv_mkfs_write(e->queue, &geom, NULL, NULL));
	engine_open(e, 0);
	fill(e, "old");
	t_checkpoint(e);
	c->base = malloc(CUT_BLKS * CSV_BLOCK_BYTES);
	c->now = calloc(CUT_BLKS, CSV_BLOCK_BYTES);
	CHECK(c->base && c->now);
	CHECK_OK(bdev_pread(e->queue, c->base, CUT_BLKS * CSV_BLOCK_BYTES, 0));
	c->first = bdev_crash_nr_events(e->ram);
	CHECK_OK(csv_grow(e->fs, c->to, engine_wait_done, &w));
	for (char name[] = "a"; !w.done && name[0] < 'm'; name[0]++)
		CHECK_OK(t_create(e, CSV_ROOT_INO, name, S_IFREG | 0644, &attr));
	RUN_UNTIL(e, w.done);
	CHECK_OK(w.status);
	c->end = bdev_crash_nr_events(e->ram);
	CHECK_OK(engine_close(e));
	for (uint64_t blk = 0; blk < CUT_BLKS; blk++)
		c->used[blk] = memcmp(c->base + blk * CSV_BLOCK_BYTES, zeroes, CSV_BLOCK_BYTES);
	for (uint64_t i = c->first; i < bdev_crash_nr_events(e->ram); i++) {
		const struct bdev_crash_event *ev = bdev_crash_event(e->ram, i);

		for (uint64_t off = 0; off < ev->len_bytes; off += CSV_BLOCK_BYTES)
			c->used[(ev->off_bytes + off) / CSV_BLOCK_BYTES] = true;
	}
}

static void cut_everywhere(uint64_t from, uint64_t to)
{
	struct cuts *c = calloc(1, sizeof(*c));
	uint64_t nr_old = 0, nr_new = 0;
	struct engine e;
	bool is_new;

	CHECK(c);
	c->from = from;
	c->to = to;
	record(c, &e);
	for (uint64_t cut = c->first; cut <= bdev_crash_nr_events(e.ram); cut++) {
		for (enum loss loss = 0; loss < NR_LOSSES; loss++) {
			make_state(c, e.ram, cut, loss);
			judge(c, cut, &is_new);
			nr_new += is_new;
			nr_old += !is_new;
		}
	}
	printf("%llu to %llu blocks: %llu states are the old volume, %llu the new one\n",
		(unsigned long long)from, (unsigned long long)to, (unsigned long long)nr_old,
		(unsigned long long)nr_new);
	CHECK(nr_old > 5 && nr_new > 5);
	engine_done(&e);
	free(c->base);
	free(c->now);
	free(c);
}

static void test_cuts(void)
{
	const uint64_t last = 1280 + GROUP_BLKS + 1;

	cut_everywhere(20000, 48000);	       /* a longer group and a new one */
	cut_everywhere(last + 20, last + 5000); /* a new one over the old copy of the superblock */
}

int main(void)
{
	test_shapes();
	test_cuts();
	test_step_by_step();
	test_refused();
	test_faults();
	return 0;
}
