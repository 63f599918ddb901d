/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inodes: records, extents, orphans. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "csvfs/core/check_internal.h"
#include "util/err.h"

typedef unsigned long long ull;

struct extents {
	uint64_t ino, end, nr_blks;
	const char *whose;
};

static int on_extent(struct check *c, void *arg, uint64_t key, const void *val, uint32_t len)
{
	struct extents *x = arg;
	struct csv_ext ext;
	const char *why;
	bool ok;
	int err;

	c->report->extents++;
	if (csv_ext_decode(key, val, len, c->geom, &ext, &why)) {
		check_say(c, "bad-extent", "%s, file block %llu: an extent %s", x->whose, (ull)key,
			why);
		return 0;
	}
	if (key < x->end)
		check_say(c, "ext-overlap", "%s, file block %llu: inside of the extent before",
			x->whose, (ull)key);
	x->end = csv_ext_end(&ext);
	x->nr_blks += ext.nr;
	err = check_mark(c, ext.phys, ext.nr, x->whose, &ok);
	return err;
}

/* The inode's own tree. */
static int check_data(struct check *c, uint64_t index, const struct csv_inode_rec *rec,
	const char *whose)
{
	struct extents x = { .ino = c->inodes[index].ino, .whose = whose };
	uint64_t nr_blks;
	int err;

	if (c->inodes[index].type == DT_DIR)
		err = check_dir(c, index, rec, whose, &nr_blks);
	else
		err = check_tree(c, &rec->tree, x.ino, whose, on_extent, &x, &nr_blks);
	if (err)
		return err;
	nr_blks += x.nr_blks;
	if (nr_blks != le64_get(rec->nr_blks))
		check_say(c, "inode-blocks", "%s counts %llu blocks, it has %llu", whose,
			(ull)le64_get(rec->nr_blks), (ull)nr_blks);
	if (le64_get(rec->xattrs.blk) != 0 || rec->xattrs.level != 0)
		check_say(c, "unknown-tree", "%s has a tree of extended attributes", whose);
	return 0;
}

static int on_inode(struct check *c, void *arg, uint64_t key, const void *val, uint32_t len)
{
	const struct csv_inode_rec *rec = val;
	const char *why;
	char whose[40];
	int err;

	snprintf(whose, sizeof(whose), "inode %llu", (ull)key);
	if (csv_inode_verify(val, len, key, c->geom, &why)) {
		check_say(c, "bad-inode", "%s %s", whose, why);
		return 0;
	}
	err = check_grow(&c->inodes, c->nr_inodes, &c->max_inodes, sizeof(*c->inodes));
	if (err)
		return err;
	c->inodes[c->nr_inodes] = (struct check_inode){
		.ino = key,
		.parent = le64_get(rec->parent),
		.nlink = le32_get(rec->nlink),
		.type = (le32_get(rec->mode) & S_IFMT) >> 12,
	};
	c->report->inodes++;
	c->report->dirs += S_ISDIR(le32_get(rec->mode));
	return check_data(c, c->nr_inodes++, rec, whose);
}

int check_inodes(struct check *c)
{
	uint64_t nr_blks;

	return check_tree(c, &c->root.inodes, CSV_OWNER_INODES, "the inode tree", on_inode, NULL,
		&nr_blks);
}

static int on_orphan(struct check *c, void *arg, uint64_t key, const void *val, uint32_t len)
{
	int err = check_grow(&c->orphans, c->nr_orphans, &c->max_orphans, sizeof(*c->orphans));

	if (err)
		return err;
	c->orphans[c->nr_orphans++] = key;
	if (len != 0)
		check_say(c, "bad-orphan", "orphan %llu: an entry of a wrong length", (ull)key);
	return 0;
}

/* Both are in order of their numbers: those with nlink 0 are the orphans, and nobody else. */
int check_orphans(struct check *c)
{
	uint64_t nr_blks, o = 0;
	int err = check_tree(c, &c->root.orphans, CSV_OWNER_ORPHANS, "the orphan list", on_orphan,
		NULL, &nr_blks);

	for (uint64_t i = 0; i < c->nr_inodes && !err; i++) {
		const struct check_inode *inode = &c->inodes[i];

		for (; o < c->nr_orphans && c->orphans[o] < inode->ino; o++)
			check_say(c, "orphan-inode", "orphan %llu does not exist",
				(ull)c->orphans[o]);
		if (o < c->nr_orphans && c->orphans[o] == inode->ino) {
			o++;
			if (inode->nlink)
				check_say(c, "orphan-named", "orphan %llu has an nlink of %u",
					(ull)inode->ino, inode->nlink);
			if (inode->has_entries)
				check_say(c, "orphan-dir", "orphan %llu is a directory with entries",
					(ull)inode->ino);
		} else if (inode->nlink == 0) {
			check_say(c, "orphan-lost", "inode %llu has an nlink of 0, but is not on the "
						    "orphan list",
				(ull)inode->ino);
		}
	}
	for (; o < c->nr_orphans && !err; o++)
		check_say(c, "orphan-inode", "orphan %llu does not exist", (ull)c->orphans[o]);
	return err;
}
