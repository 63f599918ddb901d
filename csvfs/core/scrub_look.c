/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The steps of a scrub (S1). */
#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "csvfs/core/alloc_internal.h"
#include "csvfs/core/dir_internal.h"
#include "csvfs/core/extent_internal.h"
#include "csvfs/core/quota_internal.h"
#include "csvfs/core/root_internal.h"
#include "csvfs/core/scrub_internal.h"
#include "csvfs/core/xattr_internal.h"
#include "util/err.h"

#define SESSIONS_A_STEP 16u
#define SUM_MAX_AGS 1024u     /* more groups than that are not summed up */
#define EXT_MAX_BITMAPS 8u    /* of an extent whose blocks are looked up */
#define TARGETS_A_STEP 16u    /* entries whose inodes are looked up */

typedef unsigned long long ull;

static int get(struct csv_scrub *s, struct csv_txn *txn, uint64_t blk, enum csv_blk_type type,
	const void **ret)
{
	s->at_blk = blk;
	s->next.blks++;
	return csv_txn_read(txn, blk, type, ret);
}

static void next_phase(struct scrub_pos *p, enum scrub_phase phase)
{
	p->phase = phase;
	p->at = 0;
}

/* ---- counts, sessions, groups ---- */

static int look_at_counts(struct csv_scrub *s, struct csv_txn *txn)
{
	const struct csv_geometry *geom = &s->fs->geom;
	const struct csv_root *root;
	uint64_t sum = 0;
	int err = get(s, txn, CSV_ROOT_BLK, CSV_BT_ROOT, (const void **)&root);

	if (err)
		return err;
	s->nr_inodes = le64_get(root->nr_inodes);
	for (uint64_t ag = 0; ag < geom->nr_ags && geom->nr_ags <= SUM_MAX_AGS; ag++) {
		const struct csv_ag *hdr;

		err = get(s, txn, geom->ag0_blk + ag * geom->ag_blks, CSV_BT_AG,
			(const void **)&hdr);
		if (err)
			return err;
		sum += le64_get(hdr->free_blks);
	}
	if (geom->nr_ags <= SUM_MAX_AGS && sum != le64_get(root->free_blks))
		scrub_say(s, "root-free: the root block counts %llu free blocks, the groups %llu",
			(ull)le64_get(root->free_blks), (ull)sum);
	next_phase(&s->next, SCRUB_SESSIONS);
	return 0;
}

static int look_at_sessions(struct csv_scrub *s, struct csv_txn *txn)
{
	struct scrub_pos *p = &s->next;
	const void *block;
	int err = 0;

	for (uint32_t i = 0; i < SESSIONS_A_STEP && p->at < CSV_MAX_NODES && !err; i++) {
		s->skip_to = p->at + 1;
		err = get(s, txn, CSV_SESS_BLK + p->at, CSV_BT_SESSION, &block);
		p->at++;
	}
	if (!err && p->at == CSV_MAX_NODES)
		next_phase(p, SCRUB_GROUPS);
	return err;
}

static int look_at_group(struct csv_scrub *s, struct csv_txn *txn)
{
	const struct csv_geometry *geom = &s->fs->geom;
	uint64_t ag = s->next.at, first = geom->ag0_blk + ag * geom->ag_blks, counted = 0;
	const struct csv_bitmap *bm;
	const struct csv_ag *hdr;
	int err;

	s->skip_to = ag + 1;
	err = get(s, txn, first, CSV_BT_AG, (const void **)&hdr);
	for (uint32_t i = 0; i < geom->ag_blks / CSV_BITMAP_BITS && !err; i++) {
		err = get(s, txn, first + 1 + i, CSV_BT_BITMAP, (const void **)&bm);
		for (uint32_t w = 0; w < BITMAP_WORDS && !err; w++) {
			struct le64 word;

			memcpy(&word, bm->bits + w * 8, sizeof(word));
			counted += __builtin_popcountll(~le64_get(word));
		}
	}
	if (err)
		return err;
	if (counted != le64_get(hdr->free_blks))
		scrub_say(s, "ag-free: group %llu counts %llu free blocks, its bitmaps %llu",
			(ull)ag, (ull)le64_get(hdr->free_blks), (ull)counted);
	if (++s->next.at == geom->nr_ags)
		next_phase(&s->next, SCRUB_INODES);
	return 0;
}

/* ---- trees ---- */

