/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A volatile write cache for a ram: device: shows who forgets a flush. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "blockdev/ram_internal.h"

#define PAGE 4096u

int ram_cache_init(struct ram_cache *cache, char *mem, uint64_t size_bytes)
{
	uint64_t nr_pages = DIV_ROUND_UP(size_bytes, PAGE);
	char *stable;

	cache->dirty = calloc(DIV_ROUND_UP(nr_pages, 8), 1);
	if (!cache->dirty)
		return -ENOMEM;
	stable = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (stable == MAP_FAILED) {
		free(cache->dirty);
		return -ENOMEM;
	}
	cache->mem = mem;
	cache->stable = stable;
	cache->size_bytes = size_bytes;
	return 0;
}

void ram_cache_destroy(struct ram_cache *cache)
{
	if (!cache->stable)
		return;
	munmap(cache->stable, cache->size_bytes);
	free(cache->dirty);
}

void ram_cache_changed(struct ram_cache *cache, uint64_t off, uint64_t len, bool fua)
{
	if (!cache->stable)
		return;
	if (fua)
		memcpy(cache->stable + off, cache->mem + off, len);
	for (uint64_t page = off / PAGE; page <= (off + len - 1) / PAGE; page++)
		cache->dirty[page / 8] |= (uint8_t)(1u << page % 8);
}

/* Makes both the same where they may differ. */
static void copy_dirty(struct ram_cache *cache, char *to, const char *from)
{
	if (!cache->stable)
		return;
	for (uint64_t off = 0; off < cache->size_bytes; off += PAGE) {
		uint8_t *byte = &cache->dirty[off / PAGE / 8],
			bit = (uint8_t)(1u << off / PAGE % 8);

		if (*byte & bit)
			memcpy(to + off, from + off, MIN(PAGE, cache->size_bytes - off));
		*byte &= (uint8_t)~bit;
	}
}

void ram_cache_flush(struct ram_cache *cache)
{
	copy_dirty(cache, cache->stable, cache->mem);
}

void ram_cache_power_loss(struct ram_cache *cache)
{
	copy_dirty(cache, cache->mem, cache->stable);
}
