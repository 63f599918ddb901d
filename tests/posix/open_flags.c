/* SPDX-License-Identifier: GPL-2.0-or-later */
/* open(2): each flag does what it says, each refusal has its error. */
#include "tests/posix/posix.h"

static void creating(void)
{
	FAILS(open("none", O_RDONLY), ENOENT);
	FAILS(open("none/deeper", O_CREAT | O_RDWR, 0644), ENOENT);
	int fd = (int)OK(open("f", O_CREAT | O_EXCL | O_RDWR, 0640));
	CHECK_EQ(fstat_of(fd).st_mode, S_IFREG | 0640);
	CHECK_EQ(fstat_of(fd).st_nlink, 1);
	CHECK_EQ(fstat_of(fd).st_size, 0);
	FAILS(open("f", O_CREAT | O_EXCL | O_RDWR, 0600), EEXIST);
	uint64_t ino = fstat_of(fd).st_ino;
	OK(close(fd));
	fd = (int)OK(open("f", O_CREAT | O_RDWR, 0600)); /* there already: mode stays */
	CHECK_EQ(fstat_of(fd).st_mode, S_IFREG | 0640);
	CHECK_EQ(fstat_of(fd).st_ino, ino);
	OK(close(fd));
	umask(027);
	fd = (int)OK(open("masked", O_CREAT | O_RDWR, 0777));
	OK(close(fd));
	CHECK_EQ(stat_of("masked").st_mode, S_IFREG | 0750);
	umask(0);
	FAILS(open("f/below", O_CREAT | O_RDWR, 0644), ENOTDIR);
}

static void truncating(void)
{
	make_file("t", "some text");
	OK(close(open_ok("t", O_WRONLY)));
	CHECK_EQ(stat_of("t").st_size, 9);
	int other = open_ok("t", O_RDONLY);
	int fd = open_ok("t", O_WRONLY | O_TRUNC);
	CHECK_EQ(fstat_of(fd).st_size, 0);
	CHECK_EQ(fstat_of(other).st_size, 0);
	char c;
	CHECK_EQ(read(other, &c, 1), 0);
	CHECK_EQ(write(fd, "new", 3), 3);
	OK(close(fd));
	OK(close(other));
	check_text("t", "new");
	OK(close(open_ok("t", O_CREAT | O_TRUNC | O_RDWR)));
	CHECK_EQ(stat_of("t").st_size, 0);
	CHECK_EQ(stat_of("t").st_blocks, 0);
}

static void appending(void)
{
	make_file("a", "one");
	int fd = open_ok("a", O_WRONLY | O_APPEND), other = open_ok("a", O_RDWR);
	CHECK_EQ(write(fd, "two", 3), 3);
	CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
	CHECK_EQ(write(fd, "three", 5), 5); /* at the end all the same */
	CHECK_EQ(lseek(fd, 0, SEEK_CUR), 11);
	CHECK_EQ(pwrite(other, "ONE", 3, 0), 3);
	OK(ftruncate(other, 6));
	CHECK_EQ(write(fd, "4", 1), 1);
	check_text("a", "ONEtwo4");
	OK(fcntl(fd, F_SETFL, 0)); /* append can be dropped and taken later */
	CHECK_EQ(pwrite(fd, "_", 1, 0), 1);
	OK(fcntl(other, F_SETFL, O_APPEND));
	CHECK_EQ(write(other, "!", 1), 1);
	check_text("a", "_NEtwo4!");
	OK(close(fd));
	OK(close(other));
}

static void access_modes(void)
{
	char buf[8];

	make_file("m", "text");
	int r = open_ok("m", O_RDONLY), w = open_ok("m", O_WRONLY);
	FAILS(write(r, "x", 1), EBADF);
	FAILS(read(w, buf, 1), EBADF);
	FAILS(ftruncate(r, 0), EINVAL);
	OK(close(r));
	OK(close(w));
}

static void other_kinds(void)
{
	OK(mkdir("d", 0755));
	FAILS(open("d", O_WRONLY), EISDIR);
	FAILS(open("d", O_RDWR | O_CREAT, 0644), EISDIR);
	make_file("plain", "");
	FAILS(open("plain", O_RDONLY | O_DIRECTORY), ENOTDIR);
	OK(close(open_ok("d", O_RDONLY | O_DIRECTORY)));
	OK(symlink("plain", "link"));
	FAILS(open("link", O_RDONLY | O_NOFOLLOW), ELOOP);
	FAILS(open("link", O_CREAT | O_EXCL | O_RDWR, 0644), EEXIST);
	OK(symlink("made-through", "dangling"));
	OK(close(open_ok("dangling", O_CREAT | O_RDWR)));
	CHECK(!gone("made-through"));
	int fd = (int)OK(open("link", O_PATH | O_NOFOLLOW | O_CLOEXEC));
	CHECK(S_ISLNK(fstat_of(fd).st_mode));
	OK(close(fd));
}

static void direct(void)
{
	uint8_t *buf = aligned_alloc(4096, 8192);
	int fd = open_ok("direct", O_CREAT | O_RDWR | O_DIRECT);

	CHECK(buf);
	fill(buf, 8192, 1);
	CHECK_EQ(pwrite(fd, buf, 8192, 0), 8192);
	int plain = open_ok("direct", O_RDONLY);
	check_bytes(plain, buf, 8192, "written with O_DIRECT");
	OK(close(plain));
	OK(close(fd));
	free(buf);
}

int main(void)
{
	umask(0);
	creating();
	truncating();
	appending();
	access_modes();
	other_kinds();
	direct();
	return 0;
}
