/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages between a node and the coordinator (docs/DESIGN.md, 8). The same bytes go in-process on
 * the coordinator itself and as frames of util/stream.h between nodes.
 *
 * A request (node to coordinator) or a callback (coordinator to node) is a csvp_hdr and the struct of
 * its op, then what that struct's comment says. A reply has CSVP_REPLY, the same op and xid, a status,
 * and, when the status is 0, the op's reply struct. Names are bytes without NUL.
 */
#ifndef CSVFS_PROTO_FORMAT_H
#define CSVFS_PROTO_FORMAT_H

#include <assert.h>
#include <stddef.h>

#include "util/le.h"

#define CSVP_MAGIC 0x50565343u /* "CSVP" */
#define CSVP_VERSION 3u
#define CSVP_MAX_BYTES (1u << 20) /* of a message */
#define CSVP_NO_SLOT 0xffffu
#define CSVP_FILE_MAX_BLKS (1ull << 51) /* the last byte of a file is at most INT64_MAX - 1 */

enum csvp_op {
	CSVP_HELLO = 1,	   /* csvp_hello -> csvp_hello_reply */
	CSVP_REASSERT,	   /* csvp_reassert[] -> nothing; flag LAST ends it */
	CSVP_LOOKUP,	   /* csvp_name -> csvp_attr */
	CSVP_GETATTR,	   /* csvp_getattr -> csvp_attr */
	CSVP_SETATTR,	   /* csvp_setattr -> csvp_attr */
	CSVP_CREATE,	   /* csvp_create, name, target -> csvp_attr, and mostly the directory's
			      csvp_attr; no name: an open file without */
	CSVP_LINK,	   /* csvp_name (arg: inode), name -> csvp_attr */
	CSVP_UNLINK,	   /* csvp_name (arg: 1 = directory), name -> csvp_attr */
	CSVP_RENAME,	   /* csvp_rename, name, new name -> nothing */
	CSVP_READLINK,	   /* csvp_ino -> target */
	CSVP_READDIR,	   /* csvp_readdir -> csvp_dirent, name, ... */
	CSVP_OPEN,	   /* csvp_ino -> csvp_attr; the inode stays while it is open somewhere */
	CSVP_CLOSE,	   /* csvp_close -> nothing; the last close on this node, tokens returned */
	CSVP_LAYOUT,	   /* csvp_layout -> csvp_layout_reply, csvp_extent[], inline data */
	CSVP_COMMIT,	   /* csvp_commit, csvp_range[] -> csvp_size */
	CSVP_WRITE_INLINE, /* csvp_write_inline, data -> csvp_size */
	CSVP_FALLOCATE,	   /* csvp_fallocate -> csvp_size */
	CSVP_SEEK,	   /* csvp_seek -> csvp_size (the offset) */
	CSVP_STATFS,	   /* nothing, or csvp_ino: as it looks from there -> csvp_statfs */
	CSVP_SYNC,	   /* nothing -> nothing; what was answered before is stable */
	CSVP_CLONE,	   /* csvp_clone -> csvp_size (of dst) */
	CSVP_MAP,	   /* csvp_map -> csvp_layout_reply, csvp_extent[]; takes no token */
	CSVP_GETXATTR = 32, /* csvp_xattr, name -> csvp_size, value */
	CSVP_SETXATTR,	   /* csvp_xattr, name, value -> nothing */
	CSVP_LISTXATTR,	   /* csvp_xattr -> csvp_size, names, each with a NUL */
	CSVP_REMOVEXATTR,  /* csvp_xattr, name -> nothing */
	CSVP_PROJECT_GET,  /* csvp_project -> csvp_project */
	CSVP_PROJECT_SET,  /* csvp_project -> nothing */
	CSVP_LOCK = 40,	   /* csvp_lock -> nothing; with WAIT: answered when it is granted */
	CSVP_GETLK,	   /* csvp_lock -> csvp_lock: the first that is in the way, or type NONE */
	CSVP_LOCK_CANCEL,  /* csvp_lock_cancel -> nothing; the LOCK ends -EINTR unless it was granted */
	CSVP_REASSERT_LOCKS, /* csvp_lock[] -> nothing; before the last REASSERT */

	CSVP_GROW = 56,	   /* csvp_grow -> csvp_grow_reply; may be sent twice */

