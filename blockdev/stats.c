/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The filter `stats` passes everything on; the common code counts at each level of a stack. */
#include "blockdev/bdev_internal.h"

struct stats_io {
	struct bdev_io io;
	struct bdev_req child;
};

static void stats_submit(struct bdev_queue *queue, struct bdev_io *io)
{
	bdev_filter_forward(io, &container_of(io, struct stats_io, io)->child, NULL);
}

static const struct bdev_ops stats_ops = {
	.name = "stats",
	.io_bytes = sizeof(struct stats_io),
	.submit = stats_submit,
};

int bdev_stats_new(struct bdev *lower, struct bdev **ret_bdev)
{
	return bdev_filter_new(&stats_ops, lower, ret_bdev);
}
