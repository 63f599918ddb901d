/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Workloads: what is asked of the cluster, at random from a seed and by weight. To add one, say for a
 * new kind of request: the kind in sim.h, its message and step in op.c, how it is made up in work.c,
 * and a line in the table there.
 */
#ifndef TESTS_CRASH_WORK_H
#define TESTS_CRASH_WORK_H

#include "tests/crash/sim.h"

struct workload {
	const char *name;
	uint8_t weight[NR_OP_KINDS];
	uint32_t nr_before; /* operations before the recording */
	uint32_t nr_ops;
	uint32_t batch; /* under way at a time */
	uint32_t names; /* in a directory */
	uint32_t dirs, files; /* made before everything else */
	uint32_t max_blks;    /* of a file */
	uint32_t long_names;  /* per cent of names that are of 200 bytes */
	uint32_t journal_kib;
	uint32_t lose_one_of; /* messages; 0 = none is lost */
	uint32_t pieces;      /* that the files are made of */
	uint32_t free_blks;   /* more or less; 0 = the volume is almost empty */
	uint32_t nr_blks; /* of the volume; 0 = all of the device */
	uint32_t checkpoint_every, takeover_every, death_every, grow_every; /* operations; 0 = never */
};

const struct workload *workload_find(const char *name);
const struct workload *workload_nth(unsigned n); /* NULL: there are fewer */

/* Makes what is there before the recording. */
void work_begin(struct sim *sim, const struct workload *w);
void work_run(struct sim *sim, const struct workload *w, uint32_t nr_ops);

#endif