	CSVP_RECALL = 64, /* callback: csvp_recall -> csvp_recall_reply */
	CSVP_TIMES,	  /* callback: csvp_ino -> csvp_recall_reply; the token stays */
	CSVP_FORGET,	  /* callback: csvp_recall -> csvp_recall_reply; xid 0 = no answer */
	CSVP_REFRESH,	  /* callback: csvp_recall -> csvp_recall_reply; I/O ends, layouts go, EXCL stays */
	CSVP_MEASURE,	  /* callback: csvp_recall -> csvp_recall_reply; how large is the device? */
	CSVP_RESIZED,	  /* callback: csvp_recall (ino: blocks of the volume), no answer */
	CSVP_OP_LIMIT
};

#define CSVP_REPLY 1u
#define CSVP_LAST 2u
/* Of a reply: until a FORGET comes for the inode, the node may keep the attributes (LOOKUP, GETATTR,
 * CREATE), and what is said of names: of one, also that it is not there (LOOKUP), or of a part of the listing
 * (READDIR). */
#define CSVP_KEEP_ATTR 4u
#define CSVP_KEEP_NAMES 8u

struct csvp_hdr {
	struct le32 magic;   /* 0x00 */
	struct le16 version; /* 0x04 */
	struct le16 op;	     /* 0x06 */
	struct le32 flags;   /* 0x08 */
	struct le32 status;  /* 0x0c reply: 0 or a negative code in two's complement */
	struct le64 xid;     /* 0x10 the asking side's number */
	struct le64 epoch;   /* 0x18 of the coordinator that is meant or answers */
	struct le64 seq;     /* 0x20 with slot: exactly once (docs/DESIGN.md, 6) */
	struct le16 slot;    /* 0x28 CSVP_NO_SLOT: may be carried out twice */
	struct le16 pad0;    /* 0x2a */
	struct le32 len;     /* 0x2c of the whole message */
};
static_assert(sizeof(struct csvp_hdr) == 0x30, "wire");

struct csvp_hello {
	uint8_t uuid[16];
	struct le32 node;
	struct le32 pad;
	struct le64 generation;
};

struct csvp_hello_reply {
	struct le64 epoch;
	struct le32 coord_node;
	struct le32 nr_slots;
	struct le32 recall_ms; /* how long a recall may take before the node is fenced */
	struct le32 pad;
	struct le64 nr_blks;	/* of the volume, 4 KiB each */
	struct le64 needs_blks; /* that the node must see of the device: it may be growing */
};

enum csvp_mode { CSVP_NONE, CSVP_READ, CSVP_WRITE, CSVP_EXCL };

struct csvp_reassert {
	struct le64 ino;
	struct le32 mode;  /* enum csvp_mode */
	struct le32 opens; /* 1 = open on this node */
};

struct csvp_ino {
	struct le64 ino;
};

struct csvp_attr {
	struct le64 ino;
	struct le32 mode, nlink, uid, gid;
	struct le64 size, nr_blks, rdev;
	struct le64 atime_ns, mtime_ns, ctime_ns, btime_ns;
	struct le32 flags; /* CSVP_ATTR_* */
	struct le32 pad;
};
static_assert(sizeof(struct csvp_attr) == 88, "wire");
#define CSVP_ATTR_HAS_XATTRS 1u

struct csvp_name { /* name_len bytes follow */
	struct le64 dir;
	struct le64 arg;
	struct le64 now_ns;
	struct le32 name_len;
	struct le32 unnamed; /* LINK: 1 = of a file that was made without a name */
};

struct csvp_getattr {
	struct le64 ino;
	struct le64 wrote_ns; /* when this node last wrote and has not said so yet, 0 = no */
	struct le64 read_ns;  /* when it last read; 0 = it has not, or does not tell (noatime) */
	struct le32 strict;   /* 1 = read_ns is noted however little it tells (strictatime) */
	struct le32 pad;
};

struct csvp_setattr {
	struct le64 ino;
	struct le32 mask; /* enum csv_attr_mask */
	struct le32 mode, uid, gid;
	struct le64 size;
	struct le64 atime_ns, mtime_ns, ctime_ns;
};

