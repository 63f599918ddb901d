/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rename(2) in every shape: what moves, what it replaces, what it refuses. */
#include "tests/posix/posix.h"

static void files(void)
{
	make_file("a", "A");
	uint64_t ino = stat_of("a").st_ino;
	OK(rename("a", "b"));
	CHECK(gone("a"));
	CHECK_EQ(stat_of("b").st_ino, ino);
	check_text("b", "A");
	make_file("c", "C");
	int old = open_ok("c", O_RDWR);
	OK(rename("b", "c")); /* replaces; who has it open keeps it */
	check_text("c", "A");
	CHECK_EQ(fstat_of(old).st_nlink, 0);
	char ch;
	CHECK_EQ(pread(old, &ch, 1, 0), 1);
	CHECK_EQ(ch, 'C');
	OK(close(old));
	FAILS(rename("none", "c"), ENOENT);
	FAILS(rename("c", "none/c"), ENOENT);
	FAILS(rename("c/x", "d"), ENOTDIR);
	OK(rename("c", "c"));
	OK(link("c", "d"));
	OK(rename("c", "d")); /* two names of one file: nothing happens */
	CHECK_EQ(stat_of("c").st_nlink, 2);
	CHECK_EQ(stat_of("d").st_ino, stat_of("c").st_ino);
	OK(unlink("d"));
	OK(unlink("c"));
}

static void directories(void)
{
	OK(mkdir("p", 0755));
	OK(mkdir("q", 0755));
	OK(mkdir("p/sub", 0755));
	make_file("p/sub/f", "deep");
	uint64_t ino = stat_of("p/sub").st_ino;
	CHECK_EQ(stat_of("p").st_nlink, 3);
	CHECK_EQ(stat_of("q").st_nlink, 2);
	OK(rename("p/sub", "q/moved"));
	CHECK_EQ(stat_of("p").st_nlink, 2);
	CHECK_EQ(stat_of("q").st_nlink, 3);
	CHECK_EQ(stat_of("q/moved").st_ino, ino);
	CHECK_EQ(stat_of("q/moved/..").st_ino, stat_of("q").st_ino);
	check_text("q/moved/f", "deep");
	OK(mkdir("p/empty", 0755));
	OK(rename("q/moved", "p/empty")); /* an empty directory is replaced */
	check_text("p/empty/f", "deep");
	CHECK_EQ(stat_of("p").st_nlink, 3);
	CHECK_EQ(stat_of("q").st_nlink, 2);
	OK(mkdir("q/other", 0755));
	FAILS(rename("q/other", "p/empty"), ENOTEMPTY);
	make_file("file", "");
	FAILS(rename("q", "file"), ENOTDIR);
	FAILS(rename("file", "q/other"), EISDIR);
	OK(unlink("p/empty/f"));
	OK(rmdir("p/empty"));
	OK(rmdir("q/other"));
	OK(rmdir("q"));
	OK(rmdir("p"));
	OK(unlink("file"));
}

/* A directory is never put below itself. */
static void into_itself(void)
{
	OK(mkdir("1", 0755));
	OK(mkdir("1/2", 0755));
	OK(mkdir("1/2/3", 0755));
	FAILS(rename("1", "1/x"), EINVAL);
	FAILS(rename("1", "1/2/x"), EINVAL);
	FAILS(rename("1", "1/2/3/x"), EINVAL);
	FAILS(rename("1/2", "1/2/3/x"), EINVAL);
	FAILS(rename("1/2/3", "1"), ENOTEMPTY);
	FAILS(rename("1/2", "1"), ENOTEMPTY);
	FAILS(rename("1/.", "x"), EBUSY);
	FAILS(rename("1/2/..", "x"), EBUSY);
	OK(rename("1/2/3", "3"));
	OK(rename("1", "3/1")); /* now it may */
	CHECK_EQ(stat_of("3/1/2/../..").st_ino, stat_of("3").st_ino);
	OK(rmdir("3/1/2"));
	OK(rmdir("3/1"));
	OK(rmdir("3"));
}

/* Symlinks and devices are moved, not what they lead to. */
static void others(void)
{
	OK(symlink("target", "l"));
	OK(rename("l", "m"));
	char buf[16];
	CHECK_EQ(readlink("m", buf, sizeof(buf)), 6);
	make_file("target", "T");
	make_file("f", "F");
	OK(rename("f", "m"));
	check_text("target", "T");
	check_text("m", "F");
	OK(mkfifo("pipe", 0600));
	OK(rename("pipe", "m"));
	CHECK(S_ISFIFO(stat_of("m").st_mode));
	OK(unlink("m"));
	OK(unlink("target"));
}

/* A name is there at each moment, while another takes it over and over. */
static void never_absent(void)
{
	make_file("cur", "0");
	for (int i = 0; i < 200; i++) {
		make_file("next", i % 2 ? "odd" : "even");
		int fd = open_ok("cur", O_RDONLY);
		OK(rename("next", "cur"));
		CHECK_EQ(fstat_of(fd).st_nlink, 0);
		OK(close(fd));
	}
	check_text("cur", "odd");
	CHECK(gone("next"));
}

int main(void)
{
	files();
	directories();
	into_itself();
	others();
	never_absent();
	return 0;
}
