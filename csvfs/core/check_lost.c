/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tree nodes among the blocks that are in use and were not met: what a lost block led to. Numbers of
 * inodes are never used twice and the nodes of a tree say whose they are, so the tree of an inode
 * whose record is lost can be told, and so can the children of a lost inner node.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blockdev/bdev.h"
#include "csvfs/core/btree_internal.h"
#include "csvfs/core/check_internal.h"
#include "csvfs/core/xattr_internal.h"
#include "util/checked.h"

#define CHUNK_BLKS 256u

typedef unsigned long long ull;

/* What the entries of a leaf are. */
static uint8_t leaf_type(const struct check *c, const struct csv_tree_node *n)
{
	struct csv_ext ext;
	const char *why;

	if (csv_dirent_verify(node_key(n, 0), node_val(n, 0), node_len(n, 0), &why) == 0)
		return NODE_DIR;
	if (csv_ext_decode(node_key(n, 0), node_val(n, 0), node_len(n, 0), c->geom, &ext, &why) == 0)
		return NODE_EXTENTS;
	for (uint32_t i = 0; i < node_nr(n); i++)
		if (!(node_key(n, i) & 0xff) && csv_xattr_verify(node_key(n, i), node_val(n, i),
							node_len(n, i), &why) == 0)
			return NODE_XATTRS;
	return NODE_UNKNOWN;
}

static int take_node(struct check *c, struct check_nodes *nodes, const struct csv_tree_node *n,
	uint64_t blk, bool trusted)
{
	uint32_t nr = node_nr(n), level = le16_get(n->level);
	int err = check_grow(&nodes->nodes, nodes->nr, &nodes->max, sizeof(*nodes->nodes));

	if (err)
		return err;
	nodes->nodes[nodes->nr++] = (struct check_node){
		.blk = blk,
		.owner = le64_get(n->h.owner),
		.seq = le64_get(n->h.seq),
		.first = node_key(n, 0),
		.last = node_key(n, nr - 1),
		.first_child = level ? node_child(n, 0) : 0,
		.level = (uint8_t)level,
		.type = level ? 0 : leaf_type(c, n),
		.trusted = trusted,
	};
	return 0;
}

static bool is_node(const struct check *c, const void *block, uint64_t blk)
{
	const struct csv_blk_hdr *h = block;

	/* First what needs no checksum: most of it is data. */
	return le32_get(h->magic) == CSV_MAGIC && le16_get(h->type) == CSV_BT_TREE &&
	       le64_get(h->blkno) == blk && !memcmp(h->uuid, c->geom->uuid, sizeof(h->uuid)) &&
	       csv_blk_verify(block, blk, CSV_BT_TREE, c->geom) == 0;
}

static int scan_run(struct check *c, struct check_nodes *nodes, const struct check_stray *run,
	uint8_t *buf)
{
	int err = 0;

	for (uint64_t at = 0; at < run->nr && !err;) {
		uint64_t nr = MIN(run->nr - at, CHUNK_BLKS), blk = run->blk + at;

		if (bdev_pread(c->fs->queue, buf, nr * CSV_BLOCK_BYTES, blk * CSV_BLOCK_BYTES)) {
			at += nr; /* what cannot be read is not found */
			continue;
		}
		for (uint64_t i = 0; i < nr && !err; i++)
			if (is_node(c, buf + i * CSV_BLOCK_BYTES, blk + i))
				err = take_node(c, nodes, (const void *)(buf + i * CSV_BLOCK_BYTES),
					blk + i, run->trusted);
		at += nr;
	}
	return err;
}

struct check_node *check_node_at(const struct check_nodes *nodes, uint64_t blk)
{
	uint64_t lo = 0, hi = nodes->nr;

	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;

