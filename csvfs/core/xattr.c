/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Extended attributes (xattr_internal.h). */
#include <errno.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "csvfs/core/alloc.h"
#include "csvfs/core/extent_internal.h"
#include "csvfs/core/quota_internal.h"
#include "csvfs/core/xattr_internal.h"
#include "util/checked.h"
#include "util/err.h"
#include "util/log.h"

typedef unsigned long long ull;

#define PIECE_BYTES CSV_TREE_VALUE_MAX
#define PIECE_MASK 0xffull

uint64_t csv_xattr_hash(const struct csv_geometry *geom, const char *name, uint32_t len)
{
	return XXH64(name, len, geom->hash_seed) >> 17 << 16;
}

static uint32_t first_bytes(uint32_t name_len, uint32_t value_len)
{
	return MIN(value_len, PIECE_BYTES - (uint32_t)sizeof(struct csv_xattr_rec) - name_len);
}

uint32_t csv_xattr_nr_pieces(uint32_t name_len, uint32_t value_len)
{
	return 1 + DIV_ROUND_UP(value_len - first_bytes(name_len, value_len), PIECE_BYTES);
}

uint32_t csv_xattr_piece_len(uint32_t name_len, uint32_t value_len, uint32_t i)
{
	uint32_t first = first_bytes(name_len, value_len);

	if (i == 0)
		return sizeof(struct csv_xattr_rec) + name_len + first;
	return MIN(PIECE_BYTES, value_len - first - (i - 1) * PIECE_BYTES);
}

int csv_xattr_verify(uint64_t key, const void *val, uint32_t len, const char **why)
{
	const struct csv_xattr_rec *rec = val;

	*why = NULL;
	if (len < sizeof(*rec) || len < sizeof(*rec) + rec->name_len)
		*why = "of a wrong length";
	else if (key >> 63)
		*why = "with an impossible key";
	else if (rec->name_len == 0 || memchr(rec->name, 0, rec->name_len))
		*why = "with an impossible name";
	else if (le32_get(rec->value_len) > CSV_XATTR_VALUE_MAX)
		*why = "that is too large";
	else if (len != csv_xattr_piece_len(rec->name_len, le32_get(rec->value_len), 0))
		*why = "of a wrong length";
	return *why ? -ERR_CORRUPT : 0;
}

void csv_xattr_tree_get(const struct csv_inode *inode, struct csv_tree *ret)
{
	*ret = (struct csv_tree){
		.root = inode->rec.xattrs,
		.owner = inode->ino,
		.hint_blk = le64_get(inode->rec.xattrs.blk),
	};
}

int csv_xattr_tree_put(struct csv_inode *inode, const struct csv_tree *tree)
{
	int64_t nr = (int64_t)le32_get(inode->rec.xattr_blks) + tree->nr_blks;

	inode->rec.xattrs = tree->root;
	if (nr < 0 || nr > UINT32_MAX || !nr != !le64_get(tree->root.blk)) {
		log_error("inode %llu counts %u blocks of attributes, which is wrong",
			(ull)inode->ino, le32_get(inode->rec.xattr_blks));
		return -ERR_CORRUPT;
	}
	inode->rec.xattr_blks = le32_of((uint32_t)nr);
	return 0;
}

static int corrupt(const struct csv_tree *tree, uint64_t key, const char *why)
{
	log_error("inode %llu, attributes at block %llu: one %s (key 0x%llx)", (ull)tree->owner,
		(ull)le64_get(tree->root.blk), why, (ull)key);
	return -ERR_CORRUPT;
}

/* What a search for a name found. */
struct found {
	bool there;
	uint64_t key; /* of its first piece, or where that would go */
	bool full;    /* 256 names with one hash: there is no such place */
	uint32_t value_len;
};

/* The first attribute whose key is at least from. -ENOENT. */
static int attr_ge(struct csv_txn *txn, struct csv_tree *tree, uint64_t from, uint64_t *ret_key,
	const struct csv_xattr_rec **ret)
{
	const void *val;
	const char *why;
	uint32_t len;
	int err = csv_tree_ge(txn, tree, from, ret_key, &val, &len);

	if (err)
		return err;
	if (*ret_key & PIECE_MASK)
		return corrupt(tree, *ret_key, "without a beginning");
	if (csv_xattr_verify(*ret_key, val, len, &why))
		return corrupt(tree, *ret_key, why);
	*ret = val;
	return 0;
}

static int find(struct csv_txn *txn, struct csv_tree *tree, const char *name, uint32_t name_len,
	struct found *ret)
{
	uint64_t first = csv_xattr_hash(csv_fs_geometry(csv_txn_fs(txn)), name, name_len);
	uint64_t next = first, end = first + (1u << 16), key;
	const struct csv_xattr_rec *rec;
	bool have_free = false;
	int err = 0;

