/* libs: core */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Projects: what is counted, inherited and refused, next to a file of no project (the twin that the
 * same things are allowed to). After each step the check counts again.
 */
#include <errno.h>
#include <stdlib.h>

#include "tests/unit/core_ops.h"

#define ROOT CSV_ROOT_INO
#define P 1000u

CALL(project_limit, c->max, c->blk, c->nr, c->out)
CALL(project_get, c->max, c->out)
CALL(project_next, c->max, c->out)
CALL(statfs_at, c->ino, c->statfs)
CALL(clone, c->ino, c->dir, c->blk, c->nr, 7, c->attr)
CALL(xattr_set, c->ino, c->name, c->len, c->buf, c->max, 0, 7)
CALL(xattr_clear, c->ino, c->out)

static struct csv_project project(struct engine *e, uint32_t projid)
{
	struct csv_project p;

	CHECK_OK(DO(e, project_get, .max = projid, .out = &p));
	return p;
}

static void limit(struct engine *e, uint64_t blks, uint64_t inodes)
{
	struct csv_project p;

	CHECK_OK(DO(e, project_limit, .max = P, .blk = blks, .nr = inodes, .out = &p));
	CHECK_EQ(p.limit_blks, blks);
	CHECK_EQ(p.limit_inodes, inodes);
}

static int set_project(struct engine *e, uint64_t ino, uint32_t projid, bool inherits)
{
	struct csv_attr a = { .projid = projid, .projinherit = inherits };

	return t_set(e, ino, CSV_SET_PROJECT, &a, NULL);
}

static uint64_t make(struct engine *e, uint64_t dir, const char *name, uint32_t mode)
{
	struct csv_attr a;

	CHECK_OK(t_create(e, dir, name, mode, &a));
	return a.ino;
}

static uint64_t blks_of(struct engine *e, uint64_t ino)
{
	struct csv_attr a;

	CHECK_OK(t_get(e, ino, &a));
	return a.nr_blks;
}

static void test_inherit(struct engine *e, uint64_t dir)
{
	struct csv_attr a, b;
	uint64_t sub, file, plain, other;

	CHECK_OK(set_project(e, dir, P, true));
	sub = make(e, dir, "sub", S_IFDIR | 0755);
	file = make(e, sub, "file", S_IFREG | 0644);
	CHECK_OK(t_get(e, sub, &a));
	CHECK(a.projid == P && a.projinherit);
	CHECK_OK(t_get(e, file, &a));
	CHECK(a.projid == P && !a.projinherit);
	CHECK_EQ(project(e, P).inodes, 3);
	/* Only directories inherit. */
	CHECK_OK(set_project(e, file, P, true));
	CHECK_OK(t_get(e, file, &a));
	CHECK(!a.projinherit);

	plain = make(e, ROOT, "plain", S_IFREG | 0644);
	other = make(e, ROOT, "other", S_IFDIR | 0755);
	CHECK_EQ(t_link(e, plain, sub, "no", &a), -EXDEV);
	CHECK_EQ(t_rename(e, ROOT, "plain", sub, "no", 0, &a, &b), -EXDEV);
	CHECK_EQ(t_rename(e, ROOT, "other", sub, "no", 0, &a, &b), -EXDEV);
	CHECK_EQ(t_rename(e, sub, "file", ROOT, "plain", CSV_RENAME_EXCHANGE, &a, &b), -EXDEV);
	CHECK_EQ(t_rename(e, ROOT, "plain", sub, "file", CSV_RENAME_EXCHANGE, &a, &b), -EXDEV);
	CHECK_OK(t_rename(e, sub, "file", dir, "file", 0, &a, &b));
	/* Out of a project is no question; and so with a directory that does not inherit. */
	CHECK_OK(set_project(e, other, 2, false));
	CHECK_OK(t_link(e, plain, other, "yes", &a));
	CHECK_EQ(project(e, 2).inodes, 1);
	CHECK_OK(set_project(e, other, 0, false));
	CHECK_EQ(project(e, 2).inodes, 0);
	t_check(e);
}