/* What find_leaf() found; n is NULL if there is nothing more, or not here. */
struct leaf {
	const struct csv_tree_node *n;
	uint64_t lo, hi; /* the keys that belong there */
	uint32_t entered; /* nodes on the way whose first key this is */
};

static bool node_fits(struct csv_scrub *s, const struct csv_tree_node *n, uint64_t owner,
	uint32_t level, const struct leaf *leaf, const char *whose)
{
	uint32_t first = level > 0 ? 1 : 0, nr = node_nr(n);

	if (le64_get(n->h.owner) != owner)
		scrub_say(s, "tree-owner: block %llu: a node of tree %llu in that of %s",
			(ull)s->at_blk, (ull)le64_get(n->h.owner), whose);
	else if (le16_get(n->level) != level)
		scrub_say(s, "tree-level: block %llu: a node of level %u at level %u, of %s",
			(ull)s->at_blk, le16_get(n->level), level, whose);
	else if (first < nr && (node_key(n, first) < leaf->lo || node_key(n, nr - 1) > leaf->hi))
		scrub_say(s, "tree-order: block %llu: keys that belong elsewhere, of %s",
			(ull)s->at_blk, whose);
	else
		return true;
	return false;
}

/* The leaf where key belongs. Of a node that is wrong all is left out, up to ret->hi. */
static int find_leaf(struct csv_scrub *s, struct csv_txn *txn, const struct csv_tree_root *root,
	uint64_t owner, uint64_t key, const char *whose, struct leaf *ret)
{
	uint64_t blk = le64_get(root->blk);

	*ret = (struct leaf){ .hi = UINT64_MAX };
	if (blk == 0 || root->level > CSV_TREE_MAX_LEVEL)
		return 0;
	for (uint32_t level = root->level;; level--) {
		const struct csv_tree_node *n;
		uint32_t pos;
		int err;

		if (!s->at_target)
			s->skip_to = ret->hi;
		err = get(s, txn, blk, CSV_BT_TREE, (const void **)&n);
		if (err)
			return err;
		if (!node_fits(s, n, owner, level, ret, whose))
			return 0;
		ret->entered += ret->lo == key;
		if (level == 0) {
			ret->n = n;
			return 0;
		}
		pos = node_child_pos(n, key);
		blk = node_child(n, pos);
		if (pos > 0)
			ret->lo = node_key(n, pos);
		if (pos + 1 < node_nr(n))
			ret->hi = node_key(n, pos + 1) - 1;
	}
}

static int inodes_root(struct csv_scrub *s, struct csv_txn *txn, const struct csv_root **ret)
{
	return get(s, txn, CSV_ROOT_BLK, CSV_BT_ROOT, (const void **)ret);
}

/* The record of an inode, if there is a good one. */
static int find_inode(struct csv_scrub *s, struct csv_txn *txn, uint64_t ino,
	const struct csv_inode_rec **ret)
{
	const struct csv_root *root;
	struct leaf leaf;
	const char *why;
	uint32_t pos;
	int err = inodes_root(s, txn, &root);

	*ret = NULL;
	if (!err)
		err = find_leaf(s, txn, &root->inodes, CSV_OWNER_INODES, ino, "the inode tree", &leaf);
	if (err || !leaf.n)
		return err;
	pos = node_lower_bound(leaf.n, ino);
	if (pos < node_nr(leaf.n) && node_key(leaf.n, pos) == ino &&
		csv_inode_verify(node_val(leaf.n, pos), node_len(leaf.n, pos), ino, &s->fs->geom,
			&why) == 0)
		*ret = node_val(leaf.n, pos);
	return 0;
}

/* ---- inodes ---- */

static void tree_begin(struct scrub_pos *p)
{
	p->at = 0;
	p->nr_blks = 0;
	p->end = 0;
	p->counts = true;
	p->no_targets = false;
	memset(&p->rec, 0, sizeof(p->rec));
}

