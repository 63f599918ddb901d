/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>

#include "csvfs/core/alloc.h"
#include "csvfs/core/dir_internal.h"
#include "csvfs/core/quota_internal.h"
#include "util/err.h"
#include "util/log.h"

/* A rename on its way: each inode once, the directories perhaps the same one. */
struct rename {
	struct csv_txn *txn;
	struct csv_inode dirs[2];
	struct csv_inode *from, *to; /* &dirs[0], and that or &dirs[1] */
	struct csv_name old, new;
	struct csv_inode moved, other; /* other: what new was, ino 0 = nothing */
	unsigned flags;
	int64_t now_ns;
};

static bool is_dir(const struct csv_inode *inode)
{
	return csv_inode_fmt(inode) == S_IFDIR;
}

static int load(struct rename *r, uint64_t dir, const char *name, uint32_t len, uint64_t new_dir,
	const char *new_name, uint32_t new_len)
{
	int err = csv_dir_load(r->txn, dir, &r->dirs[0]);

	r->from = r->to = &r->dirs[0];
	if (!err && new_dir != dir) {
		r->to = &r->dirs[1];
		err = csv_dir_load(r->txn, new_dir, r->to);
	}
	if (!err)
		err = csv_name_check(new_name, new_len);
	if (!err)
		err = csv_dir_get(r->txn, r->from, name, len, &r->old, &r->moved);
	if (err)
		return err;
	err = csv_dir_get(r->txn, r->to, new_name, new_len, &r->new, &r->other);
	if (err == -ENOENT) {
		r->other.ino = 0;
		err = 0;
	}
	return err;
}

/* -EINVAL: ino is dir, or one of its ancestors. Parents that run in a circle are found out by a
 * mark that is left behind at each power of two. */
static int not_above(struct csv_txn *txn, uint64_t ino, uint64_t dir)
{
	uint64_t mark = 0, steps = 0, next_mark = 1;
	struct csv_attr attr;

	while (dir != ino) {
		int err;

		if (dir == CSV_ROOT_INO)
			return 0;
		err = csv_inode_get(txn, dir, &attr);
		if (dir == mark || err == -ESTALE || (!err && !S_ISDIR(attr.mode))) {
			log_error("directory inode %llu: its parents do not lead to the root",
				(unsigned long long)dir);
			return -ERR_CORRUPT;
		}
		if (err)
			return err;
		if (++steps == next_mark) {
			next_mark *= 2;
			mark = dir;
		}
		dir = attr.parent;
	}
	return -EINVAL;
}

static int check_replace(const struct rename *r)
{
	if (is_dir(&r->moved) && !is_dir(&r->other))
		return -ENOTDIR;
	if (!is_dir(&r->moved) && is_dir(&r->other))
		return -EISDIR;
	if (is_dir(&r->other) && le64_get(r->other.rec.size) != 0)
		return -ENOTEMPTY;
	return 0;
}

/* dir counts a subdirectory that it is about to lose. */
static int check_nlink(const struct csv_inode *dir)
{
	if (csv_inode_nlink(dir) >= 3)
		return 0;
	log_error("directory inode %llu has a subdirectory, but counts none",
		(unsigned long long)dir->ino);
	return -ERR_CORRUPT;
}

