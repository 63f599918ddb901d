/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the journal's files share. J1 to J7 stand in journal.h; these are how they are kept:
 *
 * K1  A block has a chain of images: one for each closed record that holds it, newest first. The
 *     newest is in jnl->newest (jnl_peek). At most one image of a chain, the oldest, is in a stable
 *     record: when a record becomes stable, the images that its own supersede are dropped.
 * K2  A checkpoint has a target that is stable before it writes anything (J2), so by K1 it finds
 *     one image a block in the records up to its target: no block is written twice. Checkpoints do
 *     not overlap: two in-place writes of a block are never in flight together, nor reordered. An
 *     image that is dropped while its in-place write is in flight lives until that is done.
 * K3  Space of the ring is given back only after a header with the new tail is stable; a header is
 *     written only after the one before it is stable (J6), and only by the checkpoint or recovery.
 * K4  One record is written at a time. `used` counts the ring's blocks from the tail to the end of
 *     the newest closed record; a commit is taken only if the open compound still fits behind that.
 * K5  Callbacks of waiters, room() and failed() run from jnl_kick_run() alone, which touches the
 *     journal no more once a callback has freed it. taken(), clean() and tail_moved() run from
 *     completions, when all state is in order; they may commit and wait, but not free.
 * K6  After a failure completions only count down jnl->inflight (J5).
 *
 * Record:      OPEN -> (PREFLUSH ->) WRITE -> written -> stable -> in place, tail passed: freed
 *   OPEN       jnl_commit() adds          left by jnl_write_progress(), when no record is written
 *   PREFLUSH   closed, waits for a flush  left by jnl_write_progress(), when it is done
 *   WRITE      its writes are in flight   left by the last of them
 *
 * Checkpoint:  IDLE -> STABLE -> WRITE -> FLUSH -> HEADER -> HFLUSH -> IDLE (journal_ckpt.c)
 */
#ifndef JOURNAL_JOURNAL_INTERNAL_H
#define JOURNAL_JOURNAL_INTERNAL_H

#include "blockdev/bdev.h"
#include "journal/journal.h"
#include "journal/journal_format.h"
#include "util/buf.h"
#include "util/checked.h"
#include "util/err.h"
#include "util/htab.h"
#include "util/list.h"
#include "util/loop.h"

#define JNL_IO_BLKS 256u    /* largest request for a run of blocks */
#define JNL_INPLACE_IOS 16u /* requests of a checkpoint in flight */
#define JNL_NR_FLUSHES 2u   /* flushes in flight */

struct jnl_rec;
struct jnl_replay;

/* A request, counted in jnl->inflight. */
struct jnl_io {
	struct bdev_req req;
	struct jnl *jnl;
	void (*done)(struct jnl_io *io, int status);
};

/* One block of one compound. */
struct jnl_img {
	struct htab_node node; /* jnl->open_blks, or jnl->newest; else in neither */
	struct list link;      /* rec->imgs */
	struct list ip_link;   /* of an in-place write that has not begun */
	struct jnl_img *newer, *older;
	const void *live;
	void *data; /* 4 KiB */
	bool in_flight, dropped;
};

static inline uint64_t jnl_img_blk(const struct jnl_img *img)
{
	return img->node.key;
}

struct jnl_rec {
	struct list link; /* jnl->recs, oldest first; the open one is on no list */
	struct list imgs;
	uint32_t nr_imgs;
	uint32_t nr_blks; /* with descriptors */
	uint64_t seq;
	uint64_t pos; /* in the ring */
	bool preflush;
	uint64_t flush_after; /* J4: wants a flush whose id is larger */

	/* for its write; grown by commits, so that closing needs no memory */
	void **descs;
	struct iovec *iov;
	struct jnl_io *ios;
	uint32_t nr_descs, max_descs, max_iov, max_ios;
};

enum jnl_state { JNL_NEW, JNL_RECOVERING, JNL_RUNNING, JNL_CLOSING, JNL_CLOSED };
enum jnl_write_state { JNL_WR_IDLE, JNL_WR_PREFLUSH, JNL_WR_WRITE };
enum jnl_ckpt_state {
	JNL_CK_IDLE,
	JNL_CK_STABLE, /* until target is stable */
	JNL_CK_WRITE,  /* in place */
	JNL_CK_FLUSH,  /* of what was written in place */
	JNL_CK_HEADER, /* with the new tail */
	JNL_CK_HFLUSH, /* of the header */
};

struct jnl_flush {
	struct jnl_io io;
	uint64_t id;
	uint64_t covers_seq; /* what was written when it was submitted */
	bool busy;
};

struct jnl_ip_io {
	struct jnl_io io;
	struct iovec iov[JNL_IO_BLKS];
	struct jnl_img *imgs[JNL_IO_BLKS];
	uint32_t nr;
	bool busy;
};

