/* libs: util blockdev journal core */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The nth read, write or flush fails, for each n until none does. Reads: the operation fails, the
 * volume goes on. Writes and flushes: the volume stops for good. The next coordinator finds a volume
 * that csv_check() has nothing to say about, with all that was acknowledged.
 */
#include "tests/unit/core_ops.h"
#include "util/log.h"

#define NR_FILES 30

static bool made[NR_FILES], gone[NR_FILES];

/* Creates, fills and removes; notes what was acknowledged. */
static void workload(struct engine *e)
{
	struct csv_attr a, b;
	char name[32], new_name[32];
	uint64_t left;

	for (int i = 0; i < NR_FILES; i++) {
		snprintf(name, sizeof(name), "file %d", i);
		snprintf(new_name, sizeof(new_name), "moved %d", i);
		made[i] = t_create(e, CSV_ROOT_INO, name, i % 5 ? S_IFREG : S_IFDIR, &a) == 0;
		if (!made[i])
			continue;
		if (i % 5 && t_alloc(e, a.ino, i, 40) == 0) {
			(void)!t_written(e, a.ino, i, 7);
			(void)!DO(e, extent_punch, .ino = a.ino, .blk = i + 3, .nr = 9,
				.ret64 = &left);
		}
		/* If it fails it may have happened all the same: then both are right. */
		gone[i] = i % 3 == 0;
		if (i % 3 == 0)
			(void)!t_unlink(e, CSV_ROOT_INO, name, i % 5 == 0, &b);
		else if (i % 3 == 1)
			gone[i] = t_rename(e, CSV_ROOT_INO, name, CSV_ROOT_INO, new_name, 0, &a,
					  &b) != 0;
		if (i % 10 == 9)
			(void)!t_get(e, a.ino, &b);
	}
}

static void expect_made(struct engine *e)
{
	struct csv_attr a;
	char name[32];

	for (int i = 0; i < NR_FILES; i++) {
		snprintf(name, sizeof(name), i % 3 == 1 ? "moved %d" : "file %d", i);
		if (made[i] && !gone[i])
			CHECK_OK(t_lookup(e, CSV_ROOT_INO, name, &a));
	}
}

/* False: the rule did not fire. */
static bool fault(enum bdev_op op, uint64_t nth, bool sticky)
{
	struct bdev_fault_rule rule = { .op_mask = 1u << op, .nth = nth, .err = -EIO,
		.sticky = sticky };
	struct engine e;
	uint64_t fired;
	int err;

	engine_device(&e, "ram:32M", true, 0, 0);
	engine_open(&e, 4096); /* nearly no cache: there are reads */
	memset(made, 0, sizeof(made));
	bdev_fault_set(e.fault, &rule);
	workload(&e);
	fired = bdev_fault_fired(e.fault);
	if (op == BDEV_READ) {
		CHECK_OK(csv_fs_error(e.fs));
		bdev_fault_set(e.fault, NULL);
		t_check(&e);
		expect_made(&e);
	}
	err = engine_close(&e);
	fired += op != BDEV_READ ? bdev_fault_fired(e.fault) - fired : 0;
	CHECK(fired || err == 0);
	bdev_fault_set(e.fault, NULL);
	engine_open(&e, 0);
	t_check(&e);
	expect_made(&e);
	CHECK_OK(engine_close(&e));
	engine_done(&e);
	return fired != 0;
}

int main(void)
{
	static const enum bdev_op ops[] = { BDEV_READ, BDEV_WRITE, BDEV_FLUSH };

	log_set_level((enum log_level)-1); /* errors on purpose */
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		for (int sticky = 0; sticky < 2; sticky++) {
			uint64_t nth = 1;

			while (fault(ops[i], nth, sticky))
				nth += 1 + nth / 12;
			CHECK(nth > 3);
			printf("op %d: %llu\n", ops[i], (unsigned long long)nth);
		}
	}
	return 0;
}
