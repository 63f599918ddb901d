/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Extended attributes through the kernel: name spaces, flags, sizes up to the limits, listings. */
#include <sys/wait.h>
#include <sys/xattr.h>

#include "tests/posix/posix.h"

static char value[65536], got[65536];

static void set_ok(const char *path, const char *name, size_t len)
{
	OK(lsetxattr(path, name, value, len, 0));
}

static void holds(const char *path, const char *name, size_t len)
{
	memset(got, 0, sizeof(got));
	CHECK_EQ(lgetxattr(path, name, NULL, 0), len);
	CHECK_EQ(lgetxattr(path, name, got, sizeof(got)), len);
	CHECK(!memcmp(value, got, len));
}

static int listed(const char *path, const char *name)
{
	ssize_t len = OK(llistxattr(path, got, sizeof(got)));

	CHECK_EQ(llistxattr(path, NULL, 0), len);
	for (char *p = got; p < got + len; p += strlen(p) + 1)
		if (!strcmp(p, name))
			return 1;
	return 0;
}

static void sizes(void)
{
	static const size_t lens[] = { 0, 1, 100, 1200, 1300, 4096, 10000, 65535, 65536, 5000, 3 };

	make_file("f", "text");
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		memset(value, 'a' + (int)i, sizeof(value));
		set_ok("f", "user.one", lens[i]);
		holds("f", "user.one", lens[i]);
	}
	FAILS(lgetxattr("f", "user.one", got, 2), ERANGE);
	FAILS(llistxattr("f", got, 3), ERANGE);
	check_text("f", "text");
	CHECK_EQ(stat_of("f").st_size, 4);
}

static void flags(void)
{
	FAILS(lsetxattr("f", "user.new", "v", 1, XATTR_REPLACE), ENODATA);
	OK(lsetxattr("f", "user.new", "v", 1, XATTR_CREATE));
	FAILS(lsetxattr("f", "user.new", "w", 1, XATTR_CREATE), EEXIST);
	OK(lsetxattr("f", "user.new", "", 0, XATTR_REPLACE));
	CHECK_EQ(lgetxattr("f", "user.new", got, sizeof(got)), 0);
	OK(lremovexattr("f", "user.new"));
	FAILS(lremovexattr("f", "user.new"), ENODATA);
	FAILS(lgetxattr("f", "user.new", got, sizeof(got)), ENODATA);
	FAILS(lsetxattr("f", "other.name", "v", 1, 0), EOPNOTSUPP);
	FAILS(lsetxattr("f", "system.name", "v", 1, 0), EOPNOTSUPP);
}

static void kinds(void)
{
	OK(mkdir("d", 0755));
	OK(symlink("f", "s"));
	OK(mkfifo("p", 0644));
	memset(value, 'k', 100);
	set_ok("d", "user.dir", 100);
	holds("d", "user.dir", 100);
	FAILS(lsetxattr("s", "user.link", "v", 1, 0), EPERM); /* xattr(7) */
	FAILS(lsetxattr("p", "user.fifo", "v", 1, 0), EPERM);
	set_ok("s", "trusted.link", 100);
	holds("s", "trusted.link", 100);
	set_ok("p", "security.fifo", 50);
	holds("p", "security.fifo", 50);
	FAILS(lgetxattr("f", "trusted.link", got, 100), ENODATA);
	struct stat before = stat_of("d");
	OK(lsetxattr("d", "user.dir", "x", 1, 0));
	struct stat after = stat_of("d");
	CHECK(after.st_mtim.tv_sec == before.st_mtim.tv_sec &&
		after.st_mtim.tv_nsec == before.st_mtim.tv_nsec);
	CHECK(after.st_ctim.tv_sec > before.st_ctim.tv_sec ||
		after.st_ctim.tv_nsec > before.st_ctim.tv_nsec);
}

static void many(void)
{
	char name[64];

	make_file("m", "");
	memset(value, 'm', sizeof(value));
	for (int i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "user.attribute number %d", i);
		set_ok("m", name, (size_t)i);
	}
	for (int i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "user.attribute number %d", i);
		CHECK(listed("m", name));
		holds("m", name, (size_t)i);
		if (i % 2)
			OK(lremovexattr("m", name));
	}
	CHECK(!listed("m", "user.attribute number 499"));
	CHECK(listed("m", "user.attribute number 498"));
	OK(link("m", "m2"));
	OK(rename("m", "m3"));
	CHECK(listed("m2", "user.attribute number 498"));
	OK(unlink("m2"));
	OK(unlink("m3"));
}

static void as_nobody(void)
{
	make_file("n", "");
	OK(chmod("n", 0644));
	set_ok("n", "trusted.secret", 5);
	set_ok("n", "user.open", 5);
	pid_t pid = (pid_t)OK(fork());
	if (!pid) {
		OK(setgid(65534));
		OK(setuid(65534));
		holds("n", "user.open", 5);
		CHECK(listed("n", "user.open"));
		CHECK(!listed("n", "trusted.secret"));
		FAILS(lgetxattr("n", "trusted.secret", got, 100), ENODATA);
		FAILS(lsetxattr("n", "user.open", "v", 1, 0), EACCES);
		FAILS(lsetxattr("n", "trusted.secret", "v", 1, 0), EPERM);
		exit(0);
	}
	int status;
	CHECK_EQ(OK(waitpid(pid, &status, 0)), pid);
	CHECK_EQ(status, 0);
	CHECK(listed("n", "trusted.secret"));
}

int main(void)
{
	sizes();
	flags();
	kinds();
	many();
	as_nobody();
	return 0;
}
