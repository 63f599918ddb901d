/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of csv_repair(); what holds for all of them stands in repair.c. */
#ifndef CSVFS_CORE_REPAIR_INTERNAL_H
#define CSVFS_CORE_REPAIR_INTERNAL_H

#include "csvfs/core/btree_internal.h"
#include "csvfs/core/check_internal.h"
#include "csvfs/core/root_internal.h"

struct repair {
	struct csv_fs *fs;
	struct check *c;
	struct check_plan *plan;
	const struct csv_repair_opts *opts;
	struct csv_repair_report *report;

	struct jnl_images *images;
	struct check_nodes nodes; /* by block */
	bool have_nodes;

	/* Got ready for the fix at hand, outside of its transaction. */
	uint8_t *image;	 /* what the log has of its block; else NULL */
	uint8_t *buf;	 /* 4 KiB */
	uint64_t *found; /* children, of a node that is made anew, in order */
	uint64_t *found_keys;
	uint32_t nr_found;
};

/* What carries a fix out. In a transaction, from run(): 0, -EALREADY: there is nothing to be done any
 * more, or another code: it cannot be. */
typedef int fix_fn(struct csv_txn *txn, struct repair *r, const struct check_fix *fix);

/* ---- repair_space.c ---- */
int repair_super(struct repair *r, const struct check_fix *fix) __attribute__((warn_unused_result));
int repair_slot(struct repair *r, const struct check_fix *fix) __attribute__((warn_unused_result));
int repair_root_free_sum(struct repair *r, uint64_t *ret) __attribute__((warn_unused_result));
fix_fn repair_session, repair_group_used, repair_group, repair_root_free, repair_next_ino,
	repair_nr_inodes;

/* ---- repair_node.c: what is needed to make a block anew ---- */
/* Gets image and found ready. */
int repair_node_prepare(struct repair *r, const struct check_fix *fix)
	__attribute__((warn_unused_result));
fix_fn repair_node, repair_root_blk;

/* ---- repair_inode.c: records, and the counts in them ---- */
fix_fn repair_inode_rec, repair_lost_inode, repair_lost_layer, repair_symlink, repair_layer_drop, repair_depth,
	repair_parent, repair_nlink, repair_inode_blks, repair_xattr_blks, repair_dir_size;

/* ---- repair_tree.c: the shape of trees, and what is in them ---- */
fix_fn repair_cut, repair_level, repair_clear_tree, repair_keys, repair_ext_drop,
	repair_ext_overlap, repair_ext_hole, repair_xattr_drop, repair_orphan_val;
/* The tree that a fix speaks of. inode is loaded if it is an inode's. */
int repair_tree_get(struct csv_txn *txn, const struct check_fix *fix, struct csv_inode *inode,
	struct csv_tree *ret) __attribute__((warn_unused_result));
int repair_tree_put(struct csv_txn *txn, const struct check_fix *fix, struct csv_inode *inode,
	const struct csv_tree *tree) __attribute__((warn_unused_result));

/* ---- repair_quota.c ---- */
fix_fn repair_quota_drop, repair_quota_use;

/* ---- repair_dup.c ---- */
/* Finds out who has the blocks that were met twice, and plans who gives them up. */
int repair_dups(struct repair *r) __attribute__((warn_unused_result));

/* ---- repair_name.c ---- */
fix_fn repair_ent_drop, repair_ent_move, repair_ent_type, repair_root_dir, repair_orphan_del,
	repair_orphan_add, repair_lost_found;

#endif
