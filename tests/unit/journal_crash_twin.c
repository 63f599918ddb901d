/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: util blockdev journal */
/*
 * The crash test can fail: each rule that the journal is made to break is found by it. A twin runs
 * in a process of its own; "found" is a state that differs from the model, not a crash of the test.
 *
 *	journal_crash_twin [twin [seed:life:cut:subset...]]	that one alone, and what it says
 */
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/journal_life.h"

#define MAX_STATES 400000u

static const struct {
	const char *name;
	unsigned broken;
	enum mode mode; /* the workload that finds it soon */
	uint64_t seed;	/* where to begin: what is rare need not be searched for each time */
} twins[] = {
	{ "no flush before in-place writes (J2)", JNL_BREAK_CKPT_STABLE },
	{ "no flush between in-place writes and the tail (J3)", JNL_BREAK_CKPT_FLUSH },
	{ "log space reused before the new tail is stable (K3)", JNL_BREAK_TAIL_FLUSH, PRESSURE,
		11 },
	{ "no flush before a record that tells of data (J4)", JNL_BREAK_PREFLUSH },
	{ "replay does not verify images (J1)", JNL_BREAK_CRC },
	{ "replay takes records of any epoch (J1)", JNL_BREAK_EPOCH, UNIFORM, 1 },
	{ "stable is acknowledged without a flush", JNL_BREAK_STABLE_WAIT },
	{ "replay empties the log before what it wrote is stable", JNL_BREAK_REPLAY_FLUSH },
};

/* 0 = found nothing, 1 = found */
static int run_twin(unsigned n, bool quiet, const char *id)
{
	struct run run = {
		.broken = twins[n].broken,
		.mode = twins[n].mode,
		.once = twins[n].mode != ANY_MODE,
		.quiet = quiet,
		.max_states = UINT64_MAX,
	};

	crash_setup();
	if (id) {
		CHECK(parse_id(&run, id));
		run_seed(&run, run.want[0]);
	}
	for (uint64_t seed = MAX(twins[n].seed, 1);
		!id && !run.failed && run.nr_states < MAX_STATES; seed++)
		run_seed(&run, seed);
	printf("%" PRIu64 " states, %s\n", run.nr_states, run.failed ? run.id : "nothing found");
	return run.failed;
}

int main(int argc, char **argv)
{
	int missed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1) {
		unsigned n = (unsigned)atoi(argv[1]);

		CHECK(n < ARRAY_SIZE(twins));
		return run_twin(n, false, argc > 2 ? argv[2] : NULL);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(twins); i++) {
		int status;
		pid_t pid;

		printf("%u %s: ", i, twins[i].name);
		fflush(stdout);
		pid = fork();
		CHECK(pid >= 0);
		if (pid == 0)
			exit(run_twin(i, true, NULL) ? 42 : 0);
		CHECK(waitpid(pid, &status, 0) == pid);
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 42)
			missed++;
	}
	if (missed)
		fprintf(stderr, "%d twins were not found out\n", missed);
	return missed > 0;
}
