/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A hostile disk image: bytes of a good one are changed, with right checksums, then it is opened, read,
 * written, discarded and closed, and opened again. It may be refused. Nothing may crash, hang or take
 * memory without bound; what was written must be there, also when it is opened again.
 *
 *	flags (1): which image, RUN_*; then edits: area (1), offset (2), bytes (1), value (that many)
 */
#ifndef TESTS_FUZZ_DISK_IMAGE_H
#define TESTS_FUZZ_DISK_IMAGE_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "blockdev/bdev_internal.h"
#include "blockdev/image.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/test.h"

#define RUN_SPECS 0x03u
#define RUN_SHORT 0x10u	   /* a sector less */
#define RUN_NO_SEAL 0x20u  /* checksums as they come */
#define RUN_READONLY 0x40u
#define RUN_DIRTY 0x80u	   /* as a writer left it that was killed */

#define MAX_AREAS 16
#define MAX_EDITS 24
#define DEVICE_BYTES disk_format.device_bytes

extern const struct disk_format {
	const char *scheme;
	uint32_t device_bytes;
	const struct image_info *specs;
	size_t nr_specs;
	struct { /* where edits go; off from the end if negative */
		int64_t off;
		uint32_t len;
	} areas[MAX_AREAS];
	void (*seal)(uint8_t *image, uint64_t size);
	bool dirty_log;
} disk_format;

const char *const fuzz_words[] = { NULL };

static uint8_t *images[2 * 4]; /* of each spec, closed and not closed */
static uint8_t *victim;
static struct loop *loop;
static unsigned int serial;

struct disk {
	struct bdev *bdev;
	struct bdev_queue *queue;
};

static int disk_open(struct disk *d, const char *prefix, bool readonly)
{
	struct bdev_opts opts = { .readonly = readonly };
	char uri[96], *error = NULL;
	int err;

	snprintf(uri, sizeof(uri), "%sram:%u?name=fuzz-%u", prefix, DEVICE_BYTES, serial);
	err = bdev_open(uri, &opts, &d->bdev, &error);
	free(error);
	if (err)
		return err;
	CHECK_OK(bdev_queue_open(d->bdev, loop, &d->queue));
	return 0;
}

static void disk_close(struct disk *d)
{
	bdev_queue_close(d->queue);
	bdev_close(d->bdev);
}

static void make(size_t spec)
{
	char prefix[16];
	struct disk dev, d;
	uint8_t buf[4096];

	serial++;
	snprintf(prefix, sizeof(prefix), "%s:", disk_format.scheme);
	CHECK_OK(disk_open(&dev, "", false));
	bdev_queue_close(dev.queue);
	CHECK_OK(image_make(dev.bdev, &disk_format.specs[spec], NULL));
	CHECK_OK(bdev_queue_open(dev.bdev, loop, &dev.queue));
	CHECK_OK(disk_open(&d, prefix, false));
	memset(buf, 0x5a, sizeof(buf));
	for (uint64_t off = 0; off < 3; off++) {
		uint64_t at = off * (bdev_geom(d.bdev).size_bytes / 3) / 4096 * 4096;
		CHECK_OK(bdev_pwrite(d.queue, buf, sizeof(buf), at));
	}
	for (int dirty = 1; dirty >= 0; dirty--) {
		if (!dirty)
			disk_close(&d);
		images[2 * spec + (size_t)dirty] = malloc(DEVICE_BYTES);
		CHECK(images[2 * spec + (size_t)dirty]);
		CHECK_OK(bdev_pread(dev.queue, images[2 * spec + (size_t)dirty], DEVICE_BYTES, 0));
	}
	disk_close(&dev);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	CHECK_OK(loop_new(&loop));
	victim = malloc(DEVICE_BYTES);
	CHECK(victim);
	for (size_t i = 0; i < disk_format.nr_specs; i++)
		make(i);
	return 0;
}

