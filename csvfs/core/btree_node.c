/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One tree node: slots grow up, values grow down (format.h).
 *
 * N1  The bytes [low, 4096) are the values of the slots and dead bytes, nothing twice.
 * N2  Keys ascend strictly. In an inner node each value is a csv_tree_ptr.
 *     An empty value's offset is 4096, where it is never below low.
 * N3  A node has an entry; the last one's removal frees the node.
 */
#include <assert.h>
#include <string.h>

#include "csvfs/core/btree_internal.h"
#include "util/err.h"

static uint32_t slots_end(uint32_t nr)
{
	return (uint32_t)sizeof(struct csv_tree_node) +
	       nr * (uint32_t)sizeof(struct csv_tree_slot);
}

uint32_t node_used(const struct csv_tree_node *n)
{
	return node_nr(n) * (uint32_t)sizeof(struct csv_tree_slot) + CSV_BLOCK_BYTES -
	       le16_get(n->low) - le16_get(n->dead);
}

uint32_t node_lower_bound(const struct csv_tree_node *n, uint64_t key)
{
	uint32_t lo = 0, hi = node_nr(n);

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (node_key(n, mid) < key)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

uint32_t node_child_pos(const struct csv_tree_node *n, uint64_t key)
{
	uint32_t pos = node_lower_bound(n, key);

	if (pos < node_nr(n) && node_key(n, pos) == key)
		return pos;
	return pos > 0 ? pos - 1 : 0; /* slot 0's key counts as 0 */
}

static void set_empty(struct csv_tree_node *n)
{
	n->nr = le16_of(0);
	n->low = le16_of(CSV_BLOCK_BYTES);
	n->dead = le16_of(0);
}

void node_init(struct csv_tree_node *n, uint32_t level)
{
	n->level = le16_of((uint16_t)level);
	set_empty(n);
}

static struct le16 value_off(uint32_t low, uint32_t len)
{
	return le16_of((uint16_t)(len > 0 ? low : CSV_BLOCK_BYTES));
}

/* Gets the dead bytes back. */
static void compact(struct csv_tree_node *n)
{
	uint8_t copy[CSV_BLOCK_BYTES];
	const struct csv_tree_node *old = (const void *)copy;
	uint32_t low = CSV_BLOCK_BYTES;

	memcpy(copy, n, sizeof(copy));
	for (uint32_t i = 0; i < node_nr(old); i++) {
		uint32_t len = node_len(old, i);

		low -= len;
		memcpy((uint8_t *)n + low, node_val(old, i), len);
		n->slots[i].off = value_off(low, len);
	}
	n->low = le16_of((uint16_t)low);
	n->dead = le16_of(0);
}

void node_insert(struct csv_tree_node *n, uint32_t pos, uint64_t key, const void *val, uint32_t len)
{
	uint32_t nr = node_nr(n), low;

	assert(pos <= nr && node_used(n) + node_entry_bytes(len) <= NODE_CAP);
	if (slots_end(nr + 1) + len > le16_get(n->low))
		compact(n);
	low = le16_get(n->low) - len;
	if (len > 0)
		memcpy((uint8_t *)n + low, val, len);
	memmove(&n->slots[pos + 1], &n->slots[pos], (nr - pos) * sizeof(n->slots[0]));
	n->slots[pos].key = le64_of(key);
	n->slots[pos].off = value_off(low, len);
	n->slots[pos].len = le16_of((uint16_t)len);
	n->low = le16_of((uint16_t)low);
	n->nr = le16_of((uint16_t)(nr + 1));
}

void node_remove(struct csv_tree_node *n, uint32_t pos)
{
	uint32_t nr = node_nr(n), len = node_len(n, pos);

	assert(pos < nr);
	if (nr == 1) {
		set_empty(n);
		return;
	}
	if (le16_get(n->slots[pos].off) == le16_get(n->low))
		n->low = le16_of((uint16_t)(le16_get(n->low) + len));
	else
		n->dead = le16_of((uint16_t)(le16_get(n->dead) + len));
	memmove(&n->slots[pos], &n->slots[pos + 1], (nr - pos - 1) * sizeof(n->slots[0]));
	n->nr = le16_of((uint16_t)(nr - 1));
}

void node_set_key(struct csv_tree_node *n, uint32_t pos, uint64_t key)
{
	n->slots[pos].key = le64_of(key);
}

void node_append(struct csv_tree_node *dst, const struct csv_tree_node *src, uint32_t from,
	uint32_t to)
{
	for (uint32_t i = from; i < to; i++)
		node_insert(dst, node_nr(dst), node_key(src, i), node_val(src, i),
			node_len(src, i));
}

void node_truncate(struct csv_tree_node *n, uint32_t pos)
{
	while (node_nr(n) > pos)
		node_remove(n, node_nr(n) - 1);
	compact(n);
}

/* ---- what came from a disk ---- */

/* True if the byte ranges of the values do not overlap (N1). */
static bool values_apart(const struct csv_tree_node *n)
{
	uint64_t used[CSV_BLOCK_BYTES / 64] = { 0 };

	for (uint32_t i = 0; i < node_nr(n); i++) {
		uint32_t off = le16_get(n->slots[i].off), end = off + node_len(n, i);

		while (off < end) {
			uint32_t bit = off % 64, nr = 64 - bit;
			uint64_t mask;

			if (nr > end - off)
				nr = end - off;
			mask = (nr == 64 ? ~0ull : (1ull << nr) - 1) << bit;
			if ((used[off / 64] & mask) != 0)
				return false;
			used[off / 64] |= mask;
			off += nr;
		}
	}
	return true;
}

static const char *slots_wrong(const struct csv_tree_node *n, const struct csv_geometry *geom,
	uint32_t low, uint32_t *ret_bytes)
{
	bool inner = le16_get(n->level) > 0;
	uint32_t bytes = 0;

	for (uint32_t i = 0; i < node_nr(n); i++) {
		uint32_t off = le16_get(n->slots[i].off), len = node_len(n, i);

		if (off < low || off > CSV_BLOCK_BYTES || len > CSV_BLOCK_BYTES - off)
			return "a value outside of the node";
		if (len == 0 && off != CSV_BLOCK_BYTES)
			return "an empty value in a wrong place";
		if (inner ? len != sizeof(struct csv_tree_ptr) : len > CSV_TREE_VALUE_MAX)
			return "a value of a wrong length";
		if (i > 0 && node_key(n, i) <= node_key(n, i - 1))
			return "keys that do not ascend";
		if (inner && (node_child(n, i) < geom->ag0_blk || node_child(n, i) >= geom->nr_blks))
			return "a child outside of the allocation groups";
		bytes += len;
	}
	*ret_bytes = bytes;
	return NULL;
}

int csv_tree_node_verify(const void *block, const struct csv_geometry *geom, const char **why)
{
	const struct csv_tree_node *n = block;
	uint32_t low = le16_get(n->low), dead = le16_get(n->dead), bytes;

	*why = NULL;
	if (le16_get(n->level) > CSV_TREE_MAX_LEVEL)
		*why = "its level is too high";
	else if (le64_get(n->h.blkno) < geom->ag0_blk)
		*why = "a tree node outside of the allocation groups";
	else if (node_nr(n) == 0)
		*why = "a node without entries";
	else if (low > CSV_BLOCK_BYTES || slots_end(node_nr(n)) > low)
		*why = "more slots than there is room for";
	else
		*why = slots_wrong(n, geom, low, &bytes);
	if (*why == NULL && bytes + dead != CSV_BLOCK_BYTES - low)
		*why = "the sum of its values is wrong";
	if (*why == NULL && !values_apart(n))
		*why = "values that overlap";
	return *why == NULL ? 0 : -ERR_CORRUPT;
}
