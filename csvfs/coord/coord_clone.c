/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Clones (docs/DESIGN.md, 4), and maps for who only looks.
 *
 * CLONE is in the sections of both inodes, with every token on them recalled. An internal request
 * stands in the second section and ends with r. Sections are entered by rising inode number, so that two clones never
 * wait for each other.
 */
#include <errno.h>
#include <stdlib.h>

#include "csvfs/coord/coord_internal.h"
#include "util/checked.h"

static int run_clone(struct request *r, struct csv_txn *txn)
{
	const struct csvp_clone *b = r->body;
	int err = csv_clone(txn, le64_get(b->src), le64_get(b->dst), le64_get(b->off_bytes),
		le64_get(b->len_bytes), (int64_t)le64_get(b->now_ns), &r->attr);

	r->size = r->attr.size;
	return err;
}

/* Both sections are ours. */
static void clone_entered(struct request *other, int status)
{
	struct request *r = other->other;

	r->other = other;
	request_run(r, run_clone, request_finish);
}

static void clone_first(struct request *r, int status)
{
	const struct csvp_clone *b = r->body;
	struct request *other = request_new_internal(r->coord, 0);

	if (!other || ci_attach(other, MAX(le64_get(b->src), le64_get(b->dst)))) {
		if (other)
			request_finish(other, -ENOMEM);
		request_finish(r, -ENOMEM);
		return;
	}
	other->other = r;
	section_enter(other, ALL_NODES, CSVP_NONE, clone_entered);
}

void start_clone(struct request *r)
{
	const struct csvp_clone *b = r->body;
	int err = 0;

	if (le64_get(b->src) == le64_get(b->dst) || le64_get(b->off_bytes) > INT64_MAX)
		err = -EINVAL;
	else
		err = ci_attach(r, MIN(le64_get(b->src), le64_get(b->dst)));
	if (err)
		request_finish(r, err);
	else
		section_enter(r, ALL_NODES, CSVP_NONE, clone_first);
}

int run_map(struct request *r, struct csv_txn *txn)
{
	const struct csvp_map *b = r->body;
	uint64_t blk = le64_get(b->blk), nr = le64_get(b->nr);
	int err = csv_inode_get(txn, le64_get(b->ino), &r->attr);

	r->mode = CSVP_NONE;
	r->nr_ext = 0;
	if (!r->ext)
		r->ext = malloc(CSVP_MAX_EXTENTS * sizeof(*r->ext));
	if (!r->ext)
		return -ENOMEM;
	if (!err && !range_ok(blk, nr, CSVP_FILE_MAX_BLKS))
		return -EINVAL;
	return err ? err : csv_extent_map(txn, r->attr.ino, blk, nr, r->ext, CSVP_MAX_EXTENTS, &r->nr_ext);
}
