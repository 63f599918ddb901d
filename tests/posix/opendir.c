/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An open directory that has lost its name is there until it is closed, empty for ever. */
#include <stdbool.h>
#include <sys/statvfs.h>
#include <time.h>

#include "tests/posix/posix.h"

static uint64_t nr_files(void)
{
	struct statvfs st;

	OK(statvfs(".", &st));
	return st.f_files - st.f_ffree;
}

static void is_held(int fd, ino_t ino)
{
	struct stat st = fstat_of(fd);

	CHECK_EQ(st.st_ino, ino);
	CHECK_EQ(st.st_nlink, 0);
	OK(fchmod(fd, 0700));
	CHECK_EQ(fstat_of(fd).st_mode & 07777, 0700);
	OK(fsync(fd));
	FAILS(openat(fd, "new", O_CREAT | O_RDWR, 0644), ENOENT);
	FAILS(mkdirat(fd, "new", 0755), ENOENT);
}

/* How it loses its name. */
static void removed(void)
{
	OK(rmdir("dir"));
}

static void replaced(void)
{
	OK(mkdir("other", 0755));
	OK(rename("other", "dir"));
}

/* busy: something was made in it while it was open. */
static void held(void (*lose)(void), bool busy)
{
	OK(mkdir("dir", 0755));
	ino_t ino = stat_of("dir").st_ino;
	int fd = open_ok("dir", O_RDONLY | O_DIRECTORY), second = open_ok("dir", O_RDONLY);

	if (busy) {
		make_file("dir/file", "text");
		OK(unlink("dir/file"));
	}
	lose();
	is_held(fd, ino);
	OK(close(fd));
	is_held(second, ino);
	OK(close(second));
	if (lose == replaced) {
		CHECK(stat_of("dir").st_ino != ino);
		OK(rmdir("dir"));
	}
}

static void inode_returns(uint64_t before)
{
	struct timespec nap = { 0, 20000000 };

	for (int i = 0; i < 500; i++) {
		if (nr_files() <= before)
			return;
		nanosleep(&nap, NULL);
	}
	FAIL("10 s after the last close %llu inodes are too many",
		(unsigned long long)(nr_files() - before));
}

int main(void)
{
	uint64_t before = nr_files();

	for (int busy = 0; busy < 2; busy++) {
		held(removed, busy);
		held(replaced, busy);
	}
	inode_returns(before);
	return 0;
}
