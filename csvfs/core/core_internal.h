/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of the engine's lower half share: the engine itself, cached blocks, the running
 * transaction. The upper half (allocator, inodes, ...) uses txn.h, btree.h, alloc.h, and of this
 * csv_fs's geom and alloc alone.
 */
#ifndef CSVFS_CORE_CORE_INTERNAL_H
#define CSVFS_CORE_CORE_INTERNAL_H

#include "blockdev/bdev.h"
#include "csvfs/core/alloc.h"
#include "csvfs/core/txn.h"
#include "journal/journal.h"
#include "util/buf.h"
#include "util/htab.h"
#include "util/list.h"
#include "util/loop.h"

/* ---- cached blocks (cache.c) ---- */

/*
 *           miss                    read done
 *   (none) ------> READING ---------------------> VALID ---> (none): evicted, dropped
 *      |              `-> FAILED (out of the table) -> (none)   ^
 *      `--- csv_txn_new, jnl_peek ------------------------------'
 */
enum csv_buf_state { CSV_BUF_READING, CSV_BUF_VALID, CSV_BUF_FAILED };

struct csv_buf {
	struct htab_node node; /* key: block number */
	struct list lru;       /* in cache.lru while refs is 0 */
	struct list waiters;   /* READING: csv_op.link */
	uint8_t *data;	       /* 4 KiB */
	uint64_t seq;	       /* compound of the last change; 0 = it is on the LUN */
	uint64_t run;	       /* the run that touched it last */
	uint32_t refs;	       /* running transaction, waiting operations, read, open compound */
	enum csv_buf_state state;
	int error;	       /* FAILED: why */
	uint8_t type;	       /* enum csv_blk_type */
	bool pinned;	       /* in the journal's open compound (a reference) */
	bool dead;	       /* the block is free; the content serves the open compound only */

	/* In the running transaction. */
	bool written;	  /* in txn.writes */
	bool fresh;	  /* had no buffer before: abort drops it */
	bool forgotten;	  /* in txn.forgets */
	bool before_dead;
	uint8_t before_type;
	uint8_t *before;  /* 4 KiB */
};

struct csv_cache {
	struct htab bufs;
	struct list lru; /* oldest first */
	uint64_t nr_lru, max_lru;
	uint32_t nr_reads; /* in flight */
	struct buf_pool *pool;
	uint64_t hits, misses, peeks, evictions;
};

int csv_cache_init(struct csv_cache *cache, uint64_t bytes) __attribute__((warn_unused_result));
void csv_cache_done(struct csv_cache *cache);
struct csv_buf *csv_cache_find(struct csv_cache *cache, uint64_t blk);
/* A new buffer in the table with one reference, content undefined; NULL = no memory. */
struct csv_buf *csv_cache_add(struct csv_cache *cache, uint64_t blk, enum csv_buf_state state);
void csv_buf_ref(struct csv_cache *cache, struct csv_buf *buf);
/* Drops a reference; the last one makes it evictable, or frees it when its content is of no use. */
void csv_buf_unref(struct csv_cache *cache, struct csv_buf *buf);
/* Takes it out of the table; it is freed with its last reference. */
void csv_buf_drop(struct csv_cache *cache, struct csv_buf *buf);
/* Finds the block, from the journal if it has it, or starts a read; *ret has a reference more. */
int csv_cache_get(struct csv_fs *fs, uint64_t blk, struct csv_buf **ret)
	__attribute__((warn_unused_result));

/* ---- the running transaction (txn.c) ---- */

struct csv_txn {
	struct csv_fs *fs;
	uint64_t run;		/* numbers the runs */
	struct csv_buf **touched; /* each once, with a reference */
	uint32_t nr_touched, max_touched;
	struct csv_buf *writes[JNL_TXN_MAX_BLOCKS];
	uint32_t nr_writes;
	struct csv_buf **forgets;
	uint32_t nr_forgets, max_forgets;
	struct csv_txn_hook *hooks; /* newest first */
	uint64_t touch_seq;	/* newest compound that a touched block is in */
	struct csv_buf *wait_buf;   /* why -ERR_WAIT: this block is being read */
	bool wait_room;		/* the log is full */
	bool wait_checkpoint;	/* csv_txn_want_checkpoint */
	bool had_checkpoint;	/* that was done already */
	bool preflush;
	bool limits; /* csv_quota_enforce */
	bool active;
	uint32_t nr_changed; /* as in csv_op */
	uint64_t changed[CSV_OP_CHANGED_MAX];
};

void csv_txn_begin(struct csv_txn *txn, struct csv_fs *fs, bool had_checkpoint);
/* Ends it with effect; on an error the caller aborts. touch_seq is the compound then. */
int csv_txn_commit(struct csv_txn *txn) __attribute__((warn_unused_result));
/* Ends it without. */
void csv_txn_abort(struct csv_txn *txn);
/* After either: drops references, or hands them to *ret_holds (ends with NULL; NULL = no memory,
 * they were dropped). */
