/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The FUSE front end: a mount and its worker threads. The only code that includes libfuse.
 *
 * F1  Each FUSE request is answered exactly once, by a worker (READ, WRITE, FSYNC), by the service
 *     thread (what needs the coordinator), or at once by who read it; no thread waits for it.
 * F2  A WRITE's payload lies page-aligned in the buffer that it was received in and goes to the
 *     device from there; the request owns that buffer until it is answered.
 * F3  Each request wakes all who watch the FUSE device, so as few do as there is work for. One always
 *     does, the leader: the service thread while most of what comes is for it, else the first worker.
 *     What the one reads that is for the other is handed over. Who finds BATCH requests in a row calls
 *     the next one; who is not the leader and finds little again and again leaves. A worker's
 *     requests in flight do not depend on whether it watches.
 * F4  The kernel keeps attributes of the root alone (docs/DESIGN.md, 9), from answers to GETATTR, and
 *     lets go of them before the change that they do not show is acknowledged. An answer that was
 *     on its way then is ignored by it, as older than the invalidation.
 */
#ifndef CSVFS_FUSE_H
#define CSVFS_FUSE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct bdev;
struct bdev_queue;
struct loop;
struct node;
struct fmount;

struct fmount_cfg {
	struct node *node;
	struct loop *loop; /* the service thread's */
	struct bdev *bdev;
	const char *source;	/* shown in /proc/mounts */
	const char *mountpoint;
	uint32_t nr_workers;	/* 0 = one for each CPU, at most 4 */
	bool readonly, allow_other;
	bool debug;
	/* Of mount(8), separated by commas: dev, nosuid, noexec, ...; NULL = none. Devices and set-uid
	 * count unless they say otherwise, as with any file system that root mounts. */
	const char *flags;
	/* Whether a worker's queue may be closed: its gate is not at work. On the queue's thread. */
	bool (*queue_idle)(void *arg, const struct bdev_queue *queue);
	/* Any thread, once: unmounted from outside, or the FUSE device failed. */
	void (*ended)(void *arg);
	/* Any thread: root asks the mount to stop at once (FS_IOC_SHUTDOWN), as if the power went. The
	 * process ends; what is asked of the mount afterwards, until it is unmounted, ends with EIO. */
	void (*shutdown)(void *arg);
	void *arg;
};

/* Mounts and starts the workers. Blocks while their queues connect. Service thread. Errors: -EPERM, -ENOENT (the
 * mount point), -EBUSY, as bdev_queue_open ... */
int fmount_start(const struct fmount_cfg *cfg, struct fmount **ret_mount)
	__attribute__((warn_unused_result, nonnull));

/* For node_cfg.invalidate. -ENOMEM: node_invalidated() will not be called. Any thread. */
int fmount_purge(struct fmount *mount, uint64_t ino, uint64_t off_bytes, uint64_t len_bytes)
	__attribute__((warn_unused_result, nonnull));

/* What the kernel was told of the root directory is not true any more (F4). Does not wait for any
 * request of ours. Service thread. */
void fmount_root_changed(struct fmount *mount) __attribute__((nonnull));

/* The device number of the file system: stat(2) of what is in it, and /proc/self/mountinfo, have it. */
dev_t fmount_dev(const struct fmount *mount) __attribute__((nonnull));

/* Takes no more requests; returns at once. What is under way goes on: what it waits for (the node's
 * calls, the device) must still be served until fmount_is_idle(). */
void fmount_quit(struct fmount *mount);
/* Every request is answered and every worker has ended. */
bool fmount_is_idle(const struct fmount *mount);
/* Unmounts, if it still is mounted, and frees; it must be idle. NULL is allowed. */
void fmount_free(struct fmount *mount);

#endif
