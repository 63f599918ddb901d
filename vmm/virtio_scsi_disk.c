/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disks that come to the controller and go from it (H1, H2). */
#include <errno.h>
#include <stdlib.h>

#include "util/err.h"
#include "util/log.h"
#include "vmm/virtio_scsi_internal.h"

/* ---- lanes, on their threads ---- */

static void close_lane(struct loop_work *work)
{
	struct scsi_lane *lane = container_of(work, struct scsi_lane, close);
	struct scsi_disk *disk = lane->disk;

	bdev_queue_close(lane->bdev);
	if (atomic_fetch_sub(&disk->nr_lanes, 1) != 1)
		return;
	loop_post(disk->scsi->loop, &disk->left);
	sem_post(&disk->has_left); /* the last of us: from here it may be freed */
}

static void flushed(struct bdev_req *req, int status)
{
	struct scsi_lane *lane = req->arg;

	lane->err = status == -EOPNOTSUPP ? 0 : status;
	loop_defer(vmm_iothread_loop(lane->queue->thread), &lane->close);
}

/* Nothing of it is under way any more, and nothing begins. */
static void flush_lane(struct scsi_lane *lane)
{
	int err = 0;

	lane->flush = (struct bdev_req){ .op = BDEV_FLUSH, .done = flushed, .arg = lane };
	if (!lane->disk->disk->readonly)
		err = bdev_submit(lane->bdev, &lane->flush);
	if (err || lane->disk->disk->readonly)
		flushed(&lane->flush, err);
}

void scsi_lane_put(struct scsi_lane *lane)
{
	if (--lane->nr_in_flight == 0 && lane->leaving)
		flush_lane(lane);
}

static void leave_here(void *arg)
{
	struct scsi_lane *lane = arg;
	struct scsi_queue *queue = lane->queue;

	queue->lanes[lane->disk->target] = NULL;
	lane->nr_in_flight++; /* so that it does not go in between */
	lane->leaving = true;
	for (unsigned int i = 0; i < VMM_VQ_SIZE_MAX; i++) {
		struct scsi_request *req = &queue->requests[i];

		if (req->busy && req->lane == lane)
			scsi_request_abort(req);
	}
	scsi_lane_put(lane);
}

static void open_here(void *arg)
{
	struct scsi_lane *lane = arg;

	lane->err = bdev_queue_open(
		lane->disk->disk->bdev, vmm_iothread_loop(lane->queue->thread), &lane->bdev);
	if (!lane->err)
		lane->queue->lanes[lane->disk->target] = lane;
}

/* ---- disks, on the main thread ---- */

static void leave(struct scsi_disk *disk)
{
	unsigned int nr = atomic_load(&disk->nr_lanes);

	if (disk->leaving)
		return;
	disk->leaving = true;
	scsi_event_forget(disk);
	for (unsigned int i = 0; i < nr; i++)
		vmm_iothread_call(disk->lanes[i].queue->thread, leave_here, &disk->lanes[i]);
}

static void on_answered(struct loop_work *work)
{
	leave(container_of(work, struct scsi_disk, answered));
}

/* All of its lanes have left: takes it from its target; gives what its last flush ended with. */
static int disk_end(struct scsi_disk *disk)
{
	struct vmm_virtio_scsi *scsi = disk->scsi;
	int err = 0;

	while (sem_wait(&disk->has_left) < 0)
		;
	(void)loop_cancel(scsi->loop, &disk->answered);
	(void)loop_cancel(scsi->loop, &disk->left);
	for (unsigned int i = 0; i < scsi->nr_queues; i++) {
		if (disk->lanes[i].err)
			err = disk->lanes[i].err;
	}
	if (err)
		log_error("%s: the last flush failed: %s", disk->disk->name, err_str(err));
	scsi->disks[disk->target] = NULL;
	scsi->state.units[disk->target].present = 0;
	sem_destroy(&disk->has_left);
	free(disk);
	return err;
}

static void on_left(struct loop_work *work)
{
	struct scsi_disk *disk = container_of(work, struct scsi_disk, left);
	void (*gone)(void *arg, int flush_err) = disk->gone;
	void *arg = disk->gone_arg;

	gone(arg, disk_end(disk));
}

