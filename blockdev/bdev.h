/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Asynchronous block devices.
 *
 * A `bdev` is an opened device, shared by all threads. A `bdev_queue` is a channel to it (an iSCSI
 * session, an NBD connection, an aio context) that belongs to one thread and its loop: no lock on
 * the data path. A `bdev_req` is embedded by its caller and in flight from bdev_submit() to done().
 *
 * B1  bdev_submit() returns 0 and done() runs exactly once, later, from the queue's loop; or it
 *     returns a negative code and done() never runs.
 * B2  From submit to done the request, its iovecs and its memory belong to the device.
 * B3  Requests in flight are not ordered among themselves. A flush covers each write of this
 *     queue that was done before the flush was submitted; with BDEV_GLOBAL_FLUSH it covers such
 *     writes of every queue on every host.
 * B4  A lost path is not an error: the queue reconnects, passes the gate (B5), resends what had
 *     no answer, and the caller sees latency. With opts.transport_timeout_ms set, what has waited
 *     longer than that ends with -ERR_TRANSPORT.
 * B5  The gate: after each connect, reconnect and each sign that the target may have forgotten us
 *     (SPC-4 UNIT ATTENTION 29/00, 2a/03 ...), nothing but BDEV_GATE requests is sent until the
 *     gate's owner has called bdev_queue_gate_done().
 * B6  After -ERR_FENCED a queue fails every later request with -ERR_FENCED.
 * B7  No write, discard or write-zeroes is handed to the device after the write deadline; such a
 *     request waits until the deadline is moved, or the queue is fenced.
 */
#ifndef BLOCKDEV_BDEV_H
#define BLOCKDEV_BDEV_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/uio.h>

#include "util/list.h"
#include "util/loop.h"

struct bdev;
struct bdev_queue;

enum bdev_op {
	BDEV_READ,
	BDEV_WRITE,
	BDEV_FLUSH,
	BDEV_DISCARD,	   /* content undefined afterwards */
	BDEV_WRITE_ZEROES, /* reads as zeroes afterwards */
	BDEV_PR_REGISTER,  /* pr.key -> pr.new_key, ignoring what is registered (SPC-4 6.14) */
	BDEV_PR_RESERVE,   /* with pr.key, pr.type; holding it already is success */
	BDEV_PR_PREEMPT,   /* with pr.key remove pr.victim; pr.abort = PREEMPT AND ABORT */
	BDEV_PR_READ_KEYS, /* fills pr.keys, pr.nr_keys (all of them; up to pr.max_keys stored) */
	BDEV_PR_READ_RESERVATION, /* fills pr.type (0 = none) and pr.key (0 also with type 7) */
	BDEV_LUN_RESET,
	BDEV_MEASURE, /* asks the device for its size anew; geom.size_bytes is it afterwards */
	BDEV_NR_OPS,
};

/* Request flags. */
#define BDEV_FUA (1u << 0)  /* write: stable before done; emulated by a flush where needed */
#define BDEV_GATE (1u << 1) /* passes the gate (B5) and the write deadline (B7) */

/* Persistent reservation types (SPC-4 table 65). */
#define BDEV_PR_WRITE_EXCLUSIVE_REGISTRANTS 5
#define BDEV_PR_WRITE_EXCLUSIVE_ALL 7

struct bdev_pr {
	uint64_t key, new_key, victim;
	uint8_t type;
	bool abort;
	uint64_t *keys;
	uint32_t max_keys, nr_keys;
};

struct bdev_req {
	enum bdev_op op;
	uint32_t flags;
	uint64_t off_bytes; /* multiple of geom.block_bytes */
	uint64_t len_bytes; /* likewise; for read and write the sum of iov */
	const struct iovec *iov;
	int nr_iov;
	struct bdev_pr pr;
	/* status: 0, or -EIO medium, -ENOSPC, -ERR_FENCED, -ERR_TRANSPORT, -EREMOTEIO, -EOPNOTSUPP,
	 * -EBUSY (PR conflict of a PR command). Runs on the queue's loop; may free or reuse req. */
	void (*done)(struct bdev_req *req, int status);
	void *arg; /* the caller's */

	/* private to blockdev while in flight */
	struct list link;
	struct bdev_queue *queue;
	uint64_t start_ns;
	void *priv[4];
};

/* What a device can do (geom.caps). */
#define BDEV_CAN_FLUSH (1u << 0)
#define BDEV_CAN_FUA (1u << 1)
#define BDEV_CAN_DISCARD (1u << 2)
#define BDEV_CAN_WRITE_ZEROES (1u << 3)
#define BDEV_CHEAP_ZEROES (1u << 4) /* write-zeroes costs much less than writing the bytes */
#define BDEV_CAN_PR (1u << 5)
#define BDEV_CAN_PR_ABORT (1u << 6)
#define BDEV_GLOBAL_FLUSH (1u << 7) /* B3 */
#define BDEV_READONLY (1u << 8)
#define BDEV_ROTATIONAL (1u << 9)
#define BDEV_SHARED (1u << 10) /* other hosts can reach it (iscsi, nbd); file: same host only */

