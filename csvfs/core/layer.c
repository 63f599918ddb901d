/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Layers: found through, made, let go of. */
#include "csvfs/core/layer.h"

#include <errno.h>
#include <string.h>

#include "csvfs/core/alloc.h"
#include "csvfs/core/quota_internal.h"
#include "util/checked.h"
#include "util/err.h"
#include "util/log.h"

typedef unsigned long long ull;

/* The layer that inode stands on. */
static int load_base(struct csv_txn *txn, const struct csv_inode *inode, struct csv_inode *ret)
{
	uint64_t base = le64_get(inode->rec.base);
	int err = csv_inode_load(txn, base, ret);

	if (err && err != -ESTALE)
		return err;
	if (err || !csv_inode_is_layer(&ret->rec) || le32_get(ret->rec.refs) == 0 ||
		le32_get(ret->rec.depth) + 1 != le32_get(inode->rec.depth)) {
		log_error("inode %llu: its base, inode %llu, %s", (ull)inode->ino, (ull)base,
			err ? "does not exist" : "is not the layer below it");
		return -ERR_CORRUPT;
	}
	return 0;
}

int csv_layers_load(struct csv_txn *txn, const struct csv_inode *inode, struct csv_layers *ret)
{
	struct csv_inode at = *inode, below;

	csv_inode_tree_get(inode, &ret->at[0].tree);
	ret->at[0].limit = CSV_FILE_MAX_BLKS;
	/* Depths fall by one each, and fit. */
	for (ret->nr = 1; le64_get(at.rec.base); ret->nr++) {
		int err = load_base(txn, &at, &below);

		if (err)
			return err;
		csv_inode_tree_get(&below, &ret->at[ret->nr].tree);
		ret->at[ret->nr].limit =
			MIN(ret->at[ret->nr - 1].limit, le64_get(at.rec.base_blks));
		at = below;
	}
	return 0;
}

int csv_layers_find(struct csv_txn *txn, struct csv_layers *layers, uint64_t pos, uint64_t end,
	struct csv_piece *ret)
{
	*ret = (struct csv_piece){ .end = end };
	for (uint32_t i = 0; i < layers->nr && pos < layers->at[i].limit; i++) {
		struct csv_ext ext;
		int err = csv_ext_find(txn, &layers->at[i].tree, pos, &ext);

		ret->end = MIN(ret->end, layers->at[i].limit);
		if (err && err != -ENOENT)
			return err;
		if (err)
			continue;
		if (ext.blk > pos) {
			ret->end = MIN(ret->end, ext.blk);
			continue;
		}
		ret->end = MIN(ret->end, csv_ext_end(&ext));
		if (!ext.flags) {
			ret->phys = ext.phys + (pos - ext.blk);
			ret->state = i ? CSV_SHARED : CSV_WRITTEN;
			return 0;
		}
		if (i == 0 && !csv_ext_is_cover(&ext))
			ret->own_phys = ext.phys + (pos - ext.blk);
		if (ext.flags & CSV_EXT_COVER)
			break;
	}
	ret->state = ret->own_phys ? CSV_UNWRITTEN : CSV_HOLE;
	ret->phys = ret->own_phys;
	return 0;
}

static int add_ref(struct csv_txn *txn, uint64_t ino)
{
	struct csv_inode layer;
	int err = csv_inode_load(txn, ino, &layer);

	if (err)
		return err == -ESTALE ? -ERR_CORRUPT : err;
	layer.rec.refs = le32_of(le32_get(layer.rec.refs) + 1);
	if (le32_get(layer.rec.refs) > CSV_LINK_MAX)
		return -EMLINK;
	return csv_inode_store(txn, &layer);
}

int csv_layer_drop(struct csv_txn *txn, struct csv_inode *inode)
{
	struct csv_inode layer;
	int err = load_base(txn, inode, &layer);

	if (err)
		return err;
	layer.rec.refs = le32_of(le32_get(layer.rec.refs) - 1);
	if (le32_get(layer.rec.refs) == 0)
		err = csv_orphan_add(txn, layer.ino);
	inode->rec.base = inode->rec.base_blks = inode->rec.base_nr_blks = le64_of(0);
	inode->rec.depth = le32_of(0);
	return err ? err : csv_inode_store(txn, &layer);
}

