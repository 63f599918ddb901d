/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CSVFS_COORD_INTERNAL_H
#define CSVFS_COORD_INTERNAL_H

#include "blockdev/bdev.h"
#include "csvfs/coord/coord.h"
#include "csvfs/core/fs.h"
#include "csvfs/proto/lockset.h"
#include "csvfs/proto/proto.h"
#include "util/htab.h"
#include "util/list.h"

#define CSV_COORD_BLK 4096u
#define NR_NODES 65u /* nodes count from 1 */
#define NODE_BIT(node) (1ull << ((node)-1))
#define ALL_NODES UINT64_MAX

struct request;

/* A callback that a node owes an answer to. */
struct callback {
	struct list link; /* coord.callbacks */
	struct coord *coord;
	enum csvp_op op; /* CSVP_RECALL, REFRESH, TIMES, FORGET */
	uint32_t node;
	uint64_t xid, ino;
	enum csvp_mode mode; /* to keep */
	struct request *r;   /* for whom; alive until done */
	ev_timer timer;
	bool orphan; /* orphan_check() waits for the answer */
	/* reply is NULL when the node is gone. The callback is freed after it. */
	void (*done)(struct callback *cb, const struct csvp_recall_reply *reply);
};

/* What the coordinator knows of an inode that somebody holds a token on, has open, or works on. */
struct coord_inode {
	struct htab_node hash; /* key: inode number */
	uint8_t mode[NR_NODES];
	uint64_t holders;	 /* nodes with a mode above CSVP_NONE */
	uint64_t opens;		 /* nodes that have it open */
	uint64_t asserted;	 /* nodes whose share here is of their present connection */
	struct list section;	 /* requests; the first is in (C1) */
	struct list inner;	 /* likewise, of those beside it (C7) */
	uint64_t recalled;	 /* nodes whose answer the section waits for */
	bool zeroing;		 /* zero-ahead is under way: COMMITs wait */
	struct list commits;	 /* those that wait */
	uint32_t nr_commits;	 /* those in the engine: zero-ahead waits */
	struct request *zeroer;	 /* that which waits for them */
	uint64_t ahead_next;	 /* block where a sequential writer would go on */
	uint32_t ahead_blks;	 /* run-ahead so far */
	uint32_t ahead_random;	 /* zero-aheads that did not continue one */
	uint32_t refs;		 /* requests that point here */
	bool freeing;		 /* a request in the section looks whether to free it, or does */
	struct lockset locks;	 /* coord_lock.c */
	struct list lock_waiters; /* requests, the oldest first */
};

/* A request from its arrival to its answer. */
struct request {
	struct csv_op op;
	struct list link; /* in a section, inner, commits, lock_waiters or coord.parked */
	struct list all;  /* coord.requests */
	struct coord *coord;
	uint32_t node;
	uint64_t generation, hellos; /* of the session when it came */
	struct csvp_in in;
	const struct csvp_hdr *hdr;
	const void *body; /* the op's struct */
	const struct op_desc *desc;
	struct coord_inode *ci; /* when it works on one */
	bool in_section;
	bool awaits; /* in the section, until what it recalls is there and nobody is beside it */
	bool inner; /* works beside the section (C7) */
	void (*inner_step)(struct request *r); /* how it would; NULL: it must not */
	uint64_t section_mask; /* of section_enter, while it waits to get in */
	enum csvp_mode section_mode;
	bool silent;   /* internal work: nobody is answered */
	bool replayed; /* answered from the session's slot */
	bool last_step; /* this transaction completes the request: record the result */
	uint64_t waiting; /* TIMES callbacks out */
	uint32_t nr_forgets; /* FORGET callbacks out */
	void (*forgotten)(struct request *r);
	uint64_t nameless; /* inode that its transaction took the last name from; 0 = none */
	bool outdated; /* others may have changed since what it read */
	int status; /* of the op, meanwhile */
	uint64_t times_ns; /* newest that they answered */

	/* filled by run functions */
	struct csv_attr attr, attr2;
	struct csv_statfs statfs;
	struct csv_project project;
	struct csvp_msg reply;
	struct csv_extent *ext;
	uint32_t nr_ext;
	uint8_t inline_data[1024];
	uint32_t inline_len;
	bool has_priv;

	/* of multi-step requests */
	void (*step)(struct request *r, int status); /* what the op's done calls */
	int (*run)(struct request *r, struct csv_txn *txn);
	uint64_t blk, nr, left, size;
	uint64_t pos;	     /* how far a step has come */
	uint64_t nr_done;    /* blocks that the last transaction allocated */
	uint64_t zero_blk, zero_nr; /* the run that is made ready */
	uint64_t base;		    /* that a transaction may have let go of */
	struct csv_fill fill;	    /* the piece of it that is being filled */
	struct request *other;	    /* CLONE: in the section of the other inode meanwhile */
	enum csvp_mode mode; /* to be granted */
	void (*then)(struct request *r, int status); /* what follows a sub-step */
	void (*part_then)(struct request *r, int status); /* what follows data_zero_part() */
	struct bdev_req io;
	struct iovec iov;
	void *io_buf;
	size_t io_buf_bytes;
	uint32_t from, to; /* bytes of a block to zero */