	*ret = (struct found){ 0 };
	while (next < end) {
		err = attr_ge(txn, tree, next, &key, &rec);
		if (err || key >= end)
			break;
		if (rec->name_len == name_len && memcmp(rec->name, name, name_len) == 0) {
			*ret = (struct found){ true, key, false, le32_get(rec->value_len) };
			return 0;
		}
		if (key > next && !have_free) {
			have_free = true;
			ret->key = next;
		}
		next = (key | PIECE_MASK) + 1;
	}
	if (err && err != -ENOENT)
		return err;
	if (!have_free)
		ret->key = next;
	ret->full = !have_free && next >= end;
	return 0;
}

static int check_name(const char *name, uint32_t len)
{
	if (len == 0 || len > CSV_NAME_MAX)
		return -ERANGE;
	return memchr(name, 0, len) ? -EINVAL : 0;
}

/* ---- reading ---- */

int csv_xattr_read(struct csv_txn *txn, const struct csv_inode *inode, const char *name,
	uint32_t name_len, void *buf, uint32_t *len)
{
	struct csv_tree tree;
	struct found at;
	uint8_t *out = buf;
	int err = check_name(name, name_len);

	csv_xattr_tree_get(inode, &tree);
	if (!err)
		err = find(txn, &tree, name, name_len, &at);
	if (err)
		return err;
	if (!at.there)
		return -ENODATA;
	if (*len && *len < at.value_len)
		return -ERANGE;
	for (uint32_t i = 0; *len && i < csv_xattr_nr_pieces(name_len, at.value_len); i++) {
		uint32_t got, want = csv_xattr_piece_len(name_len, at.value_len, i);
		uint32_t skip = i ? 0 : (uint32_t)sizeof(struct csv_xattr_rec) + name_len;
		const void *val;

		err = csv_tree_get(txn, &tree, at.key | i, &val, &got);
		if (err == -ENOENT || (!err && got != want))
			return corrupt(&tree, at.key | i, "with a piece missing");
		if (err)
			return err;
		memcpy(out, (const uint8_t *)val + skip, want - skip);
		out += want - skip;
	}
	*len = at.value_len;
	return 0;
}

int csv_xattr_get(struct csv_txn *txn, uint64_t ino, const char *name, uint32_t name_len, void *buf,
	uint32_t *len)
{
	struct csv_inode inode;
	int err = csv_inode_load(txn, ino, &inode);

	return err ? err : csv_xattr_read(txn, &inode, name, name_len, buf, len);
}

int csv_xattr_list(struct csv_txn *txn, uint64_t ino, void *buf, uint32_t *len)
{
	struct csv_inode inode;
	struct csv_tree tree;
	const struct csv_xattr_rec *rec;
	uint64_t key, next = 0;
	uint32_t used = 0;
	int err = csv_inode_load(txn, ino, &inode);

	if (err)
		return err;
	csv_xattr_tree_get(&inode, &tree);
	while ((err = attr_ge(txn, &tree, next, &key, &rec)) == 0) {
		if (*len && rec->name_len + 1u > *len - used)
			return -ERANGE;
		if (*len) {
			memcpy((char *)buf + used, rec->name, rec->name_len);
			((char *)buf)[used + rec->name_len] = 0;
		}
		used += rec->name_len + 1u;
		next = (key | PIECE_MASK) + 1;
	}
	if (err != -ENOENT)
		return err;
	*len = used;
	return 0;
}

/* ---- changing ---- */

/* Pieces [from, to) of an attribute go. */
static int drop_pieces(struct csv_txn *txn, struct csv_tree *tree, uint64_t key, uint32_t from,
	uint32_t to)
{
	int err = 0;

	for (uint32_t i = from; i < to && !err; i++)
		err = csv_tree_remove(txn, tree, key | i);
	return err == -ENOENT ? corrupt(tree, key, "with a piece missing") : err;
}

/* Writes all pieces over those of a value of old_len, of which there are nr_old. */
static int put_pieces(struct csv_txn *txn, struct csv_tree *tree, uint64_t key, const char *name,
	uint32_t name_len, const uint8_t *value, uint32_t len, uint32_t nr_old)
{
	uint8_t first[PIECE_BYTES];
	struct csv_xattr_rec *rec = (struct csv_xattr_rec *)first;
	uint32_t nr = csv_xattr_nr_pieces(name_len, len);
	int err = 0;

	for (uint32_t i = 0; i < nr && !err; i++) {
		uint32_t piece = csv_xattr_piece_len(name_len, len, i), n = piece;
		const uint8_t *bytes = value;

		if (i == 0) {
			n -= (uint32_t)sizeof(*rec) + name_len;
			*rec = (struct csv_xattr_rec){ le32_of(len), (uint8_t)name_len, { 0 } };
			memcpy(rec->name, name, name_len);
			if (n)
				memcpy(rec->name + name_len, value, n);
			bytes = first;
		}
		err = i < nr_old ? csv_tree_update(txn, tree, key | i, bytes, piece)
				 : csv_tree_insert(txn, tree, key | i, bytes, piece);
		if (n)
			value += n;
	}
	if (err == -ENOENT || err == -EEXIST)
		return corrupt(tree, key, "with wrong pieces");
	return err ? err : drop_pieces(txn, tree, key, nr, nr_old);
}

