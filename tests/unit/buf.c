/* libs: util */
/* also plain: what the pools keep of memory */
/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/buf.h"

#include "tests/unit/test.h"

static struct buf_pool_stats stats(struct buf_pool *pool)
{
	struct buf_pool_stats s;

	buf_pool_stats(pool, &s);
	return s;
}

static void classes(struct buf_pool *pool)
{
	static const size_t sizes[] = { 1, 4095, 4096, 4097, 65536, 65537, BUF_MAX_BYTES - 1,
		BUF_MAX_BYTES };

	CHECK_EQ(buf_class_bytes(1), 4096);
	CHECK_EQ(buf_class_bytes(4096), 4096);
	CHECK_EQ(buf_class_bytes(4097), 8192);
	CHECK_EQ(buf_class_bytes(BUF_MAX_BYTES), BUF_MAX_BYTES);
	CHECK_EQ(buf_class_bytes(0), 0);
	CHECK_EQ(buf_class_bytes(BUF_MAX_BYTES + 1), 0);
	CHECK(!buf_get(pool, 0));
	CHECK(!buf_get(pool, BUF_MAX_BYTES + 1));
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		void *b = buf_get(pool, sizes[i]);

		CHECK(b);
		CHECK_EQ((uintptr_t)b % 4096, 0);
		memset(b, 0x5a, buf_class_bytes(sizes[i]));
		CHECK_EQ(stats(pool).used_bytes, buf_class_bytes(sizes[i]));
		buf_put(pool, b, sizes[i]);
		CHECK_EQ(stats(pool).used_bytes, 0);
	}
	buf_put(pool, NULL, 4096);
}

static void reuse(struct buf_pool *pool)
{
	void *a = buf_get(pool, 5000), *b, *c;
	uint64_t hits;

	buf_put(pool, a, 5000);
	hits = stats(pool).hits;
	/* Another size of the same class takes it; another class does not. */
	b = buf_get(pool, 8192);
	CHECK(b == a);
	CHECK_EQ(stats(pool).hits, hits + 1);
	c = buf_get(pool, 8192);
	CHECK(c && c != b);
	buf_put(pool, b, 8192);
	buf_put(pool, c, 8192);
}

static void bounded(void)
{
	struct buf_pool *pool;
	void *b[64], *one;

	CHECK_OK(buf_pool_new(1 << 20, &pool));
	for (int i = 0; i < 64; i++) {
		b[i] = buf_get(pool, 65536);
		CHECK(b[i]);
		for (int j = 0; j < i; j++)
			CHECK(b[i] != b[j]);
	}
	CHECK_EQ(stats(pool).used_bytes, 4 << 20);
	for (int i = 0; i < 64; i++)
		buf_put(pool, b[i], 65536);
	CHECK_EQ(stats(pool).cached_bytes, 1 << 20);

	/* A cache full of one size makes room for another. */
	one = buf_get(pool, 4096);
	buf_put(pool, one, 4096);
	CHECK(stats(pool).cached_bytes <= 1 << 20);
	CHECK(buf_get(pool, 4096) == one);
	buf_put(pool, one, 4096);

	/* What is larger than the bound is not kept. */
	one = buf_get(pool, BUF_MAX_BYTES);
	buf_put(pool, one, BUF_MAX_BYTES);
	CHECK(stats(pool).cached_bytes <= 1 << 20);
	buf_pool_free(pool);
}

#define NR_SMALL 8192u

/* KiB; sanitizers keep what was freed. */
static long resident(void)
{
#if defined(__SANITIZE_ADDRESS__)
	return 0;
#endif
	FILE *f = fopen("/proc/self/statm", "r");
	long all, pages;

	CHECK(f && fscanf(f, "%ld %ld", &all, &pages) == 2);
	fclose(f);
	return pages * (4096 / 1024);
}

/* Small ones take little more memory than their size, in use and when half of them were given back;
 * none is given out twice. */
static void small(void)
{
	static uint8_t *b[NR_SMALL];
	long before = resident();
	struct buf_pool *pool;

	CHECK_OK(buf_pool_new(1 << 20, &pool));
	for (int round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < NR_SMALL; i++) {
			if (b[i])
				continue;
			b[i] = buf_get(pool, 4096);
			CHECK(b[i] && (uintptr_t)b[i] % 4096 == 0);
			memset(b[i], 0, 4096);
			memcpy(b[i], &i, sizeof(i));
		}
		CHECK(resident() - before < (long)NR_SMALL * 4 * 5 / 4);
		for (uint32_t i = 0; i < NR_SMALL; i++) {
			CHECK(!memcmp(b[i], &i, sizeof(i)));
			if (i * 7 % 11 < 6) {
				memset(b[i], 0xff, 4096);
				buf_put(pool, b[i], 4096);
				b[i] = NULL;
			}
		}
	}
	CHECK(stats(pool).cached_bytes <= 1 << 20);
	for (uint32_t i = 0; i < NR_SMALL; i++)
		buf_put(pool, b[i], 4096);
	CHECK_EQ(stats(pool).used_bytes, 0);
	CHECK(stats(pool).cached_bytes <= 1 << 20);
	buf_pool_free(pool);
	CHECK(resident() - before < 4096); /* it is given back, but for a few slabs */
}

int main(void)
{
	struct buf_pool *pool;

	CHECK_OK(buf_pool_new(0, &pool));
	classes(pool);
	reuse(pool);
	buf_pool_free(pool);
	buf_pool_free(NULL);
	bounded();
	small();
	return 0;
}
