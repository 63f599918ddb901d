/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Cached metadata blocks.
 *
 * C1  A block has at most one buffer in the table. A failed read's buffer leaves the table at once
 *     (the next reader tries again) and lives on for those who waited.
 * C2  A buffer with references stays. References are held by the run that touched it, by the
 *     operations whose last run touched it and wait (so that the next run finds all that it needs,
 *     however small the cache), by the read in flight, and by the journal's open compound.
 * C3  Buffers without references are in the LRU list, which is kept below its limit. What they
 *     hold, the journal or the device holds, too.
 * C4  One read of a block at a time; who comes later waits for it.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "csvfs/core/core_internal.h"
#include "util/err.h"
#include "util/log.h"

int csv_cache_init(struct csv_cache *cache, uint64_t bytes)
{
	memset(cache, 0, sizeof(*cache));
	htab_init(&cache->bufs);
	list_init(&cache->lru);
	cache->max_lru = (bytes != 0 ? bytes : 64ull << 20) / CSV_BLOCK_BYTES;
	return buf_pool_new(0, &cache->pool);
}

static void buf_free(struct csv_cache *cache, struct csv_buf *buf)
{
	assert(list_empty(&buf->waiters) && buf->before == NULL);
	buf_put(cache->pool, buf->data, CSV_BLOCK_BYTES);
	free(buf);
}

void csv_cache_done(struct csv_cache *cache)
{
	struct htab_node *node, *tmp;

	assert(cache->nr_reads == 0);
	htab_for_each_safe(node, tmp, &cache->bufs) {
		struct csv_buf *buf = container_of(node, struct csv_buf, node);

		/* The open compound of a journal that has failed is never taken. */
		assert(buf->refs == (buf->pinned ? 1 : 0));
		htab_remove(&cache->bufs, node);
		buf_free(cache, buf);
	}
	htab_done(&cache->bufs);
	buf_pool_free(cache->pool);
}

struct csv_buf *csv_cache_find(struct csv_cache *cache, uint64_t blk)
{
	struct htab_node *node = htab_find(&cache->bufs, blk);

	return node != NULL ? container_of(node, struct csv_buf, node) : NULL;
}

struct csv_buf *csv_cache_add(struct csv_cache *cache, uint64_t blk, enum csv_buf_state state)
{
	struct csv_buf *buf = calloc(1, sizeof(*buf));

	if (buf == NULL)
		return NULL;
	buf->data = buf_get(cache->pool, CSV_BLOCK_BYTES);
	if (buf->data == NULL) {
		free(buf);
		return NULL;
	}
	list_init(&buf->lru);
	list_init(&buf->waiters);
	buf->state = state;
	buf->refs = 1;
	htab_insert(&cache->bufs, blk, &buf->node);
	return buf;
}

void csv_buf_ref(struct csv_cache *cache, struct csv_buf *buf)
{
	if (buf->refs++ == 0) {
		list_del(&buf->lru);
		cache->nr_lru--;
	}
}

static void evict(struct csv_cache *cache)
{
	while (cache->nr_lru > cache->max_lru) {
		struct csv_buf *buf = list_entry(cache->lru.next, struct csv_buf, lru);

		list_del(&buf->lru);
		cache->nr_lru--;
		cache->evictions++;
		htab_remove(&cache->bufs, &buf->node);
		buf_free(cache, buf);
	}
}

void csv_buf_unref(struct csv_cache *cache, struct csv_buf *buf)
{
	assert(buf->refs > 0);
	if (--buf->refs > 0)
		return;
	assert(buf->state != CSV_BUF_READING && !buf->pinned);
	if (buf->state == CSV_BUF_FAILED) {
		buf_free(cache, buf);
		return;
	}
	if (buf->dead) {
		htab_remove(&cache->bufs, &buf->node);
		buf_free(cache, buf);
		return;
	}
	list_add_tail(&cache->lru, &buf->lru);
	cache->nr_lru++;
	evict(cache);
}

void csv_buf_drop(struct csv_cache *cache, struct csv_buf *buf)
{
	assert(buf->refs > 0 && !buf->pinned);
	htab_remove(&cache->bufs, &buf->node);
	buf->state = CSV_BUF_FAILED;
}

/* ---- reading ---- */

struct buf_read {
	struct bdev_req req;
	struct iovec iov;
	struct csv_fs *fs;
	struct csv_buf *buf;
};

static void read_done(struct bdev_req *req, int status)
{
	struct buf_read *rd = container_of(req, struct buf_read, req);
	struct csv_fs *fs = rd->fs;
	struct csv_buf *buf = rd->buf;
	const struct csv_blk_hdr *h = (const void *)buf->data;
	uint64_t blk = buf->node.key;

	free(rd);
	fs->cache.nr_reads--;
	if (status != 0)
		log_error("cannot read block %llu: %s", (unsigned long long)blk, err_str(status));
	else
		/* By its own type: a reader that expected another finds out for itself. */
		status = csv_blk_verify(buf->data, blk, le16_get(h->type), &fs->geom);
	if (status == 0) {
		buf->type = (uint8_t)le16_get(h->type);
		buf->state = CSV_BUF_VALID;
	} else {
		buf->error = status;
		csv_buf_drop(&fs->cache, buf);
	}
	csv_driver_wake(fs, buf, status);
	csv_buf_unref(&fs->cache, buf);
}

static int read_start(struct csv_fs *fs, struct csv_buf *buf)
{
	struct buf_read *rd = calloc(1, sizeof(*rd));
	int err;

	if (rd == NULL)
		return -ENOMEM;
	rd->fs = fs;
	rd->buf = buf;
	rd->iov = (struct iovec){ buf->data, CSV_BLOCK_BYTES };
	rd->req.op = BDEV_READ;
	rd->req.off_bytes = buf->node.key * CSV_BLOCK_BYTES;
	rd->req.len_bytes = CSV_BLOCK_BYTES;
	rd->req.iov = &rd->iov;
	rd->req.nr_iov = 1;
	rd->req.done = read_done;
	err = bdev_submit(fs->queue, &rd->req);
	if (err != 0) {
		free(rd);
		return err;
	}
	csv_buf_ref(&fs->cache, buf);
	fs->cache.nr_reads++;
	return 0;
}

int csv_cache_get(struct csv_fs *fs, uint64_t blk, struct csv_buf **ret)
{
	struct csv_cache *cache = &fs->cache;
	struct csv_buf *buf = csv_cache_find(cache, blk);
	const void *image;
	int err;

	if (buf != NULL) {
		cache->hits++;
		csv_buf_ref(cache, buf);
		*ret = buf;
		return 0;
	}
	buf = csv_cache_add(cache, blk, CSV_BUF_READING);
	if (buf == NULL)
		return -ENOMEM;
	image = jnl_peek(fs->jnl, blk);
	if (image != NULL) {
		const struct csv_blk_hdr *h = image;

		cache->peeks++;
		memcpy(buf->data, image, CSV_BLOCK_BYTES);
		buf->type = (uint8_t)le16_get(h->type);
		buf->seq = le64_get(h->seq);
		buf->state = CSV_BUF_VALID;
		*ret = buf;
		return 0;
	}
	cache->misses++;
	err = read_start(fs, buf);
	if (err != 0) {
		csv_buf_drop(cache, buf);
		csv_buf_unref(cache, buf);
		return err;
	}
	*ret = buf;
	return 0;
}
