/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: util blockdev */
/* The fault filter fails what it was told to, and keeps it from the device. */
#include <errno.h>

#include "tests/unit/bdev_test.h"

static void nth_write(void)
{
	struct dut d = dut_open("fault(ops=write,nth=2,err=ENOSPC)|ram:1M");

	CHECK_OK(dut_write(&d, 'a', 0, 0));
	CHECK_EQ(dut_read(&d, 0), 'a'); /* reads do not count */
	CHECK_EQ(dut_write(&d, 'b', 0, 0), -ENOSPC);
	CHECK_EQ(dut_read(&d, 0), 'a');
	CHECK_OK(dut_write(&d, 'c', 0, 0));
	CHECK_EQ(dut_read(&d, 0), 'c');
	CHECK_EQ(bdev_fault_fired(d.bdev), 1);
	dut_close(&d);
}

static void sticky(void)
{
	struct dut d = dut_open("fault(ops=read+flush,nth=3,sticky)|ram:1M");
	char buf[4096];

	CHECK_OK(bdev_flush_sync(d.queue));
	CHECK_OK(bdev_pread(d.queue, buf, sizeof(buf), 0));
	for (int i = 0; i < 5; i++) {
		CHECK_EQ(bdev_flush_sync(d.queue), -EIO);
		CHECK_EQ(bdev_pread(d.queue, buf, sizeof(buf), 0), -EIO);
		CHECK_OK(dut_write(&d, 'a', 0, 0));
	}
	CHECK_EQ(bdev_fault_fired(d.bdev), 10);
	dut_close(&d);
}

static void rule_replaced(void)
{
	struct dut d = dut_open("fault|ram:1M");
	struct bdev_fault_rule rule = { .op_mask = 1u << BDEV_WRITE_ZEROES, .nth = 1, .err = EIO };

	CHECK_OK(dut_op(&d, BDEV_WRITE_ZEROES, 0, 4096, 0));
	bdev_fault_set(d.bdev, &rule);
	CHECK_EQ(dut_op(&d, BDEV_WRITE_ZEROES, 0, 4096, 0), -EIO);
	CHECK_OK(dut_op(&d, BDEV_WRITE_ZEROES, 0, 4096, 0));
	bdev_fault_set(d.bdev, &rule); /* counts anew */
	CHECK_EQ(bdev_fault_fired(d.bdev), 0);
	CHECK_EQ(dut_op(&d, BDEV_WRITE_ZEROES, 0, 4096, 0), -EIO);
	bdev_fault_set(d.bdev, NULL);
	CHECK_OK(dut_op(&d, BDEV_WRITE_ZEROES, 0, 4096, 0));
	CHECK_EQ(bdev_fault_fired(d.bdev), 0);
	dut_close(&d);
}

/* B6 holds above a filter that answers so, and errors are counted. */
static void fenced(void)
{
	struct dut d = dut_open("fault(ops=write,nth=2,err=FENCED)|ram:1M");
	struct bdev_counters counters;
	char buf[4096];

	CHECK_OK(dut_write(&d, 'a', 0, 0));
	CHECK_EQ(dut_write(&d, 'b', 0, 0), -ERR_FENCED);
	CHECK_EQ(dut_write(&d, 'c', 0, 0), -ERR_FENCED);
	CHECK_EQ(bdev_pread(d.queue, buf, sizeof(buf), 0), -ERR_FENCED);
	CHECK_EQ(bdev_fault_fired(d.bdev), 1);
	bdev_counters(d.bdev, &counters);
	CHECK_EQ(counters.errors[BDEV_WRITE], 2);
	CHECK_EQ(counters.errors[BDEV_READ], 1);
	CHECK_EQ(counters.ops[BDEV_WRITE], 3);
	dut_close(&d);
}

int main(void)
{
	nth_write();
	sticky();
	rule_replaced();
	fenced();
	return 0;
}
