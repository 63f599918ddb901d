/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Locks that keep an image from being used twice, the same as QEMU's: shared OFD locks of single
 * bytes, one at 100 + n for each thing that the holder does with the image and one at 200 + n for
 * each that nobody else may do, where n is 0 to read, 1 to write, 3 to resize. They last as long as
 * fd is open, on every node of a file system that has POSIX locks.
 */
#ifndef VMM_IMAGE_LOCK_H
#define VMM_IMAGE_LOCK_H

#include <stdbool.h>

/* Takes the locks of one who reads, and with write also writes, and shares it with readers. Does
 * not block. Errors: -EBUSY, another one's use excludes this; those of fcntl(). */
int vmm_image_lock(int fd, bool write) __attribute__((warn_unused_result));

/*
 * A note in the file (attribute user.csvvm.holder) of who has it locked, for who finds it locked; no
 * more than a hint, and only where the file system keeps such attributes.
 */
void vmm_image_lock_note(int fd);
void vmm_image_lock_forget(int fd);

/* "csvvm on n2, process 1234, took it on 2026-11-23 20:15:00"; NULL: nobody knows. The caller's. */
char *vmm_image_lock_holder(int fd);

#endif
