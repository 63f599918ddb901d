/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: util node */
/* The cached layout of a file against a plain array of blocks. */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "csvfs/node/layout.h"
#include "tests/unit/test.h"

#define NR 300u

struct place {
	bool known;
	enum csv_ext_state state;
	uint64_t phys;
};

static struct place model[NR];
static struct layout l;
static uint64_t seed = 0x1234567;

static uint32_t rnd(uint32_t n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 33) % n;
}

/* In order, without gaps of length 0, nothing overlaps, what continues is joined. */
static void check_shape(void)
{
	for (uint32_t i = 0; i < l.nr; i++) {
		const struct csv_extent *e = &l.ext[i], *next = e + 1;
		CHECK(e->nr > 0);
		if (i + 1 < l.nr)
			CHECK(e->blk + e->nr <= next->blk);
	}
	CHECK(l.nr <= l.room);
}

static void check_all(void)
{
	check_shape();
	for (uint64_t blk = 0; blk < NR; blk++) {
		struct csv_extent e;
		bool found = layout_find(&l, blk, &e);
		CHECK_EQ(found, model[blk].known);
		if (!found)
			continue;
		CHECK_EQ(e.blk, blk);
		CHECK(e.nr >= 1 && blk + e.nr <= NR);
		for (uint64_t i = 0; i < e.nr; i++) { /* all that it says, not the first block alone */
			const struct place *p = &model[blk + i];
			CHECK(p->known);
			CHECK_EQ(e.state, p->state);
			if (p->state != CSV_HOLE)
				CHECK_EQ(e.phys + i, p->phys);
		}
	}
}

static void insert(uint64_t blk, uint64_t nr, uint64_t phys, enum csv_ext_state state)
{
	struct csv_extent e = { blk, nr, state == CSV_HOLE ? 0 : phys, state };

	CHECK_OK(layout_insert(&l, &e));
	for (uint64_t i = 0; i < nr; i++)
		model[blk + i] = (struct place){ true, state, phys + i };
}

static void clear(void)
{
	layout_clear(&l);
	memset(model, 0, sizeof(model));
}

static void test_joins(void)
{
	clear();
	insert(10, 5, 100, CSV_WRITTEN);
	insert(20, 5, 110, CSV_WRITTEN);
	insert(15, 5, 105, CSV_WRITTEN); /* fits between both, in the file and on the device */
	CHECK_EQ(l.nr, 1);
	insert(25, 5, 200, CSV_WRITTEN); /* follows in the file alone */
	CHECK_EQ(l.nr, 2);
	insert(30, 5, 205, CSV_UNWRITTEN); /* follows, in another state */
	CHECK_EQ(l.nr, 3);
	insert(12, 1, 102, CSV_UNWRITTEN); /* cuts the first in three */
	CHECK_EQ(l.nr, 5);
	insert(12, 1, 102, CSV_WRITTEN); /* and heals it */
	CHECK_EQ(l.nr, 3);
	insert(40, 5, 0, CSV_HOLE);
	insert(45, 5, 0, CSV_HOLE);
	CHECK_EQ(l.nr, 4);
	check_all();
	insert(0, NR, 1000, CSV_WRITTEN);
	CHECK_EQ(l.nr, 1);
	check_all();
}

static void test_random(void)
{
	clear();
	for (unsigned i = 0; i < 30000; i++) {
		uint32_t nr = 1 + rnd(rnd(4) ? 8 : 100), blk = rnd(NR - nr + 1);
		/* few places, so that neighbours often continue each other */
		uint64_t phys = 1000 + blk + rnd(3) * 10000;

		if (rnd(500) == 0) {
			clear();
		} else if (rnd(100) == 0) {
			layout_keep_written(&l);
			for (uint32_t k = 0; k < NR; k++)
				if (model[k].state != CSV_WRITTEN)
					model[k].known = false;
		} else {
			insert(blk, nr, phys, (enum csv_ext_state)rnd(3));
		}
		check_shape();
		if (i % 16 == 0)
			check_all();
	}
}

/* An empty one changes nothing; what a hostile coordinator could send is refused before (io.c), and
 * still must not write out of bounds here. */
static void test_odd(void)
{
	struct csv_extent none = { 5, 0, 9, CSV_WRITTEN };
	struct csv_extent wraps = { 7, UINT64_MAX - 3, 9, CSV_WRITTEN };
	struct csv_extent e;

	clear();
	CHECK(!layout_find(&l, 0, &e));
	insert(0, 20, 100, CSV_WRITTEN);
	CHECK_OK(layout_insert(&l, &none));
	check_all();
	for (int i = 0; i < 100; i++) {
		CHECK_OK(layout_insert(&l, &wraps));
		CHECK(l.nr <= l.room);
		wraps.blk = i % 2 ? 3 : 11;
	}
	layout_clear(&l);
}

/* A cache that has grown past all sense starts anew, and stays right. */
static void test_limit(void)
{
	struct csv_extent e = { 0, 1, 0, CSV_WRITTEN };

	clear();
	for (uint64_t i = 0; i < (1u << 16) + 10; i++) {
		e.blk = i * 2;
		e.phys = i * 7 + 1;
		CHECK_OK(layout_insert(&l, &e));
	}
	CHECK(l.nr <= 1u << 16);
	CHECK(layout_find(&l, e.blk, &e));
	CHECK_EQ(e.phys, ((1u << 16) + 9) * 7 + 1);
	layout_clear(&l);
	CHECK_EQ(l.nr, 0);
}

int main(void)
{
	test_joins();
	test_random();
	test_odd();
	test_limit();
	clear();
	return 0;
}
