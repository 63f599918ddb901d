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
#include "util/checked.h"
#include "util/err.h"
#include "util/log.h"
#include "vmm/image_lock.h"
#include "vmm/worker.h"

static int lock(struct vmm_disk *disk, const char *path, char **ret_error)
{
	char *holder = NULL;
	int err;

	disk->lock_fd = open(path, (disk->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	err = disk->lock_fd < 0 ? -errno : vmm_image_lock(disk->lock_fd, !disk->readonly);
	if (!err) {
		/* readers share it, and may not even write a note */
		disk->noted = !disk->readonly;
		if (disk->noted)
			vmm_image_lock_note(disk->lock_fd);
		return 0;
	}
	if (err == -EBUSY)
		holder = vmm_image_lock_holder(disk->lock_fd);
	if (asprintf(ret_error, "cannot lock %s: %s%s%s", path,
		    err == -EBUSY ? "another virtual machine or program uses it, on this host or another"
				  : err_str(err),
		    holder ? "; " : "", holder ? holder : "") < 0)
		*ret_error = NULL;
	free(holder);
	/* what is not ours is not to be forgotten */
	if (disk->lock_fd >= 0)
		close(disk->lock_fd);
	disk->lock_fd = -1;
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

static const char *name_of(enum bdev_op op)
{
	static const char *const names[] = { [BDEV_READ] = "read",
		[BDEV_WRITE] = "write",
		[BDEV_FLUSH] = "flush",
		[BDEV_DISCARD] = "discard",
		[BDEV_WRITE_ZEROES] = "zeroes" };

	return op < ARRAY_SIZE(names) ? names[op] : "request";
}

bool vmm_disk_hold(struct vmm_disk *disk, struct vmm_worker *worker, struct vmm_held *held,
	const struct bdev_req *req, int err)
{
	struct vmm_disk_failure failure = { .off_bytes = req->off_bytes, .err = err };

	log_error("%s: %s of %llu bytes at %llu failed: %s", disk->name, name_of(req->op),
		(unsigned long long)req->len_bytes, (unsigned long long)req->off_bytes, err_str(err));
	if (disk->on_error != VMM_ON_ERROR_PAUSE || !disk->failed || !vmm_worker_hold(worker, held))
		return false;
	snprintf(failure.disk, sizeof(failure.disk), "%s", disk->name);
	snprintf(failure.request, sizeof(failure.request), "%s", name_of(req->op));
	disk->failed(disk->failed_arg, &failure);
	return true;
}

void vmm_disk_close(struct vmm_disk *disk)
{
	bdev_close(disk->bdev);
	if (disk->lock_fd >= 0 && disk->noted)
		vmm_image_lock_forget(disk->lock_fd);
	if (disk->lock_fd >= 0)
		close(disk->lock_fd);
}