void scsi_disk_free(struct scsi_disk *disk)
{
	leave(disk);
	(void)disk_end(disk);
}

static struct scsi_disk *disk_new(
	struct vmm_virtio_scsi *scsi, struct vmm_disk *of, unsigned int target, const char *serial)
{
	struct scsi_disk *disk =
		calloc(1, sizeof(*disk) + scsi->nr_queues * sizeof(disk->lanes[0]));
	struct bdev_geom geom = bdev_geom(of->bdev);

	if (!disk)
		return NULL;
	disk->scsi = scsi;
	disk->disk = of;
	disk->target = target;
	disk->answered.fn = on_answered;
	disk->left.fn = on_left;
	sem_init(&disk->has_left, 0, 0);
	vmm_scsi_unit_init(&disk->unit, &geom, of->readonly, serial, &scsi->state.units[target]);
	for (unsigned int i = 0; i < scsi->nr_queues; i++) {
		disk->lanes[i].disk = disk;
		disk->lanes[i].queue = scsi->queues[i];
		disk->lanes[i].close.fn = close_lane;
	}
	return disk;
}

/* The driver scans the target; or it takes no events, and hears of it as it uses another disk. */
static void tell_added(struct vmm_virtio_scsi *scsi, unsigned int target)
{
	if (vmm_virtio_works(&scsi->virtio, SCSI_F_HOTPLUG)) {
		scsi_event_added(scsi, target);
		return;
	}
	for (unsigned int i = 0; vmm_virtio_works(&scsi->virtio, 0) && i < VMM_SCSI_TARGETS; i++) {
		if (scsi->disks[i] && i != target)
			vmm_scsi_raise(&scsi->state.units[i], VMM_SCSI_LUNS_CHANGED);
	}
}

int vmm_virtio_scsi_attach(struct vmm_virtio_scsi *scsi, struct vmm_disk *of, const char *serial,
	unsigned int *ret_target)
{
	struct scsi_disk *disk;
	unsigned int target = 0;
	int err = 0;

	while (target < VMM_SCSI_TARGETS && scsi->disks[target])
		target++;
	if (target == VMM_SCSI_TARGETS)
		return -ENOSPC;
	disk = disk_new(scsi, of, target, serial);
	if (!disk)
		return -ENOMEM;
	scsi->disks[target] = disk;
	for (unsigned int i = 0; !err && i < scsi->nr_queues; i++) {
		vmm_iothread_call(scsi->queues[i]->thread, open_here, &disk->lanes[i]);
		err = disk->lanes[i].err;
		if (!err)
			atomic_fetch_add(&disk->nr_lanes, 1);
	}
	if (err) {
		disk->lanes[atomic_load(&disk->nr_lanes)].err = 0;
		if (atomic_load(&disk->nr_lanes) == 0)
			sem_post(&disk->has_left);
		scsi_disk_free(disk);
		return err;
	}
	scsi->state.units[target].present = 1;
	tell_added(scsi, target);
	*ret_target = target;
	return 0;
}

int vmm_virtio_scsi_detach(struct vmm_virtio_scsi *scsi, unsigned int target, bool force,
	void (*gone)(void *arg, int flush_err), void *arg)
{
	struct scsi_disk *disk = scsi->disks[target];

	if (disk->leaving || (disk->detaching && !force))
		return -EALREADY;
	/* a driver that is not at work holds nothing */
	if (!force && vmm_virtio_works(&scsi->virtio, 0) &&
		!vmm_virtio_works(&scsi->virtio, SCSI_F_HOTPLUG))
		return -EOPNOTSUPP;
	if (!disk->detaching)
		scsi_event_ask(disk);
	disk->detaching = true;
	disk->gone = gone;
	disk->gone_arg = arg;
	if (force)
		leave(disk);
	return 0;
}

void vmm_virtio_scsi_resized(struct vmm_virtio_scsi *scsi, unsigned int target)
{
	struct scsi_disk *disk = scsi->disks[target];

	if (vmm_scsi_unit_resize(&disk->unit, bdev_geom(disk->disk->bdev).size_bytes) &&
		!disk->detaching && vmm_virtio_works(&scsi->virtio, SCSI_F_CHANGE))
		scsi_event_changed(scsi, target);
}