void csv_txn_end(struct csv_txn *txn, struct csv_buf ***ret_holds);
void csv_txn_free(struct csv_txn *txn);

/* ---- operations (driver.c) ---- */

/* In csv_op.wait_. */
struct csv_op_state {
	struct jnl_wait wait;
	struct csv_fs *fs;
	struct csv_buf **holds; /* blocks that must not go before the next run; ends with NULL */
	uint64_t touch_seq;
	int32_t status; /* of the run, or a failed read */
	uint8_t failed; /* status is final: do not run again */
	uint8_t had_checkpoint;
};
static_assert(sizeof(struct csv_op_state) <= sizeof(((struct csv_op *)0)->wait_), "csv_op.wait_");

static inline struct csv_op_state *csv_op_state(struct csv_op *op)
{
	return (struct csv_op_state *)op->wait_;
}

struct csv_driver {
	struct list resumed; /* ran before; go first */
	struct list ready;   /* in order of submission */
	struct list no_room; /* waiting for space in the log */
	struct list ckpt_next, ckpt_running; /* waiting for a checkpoint: the next, the running one */
	struct list syncs;   /* csv_op_sync() callers */
	struct jnl_wait ckpt_wait;
	bool ckpt_busy;
	uint64_t nr_ops; /* submitted and not done */
	uint64_t runs, reruns, commits, aborts; /* counters */
	struct loop_work kick; /* has the loop run what is ready */
	bool kicked;
};

void csv_driver_init(struct csv_fs *fs);
void csv_driver_exit(struct csv_fs *fs);
/* Has the loop run the driver. */
void csv_driver_kick(struct csv_fs *fs);
/* A read has ended: its waiters run again, or end with err. */
void csv_driver_wake(struct csv_fs *fs, struct csv_buf *buf, int err);
/* There is room in the log, or an error: what waits goes on. */
void csv_driver_room(struct csv_fs *fs);

/* ---- the engine (fs.c) ---- */

enum csv_fs_state {
	CSV_FS_NEW,
	CSV_FS_RECOVERING,
	CSV_FS_OPEN,
	CSV_FS_CLOSING, /* no new operations; waits for those under way, then for the journal */
	CSV_FS_CLOSED,
};

struct csv_fs {
	struct csv_fs_cfg cfg;
	struct bdev_queue *queue;
	struct csv_geometry geom;
	struct jnl *jnl;
	struct csv_alloc *alloc;
	struct csv_cache cache;
	struct csv_driver drv;
	struct csv_txn txn; /* one at a time */
	enum csv_fs_state state;
	int error;	     /* sticky */
	bool failed_pending; /* cfg.failed is to be called */
	uint64_t last_seq;   /* newest compound that something was committed to */
	struct csv_grow *grow;	  /* under way (grow.c); NULL = nothing */
	uint32_t nr_super_io;	  /* superblocks that a check is reading or mending */

	void (*recovered)(void *arg, int status, uint64_t nr_records, uint64_t nr_blks);
	void *recovered_arg;
	uint64_t nr_replayed, nr_replayed_blks, replayed_seq;
	void (*closed)(void *arg, int status);
	void *closed_arg;
	int close_status;
	bool close_started, close_done;
	struct jnl_wait close_wait;
};

/* From the driver when it has nothing to run: goes on with csv_fs_close(). True: fs may be gone. */
bool csv_fs_idle(struct csv_fs *fs);

/* ---- grow.c ---- */

/* After a replay, before anything else runs: the superblock may have become another (G4). -ENOMEM. */
int csv_grow_settle(struct csv_fs *fs, void (*done)(void *arg, int status), void *arg)
	__attribute__((warn_unused_result));

/* ---- super.c ---- */

/* Geometry from a superblock, all of it checked. Any error is -ERR_CORRUPT, *why says what. */
int csv_super_decode(const void *block, struct csv_geometry *ret, const char **why)
	__attribute__((warn_unused_result));
/* Likewise, and its header; the block was read from blk. (verify.c) */
int csv_super_check(const void *block, uint64_t blk, struct csv_geometry *ret, const char **why)
	__attribute__((warn_unused_result));
/* Header alone, of a block of any type. (verify.c) */
int csv_hdr_verify(const void *block, uint64_t blk, enum csv_blk_type type, const uint8_t uuid[16],
	const char **why) __attribute__((warn_unused_result));
/* Fills the fields behind the header from geom (the header is csv_blk_seal's). */
void csv_super_encode(void *block, const struct csv_geometry *geom);

#endif
