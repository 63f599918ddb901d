/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>

#include "csvfs/core/check_internal.h"

uint32_t check_fix_stage(enum fix_kind kind)
{
	static const enum fix_kind last[] = { FIX_SESSION, FIX_INODE_REC, FIX_NEXT_INO,
		FIX_ORPHAN_VAL, FIX_ROOT_DIR, FIX_LOST_FOUND, FIX_ROOT_FREE, FIX_QUOTA_USE };
	uint32_t stage = 0;

	while (kind > last[stage])
		stage++;
	return stage;
}

void check_fix(struct check *c, const struct check_fix *fix)
{
	struct check_plan *plan = c->plan;

	if (!plan || plan->more)
		return;
	if (plan->nr == PLAN_MAX ||
		check_grow(&plan->fixes, plan->nr, &plan->max, sizeof(*plan->fixes)))
		plan->more = true;
	else
		plan->fixes[plan->nr++] = *fix;
}

void check_dup(struct check *c, uint64_t blk, uint64_t nr)
{
	struct check_plan *plan = c->plan;

	if (!plan)
		return;
	if (plan->nr_dups == PLAN_MAX ||
		check_grow(&plan->dups, plan->nr_dups, &plan->max_dups, sizeof(*plan->dups)))
		plan->more = true;
	else
		plan->dups[plan->nr_dups++] = (struct check_dup){ blk, nr };
}

void check_plan_free(struct check_plan *plan)
{
	free(plan->fixes);
	free(plan->dups);
}
