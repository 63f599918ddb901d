/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "csvfs/core/alloc.h"
#include "csvfs/core/root_internal.h"

int csv_statfs(struct csv_txn *txn, struct csv_statfs *ret)
{
	const struct csv_geometry *geom = csv_fs_geometry(csv_txn_fs(txn));
	const struct csv_root *root;
	int err = csv_root_read(txn, &root);

	if (err)
		return err;
	uint64_t free_blks = le64_get(root->free_blks), reserve = csv_alloc_reserve(txn);
	*ret = (struct csv_statfs){
		.nr_blks = geom->nr_blks,
		.free_blks = free_blks,
		.avail_blks = free_blks > reserve ? free_blks - reserve : 0,
		.nr_inodes = le64_get(root->nr_inodes),
		.cluster_blks = geom->cluster_blks,
	};
	return 0;
}
