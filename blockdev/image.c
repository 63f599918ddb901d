/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the image formats share: finding out, making, extents. See image.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blockdev/bdev_internal.h"
#include "blockdev/image_internal.h"

const char *const image_names[IMAGE_NR_FORMATS] = {
	[IMAGE_RAW] = "raw",
	[IMAGE_VHD] = "vhd",
	[IMAGE_VHDX] = "vhdx",
};

int image_with_queue(struct bdev *bdev, int (*fn)(struct bdev_queue *queue, void *arg), void *arg)
{
	struct bdev_queue *queue;
	struct loop *loop;
	int err = loop_new(&loop);

	if (err)
		return err;
	err = bdev_queue_open(bdev, loop, &queue);
	if (!err) {
		err = fn(queue, arg);
		bdev_queue_close(queue);
		/* The counters begin with who uses the disk. */
		for (struct bdev *b = bdev; b; b = b->lower)
			memset(&b->closed, 0, sizeof(b->closed));
	}
	loop_free(loop);
	return err;
}

static int probe(struct bdev_queue *queue, void *arg)
{
	struct bdev_geom geom = bdev_geom(bdev_queue_bdev(queue));
	enum image_format *format = arg;
	uint8_t buf[4096];
	int err;

	*format = IMAGE_RAW;
	if (geom.size_bytes < geom.block_bytes)
		return 0;
	/* The end first: the first sector of a fixed VHD is its guest's. */
	err = bdev_pread(queue, buf, geom.block_bytes, geom.size_bytes - geom.block_bytes);
	if (err)
		return err;
	if (memcmp(buf + geom.block_bytes - 512, "conectix", 8) == 0) {
		*format = IMAGE_VHD;
		return 0;
	}
	err = bdev_pread(queue, buf, geom.block_bytes, 0);
	if (err)
		return err;
	if (memcmp(buf, "vhdxfile", 8) == 0)
		*format = IMAGE_VHDX;
	else if (memcmp(buf, "conectix", 8) == 0)
		*format = IMAGE_VHD;
	return 0;
}

int image_probe(const char *uri, enum image_format *ret_format, char **ret_error)
{
	struct bdev_opts opts = { .readonly = true };
	struct bdev *bdev;
	int err = bdev_open(uri, &opts, &bdev, ret_error);

	if (err)
		return err;
	err = image_with_queue(bdev, probe, ret_format);
	if (err)
		bdev_fail(ret_error, err, "cannot read %s: %s", bdev_name(bdev), err_str(err));
	bdev_close(bdev);
	return err;
}

void image_info(const struct bdev *bdev, struct image_info *ret_info)
{
	struct bdev_geom geom = bdev_geom(bdev);

	*ret_info = (struct image_info){ .format = IMAGE_RAW, .fixed = true,
		.size_bytes = geom.size_bytes, .sector_bytes = geom.block_bytes };
	if (bdev->ops == &bdev_vhd_ops)
		vhd_info(bdev, ret_info);
	else if (bdev->ops == &bdev_vhdx_ops)
		vhdx_info(bdev, ret_info);
}

int image_check_size(const struct image_info *spec, uint32_t unit, uint64_t max, char **ret_error)
{
	if (spec->size_bytes == 0 || spec->size_bytes % unit)
		return bdev_fail(ret_error, -EINVAL, "the size of a %s must be a multiple of %u bytes",
			image_names[spec->format], unit);
	if (spec->size_bytes > max)
		return bdev_fail(ret_error, -EINVAL, "a %s is at most %llu GiB large",
			image_names[spec->format], (unsigned long long)(max >> 30));
	return 0;
}

int image_make(struct bdev *bdev, const struct image_info *spec, char **ret_error)
{
	if (spec->format == IMAGE_VHD)
		return vhd_make(bdev, spec, ret_error);
	if (spec->format == IMAGE_VHDX)
		return vhdx_make(bdev, spec, ret_error);
	if (spec->format == IMAGE_RAW)
		return bdev_grow(bdev, spec->size_bytes);
	return -EINVAL;
}

void bdev_extent(struct bdev *bdev, uint64_t off_bytes, uint64_t *ret_len, bool *ret_zero)
{
	uint64_t size = atomic_load(&bdev->size_bytes);

	assert(off_bytes < size);
	*ret_len = size - off_bytes;
	*ret_zero = false;
	if (bdev->ops->extent)
		bdev->ops->extent(bdev, off_bytes, ret_len, ret_zero);
	assert(*ret_len > 0 && *ret_len <= size - off_bytes);
}
