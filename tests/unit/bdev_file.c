/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: util blockdev */
/* Files that change under us, other readers of the same file, and a kernel that says no. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <libaio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/bdev_test.h"

static char path[] = "/var/tmp/csvfs-bdev-file.XXXXXX";

/* ---- between blockdev and the kernel ---- */

static int nr_dsync, nr_fsync, nr_rw;
static int refuse_fsync, refuse_rw; /* an error, or 0 */
static long at_most = 1000;	    /* iocbs that one call takes */

int io_submit(io_context_t ctx, long nr, struct iocb *iocbs[])
{
	static int (*real)(io_context_t ctx, long nr, struct iocb *iocbs[]);
	bool is_fsync = iocbs[0]->aio_lio_opcode == IO_CMD_FDSYNC;

	if (!real)
		real = (int (*)(io_context_t, long, struct iocb *[]))dlsym(RTLD_NEXT, "io_submit");
	nr_fsync += is_fsync;
	nr_rw += !is_fsync;
	for (long i = 0; i < nr; i++)
		nr_dsync += iocbs[i]->aio_rw_flags == RWF_DSYNC;
	if (is_fsync && refuse_fsync)
		return refuse_fsync;
	if (!is_fsync && refuse_rw)
		return refuse_rw;
	return real(ctx, nr > at_most ? at_most : nr, iocbs);
}

static void on_resize(void *arg, enum bdev_event ev)
{
	if (ev == BDEV_RESIZED)
		++*(int *)arg;
}

static struct dut open_file(int *nr_resized)
{
	struct dut d;
	char *uri;

	CHECK(asprintf(&uri, "stats|file:%s", path) > 0);
	CHECK_OK(loop_new(&d.loop));
	CHECK_OK(bdev_open(uri, NULL, &d.bdev, NULL));
	bdev_set_notify(d.bdev, on_resize, nr_resized);
	CHECK_OK(bdev_queue_open(d.bdev, d.loop, &d.queue));
	free(uri);
	return d;
}

static void wait_for(struct dut *d, const int *count, int n)
{
	uint64_t deadline = clock_mono_ns() + 20000000000u;

	while (*count < n) {
		CHECK(clock_mono_ns() < deadline);
		loop_run_once(d->loop, true);
	}
}

static void resized(void)
{
	int nr = 0;
	struct dut d;

	CHECK_EQ(truncate(path, 1 << 20), 0);
	d = open_file(&nr);
	CHECK_EQ(bdev_geom(d.bdev).size_bytes, 1 << 20);
	CHECK_EQ(dut_write(&d, 'x', 1 << 20, 0), -ERANGE);
	CHECK_EQ(truncate(path, (4 << 20) + 100), 0);
	wait_for(&d, &nr, 1);
	CHECK_EQ(bdev_geom(d.bdev).size_bytes, 4 << 20); /* whole blocks */
	CHECK_OK(dut_write(&d, 'x', 1 << 20, 0));
	CHECK_EQ(dut_read(&d, 1 << 20), 'x');
	dut_close(&d);
}

/* The file is shorter than we think: an error, for the request as a whole; not a short read. */
static void shrunk(void)
{
	static char buf[9 << 20];
	int nr = 0;
	struct dut d;

	CHECK_EQ(truncate(path, 16 << 20), 0);
	d = open_file(&nr);
	CHECK_OK(bdev_pread(d.queue, buf, sizeof(buf), 0));
	CHECK_EQ(truncate(path, (3 << 20) + 512), 0);
	CHECK_EQ(bdev_pread(d.queue, buf, sizeof(buf), 0), -EIO);
	CHECK_EQ(bdev_pread(d.queue, buf, 4096, 8 << 20), -EIO);
	CHECK_OK(bdev_pread(d.queue, buf, 3 << 20, 0));
	wait_for(&d, &nr, 1);
	CHECK_EQ(bdev_pread(d.queue, buf, 4096, 8 << 20), -ERANGE);
	dut_close(&d);
}

/* What a queue has written and flushed is what others read by other means. */
static void seen_by_others(void)
{
	struct dut d;
	char buf[4096];
	int nr = 0, fd;

	CHECK_EQ(truncate(path, 1 << 20), 0);
	d = open_file(&nr);
	CHECK_OK(dut_write(&d, 'q', 8192, BDEV_FUA));
	fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);
	CHECK_EQ(pread(fd, buf, sizeof(buf), 8192), 4096);
	CHECK_EQ(buf[0], 'q');
	memset(buf, 'r', sizeof(buf));
	CHECK_EQ(pwrite(fd, buf, sizeof(buf), 8192), 4096);
	CHECK_EQ(dut_read(&d, 8192), 'r');
	close(fd);
	dut_close(&d);
}

