/* libs: util */
/* also plain: tables where memory is short */
/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/htab.h"

#include <malloc.h>
#include <sys/resource.h>

#include "tests/unit/test.h"
#include "util/list.h"

struct item {
	struct htab_node node;
	uint64_t id;
	int seen;
};

static struct item *find(struct htab *h, uint64_t key)
{
	struct htab_node *n = htab_find(h, key);

	return n ? container_of(n, struct item, node) : NULL;
}

/* Keys in runs, in strides and wild, against what must be there. */
static void many(uint64_t first, uint64_t stride)
{
	enum { N = 20000 };
	struct item *items = calloc(N, sizeof(*items));
	struct htab_node *n, *tmp;
	struct htab h;
	size_t count = 0;

	CHECK(items);
	htab_init(&h);
	CHECK(!htab_find(&h, first));
	CHECK(!htab_first(&h));
	for (uint64_t i = 0; i < N; i++) {
		items[i].id = first + i * stride;
		htab_insert(&h, items[i].id, &items[i].node);
		CHECK_EQ(htab_count(&h), i + 1);
	}
	for (uint64_t i = 0; i < N; i++)
		CHECK(find(&h, first + i * stride) == &items[i]);
	CHECK(!htab_find(&h, first + N * stride));

	/* A walk meets each once and may remove: every third goes. */
	htab_for_each_safe(n, tmp, &h) {
		struct item *item = container_of(n, struct item, node);

		CHECK_EQ(item->seen++, 0);
		count++;
		if ((item - items) % 3 == 0) {
			CHECK(htab_remove(&h, n));
			memset(n, 0xaa, sizeof(*n));
		}
	}
	CHECK_EQ(count, N);
	for (uint64_t i = 0; i < N; i++)
		CHECK(find(&h, first + i * stride) == (i % 3 ? &items[i] : NULL));
	count = 0;
	htab_for_each(n, &h)
		count++;
	CHECK_EQ(count, htab_count(&h));

	/* Long chains would show here: a bad hash makes the loops above quadratic. */
	for (uint64_t i = 0; i < N; i++) {
		if (i % 3)
			CHECK(htab_remove(&h, &items[i].node));
	}
	CHECK_EQ(htab_count(&h), 0);
	CHECK(!htab_first(&h));
	htab_done(&h);
	free(items);
}

static void equal_keys(void)
{
	struct item a = { 0 }, b = { 0 }, c = { 0 }, fill[100] = { 0 };
	struct htab h;

	htab_init(&h);
	htab_insert(&h, 5, &a.node);
	htab_insert(&h, 5, &b.node);
	htab_insert(&h, 5, &c.node);
	/* The order survives growth. */
	for (uint64_t i = 0; i < 100; i++)
		htab_insert(&h, 100 + i, &fill[i].node);
	CHECK(htab_find(&h, 5) == &c.node);
	CHECK(htab_next_same(&c.node) == &b.node);
	CHECK(htab_next_same(&b.node) == &a.node);
	CHECK(!htab_next_same(&a.node));
	CHECK(htab_remove(&h, &b.node));
	CHECK(!htab_remove(&h, &b.node));
	CHECK(htab_next_same(&c.node) == &a.node);
	CHECK(htab_remove(&h, &c.node));
	CHECK(htab_find(&h, 5) == &a.node);
	htab_done(&h);
	CHECK_EQ(htab_count(&h), 0);
	CHECK(!htab_find(&h, 5));
}

static void moved(void)
{
	struct item a = { 0 };
	struct htab h, copy;

	htab_init(&h);
	htab_insert(&h, 9, &a.node);
	memcpy(&copy, &h, sizeof(h));
	memset(&h, 0xaa, sizeof(h));
	CHECK(htab_find(&copy, 9) == &a.node);
	htab_done(&copy);
}

/* No memory to grow: all goes on, only slower. */
static void no_memory(void)
{
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	enum { N = 300000 };
	struct item *items = calloc(N, sizeof(*items));
	struct rlimit old, none;
	unsigned int bits;
	struct htab h;

	CHECK(items);
	CHECK_EQ(getrlimit(RLIMIT_AS, &old), 0);
	none = old;
	none.rlim_cur = 1 << 20; /* less than is in use: no new mapping */
	htab_init(&h);
	for (uint64_t i = 0; i < N / 2; i++)
		htab_insert(&h, i, &items[i].node);
	CHECK_EQ(setrlimit(RLIMIT_AS, &none), 0);
	bits = h.bits;
	for (uint64_t i = N / 2; i < N; i++)
		htab_insert(&h, i, &items[i].node);
	CHECK_EQ(setrlimit(RLIMIT_AS, &old), 0);
	CHECK_EQ(h.bits, bits);
	for (uint64_t i = 0; i < N; i++)
		CHECK(find(&h, i) == &items[i]);
	CHECK_EQ(htab_count(&h), N);
	htab_done(&h);
	free(items);
#endif
}

int main(void)
{
	/* Bucket arrays always come from mmap(2), which no_memory() can take away. */
	mallopt(M_MMAP_THRESHOLD, 64 << 10);
	many(0, 1);
	many(1, 4096);
	many(0, (uint64_t)1 << 40);
	many(UINT64_MAX - 12345, 0x9e3779b97f4a7c15u);
	equal_keys();
	moved();
	no_memory();
	return 0;
}
