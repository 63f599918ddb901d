/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Layers: what clones have in common (docs/DESIGN.md, 4).
 *
 * Y1  A layer is an inode without a name whose tree never changes while it has refs, the number of
 *     inodes right above it; with the last of them it becomes an orphan.
 * Y2  What an inode's own tree does not say (holes, and unwritten extents without CSV_EXT_COVER) is as
 *     the layer below says, for blocks below base_blks; a hole there, zeroes.
 * Y3  Each block has one owner: the one tree that maps it.
 */
#ifndef CSVFS_CORE_LAYER_H
#define CSVFS_CORE_LAYER_H

#include "csvfs/core/extent_internal.h"

/* An inode's tree and those below it. */
struct csv_layers {
	uint32_t nr;
	struct {
		struct csv_tree tree;
		uint64_t limit; /* it says nothing of blocks from here on */
	} at[CSV_DEPTH_MAX + 1];
};

int csv_layers_load(struct csv_txn *txn, const struct csv_inode *inode, struct csv_layers *ret)
	__attribute__((warn_unused_result));

/* A piece of a file: how its first block and those behind it, up to end, are. */
struct csv_piece {
	uint64_t end;
	enum csv_ext_state state;
	uint64_t phys;	   /* of what state says; 0 for holes */
	uint64_t own_phys; /* unwritten space of its own that it hides or is; 0 = there is none */
};
/* The piece at pos, which ends at or before end. */
int csv_layers_find(struct csv_txn *txn, struct csv_layers *layers, uint64_t pos, uint64_t end,
	struct csv_piece *ret) __attribute__((warn_unused_result));

/* inode lets go of its base, which is freed with its last reference. The caller stores inode. */
int csv_layer_drop(struct csv_txn *txn, struct csv_inode *inode)
	__attribute__((warn_unused_result));

#endif
