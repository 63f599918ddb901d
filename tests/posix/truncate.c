/* SPDX-License-Identifier: GPL-2.0-or-later */
/* truncate(2): what is cut off is gone for good, what is added reads as zeroes and takes no space. */
#include <limits.h>

#include "tests/posix/posix.h"

#define ROOM (600u << 10)

static uint8_t *model, *bytes;

static void shrink_and_grow(void)
{
	static const uint32_t cuts[] = { 0, 1, 4095, 4096, 4097, 10000, 65535, 65536, 65537, 200000 };

	for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		int fd = open_ok("f", O_CREAT | O_TRUNC | O_RDWR);
		CHECK_EQ(pwrite(fd, bytes, 300000, 0), 300000);
		OK(ftruncate(fd, cuts[i]));
		memset(model, 0, ROOM);
		memcpy(model, bytes, cuts[i]);
		check_bytes(fd, model, cuts[i], "shrunk");
		OK(ftruncate(fd, 400000));
		check_bytes(fd, model, 400000, "grown again");
		OK(ftruncate(fd, cuts[i]));
		/* a write past a gap */
		memcpy(model + 250001, bytes, 99);
		CHECK_EQ(pwrite(fd, bytes, 99, 250001), 99);
		check_bytes(fd, model, 250100, "written past a gap");
		OK(close(fd));
	}
}

/* The block that holds the end of file is written whole; what lies behind must not show. */
static void tails(void)
{
	for (uint32_t size = 4097; size < 8192; size += 511) {
		int fd = open_ok("t", O_CREAT | O_TRUNC | O_RDWR);
		memset(model, 0, ROOM);
		memcpy(model, bytes, size);
		CHECK_EQ(pwrite(fd, bytes, 12288, 0), 12288);
		OK(ftruncate(fd, size));
		CHECK_EQ(pwrite(fd, bytes, 4096, 16384), 4096); /* whole blocks behind the gap */
		memcpy(model + 16384, bytes, 4096);
		check_bytes(fd, model, 20480, "behind the end of file");
		OK(ftruncate(fd, size + 100));
		OK(ftruncate(fd, 20480));
		memset(model + 16384, 0, 4096);
		check_bytes(fd, model, 20480, "grown by truncate");
		OK(close(fd));
	}
}

static void space(void)
{
	int fd = open_ok("s", O_CREAT | O_TRUNC | O_RDWR);
	CHECK_EQ(pwrite(fd, bytes, 512 << 10, 0), 512 << 10);
	OK(fsync(fd));
	CHECK(fstat_of(fd).st_blocks >= 1024);
	OK(ftruncate(fd, 64 << 10));
	CHECK(fstat_of(fd).st_blocks <= 256);
	OK(ftruncate(fd, 0));
	CHECK_EQ(fstat_of(fd).st_blocks, 0);
	OK(ftruncate(fd, 1ll << 30));
	CHECK_EQ(fstat_of(fd).st_blocks, 0);
	OK(close(fd));
}

static void refused(void)
{
	int fd = open_ok("r", O_CREAT | O_RDWR);
	FAILS(ftruncate(fd, -1), EINVAL);
	FAILS(truncate("none", 0), ENOENT);
	OK(mkdir("d", 0755));
	FAILS(truncate("d", 0), EISDIR);
	OK(truncate("r", 77));
	CHECK_EQ(fstat_of(fd).st_size, 77);
	OK(close(fd));
}

int main(void)
{
	model = malloc(ROOM);
	bytes = malloc(ROOM);
	CHECK(model && bytes);
	fill(bytes, ROOM, 2);
	shrink_and_grow();
	tails();
	space();
	refused();
	free(model);
	free(bytes);
	return 0;
}
