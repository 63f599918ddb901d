/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A file without a name lives as long as it is open, and its space comes back after. */
#include <sys/statvfs.h>
#include <time.h>

#include "tests/posix/posix.h"

#define BYTES (8u << 20)

static uint64_t free_blks(void)
{
	struct statvfs st;

	OK(statvfs(".", &st));
	return st.f_bfree;
}

static void lives_on(void)
{
	uint8_t *buf = malloc(BYTES);
	int fd = open_ok("f", O_CREAT | O_RDWR), second = open_ok("f", O_RDONLY);

	CHECK(buf);
	fill(buf, BYTES, 3);
	CHECK_EQ(write(fd, buf, BYTES), BYTES);
	OK(unlink("f"));
	CHECK(gone("f"));
	FAILS(open("f", O_RDONLY), ENOENT);
	CHECK_EQ(fstat_of(fd).st_nlink, 0);
	check_bytes(fd, buf, BYTES, "after unlink");
	fill(buf + 5000, 5000, 9);
	CHECK_EQ(pwrite(fd, buf + 5000, 5000, 5000), 5000);
	OK(close(fd));
	check_bytes(second, buf, BYTES, "after unlink and one close");
	OK(fchmod(second, 0600));
	CHECK_EQ(fstat_of(second).st_mode & 07777, 0600);
	make_file("f", "another"); /* the name is free for another */
	CHECK(stat_of("f").st_ino != fstat_of(second).st_ino);
	OK(close(second));
	check_text("f", "another");
	OK(unlink("f"));
	free(buf);
}

static void space_returns(uint64_t before)
{
	struct timespec nap = { 0, 50000000 };

	for (int i = 0; i < 400; i++) {
		if (free_blks() + 64 >= before)
			return;
		nanosleep(&nap, NULL);
	}
	FAIL("20 s after the last close %llu blocks are missing",
		(unsigned long long)(before - free_blks()));
}

/* ENOENT, or ESTALE: the kernel asks for the attributes of an inode that is no more. */
static void no_such_place(long long ret)
{
	CHECK_EQ(ret, -1);
	CHECK(errno == ENOENT || errno == ESTALE);
}

/* The current directory may be removed; nothing can be made in it then. */
static void removed_directory(void)
{
	OK(mkdir("dir", 0755));
	int fd = open_ok("dir", O_RDONLY | O_DIRECTORY);
	OK(chdir("dir"));
	OK(rmdir("../dir"));
	no_such_place(open("new", O_CREAT | O_RDWR, 0644));
	no_such_place(mkdir("new", 0755));
	no_such_place(openat(fd, "new", O_CREAT | O_RDWR, 0644));
	OK(close(fd));
}

int main(void)
{
	uint64_t before = free_blks();

	lives_on();
	space_returns(before);
	removed_directory();
	return 0;
}
