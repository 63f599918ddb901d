/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs a fuzz target without libFuzzer: first what it is to begin with (fuzz_seeds(), and the files and
 * folders that are named), then mutations of that, the same ones each time for the same --seed.
 *
 *	fuzz-NAME [--runs N] [--seconds S] [--seed N] [--save DIR] [FILE|DIR]...
 *
 * A file NAME.hex holds hexadecimal digits, and comments from "#" to the end of the line; any other
 * one is taken as it is. What crashes the target, or does not end, is printed as such a file's text.
 * --save writes what it begins with to DIR, for libFuzzer.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "util/checked.h"

#define HANG_S 30u /* of one run, on a busy machine with sanitizers */
#define MAX_RSS_BYTES (1ull << 30)

struct input {
	uint8_t *data;
	size_t len;
	char name[64];
};

static struct input *inputs;
static size_t nr_inputs;
static uint64_t rnd;

/* What runs now; what tells of a crash reads it. */
static const uint8_t *now_data;
static size_t now_len;
static const char *now_name;
static volatile uint64_t nr_runs;
static volatile bool running;

/* ---- when it goes wrong ---- */

static void show_input(void)
{
	if (!running)
		return;
	running = false;
	dprintf(2, "# the input, made from %s, run %llu:\n", now_name, (unsigned long long)nr_runs);
	for (size_t i = 0; i < now_len; i++)
		dprintf(2, "%02x%s", now_data[i], i % 32 == 31 || i + 1 == now_len ? "\n" : "");
}

static void on_signal(int sig)
{
	show_input();
	signal(sig, SIG_DFL);
	raise(sig);
}

/* Each second: is it still the same run? */
static void on_tick(int sig)
{
	static uint64_t last;
	static unsigned ticks;

	ticks = running && last == nr_runs ? ticks + 1 : 0;
	last = nr_runs;
	if (ticks < HANG_S)
		return;
	dprintf(2, "it has not come to an end for %u s\n", HANG_S);
	abort();
}

void fuzz_fail(const char *why)
{
	dprintf(2, "%s\n", why);
	abort();
}

#if defined(__SANITIZE_ADDRESS__)
const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void)
{
	return "abort_on_error=1:print_stacktrace=1";
}

void __sanitizer_set_death_callback(void (*callback)(void));
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	/* A length that somebody believed shows as an allocation that is too large. */
	return "max_allocation_size_mb=256:quarantine_size_mb=32:detect_stack_use_after_return=0";
}
#endif

static void watch(void)
{
	struct itimerval tick = { { 1, 0 }, { 1, 0 } };

#if defined(__SANITIZE_ADDRESS__)
	__sanitizer_set_death_callback(show_input);
#else
	signal(SIGSEGV, on_signal);
	signal(SIGBUS, on_signal);
	signal(SIGFPE, on_signal);
#endif
	signal(SIGABRT, on_signal);
	atexit(show_input); /* a check of a test header has failed */
	struct sigaction sa = { .sa_handler = on_tick, .sa_flags = SA_RESTART };
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &tick, NULL);
}

/* ---- inputs ---- */

static void add_named(const void *data, size_t len, const char *name)
{
	struct input *in;

	inputs = realloc(inputs, (nr_inputs + 1) * sizeof(*inputs));
	if (!inputs)
		abort();
	in = &inputs[nr_inputs++];
	in->len = MIN(len, (size_t)FUZZ_MAX_BYTES);
	in->data = malloc(in->len + 1);
	if (!in->data)
		abort();
	memcpy(in->data, data, in->len);
	snprintf(in->name, sizeof(in->name), "%s", name);
}

static void add_seed(const void *data, size_t len)
{
	char name[32];

	snprintf(name, sizeof(name), "seed %zu", nr_inputs);
	add_named(data, len, name);
}

