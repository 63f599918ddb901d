/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mappings: what is stored, written and read of one file is the same, whichever way. */
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#include "tests/posix/posix.h"

#define PAGE 4096u
#define BYTES (3u << 20)

static uint8_t *map(int fd, size_t len, int prot, int flags)
{
	uint8_t *m = mmap(NULL, len, prot, flags, fd, 0);

	if (m == MAP_FAILED && errno == ENODEV && flags == MAP_SHARED) {
		puts("no shared mappings beside direct I/O in this kernel");
		exit(77);
	}
	CHECK(m != MAP_FAILED);
	return m;
}

/* Stores over holes and inline bytes, and what read(2) says; writes, and what is loaded. */
static void one_file(void)
{
	uint8_t *buf = malloc(BYTES), back[PAGE];
	int fd = open_ok("f", O_CREAT | O_RDWR);

	CHECK(buf);
	CHECK_EQ(write(fd, "inline", 6), 6);
	OK(ftruncate(fd, BYTES - 77));
	uint8_t *m = map(fd, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED);
	CHECK(!memcmp(m, "inline", 6));
	memset(buf, 0, BYTES);
	memcpy(buf, "inline", 6);
	for (uint32_t i = 0; i < 2000; i++) {
		uint32_t at = (i * 7919u * 13u) % (BYTES - 100 - 77);
		fill(buf + at, 100, i);
		if (i % 3 == 0)
			CHECK_EQ(pwrite(fd, buf + at, 100, at), 100);
		else
			memcpy(m + at, buf + at, 100);
		uint32_t page = (i * 31u) % (BYTES / PAGE - 1) * PAGE;
		if (i % 5 == 0) {
			CHECK_EQ(pread(fd, back, PAGE, page), PAGE);
			CHECK(!memcmp(back, buf + page, PAGE));
		} else {
			CHECK(!memcmp(m + page, buf + page, PAGE));
		}
	}
	OK(msync(m, BYTES, MS_SYNC));
	CHECK(!memcmp(m, buf, BYTES - 77));
	check_bytes(fd, buf, BYTES - 77, "after stores");
	OK(munmap(m, BYTES));
	OK(close(fd));
	fd = open_ok("f", O_RDONLY);
	check_bytes(fd, buf, BYTES - 77, "opened again");
	OK(close(fd));
	free(buf);
}

/* Bytes past the end in the last page are nobody's: they do not show when the file grows. */
static void past_the_end(void)
{
	int fd = open_ok("end", O_CREAT | O_RDWR);
	char back[200];

	make_file("end", "short");
	OK(ftruncate(fd, PAGE + 100));
	uint8_t *m = map(fd, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
	memset(m, 'x', 2 * PAGE);
	OK(msync(m, 2 * PAGE, MS_SYNC));
	OK(ftruncate(fd, PAGE + 200));
	CHECK_EQ(pread(fd, back, 200, PAGE), 200);
	for (int i = 0; i < 200; i++)
		CHECK_EQ(back[i], i < 100 ? 'x' : 0);
	OK(ftruncate(fd, 10));
	OK(ftruncate(fd, 2 * PAGE));
	for (uint32_t i = 0; i < 2 * PAGE; i++)
		CHECK_EQ(m[i], i < 10 ? 'x' : 0);
	OK(munmap(m, 2 * PAGE));
	OK(close(fd));
}

static sigjmp_buf out;

static void on_sigbus(int sig)
{
	siglongjmp(out, 1);
}

static void no_such_page(void)
{
	int fd = open_ok("bus", O_CREAT | O_RDWR);
	volatile int caught = 0;

	OK(ftruncate(fd, PAGE));
	volatile uint8_t *m = map(fd, 2 * PAGE, PROT_READ, MAP_SHARED);
	CHECK_EQ(m[0], 0);
	signal(SIGBUS, on_sigbus);
	if (sigsetjmp(out, 1))
		caught = 1;
	else
		CHECK_EQ(m[PAGE], 99);
	signal(SIGBUS, SIG_DFL);
	CHECK(caught);
	OK(munmap((void *)(uintptr_t)m, 2 * PAGE));
	OK(close(fd));
}

/* A private mapping does not write to the file, and only a writable file can be mapped so. */
static void private_and_modes(void)
{
	int fd = open_ok("p", O_CREAT | O_RDWR), ro = open_ok("p", O_RDONLY);

	CHECK_EQ(write(fd, "private", 7), 7);
	uint8_t *m = map(ro, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	CHECK(!memcmp(m, "private", 7));
	memcpy(m, "changed", 7);
	check_text("p", "private");
	OK(munmap(m, PAGE));
	CHECK(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, ro, 0) == MAP_FAILED);
	CHECK_EQ(errno, EACCES);
	OK(close(fd));
	OK(close(ro));
}

/* The last close comes after the last store: the mapping keeps the file, also without a name. */
static void outlives(void)
{
	int fd = open_ok("gone", O_CREAT | O_RDWR);

	OK(ftruncate(fd, BYTES));
	uint8_t *m = map(fd, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED);
	OK(link("gone", "kept"));
	OK(unlink("gone"));
	OK(close(fd));
	for (uint32_t i = 0; i < BYTES; i += PAGE)
		m[i] = (uint8_t)(i / PAGE);
	OK(munmap(m, BYTES));
	fd = open_ok("kept", O_RDONLY);
	for (uint32_t i = 0; i < BYTES; i += PAGE) {
		uint8_t c;
		CHECK_EQ(pread(fd, &c, 1, i), 1);
		CHECK_EQ(c, (uint8_t)(i / PAGE));
	}
	OK(close(fd));
}

int main(void)
{
	one_file();
	past_the_end();
	no_such_page();
	private_and_modes();
	outlives();
	return 0;
}
