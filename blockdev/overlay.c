/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The filter `overlay` keeps what is written in memory; the lower device is only read. So something
 * can be tried out, also on a device that was opened read-only.
 *
 * What is kept lies in units of 4 KiB, of which each sector may be there or not: devices have blocks
 * of 512 bytes, too.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blockdev/bdev_internal.h"
#include "util/htab.h"

#define UNIT 4096u
#define SECTOR 512u

struct overlay {
	struct bdev bdev;
	pthread_mutex_t lock; /* units */
	struct htab units;    /* by number */
};

struct unit {
	struct htab_node node;
	uint8_t present; /* bit n: sector n was written */
	uint8_t data[UNIT];
};

struct overlay_io {
	struct bdev_io io;
	struct bdev_req child;
	uint8_t *buf; /* what was read */
	struct iovec iov;
};

static struct overlay *to_overlay(const struct bdev *bdev)
{
	return container_of(bdev, struct overlay, bdev);
}

static struct unit *find(struct overlay *o, uint64_t nr)
{
	struct htab_node *node = htab_find(&o->units, nr);

	return node ? container_of(node, struct unit, node) : NULL;
}

/* ---- reads: the device's bytes, and over them what was written ---- */

static void read_done(struct bdev_req *child, int status)
{
	struct bdev_io *io = child->arg;
	struct overlay_io *oio = container_of(io, struct overlay_io, io);
	struct overlay *o = to_overlay(io->queue->bdev);

	pthread_mutex_lock(&o->lock);
	for (uint64_t at = 0; at < io->len_bytes && !status; at += SECTOR) {
		uint64_t off = io->off_bytes + at, in = off % UNIT;
		const struct unit *unit = find(o, off / UNIT);

		if (unit && unit->present & 1u << in / SECTOR)
			memcpy(oio->buf + at, unit->data + in, SECTOR);
	}
	pthread_mutex_unlock(&o->lock);
	if (!status)
		bdev_iov_from_buf(io->iov, io->nr_iov, oio->buf, io->len_bytes);
	free(oio->buf);
	bdev_io_complete(io, status);
}

static void start_read(struct bdev_queue *queue, struct bdev_io *io)
{
	struct overlay_io *oio = container_of(io, struct overlay_io, io);
	int err;

	oio->buf = aligned_alloc(UNIT, DIV_ROUND_UP(io->len_bytes, UNIT) * UNIT);
	if (!oio->buf) {
		bdev_io_complete(io, -ENOMEM);
		return;
	}
	oio->iov = (struct iovec){ oio->buf, io->len_bytes };
	oio->child = (struct bdev_req){ .op = BDEV_READ, .off_bytes = io->off_bytes,
		.len_bytes = io->len_bytes, .iov = &oio->iov, .nr_iov = 1, .done = read_done,
		.arg = io };
	err = bdev_submit(queue->lower, &oio->child);
	if (err) {
		free(oio->buf);
		bdev_io_complete(io, err);
	}
}

/* ---- writes ---- */

/* data NULL: zeroes. */
static int put_sector(struct overlay *o, uint64_t off, const void *data)
{
	struct unit *unit = find(o, off / UNIT);
	uint64_t in = off % UNIT;

	if (!unit) {
		unit = calloc(1, sizeof(*unit));
		if (!unit)
			return -ENOMEM;
		htab_insert(&o->units, off / UNIT, &unit->node);
	}
	unit->present |= (uint8_t)(1u << in / SECTOR);
	if (data)
		memcpy(unit->data + in, data, SECTOR);
	else
		memset(unit->data + in, 0, SECTOR);
	return 0;
}

static int write_sectors(struct overlay *o, const struct bdev_io *io)
{
	uint8_t *buf = NULL;
	int err = 0;

	if (io->op == BDEV_WRITE) {
		buf = malloc(io->len_bytes);
		if (!buf)
			return -ENOMEM;
		bdev_iov_to_buf(io->iov, io->nr_iov, buf, io->len_bytes);
	}
	pthread_mutex_lock(&o->lock);
	for (uint64_t at = 0; at < io->len_bytes && !err; at += SECTOR)
		err = put_sector(o, io->off_bytes + at, buf ? buf + at : NULL);
	pthread_mutex_unlock(&o->lock);
	free(buf);
	return err;
}

static void overlay_submit(struct bdev_queue *queue, struct bdev_io *io)
{
	switch (io->op) {
	case BDEV_READ:
		start_read(queue, io);
		break;
	case BDEV_WRITE:
	case BDEV_WRITE_ZEROES:
		bdev_io_complete(io, write_sectors(to_overlay(queue->bdev), io));
		break;
	case BDEV_FLUSH:
		bdev_io_complete(io, 0);
		break;
	default:
		bdev_io_complete(io, -EOPNOTSUPP);
	}
}

static void overlay_close(struct bdev *bdev)
{
	struct overlay *o = to_overlay(bdev);
	struct htab_node *node, *tmp;

	htab_for_each_safe (node, tmp, &o->units) {
		htab_remove(&o->units, node);
		free(container_of(node, struct unit, node));
	}
	htab_done(&o->units);
	pthread_mutex_destroy(&o->lock);
}

static const struct bdev_ops overlay_ops = {
	.name = "overlay",
	.bdev_bytes = sizeof(struct overlay),
	.io_bytes = sizeof(struct overlay_io),
	.close = overlay_close,
	.submit = overlay_submit,
};

int bdev_overlay_new(struct bdev *lower, struct bdev **ret_bdev)
{
	struct bdev *bdev;
	int err = bdev_filter_new(&overlay_ops, lower, &bdev);

	if (err)
		return err;
	htab_init(&to_overlay(bdev)->units);
	pthread_mutex_init(&to_overlay(bdev)->lock, NULL);
	/* What is written does not get to the device. */
	bdev->geom.caps &= BDEV_CAN_FLUSH | BDEV_GLOBAL_FLUSH | BDEV_ROTATIONAL | BDEV_SHARED;
	bdev->geom.caps |= BDEV_CAN_FLUSH | BDEV_CAN_WRITE_ZEROES;
	atomic_store(&bdev->caps, bdev->geom.caps);
	bdev->opts.readonly = false;
	*ret_bdev = bdev;
	return 0;
}
