/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disk images: VHD and VHDX, which bdev_open() shows as the disks that are in them ("vhd:URI",
 * "vhdx:URI"); here is what else one can do with them. IMAGE_RAW is a device or file that is the disk.
 */
#ifndef BLOCKDEV_IMAGE_H
#define BLOCKDEV_IMAGE_H

#include "blockdev/bdev.h"

enum image_format { IMAGE_RAW, IMAGE_VHD, IMAGE_VHDX, IMAGE_NR_FORMATS };

/* "raw", "vhd", "vhdx" */
extern const char *const image_names[IMAGE_NR_FORMATS];

struct image_info {
	enum image_format format;
	bool fixed;	       /* all of its space is allocated, or raw */
	bool needs_replay;     /* VHDX: its log had to be replayed, in memory if it was read-only */
	uint64_t size_bytes;   /* of the disk */
	uint32_t sector_bytes; /* logical */
	uint32_t block_bytes;  /* of allocation; 0: fixed VHD, raw */
	uint64_t nr_blocks, nr_allocated;
};

/* Which format is on the device that uri names, by its first and last sectors. Blocks. Errors as
 * bdev_open(). */
int image_probe(const char *uri, enum image_format *ret_format, char **ret_error)
	__attribute__((warn_unused_result, nonnull(1, 2)));

/* What is known of a bdev that was opened as "vhd:" or "vhdx:"; any other is raw. Any thread. */
void image_info(const struct bdev *bdev, struct image_info *ret_info);

/*
 * Makes an empty image (all zeroes) on bdev, whose content is lost; a file grows as needed, and an
 * empty one is best: what it has of blocks is taken for zeroes. Of spec it takes format, fixed,
 * size_bytes, block_bytes (0: 2 MiB for VHD, 32 MiB for VHDX) and sector_bytes (VHDX: 512 or 4096;
 * 0: 512). Blocks; flushed on return. -EINVAL with a sentence: the format cannot have that.
 */
int image_make(struct bdev *bdev, const struct image_info *spec, char **ret_error)
	__attribute__((warn_unused_result, nonnull(1, 2)));

/*
 * Says of [off, off + *ret_len) whether it is known to read as zeroes without being read. At least
 * one byte, at most up to the disk's end; off lies before that. Any thread; may block for a moment.
 */
void bdev_extent(struct bdev *bdev, uint64_t off_bytes, uint64_t *ret_len, bool *ret_zero)
	__attribute__((nonnull));

#endif
