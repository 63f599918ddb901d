/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of virtio-scsi share: virtio_scsi.c has requests and the device's life,
 * virtio_scsi_disk.c disks that come and go, virtio_scsi_control.c and virtio_scsi_events.c the
 * other two queues. */
#ifndef VMM_VIRTIO_SCSI_INTERNAL_H
#define VMM_VIRTIO_SCSI_INTERNAL_H

#include <semaphore.h>
#include <stdatomic.h>

#include "util/le.h"
#include "util/loop.h"
#include "vmm/disk.h"
#include "vmm/iothread.h"
#include "vmm/scsi.h"
#include "vmm/virtio.h"
#include "vmm/virtio_scsi.h"
#include "vmm/worker.h"

/* Queues by number; the first two are served on the thread of the third. */
enum { SCSI_CONTROL, SCSI_EVENTS, SCSI_REQUESTS };

#define SCSI_F_HOTPLUG (1u << 1)
#define SCSI_F_CHANGE (1u << 2)

/* virtio 1.2, 5.6.6.1 and 5.6.6.2 */
enum scsi_response {
	SCSI_OK = 0, /* of a task management function: complete */
	SCSI_OVERRUN = 1,
	SCSI_ABORTED = 2,
	SCSI_BAD_TARGET = 3,
	SCSI_FAILURE = 9,
	SCSI_SUCCEEDED = 10, /* a query has found something */
	SCSI_REJECTED = 11,
	SCSI_INCORRECT_LUN = 12,
};

struct scsi_queue;

/* A disk as a request queue's thread has it (H1). */
struct scsi_lane {
	struct scsi_disk *disk;
	struct scsi_queue *queue;
	struct bdev_queue *bdev;
	unsigned int nr_in_flight;
	bool leaving;
	struct bdev_req flush;
	struct loop_work close;
	int err; /* of the opening; of the last flush */
};

struct scsi_disk {
	struct vmm_virtio_scsi *scsi;
	struct vmm_disk *disk;
	struct vmm_scsi_unit unit;
	unsigned int target;
	/* the main thread's */
	bool detaching, leaving;
	void (*gone)(void *arg, int flush_err);
	void *gone_arg;
	/* the event queue's thread's: the buffer that told the driver to let go (H3) */
	const void *told;
	struct loop_work answered; /* for the main thread */
	/* what is left of the lanes, and what the last one does: posts work, then raises the
	 * semaphore */
	atomic_uint nr_lanes;
	struct loop_work left;
	sem_t has_left;
	struct scsi_lane lanes[]; /* by request queue */
};

struct scsi_request {
	struct vmm_scsi_cmd cmd;
	struct vmm_held held;
	struct scsi_lane *lane; /* NULL: of no target */
	struct scsi_queue *queue;
	uint64_t id; /* the driver's */
	bool busy, aborted;
	uint32_t data_bytes;  /* of data-out or data-in */
	uint16_t nr_response; /* entries of in that the response takes, the last one in part */
	struct iovec *in, last_was;
	struct vmm_vq_chain chain;
};

/* For requests. */
struct scsi_queue {
	struct vmm_worker worker; /* (W1) */
	struct vmm_virtio_scsi *scsi;
	unsigned int nth;
	struct vmm_iothread *thread;
	struct scsi_lane *lanes[VMM_SCSI_TARGETS]; /* that take commands */
	struct list visits; /* of task management functions, that wait for requests to end (H5) */
	struct scsi_request requests[VMM_VQ_SIZE_MAX]; /* by the head of their chain */
};

#define SCSI_EVENT_BYTES 16

/* A buffer for events. */
struct scsi_buffer {
	struct vmm_held held;
	struct vmm_virtio_scsi *scsi;
	uint16_t head, nr_iov;
	bool busy;
	struct iovec iov[SCSI_EVENT_BYTES]; /* of the first bytes */
};

struct scsi_config {
	struct le32 num_queues, seg_max, max_sectors, cmd_per_lun;
	struct le32 event_info_size, sense_size, cdb_size; /* 0x10 */
	struct le16 max_channel, max_target;
	struct le32 max_lun; /* 0x20 */
} __attribute__((packed));
static_assert(sizeof(struct scsi_config) == 36, "virtio 1.2, 5.6.4");

struct vmm_virtio_scsi {
	struct vmm_virtio virtio;
	struct vmm_scsi_state state;
	struct scsi_config config;
	struct loop *loop;
	struct scsi_disk *disks[VMM_SCSI_TARGETS]; /* the main thread's */
	unsigned int nr_queues;			   /* for requests */
	struct scsi_queue *queues[VMM_VIRTIO_SCSI_MAX_QUEUES];
	struct vmm_worker control;
	struct vmm_vq_chain control_chain;
	struct {
		struct vmm_worker worker;
		bool on;				   /* from start to stop */
		struct scsi_disk *asked[VMM_SCSI_TARGETS]; /* to be let go, and not yet */
		struct vmm_vq_chain chain;
		struct scsi_buffer buffers[VMM_VQ_SIZE_MAX]; /* by the head of their chain */
	} events;					     /* its thread's */
};

/* The target that lun names, and whether it is of its logical unit 0; -1: of no target. */
int scsi_target_of(const uint8_t lun[8], bool *ret_is_unit) __attribute__((nonnull));

/* ---- virtio_scsi.c; on the queue's thread ---- */

/* Ends it if it is held; the disk's end of it has then to be waited for no more. */
void scsi_request_abort(struct scsi_request *req);

/* ---- virtio_scsi_disk.c ---- */

/* On the queue's thread: a request of the lane has ended. */
void scsi_lane_put(struct scsi_lane *lane);

/* Lets it go, and waits for that; gone() is not called. */
void scsi_disk_free(struct scsi_disk *disk);

/* ---- virtio_scsi_control.c ---- */

/* Of struct vmm_worker. */
int scsi_take_control(struct vmm_worker *worker);

/* On the queue's thread: an aborted request has ended. */
void scsi_visits_look(struct scsi_queue *queue);

/* ---- virtio_scsi_events.c ---- */

int scsi_take_event(struct vmm_worker *worker);

/* Around vmm_worker_start() and vmm_worker_stop(). */
void scsi_events_on(struct vmm_virtio_scsi *scsi);
void scsi_events_off(struct vmm_virtio_scsi *scsi);

/* On the main thread. The driver is to hear that the target's disk has come, or has changed. */
void scsi_event_added(struct vmm_virtio_scsi *scsi, unsigned int target);
void scsi_event_changed(struct vmm_virtio_scsi *scsi, unsigned int target);

/* Asks it to let the disk go: posts disk->answered when it has, or has stopped (H3); with forget,
 * does so no more. */
void scsi_event_ask(struct scsi_disk *disk);
void scsi_event_forget(struct scsi_disk *disk);

#endif
