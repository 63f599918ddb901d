/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/control_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/err.h"

#define BACKLOG 16

struct vmm_socket {
	int fd;
	struct sockaddr_un addr;
};

int vmm_socket_dir(char *buf, size_t room_bytes)
{
	const char *base = geteuid() == 0 ? "/run" : getenv("XDG_RUNTIME_DIR");

	if (!base || base[0] != '/')
		return -ENOENT;
	return (size_t)snprintf(buf, room_bytes, "%s/csvvm", base) < room_bytes ? 0 : -ENAMETOOLONG;
}

static int address(const char *dir, const char *name, struct sockaddr_un *ret_addr)
{
	ret_addr->sun_family = AF_UNIX;
	return (size_t)snprintf(ret_addr->sun_path, sizeof(ret_addr->sun_path), "%s/%s.sock", dir,
		       name) < sizeof(ret_addr->sun_path)
		       ? 0
		       : -ENAMETOOLONG;
}

/* The folder, locked against others who make or remove sockets in it; nobody else may write there. */
static int open_dir(const char *dir)
{
	struct stat st;
	int err, fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || flock(fd, LOCK_EX) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	if (st.st_uid != geteuid() || st.st_mode & 022) {
		close(fd);
		return -EPERM;
	}
	return fd;
}

static int connect_to(const struct sockaddr_un *addr, int flags)
{
	int err, fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0)
		return fd;
	err = -errno;
	close(fd);
	return err;
}

int vmm_socket_connect(const char *dir, const char *name)
{
	struct sockaddr_un addr;
	int fd = address(dir, name, &addr);

	if (fd == 0)
		fd = connect_to(&addr, SOCK_NONBLOCK);
	if (fd >= 0)
		fcntl(fd, F_SETFL, 0);
	return fd;
}

/* With the folder locked. 0: the name is free now, and nothing is there. */
static int take_away_stale(const struct sockaddr_un *addr)
{
	struct stat st;
	int fd;

	if (lstat(addr->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -ENOTSOCK;
	fd = connect_to(addr, SOCK_NONBLOCK);
	if (fd >= 0)
		close(fd);
	if (fd >= 0 || fd == -EAGAIN)
		return -EEXIST;
	if (fd != -ECONNREFUSED)
		return fd;
	return unlink(addr->sun_path) < 0 ? -errno : 0;
}

int vmm_socket_remove_stale(const char *dir, const char *name)
{
	struct sockaddr_un addr;
	int err = address(dir, name, &addr), dir_fd;

	if (err)
		return err;
	dir_fd = open_dir(dir);
	if (dir_fd < 0)
		return dir_fd;
	err = take_away_stale(&addr);
	close(dir_fd);
	return err;
}

static int listen_on(struct vmm_socket *sock)
{
	mode_t old = umask(0177);
	int err = 0;

	sock->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (sock->fd < 0 || bind(sock->fd, (struct sockaddr *)&sock->addr, sizeof(sock->addr)) < 0)
		err = -errno;
	else if (listen(sock->fd, BACKLOG) < 0) {
		err = -errno;
		unlink(sock->addr.sun_path);
	}
	umask(old);
	return err;
}

static int explain(char **ret_error, int err, const char *dir, const char *name)
{
	int n;

	if (err == -EEXIST)
		n = asprintf(ret_error, "a machine \"%s\" runs already; give this one another --name",
			name);
	else if (err == -EPERM)
		n = asprintf(ret_error,
			"%s: it must belong to you, and nobody else may write there; chmod it to "
			"0700, or choose another folder with --control", dir);
	else
		n = asprintf(ret_error, "control socket %s/%s.sock: %s", dir, name, err_str(err));
	if (n < 0)
		*ret_error = NULL;
	return err;
}

int vmm_socket_new(
	const char *dir, const char *name, struct vmm_socket **ret_socket, char **ret_error)
{
	struct vmm_socket *sock = calloc(1, sizeof(*sock));
	int err, dir_fd = -1;

	*ret_error = NULL;
	if (!sock)
		return -ENOMEM;
	sock->fd = -1;
	err = address(dir, name, &sock->addr);
	if (!err && mkdir(dir, 0700) < 0 && errno != EEXIST)
		err = -errno;
	if (!err) {
		dir_fd = open_dir(dir);
		err = dir_fd < 0 ? dir_fd : take_away_stale(&sock->addr);
	}
	if (!err)
		err = listen_on(sock);
	if (dir_fd >= 0)
		close(dir_fd);
	if (!err) {
		*ret_socket = sock;
		return 0;
	}
	if (sock->fd >= 0)
		close(sock->fd);
	free(sock);
	return explain(ret_error, err, dir, name);
}

int vmm_socket_fd(const struct vmm_socket *sock)
{
	return sock->fd;
}

void vmm_socket_free(struct vmm_socket *sock)
{
	/* while it listens nobody else takes the name, so this is ours */
	unlink(sock->addr.sun_path);
	close(sock->fd);
	free(sock);
}
