/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names: entries, what they lead to, and whether everything can be reached. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "csvfs/core/check_internal.h"
#include "util/err.h"

typedef unsigned long long ull;

struct entries {
	uint64_t index, nr, ino;
	const char *whose;
	/* Names with the same hash as the last one. */
	struct csv_name *group;
	uint64_t nr_group, max_group;
	uint64_t group_key;
};

static void fix_entry(struct check *c, enum fix_kind kind, uint64_t dir, uint64_t key, uint64_t arg)
{
	check_fix(c, &(struct check_fix){ .kind = kind, .holder = dir, .key = key, .arg = arg });
}

static void group_clear(struct entries *e)
{
	for (uint64_t i = 0; i < e->nr_group; i++)
		free((char *)e->group[i].name);
	e->nr_group = 0;
}

/* The same name twice? They would have the same hash, and so be neighbours. */
static int check_twice(struct check *c, struct entries *e, uint64_t key,
	const struct csv_dirent_rec *rec)
{
	char *copy;
	int err;

	if (e->group_key != key >> 8)
		group_clear(e);
	e->group_key = key >> 8;
	for (uint64_t i = 0; i < e->nr_group; i++) {
		if (e->group[i].len == rec->name_len &&
			memcmp(e->group[i].name, rec->name, rec->name_len) == 0) {
			check_say(c, "dirent-twice", "%s has the same name twice (keys 0x%llx and "
						     "0x%llx)",
				e->whose, (ull)e->group[i].key, (ull)key);
			fix_entry(c, FIX_ENT_DROP, e->ino, key, 0);
			break;
		}
	}
	err = check_grow(&e->group, e->nr_group, &e->max_group, sizeof(*e->group));
	if (err)
		return err;
	copy = malloc(rec->name_len);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, rec->name, rec->name_len);
	e->group[e->nr_group++] =
		(struct csv_name){ .name = copy, .len = rec->name_len, .key = key };
	return 0;
}

static int on_entry(struct check *c, void *arg, uint64_t key, const void *val, uint32_t len)
{
	const struct csv_dirent_rec *rec = val;
	struct entries *e = arg;
	const char *why;
	int err;

	e->nr++;
	if (csv_dirent_verify(key, val, len, &why)) {
		check_say(c, "bad-dirent", "%s: an entry %s (key 0x%llx)", e->whose, why, (ull)key);
		fix_entry(c, FIX_ENT_DROP, e->ino, key, 0);
		return 0;
	}
	if (csv_name_hash(c->geom, rec->name, rec->name_len) != (key & ~0xffull)) {
		check_say(c, "dirent-hash", "%s: an entry in a wrong place (key 0x%llx)", e->whose,
			(ull)key);
		fix_entry(c, FIX_ENT_MOVE, e->ino, key, 0);
	}
	err = check_twice(c, e, key, rec);
	if (!err)
		err = check_grow(&c->links, c->nr_links, &c->max_links, sizeof(*c->links));
	if (err)
		return err;
	c->links[c->nr_links++] = (struct check_link){ .ino = le64_get(rec->ino), .key = key,
		.dir = e->index, .type = rec->type };
	return 0;
}

int check_dir(struct check *c, uint64_t index, const struct csv_inode_rec *rec, const char *whose,
	uint64_t *ret_nr_blks)
{
	struct entries e = { .index = index, .whose = whose, .ino = c->inodes[index].ino };
	uint64_t damage = c->structure;
	int err = check_tree(c, &rec->tree, c->inodes[index].ino, whose, on_entry, &e, ret_nr_blks);

	group_clear(&e);
	free(e.group);
	if (err)
		return err;
	c->inodes[index].has_entries = e.nr != 0;
	if (e.nr != le64_get(rec->size) && c->structure == damage) {
		check_say(c, "dir-size", "%s counts %llu entries, it has %llu", whose,
			(ull)le64_get(rec->size), (ull)e.nr);
		check_fix(c, &(struct check_fix){ .kind = FIX_DIR_SIZE, .ino = e.ino,
				     .arg = e.nr });
	}
	return 0;
}

/* A directory's names: the one that its parent field speaks for stays, else the first. */
static void name_dir(struct check *c, struct check_inode *dir, struct check_inode *to, uint64_t link)
{
	dir->subdirs++;
	if (to->ino == CSV_ROOT_INO || to->names > 1)
		check_say(c, "dir-names", "directory inode %llu has a name too many, in inode %llu",
			(ull)to->ino, (ull)dir->ino);
	if (to->ino == CSV_ROOT_INO)
		return;
	if (to->names == 1 || (to->parent == dir->ino &&
				      c->inodes[c->links[to->link].dir].ino != to->parent)) {
		to->link = link;
		to->named_in = c->links[link].dir;
	}
}

