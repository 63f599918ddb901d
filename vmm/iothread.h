/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A thread with a loop, on which a device's queue lives. It never takes the machine's mutex (V2),
 * so whoever holds that may wait for it.
 */
#ifndef VMM_IOTHREAD_H
#define VMM_IOTHREAD_H

struct loop;
struct vmm_iothread;

/* Starts one. Errors: -ENOMEM, -EMFILE, of pthread_create(). */
int vmm_iothread_new(struct vmm_iothread **ret_thread) __attribute__((warn_unused_result, nonnull));

/* Ends it, and waits for that. NULL is allowed. */
void vmm_iothread_free(struct vmm_iothread *thread);

struct loop *vmm_iothread_loop(struct vmm_iothread *thread) __attribute__((nonnull));

/* Runs fn(arg) on the thread and waits until it has returned. Not from the thread itself. */
void vmm_iothread_call(struct vmm_iothread *thread, void (*fn)(void *arg), void *arg)
	__attribute__((nonnull(1, 2)));

#endif
