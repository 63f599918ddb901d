/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Directory entries in their tree. */
#include <dirent.h>
#include <errno.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "csvfs/core/dir_internal.h"
#include "util/err.h"
#include "util/log.h"

typedef unsigned long long ull;

uint64_t csv_name_hash(const struct csv_geometry *geom, const char *name, uint32_t len)
{
	uint64_t hash = XXH64(name, len, geom->hash_seed) >> 9;

	return (hash ? hash : 1) << 8;
}

static bool name_ok(const char *name, uint32_t len)
{
	return len >= 1 && len <= CSV_NAME_MAX && !memchr(name, '/', len) &&
	       !memchr(name, 0, len) && !(name[0] == '.' && len == 1) &&
	       !(name[0] == '.' && len == 2 && name[1] == '.');
}

static bool type_known(uint8_t type)
{
	return type == DT_REG || type == DT_DIR || type == DT_LNK || type == DT_CHR ||
	       type == DT_BLK || type == DT_FIFO || type == DT_SOCK;
}

int csv_dirent_verify(uint64_t key, const void *val, uint32_t len, const char **why)
{
	const struct csv_dirent_rec *rec = val;

	*why = NULL;
	if (len < sizeof(*rec) || len != sizeof(*rec) + rec->name_len)
		*why = "of a wrong length";
	else if (key < 256 || key >> 63)
		*why = "with an impossible key";
	else if (!name_ok(rec->name, rec->name_len))
		*why = "with an impossible name";
	else if (le64_get(rec->ino) == 0)
		*why = "without an inode";
	else if (!type_known(rec->type))
		*why = "of an unknown type";
	return *why ? -ERR_CORRUPT : 0;
}

int csv_dirent_check(const struct csv_tree *tree, uint64_t key, const void *val, uint32_t len)
{
	const char *why;
	int err = csv_dirent_verify(key, val, len, &why);

	if (err)
		log_error("directory inode %llu, tree at block %llu: an entry %s (key 0x%llx)",
			(ull)tree->owner, (ull)le64_get(tree->root.blk), why, (ull)key);
	return err;
}

int csv_name_check(const char *name, uint32_t len)
{
	if (len > CSV_NAME_MAX)
		return -ENAMETOOLONG;
	return name_ok(name, len) ? 0 : -EINVAL;
}

int csv_dir_load(struct csv_txn *txn, uint64_t ino, struct csv_inode *ret)
{
	int err = csv_inode_load(txn, ino, ret);

	if (!err && csv_inode_fmt(ret) != S_IFDIR)
		err = -ENOTDIR;
	return err;
}

int csv_dir_find(struct csv_txn *txn, const struct csv_inode *dir, const char *name, uint32_t len,
	struct csv_name *ret)
{
	uint64_t first = csv_name_hash(csv_fs_geometry(csv_txn_fs(txn)), name, len);
	uint64_t next = first, key, free_key = 0;
	const struct csv_dirent_rec *rec;
	struct csv_tree tree;
	uint32_t rec_len;
	int err = csv_name_check(name, len);

	csv_inode_tree_get(dir, &tree);
	while (!err && next < first + 256) {
		err = csv_tree_ge(txn, &tree, next, &key, (const void **)&rec, &rec_len);
		if (err || key >= first + 256)
			break;
		err = csv_dirent_check(&tree, key, rec, rec_len);
		if (err)
			break;
		if (rec->name_len == len && memcmp(rec->name, name, len) == 0) {
			*ret = (struct csv_name){ .name = name, .len = len, .key = key,
				.ino = le64_get(rec->ino), .type = rec->type };
			return 0;
		}
		if (key > next && !free_key)
			free_key = next;
		next = key + 1;
	}
	if (err && err != -ENOENT)
		return err;
	if (!free_key && next < first + 256)
		free_key = next;
	*ret = (struct csv_name){ .name = name, .len = len, .key = free_key };
	return 0;
}

int csv_dir_get(struct csv_txn *txn, const struct csv_inode *dir, const char *name, uint32_t len,
	struct csv_name *ret, struct csv_inode *ret_inode)
{
	int err = csv_dir_find(txn, dir, name, len, ret);

	if (err)
		return err;
	if (ret->ino == 0)
		return -ENOENT;
	err = csv_inode_load(txn, ret->ino, ret_inode);
	if (err == -ESTALE || (!err && csv_inode_dt(ret_inode) != ret->type)) {
		log_error("directory inode %llu, tree at block %llu: an entry leads to inode %llu, "
			  "which %s (key 0x%llx)",
			(ull)dir->ino, (ull)le64_get(dir->rec.tree.blk), (ull)ret->ino,
			err ? "does not exist" : "is of another type", (ull)ret->key);
		return -ERR_CORRUPT;
	}
	return err;
}

static uint32_t encode(const struct csv_name *name, const struct csv_inode *inode, uint8_t *buf)
{
	struct csv_dirent_rec *rec = (struct csv_dirent_rec *)buf;

	rec->ino = le64_of(inode->ino);
	rec->type = csv_inode_dt(inode);
	rec->name_len = name->len;
	memcpy(rec->name, name->name, name->len);
	return sizeof(*rec) + name->len;
}

/* dir's tree has become tree, with nr entries more. */
static int changed(struct csv_inode *dir, const struct csv_tree *tree, int nr, int64_t now_ns)
{
	uint64_t size = le64_get(dir->rec.size);

	if (nr < 0 && size == 0) {
		log_error("directory inode %llu counts no entries, but has one", (ull)dir->ino);
		return -ERR_CORRUPT;
	}
	dir->rec.size = le64_of(size + nr);
	dir->rec.mtime_ns = le64_of(now_ns);
	dir->rec.ctime_ns = le64_of(now_ns);
	return csv_inode_tree_put(dir, tree);
}

int csv_dir_add(struct csv_txn *txn, struct csv_inode *dir, const struct csv_name *name,
	const struct csv_inode *inode, int64_t now_ns)
{
	uint8_t buf[sizeof(struct csv_dirent_rec) + CSV_NAME_MAX];
	struct csv_tree tree;
	int err;

	csv_inode_tree_get(dir, &tree);
	err = csv_tree_insert(txn, &tree, name->key, buf, encode(name, inode, buf));
	return err ? err : changed(dir, &tree, 1, now_ns);
}

int csv_dir_replace(struct csv_txn *txn, struct csv_inode *dir, const struct csv_name *name,
	const struct csv_inode *inode, int64_t now_ns)
{
	uint8_t buf[sizeof(struct csv_dirent_rec) + CSV_NAME_MAX];
	struct csv_tree tree;
	int err;

	csv_inode_tree_get(dir, &tree);
	err = csv_tree_update(txn, &tree, name->key, buf, encode(name, inode, buf));
	return err ? err : changed(dir, &tree, 0, now_ns);
}

int csv_dir_remove(struct csv_txn *txn, struct csv_inode *dir, const struct csv_name *name,
	int64_t now_ns)
{
	struct csv_tree tree;
	int err;

	csv_inode_tree_get(dir, &tree);
	err = csv_tree_remove(txn, &tree, name->key);
	return err ? err : changed(dir, &tree, -1, now_ns);
}
