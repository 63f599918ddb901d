/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Orphans: inodes without a name. Their space is freed in small transactions once no node has them
 * open; the orphan tree is the intent that a takeover goes on with (docs/DESIGN.md, E7).
 */
#include <errno.h>
#include <sys/stat.h>

#include "csvfs/coord/coord_internal.h"
#include "util/err.h"
#include "util/log.h"

static void free_next(struct request *r, int status);

static int run_punch(struct request *r, struct csv_txn *txn)
{
	struct csv_attr attr;
	int err = csv_inode_get(txn, r->ci->hash.key, &attr);

	if (err)
		return err;
	r->left = 0;
	if (attr.nlink)
		return -ECANCELED; /* it has a name: nothing to free */
	if (S_ISREG(attr.mode)) { /* an inline file may have space beside its bytes */
		err = csv_extent_punch(txn, r->ci->hash.key, 0, UINT64_MAX, &r->left);
		if (err || r->left)
			return err;
	}
	return csv_orphan_free(txn, r->ci->hash.key);
}

static void free_next(struct request *r, int status)
{
	struct coord_inode *ci = r->ci;

	if (status == 0 && r->left) {
		request_run(r, run_punch, free_next);
		return;
	}
	if (status && status != -ECANCELED && status != -ESTALE)
		log_warn("inode %llu: freeing its space: %s; a later takeover or check goes on",
			(unsigned long long)ci->hash.key, err_str(status));
	ci->freeing = false;
	request_finish(r, 0);
}

/* Frees ino if it has no name and nobody has it open. */
void orphan_check(struct coord *coord, uint64_t ino)
{
	struct coord_inode *ci = ci_find(coord, ino);

	if (ci && (ci->opens || ci->freeing))
		return;
	struct request *r = request_new_internal(coord, 0);
	if (!r || ci_attach(r, ino)) {
		if (r)
			request_finish(r, -ENOMEM);
		log_warn("inode %llu: no memory to free it now", (unsigned long long)ino);
		return;
	}
	r->ci->freeing = true;
	request_run(r, run_punch, free_next);
}

static int run_scan(struct request *r, struct csv_txn *txn)
{
	return csv_orphan_next(txn, r->blk, &r->left);
}

static void scan_next(struct request *r, int status)
{
	if (status == 0 && r->left) {
		orphan_check(r->coord, r->left);
		r->blk = r->left;
		request_run(r, run_scan, scan_next);
		return;
	}
	request_finish(r, status);
}

/* After a takeover: goes on with what an earlier coordinator had begun. */
void orphan_scan(struct coord *coord)
{
	struct request *r = request_new_internal(coord, 0);

	if (r)
		request_run(r, run_scan, scan_next);
}
