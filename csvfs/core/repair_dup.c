/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Blocks with two owners: a second walk notes who has them, and by what right (R6). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "csvfs/core/repair_internal.h"
#include "util/checked.h"
#include "util/err.h"

struct claim {
	struct check_fix fix; /* how it gives the blocks up */
	uint64_t seq;	      /* of the leaf that it is in */
	uint64_t dup;	      /* index of what it claims */
};

struct check_claims {
	const struct check_dup *dups; /* by block, apart from each other */
	uint64_t nr_dups;
	struct claim *claims;
	uint64_t nr, max;
};

/* The first run that ends behind blk. */
static uint64_t first_dup(const struct check_claims *cl, uint64_t blk)
{
	uint64_t lo = 0, hi = cl->nr_dups;

	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;

		if (cl->dups[mid].blk + cl->dups[mid].nr <= blk)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

int check_claim(struct check *c, uint64_t blk, uint64_t nr)
{
	struct check_claims *cl = c->claims;

	for (uint64_t i = first_dup(cl, blk); i < cl->nr_dups && cl->dups[i].blk < blk + nr; i++) {
		uint64_t from = MAX(blk, cl->dups[i].blk);
		uint64_t to = MIN(blk + nr, cl->dups[i].blk + cl->dups[i].nr);
		int err = check_grow(&cl->claims, cl->nr, &cl->max, sizeof(*cl->claims));

		if (err)
			return err;
		cl->claims[cl->nr] = (struct claim){ .fix = c->as, .seq = c->leaf_seq, .dup = i };
		if (c->as.kind == FIX_EXT_HOLE) {
			cl->claims[cl->nr].fix.blk = from;
			cl->claims[cl->nr].fix.arg = to - from;
		}
		cl->nr++;
	}
	return 0;
}

static int by_blk(const void *a, const void *b)
{
	const struct check_dup *x = a, *y = b;

	return x->blk < y->blk ? -1 : x->blk > y->blk;
}

/* In order, and what overlaps joined. */
static void join_dups(struct check_plan *plan)
{
	uint64_t nr = 0;

	qsort(plan->dups, plan->nr_dups, sizeof(*plan->dups), by_blk);
	for (uint64_t i = 0; i < plan->nr_dups; i++) {
		struct check_dup *last = nr ? &plan->dups[nr - 1] : NULL, *dup = &plan->dups[i];

		if (last && dup->blk < last->blk + last->nr) {
			uint64_t end = MAX(last->blk + last->nr, dup->blk + dup->nr);

			last->nr = end - last->blk;
		} else {
			plan->dups[nr++] = *dup;
		}
	}
	plan->nr_dups = nr;
}

static int by_dup(const void *a, const void *b)
{
	const struct claim *x = a, *y = b;

	return x->dup < y->dup ? -1 : x->dup > y->dup;
}

/* What lies there is the node that the claim speaks of. */
static int is_its_node(struct repair *r, const struct check_fix *fix, bool *ret)
{
	const struct csv_tree_node *n = (const void *)r->buf;
	struct check quiet = *r->c;
	struct csv_check_report report;
	int err;

	quiet.msg = NULL;
	quiet.report = &report;
	err = check_read(&quiet, fix->blk, CSV_BT_TREE, "a tree", r->buf, ret);
	r->c->bad = quiet.bad;
	r->c->nr_bad = quiet.nr_bad;
	r->c->max_bad = quiet.max_bad;
	*ret = *ret && le64_get(n->h.owner) == fix->owner && le16_get(n->level) == fix->level;
	return err;
}

/* Who keeps the blocks: 3 a group, 2 the tree node that is there, 1 a file, 0 a tree without node. */
static int rank(struct repair *r, const struct claim *claim, uint32_t *ret)
{
	bool ok = false;
	int err = 0;

	switch (claim->fix.kind) {
	case FIX_GROUP:
		*ret = 3;
		return 0;
	case FIX_CUT:
		err = is_its_node(r, &claim->fix, &ok);
		*ret = ok ? 2 : 0;
		return err;
	default:
		*ret = 1;
		return 0;
	}
}

static int settle(struct repair *r, const struct claim *claims, uint64_t nr)
{
	uint32_t best_rank = 0;
	uint64_t best = 0;

	for (uint64_t i = 0; i < nr; i++) {
		uint32_t rk;
		int err = rank(r, &claims[i], &rk);

		if (err)
			return err;
		if (i > 0 && (rk < best_rank ||
				     (rk == best_rank && claims[i].seq <= claims[best].seq)))
			continue;
		if (i > 0 && rk == best_rank && rk != 1)
			continue; /* the first */
		best = i;
		best_rank = rk;
	}
	for (uint64_t i = 0; i < nr; i++)
		if (i != best && claims[i].fix.kind != FIX_GROUP)
			check_fix(r->c, &claims[i].fix);
	return 0;
}

int repair_dups(struct repair *r)
{
	struct check_claims cl = { 0 };
	struct csv_check_report report = { 0 };
	struct check c = { .fs = r->fs, .geom = r->c->geom, .report = &report, .claims = &cl };
	uint64_t next;
	int err;

	join_dups(r->plan);
	cl.dups = r->plan->dups;
	cl.nr_dups = r->plan->nr_dups;
	err = check_run(&c);
	if (!err && cl.nr)
		qsort(cl.claims, cl.nr, sizeof(*cl.claims), by_dup);
	for (uint64_t i = 0; i < cl.nr && !err; i = next) {
		for (next = i; next < cl.nr && cl.claims[next].dup == cl.claims[i].dup; next++)
			;
		err = settle(r, &cl.claims[i], next - i);
	}
	free(cl.claims);
	check_done(&c);
	return err;
}
