/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the image formats have for image.c, and it for them. */
#ifndef BLOCKDEV_IMAGE_INTERNAL_H
#define BLOCKDEV_IMAGE_INTERNAL_H

#include "blockdev/bdev_internal.h"
#include "blockdev/image.h"

extern const struct bdev_ops bdev_vhd_ops, bdev_vhdx_ops;

/* Calls fn with a queue of its own, for what is done before anybody has one, or after. Blocks. Errors
 * of the opening, or fn's. */
int image_with_queue(struct bdev *bdev, int (*fn)(struct bdev_queue *queue, void *arg), void *arg)
	__attribute__((warn_unused_result));

/* As image_info(), image_make(), for the one format. */
void vhd_info(const struct bdev *bdev, struct image_info *ret_info);
int vhd_make(struct bdev *bdev, const struct image_info *spec, char **ret_error);
void vhdx_info(const struct bdev *bdev, struct image_info *ret_info);
int vhdx_make(struct bdev *bdev, const struct image_info *spec, char **ret_error);

/* size_bytes must be a multiple of unit and at most max: -EINVAL with a sentence. */
int image_check_size(const struct image_info *spec, uint32_t unit, uint64_t max, char **ret_error);

#endif
