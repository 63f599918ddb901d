/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Write-ahead log of 4 KiB metadata blocks in a fixed region of a block device.
 *
 * A commit hands in pointers to live blocks. They join the open compound; when the previous log
 * write is done the compound is closed: each of its blocks is copied once, sealed, and all are
 * written as one record {descriptor blocks, images}. The images stay in memory until they have been
 * written in place (checkpoint), and reads of a block look here first (jnl_peek).
 *
 * J1  Records carry consecutive sequence numbers and the epoch of the coordinator that wrote them;
 *     replay takes the unbroken run from the tail whose epochs never fall, and stops at the first
 *     record that is torn, out of sequence, of another volume, or of a lower epoch. If a later
 *     record proves that this one was stable, then it is no end but damage: replay fails.
 * J2  A block is written in place only after a record that holds this content is stable.
 * J3  The tail moves past a record only after each block in it was written in place (or is in a
 *     later record whose content superseded it and which stays in the log) and flushed.
 * J4  A compound with JNL_PREFLUSH is written only after a flush that was submitted after the
 *     commit call.
 * J5  After a failed log write, flush or checkpoint write the journal has failed for good: every
 *     waiter and later call gets the error, and nothing more is written.
 * J6  The header that holds epoch and tail is two alternating blocks; a torn write loses none.
 * J7  Nothing is written to the log before jnl_recover() has finished.
 *
 * Single-threaded: every call and callback is on the queue's loop. Nothing blocks but where said.
 */
#ifndef JOURNAL_JOURNAL_H
#define JOURNAL_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "util/list.h"

struct bdev_queue;
struct jnl;

#define JNL_BLOCK_BYTES 4096u
#define JNL_MIN_BLOCKS 256u	/* smallest region */
#define JNL_TXN_MAX_BLOCKS 192u /* most blocks that one jnl_commit() may hand in */
#define JNL_REC_BLKS 1024u	/* a record takes at most: so far behind the end recovery looks */

struct jnl_cfg {
	struct bdev_queue *queue;
	uint64_t start_blk; /* the region on the device, in 4 KiB blocks */
	uint64_t nr_blks;
	uint8_t uuid[16];
	/* Verifies and seals (checksum, sequence, epoch) the copy of block blk that is about to be
	 * logged. Nonzero is a bug of ours or memory damage: the journal fails with it. */
	int (*seal)(void *arg, uint64_t blk, void *image, uint64_t epoch, uint64_t seq);
	/* The live pointer of blk is not referenced any more (its compound was closed). */
	void (*taken)(void *arg, uint64_t blk);
	/* blk was checkpointed and has no image in the journal any more, nor is it in the open
	 * compound. May be NULL. */
	void (*clean)(void *arg, uint64_t blk);
	/* Everything before seq has left the log (E5). May be NULL. */
	void (*tail_moved)(void *arg, uint64_t seq);
	/* There may be room again after jnl_has_room() was false; also when the journal fails. May
	 * be NULL. */
	void (*room)(void *arg);
	/* The journal has failed (J5); once. Not for a failed jnl_recover(), whose done tells. */
	void (*failed)(void *arg, int err);
	void *arg;
	bool hole_ok; /* repair: what there is before the damage is replayed */
};

struct jnl_header { /* what the header blocks say */
	uint64_t epoch;
	uint64_t tail_seq;
	uint32_t coord_node; /* who wrote the epoch; 0 = none */
	bool clean;	     /* closed in order: nothing to replay */
};

struct jnl_blk {
	uint64_t blk;
	const void *live; /* 4 KiB; stays valid, and consistent between calls, until taken(blk) */
};

/* Waits for a degree of done; embedded by the caller, done runs exactly once. */
struct jnl_wait {
	void (*done)(struct jnl_wait *wait, int status);
	uint64_t seq;	  /* private */
	struct list link; /* private */
};

#define JNL_PREFLUSH (1u << 0) /* J4 */

/* Writes an empty journal: header blocks with the given epoch, and an unusable first record. Blocks
 * (runs the loop). For mkfs. */
int jnl_format(struct bdev_queue *queue, uint64_t start_blk, uint64_t nr_blks,
	const uint8_t uuid[16], uint64_t epoch) __attribute__((warn_unused_result, nonnull));

/* Reads the newest valid header. Blocks (runs the loop). -ERR_CORRUPT when neither is valid. */
int jnl_read_header(struct bdev_queue *queue, uint64_t start_blk, uint64_t nr_blks,
	const uint8_t uuid[16], struct jnl_header *ret)
	__attribute__((warn_unused_result, nonnull));

/* Is header block slot (0, 1) as it should be? *ret_blk is where it lies. Blocks (runs the loop). 0,
 * -ERR_CORRUPT, -EIO. One that is not is written anew by the next jnl_recover(). */
int jnl_check_header(struct bdev_queue *queue, uint64_t start_blk, uint64_t nr_blks,
	const uint8_t uuid[16], unsigned slot, uint64_t *ret_blk)
	__attribute__((warn_unused_result, nonnull));

