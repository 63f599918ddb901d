/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Volumes as images in memory, for tests that begin with the same one again and again. */
#ifndef TESTS_UNIT_CORE_IMAGE_H
#define TESTS_UNIT_CORE_IMAGE_H

#include "tests/unit/core_corrupt.h"

#define IMAGE_BYTES (32ull << 20)
#define IMAGE_URI "ram:32M"

/* An engine's device with this content; the engine is not open. */
static inline void image_load(struct engine *e, const char *uri, const uint8_t *image)
{
	static const uint8_t zeroes[CSV_BLOCK_BYTES];

	engine_device(e, uri, false, 0, 0);
	for (uint64_t off = 0; off < IMAGE_BYTES; off += CSV_BLOCK_BYTES)
		if (memcmp(image + off, zeroes, CSV_BLOCK_BYTES))
			CHECK_OK(bdev_pwrite(e->queue, image + off, CSV_BLOCK_BYTES, off));
}

/* Closes the engine; the device's content is the caller's. */
static inline uint8_t *image_save(struct engine *e)
{
	uint8_t *image = malloc(IMAGE_BYTES);

	CHECK(image);
	CHECK_OK(engine_close(e));
	CHECK_OK(bdev_pread(e->queue, image, IMAGE_BYTES, 0));
	engine_done(e);
	return image;
}

/* The populated volume. */
static inline uint8_t *image_make(void)
{
	struct engine e;

	engine_device(&e, IMAGE_URI, true, 0, 0);
	engine_open(&e, 0);
	populate(&e);
	t_check(&e);
	return image_save(&e);
}

static inline struct csv_blk_hdr *image_blk(uint8_t *image, uint64_t blk)
{
	return (struct csv_blk_hdr *)(image + blk * CSV_BLOCK_BYTES);
}

/* The next metadata block at or after blk, of any type; 0 = there is none. */
static inline uint64_t image_next(uint8_t *image, uint64_t blk)
{
	for (; blk < IMAGE_BYTES / CSV_BLOCK_BYTES; blk++) {
		const struct csv_blk_hdr *h = image_blk(image, blk);

		if (le32_get(h->magic) == CSV_MAGIC && le64_get(h->blkno) == blk)
			return blk;
	}
	return 0;
}

#endif
