/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random file operations, each checked against a model in memory.
 *
 *   stress [-t THREADS] [-s SECONDS] [-n OPS] [-S SEED] [-m files|shared] [-r RANK/OF] [-z MiB] [-b] DIR
 *
 * files   each thread has a file of its own: writes of every shape, appends, truncation, holes,
 *         preallocation, renames over it, unlinking while open
 * shared  all threads of all ranks write one file, DIR/shared, each in the stripes that are its own;
 *         stripes are not aligned to blocks, so that writers meet in them
 *
 * -b: never O_DIRECT (whose alignment csvfs does not ask for, but other file systems do).
 *
 * Exit status: 0 all agreed, 1 something was not as it should be (told on standard error, with the
 * last operations of that thread and the seed).
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HISTORY 24
#define MAX_IO (1u << 20)
#define STRIPE 37003u /* odd: neighbours meet in a block */

static struct {
	const char *dir;
	unsigned threads, seconds, rank, ranks;
	uint64_t ops, seed, size_max;
	bool shared, buffered;
} cfg = { .threads = 4, .seconds = 10, .ranks = 1, .size_max = 6u << 20 };

static atomic_bool stop;
static atomic_uint failures;
static atomic_ullong total;

struct worker {
	pthread_t thread;
	unsigned id;
	uint64_t rnd;
	char path[512], other[520];
	int fd;
	bool direct, append;
	uint8_t *model, *buf; /* model: size_max bytes, zero past size */
	uint64_t size;
	char history[HISTORY][128];
	unsigned nr_history;
};

static uint64_t rnd(struct worker *w)
{
	w->rnd ^= w->rnd << 13;
	w->rnd ^= w->rnd >> 7;
	w->rnd ^= w->rnd << 17;
	return w->rnd;
}

static uint64_t below(struct worker *w, uint64_t n)
{
	return n ? rnd(w) % n : 0;
}

