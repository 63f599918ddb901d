/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A volume with something of everything, and for each code of the check what makes it come. */
#ifndef TESTS_UNIT_CORE_CORRUPT_H
#define TESTS_UNIT_CORE_CORRUPT_H

#include "csvfs/core/check_internal.h"
#include "csvfs/core/root_internal.h"
#include "tests/unit/core_ops.h"

#define ROOT CSV_ROOT_INO

/* ---- a volume with something of everything ---- */

static struct {
	uint64_t dir, sub, empty, file, other, link, small, orphan, orphan_dir, origin, clone;
} at;

CALL(project_limit, c->max, c->blk, c->nr, c->out)
CALL(clone, c->ino, c->dir, c->blk, c->nr, 7, c->attr)

static void populate_clone(struct engine *e)
{
	struct csv_attr a = { .size = 40 * CSV_BLOCK_BYTES };

	CHECK_OK(t_create(e, ROOT, "origin", S_IFREG | 0644, &a));
	at.origin = a.ino;
	CHECK_OK(t_alloc(e, at.origin, 0, 40));
	CHECK_OK(t_written(e, at.origin, 0, 40));
	a.size = 40 * CSV_BLOCK_BYTES;
	CHECK_OK(t_set(e, at.origin, CSV_SET_SIZE, &a, NULL));
	CHECK_OK(t_create(e, ROOT, "clone", S_IFREG | 0644, &a));
	at.clone = a.ino;
	CHECK_OK(DO(e, clone, .ino = at.origin, .dir = at.clone, .blk = 0, .nr = UINT64_MAX,
		.attr = &a));
	CHECK(a.base);
}

static void populate(struct engine *e)
{
	char name[64], text[300];
	struct csv_project p;
	struct csv_attr a;

	memset(text, 't', sizeof(text));
	CHECK_OK(t_create(e, ROOT, "dir", S_IFDIR | 0755, &a));
	at.dir = a.ino;
	a.projid = 77;
	a.projinherit = true;
	CHECK_OK(t_set(e, at.dir, CSV_SET_PROJECT, &a, NULL));
	CHECK_OK(DO(e, project_limit, .max = 77, .blk = 1 << 20, .out = &p));
	CHECK_OK(t_create(e, at.dir, "sub", S_IFDIR | 0755, &a));
	at.sub = a.ino;
	CHECK_OK(t_create(e, ROOT, "empty", S_IFDIR | 0755, &a));
	at.empty = a.ino;
	CHECK_OK(t_create(e, ROOT, "file", S_IFREG | 0644, &a));
	at.file = a.ino;
	CHECK_OK(t_alloc(e, at.file, 0, 1000));
	for (uint64_t blk = 0; blk < 1000; blk += 3)
		CHECK_OK(t_written(e, at.file, blk, 1));
	CHECK_OK(t_create(e, at.sub, "other", S_IFREG | 0644, &a));
	at.other = a.ino;
	CHECK_OK(t_alloc(e, at.other, 16, 64));
	CHECK_OK(t_link(e, at.other, at.dir, "link", &a));
	CHECK_OK(t_symlink(e, ROOT, "symlink", "over/there", &a));
	at.link = a.ino;
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "a somewhat longer name, number %d", i);
		CHECK_OK(t_create(e, at.dir, name, S_IFREG | 0600, &a));
		CHECK_OK(t_inline_set(e, a.ino, text, 100 + 2 * i));
	}
	at.small = a.ino;
	populate_clone(e);
	for (int i = 0; i < 5; i++) { /* numbers that nobody has any more */
		CHECK_OK(t_create(e, ROOT, "gone", S_IFREG, &a));
		CHECK_OK(t_unlink(e, ROOT, "gone", false, &a));
		CHECK_OK(t_orphan_free(e, a.ino));
	}
	CHECK_OK(t_create(e, ROOT, "gone", S_IFREG, &a));
	CHECK_OK(t_alloc(e, a.ino, 0, 30));
	CHECK_OK(t_unlink(e, ROOT, "gone", false, &a));
	at.orphan = a.ino;
	CHECK_OK(t_create(e, ROOT, "gone", S_IFDIR, &a));
	CHECK_OK(t_unlink(e, ROOT, "gone", true, &a));
	at.orphan_dir = a.ino;
}

