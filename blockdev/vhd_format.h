/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bytes of a VHD: "Virtual Hard Disk Image Format Specification", version 1.0. Big-endian. */
#ifndef BLOCKDEV_VHD_FORMAT_H
#define BLOCKDEV_VHD_FORMAT_H

#include <assert.h>
#include <stddef.h>

#include "util/be.h"

#define VHD_SECTOR 512u
#define VHD_MAX_BYTES (2040ull << 30)
#define VHD_UNUSED 0xffffffffu /* BAT: the block is not allocated */

enum vhd_type { VHD_FIXED = 2, VHD_DYNAMIC = 3, VHD_DIFFERENCING = 4 };

/* The last sector; of a dynamic disk also the first. */
struct vhd_footer {
	char cookie[8];		   /* 0x00 "conectix" */
	struct be32 features;	   /* 0x08 */
	struct be32 version;	   /* 0x0c 0x00010000 */
	struct be64 header_off;	   /* 0x10 bytes; fixed: all ones */
	struct be32 timestamp;	   /* 0x18 seconds since 2000 */
	char creator[4];	   /* 0x1c */
	struct be32 creator_version; /* 0x20 */
	char creator_os[4];	   /* 0x24 */
	struct be64 original_size; /* 0x28 bytes */
	struct be64 current_size;  /* 0x30 bytes */
	struct be16 cylinders;	   /* 0x38 */
	uint8_t heads, sectors;	   /* 0x3a */
	struct be32 type;	   /* 0x3c enum vhd_type */
	struct be32 checksum;	   /* 0x40 ones' complement of the sum of the other bytes */
	uint8_t uuid[16];	   /* 0x44 */
	uint8_t saved_state;	   /* 0x54 */
	uint8_t reserved[427];
} __attribute__((packed));
static_assert(sizeof(struct vhd_footer) == VHD_SECTOR, "");
static_assert(offsetof(struct vhd_footer, checksum) == 0x40, "");

struct vhd_header {
	char cookie[8];		  /* 0x00 "cxsparse" */
	struct be64 next_off;	  /* 0x08 all ones */
	struct be64 table_off;	  /* 0x10 bytes: the BAT, a be32 sector number for each block */
	struct be32 version;	  /* 0x18 0x00010000 */
	struct be32 nr_entries;	  /* 0x1c */
	struct be32 block_bytes;  /* 0x20 data of a block; a bitmap of its sectors lies before it */
	struct be32 checksum;	  /* 0x24 */
	uint8_t parent_uuid[16];  /* 0x28 */
	struct be32 parent_time;  /* 0x38 */
	uint8_t reserved0[4];	  /* 0x3c */
	struct be16 parent_name[256]; /* 0x40 UTF-16 */
	uint8_t parent_locator[192];  /* 0x240 */
	uint8_t reserved1[256];	      /* 0x300 */
} __attribute__((packed));
static_assert(sizeof(struct vhd_header) == 1024, "");
static_assert(offsetof(struct vhd_header, parent_locator) == 0x240, "");

#endif
