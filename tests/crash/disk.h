/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The devices of the crash tests.
 *
 *   mem    an image: bytes that can be put back to what they were, block by block, so that a crash
 *          state costs what was written, not the size of the volume
 *   chaos  holds requests and sends them down in random order, some rounds of the loop later, the
 *          same for the same seed; fences a queue, which loses, tears or lets pass what it held
 *
 * A workload is recorded on chaos over crash over mem; its states are tried on mem alone.
 */
#ifndef TESTS_CRASH_DISK_H
#define TESTS_CRASH_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "blockdev/bdev.h"

#define SECTOR 512u
#define BLK 4096u

/* splitmix64 */
static inline uint64_t rnd_next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

/* ---- images: as large as every volume here ---- */

#define DISK_BYTES (32ull << 20)

/* Bytes that begin as a copy of others, by reference, and know which of their blocks were changed. */
struct image {
	uint8_t *bytes;
	const uint8_t *base; /* that they were made from */
	uint8_t *is_dirty;   /* by block */
	uint32_t *dirty, nr_dirty;
};

/* What no file ever wrote, all over a device that is new. */
const uint8_t *junk_bytes(void);

/* base: junk_bytes(), or an image's bytes that are all junk yet. */
void image_init(struct image *im, const uint8_t *base);
void image_done(struct image *im);
/* data NULL = zeroes */
void image_put(struct image *im, uint64_t off_bytes, const void *data, uint64_t len_bytes);
/* Makes it equal to its base again. */
void image_reset(struct image *im);

/* The blocks of an image that differ from junk. */
struct snap {
	uint32_t nr, *blk;
	uint8_t *data;
};
void snap_take(struct snap *snap, const struct image *im);
void snap_free(struct snap *snap);

/* ---- mem ---- */

struct bdev *mem_new(const uint8_t *base);
struct image *mem_image(struct bdev *bdev);

/* ---- chaos ---- */

struct chaos {
	/* A request goes down with a chance of 1 in slow in each round: flushes, requests in
	 * [mid, end), others. */
	uint64_t slow[3], mid, end;
	uint64_t rnd;
	uint64_t nr_down;     /* changes and flushes that went down */
	uint64_t nr_requests; /* of all kinds that came */
};

/* Makes chaos over crash over a new mem. */
struct bdev *chaos_new(uint64_t seed, struct bdev **ret_crash,
	struct bdev **ret_mem);
struct chaos *chaos_of(struct bdev *bdev);
/* What the queue holds is lost, torn or let pass, and nobody hears of it; then nothing comes through. */
void chaos_fence(struct bdev_queue *queue);
/* Nothing is held in any queue. */
bool chaos_quiet(struct bdev *bdev);

/* ---- what was recorded ---- */

struct ev {
	uint64_t off, len; /* len 0 = a flush */
	const uint8_t *data; /* NULL = zeroes */
	uint64_t covers; /* flush: the events before this one */
	uint64_t born;	 /* events that were done when it was submitted */
};

/* The events from first on; *ret_nr of them, one more to be looked at. The data is crash's. */
struct ev *chaos_events(struct bdev *bdev, uint64_t first, uint64_t *ret_nr);

#endif
