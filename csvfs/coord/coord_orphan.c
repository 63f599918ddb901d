/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Orphans: inodes without a name. Their space is freed in small transactions once no node has them
 * open; the orphan tree is the intent that a takeover goes on with (docs/DESIGN.md, E7).
 *
 * All of that is in the inode's section, with every token recalled (C4): a node that has it open in
 * a way that we do not know of yet (its OPEN is under way) may have a layout. ci->freeing makes such
 * an OPEN wait for the section and look again.
 *
 * A directory may be open on a node that has sent no OPEN (coord_seen.c, S4): who takes its last name has
 * heard of that before it comes here. Between a node's HELLO and its last REASSERT there is nothing that
 * it could be told to forget: nothing is freed then, and told() looks again.
 *
 * One scan runs at a time, and it begins no more while FREEING_MAX are being freed: a takeover of a
 * million orphans takes no more memory than one of a few, and others have their turn at the engine.
 */
#include <errno.h>
#include <sys/stat.h>

#include "csvfs/coord/coord_internal.h"
#include "util/err.h"
#include "util/log.h"

#define FREEING_MAX 64u

static void free_next(struct request *r, int status);
static void scan_go_on(struct coord *coord);

static int run_punch(struct request *r, struct csv_txn *txn)
{
	struct csv_attr attr;
	int err = csv_inode_get(txn, r->ci->hash.key, &attr);

	if (err)
		return err;
	r->left = 0;
	if (attr.nlink || r->ci->opens)
		return -ECANCELED; /* it has a name, or is open again: nothing to free */
	if (attr.base)
		r->base = attr.base;
	if (S_ISREG(attr.mode)) { /* an inline file may have space beside its bytes */
		err = csv_extent_punch(txn, r->ci->hash.key, 0, UINT64_MAX, &r->left);
		if (err || r->left)
			return err;
	}
	if (attr.has_xattrs) {
		bool left;
		err = csv_xattr_clear(txn, r->ci->hash.key, &left);
		r->left = 1; /* and the rest in a transaction of its own */
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
	struct coord *coord = r->coord;
	ci->freeing = false;
	coord->nr_freeing--;
	if (status == 0 && r->base)
		orphan_check(coord, r->base);
	request_finish(r, 0);
	scan_go_on(coord);
}

static void free_entered(struct request *r, int status)
{
	request_run(r, run_punch, free_next);
}

/* A node has not answered yet whether it has it open (S4): forget_done() comes back here then. */
static bool is_asked(struct coord *coord, uint64_t ino)
{
	struct list *pos;

	list_for_each (pos, &coord->callbacks) {
		struct callback *cb = list_entry(pos, struct callback, link);
		if (cb->op == CSVP_FORGET && cb->ino == ino)
			return cb->orphan = true;
	}
	return false;
}

void orphan_check(struct coord *coord, uint64_t ino)
{
	struct coord_inode *ci = ci_find(coord, ino);

	if (!coord->serving || coord->telling || (ci && (ci->opens || ci->freeing)) ||
		is_asked(coord, ino))
		return;
	struct request *r = request_new_internal(coord, 0);
	if (!r || ci_attach(r, ino)) {
		if (r)
			request_finish(r, -ENOMEM);
		log_warn("inode %llu: no memory to free it now", (unsigned long long)ino);
		return;
	}
	r->ci->freeing = true;
	coord->nr_freeing++;
	section_enter(r, ALL_NODES, CSVP_NONE, free_entered);
}

static int run_scan(struct request *r, struct csv_txn *txn)
{
	return csv_orphan_next(txn, r->blk, &r->left);
}

static void scan_next(struct request *r, int status)
{
	struct coord *coord = r->coord;

	if (status == 0 && r->left) {
		orphan_check(coord, r->left);
		r->blk = r->left;
		coord->scan_waits = true;
		scan_go_on(coord);
		return;
	}
	coord->scan = NULL;
	request_finish(r, status);
	if (coord->scan_again)
		orphan_scan(coord);
}

static void scan_go_on(struct coord *coord)
{
	if (!coord->scan_waits || coord->nr_freeing >= FREEING_MAX)
		return;
	coord->scan_waits = false;
	request_run(coord->scan, run_scan, scan_next);
}

/* After a takeover: goes on with what an earlier coordinator had begun. */
void orphan_scan(struct coord *coord)
{
	coord->scan_again = coord->scan;
	if (coord->scan)
		return;
	coord->scan = request_new_internal(coord, 0);
	if (coord->scan)
		request_run(coord->scan, run_scan, scan_next);
}
