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
#include "util/list.h"
#include "util/log.h"
#include "util/loop.h"
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

int vmm_disk_grow(struct vmm_disk *disk, uint64_t size_bytes, char **ret_error)
{
	struct bdev_geom geom = bdev_geom(disk->bdev);
	const char *why = NULL;
	struct stat st;
	int err = -EINVAL;

	if (disk->lock_fd < 0 || disk->readonly || fstat(disk->lock_fd, &st) < 0)
		why = "only a raw image in a file that may be written can be made larger here";
	else if (size_bytes % geom.block_bytes != 0)
		why = "a size is of whole blocks";
	else if (size_bytes < (uint64_t)st.st_size)
		why = "it is larger than that, and disks do not shrink";
	else if (ftruncate(disk->lock_fd, (off_t)size_bytes) < 0)
		why = err_str(err = -errno);
	if (!why)
		return 0;
	if (asprintf(ret_error, "%s: %s", disk->name, why) < 0)
		*ret_error = NULL;
	return err;
}

struct vmm_disk_measuring {
	struct bdev_req req;
	struct bdev_queue *queue;
	struct loop *loop;
	struct loop_work work;
	struct vmm_disk *disk;
	int err;
	void (*done)(void *arg, int err); /* NULL: nobody wants to know any more */
	void *arg;
};

static void measured(struct loop_work *work)
{
	struct vmm_disk_measuring *m = container_of(work, struct vmm_disk_measuring, work);

	bdev_queue_close(m->queue);
	m->disk->measuring = NULL;
	if (m->done)
		m->done(m->arg, m->err);
	free(m);
}

/* The queue cannot be closed from within. */
static void measure_done(struct bdev_req *req, int status)
{
	struct vmm_disk_measuring *m = req->arg;

	m->err = status;
	loop_defer(m->loop, &m->work);
}

int vmm_disk_measure(
	struct vmm_disk *disk, struct loop *loop, void (*done)(void *arg, int err), void *arg)
{
	struct vmm_disk_measuring *m = calloc(1, sizeof(*m));
	int err;

	if (!m)
		return -ENOMEM;
	m->req = (struct bdev_req){ .op = BDEV_MEASURE, .done = measure_done, .arg = m };
	m->loop = loop;
	m->work.fn = measured;
	m->disk = disk;
	m->done = done;
	m->arg = arg;
	err = bdev_queue_open(disk->bdev, loop, &m->queue);
	if (!err)
		err = bdev_submit(m->queue, &m->req);
	if (err) {
		bdev_queue_close(m->queue);
		free(m);
		return err;
	}
	disk->measuring = m;
	return 0;
}

void vmm_disk_close(struct vmm_disk *disk)
{
	if (disk->measuring)
		disk->measuring->done = NULL;
	while (disk->measuring)
		loop_run_once(disk->measuring->loop, true);
	bdev_close(disk->bdev);
	if (disk->lock_fd >= 0 && disk->noted)
		vmm_image_lock_forget(disk->lock_fd);
	if (disk->lock_fd >= 0)
		close(disk->lock_fd);
}
