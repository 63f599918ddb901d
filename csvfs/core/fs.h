/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The metadata engine: what the coordinator (and mkfs, and checks) call. See docs/DESIGN.md, 2.
 *
 * Single-threaded; every call and callback is on the loop of the queue that it was opened with;
 * nothing blocks but where said. Work on metadata is done by operations (csv_op): the driver calls
 * op->run() inside a transaction, again from its start whenever a block had to be read, and calls
 * op->done() once when the outcome is on the LUN (E4). run() must have no effect outside of the
 * transaction and its own results, which it sets anew each time.
 *
 * The csv_* functions that take a `struct csv_txn` are for run(): each returns 0, -ERR_WAIT (pass
 * it on), -ERR_CORRUPT, -ENOMEM, or an errno that its comment names. Of these -ENOSPC and -ENOMEM
 * may come when something has been changed already, so run() must return them (E1); the others come
 * before, so run() may store them as a result and return 0.
 */
#ifndef CSVFS_CORE_FS_H
#define CSVFS_CORE_FS_H

#include <stdbool.h>
#include <stdint.h>

#include "util/list.h"

struct bdev_queue;
struct csv_fs;
struct csv_txn;

#define CSV_NAME_MAX 255u

/* ---- superblock ---- */

struct csv_geometry {
	uint8_t uuid[16];
	char label[64];
	uint64_t nr_blks; /* 4 KiB each */
	uint32_t cluster_blks;
	uint64_t journal_blk, journal_nr_blks;
	uint64_t ag0_blk, nr_ags;
	uint64_t ag_blks; /* of a whole group */
	uint64_t hash_seed;
	uint64_t created_ns;
	uint8_t key_id[32];
	uint64_t feat_compat, feat_ro_compat, feat_incompat;
};

struct csv_mkfs {
	uint8_t uuid[16];
	const char *label;	  /* up to 63 bytes; NULL = none */
	uint32_t cluster_bytes;	  /* 0 = 65,536; power of two, 4 KiB to 4 MiB */
	uint64_t journal_bytes;	  /* 0 = by size: 1/64 of the volume, 4 to 128 MiB */
	uint8_t key_id[32];
};

#define CSV_MIN_BYTES (32ull << 20) /* smallest volume */

/* Lays a volume out on paper: fills *ret from options and device size. -EINVAL, -ENOSPC (too
 * small). */
int csv_mkfs_plan(const struct csv_mkfs *opts, uint64_t size_bytes, struct csv_geometry *ret)
	__attribute__((warn_unused_result, nonnull));

/* Writes an empty volume (root directory, mode 0755, root:root). Blocks. progress may be NULL. */
int csv_mkfs_write(struct bdev_queue *queue, const struct csv_geometry *geom,
	void (*progress)(void *arg, uint64_t done, uint64_t total), void *arg)
	__attribute__((warn_unused_result, nonnull(1, 2)));

/* Reads the superblock, or one of its copies if the first is damaged. Blocks. Errors:
 * -ERR_NOTCSV, -ERR_CORRUPT (all copies), -ERR_VERSION (unknown incompatible feature), -ENOSPC
 * (the device is shorter than the volume). */
int csv_super_read(struct bdev_queue *queue, struct csv_geometry *ret)
	__attribute__((warn_unused_result, nonnull));

/* ---- the engine ---- */

struct csv_fs_cfg {
	struct bdev_queue *queue;
	uint64_t cache_bytes; /* limit of clean cached blocks; 0 = 64 MiB */
	/* The volume is in its sticky error state (a failed log write or flush); once. */
	void (*failed)(void *arg, int err);
	void *arg;
};

/* Reads the superblock and makes an engine that is not open yet. Blocks. */
int csv_fs_new(const struct csv_fs_cfg *cfg, struct csv_fs **ret_fs)
	__attribute__((warn_unused_result, nonnull));
/* Frees; no operation may be under way. Of the engine's callbacks only csv_fs_close()'s may call it.
 * NULL is allowed. */
