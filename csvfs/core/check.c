/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Walks a whole volume and says what is wrong with it. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blockdev/bdev.h"
#include "csvfs/core/check_internal.h"
#include "util/checked.h"
#include "util/err.h"

typedef unsigned long long ull;

void check_say(struct check *c, const char *code, const char *fmt, ...)
{
	char text[320];
	va_list ap;
	int n = snprintf(text, sizeof(text), "%s: ", code);

	va_start(ap, fmt);
	vsnprintf(text + n, sizeof(text) - n, fmt, ap);
	va_end(ap);
	c->report->errors++;
	if (c->msg)
		c->msg(c->arg, text);
}

int check_grow(void *array, uint64_t nr, uint64_t *max, size_t size)
{
	void **a = array, *p;
	uint64_t want = *max ? *max * 2 : 64;

	if (nr < *max)
		return 0;
	p = reallocarray(*a, want, size);
	if (!p)
		return -ENOMEM;
	*a = p;
	*max = want;
	return 0;
}

struct check_inode *check_find_inode(struct check *c, uint64_t ino)
{
	uint64_t lo = 0, hi = c->nr_inodes;

	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;

		if (c->inodes[mid].ino == ino)
			return &c->inodes[mid];
		if (c->inodes[mid].ino < ino)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

/* The copies of the superblock: what the volume was opened with must be in each. */
static int check_supers(struct check *c)
{
	const uint64_t blks[] = { CSV_SB_BLK, CSV_SB_COPY_BLK, c->geom->nr_blks - 1 };
	uint8_t *got = aligned_alloc(CSV_BLOCK_BYTES, CSV_BLOCK_BYTES);
	struct csv_super want = { 0 };
	int err = got ? 0 : -ENOMEM;

	csv_super_encode(&want, c->geom);
	for (size_t i = 0; i < ARRAY_SIZE(blks) && !err; i++) {
		err = bdev_pread(c->fs->queue, got, CSV_BLOCK_BYTES, blks[i] * CSV_BLOCK_BYTES);
		if (err == -ENOMEM)
			break;
		if (err)
			check_say(c, "read-error", "block %llu (superblock): %s", (ull)blks[i],
				err_str(err));
		else if (csv_blk_verify(got, blks[i], CSV_BT_SUPER, c->geom))
			check_say(c, "sb-copy", "block %llu: no valid superblock", (ull)blks[i]);
		else if (memcmp(got + sizeof(want.h), (uint8_t *)&want + sizeof(want.h),
				 sizeof(want) - sizeof(want.h)))
			check_say(c, "sb-copy", "block %llu: the superblock differs from its copies",
				(ull)blks[i]);
		else
			continue;
		check_fix(c, &(struct check_fix){ .kind = FIX_SUPER, .blk = blks[i] });
		err = 0;
	}
	free(got);
	return err;
}

static int check_sessions(struct check *c, void *buf)
{
	char whose[32];
	bool ok;
	int err = 0;

	for (uint32_t node = 1; node <= CSV_MAX_NODES; node++)
		check_ahead(c, CSV_SESS_BLK + node - 1);
	for (uint32_t node = 1; node <= CSV_MAX_NODES && !err; node++) {
		snprintf(whose, sizeof(whose), "node %u", node);
		err = check_read(c, CSV_SESS_BLK + node - 1, CSV_BT_SESSION, whose, buf, &ok);
		if (!err && !ok)
			check_fix(c, &(struct check_fix){ .kind = FIX_SESSION,
					     .blk = CSV_SESS_BLK + node - 1 });
	}
	return err;
}

static int no_entry(struct check *c, void *arg, uint64_t key, const void *val, uint32_t len)
{
	return 0;
}

/* What the root block says of all that was met. */
static int check_root(struct check *c)
{
	uint64_t nr_blks, next_ino = le64_get(c->root.next_ino);
	uint64_t max_ino = c->nr_inodes ? c->inodes[c->nr_inodes - 1].ino : CSV_ROOT_INO;

	if (le64_get(c->root.nr_inodes) != c->nr_inodes && !c->structure) {
		check_say(c, "root-inodes", "the root block counts %llu inodes, there are %llu",
			(ull)le64_get(c->root.nr_inodes), (ull)c->nr_inodes);
		check_fix(c, &(struct check_fix){ .kind = FIX_NR_INODES, .arg = c->nr_inodes });
	}
	if (c->nr_inodes && max_ino >= next_ino) {
		check_say(c, "next-ino", "inode %llu exists, the next new one would be %llu",
			(ull)max_ino, (ull)next_ino);
		check_fix(c, &(struct check_fix){ .kind = FIX_NEXT_INO, .arg = max_ino + 1 });
	}
	if (le64_get(c->root.shares.blk) == 0)
		return 0;
	check_say(c, "unknown-tree", "the root block has a tree of shared extents");
	check_fix(c, &(struct check_fix){ .kind = FIX_CLEAR_TREE, .owner = CSV_OWNER_SHARES });
	return check_tree(c, &c->root.shares, CSV_OWNER_SHARES, "shared extents", no_entry, NULL,
		&nr_blks);
}

static int check_all(struct check *c, void *buf)
{
	bool ok;
	int err = check_supers(c);

	if (!err)
		err = check_slots(c);
	if (!err)
		err = check_sessions(c, buf);
	if (!err)
		err = check_read(c, CSV_ROOT_BLK, CSV_BT_ROOT, "the volume", buf, &ok);
	if (!err && !ok) {
		check_fix(c, &(struct check_fix){ .kind = FIX_ROOT_BLK });
		c->structure++;
		return check_space(c);
	}
	if (err)
		return err;
	memcpy(&c->root, buf, sizeof(c->root));
	c->have_root = true;
	err = check_inodes(c);
	if (err)
		return err;
	if (!c->structure) {
		check_layers(c);
		check_links(c);
	}
	c->holder = 0;
	err = check_orphans(c);
	if (!err)
		err = check_quotas(c);
	if (!err)
		err = check_root(c);
	if (!err)
		err = check_space(c);
	return err ? err : check_lost(c);
}

int check_run(struct check *c)
{
	void *buf = malloc(CSV_BLOCK_BYTES);
	int err = buf ? check_space_init(c) : -ENOMEM;

	if (!err)
		err = check_all(c, buf);
	free(buf);
	return err;
}

void check_done(struct check *c)
{
	check_space_done(c);
	free(c->inodes);
	free(c->links);
	free(c->orphans);
	free(c->projects);
	free(c->stray);
	free(c->bad);
}

int csv_check(struct csv_fs *fs, void (*msg)(void *arg, const char *text), void *arg,
	struct csv_check_report *ret)
{
	struct csv_check_report report = { 0 };
	struct check c = { .fs = fs, .geom = csv_fs_geometry(fs), .msg = msg, .arg = arg,
		.report = &report };
	int err = check_run(&c);

	check_done(&c);
	if (!err)
		*ret = report;
	return err;
}
