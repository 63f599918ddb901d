/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/htab.h"

#include <stdlib.h>
#include <string.h>

/* A table grows when it holds as many nodes as buckets; it never shrinks (H4 rests on that). */
#define HTAB_MAX_BITS 30

static inline size_t bucket_of(uint64_t key, unsigned int bits)
{
	/* Fibonacci hashing: block and inode numbers come in runs, the top bits spread them. */
	return (size_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - bits));
}

static inline struct htab_node **buckets(const struct htab *h)
{
	return h->big ? h->big : (struct htab_node **)h->small;
}

static inline struct htab_node **chain(const struct htab *h, uint64_t key)
{
	return &buckets(h)[bucket_of(key, h->bits)];
}

void htab_init(struct htab *h)
{
	memset(h, 0, sizeof(*h));
	h->bits = HTAB_SMALL_BITS;
}

void htab_done(struct htab *h)
{
	free(h->big);
	htab_init(h);
}

static void grow(struct htab *h)
{
	unsigned int bits = h->bits + 1;
	struct htab_node **to, **from = buckets(h);

	if (bits > HTAB_MAX_BITS)
		return;
	to = calloc((size_t)1 << bits, sizeof(struct htab_node *));
	if (!to)
		return;

	for (size_t i = 0; i < (size_t)1 << h->bits; i++) {
		/* One bucket splits into two; each half keeps its order (H3). */
		struct htab_node **tail[2] = { &to[2 * i], &to[2 * i + 1] };

		for (struct htab_node *n = from[i]; n; n = n->next) {
			size_t half = bucket_of(n->key, bits) & 1;

			*tail[half] = n;
			tail[half] = &n->next;
		}
		*tail[0] = NULL;
		*tail[1] = NULL;
	}
	free(h->big);
	h->big = to;
	h->bits = bits;
}

void htab_insert(struct htab *h, uint64_t key, struct htab_node *node)
{
	struct htab_node **head;

	if (h->count >= (size_t)1 << h->bits)
		grow(h);
	head = chain(h, key);
	node->key = key;
	node->next = *head;
	*head = node;
	h->count++;
}

struct htab_node *htab_find(const struct htab *h, uint64_t key)
{
	struct htab_node *n = *chain(h, key);

	while (n && n->key != key)
		n = n->next;
	return n;
}

struct htab_node *htab_next_same(const struct htab_node *node)
{
	struct htab_node *n = node->next;

	while (n && n->key != node->key)
		n = n->next;
	return n;
}

bool htab_remove(struct htab *h, struct htab_node *node)
{
	struct htab_node **at = chain(h, node->key);

	while (*at && *at != node)
		at = &(*at)->next;
	if (!*at)
		return false;
	*at = node->next;
	node->next = NULL;
	h->count--;
	return true;
}

static struct htab_node *first_from(const struct htab *h, size_t bucket)
{
	struct htab_node **b = buckets(h);

	for (; bucket < (size_t)1 << h->bits; bucket++) {
		if (b[bucket])
			return b[bucket];
	}
	return NULL;
}

struct htab_node *htab_first(const struct htab *h)
{
	return first_from(h, 0);
}

struct htab_node *htab_next(const struct htab *h, const struct htab_node *node)
{
	return node->next ? node->next : first_from(h, bucket_of(node->key, h->bits) + 1);
}