/* What the loop holds: it may outlive the journal. */
struct jnl_kick {
	struct loop_work work;
	struct jnl *jnl; /* NULL: freed meanwhile */
	bool armed, running;
};

/* Sabotage, for tests that prove that the crash test can fail. */
#define JNL_BREAK_CKPT_STABLE (1u << 0)	 /* no flush before in-place writes (J2) */
#define JNL_BREAK_CKPT_FLUSH (1u << 1)	 /* none between them and the header (J3) */
#define JNL_BREAK_TAIL_FLUSH (1u << 2)	 /* space is reused before the header is stable (K3) */
#define JNL_BREAK_PREFLUSH (1u << 3)	 /* J4 */
#define JNL_BREAK_CRC (1u << 4)		 /* replay takes images unverified (J1) */
#define JNL_BREAK_EPOCH (1u << 5)	 /* replay takes records of any epoch (J1) */
#define JNL_BREAK_STABLE_WAIT (1u << 6)	 /* jnl_wait_stable() does not flush */
#define JNL_BREAK_REPLAY_FLUSH (1u << 7) /* replay does not flush what it wrote in place */

struct jnl {
	struct jnl_cfg cfg;
	struct loop *loop;
	struct buf_pool *pool;
	enum jnl_state state;
	int error;
	unsigned broken; /* JNL_BREAK_* */
	bool dead;	 /* jnl_free() was called, requests are in flight still */
	bool failed_told;
	uint32_t inflight;
	struct jnl_kick *kick;

	/* where things are */
	uint64_t epoch;
	uint32_t node;
	uint64_t ring_blks;
	uint32_t cap_blks; /* largest record */
	uint64_t head;	   /* where the next record begins */
	uint64_t used;	   /* K4 */
	uint64_t open_seq, written_seq, stable_seq, tail_seq;
	uint64_t super_seq; /* K1 holds for the records up to here */

	struct jnl_rec *open; /* NULL or nr_imgs = 0: empty */
	struct htab open_blks;
	struct htab newest;
	struct list recs;

	enum jnl_write_state wr_state;
	struct jnl_rec *wr_rec;
	uint32_t wr_left; /* requests in flight */

	struct jnl_flush flushes[JNL_NR_FLUSHES];
	uint64_t flush_id;	/* of the last one submitted */
	uint64_t flush_done_id; /* the largest of those done */
	uint64_t flush_covers;	/* covers_seq of the last one submitted */
	bool flush_pending;	/* one more is wanted as soon as one has ended */

	enum jnl_ckpt_state ck_state;
	uint64_t ck_target, ck_flush_after, ck_tail_pos;
	uint64_t ck_want; /* the tail should pass this */
	bool ck_clean;	  /* the last one: marks the header clean */

	struct {		   /* journal_inplace.c */
		struct list queue; /* jnl_img.ip_link, sorted by block */
		struct jnl_ip_io *ios;
		uint32_t busy;
		void (*done)(struct jnl *jnl);
	} ip;

	struct { /* journal_header.c */
		struct jnl_io io;
		struct iovec iov;
		void *buf;
		uint64_t seq; /* of the newest header */
		uint64_t stable_seq;
		unsigned slot; /* that it is in */
		void (*done)(struct jnl *jnl);
	} hdr;

	/* waiters by seq, ascending; ready: jnl_wait.seq holds the status */
	struct list wait_written, wait_stable, wait_tail, ready;
	struct jnl_wait *close_wait;
	uint32_t room_want; /* 0 = nobody was refused */

	struct jnl_replay *replay;
	uint64_t hole_seq; /* jnl_hole() */
	struct jnl_stats stats;
};

/* ---- journal.c ---- */

/* Submits; io->done runs unless the journal is gone or failed by then. A refusal fails the journal;
 * io->done does not run then. */
void jnl_submit(struct jnl *jnl, struct jnl_io *io, void (*done)(struct jnl_io *io, int status));
/* J5; the callbacks run later. */
void jnl_fail(struct jnl *jnl, int err);
/* Has jnl_kick_run() called from the loop. */
void jnl_kick(struct jnl *jnl);
/* Whatever can go on, goes on. */
void jnl_progress(struct jnl *jnl);
/* Waiters up to seq are ready. */
void jnl_wake(struct jnl *jnl, struct list *waiters, uint64_t seq);
/* nr_blks more can join the open compound now. */
bool jnl_fits(const struct jnl *jnl, uint32_t nr_blks);
/* They cannot before the tail moves; else it is enough to wait for the next compound. */
bool jnl_lacks_space(const struct jnl *jnl, uint32_t nr_blks);
bool jnl_open_empty(const struct jnl *jnl);
/* The block may be the target of an image: on the device, outside of the region. */
bool jnl_blk_ok(const struct jnl *jnl, uint64_t blk);

#ifdef NDEBUG
#error "safety asserts stay on"
#endif
void jnl_assert_state(const struct jnl *jnl);

