/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/buf.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "util/checked.h"
#include "util/list.h"

#define NR_CLASSES 10
#define DEFAULT_CACHED ((size_t)32 << 20)

_Static_assert(BUF_MIN_BYTES << (NR_CLASSES - 1) == BUF_MAX_BYTES, "classes span the sizes");

/* Lies in the buffer while it is free. */
struct free_buf {
	struct free_buf *next;
};

/*
 * Buffers of the smallest class are cut from slabs: malloc's own header in front of each would lie in a
 * page before it, and so make every buffer take two pages. They are mapped, so that the system gets them
 * back. With a sanitizer each buffer is by itself, so that it sees what is used after it was given back.
 */
#if defined(__SANITIZE_ADDRESS__)
#define SLABS false
#else
#define SLABS true
#endif
#define SLAB_BYTES ((size_t)256 << 10) /* aligned to that; the first BUF_MIN_BYTES are its struct */
#define SLAB_BUFS (SLAB_BYTES / BUF_MIN_BYTES - 1)
#define MAX_SPARE 8

struct slab {
	struct list link; /* buf_pool.slabs, while it has a buffer to give */
	struct free_buf *head;
	size_t nr_out, nr_cut; /* given out or in the cache; ever given */
};

struct buf_pool {
	size_t max_cached;
	struct list slabs;
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
	list_init(&pool->slabs);
	*ret_pool = pool;
	return 0;
}

static struct {
	pthread_mutex_t mutex;
	unsigned int nr;
	struct slab *slabs[MAX_SPARE];
} spare = { .mutex = PTHREAD_MUTEX_INITIALIZER };

static struct slab *spare_take(void)
{
	struct slab *slab;

	pthread_mutex_lock(&spare.mutex);
	slab = spare.nr ? spare.slabs[--spare.nr] : NULL;
	pthread_mutex_unlock(&spare.mutex);
	return slab;
}

/* False: there are enough. */
static bool spare_keep(struct slab *slab)
{
	bool kept;

	pthread_mutex_lock(&spare.mutex);
	kept = spare.nr < MAX_SPARE;
	if (kept)
		spare.slabs[spare.nr++] = slab;
	pthread_mutex_unlock(&spare.mutex);
	return kept;
}

/* Nothing of it is in use; its buffers hold anything. */
static struct slab *slab_new(void)
{
	struct slab *slab = spare_take();
	char *mem;
	size_t head;

	if (slab) {
		*slab = (struct slab){ 0 };
		return slab;
	}
	mem = mmap(NULL, 2 * SLAB_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		return NULL;
	head = -(uintptr_t)mem & (SLAB_BYTES - 1);
	if (head)
		munmap(mem, head);
	munmap(mem + head + SLAB_BYTES, SLAB_BYTES - head);
	return (struct slab *)(mem + head);
}

static void *slab_get(struct buf_pool *pool)
{
	struct slab *slab;
	struct free_buf *b;

	if (list_empty(&pool->slabs)) {
		slab = slab_new();
		if (!slab)
			return NULL;
		list_add(&pool->slabs, &slab->link);
	}
	slab = list_entry(pool->slabs.next, struct slab, link);
	b = slab->head;
	if (b)
		slab->head = b->next;
	else
		b = (struct free_buf *)((char *)slab + ++slab->nr_cut * BUF_MIN_BYTES);
	if (++slab->nr_out == SLAB_BUFS)
		list_del(&slab->link);
	return b;
}

static void slab_put(struct buf_pool *pool, void *buf)
{
	struct slab *slab = (struct slab *)((uintptr_t)buf & ~(uintptr_t)(SLAB_BYTES - 1));
	struct free_buf *b = buf;

	if (slab->nr_out-- == SLAB_BUFS)
		list_add(&pool->slabs, &slab->link);
	if (slab->nr_out == 0) {
		list_del(&slab->link);
		if (!spare_keep(slab))
			munmap(slab, SLAB_BYTES);
		return;
	}
	b->next = slab->head;
	slab->head = b;
}

static void *mem_get(struct buf_pool *pool, unsigned int class)
{
	if (class == 0 && SLABS)
		return slab_get(pool);
	return aligned_alloc(BUF_MIN_BYTES, class_bytes(class));
}

static void mem_put(struct buf_pool *pool, unsigned int class, void *buf)
{
	if (class == 0 && SLABS)
		slab_put(pool, buf);
	else
		free(buf);
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
			mem_put(pool, class, buf);
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
		mem_put(pool, fullest, cache_pop(pool, fullest));
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
		buf = mem_get(pool, class);
		if (!buf) {
			cache_drop(pool);
			buf = mem_get(pool, class);
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