/* Everything that may be said against it (D4). */
static int check(struct rename *r)
{
	bool exchange = r->flags & CSV_RENAME_EXCHANGE;
	int err = 0;

	if (exchange && !r->other.ino)
		return -ENOENT;
	if ((r->flags & CSV_RENAME_NOREPLACE) && r->other.ino)
		return -EEXIST;
	if (r->other.ino == r->moved.ino)
		return 0;
	if (csv_inode_nlink(r->to) == 0)
		return -ENOENT;
	if (is_dir(&r->moved) && r->from != r->to)
		err = not_above(r->txn, r->moved.ino, r->to->ino);
	if (!err && exchange && is_dir(&r->other) && r->from != r->to)
		err = not_above(r->txn, r->other.ino, r->from->ino);
	if (!err && r->other.ino && !exchange)
		err = check_replace(r);
	if (!err && is_dir(&r->moved))
		err = check_nlink(r->from);
	if (!err && r->other.ino && is_dir(&r->other))
		err = check_nlink(r->to);
	if (!err && r->from != r->to && is_dir(&r->moved) &&
		csv_inode_nlink(r->to) >= CSV_LINK_MAX)
		err = -EMLINK;
	if (!err && r->from != r->to && exchange && is_dir(&r->other) &&
		csv_inode_nlink(r->from) >= CSV_LINK_MAX)
		err = -EMLINK;
	if (!err && r->from != r->to)
		err = csv_quota_may_enter(r->to, &r->moved);
	if (!err && r->from != r->to && exchange)
		err = csv_quota_may_enter(r->from, &r->other);
	if (!err && !r->other.ino && r->new.key == 0)
		err = -ENOSPC;
	if (!err && !r->other.ino)
		err = csv_alloc_room(r->txn);
	return err;
}

/* A directory has moved from one to another. */
static void reparent(struct csv_inode *inode, struct csv_inode *from, struct csv_inode *to)
{
	if (!is_dir(inode) || from == to)
		return;
	csv_inode_add_nlink(from, -1);
	csv_inode_add_nlink(to, 1);
	inode->rec.parent = le64_of(to->ino);
}

static int change_names(struct rename *r)
{
	int err;

	if (r->other.ino)
		err = csv_dir_replace(r->txn, r->to, &r->new, &r->moved, r->now_ns);
	else
		err = csv_dir_add(r->txn, r->to, &r->new, &r->moved, r->now_ns);
	if (err)
		return err;
	if (r->flags & CSV_RENAME_EXCHANGE)
		return csv_dir_replace(r->txn, r->from, &r->old, &r->other, r->now_ns);
	return csv_dir_remove(r->txn, r->from, &r->old, r->now_ns);
}

static int change(struct rename *r)
{
	int err;

	csv_quota_enforce(r->txn);
	err = change_names(r);

	if (err)
		return err;
	reparent(&r->moved, r->from, r->to);
	r->moved.rec.ctime_ns = le64_of(r->now_ns);
	err = csv_inode_store(r->txn, &r->moved);
	if (!err && (r->flags & CSV_RENAME_EXCHANGE)) {
		reparent(&r->other, r->to, r->from);
		r->other.rec.ctime_ns = le64_of(r->now_ns);
		err = csv_inode_store(r->txn, &r->other);
	} else if (!err && r->other.ino) {
		if (is_dir(&r->other))
			csv_inode_add_nlink(r->to, -1);
		err = csv_inode_unlinked(r->txn, &r->other, r->now_ns);
	}
	if (!err)
		err = csv_inode_store(r->txn, r->from);
	if (!err && r->to != r->from)
		err = csv_inode_store(r->txn, r->to);
	return err;
}

int csv_rename(struct csv_txn *txn, uint64_t dir, const char *name, uint32_t len, uint64_t new_dir,
	const char *new_name, uint32_t new_len, unsigned flags, int64_t now_ns,
	struct csv_attr *ret_moved, struct csv_attr *ret_replaced)
{
	struct rename r = { .txn = txn, .flags = flags, .now_ns = now_ns };
	int err;

	if ((flags & ~(CSV_RENAME_NOREPLACE | CSV_RENAME_EXCHANGE)) ||
		flags == (CSV_RENAME_NOREPLACE | CSV_RENAME_EXCHANGE))
		return -EINVAL;
	err = load(&r, dir, name, len, new_dir, new_name, new_len);
	if (!err)
		err = check(&r);
	if (err)
		return err;
	/* Two names of one inode: POSIX has nothing happen. */
	if (r.other.ino == r.moved.ino)
		r.other.ino = 0;
	else
		err = change(&r);
	if (err)
		return err;
	csv_inode_attr(&r.moved, ret_moved);
	*ret_replaced = (struct csv_attr){ 0 };
	if (r.other.ino)
		csv_inode_attr(&r.other, ret_replaced);
	return 0;
}
