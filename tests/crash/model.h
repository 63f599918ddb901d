/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a volume must hold: a plain file system in memory.
 *
 * Names and attributes: each transaction that the engine commits is a step; steps are numbered in the
 * order of the log. The model is carried along step by step and keeps one number (digest) of all that
 * there is after each, so that a recovered volume is recognized as that after step k.
 *
 * Bytes are kept apart, since the log does not order them: each file has a history of what was
 * written to and cut out of which sectors, from which model_bytes() says what may be read after step
 * k in a state of the device.
 */
#ifndef TESTS_CRASH_MODEL_H
#define TESTS_CRASH_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "csvfs/core/fs.h"

#define NEVER UINT64_MAX
#define MODEL_NODES 3u
#define MODEL_SLOTS 62u
#define MODEL_PROJECTS 3u

struct model_inode {
	uint64_t ino, size, rdev, parent;
	uint32_t mode, nlink;
	uint32_t projid;
	bool inherit;
	char *target;
};

struct model_xattr {
	uint64_t ino, hash; /* of the value */
	char name[32];
};

struct model_entry {
	uint64_t dir, ino;
	char name[CSV_NAME_MAX + 1];
};

/* A step: what one transaction changed. */
enum step_kind {
	STEP_NONE, /* nothing that shows; maybe a slot */
	STEP_CREATE,
	STEP_LINK,
	STEP_UNLINK,
	STEP_RMDIR,
	STEP_RENAME,
	STEP_LIMIT, /* size: the project, limit: blocks */
	STEP_MODE,
	STEP_SIZE,
	STEP_PROJECT, /* size: the project, flags: whether it is given on */
	STEP_XATTR,   /* name, size: the value's hash */
	STEP_NOXATTR, /* name */
};

struct step {
	enum step_kind kind;
	uint64_t dir, new_dir, ino, size, rdev, limit;
	uint32_t mode, flags;
	char *name, *new_name, *target; /* target: the same memory as new_name */
	uint32_t slot_node, slot; /* slot_node 0 = none */
	uint64_t slot_seq, slot_generation;
	uint64_t log_seq; /* the record that it is in */
	bool gone;	  /* that record was never written: a takeover came before */
};

/* ---- histories of bytes ---- */

enum hist_kind {
	HIST_WRITE, /* in place, or in new space */
	HIST_PUNCH, /* the space is given back: with its step or not at all */
	HIST_CLONE, /* from then on, with its step or not at all, src's bytes as they were then */
	HIST_CUT,   /* sectors behind the end of file in its last block: undefined, then zeroes */
};

struct hist {
	enum hist_kind kind;
	uint32_t from, nr; /* sectors */
	uint32_t version;  /* WRITE: 0 = zeroes */
	uint32_t keep;	   /* CUT: bytes of the first sector that stay */
	uint64_t src;	   /* CLONE */
	uint64_t order;	   /* step; NEVER = not ended */
	uint64_t begun_ev; /* events when it was submitted */
	uint64_t ack_ev, ack_nr; /* events and acknowledgements when it was acknowledged */
	bool inlined;	   /* WRITE: the bytes went with the step */
	bool committed;	   /* WRITE: the step says that they are there */
};

struct model_file {
	uint64_t ino;
	struct hist *hist;
	uint32_t nr_hist, max_hist;
	bool sorted;
};

struct model {
	struct model_inode *inodes;
	uint32_t nr_inodes, max_inodes;
	struct model_entry *entries;
	uint32_t nr_entries, max_entries;
	struct model_xattr *xattrs;
	uint32_t nr_xattrs, max_xattrs;
	uint64_t slots[MODEL_NODES + 1][MODEL_SLOTS];
	uint64_t generations[MODEL_NODES + 1]; /* of the mounts that they belong to */
	uint64_t limits[MODEL_PROJECTS]; /* blocks */

	struct step *steps; /* from 1 */
	uint64_t *digests, *slot_digests; /* after each; 0 = none */
	uint64_t nr_steps, max_steps;

	struct model_file *files;
	uint32_t nr_files, max_files;
};

void model_init(struct model *m);
void model_free(struct model *m);

struct model_inode *model_inode(struct model *m, uint64_t ino);
struct model_entry *model_lookup(struct model *m, uint64_t dir, const char *name);
/* 0, or the errno that it must end with. */
int model_try(struct model *m, const struct step *s);
/* Adds a step, whose names it takes over; returns its number. err: what model_try() said (0 unless something is wrong). */
uint64_t model_step(struct model *m, const struct step *s, int *ret_err);
/* A place in the order for what is no step. */
uint64_t model_mark(struct model *m);
/* The steps in records after log_seq never were. */
void model_takeover(struct model *m, uint64_t log_seq);
/* What there was after step k (with the histories of now). */
void model_at(const struct model *m, uint64_t k, struct model *ret);

/* ---- digests: sums, so that the order in which things are met does not matter ---- */

struct seen {
	uint64_t ino, size, rdev;
	uint32_t mode, nlink, uid, gid, projid;
	bool inherit;
	const char *target;
	uint32_t target_len;
};
uint64_t digest_entry(uint64_t dir, const char *name, uint32_t len, const struct seen *s);
uint64_t digest_limit(uint32_t projid, uint64_t limit);
uint64_t digest_xattr(uint64_t ino, const char *name, uint64_t hash);
uint64_t digest_value(const void *value, uint32_t len);
uint64_t digest_session(uint32_t node, uint64_t generation);
uint64_t digest_slot(uint32_t node, uint32_t slot, uint64_t seq);

/* ---- bytes ---- */

struct model_file *model_file(struct model *m, uint64_t ino);
/* Adds to a history; what it returns is valid until the next one is added. */
uint32_t model_hist(struct model_file *f, const struct hist *h);
void model_sort(struct model *m);

/* 512 bytes that tell of file, sector and version; version 0 = zeroes. */
void pattern_fill(uint64_t ino, uint64_t sector, uint32_t version, uint64_t out[64]);

/* A state of the device. */
struct look {
	uint64_t k;	     /* the step that the volume is at */
	uint64_t cut;	     /* events */
	uint64_t ack_nr;     /* acknowledgements that count: all until the cut, or what was synced */
	uint64_t names_nr;   /* likewise, for what is in the log */
};

/* Sectors [0, nr) of f, whose file ends at size; get() gives the bytes of one (512 of them; NULL =
 * zeroes). Returns -1, or the first sector that is wrong. */
int64_t model_bytes(struct model *m, const struct model_file *f, const struct look *look, uint64_t size,
	const uint8_t *(*get)(void *arg, uint64_t sector), void *arg);

#endif