/* ---- corrupters: operations that do what the engine never does ---- */

static struct csv_inode inode;
static const char *name_arg;

static int load(struct csv_txn *txn, uint64_t ino)
{
	return csv_inode_load(txn, ino, &inode);
}

static int nlink_wrong(struct csv_txn *txn, void *arg)
{
	int err = load(txn, at.other);

	inode.rec.nlink = le32_of(7);
	return err ? err : csv_inode_store(txn, &inode);
}

static int inode_blocks_wrong(struct csv_txn *txn, void *arg)
{
	int err = load(txn, at.file);

	inode.rec.nr_blks = le64_of(le64_get(inode.rec.nr_blks) + 1);
	return err ? err : csv_inode_store(txn, &inode);
}

static int bad_inode(struct csv_txn *txn, void *arg)
{
	int err = load(txn, at.small);

	inode.rec.kind = 9;
	return err ? err : csv_inode_store(txn, &inode);
}

static int dir_size_wrong(struct csv_txn *txn, void *arg)
{
	int err = load(txn, at.dir);

	inode.rec.size = le64_of(le64_get(inode.rec.size) - 1);
	return err ? err : csv_inode_store(txn, &inode);
}

static int dir_parent_wrong(struct csv_txn *txn, void *arg)
{
	int err = load(txn, at.sub);

	inode.rec.parent = le64_of(ROOT);
	return err ? err : csv_inode_store(txn, &inode);
}

static int xattrs_there(struct csv_txn *txn, void *arg)
{
	int err = load(txn, at.file);

	inode.rec.xattrs = inode.rec.tree;
	inode.rec.xattr_blks = le32_of(1);
	return err ? err : csv_inode_store(txn, &inode);
}

static int layer_base_wrong(struct csv_txn *txn, void *arg)
{
	int err = load(txn, at.clone);

	inode.rec.base = le64_of(at.file);
	return err ? err : csv_inode_store(txn, &inode);
}

static int layer_depth_wrong(struct csv_txn *txn, void *arg)
{
	int err = load(txn, at.clone);

	inode.rec.depth = le32_of(2);
	return err ? err : csv_inode_store(txn, &inode);
}

/* The record goes, its tree and its name stay. */
static int lost_inode(struct csv_txn *txn, void *arg)
{
	return csv_inode_remove(txn, at.file);
}

static int shares_there(struct csv_txn *txn, void *arg)
{
	struct csv_root *root;
	int err = csv_root_write(txn, &root);

	if (!err)
		root->shares = root->inodes;
	return err;
}

static int no_root(struct csv_txn *txn, void *arg)
{
	return csv_inode_remove(txn, ROOT);
}

/* Changes dir's entry of that name to what change makes of it. */
static int edit_dirent(struct csv_txn *txn, uint64_t dir, const char *name,
	void (*change)(struct csv_dirent_rec *rec, uint32_t *len, uint64_t *key))
{
	uint8_t buf[sizeof(struct csv_dirent_rec) + 300] = { 0 };
	struct csv_dirent_rec *rec = (struct csv_dirent_rec *)buf;
	struct csv_inode d;
	struct csv_name found;
	struct csv_tree tree;
	const void *val;
	uint32_t len;
	int err = csv_dir_load(txn, dir, &d);

	if (!err)
		err = csv_dir_find(txn, &d, name, strlen(name), &found);
	if (err)
		return err;
	CHECK(found.ino);
	csv_inode_tree_get(&d, &tree);
	err = csv_tree_get(txn, &tree, found.key, &val, &len);
	if (err)
		return err;
	memcpy(buf, val, len);
	err = csv_tree_remove(txn, &tree, found.key);
	if (err)
		return err;
	change(rec, &len, &found.key);
	if (found.key)
		err = csv_tree_insert(txn, &tree, found.key, buf, len);
	if (!err)
		err = csv_inode_tree_put(&d, &tree);
	d.rec.size = le64_of(le64_get(d.rec.size) - (found.key == 0));
	return err ? err : csv_inode_store(txn, &d);
}

