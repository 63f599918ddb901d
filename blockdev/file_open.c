/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening a file or block device, and what it can do. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "blockdev/file_internal.h"

int file_get_size(const struct file_dev *dev, uint64_t *ret_bytes)
{
	struct stat st;

	if (dev->is_block)
		return ioctl(dev->fd, BLKGETSIZE64, ret_bytes) < 0 ? -errno : 0;
	if (fstat(dev->fd, &st) < 0)
		return -errno;
	*ret_bytes = (uint64_t)st.st_size;
	return 0;
}

/* O_NONBLOCK so that a FIFO's name does not stop us; it has no effect on files and disks. */
static int open_fd(struct file_dev *dev, const char *path, char **ret_error)
{
	int flags = (dev->bdev.opts.readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK;
	struct stat st;
	const char *what;

	if (stat(path, &st) < 0)
		return bdev_fail(ret_error, -errno, "cannot open %s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
		what = S_ISDIR(st.st_mode) ? "is a directory" : "is not a file or block device";
		return bdev_fail(ret_error, -EINVAL,
			"%s %s; a device is a block device or a regular file", path, what);
	}
	dev->direct = true;
	dev->fd = open(path, flags | O_DIRECT);
	if (dev->fd < 0 && (errno == EINVAL || errno == EOPNOTSUPP)) {
		dev->direct = false;
		dev->fd = open(path, flags);
	}
	if (dev->fd < 0)
		return bdev_fail(ret_error, -errno, "cannot open %s%s: %s", path,
			dev->bdev.opts.readonly ? "" : " for writing", strerror(errno));
	return 0;
}

/* A number from the queue directory of a block device, or of the disk that it is a partition of. */
static uint64_t queue_number(dev_t rdev, const char *name)
{
	static const char *const dirs[] = { "queue", "../queue" };
	char path[128];
	uint64_t n = 0;
	FILE *f;

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s/%s", major(rdev), minor(rdev),
			dirs[i], name);
		f = fopen(path, "re");
		if (!f)
			continue;
		if (fscanf(f, "%" SCNu64, &n) != 1)
			n = 0;
		fclose(f);
		return n;
	}
	return 0;
}

static int block_geom(struct file_dev *dev, const struct stat *st)
{
	struct bdev_geom *geom = &dev->bdev.geom;
	unsigned int phys = 0;
	int ssz = 0, readonly = 0;

	if (ioctl(dev->fd, BLKSSZGET, &ssz) < 0)
		return -errno;
	geom->block_bytes = (uint32_t)ssz;
	if (ioctl(dev->fd, BLKPBSZGET, &phys) == 0)
		geom->phys_bytes = phys;
	if (ioctl(dev->fd, BLKROGET, &readonly) == 0 && readonly)
		geom->caps |= BDEV_READONLY;
	if (queue_number(st->st_rdev, "discard_max_bytes"))
		geom->caps |= BDEV_CAN_DISCARD;
	if (queue_number(st->st_rdev, "write_zeroes_max_bytes"))
		geom->caps |= BDEV_CHEAP_ZEROES;
	if (queue_number(st->st_rdev, "rotational"))
		geom->caps |= BDEV_ROTATIONAL;
	geom->caps |= BDEV_CAN_WRITE_ZEROES;
	return 0;
}

/* The file system says no word of what O_DIRECT must be aligned to: try. */
static int regular_geom(struct file_dev *dev, const struct stat *st)
{
	struct bdev_geom *geom = &dev->bdev.geom;
	void *buf;

	geom->block_bytes = 512;
	geom->phys_bytes = st->st_blksize >= 4096 ? 4096 : 512;
	if (dev->direct) {
		if (posix_memalign(&buf, 4096, 4096))
			return -ENOMEM;
		if (pread(dev->fd, buf, 512, 0) < 0 && errno == EINVAL)
			geom->block_bytes = 4096;
		free(buf);
	}
	/* Past the end and without changing the size it does nothing, if it can be done at all. */
	if (!dev->bdev.opts.readonly &&
		fallocate(dev->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			ALIGN_UP(st->st_size, 4096) + 4096, 4096) == 0)
		geom->caps |= BDEV_CAN_DISCARD | BDEV_CAN_WRITE_ZEROES | BDEV_CHEAP_ZEROES;
	return 0;
}

int file_open(struct bdev *bdev, const struct bdev_uri *uri, char **ret_error)
{
	struct file_dev *dev = to_file_dev(bdev);
	struct bdev_geom *geom = &bdev->geom;
	struct stat st;
	int err = open_fd(dev, uri->path, ret_error);

	if (err)
		return err;
	if (fstat(dev->fd, &st) < 0) {
		err = -errno;
		goto out_close;
	}
	dev->is_block = S_ISBLK(st.st_mode);
	*geom = (struct bdev_geom){
		.max_io_bytes = 1 << 20,
		.max_zero_bytes = 256 << 20, /* what the helper thread may be busy with at a time */
		.caps = BDEV_CAN_FLUSH | BDEV_CAN_FUA | BDEV_GLOBAL_FLUSH,
	};
	err = dev->is_block ? block_geom(dev, &st) : regular_geom(dev, &st);
	if (!err)
		err = file_get_size(dev, &geom->size_bytes);
	if (err)
		goto out_close;
	geom->mem_align = dev->direct ? geom->block_bytes : 1;
	pthread_mutex_init(&dev->lock, NULL);
	pthread_cond_init(&dev->more, NULL);
	list_init(&dev->jobs);
	return 0;
out_close:
	close(dev->fd);
	return bdev_fail(ret_error, err, "cannot ask %s for its size: %s", uri->path, err_str(err));
}
