/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where work goes: other threads push it onto `posted`, a stack that is taken whole and turned
 * round, so no poster ever waits for the loop. The loop's thread appends it to `queue`, where
 * loop_defer() appends too; that is what keeps the common order (L2).
 *
 * When it runs: in the prepare phase, before the loop would sleep, and after a wake-up. A round
 * takes what was queued when it began, and a phase is of ROUNDS at most, so work that queues itself
 * again cannot starve I/O, and a chain of a few works costs no look at the descriptors between them.
 * While anything is queued an idle watcher keeps the loop from sleeping. Work that runs the loop itself
 * (loop_run_once in a callback) first goes on with the round that it is part of, so that nothing
 * which it waits for can be stuck behind it.
 *
 * Prepare watchers with a lower priority than EV_MAXPRI run after the round: the place to submit
 * what the works have batched.
 */
#include "util/loop.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "util/list.h"

#define ROUNDS 8

struct loop {
	struct ev_loop *ev;
	ev_async wake;
	ev_prepare prepare;
	ev_check check;
	ev_idle idle;
	bool once;   /* in loop_run_once() */
	bool nested; /* a run within a callback has just ended */

	struct loop_work *queue, **queue_end;
	struct loop_work *round; /* what is left of the round that runs */

	_Atomic(struct loop_work *) posted;
	atomic_bool stop;
	_Atomic(const void *) owner;
};

/* Its address names the thread. */
static _Thread_local char thread_mark;

static void queue_add(struct loop *loop, struct loop_work *work)
{
	work->next = NULL;
	*loop->queue_end = work;
	loop->queue_end = &work->next;
}

static struct loop_work *queue_take(struct loop *loop)
{
	struct loop_work *first = loop->queue;

	loop->queue = NULL;
	loop->queue_end = &loop->queue;
	return first;
}

/* Moves what was posted to the queue. */
static void pull_posted(struct loop *loop)
{
	struct loop_work *newest, *oldest = NULL;

	if (!atomic_load_explicit(&loop->posted, memory_order_relaxed))
		return;
	newest = atomic_exchange_explicit(&loop->posted, NULL, memory_order_acquire);
	while (newest) {
		struct loop_work *next = newest->next;

		newest->next = oldest;
		oldest = newest;
		newest = next;
	}
	while (oldest) {
		struct loop_work *next = oldest->next;

		queue_add(loop, oldest);
		oldest = next;
	}
}

/* True if something ran. */
static bool run_round(struct loop *loop)
{
	bool ran = false;

	pull_posted(loop);
	if (!loop->round)
		loop->round = queue_take(loop);
	while (loop->round) {
		/* fn may free the work, or hand it over again. */
		struct loop_work *work = loop->round;

		loop->round = work->next;
		work->fn(work);
		ran = true;
	}
	return ran;
}

/* True if something ran. */
static bool run_queue(struct loop *loop)
{
	bool ran = run_round(loop);

	/* Who runs the loop once gets one round: the rest may be what it wants to look at first. */
	for (int i = 1; i < ROUNDS && loop->queue && !loop->once; i++)
		run_round(loop);
	if (loop->queue)
		ev_idle_start(loop->ev, &loop->idle);
	return ran;
}

static void on_prepare(struct ev_loop *ev, ev_prepare *w, int revents)
{
	struct loop *loop = container_of(w, struct loop, prepare);

	(void)revents;
	/* loop_run_once() was to wait for something, and if anything ran, this was it. */
	if (run_queue(loop) && loop->once)
		ev_idle_start(ev, &loop->idle);
	else if (!loop->queue && !loop->nested)
		ev_idle_stop(ev, &loop->idle);
}

static void on_check(struct ev_loop *ev, ev_check *w, int revents)
{
	struct loop *loop = container_of(w, struct loop, check);

	(void)revents;
	loop->nested = false;
	if (!loop->queue)
		ev_idle_stop(ev, &loop->idle);
}

static void on_wake(struct ev_loop *ev, ev_async *w, int revents)
{
	struct loop *loop = container_of(w, struct loop, wake);

	(void)revents;
	run_queue(loop);
	if (atomic_load_explicit(&loop->stop, memory_order_acquire))
		ev_break(ev, EVBREAK_ALL);
}