int jnl_new(const struct jnl_cfg *cfg, struct jnl **ret_jnl)
	__attribute__((warn_unused_result, nonnull));

/* Frees; nothing may be waiting. Does not write. What is in flight still (after a failure, or
 * without jnl_close()) ends later; the queue may be closed when it has. */
void jnl_free(struct jnl *jnl);

/*
 * Takes the log over: writes the header with epoch (must exceed the one on disk) and node, flushes,
 * replays in place what J1 admits, flushes, empties the log. The caller has fenced every other
 * writer before. done(status, records replayed, blocks written) runs once. Errors: -ERR_CORRUPT no
 * header, -ERR_STALE the header's epoch is not below epoch, -EIO ...
 */
int jnl_recover(struct jnl *jnl, uint64_t epoch, uint32_t node,
	void (*done)(void *arg, int status, uint64_t nr_records, uint64_t nr_blks), void *arg)
	__attribute__((warn_unused_result, nonnull(1, 4)));

uint64_t jnl_epoch(const struct jnl *jnl);

/* True if a commit of up to nr_blks (at most JNL_TXN_MAX_BLOCKS) more blocks fits now; else room()
 * will be called, after a checkpoint if need be. The driver asks for JNL_TXN_MAX_BLOCKS before it
 * starts an operation. Always true once the journal has failed: the commit tells. */
bool jnl_has_room(struct jnl *jnl, uint32_t nr_blks);

/*
 * Adds blocks to the open compound; *ret_seq is its sequence number. Blocks that are in it already
 * are not added twice (their new content counts). Errors, with nothing added: the journal's sticky
 * error, -ENOMEM, -ENOSPC (it does not fit: the caller did not ask jnl_has_room()), -EINVAL (a
 * block that is not on the device or lies in the log, too many blocks, not recovered, closing).
 */
int jnl_commit(struct jnl *jnl, const struct jnl_blk *blks, uint32_t nr, unsigned flags,
	uint64_t *ret_seq) __attribute__((warn_unused_result, nonnull));

/* wait->done runs when record seq (and all before it) is on the LUN; from the loop, never from
 * within the call, also if it already is. The sequence of the open compound while that is empty
 * means the one before it. */
void jnl_wait_written(struct jnl *jnl, uint64_t seq, struct jnl_wait *wait);

/* Likewise when it is stable: flushes. Concurrent waits share a flush. */
void jnl_wait_stable(struct jnl *jnl, uint64_t seq, struct jnl_wait *wait);

/* Sequence of the open compound (even if still empty), of the last record on the LUN, of the last that a
 * flush of ours has made stable, of the tail (the oldest record in the log). */
uint64_t jnl_open_seq(const struct jnl *jnl);
uint64_t jnl_written_seq(const struct jnl *jnl);
uint64_t jnl_stable_seq(const struct jnl *jnl);
uint64_t jnl_tail_seq(const struct jnl *jnl);

/* Starts a checkpoint of everything committed so far (it waits for the open compound to be
 * written); wait (may be NULL) is done when the tail has passed it. One starts by itself when half
 * of the log is used. */
void jnl_checkpoint(struct jnl *jnl, struct jnl_wait *wait);

/* The newest closed image of blk that is not in place yet, or NULL. Valid until control returns to
 * the loop. */
const void *jnl_peek(struct jnl *jnl, uint64_t blk);

/* Writes out, checkpoints, marks the header clean; done runs once, when nothing is in flight any
 * more, with the sticky error if there is one; then only jnl_free(). */
void jnl_close(struct jnl *jnl, struct jnl_wait *wait);

/* The record that jnl_recover() found damaged, though it was stable; 0: none. */
uint64_t jnl_hole(const struct jnl *jnl);

/* 0 or the sticky error (J5). After it what was closed can still be seen (jnl_peek()). */
int jnl_error(const struct jnl *jnl);

/*
 * For repair: the last images of blocks that the region still holds, though they were written in
 * place. end_seq: records from this one on are not of interest (jnl_tail_seq(): newer ones are seen by
 * jnl_peek()). Each of these reads the device and runs the loop until that is done.
 */
struct jnl_images;
int jnl_images_load(struct bdev_queue *queue, uint64_t start_blk, uint64_t nr_blks,
	const uint8_t uuid[16], uint64_t end_seq, struct jnl_images **ret)
	__attribute__((warn_unused_result, nonnull));
/* The last image of blk that was logged before end_seq. -ENOENT: it is not there any more, or not
 * provably the last. */
int jnl_images_get(const struct jnl_images *images, uint64_t blk, void *image)
	__attribute__((warn_unused_result, nonnull));
void jnl_images_free(struct jnl_images *images);

struct jnl_stats {
	uint64_t records, blocks, commits, preflushes, checkpoints, checkpoint_blks;
	uint64_t used_blks, size_blks;
};
void jnl_stats(const struct jnl *jnl, struct jnl_stats *ret);

#endif