static void to_no_inode(struct csv_dirent_rec *rec, uint32_t *len, uint64_t *key)
{
	rec->ino = le64_of(55555);
}

static int dirent_inode_wrong(struct csv_txn *txn, void *arg)
{
	return edit_dirent(txn, at.dir, "link", to_no_inode);
}

static void to_fifo(struct csv_dirent_rec *rec, uint32_t *len, uint64_t *key)
{
	rec->type = DT_FIFO;
}

static int dirent_type_wrong(struct csv_txn *txn, void *arg)
{
	return edit_dirent(txn, at.dir, "link", to_fifo);
}

static void to_other_name(struct csv_dirent_rec *rec, uint32_t *len, uint64_t *key)
{
	rec->name[0] ^= 1;
}

static int dirent_hash_wrong(struct csv_txn *txn, void *arg)
{
	return edit_dirent(txn, at.dir, "link", to_other_name);
}

static void to_slash(struct csv_dirent_rec *rec, uint32_t *len, uint64_t *key)
{
	rec->name[1] = '/';
}

static int bad_dirent(struct csv_txn *txn, void *arg)
{
	return edit_dirent(txn, at.dir, "link", to_slash);
}

static void to_longer(struct csv_dirent_rec *rec, uint32_t *len, uint64_t *key)
{
	*len += 3;
}

static int bad_dirent_len(struct csv_txn *txn, void *arg)
{
	return edit_dirent(txn, at.dir, "link", to_longer);
}

static void to_nothing(struct csv_dirent_rec *rec, uint32_t *len, uint64_t *key)
{
	*key = 0;
}

static int unreachable(struct csv_txn *txn, void *arg)
{
	return edit_dirent(txn, at.dir, "sub", to_nothing);
}

static void to_sub(struct csv_dirent_rec *rec, uint32_t *len, uint64_t *key)
{
	rec->ino = le64_of(at.sub);
	rec->type = DT_DIR;
}

static int dir_names_wrong(struct csv_txn *txn, void *arg)
{
	return edit_dirent(txn, at.dir, "link", to_sub);
}

/* Gives dir an entry of any name, without any of the rest. */
static int plant_dirent(struct csv_txn *txn, uint64_t dir, const char *name, uint64_t ino,
	uint64_t key_add)
{
	struct csv_inode d;
	struct csv_name n = { .name = name, .len = strlen(name) };
	int err = csv_inode_load(txn, dir, &d);

	if (!err)
		err = csv_inode_load(txn, ino, &inode);
	n.key = csv_name_hash(csv_fs_geometry(csv_txn_fs(txn)), name, n.len) + key_add;
	if (!err)
		err = csv_dir_add(txn, &d, &n, &inode, 1);
	return err ? err : csv_inode_store(txn, &d);
}

static int dirent_twice(struct csv_txn *txn, void *arg)
{
	return plant_dirent(txn, at.dir, "link", at.other, 3);
}

static int orphan_dir_full(struct csv_txn *txn, void *arg)
{
	return plant_dirent(txn, at.orphan_dir, "here", at.other, 0);
}

/* dir goes from the root into sub, which is in it. */
static int dir_loop(struct csv_txn *txn, void *arg)
{
	int err = edit_dirent(txn, ROOT, "dir", to_nothing);

	return err ? err : plant_dirent(txn, at.sub, "dir", at.dir, 0);
}