static void follow_link(struct check *c, uint64_t index)
{
	const struct check_link *link = &c->links[index];
	struct check_inode *dir = &c->inodes[link->dir], *to = check_find_inode(c, link->ino);

	if (!to) {
		check_say(c, "dirent-inode", "inode %llu: an entry leads to inode %llu, which does "
					     "not exist (key 0x%llx)",
			(ull)dir->ino, (ull)link->ino, (ull)link->key);
		fix_entry(c, FIX_NAME_DROP, dir->ino, link->key, 0);
		return;
	}
	if (to->type != link->type) {
		check_say(c, "dirent-type", "inode %llu: an entry says type %u, inode %llu is of "
					    "type %u (key 0x%llx)",
			(ull)dir->ino, link->type, (ull)to->ino, to->type, (ull)link->key);
		fix_entry(c, FIX_ENT_TYPE, dir->ino, link->key, to->type);
	}
	to->names++;
	if (to->type == DT_DIR)
		name_dir(c, dir, to, index);
	else
		to->named_in = link->dir;
}

/* Which of a directory's names stays is known now. */
static void check_dir_name(struct check *c, uint64_t index)
{
	const struct check_link *link = &c->links[index];
	const struct check_inode *dir = &c->inodes[link->dir], *to = check_find_inode(c, link->ino);

	if (!to || to->type != DT_DIR)
		return;
	if (to->ino == CSV_ROOT_INO || to->link != index) {
		fix_entry(c, FIX_NAME_DROP, dir->ino, link->key, 0);
	} else if (to->parent != dir->ino) {
		check_say(c, "dir-parent", "directory inode %llu is in inode %llu, but says %llu",
			(ull)to->ino, (ull)dir->ino, (ull)to->parent);
		check_fix(c, &(struct check_fix){ .kind = FIX_PARENT, .ino = to->ino,
				     .arg = dir->ino });
	}
}

static void check_nlink(struct check *c, const struct check_inode *inode)
{
	bool root = inode->ino == CSV_ROOT_INO;
	uint32_t want = inode->type == DT_DIR && (root || inode->names) ? 2 + inode->subdirs
									: inode->names;

	if (!root && inode->names == 0) {
		if (inode->nlink == 0)
			return;
		check_say(c, "unreachable", "inode %llu has no name, and an nlink of %u",
			(ull)inode->ino, inode->nlink);
		check_fix(c, &(struct check_fix){ .kind = FIX_LOST_FOUND, .ino = inode->ino,
				     .arg = inode->subdirs });
	} else if (inode->nlink != want) {
		check_say(c, "nlink", "inode %llu has an nlink of %u, it should be %u",
			(ull)inode->ino, inode->nlink, want);
		check_fix(c, &(struct check_fix){ .kind = FIX_NLINK, .ino = inode->ino,
				     .arg = want });
	}
}

/* Goes up from a directory until it is known how that ends. */
static void check_reach(struct check *c, uint64_t index)
{
	uint64_t at = index;
	uint8_t end;

	while (c->inodes[at].reach == REACH_UNKNOWN && c->inodes[at].names) {
		c->inodes[at].reach = REACH_ON_WAY;
		at = c->inodes[at].named_in;
	}
	if (c->inodes[at].reach == REACH_ON_WAY) {
		check_say(c, "dir-loop", "directory inode %llu is its own ancestor",
			(ull)c->inodes[at].ino);
		fix_entry(c, FIX_NAME_DROP, c->inodes[c->inodes[at].named_in].ino,
			c->links[c->inodes[at].link].key, 0);
	}
	end = c->inodes[at].reach == REACH_YES ? REACH_YES : REACH_NO;
	for (at = index; c->inodes[at].reach == REACH_ON_WAY; at = c->inodes[at].named_in)
		c->inodes[at].reach = end;
}

void check_links(struct check *c)
{
	struct check_inode *root = check_find_inode(c, CSV_ROOT_INO);

	for (uint64_t i = 0; i < c->nr_links; i++)
		follow_link(c, i);
	for (uint64_t i = 0; i < c->nr_links; i++)
		check_dir_name(c, i);
	if (!root || root->type != DT_DIR) {
		check_say(c, "no-root", "there is no root directory");
		check_fix(c, &(struct check_fix){ .kind = FIX_ROOT_DIR });
	} else if (root->parent != CSV_ROOT_INO) {
		check_say(c, "dir-parent", "the root directory says it is in inode %llu",
			(ull)root->parent);
		check_fix(c, &(struct check_fix){ .kind = FIX_PARENT, .ino = CSV_ROOT_INO,
				     .arg = CSV_ROOT_INO });
	}
	if (root)
		root->reach = REACH_YES;
	for (uint64_t i = 0; i < c->nr_inodes; i++) {
		check_nlink(c, &c->inodes[i]);
		if (c->inodes[i].type == DT_DIR)
			check_reach(c, i);
	}
}
