/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SEEK_DATA and SEEK_HOLE against a model: data is never called a hole, and holes are found. */
#include "tests/posix/posix.h"

#define NR_BLKS 512u
#define BLK 4096u
#define SIZE (NR_BLKS * BLK)

static uint8_t *buf;
static uint8_t written[NR_BLKS];

/* Answers follow from each other, cover the file, and each byte in a "hole" reads as zero. */
static uint32_t walk(int fd, off_t size)
{
	off_t pos = 0;
	uint32_t holes = 0;

	while (pos < size) {
		off_t data = lseek(fd, pos, SEEK_DATA);
		if (data == -1) {
			CHECK_EQ(errno, ENXIO);
			data = size;
		}
		CHECK(data >= pos && data <= size);
		for (off_t at = pos; at < data; at += BLK)
			CHECK(!written[at / BLK]);
		holes += (uint32_t)((data - pos) / BLK);
		if (data == size)
			break;
		CHECK_EQ(lseek(fd, data, SEEK_DATA), data);
		off_t hole = OK(lseek(fd, data, SEEK_HOLE));
		CHECK(hole > data && hole <= size);
		if (hole < size)
			CHECK(!written[hole / BLK]);
		pos = hole;
	}
	return holes;
}

static void random_pieces(void)
{
	uint64_t state = 42;
	int fd = open_ok("f", O_CREAT | O_RDWR);

	OK(ftruncate(fd, SIZE));
	CHECK_EQ(walk(fd, SIZE), NR_BLKS);
	for (int i = 0; i < 150; i++) {
		uint32_t blk = rnd(&state) % NR_BLKS, nr = 1 + rnd(&state) % 24;
		if (blk + nr > NR_BLKS)
			nr = NR_BLKS - blk;
		if (rnd(&state) % 3) {
			CHECK_EQ(pwrite(fd, buf, nr * BLK, blk * BLK), nr * BLK);
			memset(written + blk, 1, nr);
		} else {
			OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, blk * BLK, nr * BLK));
			memset(written + blk, 0, nr);
		}
		walk(fd, SIZE);
	}
	/* a hole that was punched is a hole for seek, too */
	OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SIZE / 2));
	memset(written, 0, NR_BLKS / 2);
	CHECK(walk(fd, SIZE) >= NR_BLKS / 2);
	CHECK_EQ(lseek(fd, 0, SEEK_HOLE), 0);
	CHECK_EQ(lseek(fd, 777, SEEK_HOLE), 777);
	OK(close(fd));
}

static void edges(void)
{
	int fd = open_ok("e", O_CREAT | O_RDWR);

	FAILS(lseek(fd, 0, SEEK_DATA), ENXIO);
	FAILS(lseek(fd, 0, SEEK_HOLE), ENXIO);
	CHECK_EQ(pwrite(fd, "abc", 3, 0), 3);
	CHECK_EQ(lseek(fd, 0, SEEK_DATA), 0);
	CHECK_EQ(lseek(fd, 2, SEEK_DATA), 2);
	CHECK_EQ(lseek(fd, 0, SEEK_HOLE), 3);
	FAILS(lseek(fd, 3, SEEK_DATA), ENXIO);
	FAILS(lseek(fd, 3, SEEK_HOLE), ENXIO);
	OK(ftruncate(fd, 1 << 20));
	CHECK_EQ(pwrite(fd, "end", 3, (1 << 20) - 3), 3);
	CHECK_EQ(lseek(fd, (1 << 20) - 2, SEEK_DATA), (1 << 20) - 2);
	CHECK_EQ(lseek(fd, (1 << 20) - 2, SEEK_HOLE), 1 << 20);
	FAILS(lseek(fd, 1 << 20, SEEK_DATA), ENXIO);
	FAILS(lseek(fd, -5, SEEK_DATA), ENXIO);
	CHECK_EQ(lseek(fd, -1, SEEK_END), (1 << 20) - 1);
	FAILS(lseek(fd, -1, SEEK_SET), EINVAL);
	/* allocated, not written: a hole */
	int alloc = open_ok("u", O_CREAT | O_RDWR);
	OK(fallocate(alloc, 0, 0, 1 << 20));
	FAILS(lseek(alloc, 0, SEEK_DATA), ENXIO);
	CHECK_EQ(lseek(alloc, 0, SEEK_HOLE), 0);
	OK(close(alloc));
	OK(close(fd));
}

int main(void)
{
	buf = malloc(24 * BLK);
	CHECK(buf);
	fill(buf, 24 * BLK, 6);
	edges();
	random_pieces();
	free(buf);
	return 0;
}