	struct csvp_grow_reply grow;

	/* of LOCK (coord_lock.c) */
	struct lock lock; /* wanted */
	int64_t since_ns; /* by the monotonic clock; may be before its 0 */
	struct list wait_link, search_link;
	uint64_t search; /* which has found it last */

	uint8_t data[]; /* the message */
};

struct op_desc {
	uint32_t body_len;
	/* Where it begins; the default is one transaction with run, then reply. */
	void (*start)(struct request *r);
	int (*run)(struct request *r, struct csv_txn *txn);
	/* Puts the reply struct; NULL = an empty reply. */
	void (*reply)(struct request *r);
	/* After success, whether or not there is still somebody to answer. May be NULL. */
	void (*after)(struct request *r);
	bool once; /* changes something: may carry a slot (C5) */
};
extern const struct op_desc coord_ops[CSVP_OP_LIMIT];

struct session {
	bool open;
	uint64_t generation;
	uint64_t hellos; /* tells its connections apart */
};

/* What is known while the volume is being grown (coord_grow.c). */
struct coord_grow {
	struct request *r;   /* NULL: it is not */
	struct list waiters; /* other requests */
	uint64_t waiting, answered;  /* nodes */
	uint64_t hellos[NR_NODES];   /* of the session that was asked */
	uint64_t seen_bytes[NR_NODES];
	uint64_t old_blks, blks; /* before, wanted (0 = not known yet) */
};

struct coord {
	struct coord_cfg cfg;
	struct coord_grow grow;
	struct loop *loop;
	struct htab inodes;
	struct htab seen; /* coord_seen.c */
	struct list seen_lru;
	struct session sessions[NR_NODES];
	uint64_t awaited; /* C6 */
	uint64_t telling; /* nodes that have said hello and not yet all that they have open */
	bool serving;
	struct list requests, parked, callbacks;
	struct list spare; /* callbacks for when memory is short: SPARE_CALLBACKS of them at rest */
	uint32_t nr_spare;
	struct list lock_waits; /* requests, of all inodes */
	struct lockset asserted_locks[NR_NODES]; /* told so far, until the last REASSERT */
	uint32_t nr_locks[NR_NODES], nr_lock_waits[NR_NODES];
	uint32_t nr_opens[NR_NODES]; /* inodes that each has open */
	uint64_t lock_search;
	uint64_t next_xid;
	uint32_t nr_io; /* requests to the device (coord_data.c) */
	/* coord_orphan.c */
	uint32_t nr_freeing; /* orphans */
	struct request *scan; /* for orphans; NULL: none runs */
	bool scan_waits, scan_again;
	bool stopping;
	void (*stopped)(void *arg); /* of coord_stop(), until it was called */
	void *stopped_arg;
	struct coord_stats stats;
};

/* coord.c */
/* node says that it holds what other has: -EPROTO, one of them is evicted (C6). */
int claim_refused(struct coord *coord, uint32_t node, uint32_t other, uint64_t ino, const char *what);
/* An I/O of the coordinator's own has ended. */
void stop_check(struct coord *coord);
void request_run(struct request *r, int (*run)(struct request *r, struct csv_txn *txn),
	void (*step)(struct request *r, int status));
void request_finish(struct request *r, int status);
/* Internal work, answered to nobody; ends in request_finish() like any other. NULL: no memory. */
struct request *request_new_internal(struct coord *coord, size_t body_len);
/* Asks node about ino on behalf of r; done runs once, never from within. -ENOMEM. */
int callback_send(struct request *r, uint32_t node, enum csvp_op op, uint64_t ino,
	enum csvp_mode mode, void (*done)(struct callback *, const struct csvp_recall_reply *))
	__attribute__((warn_unused_result));

/* Tells node something that it does not answer. */
void callback_tell(struct coord *coord, uint32_t node, enum csvp_op op, uint64_t ino);

/* coord_seen.c */
/* Every node forgets what r's transaction has changed; then forgotten(r). */
void seen_changed(struct request *r, void (*forgotten)(struct request *r));
/* Likewise one inode. */
void seen_forget(struct request *r, uint64_t ino, void (*forgotten)(struct request *r));
/* r's reply, which is ready: notes and marks what its node may keep. */
void seen_grant(struct request *r, int status);
void seen_node_gone(struct coord *coord, uint32_t node);
void seen_done(struct coord *coord);

