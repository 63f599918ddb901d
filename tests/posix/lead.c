/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bursts of names and bursts of reads and writes in turns, by one thread or eight: what comes out is
 * what went in, whichever thread of the mount takes the requests (fuse.h, F3). With -n or -i: names
 * alone, I/O alone. */
#include <pthread.h>

#include "tests/posix/posix.h"

#define THREADS 8
#define PIECE 8192u
#define FILE_BYTES (64u * PIECE)

static unsigned nr_ops;

static void *names(void *arg)
{
	char name[32];

	for (unsigned i = 0; i < nr_ops; i++) {
		snprintf(name, sizeof(name), "n%u-%u", (unsigned)(uintptr_t)arg, i % 50);
		if (i / 50 % 2) {
			CHECK_EQ(stat_of(name).st_size, 5);
			OK(unlink(name));
		} else {
			make_file(name, "12345");
		}
	}
	return NULL;
}

static void *pieces(void *arg)
{
	uint8_t *buf = aligned_alloc(4096, PIECE), *got = aligned_alloc(4096, PIECE);
	char name[32];

	CHECK(buf && got);
	snprintf(name, sizeof(name), "f%u", (unsigned)(uintptr_t)arg);
	int fd = open_ok(name, O_CREAT | O_RDWR);
	for (unsigned i = 0; i < nr_ops; i++) {
		off_t off = i * PIECE % FILE_BYTES;
		fill(buf, PIECE, (uint64_t)off + i);
		CHECK_EQ(pwrite(fd, buf, PIECE, off), PIECE);
		CHECK_EQ(pread(fd, got, PIECE, off), PIECE);
		if (memcmp(buf, got, PIECE))
			FAIL("%s at %lld is not what was just written", name, (long long)off);
		if (i % 50 == 0)
			OK(fsync(fd));
	}
	OK(close(fd));
	free(buf);
	free(got);
	return NULL;
}

static void run(void *(*fn)(void *arg), unsigned nr_threads)
{
	pthread_t t[THREADS];

	for (uintptr_t i = 0; i < nr_threads; i++)
		CHECK(!pthread_create(&t[i], NULL, fn, (void *)i));
	for (unsigned i = 0; i < nr_threads; i++)
		pthread_join(t[i], NULL);
}

int main(int argc, char **argv)
{
	if (argc == 2) {
		nr_ops = 1200;
		run(argv[1][1] == 'n' ? names : pieces, 1);
		return 0;
	}
	nr_ops = 100;
	for (int i = 0; i < 6; i++) {
		run(names, i % 2 ? THREADS : 1);
		run(pieces, i % 3 ? THREADS : 1);
	}
	return 0;
}
