/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/iothread.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>

#include "util/loop.h"

struct vmm_iothread {
	struct loop *loop;
	pthread_t thread;
};

struct call {
	struct loop_work work;
	void (*fn)(void *arg);
	void *arg;
	sem_t done;
};

static void *run_thread(void *arg)
{
	loop_run(((struct vmm_iothread *)arg)->loop);
	return NULL;
}

int vmm_iothread_new(struct vmm_iothread **ret_thread)
{
	struct vmm_iothread *thread = calloc(1, sizeof(*thread));
	sigset_t all, old;
	int err;

	if (!thread)
		return -ENOMEM;
	err = loop_new(&thread->loop);
	if (err)
		goto out;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = -pthread_create(&thread->thread, NULL, run_thread, thread);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err)
		goto out_loop;
	*ret_thread = thread;
	return 0;
out_loop:
	loop_free(thread->loop);
out:
	free(thread);
	return err;
}

static void stop_loop(void *arg)
{
	loop_stop(arg);
}

void vmm_iothread_free(struct vmm_iothread *thread)
{
	if (!thread)
		return;
	/* from within, since before the loop runs it could not be stopped */
	vmm_iothread_call(thread, stop_loop, thread->loop);
	pthread_join(thread->thread, NULL);
	loop_free(thread->loop);
	free(thread);
}

struct loop *vmm_iothread_loop(struct vmm_iothread *thread)
{
	return thread->loop;
}

static void run_call(struct loop_work *work)
{
	struct call *call = (struct call *)work;

	call->fn(call->arg);
	sem_post(&call->done);
}

void vmm_iothread_call(struct vmm_iothread *thread, void (*fn)(void *arg), void *arg)
{
	struct call call = { .work.fn = run_call, .fn = fn, .arg = arg };

	sem_init(&call.done, 0, 0);
	loop_post(thread->loop, &call.work);
	while (sem_wait(&call.done) < 0 && errno == EINTR)
		;
	sem_destroy(&call.done);
}
