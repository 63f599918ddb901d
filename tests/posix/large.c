/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files of 8 TiB on a small volume: far offsets, sparse, cut down again. */
#include "tests/posix/posix.h"

#define TIB (1ll << 40)

int main(void)
{
	uint8_t buf[8192], got[8192];
	int fd = open_ok("big", O_CREAT | O_RDWR);

	fill(buf, sizeof(buf), 8);
	OK(ftruncate(fd, 8 * TIB));
	CHECK_EQ(fstat_of(fd).st_size, 8 * TIB);
	CHECK_EQ(fstat_of(fd).st_blocks, 0);
	CHECK_EQ(pwrite(fd, buf, 8192, 8 * TIB - 8192), 8192);
	CHECK_EQ(pwrite(fd, buf, 100, 4 * TIB + 12345), 100);
	CHECK_EQ(pwrite(fd, buf, 1, 8 * TIB + 7), 1); /* grows it */
	CHECK_EQ(fstat_of(fd).st_size, 8 * TIB + 8);
	CHECK(fstat_of(fd).st_blocks < 2048);
	for (int k = 0; k < 16; k++) /* one piece in each half TiB */
		CHECK_EQ(pwrite(fd, buf + k, 512, k * (TIB / 2) + k * 4096), 512);
	OK(fsync(fd));
	OK(close(fd));
	fd = open_ok("big", O_RDWR);
	CHECK_EQ(pread(fd, got, 8192, 8 * TIB - 8192), 8192);
	CHECK(!memcmp(got, buf, 8192));
	CHECK_EQ(pread(fd, got, 8192, 8 * TIB), 8);
	CHECK(all_zero(got, 7) && got[7] == buf[0]);
	CHECK_EQ(pread(fd, got, 102, 4 * TIB + 12344), 102);
	CHECK(got[0] == 0 && got[101] == 0 && !memcmp(got + 1, buf, 100));
	for (int k = 0; k < 16; k++) {
		CHECK_EQ(pread(fd, got, 512, k * (TIB / 2) + k * 4096), 512);
		CHECK(!memcmp(got, buf + k, 512));
	}
	CHECK_EQ(pread(fd, got, 8192, 3 * TIB + 999999), 8192);
	CHECK(all_zero(got, 8192));
	CHECK_EQ(lseek(fd, 15 * (TIB / 2) + (1 << 20), SEEK_DATA) >= 8 * TIB - 65536, 1);
	OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, TIB, 6 * TIB));
	CHECK_EQ(pread(fd, got, 102, 4 * TIB + 12344), 102);
	CHECK(all_zero(got, 102));
	/* the last byte that there can be */
	CHECK_EQ(pwrite(fd, buf, 100, INT64_MAX - 100), 100);
	CHECK_EQ(fstat_of(fd).st_size, INT64_MAX);
	CHECK_EQ(pread(fd, got, 100, INT64_MAX - 100), 100);
	CHECK(!memcmp(got, buf, 100));
	CHECK_EQ(pread(fd, got, 200, INT64_MAX - 4200), 200);
	CHECK(all_zero(got, 200));
	OK(ftruncate(fd, 10));
	CHECK(fstat_of(fd).st_blocks <= 128);
	CHECK_EQ(pread(fd, got, 8192, 0), 10);
	CHECK(!memcmp(got, buf, 10));
	OK(close(fd));
	return 0;
}
