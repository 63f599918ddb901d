/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fallocate(2): default, keep size, punch hole, zero range; bytes, size and blocks. */
#include "tests/posix/posix.h"

#define KEEP FALLOC_FL_KEEP_SIZE
#define PUNCH (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)
#define ZERO FALLOC_FL_ZERO_RANGE
#define ROOM (1u << 20)

static uint8_t *model, *bytes;

static int fresh(uint32_t size)
{
	int fd = open_ok("f", O_CREAT | O_TRUNC | O_RDWR);

	memset(model, 0, ROOM);
	memcpy(model, bytes, size);
	CHECK_EQ(pwrite(fd, bytes, size, 0), size);
	OK(fsync(fd));
	return fd;
}

static uint64_t kib(int fd)
{
	return (uint64_t)fstat_of(fd).st_blocks / 2;
}

static void allocate(void)
{
	int fd = fresh(0);

	OK(fallocate(fd, 0, 0, 256 << 10));
	CHECK_EQ(fstat_of(fd).st_size, 256 << 10);
	CHECK(kib(fd) >= 256 && kib(fd) <= 512);
	check_bytes(fd, model, 256 << 10, "allocated");
	uint64_t before = kib(fd);
	memcpy(model + 5000, bytes, 70000);
	CHECK_EQ(pwrite(fd, bytes, 70000, 5000), 70000);
	check_bytes(fd, model, 256 << 10, "written into allocated space");
	CHECK_EQ(kib(fd), before);
	OK(fallocate(fd, 0, 1000, 1000)); /* what is there stays */
	check_bytes(fd, model, 256 << 10, "allocated again");
	OK(close(fd));
	fd = fresh(500); /* out of the inode */
	OK(fallocate(fd, 0, 0, 100000));
	check_bytes(fd, model, 100000, "a small file allocated");
	CHECK(kib(fd) >= 97);
	OK(close(fd));
}

static void keep_size(void)
{
	int fd = fresh(10000);

	OK(fallocate(fd, KEEP, 0, 512 << 10));
	CHECK_EQ(fstat_of(fd).st_size, 10000);
	CHECK(kib(fd) >= 512);
	check_bytes(fd, model, 10000, "allocated past the end");
	uint64_t before = kib(fd);
	memcpy(model + 300000, bytes, 4096);
	CHECK_EQ(pwrite(fd, bytes, 4096, 300000), 4096);
	check_bytes(fd, model, 304096, "written there");
	CHECK_EQ(kib(fd), before);
	OK(ftruncate(fd, 10000)); /* gives the rest back */
	CHECK(kib(fd) <= 128);
	OK(close(fd));
	fd = fresh(100);
	OK(fallocate(fd, KEEP, 0, 65536));
	check_bytes(fd, model, 100, "a small file, space kept");
	memcpy(model + 100, bytes, 2000);
	CHECK_EQ(pwrite(fd, bytes, 2000, 100), 2000);
	check_bytes(fd, model, 2100, "a small file grown into it");
	OK(close(fd));
}

static void punch(void)
{
	static const uint32_t at[] = { 0, 1, 4095, 4096, 5000, 65536, 100000, 299999, 300000, 400000 };
	static const uint32_t len[] = { 1, 100, 4096, 4097, 65536, 131072, 500000 };

	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		for (size_t k = 0; k < sizeof(len) / sizeof(len[0]); k++) {
			int fd = fresh(300000);
			OK(fallocate(fd, PUNCH, at[i], len[k]));
			memset(model + at[i], 0, len[k]);
			check_bytes(fd, model, 300000, "punched");
			OK(close(fd));
		}
	}
	int fd = fresh(ROOM);
	uint64_t before = kib(fd);
	OK(fallocate(fd, PUNCH, 256 << 10, 512 << 10));
	CHECK_EQ(kib(fd), before - 512);
	OK(fallocate(fd, PUNCH, 0, ROOM));
	CHECK_EQ(kib(fd), 0);
	CHECK_EQ(fstat_of(fd).st_size, ROOM);
	OK(close(fd));
	fd = fresh(900); /* inside of the inode */
	OK(fallocate(fd, PUNCH, 100, 200));
	memset(model + 100, 0, 200);
	check_bytes(fd, model, 900, "punched inline");
	OK(close(fd));
}

static void zero_range(void)
{
	int fd = fresh(300000);
	uint64_t before = kib(fd);

	if (fallocate(fd, ZERO, 5000, 100000)) {
		CHECK_EQ(errno, EOPNOTSUPP);
		fprintf(stderr, "no zero range here\n");
		exit(1);
	}
	memset(model + 5000, 0, 100000);
	check_bytes(fd, model, 300000, "zeroed");
	CHECK(kib(fd) >= before);
	OK(fallocate(fd, ZERO | KEEP, 290000, 100000));
	memset(model + 290000, 0, 10000);
	check_bytes(fd, model, 300000, "zeroed past the end, size kept");
	OK(fallocate(fd, ZERO, 290000, 100000));
	CHECK_EQ(fstat_of(fd).st_size, 390000);
	check_bytes(fd, model, 390000, "zeroed past the end");
	memcpy(model + 50000, bytes, 9000);
	CHECK_EQ(pwrite(fd, bytes, 9000, 50000), 9000);
	check_bytes(fd, model, 390000, "written into zeroed space");
	OK(close(fd));
	fd = fresh(800);
	OK(fallocate(fd, ZERO, 50, 600));
	memset(model + 50, 0, 600);
	check_bytes(fd, model, 800, "zeroed inline");
	OK(close(fd));
}

static void refused(void)
{
	int fd = fresh(5000);

	FAILS(fallocate(fd, 0, 0, 0), EINVAL);
	FAILS(fallocate(fd, 0, -1, 10), EINVAL);
	FAILS(fallocate(fd, 0, 10, -10), EINVAL);
	FAILS(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 4096), EOPNOTSUPP);
	FAILS(fallocate(fd, 0, INT64_MAX - 10, 4096), EFBIG);
	check_bytes(fd, model, 5000, "after refusals");
	OK(close(fd));
	fd = open_ok("f", O_RDONLY);
	FAILS(fallocate(fd, 0, 0, 10), EBADF);
	OK(close(fd));
}

int main(void)
{
	model = calloc(1, ROOM);
	bytes = malloc(ROOM);
	CHECK(model && bytes);
	fill(bytes, ROOM, 4);
	allocate();
	keep_size();
	punch();
	zero_range();
	refused();
	free(model);
	free(bytes);
	return 0;
}
