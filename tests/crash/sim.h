/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A cluster in one process, on one loop: the engine and the coordinator, three nodes (csvfs/node),
 * channels between them that take their time, and one device that they all use. What is done goes
 * into the model as the engine commits it (hooks.h).
 */
#ifndef TESTS_CRASH_SIM_H
#define TESTS_CRASH_SIM_H

#include "csvfs/coord/coord.h"
#include "csvfs/node/node.h"
#include "tests/crash/disk.h"
#include "tests/crash/model.h"
#include "util/list.h"

enum op_kind {
	OP_CREATE, OP_MKDIR, OP_SYMLINK, OP_FIFO, OP_LINK, OP_UNLINK, OP_RMDIR, OP_RENAME, OP_CHMOD,
	OP_XATTR, OP_NOXATTR,
	OP_PROJECT, /* ino becomes one of project size; flags: a directory gives it on */
	OP_LIMIT,   /* of project size: len blocks, 0 = none */
	OP_CLONE, /* of ino, into new_ino, which is empty */
	OP_TRUNC, OP_PUNCH, OP_ZERO, OP_ALLOC, OP_WRITE, OP_APPEND,
	OP_FSYNC, /* a flush of the node's queue */
	OP_SYNC,  /* the SYNC message */
	OP_CLOSE,
	NR_OP_KINDS
};

/* What an application asks of a node. */
struct op {
	enum op_kind kind;
	uint32_t node;
	uint64_t dir, new_dir, ino, new_ino, off, len, size;
	uint32_t mode, flags;
	char name[CSV_NAME_MAX + 1], new_name[CSV_NAME_MAX + 1];

	/* private */
	struct sim *sim;
	struct list link;
	struct node_call call;
	struct node_io io;
	struct node_sync sync;
	void *buf;
	bool refusable; /* the model would have refused it at some time */
	uint64_t ack_nr; /* SYNC, FSYNC: acknowledgements before it began */
	uint64_t order;
	uint64_t made; /* CREATE and the like: the inode */
	uint32_t hist[4], nr_hist; /* of the file's history */
	int status;
	bool done;
	bool dead; /* its node died; what it sent may still be carried out */
	int dead_slot;
	uint64_t dead_seq, generation;
};

struct handle {
	uint64_t ino;
	struct node_inode *ni;
	bool opening;
	uint32_t busy;
};

#define MAX_HANDLES 64u

struct peer {
	struct sim *sim;
	uint32_t id;
	struct node *node;
	struct bdev_queue *queue;
	struct node_worker worker;
	bool connected;
	struct list to_coord, to_node; /* messages */
	struct handle handles[MAX_HANDLES];
	uint32_t nr_handles;
	uint64_t generation;
};

struct ack {
	uint64_t ev, order;
};

struct synced {
	uint64_t ev, ack_nr; /* at ev events all up to ack_nr was stable */
	bool bytes;	     /* the bytes of files, too */
};

struct sim {
	struct loop *loop;
	struct bdev *dev, *crash, *mem; /* dev is on top */
	struct csv_geometry geom;
	struct bdev_queue *queue; /* the engine's */
	struct csv_fs *fs;
	struct coord *coord;
	uint64_t epoch;
	bool serving;
	struct peer peers[MODEL_NODES + 1];
	struct loop_work wire_work;
	bool wire_armed;
	/* The nth message (from 1) is lost, and with it its channel; and one of so many (0 = none). */
	uint64_t nr_messages, drop_message, lose_one_of;
	bool no_recall;	/* a twin */
	unsigned broken; /* JNL_BREAK_* */

	struct model model;
	struct list running; /* struct op */
	struct list dead;    /* likewise, of nodes that died */
	uint32_t nr_running;
	struct ack *acks; /* from 1 */
	uint64_t nr_acks, max_acks;
	struct synced *syncs;
	uint64_t nr_syncs, max_syncs;
	uint64_t rnd;
	uint32_t version; /* of the last write */
	uint64_t nr_takeovers, nr_refused, nr_grown;
	uint64_t ballast; /* a file that takes most of the space, and is left alone */
	bool failed; /* and it was said why */
};

/* mkfs, engine, coordinator, nodes. */
/* nr_blks: of the volume; 0 = all of the device. */
struct sim *sim_new(uint64_t seed, uint64_t journal_bytes, uint64_t nr_blks, unsigned broken,
	bool no_recall);
/* Waits for all operations, closes what is open; with close the engine in order, too. */
void sim_end(struct sim *sim, bool close);
void sim_free(struct sim *sim);

/* Starts a copy of op; false: it cannot be begun now. */
bool sim_submit(struct sim *sim, const struct op *op);
/* An operation on ino is under way. */
bool sim_busy(const struct sim *sim, uint64_t ino);
/* One turn of the loop. */
void sim_turn(struct sim *sim);
/* Until nothing is under way. */
void sim_idle(struct sim *sim);
/* Everything is stable, nothing is in flight. */
void sim_settle(struct sim *sim);
/* The coordinator loses the device; the next one takes over, the nodes resend. */
void sim_takeover(struct sim *sim);
/* A node dies; what it has sent to the device is lost, torn or arrives. It comes back as another
 * mount. */
void sim_node_death(struct sim *sim, uint32_t node);
void sim_checkpoint(struct sim *sim);
/* The volume begins to grow, to nr_blks; unless it is growing, or as large. */
void sim_grow(struct sim *sim, uint64_t nr_blks);
uint64_t sim_events(const struct sim *sim);
void sim_complain(struct sim *sim, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- what sim.c and op.c share ---- */

#define SIM_GENERATION 5000u

/* The model has changed: who would be refused now? */
void ops_try(struct sim *sim);
/* Its node dies. */
void op_die(struct op *op);
struct seen_txn;
void sim_committed(void *arg, const struct seen_txn *txn, uint64_t seq);

#endif
