/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/buf.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "util/checked.h"

#define NR_CLASSES 10
#define DEFAULT_CACHED ((size_t)32 << 20)

_Static_assert(BUF_MIN_BYTES << (NR_CLASSES - 1) == BUF_MAX_BYTES, "classes span the sizes");

/* Lies in the buffer while it is free. */
struct free_buf {
	struct free_buf *next;
};

struct buf_pool {
	size_t max_cached;
	struct buf_pool_stats stats;
	struct {
		struct free_buf *head;
		size_t bytes;
	} classes[NR_CLASSES];
};

static inline size_t class_bytes(unsigned int class)
{
	return (size_t)BUF_MIN_BYTES << class;
}

/* NR_CLASSES when size is out of range. */
static unsigned int class_of(size_t size)
{
	unsigned int class = 0;

	if (size == 0 || size > BUF_MAX_BYTES)
		return NR_CLASSES;
	while (class_bytes(class) < size)
		class++;
	return class;
}

size_t buf_class_bytes(size_t size)
{
	unsigned int class = class_of(size);

	return class < NR_CLASSES ? class_bytes(class) : 0;
}

int buf_pool_new(size_t max_cached, struct buf_pool **ret_pool)
{
	struct buf_pool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return -ENOMEM;
	pool->max_cached = max_cached ? max_cached : DEFAULT_CACHED;
	*ret_pool = pool;
	return 0;
}

static void *cache_pop(struct buf_pool *pool, unsigned int class)
{
	struct free_buf *b = pool->classes[class].head;

	if (!b)
		return NULL;
	pool->classes[class].head = b->next;
	pool->classes[class].bytes -= class_bytes(class);
	pool->stats.cached_bytes -= class_bytes(class);
	return b;
}

static void cache_push(struct buf_pool *pool, unsigned int class, void *buf)
{
	struct free_buf *b = buf;

	b->next = pool->classes[class].head;
	pool->classes[class].head = b;
	pool->classes[class].bytes += class_bytes(class);
	pool->stats.cached_bytes += class_bytes(class);
}

static void cache_drop(struct buf_pool *pool)
{
	for (unsigned int class = 0; class < NR_CLASSES; class++) {
		void *buf;

		while ((buf = cache_pop(pool, class)))
			free(buf);
	}
}

/* The class that holds most makes room, so that a past pattern of sizes cannot fill the cache. */
static void cache_trim(struct buf_pool *pool)
{
	while (pool->stats.cached_bytes > pool->max_cached) {
		unsigned int fullest = 0;

		for (unsigned int class = 1; class < NR_CLASSES; class++) {
			if (pool->classes[class].bytes > pool->classes[fullest].bytes)
				fullest = class;
		}
		free(cache_pop(pool, fullest));
	}
}

void buf_pool_free(struct buf_pool *pool)
{
	if (!pool)
		return;
	assert(pool->stats.used_bytes == 0);
	cache_drop(pool);
	free(pool);
}

void *buf_get(struct buf_pool *pool, size_t size)
{
	unsigned int class = class_of(size);
	void *buf;

	if (class == NR_CLASSES)
		return NULL;
	pool->stats.gets++;
	buf = cache_pop(pool, class);
	if (buf) {
		pool->stats.hits++;
	} else {
		buf = aligned_alloc(BUF_MIN_BYTES, class_bytes(class));
		if (!buf) {
			cache_drop(pool);
			buf = aligned_alloc(BUF_MIN_BYTES, class_bytes(class));
		}
	}
	if (buf)
		pool->stats.used_bytes += class_bytes(class);
	return buf;
}

void buf_put(struct buf_pool *pool, void *buf, size_t size)
{
	unsigned int class = class_of(size);

	if (!buf)
		return;
	assert(class < NR_CLASSES);
	assert(pool->stats.used_bytes >= class_bytes(class));
	pool->stats.used_bytes -= class_bytes(class);
	cache_push(pool, class, buf);
	cache_trim(pool);
}

void buf_pool_stats(const struct buf_pool *pool, struct buf_pool_stats *ret_stats)
{
	*ret_stats = pool->stats;
}
