/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Repairs of what is counted for projects. */
#include <errno.h>

#include "csvfs/core/quota_internal.h"
#include "csvfs/core/repair_internal.h"

int repair_quota_drop(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	struct csv_tree tree;
	const void *val;
	const char *why;
	uint32_t len;
	int err = csv_root_tree_get(txn, CSV_OWNER_QUOTAS, &tree);

	if (!err)
		err = csv_tree_get(txn, &tree, fix->key, &val, &len);
	if (!err && csv_quota_verify(fix->key, val, len, &why) == 0)
		return -EALREADY;
	if (!err)
		err = csv_tree_remove(txn, &tree, fix->key);
	if (err == -ENOENT)
		return -EALREADY;
	return err ? err : csv_root_tree_put(txn, &tree);
}

int repair_quota_use(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	return csv_quota_set_use(txn, (uint32_t)fix->ino, fix->arg, fix->key);
}
