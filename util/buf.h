/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Page-aligned I/O buffers (as O_DIRECT and registered buffers want them), kept for reuse by
 * power-of-two size class from 4 KiB to 2 MiB.
 *
 * B1  A pool and its buffers belong to one thread.
 * B2  What a pool keeps for reuse is bounded (buf_pool_new); the buffers in use are not.
 * B3  A buffer's content is undefined after buf_get(): a user that writes it out whole fills it.
 */
#ifndef UTIL_BUF_H
#define UTIL_BUF_H

#include <stddef.h>
#include <stdint.h>

#define BUF_MIN_BYTES 4096u
#define BUF_MAX_BYTES (2u << 20)

struct buf_pool;

struct buf_pool_stats {
	size_t used_bytes;   /* handed out, as size classes */
	size_t cached_bytes; /* kept for reuse */
	uint64_t gets, hits; /* hits: gets that were served from the cache */
};

/* Makes a pool that keeps at most max_cached bytes for reuse (0 = 32 MiB). Error: -ENOMEM. */
int buf_pool_new(size_t max_cached, struct buf_pool **ret_pool)
	__attribute__((warn_unused_result, nonnull));

/* Frees the pool. All buffers must be back (it asserts so). NULL is allowed. */
void buf_pool_free(struct buf_pool *pool);

/* A buffer of at least size bytes (1 to BUF_MAX_BYTES), aligned to BUF_MIN_BYTES; NULL when there
 * is no memory, even after the cache was given back, or when size is out of range. */
void *buf_get(struct buf_pool *pool, size_t size) __attribute__((warn_unused_result, nonnull));

/* Gives buf back; size as it was asked for. NULL is allowed as buf. */
void buf_put(struct buf_pool *pool, void *buf, size_t size) __attribute__((nonnull(1)));

/* The bytes that buf_get(size) really gives: the size class. 0 when out of range. */
size_t buf_class_bytes(size_t size);

void buf_pool_stats(const struct buf_pool *pool, struct buf_pool_stats *ret_stats)
	__attribute__((nonnull));

#endif
