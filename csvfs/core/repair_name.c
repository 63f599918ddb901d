/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Repairs of entries, links, and what is lost and found. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "csvfs/core/repair_internal.h"
#include "util/err.h"

typedef unsigned long long ull;

/* ---- entries ---- */

static void add_size(struct csv_inode *dir, int nr)
{
	uint64_t size = le64_get(dir->rec.size);

	if (nr > 0 || size > 0)
		dir->rec.size = le64_of(size + nr);
}

int repair_ent_drop(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	struct csv_inode dir;
	struct csv_tree tree;
	int err = repair_tree_get(txn, fix, &dir, &tree);

	if (!err)
		err = csv_tree_remove(txn, &tree, fix->key);
	if (err)
		return err == -ENOENT ? -EALREADY : err;
	add_size(&dir, -1);
	return repair_tree_put(txn, fix, &dir, &tree);
}

/* The entry with this key, copied, if it is a good one. */
static int get_entry(struct csv_txn *txn, struct csv_tree *tree, uint64_t key, uint8_t *buf,
	uint32_t *len)
{
	const void *val;
	const char *why;
	int err = csv_tree_get(txn, tree, key, &val, len);

	if (err)
		return err == -ENOENT ? -EALREADY : err;
	if (csv_dirent_verify(key, val, *len, &why))
		return -EALREADY;
	memcpy(buf, val, *len);
	return 0;
}

int repair_ent_move(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	uint8_t buf[CSV_TREE_VALUE_MAX];
	const struct csv_dirent_rec *rec = (const struct csv_dirent_rec *)buf;
	struct csv_inode dir;
	struct csv_name name;
	struct csv_tree tree;
	uint32_t len;
	int err = repair_tree_get(txn, fix, &dir, &tree);

	if (!err)
		err = get_entry(txn, &tree, fix->key, buf, &len);
	if (err)
		return err;
	if (csv_name_hash(r->c->geom, rec->name, rec->name_len) == (fix->key & ~0xffull))
		return -EALREADY;
	err = csv_tree_remove(txn, &tree, fix->key);
	if (err)
		return err;
	dir.rec.tree = tree.root;
	err = csv_dir_find(txn, &dir, rec->name, rec->name_len, &name);
	if (err)
		return err;
	if (name.ino || !name.key) /* the name is there already */
		add_size(&dir, -1);
	else
		err = csv_tree_insert(txn, &tree, name.key, buf, len);
	return err ? err : repair_tree_put(txn, fix, &dir, &tree);
}

int repair_ent_type(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	uint8_t buf[CSV_TREE_VALUE_MAX];
	struct csv_dirent_rec *rec = (struct csv_dirent_rec *)buf;
	struct csv_inode dir;
	struct csv_tree tree;
	uint32_t len;
	int err = repair_tree_get(txn, fix, &dir, &tree);

	if (!err)
		err = get_entry(txn, &tree, fix->key, buf, &len);
	if (err)
		return err;
	rec->type = (uint8_t)fix->arg;
	err = csv_tree_update(txn, &tree, fix->key, buf, len);
	return err ? err : repair_tree_put(txn, fix, &dir, &tree);
}

/* ---- orphans ---- */

static int list_without(struct csv_txn *txn, uint64_t ino)
{
	struct csv_tree tree;
	int err = csv_root_tree_get(txn, CSV_OWNER_ORPHANS, &tree);

	if (!err)
		err = csv_tree_remove(txn, &tree, ino);
	return err ? err : csv_root_tree_put(txn, &tree);
}

int repair_orphan_del(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	int err = list_without(txn, fix->ino);

	return err == -ENOENT ? -EALREADY : err;
}

int repair_orphan_add(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	struct csv_tree tree;
	int err = csv_root_tree_get(txn, CSV_OWNER_ORPHANS, &tree);

	if (!err)
		err = csv_tree_insert(txn, &tree, fix->ino, "", 0);
	if (err == -EEXIST)
		return -EALREADY;
	return err ? err : csv_root_tree_put(txn, &tree);
}

/* ---- the root directory ---- */