/* coord_token.c */
struct coord_inode *ci_find(struct coord *coord, uint64_t ino);
/* Finds or makes; NULL: no memory. Without a reference: the caller gives it a reason to stay. */
struct coord_inode *ci_get(struct coord *coord, uint64_t ino);
/* Finds or makes; -ENOMEM. r->ci is set and a reference held until the request ends. */
int ci_attach(struct request *r, uint64_t ino);
void ci_detach(struct request *r);
void ci_maybe_free(struct coord *coord, struct coord_inode *ci);
void ci_set_mode(struct coord_inode *ci, uint32_t node, enum csvp_mode mode);
/* A node that has what node cannot have beside it; 0: none. */
uint32_t ci_conflict(const struct coord_inode *ci, uint32_t node, enum csvp_mode mode);
void ci_set_open(struct coord *coord, struct coord_inode *ci, uint32_t node, bool open);
/* -ENFILE: node may not open another inode than ci (NULL: one that is made). */
int ci_may_open(const struct coord *coord, const struct coord_inode *ci, uint32_t node);
/* Enters the section of r->ci; then others (nodes in mask) are recalled so that they hold nothing
 * that conflicts with mode; then step(r, 0). CSVP_NONE as mode: nobody in mask keeps anything. */
void section_enter(struct request *r, uint64_t mask, enum csvp_mode mode,
	void (*step)(struct request *r, int status));
/* Recalls once more, from within the section. */
void section_recall(struct request *r, uint64_t mask, enum csvp_mode mode,
	void (*step)(struct request *r, int status));
void section_leave(struct request *r);
/* Begins r->inner_step(r) beside the section, behind others there, if that is allowed (C7). */
bool inner_enter(struct request *r);
/* r's node has nothing under way on the inode and knows nothing of it any more: step(r, 0). */
void inner_refresh(struct request *r, void (*step)(struct request *r, int status));
void inner_leave(struct request *r);
void token_node_gone(struct coord *coord, uint32_t node);
/* A node's reassertion begins; at its end what it did not mention is dropped. */
void token_reassert_begin(struct coord *coord, uint32_t node);
void token_reassert_end(struct coord *coord, uint32_t node);

/* coord_space.c */
void start_layout(struct request *r);
void start_commit(struct request *r);
void start_write_inline(struct request *r);
void start_fallocate(struct request *r);
void start_seek(struct request *r);
void start_setattr_size(struct request *r);
void reply_size(struct request *r);
void reply_layout(struct request *r);

/* coord_clone.c */
void start_clone(struct request *r);
int run_map(struct request *r, struct csv_txn *txn);

/* coord_data.c: the coordinator's own writes of file data; each ends in then(r, status) */
/* Zeroes bytes [from, to) of block blk of r->ci, if there is data. In the section, all recalled. */
void data_zero_part(struct request *r, uint64_t blk, uint32_t from, uint32_t to,
	void (*then)(struct request *r, int status));
/* Moves inline data to the first block. In the section. */
void data_uninline(struct request *r, void (*then)(struct request *r, int status));
/* Fills what is unwritten in blocks [blk, blk + nr) with what shows through there, zeroes mostly, and
 * marks it written. In the section. */
void data_fill_unwritten(struct request *r, uint64_t blk, uint64_t nr,
	void (*then)(struct request *r, int status));
/* Gives blocks [blk, blk + nr) a place that is the file's own, with what they hold now. In the
 * section, all recalled. */
void data_own(struct request *r, uint64_t blk, uint64_t nr,
	void (*then)(struct request *r, int status));
/* Whether r's node is still the mount that asked, on the same connection. */
bool request_live(const struct request *r);

/* coord_project.c */
int run_project_get(struct request *r, struct csv_txn *txn);
int run_project_set(struct request *r, struct csv_txn *txn);
void reply_project(struct request *r);

/* coord_xattr.c */
int run_getxattr(struct request *r, struct csv_txn *txn);
int run_listxattr(struct request *r, struct csv_txn *txn);
int run_removexattr(struct request *r, struct csv_txn *txn);
void start_setxattr(struct request *r);
void reply_xattr(struct request *r);

/* coord_lock.c */
void start_lock(struct request *r);
void start_getlk(struct request *r);
void reply_getlk(struct request *r);
void start_lock_cancel(struct request *r);
void lock_init(struct coord *coord);
void lock_done(struct coord *coord);
/* A node connects: what waits for locks there is sent again, what it holds is told (L3, L4). */
void lock_hello(struct coord *coord, uint32_t node);
/* A part of what a node holds. -EPROTO, -ENOMEM. */
int lock_reassert(struct coord *coord, uint32_t node, struct csvp_in *in);
/* Before the last REASSERT is answered, what was told as a whole: -EPROTO for locks on what is not open,
 * that overlap, that another node has. -ENOMEM. */
int lock_reassert_check(struct coord *coord, uint32_t node);
void lock_reassert_end(struct coord *coord, uint32_t node);
/* The inode is not open on node any more. The caller holds a reference to ci. */
void lock_closed(struct coord *coord, struct coord_inode *ci, uint32_t node);
/* Before its opens are dropped. */
void lock_node_gone(struct coord *coord, uint32_t node);

/* coord_grow.c */
void start_grow(struct request *r);
void reply_grow(struct request *r);
/* How much of the device a node must see that says hello now. */
uint64_t grow_needs_blks(const struct coord *coord);

/* coord_orphan.c */
/* Frees ino if it has no name and nobody has it open. Not before all opens are known (C6):
 * orphan_scan() finds it then. */
void orphan_check(struct coord *coord, uint64_t ino);
void orphan_scan(struct coord *coord);

#endif
