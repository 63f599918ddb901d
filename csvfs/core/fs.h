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
#define CSV_SYMLINK_MAX 4095u /* bytes of a symlink's target */

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
	bool log_hole_ok; /* repair: see jnl_hole() */
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
/* The newest log record that the replay has found. */
uint64_t csv_fs_replayed_seq(const struct csv_fs *fs);

#define CSV_OP_CHANGED_MAX 12u
struct csv_op {
	int (*run)(struct csv_op *op, struct csv_txn *txn);
	void (*done)(struct csv_op *op, int status); /* may free op */
	/* At done: inodes whose attributes or names it has changed, made and removed ones included.
	 * More than CSV_OP_CHANGED_MAX: it did not fit. */
	uint32_t nr_changed;
	uint64_t changed[CSV_OP_CHANGED_MAX];
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

/* How a volume would be laid out with nr_blks blocks. -EINVAL: it has as many or more; -EFBIG. */
int csv_grow_plan(const struct csv_geometry *old, uint64_t nr_blks, struct csv_geometry *ret)
	__attribute__((warn_unused_result, nonnull));
/* Makes the volume larger while it is used; a crash leaves it as it was or as it is to be. Each node
 * sees that much of the device already. done runs once: an error but the journal's has changed
 * nothing. Errors at once: csv_grow_plan()'s, -EBUSY (it is being grown, or its superblocks checked:
 * later), -ENOSPC (the device is smaller), -EOPNOTSUPP (groups of a size that mkfs does not make),
 * -ENOMEM. */
int csv_grow(struct csv_fs *fs, uint64_t nr_blks, void (*done)(void *arg, int status), void *arg)
	__attribute__((warn_unused_result, nonnull(1, 3)));
/* Groups that were written, of how many; zero when nothing is under way. */
void csv_grow_progress(const struct csv_fs *fs, uint64_t *ret_done, uint64_t *ret_total);

struct csv_statfs {
	uint64_t nr_blks, free_blks; /* 4 KiB; free includes what E5 holds back */
	uint64_t avail_blks;	     /* of these, what file data may take: the rest is for metadata */
	uint64_t nr_inodes;
	uint64_t limit_inodes; /* csv_statfs_at(): of the project; 0 = none */
	uint32_t cluster_blks;
};
int csv_statfs(struct csv_txn *txn, struct csv_statfs *ret) __attribute__((warn_unused_result));
/* Likewise; in a directory that gives a project with a limit (or of a file of one) the limit is the
 * volume. ino 0: csv_statfs(). -ESTALE. */
int csv_statfs_at(struct csv_txn *txn, uint64_t ino, struct csv_statfs *ret)
	__attribute__((warn_unused_result));

/* ---- projects (docs/DESIGN.md, 12) ---- */

/* What is counted for a project (blocks of 4 KiB, as its inodes' nr_blks), and its limits, 0 = none. */
struct csv_project {
	uint32_t projid;
	uint64_t blks, inodes, limit_blks, limit_inodes;
};
/* A project that nothing is known of has zeroes. */
int csv_project_get(struct csv_txn *txn, uint32_t projid, struct csv_project *ret)
	__attribute__((warn_unused_result, nonnull));
/* The first one with a number above after that has use or limits. -ENOENT. */
int csv_project_next(struct csv_txn *txn, uint32_t after, struct csv_project *ret)
	__attribute__((warn_unused_result, nonnull));
/* Sets the limits; what is counted already may be above them. -EINVAL: project 0. */
int csv_project_limit(struct csv_txn *txn, uint32_t projid, uint64_t limit_blks,
	uint64_t limit_inodes, struct csv_project *ret) __attribute__((warn_unused_result, nonnull));

/* ---- inodes ---- */

struct csv_attr {
	uint64_t ino;
	bool has_xattrs;
	uint32_t mode, nlink, uid, gid, projid;
	uint64_t size, nr_blks; /* bytes; allocated 4 KiB blocks */
	int64_t atime_ns, mtime_ns, ctime_ns, btime_ns;
	uint64_t rdev, parent;
	uint8_t data_kind; /* enum csv_data_kind in format.h: 0 none, 1 inline, 2 tree */
	uint64_t base;	   /* the layer that shows through; 0 = it shares nothing */
	bool projinherit;  /* directory: what is made in it gets its project */
	bool is_layer;	   /* not a file: nlink is then the number of inodes above it */
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
	CSV_SET_PROJECT = 256,	 /* projid and projinherit (which only directories have). -EDQUOT */
};

/* -ESTALE: no such inode (inode numbers are never used twice). */
int csv_inode_get(struct csv_txn *txn, uint64_t ino, struct csv_attr *ret)
	__attribute__((warn_unused_result, nonnull));
/* Sets what mask names; *ret (may be NULL) is the state afterwards. -ESTALE, -EFBIG, -EINVAL. */
int csv_inode_set(struct csv_txn *txn, uint64_t ino, unsigned mask, const struct csv_attr *attr,
	struct csv_attr *ret) __attribute__((warn_unused_result, nonnull(1, 4)));

#define CSV_ATIME_DAY_NS (24ll * 3600 * 1000000000)
/* It was read at ns: atime follows where it tells something new, as with Linux's relatime: it is not
 * after mtime and ctime, or a day old; strict: always. ret may be NULL. -ESTALE. */
int csv_inode_was_read(struct csv_txn *txn, uint64_t ino, int64_t ns, bool strict, struct csv_attr *ret)
	__attribute__((warn_unused_result, nonnull(1)));

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

/* Makes a regular file without a name (O_TMPFILE): an orphan from the start; and gives it one, as
 * csv_link(), which refuses (-ENOENT) to bring back what was removed. */
int csv_create_unnamed(struct csv_txn *txn, uint64_t dir, const struct csv_attr *proto,
	struct csv_attr *ret) __attribute__((warn_unused_result, nonnull));
int csv_link_unnamed(struct csv_txn *txn, uint64_t ino, uint64_t dir, const char *name, uint32_t len,
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

/* -EINVAL: not a symlink. *len: room in (CSV_SYMLINK_MAX for all of it), length out; not
 * NUL-terminated. */
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

/* CSV_SHARED: written, and seen through other files, too; it is never written in place. */
enum csv_ext_state { CSV_HOLE, CSV_UNWRITTEN, CSV_WRITTEN, CSV_SHARED };
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

/* Unwritten space of the file's own that is to be filled before it can be marked written. */
struct csv_fill {
	uint64_t blk, nr, phys; /* as csv_extent */
	uint64_t from_phys;	/* these blocks show through there now; 0 = zeroes do */
};
/* The first such run in [blk, blk + nr). -ENOENT: there is none. */
int csv_extent_fill_next(struct csv_txn *txn, uint64_t ino, uint64_t blk, uint64_t nr,
	struct csv_fill *ret) __attribute__((warn_unused_result, nonnull));

/* Next block at or after blk that is (data) or is not (hole) allocated, up to end; *ret = end when
 * there is none. Unwritten counts as hole; inline data as block 0. */
int csv_extent_seek(struct csv_txn *txn, uint64_t ino, uint64_t blk, uint64_t end, bool data,
	uint64_t *ret) __attribute__((warn_unused_result, nonnull));

/* Allocates unwritten space for the holes of [blk, blk + nr), contiguous and aligned to clusters
 * where it can (allocation is rounded outwards to the cluster in the file when those blocks are
 * holes, too). Bounded work: *ret_done blocks from blk are allocated afterwards, call again for the
 * rest. -ENOSPC: nothing was free (*ret_done stays unset), -EDQUOT: its project has
 * nothing left, -EFBIG. */
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

/* ---- clones (docs/DESIGN.md, 4) ---- */

/* Makes bytes [off, off + len) of the file src, as far as it goes, the same bytes of dst without
 * copying them; *ret is dst afterwards, whose size tells how far. dst is an empty file if off is 0;
 * else it is one that was made so from src up to off. Constant time. -EOPNOTSUPP: only a copy can do
 * that (dst has other content, an end that is not whole blocks, CSV_DEPTH_MAX clones of clones).
 * -EINVAL: the same file. The caller has taken back every layout of both. */
int csv_clone(struct csv_txn *txn, uint64_t src, uint64_t dst, uint64_t off, uint64_t len,
	int64_t now_ns, struct csv_attr *ret) __attribute__((warn_unused_result, nonnull));

/* ---- extended attributes; a name is name_len bytes, 1 to 255, without NUL ---- */

#define CSV_XATTR_VALUE_MAX 65536u
#define CSV_XATTR_LIST_MAX 65536u /* bytes of all names of an inode */
#define CSV_XATTR_CREATE 1u	  /* as Linux's XATTR_* */
#define CSV_XATTR_REPLACE 2u
/* Of these two csv_acl_set() keeps the value in step with the mode. */
#define CSV_ACL_ACCESS "system.posix_acl_access"
#define CSV_ACL_DEFAULT "system.posix_acl_default"

/* *len: room in (0 = only the length is asked for), length out. -ENODATA, -ERANGE. */
int csv_xattr_get(struct csv_txn *txn, uint64_t ino, const char *name, uint32_t name_len, void *buf,
	uint32_t *len) __attribute__((warn_unused_result, nonnull(1, 3, 6)));
/* Replaces the whole value. -EEXIST, -ENODATA (flags), -E2BIG, -ENOSPC (also: too many names). */
int csv_xattr_set(struct csv_txn *txn, uint64_t ino, const char *name, uint32_t name_len,
	const void *value, uint32_t len, unsigned flags, int64_t now_ns)
	__attribute__((warn_unused_result, nonnull(1, 3)));
/* All names, each with a NUL. *len as above. -ERANGE. */
int csv_xattr_list(struct csv_txn *txn, uint64_t ino, void *buf, uint32_t *len)
	__attribute__((warn_unused_result, nonnull(1, 4)));
/* -ENODATA. */
int csv_xattr_remove(struct csv_txn *txn, uint64_t ino, const char *name, uint32_t name_len,
	int64_t now_ns) __attribute__((warn_unused_result, nonnull));
/* Removes some of them all, before the inode goes; *ret_left: call again. */
int csv_xattr_clear(struct csv_txn *txn, uint64_t ino, bool *ret_left)
	__attribute__((warn_unused_result, nonnull));

/* Gives a file its access list, or a directory its default one, from the value of Linux's attribute
 * (len 0: takes it away). The mode follows the access list; csv_inode_set() of a mode is followed by
 * the list. drop_sgid: also take S_ISGID away. -EINVAL, -E2BIG, -EACCES (a default list for a file),
 * -EOPNOTSUPP (symlink). */
int csv_acl_set(struct csv_txn *txn, uint64_t ino, bool dflt, const void *value, uint32_t len,
	bool drop_sgid, int64_t now_ns, struct csv_attr *ret)
	__attribute__((warn_unused_result, nonnull(1, 8)));
/* What a new inode gets from its directory: the default list, and the mode cut down by that; without
 * one the mode is cut down by umask. */
int csv_acl_inherit(struct csv_txn *txn, uint64_t dir, uint64_t ino, uint32_t umask,
	struct csv_attr *ret) __attribute__((warn_unused_result, nonnull));

/* Whether a file has what a write by an unprivileged user takes away (set-user-id, set-group-id with
 * the right to execute, capabilities); and takes it away. */
int csv_priv_get(struct csv_txn *txn, uint64_t ino, bool *ret)
	__attribute__((warn_unused_result, nonnull));
int csv_priv_drop(struct csv_txn *txn, uint64_t ino) __attribute__((warn_unused_result, nonnull));

/* ---- orphans: inodes without a name ---- */

/* The first orphan with a number above after; *ret = 0: none. */
int csv_orphan_next(struct csv_txn *txn, uint64_t after, uint64_t *ret)
	__attribute__((warn_unused_result, nonnull));
/* Removes an orphan whose extents are all punched and whose attributes are cleared. -EBUSY: they are
 * not. */
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

/* The header blocks of the log, before csv_fs_recover() writes them anew: msg for each that is damaged
 * (*errors of them, at most 2: then the log cannot be replayed). Blocks. */
int csv_check_log(struct csv_fs *fs, void (*msg)(void *arg, const char *text), void *arg,
	uint64_t *ret_errors) __attribute__((warn_unused_result, nonnull(1, 4)));
/* An empty log in place of one that cannot be replayed; what only that held is lost. For an fs that is
 * not open. Blocks. */
int csv_log_reset(struct csv_fs *fs) __attribute__((warn_unused_result, nonnull));

/* ---- repair (repair.c): offline ---- */

struct csv_repair_opts {
	bool write;	/* else it only looks: csv_check() with progress */
	bool safe_only; /* what loses nothing: copies, counts, bitmaps */
	int64_t now_ns; /* for inodes that are made */
	void (*msg)(void *arg, const char *text);   /* for each error: "code: ..." */
	void (*fixed)(void *arg, const char *text); /* for each repair */
	void (*progress)(void *arg, uint64_t done, uint64_t total);
	void *arg;
};
struct csv_repair_report {
	struct csv_check_report check; /* as found by this pass */
	uint64_t fixed, failed;
};
/*
 * One pass: checks the volume, and carries out the first stage (R2) of repairs that it needs. If
 * anything was fixed the caller closes fs and begins anew with a new one, until nothing is left to be
 * fixed. Blocks; the loop's only user is fs. 0 = ran through.
 */
int csv_repair(struct csv_fs *fs, const struct csv_repair_opts *opts,
	struct csv_repair_report *ret) __attribute__((warn_unused_result, nonnull));

#endif
