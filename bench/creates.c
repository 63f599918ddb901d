/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Creates files as fast as it can, and tells how many in a second and the longest pause between two
 * of them: when it ended (CLOCK_REALTIME ns) and how long it was. Prints one JSON object.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_THREADS 256

static const char usage[] =
	"Usage: creates DIRECTORY PREFIX SECONDS [THREADS]\n"
	"Create empty files DIRECTORY/PREFIX.THREAD.N for that long.\n";

struct worker {
	pthread_t thread;
	unsigned id;
	uint64_t created, pause_ns, pause_end_ns;
	int err;
};

static const char *dir, *prefix;
static uint64_t end_ns;

static uint64_t now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void *run(void *arg)
{
	struct worker *w = arg;
	uint64_t before_ns = now_ns(CLOCK_MONOTONIC), at_ns = before_ns;
	char path[4096];

	while (at_ns < end_ns) {
		snprintf(path, sizeof(path), "%s/%s.%u.%llu", dir, prefix, w->id,
			(unsigned long long)w->created);
		int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
		if (fd < 0) {
			w->err = errno;
			break;
		}
		at_ns = now_ns(CLOCK_MONOTONIC);
		close(fd);
		w->created++;
		if (at_ns - before_ns > w->pause_ns) {
			w->pause_ns = at_ns - before_ns;
			w->pause_end_ns = now_ns(CLOCK_REALTIME);
		}
		before_ns = at_ns;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	static struct worker workers[MAX_THREADS];
	unsigned long threads = argc > 4 ? strtoul(argv[4], NULL, 10) : 1;

	if (argc < 4 || argc > 5 || !threads || threads > MAX_THREADS) {
		fputs(usage, stderr);
		return 2;
	}
	dir = argv[1];
	prefix = argv[2];
	uint64_t begin_ns = now_ns(CLOCK_MONOTONIC);
	end_ns = begin_ns + (uint64_t)(strtod(argv[3], NULL) * 1e9);
	for (unsigned i = 0; i < threads; i++) {
		workers[i].id = i;
		if (pthread_create(&workers[i].thread, NULL, run, &workers[i]))
			return 1;
	}
	struct worker sum = { 0 };
	for (unsigned i = 0; i < threads; i++) {
		struct worker *w = &workers[i];
		pthread_join(w->thread, NULL);
		sum.created += w->created;
		if (w->err)
			sum.err = w->err;
		if (w->pause_ns > sum.pause_ns) {
			sum.pause_ns = w->pause_ns;
			sum.pause_end_ns = w->pause_end_ns;
		}
	}
	double secs = (double)(now_ns(CLOCK_MONOTONIC) - begin_ns) / 1e9;
	printf("{\"created\": %llu, \"per_s\": %.1f, \"pause_ms\": %.1f, \"pause_end_ns\": %llu}\n",
		(unsigned long long)sum.created, (double)sum.created / secs, (double)sum.pause_ns / 1e6,
		(unsigned long long)sum.pause_end_ns);
	if (sum.err)
		fprintf(stderr, "creates: %s: %s\n", dir, strerror(sum.err));
	return sum.err ? 1 : 0;
}