void fuzz_seeds(void (*add)(const void *data, size_t len))
{
	static const uint64_t values[] = { 0, 1, 6, 0xff, 0x100000, 0x200000, UINT64_MAX };

	for (unsigned flags = 0; flags < 2; flags++)
		for (unsigned area = 0; area < MAX_AREAS && disk_format.areas[area].len; area++)
			for (unsigned at = 0; at < MIN(disk_format.areas[area].len, 128u); at += 12) {
				struct fuzz_out out = { .len = 0 };
				fuzz_put(&out, flags | (at / 12 % 3 ? 0 : RUN_DIRTY) |
					(at / 12 % 5 ? 0 : RUN_READONLY), 1);
				fuzz_put(&out, area, 1);
				fuzz_put(&out, at, 2);
				fuzz_put(&out, at % 8 ? 4 : 8, 1);
				fuzz_put(&out, values[(at / 12 + area) % ARRAY_SIZE(values)], 8);
				add(out.data, out.len);
			}
}

static void edit(struct fuzz_in *in, uint64_t size)
{
	unsigned nr_areas = 0;

	while (nr_areas < MAX_AREAS && disk_format.areas[nr_areas].len)
		nr_areas++;
	for (int n = 0; in->left > 0 && n < MAX_EDITS; n++) {
		unsigned area = (unsigned)fuzz_num(in, 1) % nr_areas;
		int64_t off = disk_format.areas[area].off;
		uint64_t at = fuzz_num(in, 2) % disk_format.areas[area].len;
		size_t len = (size_t)fuzz_num(in, 1) % 64, got;
		const uint8_t *bytes = fuzz_bytes(in, len, &got);

		at += off < 0 ? size - (uint64_t)-off : (uint64_t)off;
		memcpy(victim + at, bytes, MIN(got, size - at));
	}
}

/* Writes and reads here and there; what was written is there. */
static void use(struct disk *d)
{
	struct bdev_geom g = bdev_geom(d->bdev);
	static uint8_t buf[65536], back[65536];
	uint64_t places[] = { 0, g.size_bytes / 2, g.size_bytes - MIN(g.size_bytes, 65536ull) };
	int errs[ARRAY_SIZE(places)];

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		uint64_t at = ALIGN_DOWN(places[i], (uint64_t)g.block_bytes);
		uint64_t len = MIN(sizeof(buf), g.size_bytes - at);
		struct bdev_req req = { .op = i ? BDEV_WRITE_ZEROES : BDEV_DISCARD, .off_bytes = at,
			.len_bytes = len };

		if (i < 2)
			errs[0] = bdev_sync(d->queue, &req);
		memset(buf, (int)(0xa0 + i), sizeof(buf));
		errs[i] = bdev_pwrite(d->queue, buf, len, at);
		if (errs[i])
			continue;
		CHECK_OK(bdev_pread(d->queue, back, len, at));
		if (memcmp(buf, back, len))
			fuzz_fail("what was written is not there");
	}
	errs[0] = bdev_flush_sync(d->queue);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_in in = { data, len };
	unsigned flags = (unsigned)fuzz_num(&in, 1);
	size_t spec = (flags & RUN_SPECS) % disk_format.nr_specs;
	uint64_t size = DEVICE_BYTES - (flags & RUN_SHORT ? 512 : 0);
	char prefix[16];
	struct disk dev, d;

	memcpy(victim, images[2 * spec + (flags & RUN_DIRTY && disk_format.dirty_log)], DEVICE_BYTES);
	edit(&in, size);
	if (!(flags & RUN_NO_SEAL))
		disk_format.seal(victim, size);
	serial++;
	snprintf(prefix, sizeof(prefix), "%s:", disk_format.scheme);
	CHECK_OK(disk_open(&dev, "", false));
	CHECK_OK(bdev_pwrite(dev.queue, victim, size, 0));
	if (!disk_open(&d, prefix, flags & RUN_READONLY)) {
		if (bdev_geom(d.bdev).size_bytes >= 65536)
			use(&d);
		disk_close(&d);
		if (disk_open(&d, prefix, false))
			fuzz_fail("it does not open again");
		disk_close(&d);
	}
	disk_close(&dev);
	return 0;
}

#endif
