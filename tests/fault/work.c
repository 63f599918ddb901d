/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A mixed workload that goes on when calls fail, and knows what must be there afterwards:
 *
 *   fault-work run STATE      works in the current directory; prints how many calls failed
 *   fault-work verify STATE   compares with what was acknowledged
 *
 * A call that failed has happened or has not: its file is uncertain from then on. Each byte of an
 * uncertain file is one that was written there at some time, or zero. Any other file is exact.
 * Exit status: 0, 1 = wrong (never allowed).
 */
#include "tests/posix/posix.h"

#define NR_FILES 12
#define ROOM (192u << 10)
#define MAX_OPS 16

enum there { ABSENT, PRESENT, UNKNOWN };

struct piece { /* seed 0 = zeroes */
	uint32_t off, len;
	uint64_t seed;
};

struct file {
	char name[32], other[32]; /* other: the new name in a rename that failed */
	enum there there;
	int uncertain;
	uint32_t size, max_size, nr;
	struct piece pieces[MAX_OPS];
};

struct state {
	struct file files[NR_FILES];
	enum there dirs[4];
	uint32_t failed;
};

static struct state s;
static uint8_t buf[ROOM + 8192], want[ROOM + 8192];

/* Whether the call succeeded; what it may fail with is checked. */
static int went_well(long long ret, const char *what)
{
	if (ret >= 0)
		return 1;
	/* ESHUTDOWN: the device's gate could not be opened, and stays shut */
	if (errno != EIO && errno != ENOMEM && errno != ESHUTDOWN)
		FAIL("%s: %s, wanted success, EIO, ENOMEM or ESHUTDOWN", what, strerror(errno));
	s.failed++;
	return 0;
}

static void content(const struct file *f)
{
	memset(want, 0, sizeof(want));
	for (uint32_t i = 0; i < f->nr; i++) {
		const struct piece *p = &f->pieces[i];
		if (p->seed)
			fill(want + p->off, p->len, p->seed);
		else
			memset(want + p->off, 0, p->len);
	}
}

static int byte_allowed(const struct file *f, uint32_t at, uint8_t got)
{
	uint8_t b;

	for (uint32_t i = 0; i < f->nr; i++) {
		const struct piece *p = &f->pieces[i];
		if (!p->seed || at < p->off || at >= p->off + p->len)
			continue;
		fill(&b, 1, p->seed + (at - p->off));
		if (b == got)
			return 1;
	}
	return got == 0;
}

static void compare(const struct file *f, const char *name, uint32_t len)
{
	if (!f->uncertain && len != f->size)
		FAIL("%s has %u bytes, wanted %u", name, len, f->size);
	if (len > f->max_size)
		FAIL("%s has %u bytes, never had more than %u", name, len, f->max_size);
	content(f);
	for (uint32_t i = 0; i < len; i++)
		if (f->uncertain ? !byte_allowed(f, i, buf[i]) : buf[i] != want[i])
			FAIL("%s: byte %u of %u is %#x, wanted %#x%s", name, i, len, buf[i], want[i],
				f->uncertain ? " or an older one" : "");
}

/* Reads all of it; returns 0 when the device would not. */
static int look(const struct file *f, const char *name)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	uint32_t len = 0;
	ssize_t n = 0;

	if (!went_well(fd, name))
		return 0;
	while (len < sizeof(buf) && (n = pread(fd, buf + len, sizeof(buf) - len, len)) > 0)
		len += (uint32_t)n;
	int ok = went_well(n, name);
	close(fd);
	if (ok)
		compare(f, name, len);
	return ok;
}

static void piece_add(struct file *f, int ok, uint32_t off, uint32_t len, uint64_t seed)
{
	f->uncertain |= !ok;
	CHECK(f->nr < MAX_OPS && off + len <= ROOM);
	f->pieces[f->nr++] = (struct piece){ off, len, seed };
}

static void resize(struct file *f, int ok, uint32_t size)
{
	if (ok)
		f->size = size;
	if (size > f->max_size)
		f->max_size = size;
}

static void create(int i)
{
	struct file *f = &s.files[i];

	sprintf(f->name, "f%d", i);
	int fd = open(f->name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0644);
	f->there = went_well(fd, "create") ? PRESENT : UNKNOWN;
	if (fd >= 0)
		close(fd);
}

static void put(int i, uint32_t off, uint32_t len)
{
	struct file *f = &s.files[i];

	if (f->there != PRESENT)
		return;
	int fd = open(f->name, O_RDWR | O_CLOEXEC);
	if (!went_well(fd, "open"))
		return;
	uint64_t seed = 1000u * (uint32_t)(i + 1) + f->nr + 1;
	fill(buf, len, seed);
	ssize_t n = pwrite(fd, buf, len, off);
	int ok = went_well(n, "write");
	if (ok && n != (ssize_t)len)
		FAIL("wrote %zd bytes of %u", n, len);
	piece_add(f, ok, off, len, seed);
	if (off + len > f->size)
		resize(f, ok, off + len);
	went_well(fsync(fd), "fsync");
	close(fd);
}

