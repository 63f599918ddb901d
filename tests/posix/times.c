/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which call moves which time, to the nanosecond; utimensat(2) sets what it is told. */
#include <time.h>

#include "tests/posix/posix.h"

static int64_t ns(struct timespec ts)
{
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

/* Until the clock that the kernel takes times from has moved. */
static void tick(void)
{
	struct timespec then, now;

	clock_gettime(CLOCK_REALTIME_COARSE, &then);
	do
		clock_gettime(CLOCK_REALTIME_COARSE, &now);
	while (ns(now) == ns(then));
}

/* Runs call; checks which of mtime and ctime of path moved forward. */
#define MOVES(path, m, c, call)                                                                    \
	do {                                                                                       \
		struct stat before_ = stat_of(path);                                               \
		tick();                                                                            \
		OK(call);                                                                          \
		struct stat after_ = stat_of(path);                                                \
		if ((ns(after_.st_mtim) > ns(before_.st_mtim)) != (m))                             \
			FAIL("%s: mtime of %s %s", #call, path, m ? "stays" : "moves");            \
		if ((ns(after_.st_ctim) > ns(before_.st_ctim)) != (c))                             \
			FAIL("%s: ctime of %s %s", #call, path, c ? "stays" : "moves");            \
	} while (0)

static void of_files(void)
{
	char buf[4096] = "x";
	int fd = open_ok("f", O_CREAT | O_RDWR);

	MOVES("f", 1, 1, write(fd, buf, 10)); /* in the inode */
	MOVES("f", 1, 1, write(fd, buf, 4096));
	MOVES("f", 1, 1, pwrite(fd, buf, 4096, 0)); /* in place */
	MOVES("f", 1, 1, ftruncate(fd, 5000));
	MOVES("f", 1, 1, truncate("f", 50));
	MOVES("f", 1, 1, fallocate(fd, 0, 0, 100000));
	MOVES("f", 1, 1, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096));
	MOVES("f", 0, 1, chmod("f", 0600));
	MOVES("f", 0, 1, chown("f", 1, 1));
	MOVES("f", 0, 1, link("f", "g"));
	MOVES("f", 0, 1, rename("g", "h"));
	MOVES("f", 0, 1, unlink("h"));
	MOVES("f", 0, 0, pread(fd, buf, 100, 0));
	MOVES("f", 0, 0, access("f", R_OK));
	MOVES("f", 0, 0, fsync(fd));
	OK(close(fd));
	MOVES("f", 1, 1, close(open_ok("f", O_WRONLY | O_TRUNC)));
}

static void of_directories(void)
{
	OK(mkdir("d", 0755));
	OK(mkdir("e", 0755));
	MOVES("d", 1, 1, close(open_ok("d/f", O_CREAT | O_RDWR)));
	MOVES("d", 0, 0, close(open_ok("d/f", O_RDWR)));
	MOVES("d", 1, 1, mkdir("d/s", 0755));
	MOVES("d", 1, 1, symlink("x", "d/l"));
	MOVES("d", 1, 1, mkfifo("d/p", 0600));
	MOVES("d", 1, 1, link("d/f", "d/f2"));
	MOVES("d", 1, 1, rename("d/f", "d/f3"));
	MOVES("d", 1, 1, rename("d/f3", "e/f3"));
	MOVES("e", 1, 1, rename("d/f2", "e/f2"));
	MOVES("d", 1, 1, unlink("d/p"));
	MOVES("d", 1, 1, rmdir("d/s"));
	MOVES("d", 0, 0, readlink("d/l", (char[8]){ 0 }, 8));
	MOVES("d", 0, 1, chmod("d", 0700));
}

static void check_set(const char *path, int64_t atime, int64_t mtime)
{
	struct stat st = stat_of(path);

	CHECK_EQ(ns(st.st_atim), atime);
	CHECK_EQ(ns(st.st_mtim), mtime);
}

static void by_hand(void)
{
	struct timespec ts[2] = { { 1000000001, 123456789 }, { 1234567890, 987654321 } };
	int fd = open_ok("u", O_CREAT | O_RDWR);
	struct stat st;

	MOVES("u", 0, 1, utimensat(AT_FDCWD, "u", ts, 0));
	check_set("u", 1000000001123456789, 1234567890987654321);
	ts[0].tv_nsec = UTIME_OMIT;
	ts[1] = (struct timespec){ -1, 500000000 }; /* before 1970 */
	OK(utimensat(AT_FDCWD, "u", ts, 0));
	check_set("u", 1000000001123456789, -500000000);
	ts[1] = (struct timespec){ 4102444800, 1 }; /* 2100 */
	OK(futimens(fd, ts));
	check_set("u", 1000000001123456789, 4102444800000000001);
	tick();
	ts[1].tv_nsec = UTIME_NOW;
	OK(futimens(fd, ts));
	st = stat_of("u");
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	CHECK(ns(now) - ns(st.st_mtim) < 60000000000ll && ns(now) >= ns(st.st_mtim));
	CHECK_EQ(ns(st.st_atim), 1000000001123456789);
	/* set by hand after a write: the write's own time must not come later */
	ts[0] = ts[1] = (struct timespec){ 77, 7 };
	char block[4096] = "z";
	CHECK_EQ(pwrite(fd, block, sizeof(block), 0), sizeof(block));
	CHECK_EQ(pwrite(fd, block, sizeof(block), 0), sizeof(block));
	OK(futimens(fd, ts));
	check_set("u", 77000000007, 77000000007);
	OK(close(fd));
	check_set("u", 77000000007, 77000000007);
	/* out of reach: the first and the last that there are */
	ts[0] = (struct timespec){ -(1ll << 40), 7 };
	ts[1] = (struct timespec){ 1ll << 40, 7 };
	OK(utimensat(AT_FDCWD, "u", ts, 0));
	st = stat_of("u");
	CHECK_EQ(st.st_atim.tv_sec, INT64_MIN / 1000000000 - 1);
	CHECK_EQ(ns(st.st_mtim), INT64_MAX);
	ts[0] = ts[1] = (struct timespec){ 77, 7 };
	OK(utimensat(AT_FDCWD, "u", ts, 0));
	OK(symlink("u", "link"));
	ts[1].tv_sec = 99;
	OK(utimensat(AT_FDCWD, "link", ts, AT_SYMLINK_NOFOLLOW));
	check_set("link", 77000000007, 99000000007);
	check_set("u", 77000000007, 77000000007);
}

/* A new file has all three, and is not older than the clock before. */
static void of_new(void)
{
	struct timespec ts;

	tick();
	clock_gettime(CLOCK_REALTIME_COARSE, &ts);
	make_file("new", "");
	struct stat st = stat_of("new");
	CHECK(ns(st.st_mtim) >= ns(ts) && ns(st.st_ctim) >= ns(ts) && ns(st.st_atim) >= ns(ts));
}

int main(void)
{
	of_new();
	of_files();
	of_directories();
	by_hand();
	return 0;
}