struct bdev_geom {
	uint64_t size_bytes;
	uint32_t block_bytes;	 /* smallest unit of read and write: 512 or 4096 */
	uint32_t phys_bytes;	 /* smallest unit that is written without a read */
	uint32_t max_io_bytes;	 /* the backend's limit; bdev_submit() splits larger requests */
	uint64_t max_zero_bytes; /* likewise for write-zeroes and discard */
	uint32_t mem_align;	 /* alignment of iov memory that avoids a copy (others work too) */
	uint32_t caps;
};

struct bdev_opts {
	const char *auth_file;		/* "user%password" in a 0600 file; NULL = from the URI */
	const char *tls_psk_file;	/* nbds: GnuTLS PSK file; NULL = none */
	const char *initiator;		/* iSCSI initiator name; NULL = made from host name */
	uint32_t connect_timeout_ms;	/* for bdev_open; 0 = 10,000 */
	uint32_t transport_timeout_ms;	/* B4; 0 = wait for ever */
	bool readonly;
};

/* One direction of change in the state of a path, reported to bdev_set_notify()'s function. */
enum bdev_event { BDEV_PATH_DOWN, BDEV_PATH_UP, BDEV_RESIZED, BDEV_FENCED };

/*
 * Opens uri: iscsi://[user%pass@]host[:port]/target/lun, nbd://host[:port]/[export], nbds://,
 * nbd+unix:///[export]?socket=PATH, file:PATH, /dev/..., ram:SIZE (README.md has its parameters;
 * "?name=X" shares it within the process); vhd:URI, vhdx:URI (the disk in an
 * image on that device; image.h has more); filters stand in front, as in
 * "delay(read_ms=5,write_ms=5)|stats|file:/x". opts may be NULL. Blocks up to the connect timeout.
 * On failure *ret_error, if not NULL, is a sentence for a person (what, where, what to do), owned
 * by the caller. Errors: -EINVAL bad URI, -ENOENT, -EACCES (CHAP refused), -ERR_TRANSPORT, -ENOTSUP
 * not built in, -EBUSY, ...
 */
int bdev_open(const char *uri, const struct bdev_opts *opts, struct bdev **ret_bdev,
	char **ret_error) __attribute__((warn_unused_result, nonnull(1, 3)));

/* Closes; every queue must be closed. For a filter also closes what is below. NULL is allowed. */
void bdev_close(struct bdev *bdev);

/* The URI without its credentials. Lives as long as bdev. */
const char *bdev_name(const struct bdev *bdev);

/* Geometry as of the last open or resize. Any thread. */
struct bdev_geom bdev_geom(const struct bdev *bdev);

/* fn runs on an unspecified queue's thread whenever the path changes. Set before queues open. */
void bdev_set_notify(struct bdev *bdev, void (*fn)(void *arg, enum bdev_event ev), void *arg);

/* B5: fn runs on the queue's thread whenever the gate has closed; it sends BDEV_GATE requests and
 * ends with bdev_queue_gate_done(). Without a gate function the gate is open. Set before queues
 * open. */
void bdev_set_gate(struct bdev *bdev, void (*fn)(void *arg, struct bdev_queue *queue), void *arg);

/* B7: CLOCK_MONOTONIC ns after which writes wait; UINT64_MAX (the default) = never. Any thread. */
void bdev_set_write_deadline(struct bdev *bdev, uint64_t mono_ns);

/* Fails everything in flight and later with -ERR_FENCED (B6); any thread. */
void bdev_fence_self(struct bdev *bdev);

/*
 * Opens a channel for the thread that owns loop. Blocks while it connects (at most the connect
 * timeout); the gate function may run from within. Errors as bdev_open().
 */
int bdev_queue_open(struct bdev *bdev, struct loop *loop, struct bdev_queue **ret_queue)
	__attribute__((warn_unused_result, nonnull));

/* Closes; nothing may be in flight. Drops an iSCSI registration of this nexus. NULL is allowed. */
void bdev_queue_close(struct bdev_queue *queue);

struct bdev *bdev_queue_bdev(const struct bdev_queue *queue);
struct loop *bdev_queue_loop(const struct bdev_queue *queue);

/* status 0: the gate opens and what was held is sent; negative: as bdev_fence_self() for this
 * queue. On the queue's thread. */
void bdev_queue_gate_done(struct bdev_queue *queue, int status);

/*
 * Hands in a request (B1, B2) on the queue's thread. Splits what exceeds the device's limits,
 * emulates FUA and write-zeroes where the device lacks them. Refuses with -EINVAL what is
 * unaligned or empty or does not match its iovecs, -ERANGE what ends past the device, -EROFS,
 * -EOPNOTSUPP, -ENOMEM.
 */
int bdev_submit(struct bdev_queue *queue, struct bdev_req *req)
	__attribute__((warn_unused_result, nonnull));

