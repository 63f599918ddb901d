/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files without a name (O_TMPFILE), whiteouts, the time of birth. */
#include <linux/fs.h>
#include <sys/sysmacros.h>

#include "tests/posix/posix.h"

static int name_it(int fd, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return linkat(AT_FDCWD, path, AT_FDCWD, name, AT_SYMLINK_FOLLOW);
}

static int unnamed(int flags)
{
	int fd = (int)OK(open(".", O_TMPFILE | O_RDWR | O_CLOEXEC | flags, 0640));

	CHECK_EQ(fstat_of(fd).st_nlink, 0);
	CHECK_EQ(fstat_of(fd).st_mode & 07777, 0640);
	return fd;
}

static void tmpfiles(void)
{
	static char buf[100000];
	struct stat st;
	int fd = unnamed(0);

	CHECK_EQ(write(fd, "text", 4), 4);
	FAILS(name_it(fd, "no/such"), ENOENT);
	OK(name_it(fd, "named"));
	st = fstat_of(fd);
	CHECK_EQ(st.st_nlink, 1);
	CHECK_EQ(stat_of("named").st_ino, st.st_ino);
	check_text("named", "text");
	CHECK_EQ(pwrite(fd, "T", 1, 0), 1);
	OK(close(fd));
	check_text("named", "Text");
	FAILS(name_it((fd = unnamed(0)), "named"), EEXIST);
	OK(close(fd));
	fd = unnamed(O_EXCL);
	CHECK_EQ(write(fd, buf, sizeof(buf)), sizeof(buf));
	FAILS(name_it(fd, "other"), ENOENT);
	OK(close(fd));
	make_file("gone", "gone");
	fd = open_ok("gone", O_RDWR);
	OK(unlink("gone"));
	FAILS(name_it(fd, "back"), ENOENT);
	CHECK_EQ(read(fd, buf, 10), 4);
	OK(close(fd));
	for (int i = 0; i < 50; i++) { /* leave nothing behind: the check at the end sees to it */
		fd = unnamed(0);
		CHECK_EQ(write(fd, buf, (size_t)i * 2000), i * 2000);
		OK(close(fd));
	}
}

static void whiteouts(void)
{
	make_file("a", "a");
	OK(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_WHITEOUT));
	check_text("b", "a");
	CHECK(S_ISCHR(stat_of("a").st_mode) && stat_of("a").st_rdev == makedev(0, 0));
	make_file("c", "c");
	FAILS(renameat2(AT_FDCWD, "c", AT_FDCWD, "b", RENAME_WHITEOUT | RENAME_NOREPLACE), EEXIST);
	check_text("c", "c");
	OK(renameat2(AT_FDCWD, "c", AT_FDCWD, "b", RENAME_WHITEOUT));
	check_text("b", "c");
	CHECK(S_ISCHR(stat_of("c").st_mode));
	FAILS(renameat2(AT_FDCWD, "b", AT_FDCWD, "c", RENAME_WHITEOUT | RENAME_EXCHANGE), EINVAL);
}

static int64_t ns(struct statx_timestamp t)
{
	return t.tv_sec * 1000000000 + t.tv_nsec;
}

static void births(void)
{
	struct timespec old[2] = { { 5, 0 }, { 6, 0 } };
	struct statx x, y;

	make_file("born", "b");
	OK(statx(AT_FDCWD, "born", 0, STATX_BASIC_STATS | STATX_BTIME, &x));
	CHECK(x.stx_mask & STATX_BTIME);
	CHECK(ns(x.stx_btime) && ns(x.stx_btime) <= ns(x.stx_ctime));
	CHECK_EQ(x.stx_size, 1);
	CHECK_EQ(x.stx_ino, stat_of("born").st_ino);
	OK(utimensat(AT_FDCWD, "born", old, 0));
	make_file("born", "bb");
	OK(statx(AT_FDCWD, "born", 0, STATX_BASIC_STATS | STATX_BTIME, &y));
	CHECK_EQ(ns(x.stx_btime), ns(y.stx_btime));
	CHECK(ns(y.stx_ctime) > ns(y.stx_btime));
	CHECK_EQ(y.stx_size, 2);
}

int main(void)
{
	tmpfiles();
	whiteouts();
	births();
	return 0;
}