/* Puts inode's own tree into a new layer below it. The caller stores inode. */
static int freeze(struct csv_txn *txn, struct csv_inode *inode)
{
	struct csv_inode layer = *inode;
	struct csv_inode_rec *rec = &inode->rec;
	int err;

	if (le32_get(rec->depth) >= CSV_DEPTH_MAX)
		return -EOPNOTSUPP;
	layer.rec.flags = le32_of(CSV_INODE_LAYER);
	layer.rec.nlink = le32_of(0);
	memset(&layer.rec.xattrs, 0, sizeof(layer.rec.xattrs)); /* these stay with the name */
	layer.rec.xattr_blks = le32_of(0);
	layer.rec.refs = le32_of(1);
	layer.rec.xattrs = (struct csv_tree_root){ 0 }; /* those stay with the file */
	layer.rec.xattr_blks = le32_of(0);
	layer.rec.tree_owner = le64_of(csv_inode_tree_owner(rec, inode->ino));
	err = csv_inode_insert(txn, &layer);
	if (err)
		return err;
	memset(&rec->tree, 0, sizeof(rec->tree));
	/* The nodes of the new tree are told from those of the old one by the layer's number. */
	rec->tree_owner = le64_of(layer.ino);
	rec->base_nr_blks = le64_of(le64_get(rec->base_nr_blks) + le64_get(rec->nr_blks));
	rec->nr_blks = le64_of(0);
	rec->base = le64_of(layer.ino);
	rec->base_blks = le64_of(CSV_FILE_MAX_BLKS);
	rec->depth = le32_of(le32_get(rec->depth) + 1);
	return 0;
}

static bool is_empty(const struct csv_inode_rec *rec)
{
	return rec->kind == CSV_DATA_NONE && le64_get(rec->size) == 0;
}

/* dst goes on with what it has of src; true if it can. */
static bool continues(const struct csv_inode *src, const struct csv_inode *dst, uint64_t off)
{
	return !le64_get(src->rec.tree.blk) && !le64_get(dst->rec.tree.blk) &&
	       le64_get(dst->rec.base) && le64_get(dst->rec.base) == le64_get(src->rec.base) &&
	       le64_get(dst->rec.size) == off &&
	       le64_get(dst->rec.base_blks) ==
		       MIN(le64_get(src->rec.base_blks), off / CSV_BLOCK_BYTES);
}

/* dst becomes the first end bytes of src. */
static int share(struct csv_txn *txn, struct csv_inode *src, struct csv_inode *dst, uint64_t end)
{
	int err = 0;

	if (src->rec.kind == CSV_DATA_INLINE) {
		dst->rec.kind = CSV_DATA_INLINE;
		dst->rec.inline_len = le16_of(MIN(le16_get(src->rec.inline_len), end));
		memcpy(dst->data, src->data, le16_get(dst->rec.inline_len));
		return 0;
	}
	if (le64_get(src->rec.tree.blk)) {
		err = freeze(txn, src);
		if (!err)
			err = csv_inode_store(txn, src);
	}
	if (err || !le64_get(src->rec.base))
		return err;
	dst->rec.kind = CSV_DATA_TREE;
	dst->rec.base = src->rec.base;
	dst->rec.base_blks = le64_of(
		MIN(le64_get(src->rec.base_blks), DIV_ROUND_UP(end, CSV_BLOCK_BYTES)));
	dst->rec.base_nr_blks = src->rec.base_nr_blks;
	dst->rec.depth = src->rec.depth;
	return add_ref(txn, le64_get(src->rec.base));
}

int csv_clone(struct csv_txn *txn, uint64_t src_ino, uint64_t dst_ino, uint64_t off, uint64_t len,
	int64_t now_ns, struct csv_attr *ret)
{
	struct csv_inode src, dst;
	uint64_t end, size;
	int err = src_ino == dst_ino ? -EINVAL : csv_inode_load_file(txn, src_ino, &src);

	if (!err)
		err = csv_inode_load_file(txn, dst_ino, &dst);
	if (err)
		return err;
	if (csv_inode_is_layer(&src.rec) || csv_inode_is_layer(&dst.rec))
		return -ESTALE;
	size = le64_get(src.rec.size);
	if (checked_add(off, len, &end) || end > size)
		end = size;
	if (off >= end) {
		csv_inode_attr(&dst, ret);
		return 0;
	}
	if (off % CSV_BLOCK_BYTES || (end % CSV_BLOCK_BYTES && end != size) ||
		(off ? !continues(&src, &dst, off) : !is_empty(&dst.rec)))
		return -EOPNOTSUPP;
	csv_quota_enforce(txn);
	err = csv_alloc_room(txn);
	if (!err && off)
		dst.rec.base_blks = le64_of(
			MIN(le64_get(src.rec.base_blks), DIV_ROUND_UP(end, CSV_BLOCK_BYTES)));
	else if (!err)
		err = share(txn, &src, &dst, end);
	if (err)
		return err;
	dst.rec.size = le64_of(end);
	dst.rec.mtime_ns = dst.rec.ctime_ns = le64_of((uint64_t)now_ns);
	csv_inode_attr(&dst, ret);
	return csv_inode_store(txn, &dst);
}
