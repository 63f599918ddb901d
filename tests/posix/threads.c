/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Eight threads on one file: disjoint pieces, aligned and not, come out as each wrote them; appends
 * are whole. */
#include <pthread.h>

#include "tests/posix/posix.h"

#define THREADS 8
#define PIECES 60
#define LINES 150

static int fd, append_fd;
static uint32_t piece;

static void *write_pieces(void *arg)
{
	uint32_t self = (uint32_t)(uintptr_t)arg;
	uint8_t *buf = aligned_alloc(4096, 65536), *got = aligned_alloc(4096, 65536);

	CHECK(buf && got);
	for (uint32_t i = 0; i < PIECES; i++) { /* neighbours belong to other threads */
		uint64_t off = (uint64_t)(i * THREADS + self) * piece;
		fill(buf, piece, off);
		CHECK_EQ(pwrite(fd, buf, piece, (off_t)off), piece);
		CHECK_EQ(pread(fd, got, piece, (off_t)off), piece);
		if (memcmp(buf, got, piece))
			FAIL("%u bytes at %llu are not what was just written", piece,
				(unsigned long long)off);
	}
	free(buf);
	free(got);
	return NULL;
}

static void *append_lines(void *arg)
{
	char line[80];

	for (int i = 0; i < LINES; i++) {
		int len = snprintf(line, sizeof(line), "%d %d %.*s\n", (int)(uintptr_t)arg, i,
			10 + i % 40, "----------------------------------------------------");
		CHECK_EQ(write(append_fd, line, (size_t)len), len);
	}
	return NULL;
}

static void run(void *(*fn)(void *arg))
{
	pthread_t t[THREADS];

	for (uintptr_t i = 0; i < THREADS; i++)
		CHECK(!pthread_create(&t[i], NULL, fn, (void *)i));
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
}

static void pieces(uint32_t size, int flags)
{
	uint32_t total = size * THREADS * PIECES;
	uint8_t *want = malloc(total);

	CHECK(want);
	piece = size;
	fd = open_ok("f", O_CREAT | O_TRUNC | O_RDWR | flags);
	run(write_pieces);
	OK(close(fd));
	for (uint32_t off = 0; off < total; off += size)
		fill(want + off, size, off);
	fd = open_ok("f", O_RDONLY);
	check_bytes(fd, want, total, "disjoint pieces");
	OK(close(fd));
	free(want);
}

static void appends(void)
{
	int next[THREADS] = { 0 }, thread, nr;
	char line[128];

	append_fd = open_ok("log", O_CREAT | O_WRONLY | O_APPEND);
	run(append_lines);
	OK(close(append_fd));
	FILE *f = fopen("log", "r");
	CHECK(f);
	while (fgets(line, sizeof(line), f)) {
		CHECK_EQ(sscanf(line, "%d %d -", &thread, &nr), 2);
		CHECK(thread >= 0 && thread < THREADS);
		CHECK_EQ(nr, next[thread]);
		next[thread]++;
		CHECK_EQ(strspn(strchr(line, '-'), "-"), 10 + nr % 40);
	}
	fclose(f);
	for (int i = 0; i < THREADS; i++)
		CHECK_EQ(next[i], LINES);
}

int main(void)
{
	pieces(4096, O_DIRECT);
	pieces(65536, O_DIRECT);
	pieces(4096, 0);
	pieces(1000, 0); /* several share a block */
	pieces(5000, 0);
	appends();
	return 0;
}
