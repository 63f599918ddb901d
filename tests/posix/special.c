/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mknod(2): pipes, sockets and devices; a pipe carries bytes, a device number comes back. */
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "tests/posix/posix.h"

static void pipes(void)
{
	char buf[8] = "";

	OK(mkfifo("p", 0640));
	CHECK_EQ(stat_of("p").st_mode, S_IFIFO | 0640);
	pid_t pid = (pid_t)OK(fork());
	if (pid == 0) {
		int fd = open_ok("p", O_WRONLY);
		_exit(write(fd, "bytes", 5) != 5);
	}
	int fd = open_ok("p", O_RDONLY), status;
	CHECK_EQ(read(fd, buf, 5), 5);
	CHECK(!strcmp(buf, "bytes"));
	OK(waitpid(pid, &status, 0));
	CHECK_EQ(status, 0);
	OK(close(fd));
	FAILS(open("p", O_WRONLY | O_NONBLOCK), ENXIO);
}

static void sockets(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = "s" };
	int fd = (int)OK(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
	int peer = (int)OK(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));

	OK(bind(fd, (struct sockaddr *)&addr, sizeof(addr)));
	CHECK(S_ISSOCK(stat_of("s").st_mode));
	OK(listen(fd, 1));
	OK(connect(peer, (struct sockaddr *)&addr, sizeof(addr)));
	FAILS(open("s", O_RDWR), ENXIO);
	OK(close(peer));
	OK(close(fd));
}

static void device(const char *name, mode_t kind, unsigned major_nr, unsigned minor_nr)
{
	if (mknod(name, kind | 0600, makedev(major_nr, minor_nr))) {
		CHECK_EQ(errno, EPERM); /* without the capability */
		return;
	}
	struct stat st = stat_of(name);
	CHECK_EQ(st.st_mode, kind | 0600);
	CHECK_EQ(major(st.st_rdev), major_nr);
	CHECK_EQ(minor(st.st_rdev), minor_nr);
	CHECK_EQ(st.st_size, 0);
	OK(link(name, "again"));
	CHECK_EQ(stat_of("again").st_rdev, st.st_rdev);
	OK(unlink("again"));
}

int main(void)
{
	umask(0);
	pipes();
	sockets();
	device("null", S_IFCHR, 1, 3);
	device("disk", S_IFBLK, 7, 250);
	device("far", S_IFCHR, 4095, 1048575);
	OK(mknod("plain", S_IFREG | 0604, 0));
	CHECK_EQ(stat_of("plain").st_mode, S_IFREG | 0604);
	FAILS(mknod("plain", S_IFREG | 0600, 0), EEXIST);
	FAILS(truncate("p", 0), EINVAL);
	return 0;
}
