/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Each write lands where it should and nowhere else, at all alignments, buffered and direct. */
#include "tests/posix/posix.h"

#define ROOM (256u << 10)

static const uint32_t edges[] = { 0, 1, 511, 512, 513, 1023, 1024, 1025, 4095, 4096, 4097, 8191,
	8192, 12288, 65535, 65536, 65537, 98304 };
#define NR_EDGES (sizeof(edges) / sizeof(edges[0]))

/* One write at off into a file of `before` bytes; then everything is compared. */
static void one(int flags, uint32_t before, uint32_t off, uint32_t len, uint8_t *model, uint8_t *buf)
{
	char what[96];
	int fd = open_ok("f", O_CREAT | O_TRUNC | O_RDWR | flags);
	uint32_t size = before;

	snprintf(what, sizeof(what), "%u bytes at %u into %u%s", len, off, before,
		flags & O_DIRECT ? ", direct" : "");
	memset(model, 0, ROOM);
	if (before) {
		fill(buf, before, 7);
		memcpy(model, buf, before);
		CHECK_EQ(pwrite(fd, buf, before, 0), before);
	}
	fill(buf, len, off + 1000003ull);
	memcpy(model + off, buf, len);
	CHECK_EQ(pwrite(fd, buf, len, off), len);
	if (off + len > size)
		size = off + len;
	if (!(flags & O_DIRECT)) /* it may read whole sectors only */
		check_bytes(fd, model, size, what);
	OK(close(fd));
	fd = open_ok("f", O_RDONLY);
	check_bytes(fd, model, size, what);
	OK(close(fd));
}

static void aligned(uint8_t *model, uint8_t *buf)
{
	static const uint32_t offs[] = { 0, 4096, 8192, 65536, 98304 };
	static const uint32_t lens[] = { 4096, 8192, 65536, 131072 };

	for (size_t o = 0; o < 5; o++)
		for (size_t l = 0; l < 4; l++)
			for (uint32_t before = 0; before <= 65536; before += 65536 / 2)
				one(O_DIRECT, before, offs[o], lens[l], model, buf);
}

/* Reads of any piece, also past the end of file. */
static void reads(uint8_t *model, uint8_t *buf)
{
	int fd = open_ok("r", O_CREAT | O_RDWR);
	uint32_t size = 70001;

	fill(model, size, 11);
	CHECK_EQ(pwrite(fd, model, size, 0), size);
	for (size_t o = 0; o < NR_EDGES; o++) {
		for (size_t l = 1; l < NR_EDGES; l++) {
			uint32_t off = edges[o], len = edges[l];
			uint32_t want = off >= size ? 0 : len < size - off ? len : size - off;
			CHECK_EQ(pread(fd, buf, len, off), want);
			if (memcmp(buf, model + off, want))
				FAIL("read of %u at %u differs", len, off);
		}
	}
	CHECK_EQ(pread(fd, buf, 100, 1ll << 40), 0);
	CHECK_EQ(pread(fd, buf, 0, 0), 0);
	CHECK_EQ(pwrite(fd, buf, 0, 1 << 20), 0); /* writes nothing, grows nothing */
	CHECK_EQ(fstat_of(fd).st_size, size);
	OK(close(fd));
}

int main(void)
{
	static const uint32_t befores[] = { 0, 100, 1024, 5000, 65536, 70000 };
	uint8_t *model = aligned_alloc(4096, ROOM), *buf = aligned_alloc(4096, ROOM);

	CHECK(model && buf);
	for (size_t b = 0; b < sizeof(befores) / sizeof(befores[0]); b++)
		for (size_t o = 0; o < NR_EDGES; o++)
			for (size_t l = 1; l < NR_EDGES; l += 1 + (o + b) % 4)
				one(0, befores[b], edges[o], edges[l], model, buf);
	aligned(model, buf);
	reads(model, buf);
	free(model);
	free(buf);
	return 0;
}
