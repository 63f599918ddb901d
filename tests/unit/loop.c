/* libs: util */
/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/loop.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "tests/unit/test.h"
#include "util/list.h"

#define NS_MS 1000000u

static struct loop *loop;

/* What ran, in order. */
static int ran[64];
static int nr_ran;

struct numbered {
	struct loop_work work;
	int number;
};

static void note(struct loop_work *work)
{
	struct numbered *n = container_of(work, struct numbered, work);

	CHECK(loop_is_owner(loop));
	ran[nr_ran++] = n->number;
}

static struct numbered numbered(int number)
{
	return (struct numbered){ .work = { .fn = note }, .number = number };
}

static void order(void)
{
	struct numbered w[6];

	CHECK_OK(loop_new(&loop));
	for (int i = 0; i < 6; i++)
		w[i] = numbered(i);
	nr_ran = 0;
	/* Posts and deferrals of one thread keep their common order (L2). */
	loop_post(loop, &w[0].work);
	loop_defer(loop, &w[1].work);
	loop_post(loop, &w[2].work);
	loop_post(loop, &w[3].work);
	loop_defer(loop, &w[4].work);
	loop_post(loop, &w[5].work);
	CHECK_EQ(nr_ran, 0);
	/* Must not wait: there is work. */
	loop_run_once(loop, true);
	CHECK_EQ(nr_ran, 6);
	for (int i = 0; i < 6; i++)
		CHECK_EQ(ran[i], i);
	loop_run_once(loop, false);
	CHECK_EQ(nr_ran, 6);
	loop_free(loop);
}

/* A work that defers itself for ever does not keep the timer from firing. */
struct again {
	struct loop_work work;
	uint64_t runs;
	bool by_post;
};

static void do_again(struct loop_work *work)
{
	struct again *a = container_of(work, struct again, work);
	uint64_t runs = ++a->runs;

	if (a->by_post)
		loop_post(loop, work);
	else
		loop_defer(loop, work);
	CHECK_EQ(a->runs, runs); /* never from within the call */
}

static void on_timer(struct ev_loop *ev, ev_timer *w, int revents)
{
	(void)ev, (void)w, (void)revents;
	loop_stop(loop);
}

static void no_starving(bool by_post)
{
	struct again a = { .work = { .fn = do_again }, .by_post = by_post };
	uint64_t start = clock_mono_ns();
	ev_timer timer;

	CHECK_OK(loop_new(&loop));
	ev_timer_init(&timer, on_timer, 0.02, 0);
	ev_timer_start(loop_ev(loop), &timer);
	loop_defer(loop, &a.work);
	loop_run(loop);
	CHECK(a.runs > 1);
	CHECK(clock_mono_ns() - start >= 15 * NS_MS);
	loop_free(loop); /* drops what is queued */
}

/* The loop sleeps when nothing is to do, also after it had work. */
static void sleeps(void)
{
	struct numbered w = numbered(1);
	struct timespec before, after;
	ev_timer timer;

	CHECK_OK(loop_new(&loop));
	nr_ran = 0;
	ev_timer_init(&timer, on_timer, 0.2, 0);
	ev_timer_start(loop_ev(loop), &timer);
	loop_defer(loop, &w.work);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
	loop_run(loop);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
	CHECK_EQ(nr_ran, 1);
	CHECK((after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000 <
	      100);
	loop_free(loop);
}

/* Posters: each hands over its works in order and again once they ran. */
enum { POSTERS = 4, EACH = 20000 };

struct message {
	struct loop_work work;
	int poster;
	uint32_t number;
};

static uint32_t next_number[POSTERS];
static uint64_t received;

static void on_message(struct loop_work *work)
{
	struct message *m = container_of(work, struct message, work);

	CHECK(loop_is_owner(loop));
	CHECK_EQ(m->number, next_number[m->poster]);
	next_number[m->poster]++;
	free(m);
	if (++received == (uint64_t)POSTERS * EACH)
		loop_stop(loop);
}

static void *poster(void *arg)
{
	int me = (int)(intptr_t)arg;

	for (uint32_t i = 0; i < EACH; i++) {
		struct message *m = malloc(sizeof(*m));

		CHECK(m);
		*m = (struct message){ { .fn = on_message }, me, i };
		loop_post(loop, &m->work);
		/* Let the loop fall asleep now and then: wake-ups are what can be lost. */
		if (i % 500 == 0)
			usleep(100);
	}
	return NULL;
}

static void *run_loop(void *arg)
{
	(void)arg;
	loop_run(loop);
	return NULL;
}

static void threads(void)
{
	pthread_t runner, posters[POSTERS];

	CHECK_OK(loop_new(&loop));
	CHECK(loop_is_owner(loop));
	CHECK_EQ(pthread_create(&runner, NULL, run_loop, NULL), 0);
	for (int i = 0; i < POSTERS; i++)
		CHECK_EQ(pthread_create(&posters[i], NULL, poster, (void *)(intptr_t)i), 0);
	for (int i = 0; i < POSTERS; i++)
		CHECK_EQ(pthread_join(posters[i], NULL), 0);
	CHECK_EQ(pthread_join(runner, NULL), 0);
	CHECK_EQ(received, (uint64_t)POSTERS * EACH);
	loop_free(loop);
}

/* One work at a time there and back: each step is a wake-up of a sleeping loop. */
static struct loop *other_loop;
static int pings;

static void ping(struct loop_work *work)
{
	if (++pings == 4000)
		loop_stop(loop);
	else
		loop_post(pings % 2 ? other_loop : loop, work);
}

static void *run_other(void *arg)
{
	(void)arg;
	loop_run(other_loop);
	return NULL;
}

static void ping_pong(void)
{
	struct loop_work work = { .fn = ping };
	pthread_t other;

	CHECK_OK(loop_new(&loop));
	CHECK_OK(loop_new(&other_loop));
	CHECK_EQ(pthread_create(&other, NULL, run_other, NULL), 0);
	loop_post(loop, &work);
	loop_run(loop);
	CHECK_EQ(pings, 4000);
	loop_stop(other_loop);
	CHECK_EQ(pthread_join(other, NULL), 0);
	loop_free(loop);
	loop_free(other_loop);
}

static void owner(void)
{
	struct numbered w = numbered(1);
	pthread_t runner;

	CHECK_OK(loop_new(&loop));
	/* A stop that comes first is not lost, and is used up. */
	loop_stop(loop);
	loop_run(loop);
	CHECK_EQ(pthread_create(&runner, NULL, run_loop, NULL), 0);
	nr_ran = 0;
	loop_post(loop, &w.work);
	while (loop_is_owner(loop))
		usleep(100);
	loop_stop(loop);
	CHECK_EQ(pthread_join(runner, NULL), 0);
	CHECK(loop_is_owner(loop));
	CHECK_EQ(nr_ran, 1);
	loop_free(loop);
}

int main(void)
{
	uint64_t a = clock_mono_ns(), b = clock_mono_ns();

	CHECK(a > 0 && b >= a);
	CHECK(clock_real_ns() > 1600000000ull * 1000000000u);
	order();
	no_starving(false);
	no_starving(true);
	sleeps();
	threads();
	ping_pong();
	owner();
	loop_free(NULL);
	return 0;
}