/* ---- journal_write.c ---- */

struct jnl_img *jnl_img_new(struct jnl *jnl, uint64_t blk); /* NULL: no memory */
void jnl_img_free(struct jnl *jnl, struct jnl_img *img);
struct jnl_rec *jnl_rec_new(void); /* NULL: no memory */
void jnl_rec_free(struct jnl *jnl, struct jnl_rec *rec);
/* Frees what only the write of a record needs. */
void jnl_rec_free_io(struct jnl *jnl, struct jnl_rec *rec);
/* Makes room in rec for the write of nr images. -ENOMEM */
int jnl_rec_reserve(struct jnl *jnl, struct jnl_rec *rec, uint32_t nr);
void jnl_write_progress(struct jnl *jnl);

/* ---- journal_flush.c ---- */

/* Sees to it that a flush with an id above after_id is submitted. */
void jnl_flush_want(struct jnl *jnl, uint64_t after_id);
/* Sees to it that what waits for records to be stable gets a flush. */
void jnl_flush_progress(struct jnl *jnl);
/* Drops the images that records up to seq supersede (K1). */
void jnl_supersede(struct jnl *jnl, uint64_t seq);

/* ---- journal_ckpt.c ---- */

void jnl_ckpt_progress(struct jnl *jnl);

/* ---- journal_inplace.c ---- */

int jnl_inplace_new(struct jnl *jnl); /* -ENOMEM */
void jnl_inplace_free(struct jnl *jnl);
/* After a failure, when nothing is in flight any more: lets go of the images. */
void jnl_inplace_abandon(struct jnl *jnl);
/* Writes the images in jnl->ip.queue (any order) where they belong; done from a completion, or at
 * once when there are none. */
void jnl_inplace_start(struct jnl *jnl, void (*done)(struct jnl *jnl));

/* ---- journal_header.c ---- */

struct jnl_hdr_info {
	struct jnl_header pub;
	uint64_t seq, tail_pos, tail_epoch;
};
/* 0, -ERR_CORRUPT or -ERR_VERSION */
int jnl_hdr_decode(const void *block, uint64_t blkno, uint64_t nr_blks, const uint8_t uuid[16],
	struct jnl_hdr_info *ret);
static inline uint64_t jnl_hdr_slot_blk(uint64_t start_blk, uint64_t nr_blks, unsigned slot)
{
	return slot ? start_blk + nr_blks - 1 : start_blk;
}
/* Picks the newest of two (err[i] = result of decoding). 0 and the slot, or a code. */
int jnl_hdr_pick(const struct jnl_hdr_info info[2], const int err[2], unsigned *ret_slot);
/* Writes the next header into the other slot. */
void jnl_hdr_write(struct jnl *jnl, uint64_t tail_seq, uint64_t tail_pos, uint64_t tail_epoch,
	bool clean, void (*done)(struct jnl *jnl));
void jnl_seal_block(void *block, size_t len, uint16_t type, uint64_t blkno, const uint8_t uuid[16],
	uint64_t epoch, uint64_t seq);
/* Checks checksum, magic, type, place, volume and that min_len <= len <= 4 KiB. */
int jnl_check_block(
	const void *block, uint16_t type, uint64_t blkno, const uint8_t uuid[16], uint32_t min_len);

/* ---- journal_scan.c ---- */

/*
 * Takes the ring's blocks one by one from the tail on, and keeps the newest image of each block of
 * the records that J1 admits.
 */
struct jnl_scan {
	struct jnl *jnl;
	uint64_t pos;	   /* of the next block, in the ring */
	uint64_t eaten;	   /* blocks fed */
	uint64_t next_seq; /* expected */
	uint64_t min_epoch, max_epoch;
	uint64_t rec_pos; /* where the record begins that is being read: the log's end in the end */
	uint32_t nr_imgs, nr_desc, at; /* of that record; blocks of it that were fed */
	uint64_t rec_epoch;
	struct jnl_img **imgs; /* of that record */
	uint32_t *crcs, max_imgs;
	struct htab newest;
	uint64_t nr_records;
	uint64_t newest_hdr_seq; /* seen in a record */
};
void jnl_scan_init(struct jnl_scan *scan, struct jnl *jnl);
void jnl_scan_done(struct jnl_scan *scan);
/* 1 = go on; 0 = the log ends before the record that is being read; -ERR_CORRUPT, -ENOMEM. */
int jnl_scan_feed(struct jnl_scan *scan, const void *block);

/* ---- journal_replay.c ---- */

void jnl_replay_free(struct jnl *jnl);
/* The journal has failed while it recovered, and nothing is in flight: tells the caller. */
void jnl_replay_failed(struct jnl *jnl);

/* ---- for tests ---- */

void jnl_test_break(struct jnl *jnl, unsigned what);

#endif
