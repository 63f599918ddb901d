/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/image_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

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
