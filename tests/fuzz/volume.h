/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The volume that targets begin with: something of everything, made by the engine when the process
 * starts; once with an empty log, once as a coordinator that died has left it.
 */
#ifndef TESTS_FUZZ_VOLUME_H
#define TESTS_FUZZ_VOLUME_H

#include "tests/fuzz/fuzz.h"
#include "tests/unit/core_ops.h"

struct fuzz_volume {
	struct bdev *keep; /* so that it stays */
	char uri[64];
	struct csv_geometry geom;
	uint8_t *image;
	uint64_t *meta; /* numbers of its metadata blocks: those in their places, then the log's images */
	uint32_t nr_home, nr_meta;
};

static inline struct csv_blk_hdr *fuzz_blk(const struct fuzz_volume *vol, uint64_t blk)
{
	return (struct csv_blk_hdr *)(vol->image + blk * CSV_BLOCK_BYTES);
}

/* Makes both; for good. */
void fuzz_volumes_make(struct fuzz_volume *ret_clean, struct fuzz_volume *ret_dirty);

/* An engine's frame on vol, which stays as it is; fs is not there yet. loop is the caller's. */
void fuzz_volume_open(const struct fuzz_volume *vol, struct loop *loop, struct engine *ret);
void fuzz_volume_close(struct engine *e);

/* Bytes of a block are changed as the input says; its checksum is right afterwards, most often.
 *
 *	what (1): 0-3 a number of 1, 2, 4, 8 bytes; 4 xor of one byte; 5 zeroes; 6 another block in its
 *	place; 7 a number, and the checksum is not made right
 *	at (2): offset, in the first 1 KiB most often
 *	number (8), or less at the input's end
 */
void fuzz_edit(const struct fuzz_volume *vol, struct fuzz_in *in, uint8_t *block, uint64_t blk);
/* What an input says of the next edit. */
void fuzz_put_edit(struct fuzz_out *out, unsigned what, unsigned at, uint64_t number);
/* Checksum of a block of any type. */
void fuzz_seal(uint8_t *block);

/* Counts in place of messages. */
void fuzz_count_msg(void *arg, const char *text);

#endif