static int edit_orphans(struct csv_txn *txn, uint64_t add, uint32_t len, uint64_t del)
{
	struct csv_tree tree;
	int err = csv_root_tree_get(txn, CSV_OWNER_ORPHANS, &tree);

	if (!err && add)
		err = csv_tree_insert(txn, &tree, add, "abcd", len);
	if (!err && del)
		err = csv_tree_remove(txn, &tree, del);
	return err ? err : csv_root_tree_put(txn, &tree);
}

static int orphan_inode_wrong(struct csv_txn *txn, void *arg)
{
	return edit_orphans(txn, 7777, 0, 0);
}

static int orphan_named(struct csv_txn *txn, void *arg)
{
	return edit_orphans(txn, at.file, 0, 0);
}

static int orphan_lost(struct csv_txn *txn, void *arg)
{
	return edit_orphans(txn, 0, 0, at.orphan);
}

static int bad_orphan(struct csv_txn *txn, void *arg)
{
	return edit_orphans(txn, at.file, 4, 0);
}

/* Puts an extent into at.other's tree. */
static int plant_extent(struct csv_txn *txn, uint64_t blk, uint64_t phys, uint32_t nr,
	uint32_t flags)
{
	struct csv_extent_rec rec = { le64_of(phys), le32_of(nr), le32_of(flags) };
	struct csv_tree tree;
	int err = load(txn, at.other);

	csv_inode_tree_get(&inode, &tree);
	if (!err)
		err = csv_tree_insert(txn, &tree, blk, &rec, sizeof(rec));
	if (!err)
		err = csv_inode_tree_put(&inode, &tree);
	inode.rec.nr_blks = le64_of(le64_get(inode.rec.nr_blks) + nr);
	return err ? err : csv_inode_store(txn, &inode);
}

static int dup_extent(struct csv_txn *txn, void *arg)
{
	struct csv_extent x;
	uint32_t nr;
	int err = csv_extent_map(txn, at.file, 0, 1, &x, 1, &nr);

	return err ? err : plant_extent(txn, 500, x.phys, 1, 0);
}

static int dup_group(struct csv_txn *txn, void *arg)
{
	return plant_extent(txn, 500, csv_fs_geometry(csv_txn_fs(txn))->ag0_blk, 1, 0);
}

static int ext_overlap(struct csv_txn *txn, void *arg)
{
	uint64_t blk, nr;
	int err = csv_alloc_data(txn, 0, 1, &blk, &nr);

	return err ? err : plant_extent(txn, 20, blk, 1, 0);
}

static int bad_range(struct csv_txn *txn, void *arg)
{
	const struct csv_geometry *geom = csv_fs_geometry(csv_txn_fs(txn));

	return plant_extent(txn, 500, geom->ag0_blk + geom->ag_blks - 4, 20, 0);
}

static int bad_extent_place(struct csv_txn *txn, void *arg)
{
	return plant_extent(txn, 500, 1, 1, 0);
}

static int bad_extent_flags(struct csv_txn *txn, void *arg)
{
	return plant_extent(txn, 500, 5000, 1, 0x80);
}

static int bad_extent_nr(struct csv_txn *txn, void *arg)
{
	return plant_extent(txn, 500, 5000, 0, 0);
}

static int bad_extent_end(struct csv_txn *txn, void *arg)
{
	return plant_extent(txn, UINT64_MAX - 2, 5000, 100, 0);
}

