/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Intrusive hash tables keyed by a 64-bit number. The caller embeds a struct htab_node in its own
 * structure, sets nothing in it, and gets back to the structure with container_of (util/list.h).
 *
 *	struct inode { struct htab_node node; ... };
 *
 *	htab_insert(&table, ino, &inode->node);
 *	struct htab_node *n = htab_find(&table, ino);
 *	struct inode *i = n ? container_of(n, struct inode, node) : NULL;
 *
 * H1  Nothing here fails: a table that cannot get memory to grow keeps its size and gets slower.
 * H2  The table does not own the nodes; htab_done() frees the bucket array alone.
 * H3  Equal keys are allowed (htab_find gives the one inserted last, htab_next_same the others).
 *     Who wants them unique asks htab_find first.
 * H4  Not thread-safe. A walk allows the removal of any node but the one that it goes to next;
 *     an insertion may move nodes and ends the walk.
 */
#ifndef UTIL_HTAB_H
#define UTIL_HTAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTAB_SMALL_BITS 3

struct htab_node {
	struct htab_node *next;
	uint64_t key;
};

/* Members are private. A struct htab may be moved in memory. */
struct htab {
	struct htab_node **big;			       /* NULL: small is in use */
	struct htab_node *small[1 << HTAB_SMALL_BITS]; /* enough for a start without malloc */
	unsigned int bits;			       /* log2 of the number of buckets */
	size_t count;
};

/* Makes an empty table. No memory is allocated. */
void htab_init(struct htab *h) __attribute__((nonnull));

/* Frees what the table holds for itself and makes it empty; nodes are left alone. */
void htab_done(struct htab *h) __attribute__((nonnull));

/* Adds node under key. The node must be in no table. Grows the table if memory allows. */
void htab_insert(struct htab *h, uint64_t key, struct htab_node *node) __attribute__((nonnull));

/* The node that was last inserted under key, or NULL. */
struct htab_node *htab_find(const struct htab *h, uint64_t key) __attribute__((nonnull));

/* The next node with the key of node, or NULL. */
struct htab_node *htab_next_same(const struct htab_node *node) __attribute__((nonnull));

/* Takes node out. False if it was not in the table (its key must be readable). */
bool htab_remove(struct htab *h, struct htab_node *node) __attribute__((nonnull));

static inline size_t htab_count(const struct htab *h)
{
	return h->count;
}

/* The walk below, by hand: any order; NULL at the end. */
struct htab_node *htab_first(const struct htab *h) __attribute__((nonnull));
struct htab_node *htab_next(const struct htab *h, const struct htab_node *node)
	__attribute__((nonnull));

/* pos, tmp: struct htab_node *. The body may remove and free pos. */
#define htab_for_each_safe(pos, tmp, h)                                                            \
	for ((pos) = htab_first(h);                                                                \
	     (pos) != NULL && ((tmp) = htab_next(h, pos), 1); (pos) = (tmp))

#define htab_for_each(pos, h)                                                                      \
	for ((pos) = htab_first(h); (pos) != NULL; (pos) = htab_next(h, pos))

#endif
