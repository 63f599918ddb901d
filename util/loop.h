/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One libev loop for each thread, and a way for other threads to hand it work.
 *
 * File descriptors and timers are watched with libev itself (ev_io, ev_timer on loop_ev()); this
 * header adds what libev leaves to its users: posting, deferring, and ownership checks.
 *
 * L1  Everything but loop_post() and loop_stop() is called on the thread that runs the loop, or
 *     before it runs.
 * L2  A posted or deferred work runs exactly once, in the order in which it was handed over,
 *     never from within the call that hands it over.
 */
#ifndef UTIL_LOOP_H
#define UTIL_LOOP_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

struct loop;

/* Embedded by the caller, who keeps it alive until fn has started. One hand-over at a time. */
struct loop_work {
	struct loop_work *next;
	void (*fn)(struct loop_work *work);
};

/* Makes a loop. Errors: -ENOMEM, -EMFILE. */
int loop_new(struct loop **ret_loop) __attribute__((warn_unused_result, nonnull));

/* Frees a loop that does not run. Work that is still queued is dropped. NULL is allowed. */
void loop_free(struct loop *loop);

/* The libev loop, to start ev_io, ev_timer, ev_prepare watchers on. */
struct ev_loop *loop_ev(struct loop *loop);

/* Runs until loop_stop(). Blocks. The calling thread becomes the owner. */
void loop_run(struct loop *loop);

/* Handles what is ready, waiting for something if wait is set. The caller becomes the owner. */
void loop_run_once(struct loop *loop, bool wait);

/* Makes loop_run() return; any thread. */
void loop_stop(struct loop *loop);

/* Hands work to the loop's thread; any thread (its own: as loop_defer()), lock-free, cannot fail. */
void loop_post(struct loop *loop, struct loop_work *work);

/* Like loop_post(), from the loop's own thread and without waking anything. */
void loop_defer(struct loop *loop, struct loop_work *work);

/* Takes back work that has not started; true if there was any. From the loop's own thread; nobody
 * may be posting it meanwhile. For who frees what the work is embedded in. */
bool loop_cancel(struct loop *loop, struct loop_work *work);

/* True on the thread that owns the loop (or while nobody does). */
bool loop_is_owner(const struct loop *loop);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t clock_mono_ns(void);
/* CLOCK_REALTIME in nanoseconds since 1970. */
uint64_t clock_real_ns(void);

#endif
