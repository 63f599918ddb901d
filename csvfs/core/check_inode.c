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
		check_fix(c, &(struct check_fix){ .kind = FIX_EXT_DROP, .holder = x->ino,
				     .key = key });
		return 0;
	}
	if (key < x->end) {
		check_say(c, "ext-overlap", "%s, file block %llu: inside of the extent before",
			x->whose, (ull)key);
		check_fix(c, &(struct check_fix){ .kind = FIX_EXT_OVERLAP, .holder = x->ino,
				     .key = key, .arg = x->end });
	}
	x->end = csv_ext_end(&ext);
	if (csv_ext_is_cover(&ext))
		return 0;
	x->nr_blks += ext.nr;
	if (!check_in_group(c, ext.phys, ext.nr)) {
		check_say(c, "bad-range", "blocks %llu + %llu of %s are no group's", (ull)ext.phys,
			(ull)ext.nr, x->whose);
		check_fix(c, &(struct check_fix){ .kind = FIX_EXT_DROP, .holder = x->ino,
				     .key = key });
		return 0;
	}
	c->as = (struct check_fix){ .kind = FIX_EXT_HOLE, .holder = x->ino, .key = key };
	err = check_mark(c, ext.phys, ext.nr, x->whose, &ok);
	return err;
}

/* The inode's own tree. */
static int check_data(struct check *c, uint64_t index, const struct csv_inode_rec *rec,
	const char *whose)
{
	struct extents x = { .ino = c->inodes[index].ino, .whose = whose };
	uint64_t nr_blks, nr_xattr_blks, damage = c->structure;
	int err;

	c->holder = x.ino;
	if (c->inodes[index].type == DT_DIR)
		err = check_dir(c, index, rec, whose, &nr_blks);
	else if (c->inodes[index].type == DT_LNK)
		err = check_symlink(c, x.ino, rec, whose, &nr_blks);
	else
		err = check_tree(c, &rec->tree, csv_inode_tree_owner(rec, x.ino), whose, on_extent,
			&x, &nr_blks);
	if (err)
		return err;
	nr_blks += x.nr_blks;
	if (nr_blks != le64_get(rec->nr_blks) && c->structure == damage) {
		check_say(c, "inode-blocks", "%s counts %llu blocks, it has %llu", whose,
			(ull)le64_get(rec->nr_blks), (ull)nr_blks);
		check_fix(c, &(struct check_fix){ .kind = FIX_INODE_BLKS, .ino = x.ino,
				     .arg = nr_blks });
	}
	damage = c->structure;
	err = check_xattrs(c, x.ino, &rec->xattrs, whose, &nr_xattr_blks);
	if (err)
		return err;
	if (nr_xattr_blks != le32_get(rec->xattr_blks) && c->structure == damage) {
		check_say(c, "inode-blocks", "%s counts %u blocks of attributes, it has %llu", whose,
			le32_get(rec->xattr_blks), (ull)nr_xattr_blks);
		check_fix(c, &(struct check_fix){ .kind = FIX_XATTR_BLKS, .ino = x.ino,
				     .arg = nr_xattr_blks });
	}
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
		c->structure++;
		check_fix(c, &(struct check_fix){ .kind = FIX_INODE_REC, .ino = key });
		return 0;
	}
	err = check_grow(&c->inodes, c->nr_inodes, &c->max_inodes, sizeof(*c->inodes));
	if (!err)
		err = check_project_of(c, rec);
	if (err)
		return err;
	c->inodes[c->nr_inodes] = (struct check_inode){
		.ino = key,
		.parent = le64_get(rec->parent),
		.nlink = le32_get(csv_inode_is_layer(rec) ? rec->refs : rec->nlink),
		.base = le64_get(rec->base),
		.depth = le32_get(rec->depth),
		.is_layer = csv_inode_is_layer(rec),
		.type = (le32_get(rec->mode) & S_IFMT) >> 12,
	};
	c->report->inodes++;
	c->report->dirs += S_ISDIR(le32_get(rec->mode));
	if (c->progress && c->nr_inodes % 256 == 0)
		c->progress(c->arg, c->nr_inodes, le64_get(c->root.nr_inodes));
	return check_data(c, c->nr_inodes++, rec, whose);
}

int check_inodes(struct check *c)
{
	uint64_t nr_blks;

	c->holder = 0;
	return check_tree(c, &c->root.inodes, CSV_OWNER_INODES, "the inode tree", on_inode, NULL,
		&nr_blks);
}

