/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hard links, symlinks, and how directories count their names. */
#include <limits.h>

#include "tests/posix/posix.h"

static void hard(void)
{
	char name[32];

	make_file("f", "text");
	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "l%d", i);
		OK(link("f", name));
		CHECK_EQ(stat_of("f").st_nlink, i + 2);
		CHECK_EQ(stat_of(name).st_ino, stat_of("f").st_ino);
	}
	FAILS(link("f", "l0"), EEXIST);
	FAILS(link("none", "x"), ENOENT);
	FAILS(link("f", "none/x"), ENOENT);
	OK(mkdir("d", 0755));
	FAILS(link("d", "x"), EPERM);
	int fd = open_ok("l49", O_WRONLY | O_TRUNC);
	CHECK_EQ(write(fd, "changed", 7), 7);
	OK(close(fd));
	check_text("f", "changed");
	OK(unlink("f"));
	check_text("l7", "changed");
	for (int i = 0; i < 49; i++) {
		snprintf(name, sizeof(name), "l%d", i);
		OK(unlink(name));
	}
	CHECK_EQ(stat_of("l49").st_nlink, 1);
	OK(symlink("l49", "s"));
	OK(link("s", "s2")); /* of the symlink itself */
	CHECK(S_ISLNK(stat_of("s2").st_mode));
	CHECK_EQ(stat_of("s").st_nlink, 2);
}

static void symbolic(void)
{
	static const int lens[] = { 1, 2, 59, 60, 255, 256, 1000, 1023, 1024, 1025, 4000, 4095 };
	char target[PATH_MAX + 1], buf[PATH_MAX + 1];

	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		memset(target, 't', sizeof(target));
		target[lens[i]] = 0;
		OK(symlink(target, "sym"));
		CHECK_EQ(readlink("sym", buf, sizeof(buf)), lens[i]);
		CHECK(!memcmp(buf, target, (size_t)lens[i]));
		CHECK_EQ(stat_of("sym").st_size, lens[i]);
		CHECK_EQ(readlink("sym", buf, 1), 1);
		OK(unlink("sym"));
	}
	make_file("plain", "p");
	FAILS(readlink("plain", buf, sizeof(buf)), EINVAL);
	OK(symlink("../links.d/plain", "rel"));
	check_text("rel", "p");
	OK(symlink("loop2", "loop1"));
	OK(symlink("loop1", "loop2"));
	FAILS(open("loop1", O_RDONLY), ELOOP);
	FAILS(symlink("x", "plain"), EEXIST);
	OK(unlink("rel"));
	check_text("plain", "p");
}

static void directory_counts(void)
{
	char name[32];

	OK(mkdir("top", 0755));
	CHECK_EQ(stat_of("top").st_nlink, 2);
	for (int i = 0; i < 30; i++) {
		snprintf(name, sizeof(name), "top/%d", i);
		OK(mkdir(name, 0755));
		CHECK_EQ(stat_of("top").st_nlink, i + 3);
		CHECK_EQ(stat_of(name).st_nlink, 2);
	}
	make_file("top/file", "");
	CHECK_EQ(stat_of("top").st_nlink, 32);
	FAILS(rmdir("top"), ENOTEMPTY);
	FAILS(rmdir("top/file"), ENOTDIR);
	FAILS(unlink("top/0"), EISDIR);
	FAILS(rmdir("top/none"), ENOENT);
	FAILS(mkdir("top/0", 0755), EEXIST);
	FAILS(mkdir("top/file/x", 0755), ENOTDIR);
	OK(unlink("top/file"));
	for (int i = 0; i < 30; i++) {
		snprintf(name, sizeof(name), "top/%d", i);
		OK(rmdir(name));
		CHECK_EQ(stat_of("top").st_nlink, 31 - i);
	}
	OK(rmdir("top"));
}

int main(void)
{
	hard();
	symbolic();
	directory_counts();
	return 0;
}