/* Submits and runs the queue's loop until done: for tools, mount time and tests only. */
int bdev_sync(struct bdev_queue *queue, struct bdev_req *req)
	__attribute__((warn_unused_result, nonnull));
int bdev_pread(struct bdev_queue *queue, void *buf, uint64_t len_bytes, uint64_t off_bytes)
	__attribute__((warn_unused_result, nonnull));
int bdev_pwrite(struct bdev_queue *queue, const void *buf, uint64_t len_bytes, uint64_t off_bytes)
	__attribute__((warn_unused_result, nonnull));
int bdev_flush_sync(struct bdev_queue *queue) __attribute__((warn_unused_result, nonnull));

/* Counters of a device since open, summed over its queues; any thread. */
struct bdev_counters {
	uint64_t ops[BDEV_NR_OPS], bytes[BDEV_NR_OPS], errors[BDEV_NR_OPS];
	uint64_t total_ns[BDEV_NR_OPS], max_ns[BDEV_NR_OPS];
	uint64_t in_flight, reconnects, resends, gate_closings, held_by_deadline;
	uint64_t latency_log2_us[BDEV_NR_OPS][32]; /* [n] = done in [2^n, 2^(n+1)) us */
};
void bdev_counters(const struct bdev *bdev, struct bdev_counters *ret_counters);

/* For tests, with a ram: device (also below filters), from any thread: */
/* Forgets all registrations, as a target does that restarts; each queue's next request finds out
 * (B5). */
void bdev_ram_restart(struct bdev *bdev);
/* Cuts the path of every queue, of all bdevs that share the disk, and restores it (B4). */
void bdev_ram_cut(struct bdev *bdev, bool cut);
/* Makes the device look smaller than it was made, or as large again, to who opens or measures it. */
void bdev_ram_show(struct bdev *bdev, uint64_t size_bytes);
/* With "?cache": loses all that was not flushed. Nothing is in flight. */
void bdev_ram_power_loss(struct bdev *bdev);

/* ---- filters, for tests and experiments; each owns the lower device from then on ---- */

/* Fails requests: the nth (from 1) of the ops in op_mask with err; sticky = all after it too. */
struct bdev_fault_rule {
	uint32_t op_mask; /* 1u << enum bdev_op */
	uint64_t nth;
	int err;
	bool sticky;
};
int bdev_fault_new(struct bdev *lower, const struct bdev_fault_rule *rule, struct bdev **ret_bdev)
	__attribute__((warn_unused_result, nonnull));
/* Replaces the rule and starts counting anew; rule NULL = nothing fails. Any thread. */
void bdev_fault_set(struct bdev *bdev, const struct bdev_fault_rule *rule);
/* Times that the rule has fired. */
uint64_t bdev_fault_fired(const struct bdev *bdev);

/* Delays each request of an op by that many ms before it goes down. */
struct bdev_delay {
	uint32_t ms[BDEV_NR_OPS];
};
int bdev_delay_new(struct bdev *lower, const struct bdev_delay *delay, struct bdev **ret_bdev)
	__attribute__((warn_unused_result, nonnull));

/* Counts by op; bdev_counters() of the filter reads it. */
int bdev_stats_new(struct bdev *lower, struct bdev **ret_bdev)
	__attribute__((warn_unused_result, nonnull));

/* Keeps what is written in memory; the lower device is only read, and may be opened read-only. */
int bdev_overlay_new(struct bdev *lower, struct bdev **ret_bdev)
	__attribute__((warn_unused_result, nonnull));

/*
 * Records each write, write-zeroes, discard and flush, in the order of completion, to replay them
 * onto another device in any crash state. Reads see the lower device as usual.
 */
int bdev_crash_new(struct bdev *lower, struct bdev **ret_bdev)
	__attribute__((warn_unused_result, nonnull));
struct bdev_crash_event {
	enum bdev_op op; /* WRITE, WRITE_ZEROES, DISCARD, FLUSH */
	uint64_t off_bytes, len_bytes;
	const void *data;	/* WRITE: len_bytes, owned by the filter until it is closed */
	uint64_t submit_seq;	/* order of submission, from 1 */
	uint64_t flush_covers;	/* FLUSH: events [0, flush_covers) were done before it was submitted */
	uint64_t size_bytes;	/* of the device, when it was submitted */
	uint64_t user_mark;	/* the value of bdev_crash_mark() when it was done */
	bool fua;		/* WRITE, WRITE_ZEROES: it alone was stable when it was done */
};
/* Number of events so far, and the nth one (from 0). Only while nothing is in flight. */
uint64_t bdev_crash_nr_events(const struct bdev *bdev);
const struct bdev_crash_event *bdev_crash_event(const struct bdev *bdev, uint64_t nth);
/* Sets a number that later events carry, e.g. how many operations were acknowledged. */
void bdev_crash_mark(struct bdev *bdev, uint64_t mark);

#endif
