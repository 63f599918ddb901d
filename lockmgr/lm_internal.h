/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of lockmgr share. Everything here belongs to the service thread but what the gate
 * needs on other threads: those fields are atomic, or set before `phase` says JOINED.
 *
 *   phase    meaning                                left by
 *   NEW      lm_new() done; gates pass              lm_join() -> JOINING
 *   JOINING  in the group, taking the slot          slot is LIVE -> JOINED; failure -> NEW
 *   JOINED   beats; may coordinate                  lm_leave() -> LEAVING; lm_self_fence() -> FENCED
 *   LEAVING  writes LEFT, drops the key             -> LEFT
 *   LEFT, FENCED                                    lm_free()
 *
 *   role     meaning                                left by
 *   NONE     somebody else coordinates, or nobody   lm_claim() -> CLAIM
 *   CLAIM    said TAKING, waits to hear it (E2)     lm_take_over(): heard, still the choice
 *   FENCE    fences who is no member any more       all confirmed -> TOLD, become_coordinator()
 *   TOLD     the coordinator recovers               lm_serving() -> SERVING
 *   SERVING
 *   any      lm_drop_role() -> CLOSING if it was TOLD or SERVING (step_down()), else NONE
 *   CLOSING  the caller's engine ends; nobody else begins meanwhile    lm_resign() -> NONE
 */
#ifndef LOCKMGR_LM_INTERNAL_H
#define LOCKMGR_LM_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "blockdev/bdev.h"
#include "lockmgr/elect.h"
#include "lockmgr/group.h"
#include "lockmgr/lockmgr.h"
#include "lockmgr/lockmgr_format.h"
#include "util/list.h"
#include "util/loop.h"

#define LM_NS_PER_MS 1000000ull
#define LM_TABLE_BYTES ((size_t)LM_MAX_NODES * LM_SLOT_BYTES)

enum lm_phase { LM_NEW, LM_JOINING, LM_JOINED, LM_LEAVING, LM_LEFT, LM_FENCED };
enum lm_step {
	LM_STEP_NONE,
	LM_STEP_CLOSING,
	LM_STEP_CLAIM,
	LM_STEP_FENCE,
	LM_STEP_TOLD,
	LM_STEP_SERVING,
};

/* ---- lm_io.c: one request, whose outcome always comes by callback ---- */

struct lm_io {
	struct bdev_req req;
	struct iovec iov;
	struct loop_work work;
	struct bdev_queue *queue;
	void (*fn)(struct lm_io *io, int status);
	int early; /* what bdev_submit() said */
	bool busy;
};

/* Each starts io on queue; fn runs once, from the loop. Nothing may be in flight in io. */
void lm_io_rw(struct lm_io *io, struct bdev_queue *queue, enum bdev_op op, void *buf,
	uint64_t blk, uint32_t nr_blks, uint32_t flags, void (*fn)(struct lm_io *io, int status));
/* A command without data: PR ops (their arguments), BDEV_LUN_RESET. */
void lm_io_cmd(struct lm_io *io, struct bdev_queue *queue, enum bdev_op op,
	const struct bdev_pr *pr, uint32_t flags, void (*fn)(struct lm_io *io, int status));

/* ---- slot.c: slots and the table of all of them ---- */

struct lm_slot {
	enum lm_slot_state state;
	uint32_t node;
	uint64_t generation, pr_key, epoch, beat, time_ns;
	uint32_t lease_ms, beat_ms, fenced_by;
	uint32_t pid;
	uint64_t pid_start, pid_ns;
	uint8_t boot_id[16];
	char name[64];
	uint64_t fenced_gen[LM_MAX_NODES + 1]; /* [node] */
};

struct lm_seen {
	struct lm_slot slot;
	bool corrupt;	    /* slot is as it was when it could be read last */
	uint32_t crc;	    /* of the block: any change counts as a sign of life */
	uint64_t change_ns; /* when a read that shows it like this for the first time was over */
};

