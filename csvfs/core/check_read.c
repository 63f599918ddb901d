/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How the check reads: through the engine's cache, many blocks ahead. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "csvfs/core/btree_internal.h"
#include "csvfs/core/check_internal.h"
#include "util/err.h"

#define READS 512u   /* in flight */
#define LEAVES 32u   /* of the inode tree, whose inodes' trees are asked for together */
#define INNER 1024u  /* roots of their trees whose children are asked for, too */
#define CHILDREN 64u /* of each */

typedef unsigned long long ull;

/* *ret has a reference, and is read or failed. */
static int get(struct check *c, uint64_t blk, struct csv_buf **ret)
{
	int err;

	if (blk >= c->geom->nr_blks)
		return -ERR_CORRUPT;
	if (++c->nr_read % 64 == 0) /* others live on the loop, too: a lease that is renewed */
		loop_run_once(bdev_queue_loop(c->fs->queue), false);
	err = csv_cache_get(c->fs, blk, ret);
	while (!err && (*ret)->state == CSV_BUF_READING)
		loop_run_once(bdev_queue_loop(c->fs->queue), true);
	return err;
}

int check_read(struct check *c, uint64_t blk, enum csv_blk_type type, const char *whose, void *buf,
	bool *ret_ok)
{
	struct csv_buf *b = NULL;
	int err = get(c, blk, &b);

	*ret_ok = false;
	if (csv_fs_error(c->fs)) {
		err = csv_fs_error(c->fs);
		goto out;
	}
	if (err == -ENOMEM)
		goto out;
	if (!err && b->state == CSV_BUF_FAILED)
		err = b->error;
	else if (!err && b->type != type)
		err = -ERR_CORRUPT;
	if (!err) {
		memcpy(buf, b->data, CSV_BLOCK_BYTES);
		*ret_ok = true;
	} else {
		check_say(c, err == -ERR_CORRUPT ? "bad-block" : "read-error",
			"block %llu (%s of %s): %s", (ull)blk, csv_blk_ops(type)->name, whose,
			err_str(err));
		err = check_grow(&c->bad, c->nr_bad, &c->max_bad, sizeof(*c->bad));
		if (!err)
			c->bad[c->nr_bad++] = blk;
	}
out:
	if (b)
		csv_buf_unref(&c->fs->cache, b);
	return err;
}

bool check_is_bad(const struct check *c, uint64_t blk)
{
	for (uint64_t i = 0; i < c->nr_bad; i++)
		if (c->bad[i] == blk)
			return true;
	return false;
}

void check_ahead(struct check *c, uint64_t blk)
{
	struct csv_buf *b;

	while (c->fs->cache.nr_reads >= READS)
		loop_run_once(bdev_queue_loop(c->fs->queue), true);
	if (blk < c->geom->nr_blks && csv_cache_get(c->fs, blk, &b) == 0)
		csv_buf_unref(&c->fs->cache, b);
}

/* ---- the trees of the inodes to come ---- */

/* The tree node in that block, if it can be had; else NULL. */
static struct csv_buf *peek(struct check *c, uint64_t blk)
{
	struct csv_buf *b;

	if (get(c, blk, &b))
		return NULL;
	if (b->state == CSV_BUF_VALID && b->type == CSV_BT_TREE)
		return b;
	csv_buf_unref(&c->fs->cache, b);
	return NULL;
}

struct inner {
	uint64_t blks[INNER];
	uint32_t nr;
};

static void ahead_root(struct check *c, const struct csv_tree_root *root, struct inner *inner)
{
	uint64_t blk = le64_get(root->blk);

	if (blk == 0)
		return;
	check_ahead(c, blk);
	if (root->level > 0 && inner->nr < INNER)
		inner->blks[inner->nr++] = blk;
}

static void ahead_leaf(struct check *c, uint64_t blk, struct inner *inner)
{
	struct csv_buf *b = peek(c, blk);
	const struct csv_tree_node *n = b ? (const void *)b->data : NULL;

	for (uint32_t i = 0; n && le16_get(n->level) == 0 && i < node_nr(n); i++) {
		const struct csv_inode_rec *rec = node_val(n, i);

		if (node_len(n, i) < sizeof(*rec))
			continue;
		ahead_root(c, &rec->tree, inner);
		ahead_root(c, &rec->xattrs, inner);
	}
	if (b)
		csv_buf_unref(&c->fs->cache, b);
}

static void ahead_children(struct check *c, const struct csv_tree_node *n, uint32_t from, uint32_t nr)
{
	for (uint32_t i = from; i < node_nr(n) && i < from + nr; i++)
		check_ahead(c, node_child(n, i));
}

void check_tree_ahead(struct check *c, const struct csv_tree_node *n, uint32_t pos)
{
	struct inner *inner;

	if (pos % LEAVES != 0)
		return;
	/* These, and the next few. */
	ahead_children(c, n, pos, 2 * LEAVES);
	if (le64_get(n->h.owner) != CSV_OWNER_INODES || le16_get(n->level) != 1)
		return;
	inner = malloc(sizeof(*inner));
	if (!inner)
		return;
	inner->nr = 0;
	for (uint32_t i = pos; i < node_nr(n) && i < pos + LEAVES; i++)
		ahead_leaf(c, node_child(n, i), inner);
	for (uint32_t i = 0; i < inner->nr; i++) {
		struct csv_buf *b = peek(c, inner->blks[i]);
		const struct csv_tree_node *root = b ? (const void *)b->data : NULL;

		if (root && le16_get(root->level) > 0)
			ahead_children(c, root, 0, CHILDREN);
		if (b)
			csv_buf_unref(&c->fs->cache, b);
	}
	free(inner);
}