/* A node of a fresh block as at.empty's tree. */
static int plant_node(struct csv_txn *txn, uint64_t owner, uint32_t level, uint32_t root_level,
	uint64_t key)
{
	struct csv_tree_node *n;
	uint64_t blk;
	int err = load(txn, at.empty);

	if (!err)
		err = csv_alloc_meta(txn, 0, &blk);
	if (!err)
		err = csv_txn_new(txn, blk, CSV_BT_TREE, owner, (void **)&n);
	if (err)
		return err;
	n->level = le16_of(level);
	n->nr = le16_of(1);
	n->low = le16_of(4096 - 16);
	n->slots[0] = (struct csv_tree_slot){ le64_of(key), le16_of(4096 - 16), le16_of(16) };
	if (level > 0)
		((struct csv_tree_ptr *)((uint8_t *)n + 4080))->blk = le64_of(blk);
	inode.rec.tree = (struct csv_tree_root){ .blk = le64_of(blk), .level = root_level };
	inode.rec.nr_blks = le64_of(1);
	return csv_inode_store(txn, &inode);
}

static int tree_owner_wrong(struct csv_txn *txn, void *arg)
{
	return plant_node(txn, at.dir, 0, 0, 256);
}

static int tree_level_wrong(struct csv_txn *txn, void *arg)
{
	return plant_node(txn, at.empty, 0, 1, 256);
}

/* An inner node that is its own child. */
static int tree_circle(struct csv_txn *txn, void *arg)
{
	return plant_node(txn, at.empty, 3, 3, 256);
}

/* The directory's second leaf begins with a key that belongs to the first. */
static int tree_order_wrong(struct csv_txn *txn, void *arg)
{
	struct csv_tree_node *n;
	const struct csv_tree_ptr *ptr;
	uint64_t blk;
	int err = load(txn, at.dir);

	if (err)
		return err;
	CHECK(inode.rec.tree.level == 1);
	err = csv_txn_read(txn, le64_get(inode.rec.tree.blk), CSV_BT_TREE, (const void **)&n);
	if (err)
		return err;
	ptr = (const struct csv_tree_ptr *)((uint8_t *)n + le16_get(n->slots[1].off));
	blk = le64_get(ptr->blk);
	err = csv_txn_write(txn, blk, CSV_BT_TREE, (void **)&n);
	if (!err)
		n->slots[0].key = le64_of(300);
	return err;
}

static int root_count(struct csv_txn *txn, void *arg)
{
	struct csv_root *root;
	int err = csv_root_write(txn, &root);

	if (err)
		return err;
	if (strcmp(name_arg, "root-free") == 0)
		root->free_blks = le64_of(le64_get(root->free_blks) - 1);
	else if (strcmp(name_arg, "root-inodes") == 0)
		root->nr_inodes = le64_of(le64_get(root->nr_inodes) - 1);
	else
		root->next_ino = le64_of(at.orphan_dir);
	return 0;
}

static int ag_wrong(struct csv_txn *txn, void *arg)
{
	struct csv_ag *ag;
	int err = csv_txn_write(txn, csv_fs_geometry(csv_txn_fs(txn))->ag0_blk, CSV_BT_AG,
		(void **)&ag);

	if (err)
		return err;
	ag->free_blks = le64_of(le64_get(ag->free_blks) - 3);
	return 0;
}

static int bitmap_wrong(struct csv_txn *txn, void *arg)
{
	struct csv_bitmap *bm;
	int err = csv_txn_write(txn, csv_fs_geometry(csv_txn_fs(txn))->ag0_blk + 1, CSV_BT_BITMAP,
		(void **)&bm);

	if (err)
		return err;
	if (strcmp(name_arg, "leak-block") == 0)
		bm->bits[3900] |= 4;
	else
		bm->bits[0] &= ~8;
	return 0;
}

/* Entries of projects: 77 is right, but for the codes; nobody is of 78. */
static int quota_wrong(struct csv_txn *txn, void *arg)
{
	struct csv_quota_rec rec = { .blks = le64_of(12345), .limit_blks = le64_of(1 << 20) };
	struct csv_tree tree;
	int err = csv_root_tree_get(txn, CSV_OWNER_QUOTAS, &tree);

	if (!err && strcmp(name_arg, "bad-quota") == 0)
		err = csv_tree_insert(txn, &tree, 78, &rec, sizeof(rec) - 1);
	else if (!err)
		err = csv_tree_update(txn, &tree, 77, &rec, sizeof(rec));
	return err ? err : csv_root_tree_put(txn, &tree);
}

