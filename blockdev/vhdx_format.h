/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bytes of a VHDX: MS-VHDX, "Virtual Hard Disk v2 (VHDX) File Format". Little-endian. */
#ifndef BLOCKDEV_VHDX_FORMAT_H
#define BLOCKDEV_VHDX_FORMAT_H

#include <assert.h>
#include <stddef.h>

#include "util/le.h"

#define VHDX_MB (1u << 20) /* regions and blocks lie at multiples of it */
#define VHDX_PAGE 4096u	   /* unit of the log, size of a header */
#define VHDX_TABLE_BYTES (64u << 10)
#define VHDX_MAX_BYTES (64ull << 40)
#define VHDX_MIN_BLOCK (1u << 20)
#define VHDX_MAX_BLOCK (256u << 20)
#define VHDX_MAX_ENTRIES 2047u /* of the region and metadata tables */

/* 2.2: where the fixed parts are */
#define VHDX_HEADER_OFF(i) ((1 + (uint64_t)(i)) * VHDX_TABLE_BYTES) /* i: 0, 1 */
#define VHDX_REGIONS_OFF(i) ((3 + (uint64_t)(i)) * VHDX_TABLE_BYTES)

struct vhdx_guid {
	uint8_t b[16]; /* as on disk: the first three fields little-endian */
};

/* 2.2.1 at 0 */
struct vhdx_file_id {
	char magic[8];		  /* 0x00 "vhdxfile" */
	struct le16 creator[256]; /* 0x08 UTF-16 */
} __attribute__((packed));

/* 2.2.2 */
struct vhdx_header {
	char magic[4];			  /* 0x00 "head" */
	struct le32 checksum;		  /* 0x04 CRC-32C of all 4 KiB, itself being 0 */
	struct le64 sequence;		  /* 0x08 the greater one of two is current */
	struct vhdx_guid file_write_guid; /* 0x10 new before the file's first change */
	struct vhdx_guid data_write_guid; /* 0x20 new before the disk's first change */
	struct vhdx_guid log_guid;	  /* 0x30 zeroes: nothing to replay */
	struct le16 log_version;	  /* 0x40 0 */
	struct le16 version;		  /* 0x42 1 */
	struct le32 log_bytes;		  /* 0x44 */
	struct le64 log_off;		  /* 0x48 */
	uint8_t reserved[4016];		  /* 0x50 */
} __attribute__((packed));
static_assert(sizeof(struct vhdx_header) == VHDX_PAGE, "");
static_assert(offsetof(struct vhdx_header, log_off) == 0x48, "");

/* 2.2.3 */
struct vhdx_regions {
	char magic[4];	      /* 0x00 "regi" */
	struct le32 checksum; /* 0x04 CRC-32C of all 64 KiB */
	struct le32 nr;	      /* 0x08 */
	struct le32 reserved; /* 0x0c */
	struct vhdx_region {
		struct vhdx_guid guid; /* 0x00 */
		struct le64 off;       /* 0x10 in the file */
		struct le32 bytes;     /* 0x18 */
		struct le32 required;  /* 0x1c bit 0 */
	} __attribute__((packed)) e[VHDX_MAX_ENTRIES];
	uint8_t rest[16];
} __attribute__((packed));
static_assert(sizeof(struct vhdx_regions) == VHDX_TABLE_BYTES, "");

/* 2.3: the log */
struct vhdx_log_header {
	char magic[4];		   /* 0x00 "loge" */
	struct le32 checksum;	   /* 0x04 CRC-32C of the whole entry */
	struct le32 bytes;	   /* 0x08 of the entry */
	struct le32 tail;	   /* 0x0c where in the log the sequence begins that ends here */
	struct le64 sequence;	   /* 0x10 */
	struct le32 nr_desc;	   /* 0x18 */
	struct le32 reserved;	   /* 0x1c */
	struct vhdx_guid log_guid; /* 0x20 */
	struct le64 flushed_bytes; /* 0x30 what the file is at least */
	struct le64 last_bytes;	   /* 0x38 what replay makes it at least */
} __attribute__((packed));
static_assert(sizeof(struct vhdx_log_header) == 64, "");

