/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The node's half: requests to the coordinator, wherever it is, that survive its death; the cache of
 * tokens and layouts; reads and writes straight to the device.
 *
 * N1  A call is answered exactly once. A lost connection or a new coordinator only delays it: it is
 *     resent, after the tokens were reasserted, in the order of first sending.
 * N2  I/O is sent to the device only while it is counted in its inode's `inflight`, under a token
 *     whose mode allows it, along layout that the token covers. A recall is answered when the count
 *     is zero; new I/O waits meanwhile.
 * N3  In mode CSVP_WRITE only written extents are cached and the size is a lower bound; in
 *     CSVP_READ and CSVP_EXCL holes, unwritten extents and the size are exact.
 * N4  A read-modify-write (unaligned write, append, a gap past the end) runs alone on its inode.
 * N5  A write is answered after its COMMIT, if it needs one.
 * N6  The kernel has pages of mappings of an inode only while the coordinator knows CSVP_EXCL to be
 *     here (`paged`). Before that is given up they are purged, in two steps, since a page that is
 *     being read or written back keeps a purge waiting: all, while I/O goes on; then, with all other
 *     I/O held, what was read in meanwhile. A page that is read during the second step waits, unless
 *     it lies where the purge is just now.
 *
 * N7  A directory is opened without an OPEN while its attributes are kept here (`quiet`): the coordinator
 *     will then ask us to forget them before it is removed, and in the answer we say that it is open,
 *     which counts as an OPEN. So does a REASSERT. Only what was told is closed with a CLOSE.
 *
 * Threads: the service thread runs the node's loop and owns calls and connections; each worker owns
 * its bdev queue and the I/O that it began; an inode's mutex guards what both touch and is never
 * held across a call or an I/O. Lock order: node.table_lock, then an inode's lock.
 */
#ifndef CSVFS_NODE_H
#define CSVFS_NODE_H

#include <pthread.h>

#include "blockdev/bdev.h"
#include "csvfs/proto/lockset.h"
#include "csvfs/proto/proto.h"
#include "util/buf.h"
#include "util/htab.h"

struct node;
struct node_inode;

struct node_cfg {
	struct loop *loop; /* the service thread's */
	struct bdev *bdev;
	uint8_t uuid[16];
	/* Sends to the coordinator that node_connected() spoke of; -ENOTCONN is no error: a
	 * node_disconnected() and a node_connected() will follow. */
	int (*send)(void *arg, const void *data, uint32_t len);
	/* Writes back and drops pages of ino that the kernel has, then calls node_invalidated().
	 * len_bytes 0: to the end. May be NULL where no I/O is `paging`. */
	void (*invalidate)(void *arg, uint64_t ino, uint64_t off_bytes, uint64_t len_bytes);
	/* What was told of ino is not true any more; nobody has heard of the change yet. 0: all that
	 * was told of any inode. Service thread. May be NULL. */
	void (*forgotten)(void *arg, uint64_t ino);
	/* Asks the device for its size anew, then calls node_measured() with cookie, once. NULL: what
	 * bdev_geom() says is the truth. Service thread, as the next two, which may be NULL. */
	void (*measure)(void *arg, uint64_t cookie);
	/* The volume has that many blocks. */
	void (*resized)(void *arg, uint64_t nr_blks);
	/* The volume needs more of the device than is seen here: the node does not take part. */
	void (*blind)(void *arg, uint64_t needs_bytes, uint64_t seen_bytes);
	void *arg;
	bool noatime; /* does not tell of reads */
	bool strictatime; /* tells of each, when somebody asks for the attributes or it is closed */
	bool no_purge; /* tests only: pages stay where they are */
};

int node_new(const struct node_cfg *cfg, struct node **ret_node)
	__attribute__((warn_unused_result, nonnull));
/* Who we are; before the first node_connected(). */
void node_identity(struct node *node, uint32_t id, uint64_t generation);
/* Nothing may be under way. NULL is allowed. */
void node_free(struct node *node);

/* ---- connection; service thread ---- */

