/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/image_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define HOLDER "user.csvvm.holder" /* "HOST PROCESS SECONDS", seconds since 1970 */

#define DOES 100
#define EXCLUDES 200

#define PERM_READ (1u << 0)
#define PERM_WRITE (1u << 1)
#define PERM_RESIZE (1u << 3)

static int hold(int fd, int base, unsigned int perms)
{
	for (int i = 0; i < 4; i++) {
		struct flock lock = {
			.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = base + i, .l_len = 1
		};

		if (perms & 1u << i && fcntl(fd, F_OFD_SETLK, &lock) < 0)
			return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
	}
	return 0;
}

/* -EBUSY if another one holds any of them. */
static int probe(int fd, int base, unsigned int perms)
{
	for (int i = 0; i < 4; i++) {
		struct flock lock = {
			.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = base + i, .l_len = 1
		};

		if (!(perms & 1u << i))
			continue;
		if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
			return -errno;
		if (lock.l_type != F_UNLCK)
			return -EBUSY;
	}
	return 0;
}

int vmm_image_lock(int fd, bool write)
{
	unsigned int does = PERM_READ | (write ? PERM_WRITE : 0);
	unsigned int excludes = PERM_WRITE | PERM_RESIZE;
	int err;

	/* first held, then looked: of two that begin at once both may fail, never neither */
	err = hold(fd, DOES, does);
	if (!err)
		err = hold(fd, EXCLUDES, excludes);
	if (!err)
		err = probe(fd, EXCLUDES, does);
	return err ? err : probe(fd, DOES, excludes);
}

void vmm_image_lock_note(int fd)
{
	char host[65] = "", text[128];

	if (gethostname(host, sizeof(host) - 1) < 0)
		return;
	snprintf(text, sizeof(text), "%s %d %lld", host, (int)getpid(), (long long)time(NULL));
	(void)fsetxattr(fd, HOLDER, text, strlen(text), 0);
}

void vmm_image_lock_forget(int fd)
{
	(void)fremovexattr(fd, HOLDER);
}

char *vmm_image_lock_holder(int fd)
{
	char text[128], host[65], when[32], *holder = NULL;
	ssize_t len = fgetxattr(fd, HOLDER, text, sizeof(text) - 1);
	long long seconds;
	struct tm tm;
	time_t t;
	int pid;

	if (len < 0)
		return NULL;
	text[len] = '\0';
	/* anybody may have written it who may write the image */
	if (sscanf(text, "%64[a-zA-Z0-9._-] %d %lld", host, &pid, &seconds) != 3)
		return NULL;
	t = (time_t)seconds;
	if (!localtime_r(&t, &tm) || strftime(when, sizeof(when), "%F %T", &tm) == 0 ||
		asprintf(&holder, "csvvm on %s, process %d, took it on %s", host, pid, when) < 0)
		return NULL;
	return holder;
}
