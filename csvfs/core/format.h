/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The volume's bytes. Explained in docs/FORMAT.md. Only csvfs/core (and fsck) include this. */
#ifndef CSVFS_CORE_FORMAT_H
#define CSVFS_CORE_FORMAT_H

#include <assert.h>
#include <stddef.h>

#include "util/le.h"

#define CSV_BLOCK_BYTES 4096u
#define CSV_FORMAT_VERSION 1u
#define CSV_MAX_NODES 64u
#define CSV_ROOT_INO 1u

/* Fixed places, in blocks. The rest is in the superblock. */
#define CSV_SB_BLK 0u	   /* the superblock */
#define CSV_SB_COPY_BLK 1u /* its copy; a third is the device's last whole block */
#define CSV_ROOT_BLK 2u	   /* the root block (journaled) */
#define CSV_SLOT_BLK 64u   /* 64 slot blocks, written by their nodes (lockmgr_format.h) */
#define CSV_SESS_BLK 128u  /* 64 session blocks (journaled) */
#define CSV_JOURNAL_BLK 256u

enum csv_blk_type {
	CSV_BT_SUPER = 1,
	CSV_BT_ROOT = 2,
	CSV_BT_AG = 3,
	CSV_BT_BITMAP = 4,
	CSV_BT_TREE = 5,
	CSV_BT_SESSION = 6,
	CSV_BT_SLOT = 7,    /* lockmgr */
	CSV_BT_JHEADER = 8, /* journal */
	CSV_BT_JRECORD = 9, /* journal */
};

#define CSV_MAGIC 0x46565343u /* "CSVF", then the type tells which */

struct csv_blk_hdr {
	struct le32 magic;   /* 0x00 */
	struct le32 crc;     /* 0x04 crc32c of the 4 KiB with this field zero */
	struct le16 type;    /* 0x08 enum csv_blk_type */
	struct le16 version; /* 0x0a of this block type: 1 */
	struct le32 len;     /* 0x0c bytes in use, header included */
	struct le64 blkno;   /* 0x10 where it belongs */
	uint8_t uuid[16];    /* 0x18 volume */
	struct le64 epoch;   /* 0x28 of the coordinator that wrote it */
	struct le64 seq;     /* 0x30 log record that it was last written in */
	struct le64 owner;   /* 0x38 tree: inode or CSV_OWNER_*; bitmap: AG number; else 0 */
};
static_assert(sizeof(struct csv_blk_hdr) == 0x40, "format");

/* Owners of trees that are no inode's. */
#define CSV_OWNER_INODES 0xffffffffffff0001ull
#define CSV_OWNER_ORPHANS 0xffffffffffff0002ull
#define CSV_OWNER_SHARES 0xffffffffffff0003ull
#define CSV_OWNER_QUOTAS 0xffffffffffff0004ull

struct csv_tree_root {
	struct le64 blk;  /* 0x00 root node, 0 = the tree is empty */
	uint8_t level;	  /* 0x08 of the root node; 0 = it is a leaf */
	uint8_t pad[7];	  /* 0x09 */
};
static_assert(sizeof(struct csv_tree_root) == 16, "format");

struct csv_super {
	struct csv_blk_hdr h;	      /* 0x000 */
	struct le64 feat_compat;      /* 0x040 unknown bits: ignore */
	struct le64 feat_ro_compat;   /* 0x048 unknown bits: mount read-only */
	struct le64 feat_incompat;    /* 0x050 unknown bits: refuse */
	struct le64 nr_blks;	      /* 0x058 of the volume */
	struct le32 cluster_blks;     /* 0x060 allocation unit of file data, power of two */
	struct le32 max_nodes;	      /* 0x064 64 */
	struct le64 journal_blk;      /* 0x068 */
	struct le64 journal_nr_blks;  /* 0x070 */
	struct le64 ag0_blk;	      /* 0x078 first allocation group */
	struct le32 ag_nr_bitmaps;    /* 0x080 bitmap blocks of a whole group */
	struct le32 pad0;	      /* 0x084 */
	struct le64 nr_ags;	      /* 0x088 the last may be short */
	struct le64 hash_seed;	      /* 0x090 of directory hashes */
	struct le64 created_ns;	      /* 0x098 since 1970 */
	uint8_t key_id[32];	      /* 0x0a0 SHA-256 of the volume key; zero = no key */
	char label[64];		      /* 0x0c0 NUL-terminated */
};
static_assert(sizeof(struct csv_super) == 0x100, "format");
static_assert(offsetof(struct csv_super, key_id) == 0xa0, "format");