/* There is a channel to the coordinator of this epoch: say hello, reassert, resend. */
void node_connected(struct node *node, uint64_t epoch);
void node_disconnected(struct node *node);
/* A message from it. Negative: close the channel. */
int node_message(struct node *node, const void *data, uint32_t len)
	__attribute__((warn_unused_result, nonnull));
void node_measured(struct node *node, uint64_t cookie);
/* Ends every call and I/O with err (-ERR_FENCED), now and later. */
void node_fail(struct node *node, int err);
/* The last cfg.invalidate() of ino is done; also if the inode is closed by now. */
void node_invalidated(struct node *node, uint64_t ino);

/* ---- calls ---- */

struct node_call {
	struct csvp_msg msg; /* built with csvp_begin(op, 0, 0, 0); owned by the call from node_call */
	bool modifies;	     /* carried out exactly once: takes a session slot */
	bool patient;	     /* may wait for ever: no sign that the coordinator is away */
	/* Service thread. reply is read from its body; NULL when status is negative. May free call. */
	void (*done)(struct node_call *call, int status, struct csvp_in *reply);
	/* private */
	struct list link;
	struct loop_work work;
	struct node *node;
	struct htab_node hash; /* by xid */
	uint64_t xid;
	bool sent;
	int slot;
	uint64_t sent_ns;
};

/* Sends a call; any thread. A message that could not be built ends in done(-ENOMEM). */
void node_call(struct node *node, struct node_call *call);

/* ---- what is kept of earlier answers (meta.h); any thread; false: not known ---- */

bool node_meta_getattr(struct node *node, uint64_t ino, struct csvp_attr *ret);
/* *ret_status: 0, or -ENOENT: there is no such name. */
bool node_meta_lookup(struct node *node, uint64_t dir, const char *name, struct csvp_attr *ret,
	int *ret_status);
/* The body of the answer to READDIR; the caller frees *ret. */
bool node_meta_readdir(struct node *node, uint64_t dir, uint64_t after, uint8_t **ret,
	uint32_t *ret_len);

/* ---- inodes that are open here; any thread ---- */

/* Counts an open of ino. *ret_first: the caller sends OPEN (unless CREATE has opened it), and calls
 * node_close() if that fails. NULL: out of memory. */
struct node_inode *node_open(struct node *node, uint64_t ino, bool *ret_first)
	__attribute__((warn_unused_result, nonnull));
/* Likewise of a directory; not first, too, if nobody needs to be told yet (N7). */
struct node_inode *node_opendir(struct node *node, uint64_t ino, bool *ret_first)
	__attribute__((warn_unused_result, nonnull));
/* The last one sends CLOSE; no I/O of it may be under way. */
void node_close(struct node *node, struct node_inode *ni);
/* Service thread: there is nobody any more who could close; what is open is closed. */
void node_close_all(struct node *node);
/* It was opened as a file without a name, and may get one. */
void node_set_unnamed(struct node *node, struct node_inode *ni);
bool node_is_unnamed(struct node *node, uint64_t ino);
/* When this node last wrote to ino and has not told, in ns since 1970; 0 = no. For GETATTR. */
uint64_t node_wrote_ns(struct node *node, uint64_t ino);
/* When it last read it, if it tells; atime was set by hand: nothing to tell. */
uint64_t node_read_ns(struct node *node, uint64_t ino);
/* Whether a read at read_ns (0 = none) shows in atime (csv_inode_was_read): then what is known of the
 * attributes here is not the whole truth. */
bool node_atime_due(const struct node *node, const struct csvp_attr *a, uint64_t read_ns);
void node_atime_set(struct node *node, uint64_t ino);
bool node_noatime(const struct node *node);
bool node_strictatime(const struct node *node);

/* ---- locks; see lock.c ---- */

/* One request about locks. Made zeroed with malloc(), as the first member of its memory. */
struct node_lock {
	struct node_call call;
	struct node *node;
	struct lock lock; /* kind, type (CSVP_LOCK_NONE unlocks), owner, pid, start, end */
	struct node_inode *ni; /* open until done */
	const void *file;      /* tells apart what the kernel has opened */
	bool wait;
	/* Service thread, once; status also -EAGAIN, -EDEADLK, -EINTR (cancelled), -ENOLCK. Frees the
	 * request with node_lock_free(). */
	void (*done)(struct node_lock *l, int status);