/* Discard gives the space back. */
static void discarded(void)
{
	struct stat before, after;
	struct dut d;
	int nr = 0;
	static char buf[1 << 20];

	memset(buf, 'z', sizeof(buf));
	CHECK_EQ(truncate(path, 1 << 20), 0);
	d = open_file(&nr);
	if (!(bdev_geom(d.bdev).caps & BDEV_CAN_DISCARD)) {
		dut_close(&d);
		return;
	}
	CHECK_OK(bdev_pwrite(d.queue, buf, sizeof(buf), 0));
	CHECK_OK(bdev_flush_sync(d.queue));
	CHECK_EQ(stat(path, &before), 0);
	CHECK_OK(dut_op(&d, BDEV_DISCARD, 0, 1 << 20, 0));
	CHECK_EQ(stat(path, &after), 0);
	CHECK(after.st_blocks < before.st_blocks);
	CHECK_EQ(after.st_size, before.st_size);
	dut_close(&d);
}

/* FUA reaches the kernel; a flush that aio refuses, and whole requests, go another way. */
static void aio_flags_and_refusals(void)
{
	struct dut d;
	int nr = 0, before;

	CHECK_EQ(truncate(path, 1 << 20), 0);
	d = open_file(&nr);
	before = nr_dsync;
	CHECK_OK(dut_write(&d, 'a', 0, 0));
	CHECK_EQ(nr_dsync, before);
	CHECK_OK(dut_write(&d, 'b', 0, BDEV_FUA));
	CHECK_EQ(nr_dsync, before + 1);

	before = nr_fsync;
	CHECK_OK(bdev_flush_sync(d.queue));
	CHECK_EQ(nr_fsync, before + 1);
	refuse_fsync = -EINVAL;
	CHECK_OK(bdev_flush_sync(d.queue));
	CHECK_EQ(nr_fsync, before + 2);
	CHECK_OK(bdev_flush_sync(d.queue)); /* learned: not even tried */
	CHECK_EQ(nr_fsync, before + 2);

	refuse_rw = -EINVAL;
	CHECK_OK(dut_write(&d, 'c', 4096, BDEV_FUA));
	CHECK_EQ(dut_read(&d, 4096), 'c');
	refuse_rw = -EAGAIN; /* with nothing in the kernel that could come back */
	CHECK_OK(dut_write(&d, 'd', 4096, 0));
	CHECK_EQ(dut_read(&d, 4096), 'd');
	refuse_rw = 0;
	dut_close(&d);
}

/* What is handed in during one round goes down in one call; more than the ring holds waits. */
static void batches(void)
{
	static struct async many[700];
	struct dut d;
	int nr = 0, before;

	CHECK_EQ(truncate(path, 4 << 20), 0);
	d = open_file(&nr);
	for (at_most = 1000; at_most > 0; at_most -= 990) { /* 1000, 10 */
		before = nr_rw;
		for (int i = 0; i < 700; i++)
			async_start(&d, &many[i], BDEV_WRITE, (char)i, (uint64_t)i * 4096, 0);
		for (int i = 0; i < 700; i++)
			CHECK_OK(async_end(&d, &many[i]));
		if (at_most == 1000)
			CHECK(nr_rw - before < 350);
		for (int i = 0; i < 700; i++)
			CHECK_EQ(dut_read(&d, (uint64_t)i * 4096), (char)i);
	}
	at_most = 1000;
	dut_close(&d);
}

/* Asked for, a new size is known at once. */
static void measured(void)
{
	struct dut d;
	int nr = 0;

	CHECK_EQ(truncate(path, 1 << 20), 0);
	d = open_file(&nr);
	CHECK_EQ(truncate(path, 3 << 20), 0);
	CHECK_EQ(bdev_geom(d.bdev).size_bytes, 1 << 20);
	CHECK_OK(dut_op(&d, BDEV_MEASURE, 0, 0, 0));
	CHECK_EQ(bdev_geom(d.bdev).size_bytes, 3 << 20);
	CHECK_OK(dut_write(&d, 'x', (3 << 20) - 4096, 0));
	dut_close(&d);
}

int main(void)
{
	int fd = mkstemp(path);

	CHECK(fd >= 0);
	close(fd);
	resized();
	measured();
	shrunk();
	seen_by_others();
	discarded();
	aio_flags_and_refusals();
	batches();
	unlink(path);
	return 0;
}
