/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: util blockdev */
/* The crash filter's record: order, contents, what flushes cover. */
#include <errno.h>

#include "tests/unit/bdev_test.h"

static const struct bdev_crash_event *event(struct dut *d, uint64_t nth)
{
	CHECK(nth < bdev_crash_nr_events(d->bdev));
	return bdev_crash_event(d->bdev, nth);
}

static void in_order(void)
{
	struct dut d = dut_open("crash|ram:1M");
	const struct bdev_crash_event *e;

	bdev_crash_mark(d.bdev, 10);
	CHECK_OK(dut_write(&d, 'a', 4096, 0));
	CHECK_EQ(dut_read(&d, 4096), 'a'); /* not recorded */
	bdev_crash_mark(d.bdev, 11);
	CHECK_OK(dut_op(&d, BDEV_WRITE_ZEROES, 8192, 65536, BDEV_FUA));
	CHECK_OK(bdev_flush_sync(d.queue));
	CHECK_OK(dut_op(&d, BDEV_DISCARD, 0, 4096, 0));
	CHECK_OK(dut_write(&d, 'b', 0, BDEV_FUA));
	CHECK_EQ(dut_write(&d, 'x', 1 << 20, 0), -ERANGE);
	CHECK_EQ(bdev_crash_nr_events(d.bdev), 5);

	e = event(&d, 0);
	CHECK_EQ(e->op, BDEV_WRITE);
	CHECK_EQ(e->off_bytes, 4096);
	CHECK_EQ(e->len_bytes, 4096);
	for (int i = 0; i < 4096; i++)
		CHECK_EQ(((const char *)e->data)[i], 'a');
	CHECK_EQ(e->user_mark, 10);
	CHECK_EQ(e->submit_seq, 1);
	CHECK(!e->fua);
	e = event(&d, 1);
	CHECK_EQ(e->op, BDEV_WRITE_ZEROES);
	CHECK_EQ(e->len_bytes, 65536);
	CHECK_EQ(e->user_mark, 11);
	CHECK(e->fua && !e->data);
	e = event(&d, 2);
	CHECK_EQ(e->op, BDEV_FLUSH);
	CHECK_EQ(e->flush_covers, 2);
	CHECK_EQ(event(&d, 3)->op, BDEV_DISCARD);
	CHECK_EQ(event(&d, 4)->submit_seq, 5);
	CHECK(event(&d, 4)->fua);
	dut_close(&d);
}

/* Completion turns the order round; a flush covers only what was done when it was submitted. */
static void out_of_order(void)
{
	struct dut d = dut_open("crash|delay(write_ms=60,flush_ms=20)|ram:1M");
	struct async w = { 0 }, f = { 0 };

	CHECK_OK(dut_op(&d, BDEV_WRITE_ZEROES, 0, 4096, 0));
	async_start(&d, &w, BDEV_WRITE, 'a', 4096, 0);
	async_start(&d, &f, BDEV_FLUSH, 0, 0, 0);
	CHECK_OK(async_end(&d, &f));
	CHECK(!w.over);
	CHECK_OK(async_end(&d, &w));
	CHECK_EQ(bdev_crash_nr_events(d.bdev), 3);
	CHECK_EQ(event(&d, 1)->op, BDEV_FLUSH);
	CHECK_EQ(event(&d, 1)->submit_seq, 3);
	CHECK_EQ(event(&d, 1)->flush_covers, 1);
	CHECK_EQ(event(&d, 2)->op, BDEV_WRITE);
	CHECK_EQ(event(&d, 2)->submit_seq, 2);
	dut_close(&d);
}

/* What failed is not in the record. The data are those of the submission. */
static void failures(void)
{
	struct dut d = dut_open("crash|fault(ops=write,nth=2)|ram:1M");

	CHECK_OK(dut_write(&d, 'a', 0, 0));
	CHECK_EQ(dut_write(&d, 'b', 0, 0), -EIO);
	CHECK_OK(dut_write(&d, 'c', 0, 0));
	CHECK_EQ(bdev_crash_nr_events(d.bdev), 2);
	CHECK_EQ(((const char *)event(&d, 1)->data)[0], 'c');
	dut_close(&d);
}

/* Replaying the whole record onto an empty device gives the same bytes. */
static void replay(void)
{
	struct dut d = dut_open("crash|ram:1M"), copy = dut_open("ram:1M");
	static char a[1 << 20], b[1 << 20];
	unsigned int rnd = 1;

	for (int i = 0; i < 700; i++) {
		uint64_t off = rand_r(&rnd) % 255 * 4096;

		if (i % 7 == 0)
			CHECK_OK(dut_op(&d, BDEV_WRITE_ZEROES, off, 4096, 0));
		else
			CHECK_OK(dut_write(&d, (char)('a' + i % 26), off, 0));
	}
	CHECK_EQ(bdev_crash_nr_events(d.bdev), 700);
	for (uint64_t i = 0; i < bdev_crash_nr_events(d.bdev); i++) {
		const struct bdev_crash_event *e = event(&d, i);

		if (e->op == BDEV_WRITE)
			CHECK_OK(bdev_pwrite(copy.queue, e->data, e->len_bytes, e->off_bytes));
		else
			CHECK_OK(dut_op(&copy, e->op, e->off_bytes, e->len_bytes, 0));
	}
	CHECK_OK(bdev_pread(d.queue, a, sizeof(a), 0));
	CHECK_OK(bdev_pread(copy.queue, b, sizeof(b), 0));
	CHECK(memcmp(a, b, sizeof(a)) == 0);
	dut_close(&copy);
	dut_close(&d);
}

int main(void)
{
	in_order();
	out_of_order();
	failures();
	replay();
	return 0;
}
