/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the programs of this suite use. Each runs in an empty directory on the mount. */
#ifndef TESTS_POSIX_POSIX_H
#define TESTS_POSIX_POSIX_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FAIL(...)                                                                                  \
	do {                                                                                       \
		fprintf(stderr, "%s:%d: ", __FILE__, __LINE__);                                    \
		fprintf(stderr, __VA_ARGS__);                                                      \
		fputc('\n', stderr);                                                               \
		exit(1);                                                                           \
	} while (0)

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond))                                                                       \
			FAIL("failed: %s", #cond);                                                 \
	} while (0)

#define CHECK_EQ(a, b)                                                                             \
	do {                                                                                       \
		long long a_ = (long long)(a), b_ = (long long)(b);                                \
		if (a_ != b_)                                                                      \
			FAIL("failed: %s == %s (%lld, %lld)", #a, #b, a_, b_);                     \
	} while (0)

/* A system call that must succeed; its value. */
#define OK(call)                                                                                   \
	__extension__({                                                                            \
		long long v_ = (long long)(call);                                                  \
		if (v_ == -1)                                                                      \
			FAIL("%s: %s", #call, strerror(errno));                                    \
		v_;                                                                                \
	})

/* A system call that must fail with this errno. */
#define FAILS(call, err)                                                                           \
	do {                                                                                       \
		errno = 0;                                                                         \
		long long v_ = (long long)(call);                                                  \
		int e_ = errno;                                                                    \
		if (v_ != -1)                                                                      \
			FAIL("%s succeeded, wanted %s", #call, strerror(err));                     \
		if (e_ != (err))                                                                   \
			FAIL("%s: %s, wanted %s", #call, strerror(e_), strerror(err));             \
	} while (0)

static inline int open_ok(const char *path, int flags)
{
	return (int)OK(open(path, flags | O_CLOEXEC, 0644));
}

static inline void make_file(const char *path, const char *text)
{
	int fd = open_ok(path, O_CREAT | O_TRUNC | O_WRONLY);

	CHECK_EQ(write(fd, text, strlen(text)), strlen(text));
	OK(close(fd));
}

static inline void check_text(const char *path, const char *text)
{
	char buf[4096];
	int fd = open_ok(path, O_RDONLY);
	ssize_t n = OK(read(fd, buf, sizeof(buf) - 1));

	buf[n] = 0;
	if (strcmp(buf, text))
		FAIL("%s holds '%s', wanted '%s'", path, buf, text);
	OK(close(fd));
}

static inline struct stat stat_of(const char *path)
{
	struct stat st;

	if (lstat(path, &st))
		FAIL("lstat %s: %s", path, strerror(errno));
	return st;
}

static inline struct stat fstat_of(int fd)
{
	struct stat st;

	OK(fstat(fd, &st));
	return st;
}

static inline int gone(const char *path)
{
	struct stat st;

	return lstat(path, &st) == -1 && errno == ENOENT;
}

/* Bytes that differ from place to place and never are zero. */
static inline void fill(uint8_t *buf, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len; i++) {
		uint64_t x = (seed + i) * 0x9e3779b97f4a7c15ull;
		buf[i] = (uint8_t)(x >> 56) | 1;
	}
}

static inline int all_zero(const uint8_t *buf, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (buf[i])
			return 0;
	return 1;
}

/* The file at fd holds exactly these bytes. */
static inline void check_bytes(int fd, const uint8_t *want, size_t len, const char *what)
{
	uint8_t *got = malloc(len + 4096);

	CHECK(got);
	CHECK_EQ(fstat_of(fd).st_size, len);
	size_t done = 0;
	ssize_t n;
	while ((n = OK(pread(fd, got + done, len + 4096 - done, (off_t)done))) > 0)
		done += (size_t)n;
	if (done != len)
		FAIL("%s: read %zu bytes of %zu", what, done, len);
	for (size_t i = 0; i < len; i++)
		if (got[i] != want[i])
			FAIL("%s: byte %zu of %zu is %#x, wanted %#x", what, i, len, got[i], want[i]);
	free(got);
}

static inline uint32_t rnd(uint64_t *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(*state >> 33);
}

#endif