/* Each base is a layer, one less deep; an inode above a layer counts like a name. */
void check_layers(struct check *c)
{
	for (uint64_t i = 0; i < c->nr_inodes; i++) {
		const struct check_inode *inode = &c->inodes[i];
		struct check_inode *base = inode->base ? check_find_inode(c, inode->base) : NULL;

		if (!inode->base)
			continue;
		if (!base || !base->is_layer) {
			check_say(c, "layer-base", "inode %llu stands on inode %llu, which is no layer",
				(ull)inode->ino, (ull)inode->base);
			check_fix(c, &(struct check_fix){ .kind = FIX_LAYER_DROP,
					     .ino = inode->ino, .arg = inode->base });
			continue;
		}
		base->names++;
		if (base->depth + 1 == inode->depth)
			continue;
		check_say(c, "layer-depth", "inode %llu has %u layers below, its base, inode %llu, "
					    "has %u",
			(ull)inode->ino, inode->depth, (ull)base->ino, base->depth);
		check_fix(c, &(struct check_fix){ .kind = FIX_DEPTH, .ino = inode->ino,
				     .arg = base->depth + 1 });
	}
}

static int on_orphan(struct check *c, void *arg, uint64_t key, const void *val, uint32_t len)
{
	int err = check_grow(&c->orphans, c->nr_orphans, &c->max_orphans, sizeof(*c->orphans));

	if (err)
		return err;
	c->orphans[c->nr_orphans++] = key;
	if (len != 0) {
		check_say(c, "bad-orphan", "orphan %llu: an entry of a wrong length", (ull)key);
		check_fix(c, &(struct check_fix){ .kind = FIX_ORPHAN_VAL, .key = key });
	}
	return 0;
}

static void no_inode(struct check *c, uint64_t orphan)
{
	check_say(c, "orphan-inode", "orphan %llu does not exist", (ull)orphan);
	check_fix(c, &(struct check_fix){ .kind = FIX_ORPHAN_DEL, .ino = orphan });
}

static void to_lost_found(struct check *c, const struct check_inode *inode)
{
	check_fix(c, &(struct check_fix){ .kind = FIX_LOST_FOUND, .ino = inode->ino,
			     .arg = inode->subdirs });
}

static void check_listed(struct check *c, const struct check_inode *inode)
{
	if (inode->nlink) {
		check_say(c, "orphan-named", "orphan %llu has an nlink of %u", (ull)inode->ino,
			inode->nlink);
		check_fix(c, &(struct check_fix){ .kind = FIX_ORPHAN_DEL, .ino = inode->ino });
	}
	if (inode->has_entries) {
		check_say(c, "orphan-dir", "orphan %llu is a directory with entries",
			(ull)inode->ino);
		if (inode->names == 0)
			to_lost_found(c, inode);
	}
}

static void check_unlisted(struct check *c, const struct check_inode *inode)
{
	check_say(c, "orphan-lost", "inode %llu has an nlink of 0, but is not on the orphan list",
		(ull)inode->ino);
	if (inode->names || inode->ino == CSV_ROOT_INO)
		return; /* its nlink is wrong, and is put right */
	if (inode->has_entries)
		to_lost_found(c, inode);
	else
		check_fix(c, &(struct check_fix){ .kind = FIX_ORPHAN_ADD, .ino = inode->ino });
}

/* Both are in order of their numbers: those with nlink 0 are the orphans, and nobody else. */
int check_orphans(struct check *c)
{
	uint64_t nr_blks, o = 0;
	int err = check_tree(c, &c->root.orphans, CSV_OWNER_ORPHANS, "the orphan list", on_orphan,
		NULL, &nr_blks);

	if (c->structure) /* those that were not met are missing */
		return err;
	for (uint64_t i = 0; i < c->nr_inodes && !err; i++) {
		const struct check_inode *inode = &c->inodes[i];

		for (; o < c->nr_orphans && c->orphans[o] < inode->ino; o++)
			no_inode(c, c->orphans[o]);
		if (o < c->nr_orphans && c->orphans[o] == inode->ino) {
			o++;
			check_listed(c, inode);
		} else if (inode->nlink == 0) {
			check_unlisted(c, inode);
		}
	}
	for (; o < c->nr_orphans && !err; o++)
		no_inode(c, c->orphans[o]);
	return err;
}
