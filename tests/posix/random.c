/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random calls on one file against a model in memory: random SEED CALLS FILE [direct].
 * The model is left in FILE.model, outside: what a later mount has to show.
 */
#include "tests/posix/posix.h"

#define ROOM (3u << 20)
#define MAX_LEN (200u << 10)

static uint8_t *model, *buf;
static uint32_t size;
static uint64_t state;
static int fd;

static uint32_t any_len(void)
{
	static const uint32_t limits[] = { 16, 1100, 5000, 70000, MAX_LEN };

	return 1 + rnd(&state) % limits[rnd(&state) % 5];
}

static uint32_t any_off(uint32_t len)
{
	uint32_t limit = rnd(&state) % 4 ? size + 1 : ROOM - len;

	if (rnd(&state) % 8 == 0)
		limit = 3000;
	return rnd(&state) % (limit > ROOM - len ? ROOM - len : limit);
}

static void set_size(uint32_t now)
{
	if (now < size)
		memset(model + now, 0, size - now);
	size = now;
}

static const char *step(uint32_t op, uint32_t off, uint32_t len)
{
	uint32_t want = off >= size ? 0 : len < size - off ? len : size - off;

	switch (op) {
	case 0 ... 4:
		fill(buf, len, state);
		memcpy(model + off, buf, len);
		CHECK_EQ(pwrite(fd, buf, len, off), len);
		size = off + len > size ? off + len : size;
		return "write";
	case 5 ... 9:
		CHECK_EQ(pread(fd, buf, len, off), want);
		for (uint32_t i = 0; i < want; i++)
			if (buf[i] != model[off + i])
				FAIL("byte %u is %#x, wanted %#x", off + i, buf[i], model[off + i]);
		return "read";
	case 10:
		OK(ftruncate(fd, off));
		set_size(off);
		return "truncate";
	case 11 ... 12:
		OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len));
		if (want)
			memset(model + off, 0, want);
		return "punch";
	case 13:
		OK(fallocate(fd, FALLOC_FL_ZERO_RANGE, off, len));
		if (want)
			memset(model + off, 0, want);
		size = off + len > size ? off + len : size;
		return "zero range";
	case 14:
		OK(fallocate(fd, off % 2 ? FALLOC_FL_KEEP_SIZE : 0, off, len));
		if (off % 2 == 0)
			size = off + len > size ? off + len : size;
		return "allocate";
	case 15:
		OK(fsync(fd));
		return "fsync";
	default:
		CHECK_EQ(fstat_of(fd).st_size, size);
		CHECK((uint64_t)fstat_of(fd).st_blocks * 512 <= ROOM + (1u << 20));
		return "stat";
	}
}

static void save_model(const char *file)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s.model", file);
	int out = open_ok(path, O_CREAT | O_TRUNC | O_WRONLY);
	CHECK_EQ(write(out, model, size), size);
	OK(close(out));
}

int main(int argc, char **argv)
{
	int direct = argc > 4;

	CHECK(argc >= 4);
	uint64_t seed = strtoull(argv[1], NULL, 10), calls = strtoull(argv[2], NULL, 10);
	state = seed * 77 + 1;
	model = calloc(1, ROOM);
	buf = aligned_alloc(4096, ROOM);
	CHECK(model && buf);
	fd = open_ok("f", O_CREAT | O_TRUNC | O_RDWR | (direct ? O_DIRECT : 0));
	for (uint64_t i = 0; i < calls; i++) {
		uint32_t op = rnd(&state) % 17, len = any_len(), off = any_off(len);
		if (direct) {
			off &= ~4095u;
			len = ((len + 4095) & ~4095u) > ROOM - off ? 4096 : (len + 4095) & ~4095u;
		}
		fprintf(stderr, "\rseed %llu call %llu op %u at %u len %u size %u        ",
			(unsigned long long)seed, (unsigned long long)i, op, off, len, size);
		step(op, off, len);
		if (i % 64 == 0)
			check_bytes(fd, model, size, "the whole file");
		if (rnd(&state) % 100 == 0) {
			OK(close(fd));
			fd = open_ok("f", O_RDWR | (direct ? O_DIRECT : 0));
		}
	}
	fputc('\n', stderr);
	check_bytes(fd, model, size, "at the end");
	OK(close(fd));
	save_model(argv[3]);
	free(model);
	free(buf);
	return 0;
}
