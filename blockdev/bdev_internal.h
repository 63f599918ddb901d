/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What backends and filters of blockdev share with its common code (bdev.c, bdev_queue.c).
 *
 * A caller's `bdev_req` becomes one or more `bdev_io`: pieces that respect the device's limits,
 * with FUA and write-zeroes already emulated. Backends see bdev_io only, so they need no splitting,
 * no checks of range or alignment to blocks, no gate, no deadline, and no list of held requests.
 *
 * D1  ops->submit() is called on the queue's thread, and only while the path is up. It ends in
 *     exactly one call of bdev_io_complete() or bdev_io_requeue() for that io, now (from within) or
 *     later, on the queue's thread. The caller's done() never runs from within these calls: a
 *     backend is never re-entered, and its queue outlives its callbacks.
 * D2  bdev_io_requeue() gives an io back as "had no answer, send it again": it is held until the
 *     path is up and the gate open, checked against the write deadline, and comes to ops->submit()
 *     again. So on a lost connection a backend says bdev_queue_path_lost(), then
 *     bdev_queue_requeue_all(), reconnects by watchers and timers of its own on the loop, and says
 *     bdev_queue_path_up(): that closes the gate (B5) and sends again what may be sent.
 * D3  A sign that the target forgot us, on a path that is up: bdev_queue_gate_close(), and
 *     bdev_io_requeue() for the io that was refused with it. What was sent already may complete.
 * D4  A backend that keeps requests back before it hands them to the kernel or a socket asks
 *     bdev_io_too_late() just before it does, and requeues the io if so (B7).
 * D5  Completing an io with -ERR_FENCED fences the queue (B6): ops->fence() is called (later, from
 *     the loop), the backend then completes what it still has, with any status.
 *
 * States of the bottom queue's path (only the bottom of a stack of filters has them):
 *
 *   state  sent to ops->submit()       left by
 *   DOWN   nothing                     bdev_queue_path_up() -> GATED
 *   GATED  BDEV_GATE requests          bdev_queue_gate_done(0) -> OPEN; path_lost -> DOWN
 *   OPEN   all, writes until deadline  bdev_queue_gate_close() -> GATED; path_lost -> DOWN
 *
 * Without a gate function GATED passes to OPEN by itself. When the gate closes again while the gate
 * function still works, the function runs again after its bdev_queue_gate_done().
 */
#ifndef BLOCKDEV_BDEV_INTERNAL_H
#define BLOCKDEV_BDEV_INTERNAL_H

#include <assert.h>
#include <pthread.h>

#include "blockdev/bdev.h"
#include "util/checked.h"
#include "util/err.h"

/* ---- URIs (bdev_uri.c) ---- */

struct bdev_io;

struct bdev_uri {
	char *raw;    /* as given, without filters, with credentials: for libraries that parse it */
	char *text;   /* the same without credentials: for people */
	char *scheme; /* "iscsi", "nbd+unix", "file" ... */
	char *user, *password; /* decoded; NULL = none; from opts.auth_file if that is set */
	char *host;	       /* decoded, without brackets; NULL = none */
	uint16_t port;	       /* 0 = none */
	char *path;  /* decoded, without the first '/' if there is a host part; "file:": the path */
	char *query; /* what follows '?', not decoded; NULL = none */
};

/* Parses a URI without filters. Errors: -EINVAL with a sentence, -ENOMEM. */
int bdev_uri_parse(const char *text, struct bdev_uri **ret_uri, char **ret_error)
	__attribute__((warn_unused_result, nonnull(1, 2)));
void bdev_uri_free(struct bdev_uri *uri);
/* The decoded value of a parameter of the query, to be freed; NULL = not there. */
char *bdev_uri_param(const struct bdev_uri *uri, const char *name);
/* Reads "user%password" from a file that only its owner may read. */
int bdev_uri_read_auth(struct bdev_uri *uri, const char *file, char **ret_error);
/* "512", "64k", "10M", "3G", "1T" to bytes. -EINVAL */
int bdev_parse_size(const char *text, uint64_t *ret_bytes);

