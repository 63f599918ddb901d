/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: util blockdev journal */
/* also plain: seven times the states */
/*
 * Crash states of the journal: see journal_crash.h.
 *
 *	journal_crash [states [first seed]]
 *	journal_crash seed:life:cut:subset[:kind:cut:subset]	one state again
 */
#include "tests/unit/journal_life.h"

#ifdef __SANITIZE_ADDRESS__
#define STATES 6000u /* five times as slow */
#else
#define STATES 40000u
#endif

int main(int argc, char **argv)
{
	struct run run = { .max_states = UINT64_MAX };
	uint64_t states = STATES, seed = 1, t0 = clock_mono_ns();

	crash_setup();
	if (argc > 1 && strchr(argv[1], ':')) {
		CHECK(parse_id(&run, argv[1]));
		run_seed(&run, run.want[0]);
		printf("%s\n", run.failed ? "failed" : "passed");
		return run.failed;
	}
	if (argc > 1)
		states = strtoull(argv[1], NULL, 10);
	if (argc > 2)
		seed = strtoull(argv[2], NULL, 10);
	run.max_states = states;
	for (; run.nr_states < states && !run.failed; seed++)
		run_seed(&run, seed);
	printf("%" PRIu64 " states tried (%" PRIu64 " of them crashes in recovery), %" PRIu64
	       " lives, %.1f s\n",
		run.nr_states, run.nr_second, run.nr_lives, (double)(clock_mono_ns() - t0) / 1e9);
	return run.failed;
}
