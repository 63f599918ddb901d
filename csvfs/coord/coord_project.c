/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Projects: which one an inode is of, what is counted for them, their limits (csvfs/core/quota.c). */
#include <errno.h>

#include "csvfs/coord/coord_internal.h"

int run_project_get(struct request *r, struct csv_txn *txn)
{
	const struct csvp_project *b = r->body;
	uint64_t ino = le64_get(b->ino);
	int err = 0;

	r->attr = (struct csv_attr){ .projid = le32_get(b->projid) };
	if (ino)
		err = csv_inode_get(txn, ino, &r->attr);
	if (err)
		return err;
	if (le32_get(b->flags) & CSVP_PROJECT_NEXT)
		return csv_project_next(txn, r->attr.projid, &r->project);
	return csv_project_get(txn, r->attr.projid, &r->project);
}

void reply_project(struct request *r)
{
	struct csvp_project *out = csvp_put(&r->reply, sizeof(*out));

	if (out)
		*out = (struct csvp_project){
			.ino = le64_of(r->attr.ino),
			.projid = le32_of(r->project.projid),
			.flags = le32_of(r->attr.projinherit ? CSVP_PROJECT_INHERIT : 0),
			.blks = le64_of(r->project.blks),
			.inodes = le64_of(r->project.inodes),
			.limit_blks = le64_of(r->project.limit_blks),
			.limit_inodes = le64_of(r->project.limit_inodes),
		};
}

int run_project_set(struct request *r, struct csv_txn *txn)
{
	const struct csvp_project *b = r->body;
	struct csv_attr set = {
		.projid = le32_get(b->projid),
		.projinherit = le32_get(b->flags) & CSVP_PROJECT_INHERIT,
		.ctime_ns = (int64_t)le64_get(b->now_ns),
	};
	uint64_t ino = le64_get(b->ino);

	if (!ino)
		return csv_project_limit(txn, set.projid, le64_get(b->limit_blks),
			le64_get(b->limit_inodes), &r->project);
	return csv_inode_set(txn, ino, CSV_SET_PROJECT | CSV_SET_CTIME, &set, &r->attr);
}