static void on_idle(struct ev_loop *ev, ev_idle *w, int revents)
{
	/* Being active is all that it does. */
	(void)ev;
	(void)w;
	(void)revents;
}

int loop_new(struct loop **ret_loop)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return -ENOMEM;
	errno = 0;
	loop->ev = ev_loop_new(EVFLAG_NOENV);
	if (!loop->ev) {
		free(loop);
		return errno == ENOMEM ? -ENOMEM : -EMFILE;
	}
	loop->queue_end = &loop->queue;

	ev_async_init(&loop->wake, on_wake);
	ev_prepare_init(&loop->prepare, on_prepare);
	ev_check_init(&loop->check, on_check);
	ev_idle_init(&loop->idle, on_idle);
	ev_set_priority(&loop->prepare, EV_MAXPRI);
	ev_async_start(loop->ev, &loop->wake);
	ev_prepare_start(loop->ev, &loop->prepare);
	ev_check_start(loop->ev, &loop->check);
	*ret_loop = loop;
	return 0;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	assert(!atomic_load(&loop->owner));
	ev_loop_destroy(loop->ev);
	free(loop);
}

struct ev_loop *loop_ev(struct loop *loop)
{
	return loop->ev;
}

static void run(struct loop *loop, int flags)
{
	const void *before = atomic_exchange(&loop->owner, (const void *)&thread_mark);

	assert(!before || before == &thread_mark);
	ev_run(loop->ev, flags);
	/* If this was within a prepare callback, the run has used up the others that were pending in
	 * the outer round. What they would have sent must not wait for the outer poll. */
	if (before) {
		loop->nested = true;
		ev_idle_start(loop->ev, &loop->idle);
	}
	atomic_store(&loop->owner, before);
}

void loop_run(struct loop *loop)
{
	/* A stop that came before the run counts; each is used up by one run. */
	do {
		run(loop, 0);
	} while (!atomic_exchange(&loop->stop, false));
}

void loop_run_once(struct loop *loop, bool wait)
{
	bool before = loop->once;

	loop->once = true;
	run(loop, wait ? EVRUN_ONCE : EVRUN_NOWAIT);
	loop->once = before;
}

void loop_stop(struct loop *loop)
{
	atomic_store_explicit(&loop->stop, true, memory_order_release);
	ev_async_send(loop->ev, &loop->wake);
}

void loop_defer(struct loop *loop, struct loop_work *work)
{
	assert(loop_is_owner(loop));
	pull_posted(loop);
	queue_add(loop, work);
	ev_idle_start(loop->ev, &loop->idle);
}

void loop_post(struct loop *loop, struct loop_work *work)
{
	struct loop_work *top = atomic_load_explicit(&loop->posted, memory_order_relaxed);

	if (atomic_load_explicit(&loop->owner, memory_order_relaxed) == &thread_mark) {
		loop_defer(loop, work); /* it is awake */
		return;
	}
	do {
		work->next = top;
	} while (!atomic_compare_exchange_weak_explicit(&loop->posted, &top, work,
		memory_order_release, memory_order_relaxed));
	/* Who found the stack non-empty is taken along with those who wake the loop for it. */
	if (!top)
		ev_async_send(loop->ev, &loop->wake);
}

static bool unlink_work(struct loop_work **link, const struct loop_work *work)
{
	for (; *link; link = &(*link)->next) {
		if (*link != work)
			continue;
		*link = work->next;
		return true;
	}
	return false;
}

bool loop_cancel(struct loop *loop, struct loop_work *work)
{
	struct loop_work **end = &loop->queue;

	assert(loop_is_owner(loop));
	pull_posted(loop);
	if (unlink_work(&loop->round, work))
		return true;
	if (!unlink_work(&loop->queue, work))
		return false;
	while (*end)
		end = &(*end)->next;
	loop->queue_end = end;
	return true;
}

bool loop_is_owner(const struct loop *loop)
{
	const void *owner = atomic_load_explicit(&loop->owner, memory_order_relaxed);

	return !owner || owner == &thread_mark;
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t clock_mono_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

uint64_t clock_real_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}