void csv_fs_free(struct csv_fs *fs);
const struct csv_geometry *csv_fs_geometry(const struct csv_fs *fs);

/* Takes the volume over with this epoch (jnl_recover) and opens it. The caller has fenced every
 * other writer. */
int csv_fs_recover(struct csv_fs *fs, uint64_t epoch, uint32_t node,
	void (*done)(void *arg, int status, uint64_t nr_records, uint64_t nr_blks), void *arg)
	__attribute__((warn_unused_result, nonnull(1, 4)));
/* Waits for operations, writes out, marks clean. done once; then only csv_fs_free(). */
void csv_fs_close(struct csv_fs *fs, void (*done)(void *arg, int status), void *arg);
int csv_fs_error(const struct csv_fs *fs);
struct jnl *csv_fs_journal(struct csv_fs *fs);

struct csv_op {
	int (*run)(struct csv_op *op, struct csv_txn *txn);
	void (*done)(struct csv_op *op, int status); /* may free op */
	/* private to the engine */
	struct list link;
	uint64_t wait_[8];
};
/* Queues op. Operations start in order, but one that waits for a read is overtaken. */
void csv_op_submit(struct csv_fs *fs, struct csv_op *op);
/* Runs the loop until the op is done; for tools and tests. Returns its status. */
int csv_op_sync(struct csv_fs *fs, struct csv_op *op) __attribute__((warn_unused_result));
/* Everything that was answered so far is stable when done runs. */
void csv_fs_sync(struct csv_fs *fs, void (*done)(void *arg, int status), void *arg);

struct csv_statfs {
	uint64_t nr_blks, free_blks; /* 4 KiB; free includes what E5 holds back */
	uint64_t nr_inodes;
	uint32_t cluster_blks;
};
int csv_statfs(struct csv_txn *txn, struct csv_statfs *ret) __attribute__((warn_unused_result));

/* ---- inodes ---- */

struct csv_attr {
	uint64_t ino;
	uint32_t mode, nlink, uid, gid, projid;
	uint64_t size, nr_blks; /* bytes; allocated 4 KiB blocks */
	int64_t atime_ns, mtime_ns, ctime_ns, btime_ns;
	uint64_t rdev, parent;
	uint8_t data_kind; /* enum csv_data_kind in format.h: 0 none, 1 inline, 2 tree */
};

enum csv_attr_mask {
	CSV_SET_MODE = 1,
	CSV_SET_UID = 2,
	CSV_SET_GID = 4,
	CSV_SET_SIZE = 8, /* only the number; freeing is csv_extent_punch */
	CSV_SET_ATIME = 16,
	CSV_SET_MTIME = 32,
	CSV_SET_CTIME = 64,
	CSV_SET_MTIME_MAX = 128, /* mtime and ctime only move forward */
};

/* -ESTALE: no such inode (inode numbers are never used twice). */
int csv_inode_get(struct csv_txn *txn, uint64_t ino, struct csv_attr *ret)
	__attribute__((warn_unused_result, nonnull));
/* Sets what mask names; *ret (may be NULL) is the state afterwards. -ESTALE, -EFBIG, -EINVAL. */
int csv_inode_set(struct csv_txn *txn, uint64_t ino, unsigned mask, const struct csv_attr *attr,
	struct csv_attr *ret) __attribute__((warn_unused_result, nonnull(1, 4)));

/* ---- names; a name is len bytes, 1 to 255, without '/' and NUL, not "." or ".." ---- */

/* -ENOENT, -ENOTDIR, -ENAMETOOLONG, -ESTALE. ".." is answered, "." too. */
int csv_lookup(struct csv_txn *txn, uint64_t dir, const char *name, uint32_t len,
	struct csv_attr *ret) __attribute__((warn_unused_result, nonnull));

/* Makes an inode of proto->mode's kind (file, directory, symlink with target, device, fifo, socket)
 * with proto's mode, uid, gid, rdev and times (btime too), and its name. -EEXIST (*ret is then the
 * existing inode), -ENOTDIR, -ENOENT (dir was removed), -ENOSPC, -ENAMETOOLONG, -EMLINK. */