struct csvp_create { /* name_len, then target_len bytes follow */
	struct le64 dir;
	struct le32 mode, uid, gid;
	struct le32 open; /* 1 = also open it */
	struct le64 rdev;
	struct le64 now_ns;
	struct le32 name_len, target_len;
	struct le32 umask; /* of the caller; where the directory has a default list it does not count */
	struct le32 pad;
};

#define CSVP_RENAME_WHITEOUT 4u /* leaves a character device 0:0 behind */
struct csvp_rename { /* name_len, then new_name_len bytes follow */
	struct le64 dir, new_dir;
	struct le64 now_ns;
	struct le32 flags; /* CSV_RENAME_*, CSVP_RENAME_WHITEOUT */
	struct le32 name_len, new_name_len;
	struct le32 uid, gid; /* of a whiteout */
	struct le32 pad;
};

struct csvp_readdir {
	struct le64 dir;
	struct le64 after; /* cookie */
	struct le32 max_bytes;
	struct le32 strict; /* as in csvp_getattr */
	struct le64 read_ns; /* now; 0 = atime stays */
};

struct csvp_dirent { /* name_len bytes and padding to 8 follow */
	struct csvp_attr attr;
	struct le64 cookie;
	struct le32 name_len;
	struct le32 type; /* DT_*, and CSVP_DIRENT_KEEP: attr may be kept as with CSVP_KEEP_ATTR */
};
#define CSVP_DIRENT_KEEP 0x100u
static_assert(sizeof(struct csvp_dirent) == 104, "wire");

struct csvp_close {
	struct le64 ino;
	struct le64 wrote_ns, read_ns; /* as in csvp_getattr */
	struct le32 strict, pad;
};

#define CSVP_LAYOUT_ALLOC 1u	  /* allocate holes of the range, unwritten (way 2) */
#define CSVP_LAYOUT_ZERO_AHEAD 2u /* allocate, zero, map as written (way 3) */
#define CSVP_LAYOUT_DROP_PRIV 4u  /* take set-user-id and the like away first */
#define CSVP_LAYOUT_PAGES 8u	  /* for pages of a mapping, which a recall must not keep waiting */
struct csvp_layout {
	struct le64 ino;
	struct le64 blk, nr; /* range of interest, 4 KiB blocks; nr 0 = only the token and size */
	struct le32 mode;    /* enum csvp_mode that is needed at least */
	struct le32 flags;
};

struct csvp_extent {
	struct le64 blk, nr, phys;
	struct le32 state; /* enum csv_ext_state */
	struct le32 pad;
};
static_assert(sizeof(struct csvp_extent) == 32, "wire");

#define CSVP_MAX_EXTENTS 512u

struct csvp_layout_reply { /* nr_extents csvp_extent, then inline_len bytes follow */
	struct le64 size;
	struct le32 mode; /* granted */
	struct le32 nr_extents;
	struct le32 inline_len; /* of an inline file: all of its bytes */
	struct le32 is_inline;
	struct le32 has_priv; /* there is something that DROP_PRIV would take away */
	struct le32 pad;
};

struct csvp_map {
	struct le64 ino;
	struct le64 blk, nr; /* as in csvp_layout */
};

/* Bytes [off, off + len) of src become those of dst, too, without being copied. */
struct csvp_clone {
	struct le64 src, dst;
	struct le64 off_bytes, len_bytes;
	struct le64 now_ns;
};

struct csvp_range { /* 4 KiB blocks of the file */
	struct le64 blk, nr;
};

/* The blocks of each range become written: they must all be unwritten, else -ERR_STALE and nothing
 * was done (write again). The size grows to new_size. */
struct csvp_commit {
	struct le64 ino;
	struct le64 new_size; /* 0 = does not grow */
	struct le64 wrote_ns;
	struct le32 nr_ranges;
	struct le32 pad;
};

#define CSVP_INLINE_APPEND 1u	 /* at the end of file, off_bytes does not count */
#define CSVP_INLINE_DROP_PRIV 2u /* as CSVP_LAYOUT_DROP_PRIV */
struct csvp_write_inline { /* len bytes follow */
	struct le64 ino;
	struct le64 off_bytes;
	struct le64 wrote_ns;
	struct le32 len;
	struct le32 flags;
};

struct csvp_size {
	struct le64 size;
};

