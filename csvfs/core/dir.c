/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names, read: lookup and readdir. */
#include <errno.h>

#include "csvfs/core/dir_internal.h"
#include "util/checked.h"
#include "util/err.h"
#include "util/log.h"

int csv_lookup(struct csv_txn *txn, uint64_t dir, const char *name, uint32_t len,
	struct csv_attr *ret)
{
	struct csv_inode d, inode;
	struct csv_name found;
	int err = csv_dir_load(txn, dir, &d);

	if (err)
		return err;
	if (len == 2 && name[0] == '.' && name[1] == '.')
		return csv_inode_nlink(&d) == 0 ? -ENOENT : csv_inode_get(txn, le64_get(d.rec.parent), ret);
	if (len == 1 && name[0] == '.') {
		csv_inode_attr(&d, ret);
		return 0;
	}
	err = csv_dir_get(txn, &d, name, len, &found, &inode);
	if (!err)
		csv_inode_attr(&inode, ret);
	return err;
}

/* Names that a listing looks at ahead, when it has met an inode that is not cached. Without that each
 * inode would cost it another run, and the inodes of neighbours lie anywhere. */
#define AHEAD 32u

struct walk {
	struct csv_txn *txn;
	const struct csv_tree *tree;
	uint32_t nr_ahead; /* looked at since; not 0: it waits */
	bool want_attr;
	bool (*fn)(void *arg, const struct csv_dirent *ent, const struct csv_attr *attr);
	void *arg;
};

static int walk_entry(void *arg, uint64_t key, const void *val, uint32_t len, bool *go_on)
{
	const struct csv_dirent_rec *rec = val;
	struct walk *w = arg;
	struct csv_dirent ent;
	struct csv_attr attr = { 0 };
	int err = csv_dirent_check(w->tree, key, val, len);

	if (err)
		return err;
	ent = (struct csv_dirent){ .cookie = key, .ino = le64_get(rec->ino), .type = rec->type,
		.name_len = rec->name_len, .name = rec->name };
	if (w->want_attr) {
		err = csv_inode_get(w->txn, ent.ino, &attr);
		if (err == -ERR_WAIT || w->nr_ahead) /* what else is wrong is met again */
			return ++w->nr_ahead < AHEAD ? 0 : -ERR_WAIT;
		if (err == -ESTALE) {
			log_error("directory inode %llu: an entry leads to inode %llu, which does not "
				  "exist (key 0x%llx)",
				(unsigned long long)w->tree->owner, (unsigned long long)ent.ino,
				(unsigned long long)key);
			return -ERR_CORRUPT;
		}
		if (err)
			return err;
	}
	*go_on = w->fn(w->arg, &ent, w->want_attr ? &attr : NULL);
	return 0;
}

int csv_readdir(struct csv_txn *txn, uint64_t dir, uint64_t after, bool want_attr,
	bool (*fn)(void *arg, const struct csv_dirent *ent, const struct csv_attr *attr), void *arg)
{
	struct csv_inode d;
	struct csv_tree tree;
	struct walk w = { .txn = txn, .tree = &tree, .want_attr = want_attr, .fn = fn, .arg = arg };
	int err = csv_dir_load(txn, dir, &d);

	if (err)
		return err;
	if (after >> 63)
		return 0;
	csv_inode_tree_get(&d, &tree);
	err = csv_tree_walk(txn, &tree, MAX(after + 1, 256), walk_entry, &w);
	return w.nr_ahead ? -ERR_WAIT : err;
}