	/* private */
	struct list link;
	struct loop_work work, cancel_work;
	struct lock_memory mem;
	struct lock_use *use;
	int status;
	_Atomic bool cancelled;
	bool begun, cancel_ran, freed;
};

/* Sends it; any thread. -ENOENT: an unlock of an owner that holds nothing; done will not run. */
int node_lock(struct node_lock *l) __attribute__((warn_unused_result, nonnull));
/* The end of a file: unlocks, as node_lock() does, one owner that has locked by way of l->file; node,
 * ni, file and done are set. -ENOENT: there is none (left). */
int node_lock_release(struct node_lock *l) __attribute__((warn_unused_result, nonnull));
/* Ends a wait with -EINTR, unless it is over already. Any thread, until done has begun. */
void node_lock_cancel(struct node_lock *l);
void node_lock_free(struct node_lock *l);

/* ---- I/O ---- */

/* A worker thread's half. */
struct node_worker {
	struct node *node;
	struct loop *loop;
	struct bdev_queue *queue;
	struct buf_pool *pool;
};

enum node_io_op { NODE_READ, NODE_WRITE };

#define NODE_IO_MAX_BYTES (1u << 20)

struct node_seg { /* a run of bytes on the device */
	struct bdev_req req;
	struct iovec iov;
};

struct node_io {
	enum node_io_op op;
	struct node_worker *worker;
	struct node_inode *ni;
	uint64_t off_bytes;
	uint32_t len_bytes; /* up to NODE_IO_MAX_BYTES */
	void *buf;	    /* caller's; page-aligned avoids a copy. Read: room for len_bytes rounded
			     * up to whole 4 KiB blocks at both ends (len + 8 KiB) */
	bool append;	    /* write at the end of file, wherever that is */
	bool drop_priv;	    /* a write that takes set-user-id and the like away */
	bool paging;	    /* pages of a mapping are read in or written back (N6) */
	/* Worker thread. Negative status, or 0 and the number of bytes; read: they begin at
	 * buf + skip_bytes. May free io. */
	void (*done)(struct node_io *io, int status, uint32_t nr_bytes, uint32_t skip_bytes);

	/* private */
	struct list link;
	struct loop_work work;
	struct node_call call;
	bool counted;	   /* in ni->inflight (N2) */
	bool exclusive;	   /* alone on the inode (N4) */
	bool fresh;	   /* the layout was just answered */
	bool inline_tried; /* the coordinator said that it does not fit inline */
	uint32_t want_mode, want_flags; /* of the LAYOUT that it needs */
	uint64_t want_blk, want_nr;
	int status;
	uint32_t nr_bytes, skip_bytes; /* result */
	uint64_t new_size;	       /* the write ends past the known size; 0 = it does not */
	struct node_seg *segs, one_seg;
	struct bdev_req flush;
	uint32_t nr_segs, room_segs, segs_left;
	struct csvp_range ranges[16]; /* blocks to be committed */
	uint32_t nr_ranges;
	struct node_rmw *rmw;
};

/* Begins an I/O on its worker's thread; done runs later, never from within. */
void node_io_submit(struct node_io *io);

/* Everything that this worker was told is written is stable when done runs on the worker's thread:
 * a flush of its queue, and where the device's flush is not global a message besides. */
struct node_sync {
	void (*done)(struct node_sync *sync, int status);
	void *arg;
	struct bdev_req req;
	struct node_call call;
	struct loop_work work;
	struct node_worker *worker;
	int status;
};
void node_sync(struct node_worker *worker, struct node_sync *sync);

struct node_stats {
	uint64_t calls[CSVP_OP_LIMIT]; /* sent, first time */
	uint64_t resent, recalls, reconnects, purges;
	uint64_t io_ops[2], io_bytes[2]; /* by enum node_io_op */
	uint64_t nr_inodes, outstanding;
	bool connected;
	uint64_t meta_hits;  /* requests that were answered from what is kept */
	uint64_t meta_bytes; /* of that */
	uint64_t waiting_ns; /* how long the oldest call has had no answer */
	uint64_t epoch;
};
void node_stats(struct node *node, struct node_stats *ret);

#endif