/* The leaf at key `at` of the inode tree: its inodes are looked at next. */
static int look_at_inodes(struct csv_scrub *s, struct csv_txn *txn)
{
	struct scrub_pos *p = &s->next;
	const struct csv_root *root;
	struct leaf leaf;
	int err;

	s->skip_to = UINT64_MAX;
	err = inodes_root(s, txn, &root);
	if (!err)
		err = find_leaf(s, txn, &root->inodes, CSV_OWNER_INODES, p->at, "the inode tree",
			&leaf);
	if (err)
		return err;
	p->nr_inos = 0;
	p->ino_at = 0;
	for (uint32_t i = 0; leaf.n && i < node_nr(leaf.n); i++) {
		uint64_t ino = node_key(leaf.n, i);
		const char *why;

		if (ino < p->at)
			continue;
		if (csv_inode_verify(node_val(leaf.n, i), node_len(leaf.n, i), ino, &s->fs->geom,
			    &why))
			scrub_say(s, "bad-inode: inode %llu %s", (ull)ino, why);
		else if (p->nr_inos < SCRUB_INOS)
			p->inos[p->nr_inos++] = ino;
		p->inodes++;
	}
	/* Where the inode tree goes on is kept behind the inodes of this leaf. */
	p->phase = SCRUB_DATA;
	p->inos[p->nr_inos] = leaf.hi;
	tree_begin(p);
	return 0;
}

static void next_inode(struct scrub_pos *p)
{
	p->ino_at++;
	p->phase = SCRUB_DATA;
	tree_begin(p);
}

/* The blocks of an extent are marked in use. */
static int look_at_blocks(struct csv_scrub *s, struct csv_txn *txn, const struct csv_ext *ext,
	uint64_t ino)
{
	const struct csv_geometry *geom = &s->fs->geom;
	uint64_t rel = ext->phys - geom->ag0_blk, left = ext->nr;

	for (uint32_t i = 0; left && i < EXT_MAX_BITMAPS; i++) {
		uint64_t ag = rel / geom->ag_blks, in = rel % geom->ag_blks;
		uint32_t bit = in % CSV_BITMAP_BITS;
		uint32_t nr = MIN(left, CSV_BITMAP_BITS - bit);
		const struct csv_bitmap *bm;
		struct bitmap_view view = { 0 };
		int err;

		if (ag >= geom->nr_ags)
			break;
		err = get(s, txn, geom->ag0_blk + ag * geom->ag_blks + 1 + in / CSV_BITMAP_BITS,
			CSV_BT_BITMAP, (const void **)&bm);
		if (err)
			return err;
		view.bits = bm->bits;
		if (csv_bitmap_next_free(&view, bit, bit + nr) != bit + nr) {
			scrub_say(s, "free-block: of blocks %llu + %u of inode %llu some are free in "
				     "the bitmap",
				(ull)(geom->ag0_blk + rel), nr, (ull)ino);
			break;
		}
		rel += nr;
		left -= nr;
	}
	return 0;
}

static int look_at_extent(struct csv_scrub *s, struct csv_txn *txn, uint64_t ino, uint64_t key,
	const void *val, uint32_t len)
{
	struct scrub_pos *p = &s->next;
	struct csv_ext ext;
	const char *why;

	if (csv_ext_decode(key, val, len, &s->fs->geom, &ext, &why)) {
		scrub_say(s, "bad-extent: inode %llu, file block %llu: an extent %s", (ull)ino,
			(ull)key, why);
		return 0;
	}
	if (key < p->end && p->counts)
		scrub_say(s, "ext-overlap: inode %llu, file block %llu: inside of the extent before",
			(ull)ino, (ull)key);
	p->end = csv_ext_end(&ext);
	if (csv_ext_is_cover(&ext))
		return 0;
	p->nr_blks += ext.nr;
	s->at_target = true; /* a bitmap that cannot be had is no reason to leave the tree */
	int err = p->no_targets ? 0 : look_at_blocks(s, txn, &ext, ino);
	s->at_target = err != 0;
	return err;
}

static int look_at_entry(struct csv_scrub *s, struct csv_txn *txn, uint64_t ino, uint64_t key,
	const void *val, uint32_t len)
{
	const struct csv_dirent_rec *rec = val;
	const struct csv_inode_rec *to;
	const char *why;
	int err;

	if (csv_dirent_verify(key, val, len, &why)) {
		scrub_say(s, "bad-dirent: inode %llu: an entry %s (key 0x%llx)", (ull)ino, why,
			(ull)key);
		return 0;
	}
	if (csv_name_hash(&s->fs->geom, rec->name, rec->name_len) != (key & ~0xffull))
		scrub_say(s, "dirent-hash: inode %llu: an entry in a wrong place (key 0x%llx)",
			(ull)ino, (ull)key);
	if (s->next.no_targets)
		return 0;
	s->at_target = true;
	err = find_inode(s, txn, le64_get(rec->ino), &to);
	if (err)
		return err;
	s->at_target = false;
	if (!to)
		scrub_say(s, "dirent-inode: inode %llu: an entry leads to inode %llu, which does not "
			     "exist or is damaged (key 0x%llx)",
			(ull)ino, (ull)le64_get(rec->ino), (ull)key);
	else if ((le32_get(to->mode) & S_IFMT) >> 12 != rec->type)
		scrub_say(s, "dirent-type: inode %llu: an entry says type %u, inode %llu is of "
			     "another (key 0x%llx)",
			(ull)ino, rec->type, (ull)le64_get(rec->ino), (ull)key);
	return 0;
}

