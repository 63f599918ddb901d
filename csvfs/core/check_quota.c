/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is counted for projects, against the inodes that were met. */
#include <errno.h>
#include <string.h>

#include "csvfs/core/check_internal.h"
#include "csvfs/core/quota_internal.h"
#include "util/err.h"

typedef unsigned long long ull;

/* The project's place among those that were met; or where it goes. */
static uint64_t place(const struct check *c, uint32_t projid)
{
	uint64_t lo = 0, hi = c->nr_projects;

	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;

		if (c->projects[mid].projid < projid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

int check_project_of(struct check *c, const struct csv_inode_rec *rec)
{
	uint32_t projid = le32_get(rec->projid);
	uint64_t at = place(c, projid);
	struct check_project *p;
	int err;

	if (!projid || csv_inode_is_layer(rec))
		return 0;
	if (at == c->nr_projects || c->projects[at].projid != projid) {
		err = check_grow(&c->projects, c->nr_projects, &c->max_projects,
			sizeof(*c->projects));
		if (err)
			return err;
		memmove(c->projects + at + 1, c->projects + at,
			(c->nr_projects - at) * sizeof(*c->projects));
		c->projects[at] = (struct check_project){ .projid = projid };
		c->nr_projects++;
	}
	p = &c->projects[at];
	p->blks += csv_quota_blks(rec);
	p->inodes++;
	return 0;
}

static void compare(struct check *c, uint32_t projid, uint64_t blks, uint64_t inodes,
	const struct check_project *has)
{
	if (c->structure || (blks == has->blks && inodes == has->inodes))
		return;
	check_say(c, "quota-use", "project %u counts %llu blocks and %llu inodes, it has %llu and %llu",
		projid, (ull)blks, (ull)inodes, (ull)has->blks, (ull)has->inodes);
	check_fix(c, &(struct check_fix){ .kind = FIX_QUOTA_USE, .ino = projid, .arg = has->blks,
			     .key = has->inodes });
}

static int on_project(struct check *c, void *arg, uint64_t key, const void *val, uint32_t len)
{
	const struct check_project none = { 0 };
	const struct csv_quota_rec *rec = val;
	const char *why;
	uint64_t at;

	if (csv_quota_verify(key, val, len, &why)) {
		check_say(c, "bad-quota", "project %llu: its entry %s", (ull)key, why);
		check_fix(c, &(struct check_fix){ .kind = FIX_QUOTA_DROP, .key = key });
		return 0;
	}
	at = place(c, (uint32_t)key);
	if (at < c->nr_projects && c->projects[at].projid == key) {
		c->projects[at].told = true;
		compare(c, (uint32_t)key, le64_get(rec->blks), le64_get(rec->inodes),
			&c->projects[at]);
	} else {
		compare(c, (uint32_t)key, le64_get(rec->blks), le64_get(rec->inodes), &none);
	}
	return 0;
}

int check_quotas(struct check *c)
{
	uint64_t nr_blks;
	int err = check_tree(c, &c->root.quotas, CSV_OWNER_QUOTAS, "the projects", on_project, NULL,
		&nr_blks);

	for (uint64_t i = 0; i < c->nr_projects && !err; i++)
		if (!c->projects[i].told)
			compare(c, c->projects[i].projid, 0, 0, &c->projects[i]);
	return err;
}