/* Stores a sentence in *ret_error (if both are not NULL and it is NULL still); returns err. */
int bdev_fail(char **ret_error, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* ---- the base structs; a backend's own begin with them ---- */

struct bdev_ops {
	const char *name; /* the scheme or the filter's name */
	/* sizeof the backend's own structs, which begin with the base struct; 0 = the base's.
	 * All are zeroed when made; ios are reused and only their base is reset. */
	size_t bdev_bytes, queue_bytes, io_bytes;

	/* Fills bdev->geom (and bdev->can_lun_reset). bdev->opts is set; blocks at most
	 * bdev->opts.connect_timeout_ms. On failure undoes what it did (close() is not called).
	 * NULL for filters: their geometry is the lower device's. */
	int (*open)(struct bdev *bdev, const struct bdev_uri *uri, char **ret_error);
	void (*close)(struct bdev *bdev); /* may be NULL */
	/* Connects, and blocks meanwhile; the path is up on return. Does not call
	 * bdev_queue_path_up(), which is for reconnects. May be NULL. */
	int (*queue_open)(struct bdev_queue *queue);
	void (*queue_close)(struct bdev_queue *queue); /* nothing is in flight; may be NULL */
	/* Makes the device larger; any thread; may block for a moment, as for a file's metadata. NULL:
	 * it cannot be. */
	int (*grow)(struct bdev *bdev, uint64_t size_bytes);
	/* As bdev_extent() (image.h): *ret_len is up to the end, *ret_zero false, unless it knows
	 * better. NULL: it does not. */
	void (*extent)(struct bdev *bdev, uint64_t off, uint64_t *ret_len, bool *ret_zero);
	void (*submit)(struct bdev_queue *queue, struct bdev_io *io); /* D1 */
	void (*fence)(struct bdev_queue *queue); /* D5; may be NULL: what was sent ends by itself */
};

struct bdev {
	const struct bdev_ops *ops;
	struct bdev *lower, *upper; /* the stack of filters; NULL = bottom, top */
	char *name;
	/* As the backend filled it. After open only the common code touches it; see
	 * bdev_set_size(), bdev_drop_cap(). */
	struct bdev_geom geom;
	bool can_lun_reset;
	bool own_size; /* a filter whose size is not the lower device's: an image */
	struct bdev_opts opts; /* copied; strings too; connect_timeout_ms is never 0 */

	/* private to the common code */
	_Atomic uint64_t size_bytes;
	_Atomic uint32_t caps;
	_Atomic uint64_t write_deadline_ns;
	_Atomic bool fenced;
	void (*notify_fn)(void *arg, enum bdev_event ev);
	void *notify_arg;
	void (*gate_fn)(void *arg, struct bdev_queue *queue);
	void *gate_arg;
	pthread_mutex_t lock; /* queues, closed */
	struct list queues;
	struct bdev_counters closed; /* of queues that are closed */
};

enum bdev_path { BDEV_PATH_STATE_DOWN, BDEV_PATH_STATE_GATED, BDEV_PATH_STATE_OPEN };

struct bdev_stats; /* counters with atomics, bdev_queue.c */

struct bdev_queue {
	struct bdev *bdev;
	struct loop *loop;
	struct bdev_queue *lower, *upper; /* of the same stack, on the same loop */

	/* private to the common code */
	struct list link; /* bdev->queues */
	struct list free_ios, sent, held, late, completed;
	struct loop_work wake, kick; /* run bdev_queue_run(): from any thread, from ours */
	_Atomic bool wake_pending;
	bool kick_pending;
	struct bdev_stats *stats;
	_Atomic uint64_t in_flight; /* requests of callers */
	_Atomic uint32_t nr_late;
	enum bdev_path path;
	bool gate_wanted, gate_running, gate_again;
	bool fenced, fence_wanted;
	struct ev_timer timeout_timer;
};

/* One piece of a request on its way to the device. */
struct bdev_io {
	struct bdev_queue *queue;
	enum bdev_op op;
	uint32_t flags; /* BDEV_FUA only where geom.caps has BDEV_CAN_FUA; BDEV_GATE */
	uint64_t off_bytes, len_bytes;
	const struct iovec *iov; /* read and write: covers exactly len_bytes */
	int nr_iov;
	struct bdev_pr *pr;   /* for the PR ops: the request's */
	struct bdev_req *req; /* the request that it is a piece of, for filters */
	struct list node;     /* the backend's, from submit to complete */

	/* private to the common code */
	struct list link;
	struct bdev_io *lead; /* the first io of the request: it counts the others */
	int status;
	uint64_t wait_ns; /* since when it waits for a path or gate, 0 = not */
	uint32_t nr_pending;
	int req_status;
	bool idle, want_flush, emulate_zeroes, restart;
	uint64_t next_off, left_bytes;
	int iov_at;
	size_t iov_skip;
	struct iovec *slab, *slab_next;
	struct iovec own_iov;
};

/* ---- what backends call, on the queue's thread unless said otherwise ---- */

/* The io is over; see bdev_req.done for status. */
void bdev_io_complete(struct bdev_io *io, int status);
/* The io had no answer and must be sent again (D2, D3). */
void bdev_io_requeue(struct bdev_io *io);
/* The same for every io that this queue's backend has (in the order in which it got them). */
void bdev_queue_requeue_all(struct bdev_queue *queue);
/* True if io changes data and the write deadline has passed at now_ns (D4). */
bool bdev_io_too_late(const struct bdev_io *io, uint64_t now_ns);

void bdev_queue_path_lost(struct bdev_queue *queue);  /* D2; again while it is down: no effect */
void bdev_queue_path_up(struct bdev_queue *queue);    /* D2 */
void bdev_queue_gate_close(struct bdev_queue *queue); /* D3 */

/* The device's size has changed; any thread. Reports BDEV_RESIZED. */
void bdev_set_size(struct bdev *bdev, uint64_t size_bytes);
/* Makes what lies at the bottom of bdev's stack at least size_bytes large, if it is not; new bytes
 * are zeroes. Any thread. -ENOSPC: it cannot grow. */
int bdev_grow(struct bdev *bdev, uint64_t size_bytes) __attribute__((warn_unused_result, nonnull));
/* The device turned out not to have a cap after all (WRITE SAME refused ...); any thread. A
 * write-zeroes completed with -EOPNOTSUPP drops its cap and is emulated by the common code. */
void bdev_drop_cap(struct bdev *bdev, uint32_t cap);

/* Copies n bytes between the iovecs and buf. */
void bdev_iov_to_buf(const struct iovec *iov, int nr_iov, void *buf, size_t n);
void bdev_iov_from_buf(const struct iovec *iov, int nr_iov, const void *buf, size_t n);

/* ---- what filters use (bdev_filter.c) ---- */

/* Makes a filter's bdev on top of lower, which it owns from then on. */
int bdev_filter_new(const struct bdev_ops *ops, struct bdev *lower, struct bdev **ret_bdev);
/* Sends io's request down by child (embedded in the filter's io); ends in bdev_io_complete(io) by
 * itself if done is NULL. child->arg is io. */
void bdev_filter_forward(struct bdev_io *io, struct bdev_req *child,
	void (*done)(struct bdev_req *child, int status));
/* Makes a filter from its text in a URI, e.g. name "delay", args "read_ms=5,write_ms=5". */
int bdev_filter_parse(const char *name, const char *args, struct bdev *lower,
	struct bdev **ret_bdev, char **ret_error);

/* Opens the image on lower, which it owns from then on (vhd_open.c,
 * vhdx_open.c). Blocks while it reads. -ENOTSUP,
 * -ERR_CORRUPT, with a sentence. */
int bdev_vhd_new(struct bdev *lower, struct bdev **ret_bdev, char **ret_error);
int bdev_vhdx_new(struct bdev *lower, struct bdev **ret_bdev, char **ret_error);

extern const struct bdev_ops bdev_file_ops, bdev_ram_ops;
#ifdef HAVE_ISCSI
extern const struct bdev_ops bdev_iscsi_ops; /* iscsi:// */
#endif
#ifdef HAVE_NBD
extern const struct bdev_ops bdev_nbd_ops; /* nbd://, nbds://, nbd+unix://, nbds+unix:// */
#endif

#endif
