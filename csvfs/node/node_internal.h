/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CSVFS_NODE_INTERNAL_H
#define CSVFS_NODE_INTERNAL_H

#include <stdatomic.h>

#include "csvfs/node/layout.h"
#include "csvfs/node/meta.h"
#include "csvfs/node/node.h"
#include "util/list.h"

#define NODE_BLK 4096u
#define NODE_SLOTS 62u

struct node_inode {
	struct htab_node hash; /* key: inode number */
	pthread_mutex_t lock;
	uint32_t opens; /* under node.table_lock */
	bool unnamed;	/* likewise */
	bool quiet;	/* likewise: a directory whose opens nobody was told of (N7) */
	/* under lock: */
	enum csvp_mode mode;
	uint64_t size; /* N3 */
	bool is_inline;
	bool has_priv; /* as csvp_layout_reply; goes with the token */
	struct layout layout;
	uint32_t inflight;
	bool excl_busy;		     /* a counted I/O is exclusive */
	struct node_io *excl_wanted; /* waits for inflight == 0; others queue behind it */
	struct list waiters;
	struct list lock_uses;
	uint64_t wrote_ns, read_ns;
	bool recall_pending; /* I/O is held (but see N6) */
	enum csvp_mode recall_mode;
	bool paged;		/* N6 */
	bool recall_purges;	/* the recall takes EXCL from under pages */
	bool purging_all;	/* first step: cfg.invalidate() runs, I/O goes on */
	uint64_t purge_off, purge_len; /* second step: where it runs; len 0 = not now */
	struct list fills;	/* struct fill: pages that were read since the purge began */
	bool refresh_pending, refresh_posted; /* all I/O is held */
	/* service thread: */
	uint64_t recall_xid, refresh_xid;
	bool close_waits; /* for the recall that is pending */
	struct loop_work recall_work, refresh_work, close_work;
	bool recall_posted; /* under lock */
	bool closing;	    /* close_work is posted; under node.table_lock */
	struct lockset locks;	/* that were granted; service thread */
	struct list lock_calls; /* struct node_lock, as they were sent; service thread */
	struct node *node;
};

struct node {
	struct node_cfg cfg;
	uint32_t id;
	uint64_t generation;
	pthread_mutex_t table_lock;
	struct htab inodes;
	_Atomic int failed; /* 0 or negative */
	_Atomic uint64_t io_ops[2], io_bytes[2];
	uint32_t block_bytes;
	bool global_flush;
	struct meta meta;
	/* service thread: */
	bool connected, ready;
	bool looking; /* at the device's size, before it tells what it holds */
	uint64_t needs_blks;
	uint64_t epoch, next_xid;
	struct list calls;   /* outstanding, oldest first */
	struct list waiting; /* for a slot */
	struct htab by_xid;
	uint64_t slot_seq[NODE_SLOTS];
	bool slot_used[NODE_SLOTS];
	struct node_stats stats;
};

/* inode.c */
struct node_inode *inode_find(struct node *node, uint64_t ino); /* table_lock held */
void inode_recall(struct node *node, const struct csvp_hdr *hdr, uint64_t ino, enum csvp_mode mode);
/* What is known under the token is not true any more; it stays here, to be asked about anew. */
void inode_refresh(struct node *node, const struct csvp_hdr *hdr, uint64_t ino);
void inode_times(struct node *node, const struct csvp_hdr *hdr, uint64_t ino);
/* Answers a callback. */
void recall_reply(struct node *node, enum csvp_op op, uint64_t xid, uint64_t wrote_ns);
/* Nothing is kept of it any more: whether it is open without an OPEN, which from now on is told (N7).
 * xid 0: nobody waits for the answer. */
void inode_forget(struct node *node, const struct csvp_hdr *hdr, uint64_t ino);
/* Puts every inode with a token or an open into messages; sends them. */
int inodes_reassert(struct node *node);
void inodes_fail(struct node *node);
/* lock held: restarts all I/O that waits. */
void inode_wake(struct node_inode *ni);
/* lock held: the count fell or a hindrance went away. */
void inode_settle(struct node_inode *ni);
/* lock held: the kernel gets pages of this range now, under CSVP_EXCL (N6). -ENOMEM: it must not. */
int inode_filled(struct node_inode *ni, uint64_t off_bytes, uint64_t len_bytes)
	__attribute__((warn_unused_result));
void inode_wrote(struct node_inode *ni);
void inode_was_read(struct node_inode *ni);

/* client.c */
int client_send(struct node *node, struct csvp_msg *msg);
/* node_call() from the service thread, begun before it returns: before what anybody calls later. */
void client_call(struct node *node, struct node_call *call);

/* lock.c */
void locks_init(struct node_inode *ni);
void locks_done(struct node_inode *ni);
/* Tells the coordinator what was granted here. */
int locks_reassert(struct node *node);

/* io.c */
void io_begin(struct node_io *io);
void io_restart(struct node_io *io);
void io_end(struct node_io *io, int status);
/* Data is on the device: commit if need be, then end. */
void io_written(struct node_io *io);
/* One more run of bytes for io to transfer; joined to the last one if it continues it. -ENOMEM. */
int io_add_seg(struct node_io *io, uint64_t phys_bytes, void *mem, uint64_t len_bytes);
/* Hands every run to the device; then io_written (write), or the end (read). */
void io_submit_segs(struct node_io *io);

/* admit.c: lock held */
enum admit { ADMIT, ADMIT_WAIT, ADMIT_FETCH };
enum admit io_admit(struct node_io *io);

/* rmw.c */
/* lock held, at admission: notes what must be read, makes the memory that will be written. */
int rmw_prepare(struct node_io *io) __attribute__((warn_unused_result));
uint8_t *rmw_memory(struct node_io *io);
/* Worker thread: reads, merges, then io_submit_segs. */
void rmw_go(struct node_io *io);
void rmw_free(struct node_io *io);

#endif
