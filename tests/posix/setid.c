/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Set-user-id, set-group-id and capabilities go when an unprivileged user writes, and with chown. */
#include <sys/wait.h>
#include <sys/xattr.h>

#include "tests/posix/posix.h"

#define NOBODY 65534

/* struct vfs_cap_data of revision 2: cap_net_raw+ep */
static const unsigned char caps[20] = { 1, 0, 0, 2, 0, 0x20 };

/* Runs fn as nobody. */
static void as_nobody(void (*fn)(void))
{
	pid_t pid = (pid_t)OK(fork());
	int status;

	if (!pid) {
		OK(setgid(NOBODY));
		OK(setuid(NOBODY));
		fn();
		exit(0);
	}
	CHECK_EQ(OK(waitpid(pid, &status, 0)), pid);
	CHECK_EQ(status, 0);
}

static int has_caps(void)
{
	return getxattr("f", "security.capability", NULL, 0) > 0;
}

/* A file of size bytes that anybody may write. */
static void make(size_t size, mode_t mode, int cap)
{
	static char text[100000];
	int fd = open_ok("f", O_CREAT | O_TRUNC | O_WRONLY);

	CHECK_EQ(write(fd, text, size), size);
	OK(close(fd));
	OK(chown("f", 0, 0));
	OK(chmod("f", mode));
	if (cap)
		OK(setxattr("f", "security.capability", caps, sizeof(caps), 0));
}

static void expect(mode_t mode, int cap)
{
	CHECK_EQ(stat_of("f").st_mode & 07777, mode);
	CHECK_EQ(has_caps(), cap);
}

static void overwrite(void)
{
	int fd = open_ok("f", O_WRONLY);

	CHECK_EQ(write(fd, "x", 1), 1);
	OK(close(fd));
}

static void append(void)
{
	int fd = open_ok("f", O_WRONLY | O_APPEND);

	CHECK_EQ(write(fd, "x", 1), 1);
	OK(close(fd));
}

static void whole_blocks(void)
{
	static char buf[65536];
	int fd = open_ok("f", O_WRONLY);

	CHECK_EQ(pwrite(fd, buf, sizeof(buf), 0), sizeof(buf));
	OK(close(fd));
}

static void cut(void)
{
	OK(truncate("f", 10));
}

static void allocate(void)
{
	int fd = open_ok("f", O_WRONLY);

	OK(fallocate(fd, 0, 0, 200000));
	OK(close(fd));
}

static void punch(void)
{
	int fd = open_ok("f", O_WRONLY);

	OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096));
	OK(close(fd));
}

static void zero(void)
{
	int fd = open_ok("f", O_WRONLY);

	OK(fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, 200000));
	OK(close(fd));
}

static void read_only(void)
{
	char buf[10];
	int fd = open_ok("f", O_RDONLY);

	OK(read(fd, buf, sizeof(buf)));
	OK(close(fd));
}

static int shared_fd;

static void write_shared(void)
{
	CHECK_EQ(pwrite(shared_fd, "x", 1, 0), 1);
}

int main(void)
{
	static void (*const writes[])(void) = { overwrite, append, whole_blocks, cut, allocate, punch,
		zero };
	static void (*const allocates[])(void) = { allocate, punch, zero };
	static const size_t sizes[] = { 20, 100000 };

	for (size_t s = 0; s < 2; s++) {
		for (size_t i = 0; i < sizeof(writes) / sizeof(writes[0]); i++) {
			make(sizes[s], 06777, 1);
			expect(06777, 1);
			as_nobody(read_only);
			expect(06777, 1);
			as_nobody(writes[i]);
			expect(0777, 0);
			make(sizes[s], 02766, 0); /* not a program of the group's */
			as_nobody(writes[i]);
			CHECK_EQ(stat_of("f").st_mode & 0777, 0766);
			/* who may set it does not lose it: writes of root */
			make(sizes[s], 06777, 0);
			writes[i]();
			expect(06777, 0);
		}
		/* fallocate takes set-group-id without the right to execute, too, but not from the group */
		for (size_t i = 0; i < sizeof(allocates) / sizeof(allocates[0]); i++) {
			make(sizes[s], 02666, 0);
			allocates[i]();
			expect(02666, 0);
			as_nobody(allocates[i]);
			expect(0666, 0);
			make(sizes[s], 02666, 0);
			OK(chown("f", 0, NOBODY));
			OK(chmod("f", 02666));
			as_nobody(allocates[i]);
			expect(02666, 0);
		}
		/* given while a writer is at work: the next write takes it away all the same */
		make(sizes[s], 0777, 0);
		shared_fd = open_ok("f", O_RDWR);
		as_nobody(write_shared);
		for (int i = 0; i < 3; i++) {
			OK(chmod("f", 04777));
			as_nobody(write_shared);
			expect(0777, 0);
			OK(setxattr("f", "security.capability", caps, sizeof(caps), 0));
			as_nobody(write_shared);
			expect(0777, 0);
		}
		OK(close(shared_fd));
	}
	make(20, 06777, 1);
	OK(chown("f", NOBODY, NOBODY));
	expect(0777, 0);
	make(20, 06777, 1);
	OK(chown("f", (uid_t)-1, NOBODY));
	expect(0777, 0);
	OK(mkdir("d", 06777)); /* a directory keeps its bits */
	OK(chmod("d", 06777));
	OK(chown("d", NOBODY, NOBODY));
	CHECK_EQ(stat_of("d").st_mode & 07777, 06777);
	return 0;
}
