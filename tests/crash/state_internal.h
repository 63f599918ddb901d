/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_CRASH_STATE_INTERNAL_H
#define TESTS_CRASH_STATE_INTERNAL_H

#include "csvfs/core/fs.h"
#include "tests/crash/state.h"

/* A device on which states are put. */
struct trial {
	struct loop *loop;
	struct bdev *mem;
	struct bdev_queue *queue;
	struct image sure; /* what the flushes cover */
	uint64_t covered; /* events that are in sure */
};

/* A file as it was found. */
struct found {
	uint64_t ino, size;
	uint8_t kind;
	uint32_t inline_len, nr_ext;
	uint8_t data[1024];
	struct csv_extent ext[1500];
};

/* All that is on a volume. */
struct survey {
	struct csv_op op;
	struct csv_txn *txn;
	uint64_t names, slots; /* digests */
	struct found **files;
	uint32_t nr_files, max_files;
	uint64_t dirs[512];
	uint32_t nr_dirs;
	uint64_t attributed[256];
	uint32_t nr_attributed;
	bool print;
	uint64_t dir;
	int err;
};

/* What is being tried. judge(): mounts what is on t's device, sets *look to what it found; false: it
 * is wrong, and wrong() was told how. again: look closer. */
struct explore {
	bool (*judge)(struct explore *x, struct trial *t, struct look *look, bool again);
	struct states *st;
	struct sim *sim; /* NULL: what is judged is no workload */
	uint64_t first;
	uint64_t *ack_order; /* [n]: the newest step among acknowledgements 1 to n */
	struct trial *trial[2];
	struct survey survey;
	char id[160];
	char what[200]; /* is wrong */
	uint64_t cut;   /* of the first crash, for what may be there */
	uint64_t k;	/* found */
};

void wrong(struct explore *x, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Tries the states of what dev recorded since event first. x: judge, st, and what that needs. */
void explore_run(struct explore *x, struct bdev *dev, const struct snap *base);

/* judge.c */
struct csv_fs *judge_mount(struct explore *x, struct loop *loop, struct bdev_queue *queue);
void judge_unmount(struct csv_fs *fs, struct trial *t);
/* csv_check() has nothing to say. */
bool judge_check(struct explore *x, struct csv_fs *fs);
/* Reads everything into x->survey. */
bool judge_survey(struct explore *x, struct csv_fs *fs);
/* A cluster's volume, by the model. */
bool judge_volume(struct explore *x, struct trial *t, struct look *look, bool again);
void judge_done(struct explore *x);

#define SPIN_UNTIL(loop, cond)                                                                     \
	do {                                                                                       \
		uint64_t turns_ = 0;                                                               \
		while (!(cond)) {                                                                  \
			CHECK(++turns_ < 1000000);                                                 \
			loop_run_once(loop, false);                                                \
		}                                                                                  \
	} while (0)

#endif
