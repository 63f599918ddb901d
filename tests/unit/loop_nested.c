/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: util */
/* Work that runs the loop itself is not stuck behind itself, and work can be taken back. */
#include "tests/unit/test.h"
#include "util/loop.h"

static struct loop *loop;
static struct loop_work outer, inner, extra;
static int nr_inner, nr_extra;

static void inner_fn(struct loop_work *work)
{
	nr_inner++;
}

static void extra_fn(struct loop_work *work)
{
	nr_extra++;
}

/* Waits for inner, which was handed over before and is in the same round. */
static void outer_fn(struct loop_work *work)
{
	for (int i = 0; nr_inner == 0; i++) {
		CHECK(i < 10);
		loop_run_once(loop, false);
	}
}

static void nested(void)
{
	loop_defer(loop, &outer);
	loop_post(loop, &inner);
	loop_run_once(loop, true);
	CHECK_EQ(nr_inner, 1);
}

static void cancelled(void)
{
	nr_inner = 0;
	loop_defer(loop, &inner);
	loop_post(loop, &extra);
	CHECK(loop_cancel(loop, &extra));
	CHECK(!loop_cancel(loop, &extra));
	loop_run_once(loop, true);
	CHECK_EQ(nr_inner, 1);
	CHECK_EQ(nr_extra, 0);
	CHECK(!loop_cancel(loop, &inner));
	/* What is queued after a cancelled last one is not lost. */
	loop_post(loop, &extra);
	CHECK(loop_cancel(loop, &extra));
	loop_defer(loop, &inner);
	loop_run_once(loop, true);
	CHECK_EQ(nr_inner, 2);
}

int main(void)
{
	outer.fn = outer_fn;
	inner.fn = inner_fn;
	extra.fn = extra_fn;
	CHECK_OK(loop_new(&loop));
	nested();
	cancelled();
	loop_free(loop);
	return 0;
}