		if (nodes->nodes[mid].blk == blk)
			return &nodes->nodes[mid];
		if (nodes->nodes[mid].blk < blk)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

/* Marks the nodes that another one leads to. */
static int mark_children(struct check *c, struct check_nodes *nodes, void *buf)
{
	for (uint64_t i = 0; i < nodes->nr; i++) {
		const struct check_node *node = &nodes->nodes[i];
		const struct csv_tree_node *n = buf;

		if (node->level == 0 || bdev_pread(c->fs->queue, buf, CSV_BLOCK_BYTES,
						node->blk * CSV_BLOCK_BYTES) ||
			!is_node(c, buf, node->blk))
			continue;
		for (uint32_t s = 0; s < node_nr(n); s++) {
			struct check_node *child = check_node_at(nodes, node_child(n, s));

			if (child && child->owner == node->owner && child->level + 1 == node->level)
				child->child = true;
		}
	}
	return 0;
}

int check_find_nodes(struct check *c, struct check_nodes *ret)
{
	uint8_t *buf = aligned_alloc(CSV_BLOCK_BYTES, CHUNK_BLKS * CSV_BLOCK_BYTES);
	int err = buf ? 0 : -ENOMEM;

	memset(ret, 0, sizeof(*ret));
	for (uint64_t i = 0; i < c->nr_stray && !err; i++)
		err = scan_run(c, ret, &c->stray[i], buf);
	if (!err)
		err = mark_children(c, ret, buf);
	free(buf);
	return err;
}

/* The leftmost node below, down to a leaf if they are all there. */
static const struct check_node *leftmost(const struct check_nodes *nodes,
	const struct check_node *node)
{
	while (node->level > 0) {
		const struct check_node *child = check_node_at(nodes, node->first_child);

		if (!child || child->owner != node->owner || child->level + 1 != node->level)
			break;
		node = child;
	}
	return node;
}

uint64_t check_node_min(const struct check_nodes *nodes, const struct check_node *node)
{
	return leftmost(nodes, node)->first;
}

uint8_t check_node_type(const struct check_nodes *nodes, const struct check_node *node)
{
	return leftmost(nodes, node)->type;
}

/* ---- inodes of which nothing is left but the tree ---- */

static int by_owner(const void *a, const void *b)
{
	const struct check_node *x = a, *y = b;

	if (x->owner != y->owner)
		return x->owner < y->owner ? -1 : 1;
	if (x->child != y->child)
		return x->child ? 1 : -1;
	if (x->level != y->level)
		return x->level > y->level ? -1 : 1;
	if (x->seq != y->seq)
		return x->seq > y->seq ? -1 : 1;
	return 0;
}

/* What kind of inode it was: its names know. */
static uint8_t named_type(const struct check *c, uint64_t ino)
{
	for (uint64_t i = 0; i < c->nr_links; i++)
		if (c->links[i].ino == ino)
			return c->links[i].type;
	return DT_UNKNOWN;
}

/* The first of the nodes that can be the root of a file's extents or of a directory. */
static const struct check_node *find_top(const struct check *c, const struct check_node *from,
	uint64_t nr, uint8_t *ret_type)
{
	uint8_t named = named_type(c, from->owner);

	for (uint64_t i = 0; i < nr; i++) {
		if (from[i].child || !from[i].trusted)
			continue;
		*ret_type = from[i].type == NODE_EXTENTS ? DT_REG :
			from[i].type == NODE_DIR	 ? DT_DIR :
							   DT_UNKNOWN;
		if (*ret_type != DT_UNKNOWN && (named == DT_UNKNOWN || named == *ret_type))
			return &from[i];
	}
	return NULL;
}

static void lost_inodes(struct check *c, const struct check_nodes *nodes)
{
	for (uint64_t i = 0, next; i < nodes->nr; i = next) {
		const struct check_node *top = &nodes->nodes[i];
		uint64_t ino = top->owner;
		uint8_t type;

		for (next = i; next < nodes->nr && nodes->nodes[next].owner == ino; next++)
			;
		if (ino == 0 || ino >= CSV_OWNER_INODES || check_find_inode(c, ino))
			continue;
		top = find_top(c, top, next - i, &type);
		if (!top)
			continue;
		check_say(c, "lost-inode", "inode %llu is gone, its tree is at block %llu",
			(ull)ino, (ull)top->blk);
		check_fix(c, &(struct check_fix){ .kind = FIX_LOST_INODE, .ino = ino,
				     .blk = top->blk, .level = top->level, .arg = type });
	}
}

/*
 * A layer that is gone: its tree was that of the file that was cloned first, which may stand on it still,
 * and has its number.
 */
static void lost_layer(struct check *c, const struct check_nodes *nodes, uint64_t base)
{
	const struct check_node *top = NULL;
	uint64_t refs = 0;

	for (uint64_t i = 0; i < c->nr_inodes; i++) {
		if (c->inodes[i].base != base)
			continue;
		refs++;
		for (uint64_t n = 0; n < nodes->nr; n++) {
			const struct check_node *node = &nodes->nodes[n];

			if (node->owner == c->inodes[i].ino && !node->child && node->trusted &&
				node->type == NODE_EXTENTS && (!top || node->seq > top->seq))
				top = node;
		}
	}
	if (!top)
		return;
	check_say(c, "lost-inode", "layer %llu is gone, its tree is at block %llu", (ull)base,
		(ull)top->blk);
	check_fix(c, &(struct check_fix){ .kind = FIX_LOST_LAYER, .ino = base, .owner = top->owner,
			     .blk = top->blk, .level = top->level, .arg = refs });
}

static void lost_layers(struct check *c, const struct check_nodes *nodes)
{
	uint64_t last = 0;

	for (uint64_t i = 0; i < c->nr_inodes && nodes->nr; i++) {
		uint64_t base = c->inodes[i].base;

		if (base == 0 || base == last || check_find_inode(c, base))
			continue;
		last = base;
		lost_layer(c, nodes, base);
	}
}

int check_lost(struct check *c)
{
	struct check_nodes nodes;
	int err;

	if (!c->leaks || c->structure)
		return 0;
	err = check_find_nodes(c, &nodes);
	/* Of all nodes it is known now what the leaves below them are. */
	for (uint64_t i = 0; i < nodes.nr; i++)
		nodes.nodes[i].type = check_node_type(&nodes, &nodes.nodes[i]);
	if (nodes.nr)
		qsort(nodes.nodes, nodes.nr, sizeof(*nodes.nodes), by_owner);
	if (!err) {
		lost_inodes(c, &nodes);
		lost_layers(c, &nodes);
	}
	free(nodes.nodes);
	return err;
}