static int look_at_leaf(struct csv_scrub *s, struct csv_txn *txn, uint64_t ino, uint32_t fmt,
	const struct leaf *leaf)
{
	struct scrub_pos *p = &s->next;
	uint64_t from = p->at;
	int err = 0;

	for (uint32_t i = 0, nr = 0; i < node_nr(leaf->n) && !err; i++) {
		uint64_t key = node_key(leaf->n, i);
		const void *val = node_val(leaf->n, i);
		uint32_t len = node_len(leaf->n, i);
		const char *why;

		if (key < from)
			continue;
		if (p->phase == SCRUB_XATTRS) {
			if (!(key & 0xff) && csv_xattr_verify(key, val, len, &why))
				scrub_say(s, "bad-xattr: inode %llu: an attribute %s (key 0x%llx)",
					(ull)ino, why, (ull)key);
		} else if (fmt == S_IFREG) {
			err = look_at_extent(s, txn, ino, key, val, len);
		} else if (fmt == S_IFDIR) {
			if (nr++ == TARGETS_A_STEP) { /* the rest of the leaf next time */
				p->at = key;
				return 0;
			}
			err = look_at_entry(s, txn, ino, key, val, len);
		}
	}
	if (!err)
		p->at = leaf->hi + 1;
	return err;
}

