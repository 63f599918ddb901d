/* SPDX-License-Identifier: GPL-2.0-or-later */
/* statvfs(3): free space falls by what is written, and returns; arguments: the volume's MiB. */
#include <sys/statvfs.h>
#include <time.h>

#include "tests/posix/posix.h"

#define MIB (1u << 20)
#define FILE_MIB 40u

static struct statvfs now(void)
{
	struct statvfs st;

	OK(statvfs(".", &st));
	CHECK(st.f_bfree <= st.f_blocks && st.f_bavail <= st.f_bfree && st.f_ffree <= st.f_files);
	return st;
}

static uint64_t free_mib(void)
{
	struct statvfs st = now();

	return st.f_bfree * st.f_frsize / MIB;
}

static void wait_free(uint64_t mib)
{
	struct timespec nap = { 0, 50000000 };

	for (int i = 0; i < 400 && free_mib() < mib; i++)
		nanosleep(&nap, NULL);
	if (free_mib() < mib)
		FAIL("%llu MiB are free, wanted %llu", (unsigned long long)free_mib(),
			(unsigned long long)mib);
}

int main(int argc, char **argv)
{
	uint64_t volume = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
	struct statvfs st = now();
	uint8_t *buf = malloc(MIB);
	uint64_t before = free_mib();

	CHECK(buf);
	fill(buf, MIB, 1);
	CHECK_EQ(st.f_namemax, 255);
	CHECK_EQ(st.f_blocks * st.f_frsize / MIB, volume);
	CHECK(before > volume / 10 * 9);
	int fd = open_ok("f", O_CREAT | O_RDWR);
	for (uint32_t i = 0; i < FILE_MIB; i++)
		CHECK_EQ(write(fd, buf, MIB), MIB);
	OK(fsync(fd));
	CHECK(free_mib() <= before - FILE_MIB);
	CHECK(free_mib() >= before - FILE_MIB - 20); /* a run ahead and trees */
	OK(ftruncate(fd, 0));
	wait_free(before - 1);
	OK(fallocate(fd, 0, 0, FILE_MIB * MIB));
	CHECK(free_mib() <= before - FILE_MIB);
	OK(unlink("f"));
	OK(close(fd));
	wait_free(before - 1);
	/* What is said to be available can be had, but for what the file's own metadata takes. */
	fd = open_ok("all", O_CREAT | O_RDWR);
	OK(fallocate(fd, 0, 0, (off_t)(now().f_bavail * st.f_frsize - MIB / 2)));
	OK(unlink("all"));
	OK(close(fd));
	wait_free(before - 1);
	free(buf);
	return 0;
}
