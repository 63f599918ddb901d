/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: util blockdev */
/* Files that change under us, and readers and writers of the same file. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/bdev_test.h"

static char path[] = "/var/tmp/csvfs-bdev-file.XXXXXX";

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

int main(void)
{
	int fd = mkstemp(path);

	CHECK(fd >= 0);
	close(fd);
	resized();
	shrunk();
	seen_by_others();
	discarded();
	unlink(path);
	return 0;
}
