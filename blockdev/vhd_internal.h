/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VHD disk images, fixed and dynamic, as a filter: vhd_open.c (opening, checks), vhd.c (requests),
 * vhd_make.c (making).
 *
 * V1  A block's BAT entry is written, with FUA, after a flush that covers the block's bitmap and the
 *     zeroes of its data: an entry that is on the device names a block that is whole. A cut before
 *     leaves space that no entry names, and the next allocation takes it.
 * V2  Where blocks are appended the footer at the end is overwritten and written anew behind them.
 *     Meanwhile the copy at the start, which never changes, is the footer. Where it is missing when
 *     the image is opened, it is written anew. The file's end is kept at a multiple of 4 KiB: a file
 *     system that grows a file from within a page does so in its page cache, which must not meet
 *     the direct I/O to the same page that is under way.
 * V3  bat[] is what is on the device: it changes once the write of the entry is done. One block is
 *     allocated at a time (`allocating`); whoever needs one meanwhile waits in `waiters`, and then
 *     looks at bat[] again. The mutex guards bat, full, allocating, waiters and next_off, and is
 *     held for no I/O.
 * V4  The whole bitmap of a block is set before the first write to it after an open: who reads the
 *     bitmap sees what we wrote. Reads do not look at it: sectors that it denies are zeroes.
 * V5  When an allocation fails, the place is not used again before the next open, for its entry may
 *     be on the device after all.
 */
#ifndef BLOCKDEV_VHD_INTERNAL_H
#define BLOCKDEV_VHD_INTERNAL_H

#include "blockdev/image_internal.h"
#include "blockdev/vhd_format.h"

#define VHD_MIN_BLOCK 4096u
#define VHD_MAX_BLOCK (256u << 20)
#define VHD_END_ALIGN 4096u /* V2 */
#define VHD_MAX_TABLE (64u << 20) /* bytes; 2040 GiB of 512-KiB blocks have 16 MiB */

struct vhd {
	struct bdev bdev;
	bool dynamic, no_footer; /* no_footer: at the end (V2) */
	struct vhd_footer footer;
	uint64_t table_off;
	uint32_t nr_entries, block_bytes, bitmap_bytes;
	uint64_t bat_bytes; /* whole sectors */

	pthread_mutex_t lock; /* V3 */
	struct be32 *bat;
	uint8_t *full; /* V4: of each block, whether the bitmap is set */
	bool allocating;
	struct list waiters;
	uint64_t next_off; /* where the next block goes */
};

/* Reads and checks the footer, the header and the BAT of the image on queue's device into v. A
 * sentence in *ret_error: -ERR_CORRUPT, -ENOTSUP (with a parent), -ENOMEM and what reading says. */
int vhd_load(struct vhd *v, struct bdev_queue *queue, char **ret_error);

/* The ones' complement checksum of a footer or header, whose field is at sum_off. */
uint32_t vhd_checksum(const void *data, size_t len, size_t sum_off);

#endif