/* A wish for a reading of the table that begins after the wish. */
struct lm_table_wait {
	struct list link;
	void (*fn)(struct lm_table_wait *wait, int status);
	bool queued;
	bool known_only; /* slots above the highest one in use so far need not be read */
};

struct lm_table {
	struct lm_seen nodes[LM_MAX_NODES + 1]; /* [node] */
	struct lm_io io;
	void *buf; /* LM_TABLE_BYTES */
	struct list waits, next; /* of the reading under way; of the one after it */
	uint64_t start_ns; /* of the last reading that was over; 0 = none */
	uint64_t begin_ns; /* of the one under way */
	uint32_t nr_reading; /* slots in it */
};

struct lm_slot_io {
	struct lm_io io;
	void *block; /* LM_SLOT_BYTES */
};

void slot_encode(const struct lm_slot *slot, const uint8_t uuid[16], uint64_t blkno, void *block);
/* Zeroes are a FREE slot. -ERR_CORRUPT. */
int slot_decode(const void *block, const uint8_t uuid[16], uint64_t blkno, uint32_t node,
	struct lm_slot *ret) __attribute__((warn_unused_result));

struct lm;
int lm_table_init(struct lm *lm);
void lm_table_done(struct lm *lm);
/* Reads the table; wait->fn runs from the loop when lm->table is fresh (or with an error). */
void lm_table_read(struct lm *lm, struct lm_table_wait *wait);
void lm_table_cancel(struct lm_table_wait *wait);
uint64_t lm_slot_blk(const struct lm *lm, uint32_t node);

int lm_slot_io_init(struct lm_slot_io *sio);
void lm_slot_io_done(struct lm_slot_io *sio);
/* Writes slot of slot->node; sio->io.busy until fn runs. */
void lm_slot_write(struct lm *lm, struct lm_slot_io *sio, const struct lm_slot *slot,
	uint32_t flags, void (*fn)(struct lm_io *io, int status));
/* What the process that runs tells about itself in its slot. */
void slot_set_process(struct lm_slot *slot);
/* The process that wrote slot ran on this host and is certainly gone. */
bool slot_process_is_dead(const struct lm_slot *slot);

/* ---- pr.c ---- */

struct lm_keys {
	uint64_t *keys;
	uint32_t nr, max;
};

uint64_t lm_key_make(const uint8_t uuid[16], uint32_t node, uint64_t generation);
/* The node whose key it is; 0 = not one of this volume. */
uint32_t lm_key_node(const uint8_t uuid[16], uint64_t key);
void lm_keys_done(struct lm_keys *keys);
bool lm_keys_has(const struct lm_keys *keys, uint64_t key);
/* Reads all keys; grows the array as needed. fn gets the io. */
void lm_keys_read(struct lm_keys *keys, struct lm_io *io, struct bdev_queue *queue, uint32_t flags,
	void (*fn)(struct lm_io *io, int status));
/* To be called in fn with its status: 0 = keys are there, -EAGAIN = read again (it grew). */
int lm_keys_take(struct lm_keys *keys, struct lm_io *io, int status)
	__attribute__((warn_unused_result));

/* ---- fence.c ---- */

/* One mount of a node that must never write again. */
struct lm_victim {
	uint32_t node;
	uint64_t generation; /* 0 = only the key is known */
	uint64_t key;	     /* 0 = none (lease) */
	bool left;	     /* it left in order: nothing of it is in flight, only its key is to go */
};

struct lm_fence_wait {
	struct list link;
	void (*fn)(struct lm_fence_wait *wait, int status);
};

struct lm_fence {
	struct list link; /* lm->fences */
	struct lm *lm;
	struct lm_victim victim;
	char why[96];
	struct list waits;
	struct lm_table_wait table_wait;
	struct lm_io io;
	struct lm_slot_io sio;
	struct lm_keys keys;
	ev_timer timer;
	uint64_t start_ns, alert_ns;
	uint32_t tries;
	bool preempted, reset_done, no_abort; /* pr */
	uint64_t mark_beat;		      /* lease: beat that carries the mark to the LUN */
	uint64_t mark_ns;		      /* lease: by then the mark was there; 0 = not yet */
	bool over, told;
	int status;
	struct loop_work work;
};