#define CSVP_FALLOC_KEEP_SIZE 1u /* as Linux's FALLOC_FL_* */
#define CSVP_FALLOC_PUNCH 2u
#define CSVP_FALLOC_ZERO 16u
#define CSVP_FALLOC_DROP_SGID 0x10000u /* S_ISGID goes, unless the file is gid's */
struct csvp_fallocate {
	struct le64 ino;
	struct le64 off_bytes, len_bytes;
	struct le64 now_ns;
	struct le32 mode;
	struct le32 gid; /* who calls */
};

struct csvp_seek {
	struct le64 ino;
	struct le64 off_bytes;
	struct le32 data; /* 1 = SEEK_DATA, 0 = SEEK_HOLE */
	struct le32 pad;
};

#define CSVP_XATTR_DROP_SGID 4u /* an access list: take S_ISGID away */
struct csvp_xattr { /* name_len bytes follow, then the value (SETXATTR) */
	struct le64 ino;
	struct le64 now_ns;
	struct le32 name_len;
	struct le32 value_len; /* GETXATTR, LISTXATTR: room; 0 = only the length is asked for */
	struct le32 flags;     /* CSV_XATTR_* */
	struct le32 pad;
};

enum csvp_lock_type { CSVP_LOCK_NONE, CSVP_LOCK_READ, CSVP_LOCK_WRITE };
enum csvp_lock_kind { CSVP_LOCK_FCNTL, CSVP_LOCK_FLOCK }; /* FCNTL: those of open files, too */

#define CSVP_LOCK_END 0x7fffffffffffffffull /* the end of a lock that has none */
#define CSVP_LOCK_WAIT 1u
struct csvp_lock {
	struct le64 ino;
	struct le64 owner;	/* any number of the node's */
	struct le64 start, end; /* bytes; FLOCK: 0 to CSVP_LOCK_END */
	struct le32 type;	/* enum csvp_lock_type; LOCK with NONE unlocks */
	struct le32 kind;	/* enum csvp_lock_kind */
	struct le32 pid;	/* GETLK: 0 if it is of another node */
	struct le32 flags;	/* CSVP_LOCK_WAIT */
	struct le64 waited_ms;	/* since it was first sent: keeps its place in a resend */
};
static_assert(sizeof(struct csvp_lock) == 56, "wire");

struct csvp_lock_cancel {
	struct le64 xid; /* of the LOCK */
};

struct csvp_statfs {
	struct le64 nr_blks, free_blks, avail_blks, nr_inodes;
	struct le64 limit_inodes; /* of the project; 0 = none */
};

/* GET: of the project of inode ino; of project projid, if ino is 0; with NEXT: of the first one above
 * projid (-ENOENT). SET: inode ino becomes one of project projid; if ino is 0: the project's limits. */
#define CSVP_PROJECT_NEXT 1u
#define CSVP_PROJECT_INHERIT 2u /* of ino, a directory: what is made in it gets its project */
struct csvp_project {
	struct le64 ino;
	struct le64 now_ns; /* SET */
	struct le32 projid;
	struct le32 flags;		      /* CSVP_PROJECT_* */
	struct le64 blks, inodes;	      /* GET: as they are; 4 KiB blocks */
	struct le64 limit_blks, limit_inodes; /* 0 = none */
};
static_assert(sizeof(struct csvp_project) == 56, "wire");

struct csvp_recall {
	struct le64 ino;
	struct le32 mode; /* keep at most this */
	struct le32 pad;
};

struct csvp_recall_reply {
	struct le64 wrote_ns;
	struct le32 open; /* FORGET: 1 = it is open here, as a directory, without an OPEN */
	struct le32 pad;
	struct le64 size_bytes; /* MEASURE: of the device, as this node sees it now */
};

struct csvp_grow {
	struct le64 size_bytes; /* 0 = all of the device */
};

enum csvp_grow_outcome {
	CSVP_GROWN,
	CSVP_GROW_NOTHING,   /* it is as large as that already */
	CSVP_GROW_SHRINK,    /* it is larger */
	CSVP_GROW_TOO_LARGE, /* the device has seen_bytes only, on every node */
	CSVP_GROW_BLIND,     /* `node` sees seen_bytes only */
	CSVP_GROW_SILENT,    /* `node` did not answer */
};

struct csvp_grow_reply {
	struct le32 outcome, node;
	struct le64 old_bytes, new_bytes; /* of the volume */
	struct le64 wanted_bytes, seen_bytes;
};

#endif
