/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files around the sizes where their bytes move: 1,024 (out of the inode) and 4,096. */
#include "tests/posix/posix.h"

#define MAX_SIZE 9000u

static uint8_t model[MAX_SIZE], bytes[MAX_SIZE];

/* Appends step by step from one size to another. */
static void growing(uint32_t from, uint32_t to, uint32_t step)
{
	int fd = open_ok("grow", O_CREAT | O_TRUNC | O_RDWR | O_APPEND);

	CHECK_EQ(write(fd, bytes, from), from);
	for (uint32_t size = from; size + step <= to; size += step) {
		CHECK_EQ(write(fd, bytes + size, step), step);
		check_bytes(fd, bytes, size + step, "growing");
	}
	OK(close(fd));
}

static void sizes(void)
{
	static const uint32_t list[] = { 0, 1, 1000, 1023, 1024, 1025, 1100, 2048, 4095, 4096, 4097 };
	const size_t nr = sizeof(list) / sizeof(list[0]);

	for (size_t i = 0; i < nr; i++) {
		for (size_t k = 0; k < nr; k++) {
			int fd = open_ok("size", O_CREAT | O_TRUNC | O_RDWR);
			CHECK_EQ(pwrite(fd, bytes, list[i], 0), list[i]);
			/* what was cut off must not come back */
			OK(ftruncate(fd, list[k]));
			uint32_t kept = list[i] < list[k] ? list[i] : list[k];
			memset(model, 0, sizeof(model));
			memcpy(model, bytes, kept);
			check_bytes(fd, model, list[k], "after truncate");
			OK(ftruncate(fd, 5000));
			check_bytes(fd, model, 5000, "after truncate and growing");
			CHECK_EQ(pwrite(fd, "xyz", 3, list[k]), 3);
			memcpy(model + list[k], "xyz", 3);
			check_bytes(fd, model, 5000, "after a write behind");
			OK(fsync(fd));
			OK(close(fd));
		}
	}
}

/* A write that begins inside of an inline file and ends outside of it, and past its end. */
static void across(void)
{
	for (uint32_t off = 900; off < 1300; off += 37) {
		int fd = open_ok("across", O_CREAT | O_TRUNC | O_RDWR);
		memset(model, 0, sizeof(model));
		memcpy(model, bytes, 950);
		CHECK_EQ(pwrite(fd, bytes, 950, 0), 950);
		memcpy(model + off, bytes + 3000, 300);
		CHECK_EQ(pwrite(fd, bytes + 3000, 300, off), 300);
		check_bytes(fd, model, off + 300, "across the limit");
		OK(close(fd));
	}
}

int main(void)
{
	fill(bytes, sizeof(bytes), 5);
	growing(0, 40, 1);
	growing(1000, 1050, 1);
	growing(4080, 4120, 1);
	growing(8180, 8200, 1);
	growing(0, MAX_SIZE, 93);
	growing(0, MAX_SIZE, 1024);
	sizes();
	across();
	return 0;
}
