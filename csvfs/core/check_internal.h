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

#include "csvfs/core/check_plan.h"
#include "csvfs/core/core_internal.h"
#include "csvfs/core/dir_internal.h"
#include "csvfs/core/extent_internal.h"

struct check_inode {
	uint64_t ino, parent, base;
	uint32_t nlink; /* layers: refs */
	uint32_t depth;
	uint32_t names, subdirs; /* as met */
	uint64_t named_in;	 /* index of the directory that names it; of the last, if several */
	uint64_t link;		 /* that name: an index, too; directories: of the one to keep */
	uint8_t type;		 /* DT_* */
	uint8_t reach;		 /* directories: enum check_reach */
	bool has_entries, is_layer;
};
enum check_reach { REACH_UNKNOWN, REACH_ON_WAY, REACH_YES, REACH_NO };

struct check_link {
	uint64_t ino, key;
	uint64_t dir; /* index of the directory */
	uint8_t type;
};

/* Blocks in use that were not met. trusted: a bitmap says so; else it is damaged. */
struct check_stray {
	uint64_t blk, nr;
	bool trusted;
};

/* What the inodes that were met count for a project. */
struct check_project {
	uint32_t projid;
	bool told; /* it has an entry */
	uint64_t blks, inodes;
};

struct check_claims;

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
	struct check_project *projects; /* by number */
	uint64_t nr_projects, max_projects;
	struct csv_root root;
	bool have_root;
	uint64_t *bad; /* blocks that could not be had */
	uint64_t nr_bad, max_bad;
	uint64_t nr_read;
	struct check_stray *stray;
	uint64_t nr_stray, max_stray;

	struct check_plan *plan;	    /* what could be done about it; NULL = not wanted */
	struct check_claims *claims;	    /* repair_dup.c: who has which blocks; else NULL */
	struct check_fix as;		    /* claims: how to take what is marked away again */
	uint64_t leaf_seq;		    /* of the leaf that is looked at */
	uint64_t holder;		    /* the inode whose tree is looked at; 0 = the root block */
	bool in_xattrs;			    /* its tree of attributes */
	uint64_t structure;		    /* places where trees are damaged: not all was met */
	bool leaks;			    /* blocks are marked in use, and nobody's */
	void (*progress)(void *arg, uint64_t done, uint64_t total); /* may be NULL */
};

/* ---- check.c ---- */

void check_say(struct check *c, const char *code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* A whole check, into c, which begins as in csv_check(). */
int check_run(struct check *c) __attribute__((warn_unused_result));
void check_done(struct check *c);

/* ---- check_read.c ---- */

/* Asks for a block that will be read soon. */
void check_ahead(struct check *c, uint64_t blk);
/* Likewise what lies behind slot pos of an inner node; called for each slot in turn. */
void check_tree_ahead(struct check *c, const struct csv_tree_node *n, uint32_t pos);
/* Reads a block through the engine. *ret_ok: it is as it should be; else that was told. */
int check_read(struct check *c, uint64_t blk, enum csv_blk_type type, const char *whose, void *buf,
	bool *ret_ok) __attribute__((warn_unused_result));
/* Was that found out to be impossible? */
bool check_is_bad(const struct check *c, uint64_t blk);

/* ---- check.c ---- */

/* Room for one more element. */
int check_grow(void *array, uint64_t nr, uint64_t *max, size_t size)
	__attribute__((warn_unused_result));
struct check_inode *check_find_inode(struct check *c, uint64_t ino);

/* ---- check_space.c ---- */

int check_space_init(struct check *c) __attribute__((warn_unused_result));
void check_space_done(struct check *c);
/* Are these blocks that one can have? */
bool check_in_group(const struct check *c, uint64_t blk, uint64_t nr);
/* Notes that these blocks have an owner. False: they have one already, or cannot have one. */
int check_mark(struct check *c, uint64_t blk, uint64_t nr, const char *whose, bool *ret_ok)
	__attribute__((warn_unused_result));
/* Word i of a bitmap as it should be, by what was met. */
uint64_t check_want_word(struct check *c, uint64_t ag, uint32_t bitmap, uint32_t i);
/* Bitmaps and counts against what was met. */
int check_space(struct check *c) __attribute__((warn_unused_result));

/* ---- check_tree.c ---- */

/* Walks a tree; *ret_nr_blks is how many nodes it has. fn is called for each entry, in order. */
int check_tree(struct check *c, const struct csv_tree_root *root, uint64_t owner,
	const char *whose,
	int (*fn)(struct check *c, void *arg, uint64_t key, const void *val, uint32_t len),
	void *arg, uint64_t *ret_nr_blks) __attribute__((warn_unused_result));

/* ---- check_log.c ---- */

int check_slots(struct check *c) __attribute__((warn_unused_result));

/* ---- check_lost.c: tree nodes among the blocks that were not met ---- */

/* Unlike those of the volume's own trees, the nodes of an inode's trees don't say which of them. */
enum { NODE_UNKNOWN, NODE_DIR, NODE_EXTENTS, NODE_XATTRS };

struct check_node {
	uint64_t blk, owner, seq;
	uint64_t first, last;  /* keys of its first and last slot */
	uint64_t first_child;  /* inner nodes */
	uint8_t level, type;   /* type: what a leaf holds, by its first entry: NODE_* */
	bool child, trusted;   /* another one leads to it; see check_stray */
};
struct check_nodes {
	struct check_node *nodes; /* by block */
	uint64_t nr, max;
};
int check_find_nodes(struct check *c, struct check_nodes *ret) __attribute__((warn_unused_result));
struct check_node *check_node_at(const struct check_nodes *nodes, uint64_t blk);
/* The smallest key below a node, as far as can be seen. */
uint64_t check_node_min(const struct check_nodes *nodes, const struct check_node *node);
/* What the leaves below a node hold, as far as can be seen. */
uint8_t check_node_type(const struct check_nodes *nodes, const struct check_node *node);
/* Trees whose inodes are gone. */
int check_lost(struct check *c) __attribute__((warn_unused_result));

/* ---- repair_dup.c ---- */

/* Notes who it is that marks these blocks, if somebody else does, too. */
int check_claim(struct check *c, uint64_t blk, uint64_t nr) __attribute__((warn_unused_result));

/* ---- check_inode.c ---- */

/* The inode tree, and each inode's own. */
int check_inodes(struct check *c) __attribute__((warn_unused_result));
/* Layers against the inodes above them. */
void check_layers(struct check *c);
int check_orphans(struct check *c) __attribute__((warn_unused_result));

/* ---- check_quota.c ---- */

/* Notes what an inode counts for its project; and compares. */
int check_project_of(struct check *c, const struct csv_inode_rec *rec)
	__attribute__((warn_unused_result));
int check_quotas(struct check *c) __attribute__((warn_unused_result));

/* ---- check_dir.c ---- */

int check_dir(struct check *c, uint64_t index, const struct csv_inode_rec *rec, const char *whose,
	uint64_t *ret_nr_blks) __attribute__((warn_unused_result));
/* Names against inodes: links, parents, what cannot be reached. */
void check_links(struct check *c);

/* ---- check_xattr.c ---- */

int check_xattrs(struct check *c, uint64_t ino, const struct csv_tree_root *root,
	const char *whose, uint64_t *ret_nr_blks) __attribute__((warn_unused_result));
int check_symlink(struct check *c, uint64_t ino, const struct csv_inode_rec *rec,
	const char *whose, uint64_t *ret_nr_blks) __attribute__((warn_unused_result));

#endif