static size_t from_hex(uint8_t *text, size_t len)
{
	size_t out = 0;
	int half = -1;

	for (size_t i = 0; i < len; i++) {
		if (text[i] == '#')
			while (i < len && text[i] != '\n')
				i++;
		if (i == len || !isxdigit(text[i]))
			continue;
		int digit = isdigit(text[i]) ? text[i] - '0' : tolower(text[i]) - 'a' + 10;
		if (half >= 0)
			text[out++] = (uint8_t)(half << 4 | digit);
		half = half < 0 ? digit : -1;
	}
	return out;
}

static void add_file(const char *path)
{
	static uint8_t buf[4 * FUZZ_MAX_BYTES];
	const char *name = strrchr(path, '/'), *dot = strrchr(path, '.');
	FILE *f = fopen(path, "re");

	if (!f) {
		perror(path);
		exit(2);
	}
	size_t len = fread(buf, 1, sizeof(buf), f);
	fclose(f);
	if (dot && !strcmp(dot, ".hex"))
		len = from_hex(buf, len);
	add_named(buf, len, name ? name + 1 : path);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* Sorted: the same inputs in the same order everywhere. A folder that is not there is an empty one. */
static void add_path(const char *path)
{
	struct dirent **ents;
	struct stat st;
	char *file;

	if (!stat(path, &st) && !S_ISDIR(st.st_mode)) {
		add_file(path);
		return;
	}
	int n = scandir(path, &ents, NULL, by_name);
	for (int i = 0; i < n; i++) {
		if (ents[i]->d_name[0] != '.' && asprintf(&file, "%s/%s", path, ents[i]->d_name) > 0) {
			add_file(file);
			free(file);
		}
		free(ents[i]);
	}
	if (n >= 0)
		free(ents);
}

static void save(const char *dir)
{
	char path[4096];

	for (size_t i = 0; i < nr_inputs; i++) {
		snprintf(path, sizeof(path), "%s/%03zu", dir, i);
		FILE *f = fopen(path, "we");
		if (!f || fwrite(inputs[i].data, 1, inputs[i].len, f) != inputs[i].len || fclose(f)) {
			perror(path);
			exit(2);
		}
	}
}

/* ---- mutations ---- */

static uint64_t roll(uint64_t n)
{
	rnd ^= rnd << 13;
	rnd ^= rnd >> 7;
	rnd ^= rnd << 17;
	return (rnd * 0x2545f4914f6cdd1dull >> 11) % n;
}

struct work {
	uint8_t data[FUZZ_MAX_BYTES];
	size_t len;
};

static void put_in(struct work *w, const void *bytes, size_t n, bool over)
{
	uint8_t copy[256];
	size_t at = roll(w->len + 1);

	n = MIN(n, sizeof(copy));
	memcpy(copy, bytes, n); /* it may be of w itself */
	if (over) {
		n = MIN(n, w->len - at);
	} else {
		n = MIN(n, sizeof(w->data) - w->len);
		memmove(w->data + at + n, w->data + at, w->len - at);
		w->len += n;
	}
	memcpy(w->data + at, copy, n);
}

static void take_out(struct work *w)
{
	size_t at = roll(w->len + 1), n = 1 + roll(16);

	n = MIN(n, w->len - at);
	memmove(w->data + at, w->data + at + n, w->len - at - n);
	w->len -= n;
}

static void put_number(struct work *w)
{
	static const uint64_t evil[] = { 0, 1, 2, 3, 7, 8, 15, 16, 64, 65, 127, 128, 255, 256, 512,
		1023, 1024, 1025, 1280, 1281, 4095, 4096, 4097, 32767, 32768, 65535, 65536, 1 << 20,
		INT32_MAX, 1ull << 31, UINT32_MAX, UINT32_MAX - 7, 1ull << 32, 1ull << 48, 1ull << 51,
		1ull << 52, INT64_MAX, 1ull << 63, UINT64_MAX, UINT64_MAX - 7, UINT64_MAX - 4095 };
	uint64_t v = evil[roll(ARRAY_SIZE(evil))] + (roll(8) ? 0 : roll(5)) - (roll(8) ? 0 : roll(5));

	put_in(w, &v, 1u << roll(4), roll(4) > 0);
}

static void put_word(struct work *w)
{
	size_t n = 0;

	while (fuzz_words[n])
		n++;
	if (n) {
		const char *word = fuzz_words[roll(n)];
		put_in(w, word, strlen(word), roll(3) == 0);
	} else {
		put_number(w);
	}
}

static void mutate_once(struct work *w)
{
	const struct input *other = &inputs[roll(nr_inputs)];
	uint8_t byte = (uint8_t)roll(256);
	size_t at, n = 1 + roll(roll(2) ? 64 : 256);

	switch (roll(10)) {
	case 0:
	case 1:
		if (w->len)
			w->data[roll(w->len)] ^= (uint8_t)(1u << roll(8));
		break;
	case 2:
		put_in(w, &byte, 1, roll(2));
		break;
	case 3:
	case 4:
		put_number(w);
		break;
	case 5:
	case 6:
		put_word(w);
		break;
	case 7:
		take_out(w);
		break;
	case 8: /* a piece of itself again */
		at = roll(w->len + 1);
		put_in(w, w->data + at, MIN(n, w->len - at), roll(2));
		break;
	default: /* a piece of another one */
		at = roll(other->len + 1);
		put_in(w, other->data + at, MIN(n, other->len - at), roll(2));
	}
}

static void run_one(const uint8_t *data, size_t len, const char *name)
{
	/* Of its own, and exactly that long: reading past it shows. */
	uint8_t *copy = malloc(len ? len : 1);
	struct rusage use;

	if (!copy)
		abort();
	memcpy(copy, data, len);
	now_data = copy;
	now_len = len;
	now_name = name;
	nr_runs++;
	running = true;
	LLVMFuzzerTestOneInput(copy, len);
	if (nr_runs % 64 == 0 && !getrusage(RUSAGE_SELF, &use) &&
		(uint64_t)use.ru_maxrss * 1024 > MAX_RSS_BYTES)
		fuzz_fail("it has taken too much memory, with this input or before");
	running = false;
	free(copy);
}

static void run_mutation(void)
{
	const struct input *from = &inputs[roll(nr_inputs)];
	struct work w = { .len = from->len };

	memcpy(w.data, from->data, from->len);
	for (uint64_t n = 1 + roll(roll(4) ? 4 : 24); n > 0; n--)
		mutate_once(&w);
	run_one(w.data, w.len, from->name);
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	static const struct option longopts[] = { { "runs", 1, NULL, 'r' }, { "seconds", 1, NULL, 's' },
		{ "seed", 1, NULL, 'e' }, { "save", 1, NULL, 'w' }, { 0 } };
	uint64_t max_runs = 0, max_seconds = 0, seed = 1;
	const char *save_dir = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "", longopts, NULL)) != -1) {
		if (c == 'r')
			max_runs = strtoull(optarg, NULL, 10);
		else if (c == 's')
			max_seconds = strtoull(optarg, NULL, 10);
		else if (c == 'e')
			seed = strtoull(optarg, NULL, 10);
		else if (c == 'w')
			save_dir = optarg;
		else
			return 2;
	}
	rnd = seed * 0x9e3779b97f4a7c15ull + 1;
	LLVMFuzzerInitialize(&argc, &argv);
	fuzz_seeds(add_seed);
	for (int i = optind; i < argc; i++)
		add_path(argv[i]);
	if (save_dir) {
		save(save_dir);
		return 0;
	}
	watch();
	double begin = seconds();
	for (size_t i = 0; i < nr_inputs; i++)
		run_one(inputs[i].data, inputs[i].len, inputs[i].name);
	for (uint64_t i = 0; i < max_runs || (max_seconds && seconds() - begin < (double)max_seconds); i++)
		run_mutation();
	double took = seconds() - begin;
	printf("%zu inputs, %llu runs, %.1f s, %.0f a second\n", nr_inputs, (unsigned long long)nr_runs,
		took, (double)nr_runs / (took > 0 ? took : 1));
	for (size_t i = 0; i < nr_inputs; i++)
		free(inputs[i].data);
	free(inputs);
	return 0;
}
