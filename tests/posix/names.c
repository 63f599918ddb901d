/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names: 255 bytes and no more, of any bytes but '/' and NUL, told apart byte by byte. */
#include <dirent.h>

#include "tests/posix/posix.h"

static void long_names(void)
{
	char name[300];

	memset(name, 'n', sizeof(name));
	name[255] = 0;
	make_file(name, "255");
	check_text(name, "255");
	FAILS(mkdir(name, 0755), EEXIST);
	OK(unlink(name));
	OK(mkdir(name, 0755));
	OK(rename(name, "short"));
	OK(rename("short", name));
	OK(rmdir(name));
	OK(symlink("x", name));
	OK(unlink(name));
	make_file("f", "");
	OK(link("f", name));
	OK(unlink(name));

	name[255] = 'n';
	name[256] = 0;
	FAILS(open(name, O_CREAT | O_RDWR, 0644), ENAMETOOLONG);
	FAILS(open(name, O_RDONLY), ENAMETOOLONG);
	FAILS(mkdir(name, 0755), ENAMETOOLONG);
	FAILS(rmdir(name), ENAMETOOLONG);
	FAILS(unlink(name), ENAMETOOLONG);
	FAILS(symlink("x", name), ENAMETOOLONG);
	FAILS(link("f", name), ENAMETOOLONG);
	FAILS(rename("f", name), ENAMETOOLONG);
	FAILS(rename(name, "f"), ENAMETOOLONG);
	FAILS(access(name, F_OK), ENAMETOOLONG);
	OK(unlink("f"));
}

static void odd_bytes(void)
{
	char name[3] = "";
	int seen[256] = { 0 }, nr = 0;

	OK(mkdir("odd", 0755));
	OK(chdir("odd"));
	for (int c = 1; c < 256; c++) {
		name[0] = 'x';
		name[1] = (char)c;
		if (c != '/')
			make_file(name, name);
	}
	DIR *dir = opendir(".");
	struct dirent *e;
	CHECK(dir);
	while ((e = readdir(dir))) {
		if (e->d_name[0] != 'x')
			continue;
		CHECK_EQ(strlen(e->d_name), 2);
		int c = (unsigned char)e->d_name[1];
		CHECK(!seen[c]);
		seen[c] = 1;
		nr++;
		check_text(e->d_name, e->d_name);
		OK(unlink(e->d_name));
	}
	closedir(dir);
	CHECK_EQ(nr, 254);
	OK(chdir(".."));
	OK(rmdir("odd"));
}

static void dotted(void)
{
	make_file("...", "three");
	make_file("..a", "a");
	make_file("A", "upper");
	make_file("a", "lower"); /* no folding of case */
	check_text("A", "upper");
	check_text("...", "three");
	check_text("..a", "a");
	FAILS(mkdir(".", 0755), EEXIST);
	FAILS(mkdir("..", 0755), EEXIST);
	FAILS(rmdir("."), EINVAL);
	FAILS(unlink(".."), EISDIR);
	FAILS(open("", O_RDONLY), ENOENT);
}

int main(void)
{
	long_names();
	odd_bytes();
	dotted();
	return 0;
}