/* What is there under its number is made one. */
static int make_root(struct csv_txn *txn, struct repair *r, const void *val, uint32_t len)
{
	struct csv_inode_rec rec = { .atime_ns = le64_of(r->opts->now_ns) };
	const char *why;

	if (val && len >= sizeof(rec))
		memcpy(&rec, val, sizeof(rec));
	rec.mode = le32_of(S_IFDIR | 0755);
	rec.nlink = le32_of(2);
	rec.kind = CSV_DATA_TREE;
	rec.inline_len = le16_of(0);
	rec.parent = le64_of(CSV_ROOT_INO);
	if (csv_inode_verify(&rec, sizeof(rec), CSV_ROOT_INO, r->c->geom, &why))
		return -ERR_CORRUPT;

	struct csv_tree tree;
	int err = csv_root_tree_get(txn, CSV_OWNER_INODES, &tree);

	if (err)
		return err;
	err = val ? csv_tree_update(txn, &tree, CSV_ROOT_INO, &rec, sizeof(rec))
		  : csv_tree_insert(txn, &tree, CSV_ROOT_INO, &rec, sizeof(rec));
	return err ? err : csv_root_tree_put(txn, &tree);
}

int repair_root_dir(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	const struct csv_inode_rec *rec;
	struct csv_tree tree;
	const void *val;
	uint32_t len;
	int err = csv_root_tree_get(txn, CSV_OWNER_INODES, &tree);

	if (!err)
		err = csv_tree_get(txn, &tree, CSV_ROOT_INO, &val, &len);
	if (err == -ENOENT)
		return make_root(txn, r, NULL, 0);
	if (err)
		return err;
	rec = val;
	if (len >= sizeof(*rec) && (le32_get(rec->mode) & S_IFMT) == S_IFDIR)
		return -EALREADY;
	return make_root(txn, r, val, len);
}

/* ---- lost+found ---- */

#define LOST_FOUND "lost+found"

/* The directory for what is found, made if need be. A file of its name is left alone. */
static int lost_found(struct csv_txn *txn, struct repair *r, struct csv_inode *ret)
{
	struct csv_attr attr, proto = { .mode = S_IFDIR | 0700, .atime_ns = r->opts->now_ns,
		.mtime_ns = r->opts->now_ns, .ctime_ns = r->opts->now_ns,
		.btime_ns = r->opts->now_ns };
	char name[32] = LOST_FOUND;
	int err;

	for (int i = 1;; i++) {
		err = csv_create(txn, CSV_ROOT_INO, name, strlen(name), &proto, NULL, 0, &attr);
		if (err && err != -EEXIST)
			return err;
		if ((attr.mode & S_IFMT) == S_IFDIR)
			return csv_dir_load(txn, attr.ino, ret);
		if (i == 100)
			return -EEXIST;
		snprintf(name, sizeof(name), LOST_FOUND ".%d", i);
	}
}

/* A name for it there: its number. */
static int free_name(struct csv_txn *txn, const struct csv_inode *dir, uint64_t ino, char text[48],
	struct csv_name *ret)
{
	for (int i = 0; i < 100; i++) {
		int err;

		if (i == 0)
			snprintf(text, 48, "%llu", (ull)ino);
		else
			snprintf(text, 48, "%llu.%d", (ull)ino, i);
		err = csv_dir_find(txn, dir, text, strlen(text), ret);
		if (err)
			return err;
		if (ret->ino == ino)
			return -EALREADY;
		if (ret->ino == 0 && ret->key)
			return 0;
	}
	return -EEXIST;
}

int repair_lost_found(struct csv_txn *txn, struct repair *r, const struct check_fix *fix)
{
	struct csv_inode dir, inode;
	struct csv_name name;
	char text[48];
	bool is_dir;
	int err = lost_found(txn, r, &dir);

	if (!err)
		err = free_name(txn, &dir, fix->ino, text, &name);
	if (!err)
		err = csv_inode_load(txn, fix->ino, &inode);
	if (err)
		return err == -ESTALE ? -EALREADY : err;
	if (dir.ino == fix->ino)
		return -EALREADY;
	is_dir = csv_inode_dt(&inode) == DT_DIR;
	/* A layer that nothing stands on is a file again. */
	inode.rec.flags = le32_of(le32_get(inode.rec.flags) & ~CSV_INODE_LAYER);
	inode.rec.refs = le32_of(0);
	err = csv_dir_add(txn, &dir, &name, &inode, r->opts->now_ns);
	if (err)
		return err;
	inode.rec.nlink = le32_of(is_dir ? 2 + (uint32_t)fix->arg : 1);
	if (is_dir) {
		inode.rec.parent = le64_of(dir.ino);
		csv_inode_add_nlink(&dir, 1);
	}
	err = csv_inode_store(txn, &dir);
	if (!err)
		err = csv_inode_store(txn, &inode);
	if (!err)
		err = list_without(txn, fix->ino); /* of a directory that was an orphan */
	return err == -ENOENT ? 0 : err;
}