static void note(struct worker *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void note(struct worker *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(w->history[w->nr_history++ % HISTORY], sizeof(w->history[0]), fmt, ap);
	va_end(ap);
}

static bool fail(struct worker *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool fail(struct worker *w, const char *fmt, ...)
{
	va_list ap;
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

	pthread_mutex_lock(&lock);
	fprintf(stderr, "%s (seed %llu): ", w->path, (unsigned long long)cfg.seed);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	unsigned from = w->nr_history > HISTORY ? w->nr_history - HISTORY : 0;
	for (unsigned i = from; i < w->nr_history; i++)
		fprintf(stderr, "  %u: %s\n", i, w->history[i % HISTORY]);
	pthread_mutex_unlock(&lock);
	atomic_fetch_add(&failures, 1);
	atomic_store(&stop, true);
	return false;
}

static bool reopen(struct worker *w, int flags)
{
	if (w->fd >= 0 && close(w->fd))
		return fail(w, "close: %s", strerror(errno));
	w->direct = !cfg.buffered && below(w, 2);
	w->append = !cfg.shared && below(w, 4) == 0;
	w->fd = open(w->path, O_RDWR | O_CREAT | flags | (w->direct ? O_DIRECT : 0) |
			(w->append ? O_APPEND : 0), 0644);
	note(w, "open direct=%d append=%d flags=%#x", w->direct, w->append, (unsigned)flags);
	return w->fd >= 0 || fail(w, "open: %s", strerror(errno));
}

/* A range of bytes, shaped by chance: whole blocks, sectors, single bytes; within [low, high). */
static uint64_t pick(struct worker *w, uint64_t low, uint64_t high, uint64_t *ret_len)
{
	static const uint32_t units[] = { 1, 512, 4096, 65536 };
	uint32_t unit = units[below(w, 4)];
	uint64_t max = below(w, 3) ? 8192 : MAX_IO, len = 1 + below(w, max), off;

	if (len > high - low)
		len = high - low;
	off = low + below(w, high - low - len + 1);
	uint64_t a_off = (off + unit - 1) / unit * unit, a_end = (off + len + unit - 1) / unit * unit;
	if (a_off >= low && a_end <= high && a_off < a_end) {
		off = a_off;
		len = a_end - a_off;
	}
	*ret_len = len < MAX_IO ? len : MAX_IO;
	return off;
}

static void differs(struct worker *w, uint64_t off, uint64_t len)
{
	uint64_t i = 0, n = 0;

	while (i < len && w->buf[i] == w->model[off + i])
		i++;
	for (uint64_t k = i; k < len; k++)
		n += w->buf[k] != w->model[off + k];
	fail(w, "read of %llu+%llu: byte %llu is %#x, should be %#x; %llu bytes differ",
		(unsigned long long)off, (unsigned long long)len, (unsigned long long)(off + i),
		w->buf[i], w->model[off + i], (unsigned long long)n);
}

static bool check_read(struct worker *w, uint64_t off, uint64_t len)
{
	note(w, "read %llu+%llu", (unsigned long long)off, (unsigned long long)len);
	ssize_t n = pread(w->fd, w->buf, len, (off_t)off);
	if (n < 0)
		return fail(w, "read %llu+%llu: %s", (unsigned long long)off,
			(unsigned long long)len, strerror(errno));
	uint64_t expect = off < w->size ? w->size - off : 0;
	if (expect > len)
		expect = len;
	/* Others may have made a shared file longer than we know. */
	if (cfg.shared ? (uint64_t)n < expect : (uint64_t)n != expect)
		return fail(w, "read %llu+%llu: got %zd bytes, should be %llu",
			(unsigned long long)off, (unsigned long long)len, n,
			(unsigned long long)expect);
	if (memcmp(w->buf, w->model + off, (size_t)n)) {
		differs(w, off, (uint64_t)n);
		return false;
	}
	return true;
}

static bool do_write(struct worker *w, uint64_t off, uint64_t len)
{
	if (w->append) {
		off = w->size;
		if (off + len > cfg.size_max)
			return true;
	}
	for (uint64_t i = 0; i < len; i += 8) {
		uint64_t v = rnd(w) | 0x0101010101010101ull; /* no byte is zero */
		memcpy(w->buf + i, &v, len - i < 8 ? len - i : 8);
	}
	note(w, "write %llu+%llu", (unsigned long long)off, (unsigned long long)len);
	ssize_t n = pwrite(w->fd, w->buf, len, (off_t)off);
	if (n < 0 && errno == ENOSPC) {
		note(w, "no space"); /* some of it may have been written */
		n = pread(w->fd, w->model + off, len, (off_t)off);
		return n >= 0 || fail(w, "read after ENOSPC: %s", strerror(errno));
	}
	if (n != (ssize_t)len)
		return fail(w, "write: %zd of %llu: %s", n, (unsigned long long)len, strerror(errno));
	memcpy(w->model + off, w->buf, len);
	if (off + len > w->size)
		w->size = off + len;
	return true;
}

static bool do_truncate(struct worker *w)
{
	uint64_t len, size = below(w, 8) ? pick(w, 0, cfg.size_max, &len) : 0;

	note(w, "truncate %llu", (unsigned long long)size);
	if (ftruncate(w->fd, (off_t)size))
		return fail(w, "truncate: %s", strerror(errno));
	if (size < w->size)
		memset(w->model + size, 0, w->size - size);
	w->size = size;
	return true;
}

static bool do_fallocate(struct worker *w, uint64_t off, uint64_t len)
{
	static const int modes[] = { 0, FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE,
		FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE };
	int mode = modes[below(w, 5)];

	note(w, "fallocate %#x %llu+%llu", (unsigned)mode, (unsigned long long)off,
		(unsigned long long)len);
	if (fallocate(w->fd, mode, (off_t)off, (off_t)len))
		return errno == ENOSPC || fail(w, "fallocate: %s", strerror(errno));
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		memset(w->model + off, 0, len);
	if (!(mode & FALLOC_FL_KEEP_SIZE) && off + len > w->size)
		w->size = off + len;
	return true;
}

static bool check_stat(struct worker *w)
{
	struct stat st;

	note(w, "stat");
	if (below(w, 2) ? fstat(w->fd, &st) : stat(w->path, &st))
		return fail(w, "stat: %s", strerror(errno));
	if (cfg.shared ? (uint64_t)st.st_size < w->size : (uint64_t)st.st_size != w->size)
		return fail(w, "size is %lld, should be %llu", (long long)st.st_size,
			(unsigned long long)w->size);
	return true;
}

/* What lseek calls a hole reads as zeroes. */
static bool check_hole(struct worker *w)
{
	uint64_t off = below(w, w->size);

	note(w, "seek %llu", (unsigned long long)off);
	off_t hole = w->size ? lseek(w->fd, (off_t)off, SEEK_HOLE) : -1;
	if (hole < 0)
		return w->size == 0 || fail(w, "SEEK_HOLE: %s", strerror(errno));
	off_t data = lseek(w->fd, hole, SEEK_DATA);
	if (data < 0)
		data = (off_t)w->size;
	for (off_t i = hole; i < data && (uint64_t)i < w->size; i++)
		if (w->model[i])
			return fail(w, "byte %lld is in a hole, but was written", (long long)i);
	return true;
}

static bool replace_file(struct worker *w)
{
	bool unlinked = below(w, 2);

	note(w, unlinked ? "unlink, use, make anew" : "a new file renamed over it");
	if (unlinked) {
		uint64_t len, off = pick(w, 0, cfg.size_max, &len);
		if (unlink(w->path))
			return fail(w, "unlink: %s", strerror(errno));
		if (!do_write(w, off, len) || !check_read(w, off, len))
			return false;
	} else {
		int fd = open(w->other, O_WRONLY | O_CREAT | O_TRUNC, 0644);
		if (fd < 0 || close(fd) || rename(w->other, w->path))
			return fail(w, "rename: %s", strerror(errno));
		if (!check_read(w, 0, w->size < MAX_IO ? w->size : MAX_IO)) /* the old one is open */
			return false;
	}
	memset(w->model, 0, cfg.size_max);
	w->size = 0;
	return reopen(w, 0);
}

static bool one_op(struct worker *w)
{
	uint64_t low = 0, high = cfg.size_max, len, off;

	if (cfg.shared) {
		uint64_t stripes = cfg.size_max / STRIPE, all = (uint64_t)cfg.threads * cfg.ranks;
		uint64_t nth = below(w, stripes / all);
		low = (nth * all + (uint64_t)cfg.rank * cfg.threads + w->id) * STRIPE;
		high = low + STRIPE;
	}
	off = pick(w, low, high, &len);
	unsigned op = (unsigned)below(w, 100);
	if (op < 40)
		return do_write(w, off, len);
	if (op < 70)
		return check_read(w, off, len);
	if (op < 78 && (!cfg.shared || below(w, 4) == 0))
		return do_fallocate(w, off, len);
	if (op < 82)
		return check_stat(w);
	if (op < 84) {
		note(w, "fsync");
		return !(op == 82 ? fsync(w->fd) : fdatasync(w->fd)) ||
			fail(w, "fsync: %s", strerror(errno));
	}
	if (op < 88)
		return check_hole(w);
	if (op < 92)
		return reopen(w, 0);
	if (cfg.shared)
		return do_write(w, off, len);
	if (op < 97)
		return do_truncate(w);
	return op < 99 || replace_file(w);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	uint64_t nr = 0;

	if (!reopen(w, cfg.shared ? 0 : O_TRUNC))
		return NULL;
	while (!atomic_load(&stop) && (!cfg.ops || nr < cfg.ops) && one_op(w))
		nr++;
	atomic_fetch_add(&total, nr);
	for (uint64_t off = 0; !atomic_load(&failures) && !cfg.shared && off < w->size; off += MAX_IO)
		check_read(w, off, MAX_IO);
	uint64_t all = (uint64_t)cfg.threads * cfg.ranks;
	for (uint64_t n = (uint64_t)cfg.rank * cfg.threads + w->id;
		cfg.shared && !atomic_load(&failures) && n < cfg.size_max / STRIPE / all * all; n += all)
		check_read(w, n * STRIPE, STRIPE);
	close(w->fd);
	return NULL;
}

static void worker_init(struct worker *w, unsigned id)
{
	w->id = id;
	w->fd = -1;
	w->rnd = (cfg.seed + 1) * 0x9e3779b97f4a7c15ull ^
		(uint64_t)(cfg.rank * 1000 + id + 1) * 0xbf58476d1ce4e5b9ull;
	for (int i = 0; i < 10; i++)
		rnd(w);
	if (cfg.shared)
		snprintf(w->path, sizeof(w->path), "%s/shared", cfg.dir);
	else
		snprintf(w->path, sizeof(w->path), "%s/stress-%u-%u", cfg.dir, cfg.rank, id);
	snprintf(w->other, sizeof(w->other), "%s.new", w->path);
	w->model = calloc(1, cfg.size_max);
	w->buf = aligned_alloc(4096, MAX_IO);
	if (!w->model || !w->buf) {
		fprintf(stderr, "stress: out of memory\n");
		exit(1);
	}
}

int main(int argc, char **argv)
{
	int c;

	cfg.seed = (uint64_t)time(NULL);
	while ((c = getopt(argc, argv, "t:s:n:S:m:r:z:b")) != -1) {
		if (c == 't')
			cfg.threads = (unsigned)atoi(optarg);
		else if (c == 's')
			cfg.seconds = (unsigned)atoi(optarg);
		else if (c == 'n')
			cfg.ops = strtoull(optarg, NULL, 10);
		else if (c == 'S')
			cfg.seed = strtoull(optarg, NULL, 10);
		else if (c == 'm')
			cfg.shared = !strcmp(optarg, "shared");
		else if (c == 'b')
			cfg.buffered = true;
		else if (c == 'z')
			cfg.size_max = strtoull(optarg, NULL, 10) << 20;
		else if (c != 'r' || sscanf(optarg, "%u/%u", &cfg.rank, &cfg.ranks) != 2)
			return 1;
	}
	if (optind + 1 != argc || !cfg.threads || cfg.rank >= cfg.ranks || cfg.size_max < MAX_IO ||
		cfg.size_max / STRIPE < (uint64_t)cfg.threads * cfg.ranks) {
		fprintf(stderr, "usage: stress [-t THREADS] [-s SECONDS] [-n OPS] [-S SEED] "
				"[-m files|shared] [-r RANK/OF] [-z MiB] [-b] DIR\n");
		return 1;
	}
	cfg.dir = argv[optind];
	struct worker *workers = calloc(cfg.threads, sizeof(*workers));
	if (!workers)
		return 1;
	for (unsigned i = 0; i < cfg.threads; i++) {
		worker_init(&workers[i], i);
		if (pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]))
			return 1;
	}
	struct timespec tick = { 0, 50000000 };
	for (unsigned i = 0; !cfg.ops && i < cfg.seconds * 20 && !atomic_load(&stop); i++)
		nanosleep(&tick, NULL);
	if (!cfg.ops)
		atomic_store(&stop, true);
	for (unsigned i = 0; i < cfg.threads; i++)
		pthread_join(workers[i].thread, NULL);
	for (unsigned i = 0; i < cfg.threads; i++) {
		free(workers[i].model);
		free(workers[i].buf);
	}
	free(workers);
	printf("%llu operations, %u failures, seed %llu\n", (unsigned long long)atomic_load(&total),
		atomic_load(&failures), (unsigned long long)cfg.seed);
	return atomic_load(&failures) ? 1 : 0;
}
