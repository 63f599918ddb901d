/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Crash states of a cluster under a workload. See state.h for what is tried and asked.
 *
 *	crash WORKLOAD [STATES|long [FIRST-SEED]]
 *	crash WORKLOAD SEED CUT SUBSET [KIND CUT SUBSET]	one state again; CRASH_LIST=1 lists it
 *	crash 'crash-WORKLOAD SEED CUT SUBSET …'		the same, from "replay:"
 *	crash twin						mechanisms off: each must be found out
 *	crash list
 */
#include <inttypes.h>
#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include "journal/journal_internal.h"
#include "tests/crash/hooks.h"
#include "tests/crash/state.h"
#include "tests/crash/work.h"
#include "tests/unit/test.h"
#include "util/log.h"

#ifdef __SANITIZE_ADDRESS__
#define STATES 1000u
#define STATES_LONG 4000u
#else
#define STATES 6400u
#define STATES_LONG 250000u
#endif

static void run_workload(struct states *st, const struct workload *w, bool no_recall)
{
	uint64_t rnd = st->seed * 1000;
	struct sim *sim = sim_new(rnd_next(&rnd), (uint64_t)w->journal_kib << 10, w->nr_blks,
		st->broken, no_recall);
	struct snap base;
	uint64_t first;

	work_begin(sim, w);
	snap_take(&base, mem_image(sim->mem));
	first = sim_events(sim);
	for (unsigned i = 0; i < 3; i++)
		chaos_of(sim->dev)->slow[i] = 1 + rnd_next(&rnd) % 6;
	chaos_of(sim->dev)->mid = sim->geom.journal_blk * BLK;
	chaos_of(sim->dev)->end = (sim->geom.journal_blk + sim->geom.journal_nr_blks) * BLK;
	work_run(sim, w, w->nr_ops);
	sim_end(sim, true);
	if (sim->failed) {
		st->failed = true;
		if (!st->quiet)
			fprintf(stderr, "replay: crash-%s %" PRIu64 " 0 0\n", st->workload, st->seed);
	} else {
		states_try(st, sim, first, &base);
	}
	sim_free(sim);
	snap_free(&base);
}

static void run_seed(struct states *st, bool no_recall)
{
	if (strcmp(st->workload, "mkfs") == 0)
		mkfs_run(st);
	else
		run_workload(st, workload_find(st->workload), no_recall);
}

static int run_states(struct states *st)
{
	uint64_t t0 = clock_mono_ns(), lives = 0;

	for (; !st->failed && st->nr < st->max; st->seed++, lives++)
		run_seed(st, false);
	printf("%s: %" PRIu64 " states at %" PRIu64 " cuts of %" PRIu64 " lives (%" PRIu64
	       " of them crashes in replay, %" PRIu64 " freed orphans), %.1f s\n",
		st->workload, st->nr, st->nr_cuts, lives, st->nr_second, st->nr_reaped,
		(double)(clock_mono_ns() - t0) / 1e9);
	return st->failed;
}

/* ---- twins ---- */

static const struct twin {
	const char *what, *workload;
	unsigned broken;
	enum hook_twin hook;
	bool lying, no_recall;
} twins[] = {
	{ "flushes that cover nothing", "random", .lying = true },
	{ "no flush before a record that tells of data (J4)", "grants", JNL_BREAK_PREFLUSH },
	{ "no flush before in-place writes (J2)", "ckpt", JNL_BREAK_CKPT_STABLE },
	{ "no flush between in-place writes and the tail (J3)", "ckpt", JNL_BREAK_CKPT_FLUSH },
	{ "SYNC is answered without a flush", "storm", JNL_BREAK_STABLE_WAIT },
	{ "replies before the log write (E4)", "storm", .hook = TWIN_EARLY_REPLY },
	{ "freed blocks are free at once (E5)", "full", .hook = TWIN_REUSE },
	{ "no record asks for a flush of data (E6)", "append", .hook = TWIN_NO_PREFLUSH },
	{ "results of requests are not looked up", "takeover", .hook = TWIN_FORGET_SLOTS },
	{ "mkfs does not flush between wiping and writing", "mkfs", .lying = true },
	{ "no recalls", "punch", .no_recall = true },
};

