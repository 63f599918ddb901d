/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The time of the last read follows where it tells something new (relatime); "never" as argument: not
 * at all (noatime); "strict": always (strictatime). */
#include <dirent.h>

#include "tests/posix/posix.h"

static int never, strict;

static int64_t atime_of(const char *path)
{
	struct stat st = stat_of(path);

	return st.st_atim.tv_sec * 1000000000ll + st.st_atim.tv_nsec;
}

static int64_t ctime_of(const char *path)
{
	struct stat st = stat_of(path);

	return st.st_ctim.tv_sec * 1000000000ll + st.st_ctim.tv_nsec;
}

static void read_it(const char *path)
{
	char buf[100];
	int fd = open_ok(path, O_RDONLY);

	OK(read(fd, buf, sizeof(buf)));
	OK(close(fd));
}

static void list_it(const char *path)
{
	DIR *d = opendir(path);

	CHECK(d);
	while (readdir(d))
		;
	closedir(d);
}

static void follows(const char *path, void (*use)(const char *path))
{
	struct timespec set[2] = { { 1000, 0 }, { 0, UTIME_OMIT } };
	int64_t at = atime_of(path), now;

	use(path);
	now = atime_of(path);
	CHECK(never ? now == at : now > at && now > ctime_of(path));
	at = now;
	use(path); /* tells nothing new */
	CHECK(strict ? atime_of(path) > at : atime_of(path) == at);
	OK(utimensat(AT_FDCWD, path, set, 0));
	CHECK_EQ(atime_of(path), 1000ll * 1000000000);
	use(path);
	CHECK(never ? atime_of(path) == 1000ll * 1000000000 : atime_of(path) > at);
}

int main(int argc, char **argv)
{
	static char big[20000];
	int fd;

	never = argc > 1 && !strcmp(argv[1], "never");
	strict = argc > 1 && !strcmp(argv[1], "strict");
	make_file("small", "text");
	follows("small", read_it);
	fd = open_ok("big", O_CREAT | O_WRONLY);
	CHECK_EQ(write(fd, big, sizeof(big)), sizeof(big));
	OK(close(fd));
	follows("big", read_it);
	OK(mkdir("dir", 0755));
	follows("dir", list_it);
	/* set by hand after a read, while the file is open */
	fd = open_ok("big", O_RDWR);
	CHECK_EQ(write(fd, "x", 1), 1);
	OK(read(fd, big, 100));
	struct timespec set[2] = { { 2000, 0 }, { 3000, 0 } };
	OK(futimens(fd, set));
	CHECK_EQ(atime_of("big"), 2000ll * 1000000000);
	OK(close(fd));
	CHECK_EQ(atime_of("big"), 2000ll * 1000000000);
	return 0;
}
