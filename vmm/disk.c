/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blockdev/bdev.h"
#include "util/err.h"
#include "vmm/image_lock.h"

static int lock(struct vmm_disk *disk, const char *path, char **ret_error)
{
	const char *hint = "another virtual machine or program uses it, on this host or another";
	int err;

	disk->lock_fd = open(path, (disk->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	err = disk->lock_fd < 0 ? -errno : vmm_image_lock(disk->lock_fd, !disk->readonly);
	if (err && asprintf(ret_error, "cannot lock %s: %s", path,
			   err == -EBUSY ? hint : err_str(err)) < 0)
		*ret_error = NULL;
	return err;
}

int vmm_disk_open(const char *path, bool readonly, struct vmm_disk *ret_disk, char **ret_error)
{
	struct bdev_opts opts = { .readonly = readonly };
	struct vmm_disk disk = { .readonly = readonly, .lock_fd = -1 };
	char *uri = NULL;
	struct stat st;
	int err = 0;

	*ret_error = NULL;
	if (stat(path, &st) == 0 || strchr(path, ':') == NULL) {
		if (asprintf(&uri, "file:%s", path) < 0)
			return -ENOMEM;
		if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
			err = lock(&disk, path, ret_error);
	}
	if (!err)
		err = bdev_open(uri ? uri : path, &opts, &disk.bdev, ret_error);
	free(uri);
	if (err) {
		vmm_disk_close(&disk);
		return err;
	}
	disk.name = bdev_name(disk.bdev);
	disk.readonly = readonly || bdev_geom(disk.bdev).caps & BDEV_READONLY;
	*ret_disk = disk;
	return 0;
}

void vmm_disk_close(struct vmm_disk *disk)
{
	bdev_close(disk->bdev);
	if (disk->lock_fd >= 0)
		close(disk->lock_fd);
}