static int run_twin(const struct twin *twin)
{
	struct states st = { .workload = twin->workload, .seed = 1, .every = 3, .nr_subsets = 8,
		.max = 40000, .lying = twin->lying, .broken = twin->broken, .quiet = true };

	hook_twin = twin->hook;
	for (; !st.failed && st.nr < st.max; st.seed++)
		run_seed(&st, twin->no_recall);
	printf("%" PRIu64 " states, %s\n", st.nr, st.failed ? "found out" : "not found out");
	return st.failed ? 42 : 0;
}

/* In a process of its own: such a volume may be beyond what the checks can say. */
static int run_twins(int only)
{
	int missed = 0;

	for (int i = 0; i < (int)ARRAY_SIZE(twins); i++) {
		int status;
		pid_t pid;

		if (only >= 0 && i != only)
			continue;
		printf("%d %s: ", i, twins[i].what);
		fflush(stdout);
		pid = fork();
		CHECK(pid >= 0);
		if (pid == 0) {
			if (only < 0) {
				log_set_level((enum log_level)-1);
				CHECK(freopen("/dev/null", "w", stderr));
			}
			_exit(run_twin(&twins[i]));
		}
		CHECK(waitpid(pid, &status, 0) == pid);
		if (WIFEXITED(status) && WEXITSTATUS(status) == 42)
			continue;
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
			missed++;
		else
			printf("the test stopped over it\n");
	}
	if (missed)
		fprintf(stderr, "%d twins were not found out\n", missed);
	return missed > 0;
}

/* ---- command line ---- */

static int run_one(const char *workload, int nr, char **args)
{
	struct states st = { .workload = workload, .every = 1, .nr_subsets = 6, .max = UINT64_MAX,
		.only = true };

	st.seed = strtoull(args[0], NULL, 10);
	for (int i = 1; i < nr && i <= 5; i++)
		st.want[st.nr_want++] = strtoull(args[i], NULL, 10);
	run_seed(&st, false);
	printf("%s: %" PRIu64 " states tried\n", st.failed ? "failed" : "passed", st.nr);
	return st.failed;
}

static uint64_t nr_states(const char *text)
{
	return strcmp(text, "long") ? strtoull(text, NULL, 10) : STATES_LONG;
}

static void usage(void)
{
	fprintf(stderr, "usage: crash WORKLOAD [STATES|long [SEED]] | WORKLOAD SEED CUT SUBSET … | twin | "
			"list\n");
	exit(2);
}

/* "crash-rename 3 17 5" in one argument becomes four. */
static int split(char *text, char **args, int max)
{
	int nr = 0;

	for (char *p = strtok(text, " "); p && nr < max; p = strtok(NULL, " "))
		args[nr++] = p;
	return nr;
}

int main(int argc, char **argv)
{
	char *args[8] = { 0 };
	int nr = argc - 1;

	mallopt(M_MMAP_THRESHOLD, 256 << 20);
	mallopt(M_TRIM_THRESHOLD, 512 << 20);
	setvbuf(stdout, NULL, _IOLBF, 0);
	log_set_level(getenv("CRASH_LOG") ? LOG_LVL_DEBUG : (enum log_level)-1);
	if (nr < 1 || nr > 8)
		usage();
	memcpy(args, argv + 1, (size_t)nr * sizeof(*args));
	if (strchr(args[0], ' '))
		nr = split(args[0], args, 8);
	if (strcmp(args[0], "twin") == 0)
		return run_twins(nr > 1 ? atoi(args[1]) : -1);
	for (unsigned n = 0; strcmp(args[0], "list") == 0 && workload_nth(n); n++)
		puts(workload_nth(n)->name);
	if (strcmp(args[0], "list") == 0)
		return puts("mkfs") < 0;
	const char *workload = strncmp(args[0], "crash-", 6) ? args[0] : args[0] + 6;
	if (!workload_find(workload) && strcmp(workload, "mkfs"))
		usage();
	if (nr > 3)
		return run_one(workload, nr - 1, args + 1);
	struct states st = { .workload = workload, .seed = nr > 2 ? strtoull(args[2], NULL, 10) : 1,
		.every = 1, .nr_subsets = 6,
		.second_every = strcmp(workload, "mkfs") ? 400 : 0,
		.max = nr > 1 ? nr_states(args[1]) : STATES };
	if (nr < 2 && strcmp(workload, "steps") == 0) /* many blocks to look at */
		st.max /= 3;
	return run_states(&st);
}