static void cut(int i, uint32_t size)
{
	struct file *f = &s.files[i];

	if (f->there != PRESENT)
		return;
	int ok = went_well(truncate(f->name, size), "truncate");
	if (size < f->size)
		piece_add(f, ok, size, f->size - size, 0);
	f->uncertain |= !ok;
	resize(f, ok, size);
}

static void space(int i, int mode, uint32_t off, uint32_t len)
{
	struct file *f = &s.files[i];

	if (f->there != PRESENT)
		return;
	int fd = open(f->name, O_RDWR | O_CLOEXEC);
	if (!went_well(fd, "open"))
		return;
	int ok = went_well(fallocate(fd, mode, off, len), "fallocate");
	f->uncertain |= !ok;
	if (mode & FALLOC_FL_PUNCH_HOLE)
		piece_add(f, ok, off, len, 0);
	else if (!(mode & FALLOC_FL_KEEP_SIZE) && off + len > f->size)
		resize(f, ok, off + len);
	close(fd);
}

static void move(int i, const char *to)
{
	struct file *f = &s.files[i];

	if (f->there != PRESENT || f->other[0])
		return;
	if (went_well(rename(f->name, to), "rename"))
		strcpy(f->name, to);
	else
		strcpy(f->other, to);
}

static void drop(int i)
{
	struct file *f = &s.files[i];

	if (f->there == PRESENT && !f->other[0])
		f->there = went_well(unlink(f->name), "unlink") ? ABSENT : UNKNOWN;
}

static void make_dir(int d)
{
	char name[8];

	sprintf(name, "d%d", d);
	s.dirs[d] = went_well(mkdir(name, 0755), "mkdir") ? PRESENT : UNKNOWN;
}

static void run(void)
{
	char name[32];

	for (int i = 0; i < NR_FILES; i++) {
		create(i);
		put(i, 0, 100 + (uint32_t)i * 80);
	}
	for (int d = 0; d < 4; d++)
		make_dir(d);
	for (int i = 0; i < 6; i++) {
		put(i, 0, 65536);
		put(i, 70000, 5000); /* past a gap, unaligned */
		put(i, 8192, 4096);
		if (s.files[i].there == PRESENT)
			look(&s.files[i], s.files[i].name);
	}
	cut(0, 10000);
	cut(0, 90000);
	cut(1, 0);
	space(2, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 20000);
	space(3, 0, 0, 150000);
	put(3, 100000, 30000);
	space(4, FALLOC_FL_KEEP_SIZE, 0, 100000);
	put(6, 900, 300); /* out of the inode */
	for (int i = 0; i < NR_FILES; i += 3) {
		sprintf(name, "moved%d", i);
		move(i, name);
	}
	for (int i = 1; i < 4; i++) {
		sprintf(name, "d%d/in%d", i, i);
		if (s.dirs[i] == PRESENT && i != 3)
			move(i, name);
	}
	drop(10);
	drop(11);
	if (s.dirs[0] == PRESENT)
		s.dirs[0] = went_well(rmdir("d0"), "rmdir") ? ABSENT : UNKNOWN;
	for (int i = 0; i < NR_FILES; i++)
		if (s.files[i].there == PRESENT && !s.files[i].other[0])
			look(&s.files[i], s.files[i].name);
}

static void verify(void)
{
	for (int i = 0; i < NR_FILES; i++) {
		const struct file *f = &s.files[i];
		int here = !gone(f->name), moved = f->other[0] && !gone(f->other);
		if (here && moved)
			FAIL("%s has been renamed, and is still there", f->name);
		if (f->there == PRESENT && !here && !moved)
			FAIL("%s is gone", f->name);
		if (f->there == ABSENT && here)
			FAIL("%s is back", f->name);
		if ((here || moved) && !look(f, here ? f->name : f->other))
			FAIL("%s can't be read", f->name);
	}
	for (int d = 0; d < 4; d++) {
		char name[8];
		sprintf(name, "d%d", d);
		if (s.dirs[d] != UNKNOWN)
			CHECK_EQ(gone(name), s.dirs[d] == ABSENT);
	}
}

int main(int argc, char **argv)
{
	CHECK(argc == 3);
	int save = !strcmp(argv[1], "run");
	int fd = open_ok(argv[2], save ? O_CREAT | O_TRUNC | O_WRONLY : O_RDONLY);

	if (save) {
		run();
		CHECK_EQ(write(fd, &s, sizeof(s)), sizeof(s));
		printf("%u\n", s.failed);
	} else {
		CHECK_EQ(read(fd, &s, sizeof(s)), sizeof(s));
		verify();
	}
	OK(close(fd));
	return 0;
}
