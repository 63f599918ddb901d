/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Listing 5,000 entries: each once, also while others come and go; "." and ".." are who they are. */
#include <dirent.h>

#include "tests/posix/posix.h"

#define NR 5000

static unsigned char seen[NR];

static void name_of(char *name, int i)
{
	sprintf(name, "entry-%d-with-a-longer-name", i);
}

/* Lists; after each `step` entries, calls change. Counts what was there from begin to end. */
static int list(DIR *dir, int step, void (*change)(int round))
{
	struct dirent *e;
	int nr = 0, i, round = 0;

	memset(seen, 0, sizeof(seen));
	rewinddir(dir);
	errno = 0;
	while ((e = readdir(dir))) {
		if (sscanf(e->d_name, "entry-%d-", &i) == 1) {
			CHECK(i >= 0 && i < NR);
			if (seen[i])
				FAIL("%s was listed twice", e->d_name);
			seen[i] = 1;
			nr++;
		}
		if (step && nr % step == 0)
			change(round++);
	}
	CHECK_EQ(errno, 0);
	return nr;
}

static void come_and_go(int round)
{
	char name[64];

	sprintf(name, "new-%d", round);
	make_file(name, "");
	if (round) {
		sprintf(name, "new-%d", round - 1);
		OK(unlink(name));
	}
	name_of(name, round); /* of the first fifty */
	if (round < 50 && unlink(name))
		CHECK_EQ(errno, ENOENT);
}

static void dots(void)
{
	struct dirent *e;
	int nr = 0;

	OK(mkdir("top", 0755));
	OK(mkdir("top/sub", 0755));
	DIR *dir = opendir("top/sub");
	CHECK(dir);
	while ((e = readdir(dir))) {
		nr++;
		if (!strcmp(e->d_name, "."))
			CHECK_EQ(e->d_ino, stat_of("top/sub").st_ino);
		else if (!strcmp(e->d_name, ".."))
			CHECK_EQ(e->d_ino, stat_of("top").st_ino);
		else
			FAIL("an empty directory lists %s", e->d_name);
		CHECK_EQ(e->d_type, DT_DIR);
	}
	CHECK_EQ(nr, 2);
	closedir(dir);
	CHECK_EQ(stat_of("top/sub/..").st_ino, stat_of("top").st_ino);
	CHECK_EQ(stat_of("top/sub/.").st_ino, stat_of("top/sub").st_ino);
}

static void kinds(void)
{
	struct dirent *e;
	int nr = 0;

	OK(mkdir("kinds", 0755));
	OK(chdir("kinds"));
	make_file("r", "");
	OK(mkdir("d", 0755));
	OK(symlink("r", "l"));
	OK(mkfifo("p", 0600));
	DIR *dir = opendir(".");
	CHECK(dir);
	while ((e = readdir(dir))) {
		if (e->d_name[0] == '.')
			continue;
		nr++;
		CHECK_EQ(DTTOIF(e->d_type), stat_of(e->d_name).st_mode & S_IFMT);
		CHECK_EQ(e->d_ino, stat_of(e->d_name).st_ino);
	}
	CHECK_EQ(nr, 4);
	closedir(dir);
	OK(chdir(".."));
}

int main(void)
{
	char name[64];

	dots();
	kinds();
	OK(mkdir("many", 0755));
	OK(chdir("many"));
	for (int i = 0; i < NR; i++) {
		name_of(name, i);
		OK(mknod(name, S_IFREG | 0644, 0));
	}
	DIR *dir = opendir("."), *slow = opendir(".");
	CHECK(dir && slow);
	CHECK_EQ(list(dir, 0, NULL), NR);
	CHECK(readdir(slow)); /* goes on from there when everything else has changed */
	long pos = telldir(slow);
	CHECK(list(dir, 50, come_and_go) >= NR - 50);
	for (int i = 50; i < NR; i++)
		if (!seen[i])
			FAIL("entry %d was there all the time, but not listed", i);
	for (int i = 0; i < NR; i++) {
		name_of(name, i);
		if (i % 100 && unlink(name))
			CHECK_EQ(errno, ENOENT);
	}
	seekdir(slow, pos);
	int nr = 0;
	while (readdir(slow))
		nr++;
	CHECK(nr >= NR / 100 - 1);
	closedir(slow);
	CHECK(list(dir, 0, NULL) <= NR / 100);
	closedir(dir);
	return 0;
}