int csv_create(struct csv_txn *txn, uint64_t dir, const char *name, uint32_t len,
	const struct csv_attr *proto, const char *target, uint32_t target_len, struct csv_attr *ret)
	__attribute__((warn_unused_result, nonnull(1, 3, 5, 8)));

/* Another name for a file. -EPERM (directory), -EEXIST, -EMLINK, ... */
int csv_link(struct csv_txn *txn, uint64_t ino, uint64_t dir, const char *name, uint32_t len,
	int64_t now_ns, struct csv_attr *ret) __attribute__((warn_unused_result, nonnull));

/* Removes a name. rmdir: a directory, which must be empty (-ENOTEMPTY); else anything but a
 * directory (-EISDIR). An inode without names becomes an orphan (E7); *ret shows nlink. */
int csv_unlink(struct csv_txn *txn, uint64_t dir, const char *name, uint32_t len, bool rmdir,
	int64_t now_ns, struct csv_attr *ret) __attribute__((warn_unused_result, nonnull));

#define CSV_RENAME_NOREPLACE 1u /* as Linux's RENAME_* */
#define CSV_RENAME_EXCHANGE 2u
/* As renameat2(2). *ret_moved is what moved, *ret_replaced what lost its name (ino 0 = nothing; with
 * EXCHANGE: the other one). -EINVAL a directory into itself, -ENOTEMPTY, -EEXIST, ... */
int csv_rename(struct csv_txn *txn, uint64_t dir, const char *name, uint32_t len, uint64_t new_dir,
	const char *new_name, uint32_t new_len, unsigned flags, int64_t now_ns,
	struct csv_attr *ret_moved, struct csv_attr *ret_replaced)
	__attribute__((warn_unused_result, nonnull));

/* -EINVAL: not a symlink. *len: room in, length out; not NUL-terminated. */
int csv_readlink(struct csv_txn *txn, uint64_t ino, char *buf, uint32_t *len)
	__attribute__((warn_unused_result, nonnull));

/* Calls fn for entries with cookie > after (0 = from the start), in cookie order, until it returns
 * false or the directory ends. "." and ".." are not among them. Cookies are at least 256, below
 * 2^63, and stay valid while entries come and go. attr is filled if want_attr. */
struct csv_dirent {
	uint64_t cookie, ino;
	uint8_t type; /* DT_* */
	uint8_t name_len;
	const char *name; /* valid during the call */
};
int csv_readdir(struct csv_txn *txn, uint64_t dir, uint64_t after, bool want_attr,
	bool (*fn)(void *arg, const struct csv_dirent *ent, const struct csv_attr *attr), void *arg)
	__attribute__((warn_unused_result, nonnull(1, 5)));

/* ---- file space; blocks are 4 KiB ---- */

enum csv_ext_state { CSV_HOLE, CSV_UNWRITTEN, CSV_WRITTEN };
struct csv_extent {
	uint64_t blk;	/* in the file */
	uint64_t nr;
	uint64_t phys;	/* on the volume; 0 for holes */
	enum csv_ext_state state;
};

/* The mapping of [blk, blk + nr), holes included, in order and without gaps; adjacent ones that
 * continue each other are joined. Stops after max extents; *ret_nr says how many. The last ends at
 * blk + nr unless max was reached. -EISDIR, -ESTALE. An
 * inline file maps what csv_extent_alloc has put beside its inline data. */
int csv_extent_map(struct csv_txn *txn, uint64_t ino, uint64_t blk, uint64_t nr,
	struct csv_extent *ret, uint32_t max, uint32_t *ret_nr)
	__attribute__((warn_unused_result, nonnull));

/* Next block at or after blk that is (data) or is not (hole) allocated, up to end; *ret = end when
 * there is none. Unwritten counts as hole; inline data as block 0. */
int csv_extent_seek(struct csv_txn *txn, uint64_t ino, uint64_t blk, uint64_t end, bool data,
	uint64_t *ret) __attribute__((warn_unused_result, nonnull));

