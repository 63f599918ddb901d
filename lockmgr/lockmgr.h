/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who is a member, who coordinates, and how a node that is not a member any more is kept from
 * writing. One `lm` a mount. Corosync gives membership (CPG group "csvfs:<uuid>"), quorum and
 * addresses; the LUN gives fencing. Single mode has neither and coordinates at once.
 *
 * M1  become_coordinator() is called only while this partition is quorate, and after every node
 *     whose slot on the LUN says LIVE and that is no member was fenced and the fence confirmed.
 * M2  At most one member is told become_coordinator() in one view of the group; all members choose
 *     alike: a member that serves goes on; else the lowest node id among those that have a path.
 * M3  A fence is confirmed when the victim's key is gone from the list that was read back *and* its
 *     slot says FENCED with that generation (pr), or when its beat has not changed for lease +
 *     margin as seen on our own clock (lease). Until then what it guards stays blocked.
 * M4  In lease mode the bdev's write deadline is never later than the start of the last successful
 *     renewal + lease.
 * M5  A node whose own key or slot was taken (gate, renewal) is fenced: fenced() runs once, the
 *     bdev fails everything from then on.
 * M6  Losing quorum or the group does not stop I/O to mapped blocks; it stops coordinating.
 *
 * Everything runs on the service thread's loop. Nothing blocks but lm_join.
 */
#ifndef LOCKMGR_LOCKMGR_H
#define LOCKMGR_LOCKMGR_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct bdev;
struct bdev_queue;
struct loop;
struct lm;

#define LM_MAX_NODES 64u

enum lm_fencing { LM_FENCE_NONE, LM_FENCE_PR, LM_FENCE_LEASE };

struct lm_coordinator {
	uint32_t node;	   /* 0 = there is none at present */
	uint64_t epoch;	   /* of the one that serves */
	char address[64];  /* numeric */
	uint16_t port;
};

struct lm_ops {
	/* Take over: read the epoch, recover with a higher one, then call lm_serving(). */
	void (*become_coordinator)(void *arg);
	/* A coordinator serves (perhaps we ourselves), or none does (node 0). */
	void (*coordinator)(void *arg, const struct lm_coordinator *coord);
	/* This node coordinates, and node is gone for good (left in order, or fenced and confirmed):
	 * release what it held. generation tells its mounts apart. */
	void (*node_gone)(void *arg, uint32_t node, uint64_t generation);
	/* A node has joined or left the group (any member sees it); for display. */
	void (*membership)(void *arg, uint64_t member_mask, bool quorate);
	/* M5. why: a sentence for the operator. */
	void (*fenced)(void *arg, const char *why);
	/* Stop coordinating at once (quorum or group lost, another one serves): fail nothing that
	 * a later coordinator can answer. Nobody else begins before lm_resign() says that nothing
	 * of it is in flight any more. Not after lm_leave(), and with fenced() nothing is to be said. */
	void (*step_down)(void *arg, const char *why);
};

struct lm_cfg {
	struct loop *loop;
	struct bdev *bdev;
	uint8_t uuid[16];
	uint64_t slot_blk;   /* first of the 64 slot blocks, in 4 KiB */
	bool single;	     /* no Corosync, node 1 */
	uint16_t port;	     /* where this node's coordinator would listen */
	const char *name;    /* host name for display; copied */
	uint32_t lease_ms;   /* lease mode; 0 = 8,000 */
	uint32_t beat_ms;    /* 0 = 1,000 */
	uint32_t silence_ms; /* a coordinator whose beat stood still that long is replaced; 0 = 10,000 */
	bool no_fence;	     /* tests only: the twin without fencing */
	const struct lm_ops *ops;
	void *arg;
};

/* Makes an lm and sets the gate of bdev; call before any bdev_queue of this bdev opens. The service
 * thread's queue opens next, then lm_join(), then the other queues: in mode pr a queue registers
 * when it opens, which it can only when there is a key; in mode lease writes wait until lm_join().
 * generation is new for each mount. Error: -ENOMEM. */
int lm_new(const struct lm_cfg *cfg, struct lm **ret_lm)
	__attribute__((warn_unused_result, nonnull));

/* Joins: takes our slot, registers, enters the group; queue is the service thread's queue. Blocks up
 * to 30 s. On failure *ret_error is a sentence owned by the caller. Errors: -ENOTCONN Corosync does
 * not run, -ERR_MOUNTED this volume is mounted on this node, -EBUSY (without a cluster) it is used by
 * somebody whose beat moves, -EINVAL node id not in 1..64, -ERR_FENCED ... */
int lm_join(struct lm *lm, struct bdev_queue *queue, char **ret_error)
	__attribute__((warn_unused_result, nonnull));

/* This node's coordinator has recovered and serves with this epoch: tell everyone. */
void lm_serving(struct lm *lm, uint64_t epoch);
/* It could not, or gives the role up to node to (0 = to whoever is next), or has ended after
 * step_down(). Nothing that it wrote is in flight any more. */
void lm_resign(struct lm *lm, uint32_t to);

/* As coordinator: evict a member that does not answer. done(0) when the fence is confirmed. */
void lm_fence(struct lm *lm, uint32_t node, const char *why,
	void (*done)(void *arg, int status), void *arg);

/* lm_leave() will follow: who wants to join on this node waits for that, and is not refused. */
void lm_ending(struct lm *lm);
/* Leaves in order: slot LEFT, key unregistered, out of the group; call it when nothing is written
 * any more. A device that does not answer within 10 s is fenced off (bdev_fence_self()) and left to
 * the others. Also the way to end an lm that was fenced or did not join: done runs once, when nothing
 * of lm's is in flight. */
void lm_leave(struct lm *lm, void (*done)(void *arg), void *arg);
/* After lm_leave() is done, or lm_join() failed; not from within done; every queue but the service
 * thread's is closed, and that one is closed next, before its loop runs again (the gate is gone).
 * One that has joined and did not leave leaves now: this blocks up to 10 s. */
void lm_free(struct lm *lm);

/* False while the gate works on queue: only then it may be closed. On the queue's thread. */
bool lm_gate_is_idle(struct lm *lm, const struct bdev_queue *queue);

uint32_t lm_node(const struct lm *lm);
uint64_t lm_generation(const struct lm *lm);
/* Our own address on the cluster's network (Corosync's), "127.0.0.1" in single mode. */
const char *lm_address(const struct lm *lm);

/* Where a member is, and which of its mounts: as it says itself in the group, where Corosync vouches for who
 * says it. NULL: no member, or it has not spoken yet. Valid until the loop goes on. */
const char *lm_member_address(const struct lm *lm, uint32_t node, uint64_t *ret_generation);

struct lm_node_info {
	uint32_t node;
	uint64_t generation, pr_key;
	char name[64], address[64];
	bool member, live; /* in the group; slot says LIVE */
	bool coordinator;
	uint64_t beat_age_ms; /* since its beat was seen to change; UINT64_MAX = never */
};
struct lm_status {
	enum lm_fencing fencing;
	bool quorate, clustered;
	uint64_t member_mask;
	struct lm_coordinator coord;
	const char *activity; /* "fencing node 2", "waiting for quorum", "" ; static */
	uint32_t nr_nodes;
	struct lm_node_info nodes[LM_MAX_NODES];
};
void lm_status(const struct lm *lm, struct lm_status *ret);

#endif
