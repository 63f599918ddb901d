/* SPDX-License-Identifier: GPL-2.0-or-later */
/* renameat2(2): RENAME_NOREPLACE and RENAME_EXCHANGE. */
#include "tests/posix/posix.h"

static int ren(const char *a, const char *b, unsigned flags)
{
	return renameat2(AT_FDCWD, a, AT_FDCWD, b, flags);
}

static void noreplace(void)
{
	make_file("a", "A");
	make_file("b", "B");
	OK(mkdir("d", 0755));
	FAILS(ren("a", "b", RENAME_NOREPLACE), EEXIST);
	FAILS(ren("a", "d", RENAME_NOREPLACE), EEXIST);
	FAILS(ren("d", "a", RENAME_NOREPLACE), EEXIST);
	FAILS(ren("none", "x", RENAME_NOREPLACE), ENOENT);
	check_text("a", "A");
	check_text("b", "B");
	OK(ren("a", "x", RENAME_NOREPLACE));
	check_text("x", "A");
	OK(ren("d", "e", RENAME_NOREPLACE));
	OK(ren("x", "a", 0));
	OK(ren("e", "d", 0));
}

static void exchange(void)
{
	uint64_t a = stat_of("a").st_ino, b = stat_of("b").st_ino, d = stat_of("d").st_ino;

	OK(ren("a", "b", RENAME_EXCHANGE));
	CHECK_EQ(stat_of("a").st_ino, b);
	CHECK_EQ(stat_of("b").st_ino, a);
	CHECK_EQ(stat_of("a").st_nlink, 1);
	OK(ren("a", "b", RENAME_EXCHANGE));
	FAILS(ren("a", "none", RENAME_EXCHANGE), ENOENT);
	FAILS(ren("none", "a", RENAME_EXCHANGE), ENOENT);
	FAILS(ren("a", "b", RENAME_EXCHANGE | RENAME_NOREPLACE), EINVAL);
	FAILS(ren("a", "b", 1u << 20), EINVAL);
	/* a file for a directory, across directories: link counts and ".." follow */
	OK(mkdir("p", 0755));
	make_file("p/f", "F");
	uint64_t f = stat_of("p/f").st_ino;
	unsigned here = (unsigned)stat_of(".").st_nlink;
	OK(ren("d", "p/f", RENAME_EXCHANGE));
	CHECK_EQ(stat_of("p/f").st_ino, d);
	CHECK_EQ(stat_of("d").st_ino, f);
	CHECK_EQ(stat_of("p").st_nlink, 3);
	CHECK_EQ(stat_of(".").st_nlink, here - 1);
	CHECK_EQ(stat_of("p/f/..").st_ino, stat_of("p").st_ino);
	OK(ren("d", "p/f", RENAME_EXCHANGE));
	CHECK_EQ(stat_of("p").st_nlink, 2);
	CHECK_EQ(stat_of(".").st_nlink, here);
}

/* Full directories are exchanged; neither goes below itself. */
static void trees(void)
{
	OK(mkdir("q", 0755));
	OK(mkdir("q/in", 0755));
	make_file("q/in/x", "X");
	FAILS(ren("q", "q/in", RENAME_EXCHANGE), EINVAL);
	FAILS(ren("q/in", "q", RENAME_EXCHANGE), EINVAL);
	OK(ren("q/in", "p", RENAME_EXCHANGE));
	check_text("p/x", "X");
	check_text("q/in/f", "F");
	CHECK_EQ(stat_of("q").st_nlink, 3);
	CHECK_EQ(stat_of("q/in/..").st_ino, stat_of("q").st_ino);
	CHECK_EQ(stat_of("p/..").st_ino, stat_of(".").st_ino);
}

int main(void)
{
	noreplace();
	exchange();
	trees();
	return 0;
}