/* The counts are of one state (S3) if the record is what it was. */
static bool same_state(const struct csv_inode_rec *a, const struct csv_inode_rec *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static void compare_counts(struct csv_scrub *s, const struct csv_inode_rec *rec, uint64_t ino)
{
	struct scrub_pos *p = &s->next;
	bool xattrs = p->phase == SCRUB_XATTRS;
	uint64_t want = xattrs ? le32_get(rec->xattr_blks) : le64_get(rec->nr_blks);

	if (p->counts && p->nr_blks != want)
		scrub_say(s, "inode-blocks: inode %llu counts %llu blocks%s, it has %llu", (ull)ino,
			(ull)want, xattrs ? " of attributes" : "", (ull)p->nr_blks);
}

/* The next leaf of the tree of the inode at hand. */
static int look_at_data(struct csv_scrub *s, struct csv_txn *txn)
{
	struct scrub_pos *p = &s->next;
	bool xattrs = p->phase == SCRUB_XATTRS;
	uint64_t ino = p->inos[p->ino_at], owner = ino;
	const struct csv_inode_rec *rec;
	struct csv_tree_root root;
	struct leaf leaf;
	uint32_t fmt;
	int err;

	if (p->ino_at == p->nr_inos) { /* ino is where the inode tree goes on */
		next_phase(p, ino == UINT64_MAX ? SCRUB_ORPHANS : SCRUB_INODES);
		p->at = ino == UINT64_MAX ? 0 : ino + 1;
		return 0;
	}
	s->at_target = true; /* an inode that cannot be had was told of */
	err = find_inode(s, txn, ino, &rec);
	s->at_target = false;
	if (err)
		return err;
	if (!rec) {
		next_inode(p);
		return 0;
	}
	if (p->at == 0)
		p->rec = *rec;
	p->counts &= same_state(&p->rec, rec);
	root = xattrs ? rec->xattrs : rec->tree;
	if (!xattrs)
		owner = csv_inode_tree_owner(rec, ino);
	fmt = le32_get(rec->mode) & S_IFMT;
	err = find_leaf(s, txn, &root, owner, p->at, "an inode", &leaf);
	if (err)
		return err;
	p->nr_blks += leaf.entered;
	if (!leaf.n) {
		p->counts &= le64_get(root.blk) == 0;
		p->at = leaf.hi + 1;
	} else {
		err = look_at_leaf(s, txn, ino, fmt, &leaf);
	}
	if (err || p->at != 0) /* 0: behind the last key */
		return err;
	compare_counts(s, rec, ino);
	if (xattrs) {
		next_inode(p);
	} else {
		p->phase = SCRUB_XATTRS;
		tree_begin(p);
	}
	return 0;
}

/* ---- orphans ---- */

static int look_at_orphans(struct csv_scrub *s, struct csv_txn *txn)
{
	struct scrub_pos *p = &s->next;
	const struct csv_root *root;
	struct leaf leaf;
	int err;

	s->skip_to = UINT64_MAX;
	err = inodes_root(s, txn, &root);
	if (!err)
		err = find_leaf(s, txn, &root->orphans, CSV_OWNER_ORPHANS, p->at, "the orphan list",
			&leaf);
	if (err)
		return err;
	for (uint32_t i = 0; leaf.n && i < node_nr(leaf.n); i++)
		if (node_len(leaf.n, i) != 0)
			scrub_say(s, "bad-orphan: orphan %llu: an entry of a wrong length",
				(ull)node_key(leaf.n, i));
	p->at = leaf.hi + 1;
	if (p->at == 0)
		next_phase(p, SCRUB_QUOTAS);
	return 0;
}

/* ---- projects ---- */

static int look_at_quotas(struct csv_scrub *s, struct csv_txn *txn)
{
	struct scrub_pos *p = &s->next;
	const struct csv_root *root;
	struct leaf leaf;
	const char *why;
	int err;

	s->skip_to = UINT64_MAX;
	err = inodes_root(s, txn, &root);
	if (!err)
		err = find_leaf(s, txn, &root->quotas, CSV_OWNER_QUOTAS, p->at, "the projects", &leaf);
	if (err)
		return err;
	for (uint32_t i = 0; leaf.n && i < node_nr(leaf.n); i++)
		if (csv_quota_verify(node_key(leaf.n, i), node_val(leaf.n, i), node_len(leaf.n, i),
			    &why))
			scrub_say(s, "bad-quota: project %llu: its entry %s", (ull)node_key(leaf.n, i),
				why);
	p->at = leaf.hi + 1;
	if (p->at == 0)
		next_phase(p, SCRUB_END);
	return 0;
}

int scrub_look(struct csv_scrub *s, struct csv_txn *txn)
{
	switch (s->next.phase) {
	case SCRUB_COUNTS:
		return look_at_counts(s, txn);
	case SCRUB_SESSIONS:
		return look_at_sessions(s, txn);
	case SCRUB_GROUPS:
		return look_at_group(s, txn);
	case SCRUB_INODES:
		return look_at_inodes(s, txn);
	case SCRUB_DATA:
	case SCRUB_XATTRS:
		return look_at_data(s, txn);
	case SCRUB_ORPHANS:
		return look_at_orphans(s, txn);
	case SCRUB_QUOTAS:
		return look_at_quotas(s, txn);
	default:
		return -EINVAL;
	}
}

void scrub_skip(struct csv_scrub *s)
{
	struct scrub_pos *p = &s->next;

	switch (p->phase) {
	case SCRUB_COUNTS:
		next_phase(p, SCRUB_SESSIONS);
		break;
	case SCRUB_SESSIONS:
		p->at = s->skip_to;
		if (p->at == CSV_MAX_NODES)
			next_phase(p, SCRUB_GROUPS);
		break;
	case SCRUB_GROUPS:
		p->at = s->skip_to;
		if (p->at == s->fs->geom.nr_ags)
			next_phase(p, SCRUB_INODES);
		break;
	case SCRUB_INODES:
		if (s->skip_to == UINT64_MAX)
			next_phase(p, SCRUB_ORPHANS);
		else
			p->at = s->skip_to + 1;
		break;
	case SCRUB_DATA:
	case SCRUB_XATTRS:
		if (s->at_target && !p->no_targets) {
			p->no_targets = true;
		} else if (s->at_target || s->skip_to == UINT64_MAX) {
			next_inode(p);
		} else {
			p->at = s->skip_to + 1;
			p->counts = false;
		}
		break;
	case SCRUB_ORPHANS:
		next_phase(p, SCRUB_QUOTAS);
		break;
	default:
		next_phase(p, SCRUB_END);
		break;
	}
}