/* Allocates unwritten space for the holes of [blk, blk + nr), contiguous and aligned to clusters
 * where it can (allocation is rounded outwards to the cluster in the file when those blocks are
 * holes, too). Bounded work: *ret_done blocks from blk are allocated afterwards, call again for the
 * rest. -ENOSPC: nothing was free (*ret_done stays unset), -EFBIG. */
int csv_extent_alloc(struct csv_txn *txn, uint64_t ino, uint64_t blk, uint64_t nr,
	uint64_t *ret_done) __attribute__((warn_unused_result, nonnull));

/* Marks the unwritten parts of the range as written and the transaction as one that needs a flush
 * before its record (E6). Holes in the range: -ESTALE (the layout was revoked). -EFBIG: too many
 * pieces for one transaction; run() must return it, and the caller takes smaller ranges. */
int csv_extent_written(struct csv_txn *txn, uint64_t ino, uint64_t blk, uint64_t nr)
	__attribute__((warn_unused_result, nonnull));

/* Frees [blk, blk + nr) (nr = UINT64_MAX: to the end). Bounded work from the range's end downwards:
 * *ret_left blocks of the range, from blk, are still to be done; 0 = finished. */
int csv_extent_punch(struct csv_txn *txn, uint64_t ino, uint64_t blk, uint64_t nr,
	uint64_t *ret_left) __attribute__((warn_unused_result, nonnull));

/* Inline data: whole content of a file of data_kind inline. *len: room in, length out. */
int csv_inline_get(struct csv_txn *txn, uint64_t ino, void *buf, uint32_t *len)
	__attribute__((warn_unused_result, nonnull));
/* Replaces it (kind none or inline with no extents; up to 1,024 bytes) and sets the size to len.
 * -EFBIG, -EINVAL (kind tree). */
int csv_inline_set(struct csv_txn *txn, uint64_t ino, const void *buf, uint32_t len)
	__attribute__((warn_unused_result, nonnull(1)));
/* After csv_extent_alloc on an inline file (inline data stays valid beside the unwritten extents)
 * and after the bytes were written to the first block: marks that block written (E6) and drops the
 * inline copy. */
int csv_inline_drop(struct csv_txn *txn, uint64_t ino)
	__attribute__((warn_unused_result, nonnull));

/* ---- orphans: inodes without a name ---- */

/* The first orphan with a number above after; *ret = 0: none. */
int csv_orphan_next(struct csv_txn *txn, uint64_t after, uint64_t *ret)
	__attribute__((warn_unused_result, nonnull));
/* Removes an orphan whose extents are all punched. -EBUSY: they are not. */
int csv_orphan_free(struct csv_txn *txn, uint64_t ino)
	__attribute__((warn_unused_result, nonnull));

/* ---- session slots (exactly once) ---- */

struct csv_result {
	uint64_t seq;
	uint32_t op;
	int32_t status;
	uint64_t ino;
	uint64_t aux[5];
};
/* The stored result of a node's slot (seq 0 = none for this generation). node 1..64, slot 0..61 */
int csv_result_get(struct csv_txn *txn, uint32_t node, uint64_t generation, uint32_t slot,
	struct csv_result *ret) __attribute__((warn_unused_result, nonnull));
int csv_result_put(struct csv_txn *txn, uint32_t node, uint64_t generation, uint32_t slot,
	const struct csv_result *result) __attribute__((warn_unused_result, nonnull));

/* ---- checking ---- */

struct csv_check_report {
	uint64_t errors, inodes, dirs, extents, tree_blks, used_blks;
};
/* Walks everything on a volume with an empty log (recover first), compares bitmaps, counts, links;
 * calls msg for each error. Blocks (runs the loop); for tools and tests. 0 = ran through. */
int csv_check(struct csv_fs *fs, void (*msg)(void *arg, const char *text), void *arg,
	struct csv_check_report *ret) __attribute__((warn_unused_result, nonnull(1, 4)));

#endif
