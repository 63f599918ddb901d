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

int main(void)
{
	test_shapes();
	test_step_by_step();
	test_refused();
	test_faults();
	return 0;
}
