/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The coordinator: takes requests of nodes (csvfs/proto), keeps tokens and opens, and drives the
 * metadata engine. It exists only while this node holds the role; what must outlive it is in the
 * engine, what need not is reasserted by the nodes.
 *
 * C1  Requests that change an inode's tokens, or the layout of its mapped space, pass its section
 *     one at a time; a request is in the section until it was answered.
 * C2  COMMIT, GETATTR and CLOSE pass no section: a recall waits for the node's I/O, and that I/O may
 *     wait for its COMMIT.
 * C3  A mode is granted in the reply, and recalls are sent, on one ordered channel to the node, so
 *     the node's view is never newer than ours.
 * C4  Mapped space is freed, and a size lowered, only when no node holds a token on the inode.
 *     But for who asks: EXCL stays, its I/O has ended, and what it asks for next waits for the end.
 * C5  A request that changes something and carries a slot is recorded with its effect in one
 *     transaction (docs/DESIGN.md, 6).
 * C6  Until each node that is expected has reasserted or is gone, nothing but HELLO and REASSERT is
 *     carried out. What two nodes cannot both hold, and both say they do, one of them does not get: who
 *     says so later is evicted, but not this node itself, which goes on coordinating. Its connection is
 *     refused, so it is awaited until it is gone.
 * C7  A LAYOUT for pages of a mapping, or a new size, from the node that holds EXCL goes on beside the
 *     section while another node's request is in there: that waits for the token, and the token for
 *     those pages. One at a time; the request in the section does not go on before they are done.
 *
 * Everything is on the loop of the engine's queue; nothing blocks.
 */
#ifndef CSVFS_COORD_H
#define CSVFS_COORD_H

#include <stdbool.h>
#include <stdint.h>

#include "csvfs/proto/proto_format.h"

struct bdev_queue;
struct coord;
struct csv_fs;

struct coord_cfg {
	struct csv_fs *fs;
	struct bdev_queue *queue; /* for zeroing; the engine's */
	uint64_t epoch;
	uint32_t node;
	uint8_t uuid[16];
	uint32_t recall_ms;  /* how long a callback may stay unanswered; 0 = 10,000 */
	uint32_t seen_max;   /* inodes of which nodes may keep what they were told; 0 = 262,144. At
				least 4,096 */
	uint32_t opens_max;  /* files that a node may have open; 0 = 1,048,576 */
	bool no_recall;	     /* tests only: the twin without recalls */
	/* Sends a message to a node, in order; data is copied or sent before it returns. A lost
	 * connection is not an error: the node will reconnect and resend, or be gone. */
	void (*send)(void *arg, uint32_t node, const void *data, uint32_t len);
	/* Asks for the eviction of a node that does not answer; ends in coord_node_gone(). */
	void (*fence)(void *arg, uint32_t node, const char *why);
	/* All expected nodes have reasserted (C6). */
	void (*serving)(void *arg);
	void *arg;
};

/* expected: bit n = node n + 1 must reassert first. Errors: -ENOMEM. */
int coord_new(const struct coord_cfg *cfg, uint64_t expected, struct coord **ret_coord)
	__attribute__((warn_unused_result, nonnull));
/* Before the engine is closed: no callback is waited for any more, no I/O of the coordinator's own
 * begins; done runs once, maybe from within, when none is in flight. Late zeroes would fall on what
 * the next coordinator has given away. No message may come after it. */
void coord_stop(struct coord *coord, void (*done)(void *arg), void *arg) __attribute__((nonnull(1, 2)));
/* After coord_stop() is done. Drops everything without an answer; operations under way in the engine must be done
 * (csv_fs_close or its sticky error come first). */
void coord_free(struct coord *coord);

/* A message from a node whose identity the channel has proved. Bad ones are answered or refused:
 * negative = close this channel (-EPROTO, -ERR_STALE, -ERR_VERSION). */
int coord_message(struct coord *coord, uint32_t node, const void *data, uint32_t len)
	__attribute__((warn_unused_result, nonnull));

/* node has left or was fenced: its tokens, opens and pending work are released. */
void coord_node_gone(struct coord *coord, uint32_t node, uint64_t generation);

struct coord_stats {
	uint64_t requests[CSVP_OP_LIMIT]; /* received, by op */
	uint64_t recalls, replays;
	uint64_t nr_inodes; /* with tokens or opens */
	uint64_t nr_seen;   /* of which nodes may keep what they were told */
	uint32_t nr_sessions;
	uint32_t nr_locks, nr_lock_waits;
	uint64_t awaited; /* mask of nodes that have not reasserted */
	bool serving;
};
void coord_stats(const struct coord *coord, struct coord_stats *ret);

#endif