static int quota_none(struct csv_txn *txn, void *arg)
{
	struct csv_quota_rec rec = { .inodes = le64_of(1) };
	struct csv_tree tree;
	int err = csv_root_tree_get(txn, CSV_OWNER_QUOTAS, &tree);

	if (!err)
		err = csv_tree_remove(txn, &tree, 77);
	if (!err)
		err = csv_tree_insert(txn, &tree, 78, &rec, sizeof(rec));
	return err ? err : csv_root_tree_put(txn, &tree);
}

static const struct corrupter {
	const char *code;
	int (*fn)(struct csv_txn *txn, void *arg);
} corrupters[] = {
	{ "nlink", nlink_wrong },
	{ "inode-blocks", inode_blocks_wrong },
	{ "bad-inode", bad_inode },
	{ "dir-size", dir_size_wrong },
	{ "dir-parent", dir_parent_wrong },
	{ "dir-names", dir_names_wrong },
	{ "dir-loop", dir_loop },
	{ "dup-block", xattrs_there },
	{ "unknown-tree", shares_there },
	{ "no-root", no_root },
	{ "layer-base", layer_base_wrong },
	{ "layer-depth", layer_depth_wrong },
	{ "lost-inode", lost_inode },
	{ "unreachable", unreachable },
	{ "dirent-inode", dirent_inode_wrong },
	{ "dirent-type", dirent_type_wrong },
	{ "dirent-hash", dirent_hash_wrong },
	{ "dirent-twice", dirent_twice },
	{ "bad-dirent", bad_dirent },
	{ "bad-dirent", bad_dirent_len },
	{ "orphan-inode", orphan_inode_wrong },
	{ "orphan-named", orphan_named },
	{ "orphan-lost", orphan_lost },
	{ "orphan-dir", orphan_dir_full },
	{ "bad-orphan", bad_orphan },
	{ "dup-block", dup_extent },
	{ "dup-block", dup_group },
	{ "ext-overlap", ext_overlap },
	{ "bad-range", bad_range },
	{ "bad-extent", bad_extent_place },
	{ "bad-extent", bad_extent_flags },
	{ "bad-extent", bad_extent_nr },
	{ "bad-extent", bad_extent_end },
	{ "tree-owner", tree_owner_wrong },
	{ "tree-level", tree_level_wrong },
	{ "dup-block", tree_circle },
	{ "tree-order", tree_order_wrong },
	{ "quota-use", quota_wrong },
	{ "quota-use", quota_none },
	{ "bad-quota", quota_wrong },
	{ "root-free", root_count },
	{ "root-inodes", root_count },
	{ "next-ino", root_count },
	{ "ag-free", ag_wrong },
	{ "leak-block", bitmap_wrong },
	{ "free-block", bitmap_wrong },
};

/* ---- looking for a code ---- */

struct codes {
	const char *want;
	bool found;
	char all[4096];
};

static void on_msg(void *arg, const char *text)
{
	struct codes *c = arg;
	size_t len = strlen(c->want), used = strlen(c->all);

	c->found |= strncmp(text, c->want, len) == 0 && text[len] == ':';
	snprintf(c->all + used, sizeof(c->all) - used, "  %s\n", text);
}

static inline void expect_code(struct engine *e, const char *code)
{
	struct csv_check_report report;
	struct codes codes = { .want = code };

	CHECK_OK(csv_check(e->fs, on_msg, &codes, &report));
	if (codes.found && report.errors)
		return;
	fprintf(stderr, "%s was not found, but:\n%s", code, codes.all);
	exit(1);
}

static inline void begin(struct engine *e)
{
	/* Two groups and a bit. */
	engine_device(e, "ram:260M", true, 0, 0);
	engine_open(e, 0);
	populate(e);
	t_check(e);
}

#endif
