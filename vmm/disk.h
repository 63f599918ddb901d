/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What lies behind a virtual disk: an image or a device, opened through blockdev and locked. */
#ifndef VMM_DISK_H
#define VMM_DISK_H

#include <stdbool.h>
#include <stdint.h>

struct bdev;
struct loop;

/* What becomes of a request that storage fails: it is held and the machine pauses (V5, machine.h), or
 * the guest hears of it. */
enum vmm_on_error { VMM_ON_ERROR_PAUSE, VMM_ON_ERROR_REPORT };

struct vmm_disk_failure {
	char disk[256], request[16];
	uint64_t off_bytes;
	int err;
};

struct vmm_disk {
	struct bdev *bdev;
	const char *name; /* for messages; the path or URI without credentials */
	bool readonly;
	int lock_fd; /* -1: not a file */
	bool noted; /* that we hold it, in the file */
	enum vmm_on_error on_error;
	/* a request was held; on its thread */
	void (*failed)(void *arg, const struct vmm_disk_failure *failure);
	void *failed_arg;
	struct vmm_disk_measuring *measuring; /* or NULL */
};

/*
 * Opens path, a file, a block device or a URI of bdev_open(), and locks it if it is a file. On
 * failure *ret_error is a sentence for a person, owned by the caller. Errors: -EBUSY, somebody else
 * uses the image; those of bdev_open().
 */
int vmm_disk_open(const char *path, bool readonly, struct vmm_disk *ret_disk, char **ret_error)
	__attribute__((warn_unused_result, nonnull));

struct bdev_req;
struct vmm_held;
struct vmm_worker;

/* On the thread of the worker that took the request: whether one that ended with err is held. Says in
 * the log that it failed. */
bool vmm_disk_hold(struct vmm_disk *disk, struct vmm_worker *worker, struct vmm_held *held,
	const struct bdev_req *req, int err) __attribute__((nonnull));

/*
 * Makes its image larger, which must be a raw file. On failure *ret_error is a sentence, the caller's.
 * Errors: -EINVAL not such a file, or smaller; of ftruncate().
 */
int vmm_disk_grow(struct vmm_disk *disk, uint64_t size_bytes, char **ret_error)
	__attribute__((warn_unused_result, nonnull));

/*
 * Asks the device for its size anew, on the thread of loop; bdev_geom() has it when done() runs there.
 * One at a time. Waits at most for a connection. Errors: those of bdev_queue_open(), -ENOMEM.
 */
int vmm_disk_measure(struct vmm_disk *disk, struct loop *loop, void (*done)(void *arg, int err),
	void *arg) __attribute__((warn_unused_result, nonnull(1, 2, 3)));

/* Every queue of it is closed. Waits for a measurement, whose done() does not run. */
void vmm_disk_close(struct vmm_disk *disk) __attribute__((nonnull));

#endif