/* Fences victim; wait->fn runs from the loop: 0 = confirmed (M3); -ERR_FENCED we were fenced
 * ourselves, -ERR_MOVED we lost the role. A fence of this victim under way is joined. -ENOMEM */
int lm_fence_start(struct lm *lm, const struct lm_victim *victim, const char *why,
	struct lm_fence_wait *wait) __attribute__((warn_unused_result));
/* Ends all with status: the role is lost, or we are fenced. */
void lm_fence_end_all(struct lm *lm, int status);
void lm_fence_over(struct lm_fence *f, int status);
/* For callbacks of requests: true if the fence is over already (and perhaps freed now). */
bool lm_fence_reap(struct lm_fence *f);
/* Tries once more after a pause that grows; says so to the operator if it lasts. */
void lm_fence_again(struct lm_fence *f, const char *what, int status);
/* The slot of the victim no longer says that this mount lives. */
bool lm_victim_is_marked(const struct lm *lm, const struct lm_victim *victim);
void lm_fence_pr_start(struct lm_fence *f);	/* fence_pr.c */
void lm_fence_lease_start(struct lm_fence *f);	/* fence_lease.c */
/* A victim's slot as it is written when it is fenced. */
void lm_fenced_slot(const struct lm_fence *f, struct lm_slot *ret);
uint64_t lm_lease_margin_ms(uint64_t lease_ms); /* fence_lease.c */

/* ---- the rest ---- */

struct lm {
	struct lm_cfg cfg;
	struct loop *loop;
	struct bdev *bdev;
	struct bdev_queue *queue; /* the service thread's, from lm_join() on */
	enum lm_fencing fencing;
	bool clustered;
	uint32_t lease_ms, beat_ms, silence_ms;
	char name[64], address[64];
	int guard_fd;

	/* read by gates */
	_Atomic int phase;
	uint32_t node;
	uint64_t generation, key;
	_Atomic uint8_t pr_type; /* of the reservation; 0 = not known yet */
	pthread_mutex_t gates_lock;
	struct list gates;

	/* our slot (beat.c) */
	struct lm_slot self;
	uint64_t old_generation; /* what our slot said before; 0 = nothing */
	struct lm_table table;
	struct lm_slot_io beat_io;
	struct lm_io check_io; /* reservation */
	struct lm_table_wait beat_wait;
	ev_timer beat_timer;
	bool beating, beat_again;
	uint32_t nr_beats;
	uint64_t beat_start_ns;	 /* of the renewal under way */
	uint64_t beat_ok_ns;	 /* when one was over */
	uint64_t read_ok_ns;	 /* likewise, of the table */
	uint64_t beat_on_lun;	 /* number of the last one that was over */
	uint64_t deadline_ns;	 /* lease */
	_Atomic uint32_t beats_to_check; /* until the reservation is looked at again; any thread */

	/* group (member.c) */
	struct group *group;
	struct elect elect;
	uint64_t condemned[LM_MAX_NODES + 1]; /* [node]: the generations that we hold for dead */
	bool in_group;	       /* a view had us in it */
	bool twin;	       /* another process of this node is in the group */
	bool path_said, yields;
	uint32_t wish;
	uint64_t view_ns;      /* when the last view came */
	struct lm_coordinator coord; /* as it was told last */
	uint64_t told_mask;
	bool told_quorate;

	/* role (takeover.c) */
	enum lm_step step;
	uint32_t claim;
	uint64_t epoch;	     /* that we serve with */
	uint64_t backoff_ns; /* no claim before */
	bool scanning;
	struct lm_table_wait scan_wait;
	struct lm_io scan_io;
	struct lm_keys scan_keys;
	uint32_t nr_scan_fences, scan_round;
	int scan_status; /* of a fence in this round */
	struct list fences, fences_over;

