/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where a file system is mounted, as this process sees it (/proc/self/mountinfo). */
#ifndef UTIL_MOUNTS_H
#define UTIL_MOUNTS_H

#include <stdbool.h>
#include <sys/types.h>

struct mount_at {
	const char *dir;
	bool whole;	  /* its root is there, not a folder or a file in it */
	bool fs_readonly; /* the file system, whatever this mount is */
};

/* The device number of what is mounted on dir, or of what dir lies in. Asks nothing of that file system
 * (so a process may ask it of what it serves itself). Negative errno as statx(2). */
int mounts_dev(const char *dir, dev_t *ret_dev) __attribute__((warn_unused_result, nonnull));

/* Calls fn for each mount of the file system dev that was there at the time of the call, the last one
 * first; the first result of fn that is not 0 ends that and is returned. Errors: as fopen(3), -ENOMEM. */
int mounts_each(dev_t dev, int (*fn)(void *arg, const struct mount_at *at), void *arg)
	__attribute__((warn_unused_result, nonnull(2)));

#endif