/* What is counted is what stat(2) says, of each file. */
static void test_count(struct engine *e, uint64_t dir)
{
	uint64_t a, b, before = project(e, P).blks;
	struct csv_attr attr = { .size = 64 * CSV_BLOCK_BYTES };
	char value[3000];
	bool left;

	a = make(e, dir, "a", S_IFREG | 0644);
	CHECK_OK(t_alloc(e, a, 0, 64));
	CHECK_OK(t_written(e, a, 0, 64));
	CHECK_OK(t_set(e, a, CSV_SET_SIZE, &attr, NULL));
	CHECK_EQ(project(e, P).blks - before, blks_of(e, a));
	memset(value, 'v', sizeof(value));
	CHECK_OK(DO(e, xattr_set, .ino = a, .name = "user.x", .len = 6, .buf = value,
		.max = sizeof(value)));
	CHECK_EQ(project(e, P).blks - before, blks_of(e, a));
	b = make(e, dir, "b", S_IFREG | 0644);
	CHECK_OK(DO(e, clone, .ino = a, .dir = b, .blk = 0, .nr = UINT64_MAX, .attr = &attr));
	CHECK(attr.base);
	CHECK_EQ(project(e, P).blks - before, blks_of(e, a) + blks_of(e, b));
	CHECK(blks_of(e, b) >= 64);
	t_check(e);
	/* A clone out of the project costs nothing there. */
	CHECK_OK(set_project(e, b, 0, false));
	CHECK_EQ(project(e, P).blks - before, blks_of(e, a));
	CHECK_OK(t_unlink(e, dir, "a", false, &attr));
	CHECK_OK(t_unlink(e, dir, "b", false, &attr));
	do
		CHECK_OK(DO(e, xattr_clear, .ino = a, .out = &left));
	while (left);
	t_reap(e);
	t_reap(e);
	CHECK_EQ(project(e, P).blks, before);
	t_check(e);
}

static void test_space(struct engine *e, uint64_t dir, uint64_t plain)
{
	uint64_t used = project(e, P).blks, ino = make(e, dir, "big", S_IFREG | 0644), done = 0;
	struct csv_statfs st;
	struct csv_attr a;
	int err;

	used = project(e, P).blks;
	limit(e, used + 100, 0);
	CHECK_OK(DO(e, statfs_at, .ino = dir, .statfs = &st));
	CHECK_EQ(st.nr_blks, used + 100);
	CHECK_EQ(st.avail_blks, 100);
	CHECK_OK(DO(e, statfs_at, .ino = plain, .statfs = &st));
	CHECK(st.nr_blks > 10000);

	/* All that is left, at once; then nothing. Node of the tree included. */
	CHECK_OK(t_alloc_some(e, ino, 0, 4096, &done));
	CHECK_EQ(done, 99);
	CHECK_EQ(project(e, P).blks, used + 100);
	CHECK_EQ(t_alloc_some(e, ino, done, 1, &done), -EDQUOT);
	CHECK_EQ(t_alloc(e, ino, 5000, 16), -EDQUOT);
	CHECK_OK(t_alloc(e, plain, 0, 4096));
	/* What was given is written nevertheless, and what is freed may be used again. */
	for (uint64_t blk = 0; blk < 99; blk += 2)
		CHECK_OK(t_written(e, ino, blk, 1));
	CHECK_OK(t_punch(e, ino, 40, 20));
	CHECK_EQ(project(e, P).blks, used + 80);
	CHECK_OK(t_alloc(e, ino, 200, 18));
	t_check(e);
	/* A clone is a whole file. */
	limit(e, project(e, P).blks + 10, 0);
	CHECK_OK(t_create(e, dir, "clone", S_IFREG | 0644, &a));
	done = a.ino;
	a.size = 99 * CSV_BLOCK_BYTES;
	CHECK_OK(t_set(e, ino, CSV_SET_SIZE, &a, NULL));
	err = DO(e, clone, .ino = ino, .dir = done, .blk = 0, .nr = UINT64_MAX, .attr = &a);
	CHECK_EQ(err, -EDQUOT);
	limit(e, 0, 0);
	CHECK_OK(DO(e, clone, .ino = ino, .dir = done, .blk = 0, .nr = UINT64_MAX, .attr = &a));
	/* Lower than what is there: nothing more, and less is fine. */
	limit(e, 1, 0);
	CHECK_EQ(t_alloc(e, ino, 1000, 1), -EDQUOT);
	CHECK_OK(t_punch(e, ino, 0, 10));
	CHECK_OK(DO(e, statfs_at, .ino = ino, .statfs = &st));
	CHECK_EQ(st.avail_blks, 0);
	/* Into the project only with room; out of it always. */
	CHECK_EQ(set_project(e, plain, P, false), -EDQUOT);
	CHECK_OK(set_project(e, done, 0, false));
	limit(e, 0, 0);
	CHECK_OK(set_project(e, plain, P, false));
	CHECK_OK(set_project(e, plain, 0, false));
	t_check(e);
}

