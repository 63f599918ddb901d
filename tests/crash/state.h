/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Crash states of a recording: the device as it can be found when everything stops between two
 * events. What a flush covers is there. Of the rest, and of what was in flight:
 *
 *   subset 0     all that was done (a coordinator died, the LUN did not)
 *   subset 1     that, and some of what was in flight, whole or torn
 *   subset 2     nothing                          (from here on: the power failed)
 *   subset 3     only what was in flight
 *   subset 4, 5  all but one; only one
 *   subset 6..   any part: kept, dropped, torn at 512 bytes
 *
 * Each is mounted and replayed, must have nothing for csv_check() to say, and must be what the model
 * says it may be: after a death with all that was acknowledged (P3), after a loss of power with all
 * that was synced. Replays of some states are recorded and cut in the same way.
 *
 * A state's name is SEED:CUT:SUBSET, or with :KIND:CUT:SUBSET of the crash during its replay.
 */
#ifndef TESTS_CRASH_STATE_H
#define TESTS_CRASH_STATE_H

#include "tests/crash/sim.h"

struct states {
	const char *workload;
	uint64_t seed;
	bool lying; /* a twin: flushes cover nothing */
	unsigned broken; /* JNL_BREAK_* of replays */
	bool quiet;	 /* failures are not printed */
	uint64_t every;	 /* only each nth cut is tried */
	uint64_t nr_subsets; /* random ones at each cut */
	uint64_t second_every; /* 1 of so many states has its replay cut; 0 = none */
	uint64_t max;
	bool only; /* a state to try alone */
	uint64_t want[5], nr_want; /* cut, subset, kind, cut, subset */

	uint64_t nr, nr_second, nr_cuts, nr_reaped;
	bool failed;
};

/* Tries the states of all that sim recorded since event first, when the device held base. */
void states_try(struct states *st, struct sim *sim, uint64_t first, const struct snap *base);

/* The workload "mkfs" (mkfs.c): a new volume over an old one. */
void mkfs_run(struct states *st);

/* What the engine shows now, with nothing under way, is what the model has. */
bool judge_live(struct sim *sim);

#endif
