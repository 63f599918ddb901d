/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What lies behind a virtual disk: an image or a device, opened through blockdev and locked. */
#ifndef VMM_DISK_H
#define VMM_DISK_H

#include <stdbool.h>
#include <stdint.h>

struct bdev;

struct vmm_disk {
	struct bdev *bdev;
	const char *name; /* for messages; the path or URI without credentials */
	bool readonly;
	int lock_fd; /* -1: not a file */
};

/*
 * Opens path, a file, a block device or a URI of bdev_open(), and locks it if it is a file. On
 * failure *ret_error is a sentence for a person, owned by the caller. Errors: -EBUSY, somebody else
 * uses the image; those of bdev_open().
 */
int vmm_disk_open(const char *path, bool readonly, struct vmm_disk *ret_disk, char **ret_error)
	__attribute__((warn_unused_result, nonnull));

/* Every queue of it is closed. */
void vmm_disk_close(struct vmm_disk *disk) __attribute__((nonnull));

#endif