static void test_inodes(struct engine *e, uint64_t dir)
{
	uint64_t nr = project(e, P).inodes;
	struct csv_statfs st;
	struct csv_attr a;

	limit(e, 0, nr + 2);
	make(e, dir, "i1", S_IFREG | 0644);
	make(e, dir, "i2", S_IFDIR | 0755);
	CHECK_EQ(t_create(e, dir, "i3", S_IFREG | 0644, &a), -EDQUOT);
	CHECK_EQ(t_symlink(e, dir, "i3", "x", &a), -EDQUOT);
	CHECK_EQ(t_lookup(e, dir, "i3", &a), -ENOENT);
	make(e, ROOT, "i3", S_IFREG | 0644);
	CHECK_OK(DO(e, statfs_at, .ino = dir, .statfs = &st));
	CHECK_EQ(st.limit_inodes, nr + 2);
	CHECK_EQ(st.nr_inodes, nr + 2);
	CHECK_OK(t_unlink(e, dir, "i1", false, &a));
	t_reap(e);
	make(e, dir, "i3", S_IFREG | 0644);
	t_check(e);
}

static void test_list(struct engine *e)
{
	uint32_t after = 0, nr = 0;
	struct csv_project p;
	struct csv_attr a;

	for (uint32_t i = 0; i < 300; i++)
		CHECK_OK(DO(e, project_limit, .max = 5000 + 7 * i, .blk = 1 + i, .out = &p));
	while (DO(e, project_next, .max = after, .out = &p) == 0) {
		CHECK(p.projid > after);
		after = p.projid;
		nr++;
	}
	CHECK_EQ(nr, 301);
	CHECK_EQ(DO(e, project_limit, .max = 0, .blk = 1, .out = &p), -EINVAL);
	CHECK_EQ(DO(e, project_next, .max = UINT32_MAX, .out = &p), -ENOENT);
	for (uint32_t i = 0; i < 300; i++)
		CHECK_OK(DO(e, project_limit, .max = 5000 + 7 * i, .out = &p));
	CHECK_OK(t_get(e, ROOT, &a));
	t_check(e);
}

int main(void)
{
	struct engine e;
	uint64_t dir, plain;

	engine_device(&e, "ram:260M", true, 0, 0);
	engine_open(&e, 0);
	dir = make(&e, ROOT, "dir", S_IFDIR | 0755);
	plain = make(&e, ROOT, "twin", S_IFREG | 0644);
	test_inherit(&e, dir);
	test_count(&e, dir);
	test_space(&e, dir, plain);
	test_inodes(&e, dir);
	test_list(&e);
	CHECK_OK(engine_close(&e));
	engine_open(&e, 0);
	CHECK(project(&e, P).inodes > 0);
	t_check(&e);
	CHECK_OK(engine_close(&e));
	engine_done(&e);
	return 0;
}