/* -ENOSPC: a listing would not take this name in addition. */
static int check_list(struct csv_txn *txn, struct csv_tree *tree, uint32_t name_len)
{
	const struct csv_xattr_rec *rec;
	uint32_t bytes = name_len + 1;
	uint64_t key, next = 0;
	int err;

	while ((err = attr_ge(txn, tree, next, &key, &rec)) == 0) {
		bytes += rec->name_len + 1u;
		if (bytes > CSV_XATTR_LIST_MAX)
			return -ENOSPC;
		next = (key | PIECE_MASK) + 1;
	}
	return err == -ENOENT ? 0 : err;
}

int csv_xattr_write(struct csv_txn *txn, struct csv_inode *inode, const char *name,
	uint32_t name_len, const void *value, uint32_t len, unsigned flags)
{
	uint32_t nr_old = 0;
	struct csv_tree tree;
	struct found at;
	int err = check_name(name, name_len);

	if (!err && len > CSV_XATTR_VALUE_MAX)
		err = -E2BIG;
	csv_xattr_tree_get(inode, &tree);
	if (!err)
		err = find(txn, &tree, name, name_len, &at);
	if (err)
		return err;
	if (at.there && (flags & CSV_XATTR_CREATE))
		return -EEXIST;
	if (!at.there && (flags & CSV_XATTR_REPLACE))
		return -ENODATA;
	if (at.there)
		nr_old = csv_xattr_nr_pieces(name_len, at.value_len);
	else if (at.full)
		return -ENOSPC;
	else
		err = check_list(txn, &tree, name_len);
	csv_quota_enforce(txn);
	if (!err)
		err = csv_alloc_room(txn);
	if (!err)
		err = put_pieces(txn, &tree, at.key, name, name_len, value, len, nr_old);
	return err ? err : csv_xattr_tree_put(inode, &tree);
}

int csv_xattr_erase(struct csv_txn *txn, struct csv_inode *inode, const char *name,
	uint32_t name_len)
{
	struct csv_tree tree;
	struct found at;
	int err = check_name(name, name_len);

	csv_xattr_tree_get(inode, &tree);
	if (!err)
		err = find(txn, &tree, name, name_len, &at);
	if (!err && !at.there)
		err = -ENODATA;
	if (!err)
		err = drop_pieces(txn, &tree, at.key, 0, csv_xattr_nr_pieces(name_len, at.value_len));
	return err ? err : csv_xattr_tree_put(inode, &tree);
}

int csv_xattr_set(struct csv_txn *txn, uint64_t ino, const char *name, uint32_t name_len,
	const void *value, uint32_t len, unsigned flags, int64_t now_ns)
{
	struct csv_inode inode;
	int err = csv_inode_load(txn, ino, &inode);

	if (!err)
		err = csv_xattr_write(txn, &inode, name, name_len, value, len, flags);
	inode.rec.ctime_ns = le64_of(now_ns);
	return err ? err : csv_inode_store(txn, &inode);
}

int csv_xattr_remove(struct csv_txn *txn, uint64_t ino, const char *name, uint32_t name_len,
	int64_t now_ns)
{
	struct csv_inode inode;
	int err = csv_inode_load(txn, ino, &inode);

	if (!err)
		err = csv_xattr_erase(txn, &inode, name, name_len);
	inode.rec.ctime_ns = le64_of(now_ns);
	return err ? err : csv_inode_store(txn, &inode);
}

int csv_xattr_clear(struct csv_txn *txn, uint64_t ino, bool *ret_left)
{
	const struct csv_xattr_rec *rec;
	struct csv_inode inode;
	struct csv_tree tree;
	uint64_t key;
	int err = csv_inode_load(txn, ino, &inode);

	if (err)
		return err;
	if (le64_get(inode.rec.xattrs.blk) == 0) {
		*ret_left = false;
		return 0;
	}
	csv_xattr_tree_get(&inode, &tree);
	do {
		err = attr_ge(txn, &tree, 0, &key, &rec);
		if (!err)
			err = drop_pieces(txn, &tree, key, 0,
				csv_xattr_nr_pieces(rec->name_len, le32_get(rec->value_len)));
	} while (!err && le64_get(tree.root.blk) && csv_txn_nr_blks(txn) < CSV_EXT_BUDGET_BLKS / 2);
	if (!err)
		err = csv_xattr_tree_put(&inode, &tree);
	if (!err)
		err = csv_inode_store(txn, &inode);
	if (!err)
		*ret_left = le64_get(inode.rec.xattrs.blk) != 0;
	return err;
}
