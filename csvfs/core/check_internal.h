/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between the files of csv_check(). Every message begins with a code of docs/FORMAT.md, 12.
 *
 * K1  Functions here return 0 also when the volume is wrong (that is told by check_say()), and a
 *     negative code only when the check cannot go on: no memory, or the volume has stopped.
 * K2  A block is followed only the first time that it is met: so hostile pointers end somewhere.
 */
#ifndef CSVFS_CORE_CHECK_INTERNAL_H
#define CSVFS_CORE_CHECK_INTERNAL_H

#include "csvfs/core/core_internal.h"
#include "csvfs/core/dir_internal.h"
#include "csvfs/core/extent_internal.h"

struct check_inode {
	uint64_t ino, parent;
	uint32_t nlink;
	uint32_t names, subdirs; /* as met */
	uint64_t named_in;	 /* index of the directory that names it; of the last, if several */
	uint8_t type;		 /* DT_* */
	uint8_t reach;		 /* directories: enum check_reach */
	bool has_entries;
};
enum check_reach { REACH_UNKNOWN, REACH_ON_WAY, REACH_YES, REACH_NO };

struct check_link {
	uint64_t ino, key;
	uint64_t dir; /* index of the directory */
	uint8_t type;
};

struct check {
	struct csv_fs *fs;
	const struct csv_geometry *geom;
	void (*msg)(void *arg, const char *text);
	void *arg;
	struct csv_check_report *report;

	uint8_t **used; /* by bitmap of the volume: a bit for each block met; NULL = none */
	struct check_inode *inodes; /* by number */
	uint64_t nr_inodes, max_inodes;
	struct check_link *links;
	uint64_t nr_links, max_links;
	uint64_t *orphans; /* by number */
	uint64_t nr_orphans, max_orphans;
	struct csv_root root;
};

/* ---- check.c ---- */

void check_say(struct check *c, const char *code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Reads a block through the engine. *ret_ok: it is as it should be; else that was told. */
int check_read(struct check *c, uint64_t blk, enum csv_blk_type type, const char *whose, void *buf,
	bool *ret_ok) __attribute__((warn_unused_result));
/* Room for one more element. */
int check_grow(void *array, uint64_t nr, uint64_t *max, size_t size)
	__attribute__((warn_unused_result));
struct check_inode *check_find_inode(struct check *c, uint64_t ino);

/* ---- check_space.c ---- */

int check_space_init(struct check *c) __attribute__((warn_unused_result));
void check_space_done(struct check *c);
/* Notes that these blocks have an owner. False: they have one already, or cannot have one. */
int check_mark(struct check *c, uint64_t blk, uint64_t nr, const char *whose, bool *ret_ok)
	__attribute__((warn_unused_result));
/* Bitmaps and counts against what was met. */
int check_space(struct check *c) __attribute__((warn_unused_result));

/* ---- check_tree.c ---- */

/* Walks a tree; *ret_nr_blks is how many nodes it has. fn is called for each entry, in order. */
int check_tree(struct check *c, const struct csv_tree_root *root, uint64_t owner,
	const char *whose,
	int (*fn)(struct check *c, void *arg, uint64_t key, const void *val, uint32_t len),
	void *arg, uint64_t *ret_nr_blks) __attribute__((warn_unused_result));

/* ---- check_inode.c ---- */

/* The inode tree, and each inode's own. */
int check_inodes(struct check *c) __attribute__((warn_unused_result));
int check_orphans(struct check *c) __attribute__((warn_unused_result));

/* ---- check_dir.c ---- */

int check_dir(struct check *c, uint64_t index, const struct csv_inode_rec *rec, const char *whose,
	uint64_t *ret_nr_blks) __attribute__((warn_unused_result));
/* Names against inodes: links, parents, what cannot be reached. */
void check_links(struct check *c);

#endif