struct vhdx_desc {
	char magic[4]; /* 0x00 "desc", "zero" */
	struct le32 trailing; /* 0x04 desc: the page's last 4 bytes */
	struct le64 leading;  /* 0x08 desc: its first 8; zero: how many bytes */
	struct le64 off;      /* 0x10 in the file */
	struct le64 sequence; /* 0x18 the entry's */
} __attribute__((packed));
static_assert(sizeof(struct vhdx_desc) == 32, "");

struct vhdx_data {
	char magic[4];	      /* 0x00 "data" */
	struct le32 seq_high; /* 0x04 */
	uint8_t data[4084];   /* 0x08 the page's bytes from 8 on */
	struct le32 seq_low;  /* 0xffc */
} __attribute__((packed));
static_assert(sizeof(struct vhdx_data) == VHDX_PAGE, "");

/* 2.5: the BAT. After each chunk of payload entries one of a sector bitmap follows. */
#define VHDX_STATE(e) ((unsigned)((e) & 7))
#define VHDX_OFF(e) ((e) >> 20 << 20)
#define VHDX_CHUNK_SECTORS (1ull << 23)
enum vhdx_state {
	VHDX_NOT_PRESENT = 0,
	VHDX_UNDEFINED = 1,
	VHDX_ZERO = 2,
	VHDX_UNMAPPED = 3,
	VHDX_PRESENT = 6,
	VHDX_PARTIAL = 7, /* differencing */
};

/* 2.6: metadata */
struct vhdx_meta {
	char magic[8];	    /* 0x00 "metadata" */
	struct le16 zero;   /* 0x08 */
	struct le16 nr;	    /* 0x0a */
	uint8_t reserved[20]; /* 0x0c */
	struct vhdx_meta_entry {
		struct vhdx_guid guid; /* 0x00 */
		struct le32 off;       /* 0x10 in the region, from 64 KiB on */
		struct le32 bytes;     /* 0x14 */
		struct le32 flags;     /* 0x18 VHDX_META_* */
		struct le32 reserved;  /* 0x1c */
	} __attribute__((packed)) e[VHDX_MAX_ENTRIES];
} __attribute__((packed));
static_assert(sizeof(struct vhdx_meta) == VHDX_TABLE_BYTES, "");
#define VHDX_META_DISK 2u
#define VHDX_META_REQUIRED 4u

#define VHDX_LEAVE_ALLOCATED 1u /* file parameters: fixed */
#define VHDX_HAS_PARENT 2u

#define VHDX_GUID(a, b, c, d0, d1, d2, d3, d4, d5, d6, d7)                                         \
	{ { (a) & 255, (a) >> 8 & 255, (a) >> 16 & 255, (a) >> 24, (b) & 255, (b) >> 8,            \
		(c) & 255, (c) >> 8, d0, d1, d2, d3, d4, d5, d6, d7 } }
#define VHDX_REGION_BAT                                                                            \
	VHDX_GUID(0x2dc27766u, 0xf623, 0x4200, 0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08)
#define VHDX_REGION_META                                                                           \
	VHDX_GUID(0x8b7ca206u, 0x4790, 0x4b9a, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e)
#define VHDX_META_PARAMS /* le32 block size, le32 flags */                                         \
	VHDX_GUID(0xcaa16737u, 0xfa36, 0x4d43, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b)
#define VHDX_META_SIZE /* le64 */                                                                  \
	VHDX_GUID(0x2fa54224u, 0xcd1b, 0x4876, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8)
#define VHDX_META_ID /* GUID */                                                                    \
	VHDX_GUID(0xbeca12abu, 0xb2e6, 0x4523, 0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46)
#define VHDX_META_LOGICAL /* le32 */                                                               \
	VHDX_GUID(0x8141bf1du, 0xa96f, 0x4709, 0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f)
#define VHDX_META_PHYSICAL /* le32 */                                                              \
	VHDX_GUID(0xcda348c7u, 0x445d, 0x4471, 0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56)
#define VHDX_META_PARENT                                                                           \
	VHDX_GUID(0xa8d35f2du, 0xb30b, 0x454d, 0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c)

#endif