	/* who left (gone.c) */
	uint64_t confirmed_gen[LM_MAX_NODES + 1]; /* last generation whose fence we confirmed */
	uint64_t gone_gen[LM_MAX_NODES + 1];  /* last generation reported by node_gone() */
	uint64_t gone_wait[LM_MAX_NODES + 1]; /* left and to be dealt with; LM_GEN_UNKNOWN */
	struct lm_table_wait gone_read;
	char fencing_text[40];

	/* leaving (leave.c) */
	void (*leave_done)(void *arg);
	void *leave_arg;
	ev_timer leave_timer;
	uint64_t leave_until_ns, leave_handover_ns, leave_key;
	bool leave_begun, leave_over, leave_late, leave_poll;
	uint32_t leave_ticks;
	struct lm_io leave_io;
	struct lm_keys leave_keys;

	char fenced_why[200];
	struct loop_work fenced_work;
	bool fenced_queued;
	bool no_courtesy; /* tests: do not stop because a message says that we are condemned */
};

static inline enum lm_phase lm_phase(const struct lm *lm)
{
	return (enum lm_phase)atomic_load_explicit(&lm->phase, memory_order_acquire);
}

static inline void lm_set_phase(struct lm *lm, enum lm_phase phase)
{
	atomic_store_explicit(&lm->phase, phase, memory_order_release);
}

/* M5: nothing of ours may be written any more. Any state, service thread; the first one counts. */
void lm_self_fence(struct lm *lm, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A sentence for *ret_error (may be NULL); returns err. */
int lm_fail(char **ret_error, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* guard.c: keeps a second mount of the volume off this node. Blocks while one is ending. -EBUSY,
 * -ETIMEDOUT: it did not end */
int lm_guard_take(const uint8_t uuid[16], uint64_t deadline_ns, int *ret_fd)
	__attribute__((warn_unused_result));
void lm_guard_ending(int fd);

/* join.c: takes the slot and the key, without any group. Blocks. node and generation are set. */
int lm_enter(struct lm *lm, uint64_t deadline_ns, char **ret_error)
	__attribute__((warn_unused_result));
/* Runs the loop until *flag or the deadline. -ETIMEDOUT */
int lm_run_until(struct lm *lm, const bool *flag, uint64_t deadline_ns)
	__attribute__((warn_unused_result));

/* beat.c */
void lm_beat_start(struct lm *lm);
void lm_beat_stop(struct lm *lm);
/* Renews now rather than at the next tick. */
void lm_beat_kick(struct lm *lm);
/* True if our slot and the marks of others still allow us to write; else *ret_why. */
bool lm_self_is_good(const struct lm *lm, const struct lm_seen *nodes, char *why, size_t why_size);
bool lm_has_path(const struct lm *lm);

/* gate.c */
void lm_gate(void *arg, struct bdev_queue *queue);
/* True while a gate's news for the service thread has not arrived. */
bool lm_gates_post(struct lm *lm);
void lm_gates_free(struct lm *lm);

/* member.c */
extern const struct group_ops lm_group_ops;
/* Tells the group what we are now. */
void lm_say(struct lm *lm);
/* Holds the present mount of a member for dead, and says so (E3). */
void lm_condemn(struct lm *lm, uint32_t node, const char *why);
/* Looks at members, quorum and beats again, and acts. */
void lm_reconsider(struct lm *lm);
/* How long a node's beat has stood still, in ms, as far as our readings go. */
uint64_t lm_silent_ms(const struct lm *lm, uint32_t node);
/* Quorate, in this view; in single mode always. */
bool lm_quorate(const struct lm *lm);
bool lm_is_member(const struct lm *lm, uint32_t node);

/* takeover.c */
void lm_claim(struct lm *lm);
/* Our claim came back from the group, or none is needed: fence who is to be fenced, take over. */
void lm_take_over(struct lm *lm);
/* Goes on with a takeover that waits for other members to end their roles. */
void lm_take_over_again(struct lm *lm);
void lm_drop_role(struct lm *lm, const char *why);

/* gone.c */
#define LM_GEN_UNKNOWN 1u
/* Deals with the nodes in gone_wait. */
void lm_gone_run(struct lm *lm);

#endif