struct csv_root {
	struct csv_blk_hdr h;	      /* 0x00 */
	struct le64 free_blks;	      /* 0x40 of the volume */
	struct le64 next_ino;	      /* 0x48 never used before */
	struct le64 nr_inodes;	      /* 0x50 */
	struct csv_tree_root inodes;  /* 0x58 key: inode number */
	struct csv_tree_root orphans; /* 0x68 key: inode number, empty value */
	struct csv_tree_root shares;  /* 0x78 key: first block of a shared run (empty so far) */
	struct csv_tree_root quotas;  /* 0x88 key: project */
	uint8_t reserved[0x100 - 0x98];
};
static_assert(sizeof(struct csv_root) == 0x100, "format");
/* Version of a root block that has quotas: who does not count for them must not change anything. */
#define CSV_ROOT_VERSION_QUOTAS 2u

/* Value of the tree of projects. Key: number of the project, not 0. There is none without use and
 * limits. */
struct csv_quota_rec {
	struct le64 blks;	  /* 0x00 of its inodes: nr_blks, base_nr_blks, xattr_blks */
	struct le64 inodes;	  /* 0x08 */
	struct le64 limit_blks;	  /* 0x10 0 = none */
	struct le64 limit_inodes; /* 0x18 0 = none */
};
static_assert(sizeof(struct csv_quota_rec) == 32, "format");

#define CSV_BITMAP_BYTES (CSV_BLOCK_BYTES - 0x40)
#define CSV_BITMAP_BITS (CSV_BITMAP_BYTES * 8u) /* 32,256 */
#define CSV_AG_NR_BITMAPS 32u			/* a whole group: 1,032,192 blocks, 3.9 GiB */

struct csv_ag { /* first block of a group; its bitmap blocks follow */
	struct csv_blk_hdr h;  /* 0x00 */
	struct le64 nr_blks;   /* 0x40 blocks in the group, header and bitmaps included */
	struct le64 free_blks; /* 0x48 */
};
static_assert(sizeof(struct csv_ag) == 0x50, "format");

struct csv_bitmap { /* bit set = in use; bit n of bitmap m is block m * 32,256 + n of the group */
	struct csv_blk_hdr h;
	uint8_t bits[CSV_BITMAP_BYTES];
};
static_assert(sizeof(struct csv_bitmap) == CSV_BLOCK_BYTES, "format");

/*
 * A tree node: header, slots sorted by key growing up, values growing down from the end. In an
 * inner node (level > 0) each value is a csv_tree_ptr and slot i's key is at most the smallest
 * key below it; slot 0's key counts as 0.
 */
struct csv_tree_slot {
	struct le64 key;
	struct le16 off; /* of the value, from the start of the block; 4,096 if it is empty */
	struct le16 len;
};
static_assert(sizeof(struct csv_tree_slot) == 12, "format");

struct csv_tree_node {
	struct csv_blk_hdr h; /* 0x00 h.owner names the tree */
	struct le16 level;    /* 0x40 */
	struct le16 nr;	      /* 0x42 slots */
	struct le16 low;      /* 0x44 lowest offset that a value uses; 4,096 when empty */
	struct le16 dead;     /* 0x46 bytes of removed values above low */
	struct csv_tree_slot slots[]; /* 0x48 */
};
static_assert(sizeof(struct csv_tree_node) == 0x48, "format");

struct csv_tree_ptr {
	struct le64 blk;
	struct le64 reserved; /* 0; for shared subtrees */
};
static_assert(sizeof(struct csv_tree_ptr) == 16, "format");

#define CSV_TREE_VALUE_MAX 1280u
#define CSV_TREE_MAX_LEVEL 15u

/* Value of the inode tree. */
enum csv_data_kind { CSV_DATA_NONE, CSV_DATA_INLINE, CSV_DATA_TREE };

