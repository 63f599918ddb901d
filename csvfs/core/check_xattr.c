/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What lies in pieces in a tree: extended attributes, and the long targets of symlinks. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "csvfs/core/check_internal.h"
#include "csvfs/core/xattr_internal.h"
#include "util/checked.h"

typedef unsigned long long ull;

struct attrs {
	const char *whose;
	/* The attribute that is being read: pieces still to come. */
	uint64_t key;
	uint32_t name_len, value_len, next, nr;
	/* Names with the same hash as the last one. */
	struct attr_name {
		uint8_t len;
		char name[CSV_NAME_MAX];
	} *group;
	uint64_t nr_group, max_group, group_key;
};

static void drop(struct check *c, uint64_t key)
{
	check_fix(c, &(struct check_fix){ .kind = FIX_XATTR_DROP, .holder = c->holder,
			     .key = key & ~0xffull });
}

static void attr_end(struct check *c, struct attrs *x)
{
	if (x->next < x->nr) {
		check_say(c, "bad-xattr", "%s: an attribute ends after piece %u of %u (key 0x%llx)",
			x->whose, x->next, x->nr, (ull)x->key);
		drop(c, x->key);
	}
	x->nr = x->next = 0;
}

/* The same name twice? They would have the same hash, and so be neighbours. */
static int check_twice(struct check *c, struct attrs *x, uint64_t key,
	const struct csv_xattr_rec *rec)
{
	int err;

	if (x->group_key != key >> 16)
		x->nr_group = 0;
	x->group_key = key >> 16;
	for (uint64_t i = 0; i < x->nr_group; i++)
		if (x->group[i].len == rec->name_len &&
			memcmp(x->group[i].name, rec->name, rec->name_len) == 0) {
			check_say(c, "xattr-twice", "%s has the same attribute twice (key 0x%llx)",
				x->whose, (ull)key);
			drop(c, key);
		}
	err = check_grow(&x->group, x->nr_group, &x->max_group, sizeof(*x->group));
	if (err)
		return err;
	x->group[x->nr_group].len = rec->name_len;
	memcpy(x->group[x->nr_group++].name, rec->name, rec->name_len);
	return 0;
}

static int on_first(struct check *c, struct attrs *x, uint64_t key, const void *val, uint32_t len)
{
	const struct csv_xattr_rec *rec = val;
	const char *why;

	attr_end(c, x);
	if (csv_xattr_verify(key, val, len, &why)) {
		check_say(c, "bad-xattr", "%s: an attribute %s (key 0x%llx)", x->whose, why,
			(ull)key);
		drop(c, key);
		return 0;
	}
	x->key = key;
	x->name_len = rec->name_len;
	x->value_len = le32_get(rec->value_len);
	x->next = 1;
	x->nr = csv_xattr_nr_pieces(x->name_len, x->value_len);
	if (csv_xattr_hash(c->geom, rec->name, rec->name_len) >> 16 != key >> 16) {
		check_say(c, "xattr-hash", "%s: an attribute in a wrong place (key 0x%llx)",
			x->whose, (ull)key);
		drop(c, key);
	}
	return check_twice(c, x, key, rec);
}

static int on_piece(struct check *c, void *arg, uint64_t key, const void *val, uint32_t len)
{
	struct attrs *x = arg;

	if (!(key & 0xff))
		return on_first(c, x, key, val, len);
	if (x->next >= x->nr || key != (x->key | x->next) ||
		len != csv_xattr_piece_len(x->name_len, x->value_len, x->next)) {
		check_say(c, "bad-xattr", "%s: a piece that does not fit (key 0x%llx)", x->whose,
			(ull)key);
		drop(c, key);
		x->nr = 0;
		return 0;
	}
	x->next++;
	return 0;
}

int check_xattrs(struct check *c, uint64_t ino, const struct csv_tree_root *root,
	const char *whose, uint64_t *ret_nr_blks)
{
	struct attrs x = { .whose = whose };
	uint64_t damage = c->structure;
	int err;

	c->in_xattrs = true;
	err = check_tree(c, root, ino, whose, on_piece, &x, ret_nr_blks);
	c->in_xattrs = false;
	if (c->structure != damage) /* the pieces that are missing may be found */
		x.nr = 0;
	attr_end(c, &x);
	free(x.group);
	return err;
}

struct target {
	uint64_t next, bytes;
	bool wrong;
};

static int on_target(struct check *c, void *arg, uint64_t key, const void *val, uint32_t len)
{
	struct target *t = arg;

	t->wrong |= key != t->next || t->bytes % CSV_TREE_VALUE_MAX || memchr(val, 0, len);
	t->next = key + 1;
	t->bytes += len;
	return 0;
}

int check_symlink(struct check *c, uint64_t ino, const struct csv_inode_rec *rec,
	const char *whose, uint64_t *ret_nr_blks)
{
	struct target t = { 0 };
	uint64_t damage = c->structure;
	int err = check_tree(c, &rec->tree, ino, whose, on_target, &t, ret_nr_blks);

	if (!err && c->structure == damage && rec->kind == CSV_DATA_TREE &&
		(t.wrong || t.bytes != le64_get(rec->size))) {
		check_say(c, "bad-symlink", "%s: a target of %llu bytes, %llu of which are there",
			whose, (ull)le64_get(rec->size), (ull)t.bytes);
		check_fix(c, &(struct check_fix){ .kind = FIX_SYMLINK, .ino = ino });
	}
	return err;
}