struct csv_inode_rec {
	struct le32 mode;	    /* 0x00 as stat */
	struct le32 nlink;	    /* 0x04 */
	struct le32 uid;	    /* 0x08 */
	struct le32 gid;	    /* 0x0c */
	struct le32 projid;	    /* 0x10 project; 0 = none */
	struct le32 flags;	    /* 0x14 CSV_INODE_* */
	struct le64 size;	    /* 0x18 bytes; directory: entries */
	struct le64 nr_blks;	    /* 0x20 allocated 4 KiB blocks, tree nodes included */
	struct le64 atime_ns;	    /* 0x28 since 1970, signed */
	struct le64 mtime_ns;	    /* 0x30 */
	struct le64 ctime_ns;	    /* 0x38 */
	struct le64 btime_ns;	    /* 0x40 */
	struct le64 rdev;	    /* 0x48 */
	struct le64 parent;	    /* 0x50 directory: where ".." leads */
	struct csv_tree_root tree;  /* 0x58 extents or directory entries */
	struct csv_tree_root xattrs; /* 0x68 extended attributes */
	struct le64 tree_owner;	    /* 0x78 owner in the nodes of tree; 0 = this inode's number */
	uint8_t kind;		    /* 0x80 enum csv_data_kind */
	uint8_t pad0;		    /* 0x81 */
	struct le16 inline_len;	    /* 0x82 bytes of inline data or symlink target behind this */
	struct le32 depth;	    /* 0x84 layers below */
	struct le64 base;	    /* 0x88 the layer right below; 0 = none */
	struct le64 base_blks;	    /* 0x90 it shows through in blocks below this one */
	struct le64 base_nr_blks;   /* 0x98 what it and those below it count in nr_blks */
	struct le32 refs;	    /* 0xa0 layer: inodes right above */
	struct le32 xattr_blks;	    /* 0xa4 nodes of the tree of attributes; nr_blks is without them */
	uint8_t reserved[0xc0 - 0xa8];
};
static_assert(sizeof(struct csv_inode_rec) == 0xc0, "format");
#define CSV_INLINE_MAX 1024u
#define CSV_INODE_LAYER (1u << 0) /* what clones have in common: no name, never changed */
#define CSV_INODE_PROJINHERIT (1u << 1) /* directory: what is made in it gets its project */
#define CSV_DEPTH_MAX 32u

/* Value of a file's extent tree. Key: first block in the file. No entry = hole. */
#define CSV_EXT_UNWRITTEN (1u << 0) /* allocated, reads as what is below it, or zeroes */
#define CSV_EXT_COVER (1u << 1)	    /* with UNWRITTEN: hides what is below; alone: a hole that does */
struct csv_extent_rec {
	struct le64 phys_blk;
	struct le32 nr_blks;
	struct le32 flags;
};
static_assert(sizeof(struct csv_extent_rec) == 16, "format");
#define CSV_EXT_MAX_BLKS (1u << 30)

/* Value of a directory tree. Key: hash (55 bits) << 8 | collision index; below 256: none. */
struct csv_dirent_rec {
	struct le64 ino;
	uint8_t type; /* DT_* */
	uint8_t name_len;
	char name[]; /* 1 to 255 bytes, no NUL, no '/' */
};
static_assert(sizeof(struct csv_dirent_rec) == 10, "format");

/*
 * Values of an inode's tree of extended attributes. Key: hash (47 bits) << 16 | collision index << 8 |
 * piece. Piece 0 is this, with the beginning of the value; pieces 1 and up are more of it, each but
 * the last of CSV_TREE_VALUE_MAX bytes.
 */
struct csv_xattr_rec {
	struct le32 value_len;
	uint8_t name_len; /* 1 to 255 */
	uint8_t pad[3];
	char name[]; /* then the value's first bytes */
};
static_assert(sizeof(struct csv_xattr_rec) == 8, "format");

/* The last results of a node's requests (exactly once). */
struct csv_session_slot {
	struct le64 seq;    /* 0x00 0 = never used */
	struct le32 op;	    /* 0x08 enum csvp_op */
	struct le32 status; /* 0x0c 0 or negative code, as two's complement */
	struct le64 ino;    /* 0x10 */
	struct le64 aux[5]; /* 0x18 by op */
};
static_assert(sizeof(struct csv_session_slot) == 64, "format");
#define CSV_SESSION_SLOTS 62u

struct csv_session {
	struct csv_blk_hdr h;	/* 0x00 h.owner = node */
	struct le64 generation; /* 0x40 of the mount that these belong to; another one resets them */
	uint8_t reserved[0x80 - 0x48];
	struct csv_session_slot slots[CSV_SESSION_SLOTS]; /* 0x80 */
};
static_assert(sizeof(struct csv_session) == CSV_BLOCK_BYTES, "format");

#endif
