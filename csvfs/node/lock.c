/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Locks of this node's processes. The coordinator decides; here is noted what it granted.
 *
 * G1  ni->locks follows the answers, which come in the order in which the coordinator carried the
 *     requests out. It is what the next coordinator is told (locks_reassert), less what is being
 *     unlocked or weakened: that may have been carried out already, and be somebody else's.
 * G2  ni->lock_uses has an entry for each owner that has a lock or a request under way, and for each
 *     file by which it came. So who closes a file without locks sends nothing (P1), and the end of a
 *     file ends what was locked by it: the kernel tells the owner of fcntl's locks when a process
 *     closes (FLUSH), but not that of an open file's (F_OFD_SETLK) when that ends.
 * G3  A granted lock is always noted: the memory is there before the request is sent.
 * G4  A cancel is sent after its request, under its number. Its answer means nothing: the request's
 *     own says whether the lock was granted.
 *
 * Uses are under ni->lock; the rest belongs to the service thread.
 */
#include <errno.h>
#include <stdlib.h>

#include "csvfs/node/node_internal.h"
#include "util/log.h"

#define REASSERT_PER_MSG 8192u

struct lock_use {
	struct list link; /* ni->lock_uses */
	struct lock who;  /* kind and owner count */
	const void *file;
	uint32_t busy; /* requests under way */
};

void locks_init(struct node_inode *ni)
{
	list_init(&ni->lock_uses);
	list_init(&ni->lock_calls);
	lockset_init(&ni->locks);
}

static void use_free(struct lock_use *use)
{
	list_del(&use->link);
	free(use);
}

void locks_done(struct node_inode *ni)
{
	assert(list_empty(&ni->lock_calls));
	while (!list_empty(&ni->lock_uses))
		use_free(list_entry(ni->lock_uses.next, struct lock_use, link));
	lockset_done(&ni->locks);
}

/* file NULL: any. lock held. */
static struct lock_use *use_find(struct node_inode *ni, const struct lock *who, const void *file)
{
	struct list *pos;

	list_for_each (pos, &ni->lock_uses) {
		struct lock_use *use = list_entry(pos, struct lock_use, link);
		if (lock_same_owner(&use->who, who) && (!file || use->file == file))
			return use;
	}
	return NULL;
}

/* Found or made, and busy. lock held. NULL: no memory. */
static struct lock_use *use_get(struct node_inode *ni, const struct lock *who, const void *file)
{
	struct lock_use *use = use_find(ni, who, file);

	if (!use) {
		use = calloc(1, sizeof(*use));
		if (!use)
			return NULL;
		use->who = *who;
		use->file = file;
		list_add_tail(&ni->lock_uses, &use->link);
	}
	use->busy++;
	return use;
}

/* A request of who has ended: forgets who has nothing any more. */
static void use_put(struct node_inode *ni, const struct lock *who, struct lock_use *used)
{
	struct list *pos, *tmp;

	pthread_mutex_lock(&ni->lock);
	if (used)
		used->busy--;
	if (!lockset_holds(&ni->locks, who)) {
		list_for_each_safe (pos, tmp, &ni->lock_uses) {
			struct lock_use *use = list_entry(pos, struct lock_use, link);
			if (!use->busy && lock_same_owner(&use->who, who))
				use_free(use);
		}
	}
	pthread_mutex_unlock(&ni->lock);
}

/* ---- requests ---- */

/* It needs no memory: a close cannot fail. */
static bool unlocks_all(const struct lock *lock)
{
	return lock->type == CSVP_LOCK_NONE && lock->start == 0 && lock->end == CSVP_LOCK_END;
}

static void lock_end(struct node_lock *l, int status)
{
	struct node_inode *ni = l->ni;

	if (status == 0 && unlocks_all(&l->lock))
		lockset_drop_owner(&ni->locks, &l->lock);
	else if (status == 0)
		lockset_apply_reserved(&ni->locks, &l->lock, &l->mem);
	else if (l->lock.kind == CSVP_LOCK_FLOCK && lockset_other_type(&ni->locks, &l->lock))
		lockset_drop_owner(&ni->locks, &l->lock); /* it unlocks first, then fails */
	lockset_unreserve(&l->mem);
	use_put(ni, &l->lock, l->use);
	l->done(l, status);
}

static void lock_answered(struct node_call *call, int status, struct csvp_in *reply)
{
	struct node_lock *l = container_of(call, struct node_lock, call);

	list_del(&l->link);
	lock_end(l, status);
}

static void cancel_answered(struct node_call *call, int status, struct csvp_in *reply)
{
	free(call);
}

static void cancel_send(struct node_lock *l)
{
	struct node_call *call = calloc(1, sizeof(*call));

	if (!call) {
		log_warn("no memory to interrupt a wait for a lock");
		return;
	}
	csvp_begin(&call->msg, CSVP_LOCK_CANCEL, 0, 0, 0);
	struct csvp_lock_cancel *body = csvp_put(&call->msg, sizeof(*body));
	if (body)
		body->xid = le64_of(l->call.xid);
	call->done = cancel_answered;
	client_call(l->node, call);
}

static void lock_begin(struct loop_work *work)
{
	struct node_lock *l = container_of(work, struct node_lock, work);
	struct node *node = l->node;
	bool cancel = l->cancel_ran;

	if (l->status) {
		lock_end(l, l->status);
		return;
	}
	l->begun = true;
	list_add_tail(&l->ni->lock_calls, &l->link);
	if (!cancel || atomic_load(&node->failed)) {
		client_call(node, &l->call); /* may end it */
		return;
	}
	client_call(node, &l->call);
	cancel_send(l);
}

static void lock_post(struct node_lock *l)
{
	l->call.done = lock_answered;
	l->call.patient = l->wait;
	csvp_begin(&l->call.msg, CSVP_LOCK, 0, 0, 0);
	struct csvp_lock *body = csvp_put(&l->call.msg, sizeof(*body));
	if (body) {
		lock_put(body, l->ni->hash.key, &l->lock);
		body->flags = le32_of(l->wait ? CSVP_LOCK_WAIT : 0);
	}
	if (csvp_finish(&l->call.msg) || (!unlocks_all(&l->lock) && lockset_reserve(&l->mem)))
		l->status = -ENOMEM;
	if (l->status)
		csvp_free(&l->call.msg);
	l->work.fn = lock_begin;
	loop_post(l->node->cfg.loop, &l->work);
}

int node_lock(struct node_lock *l)
{
	struct node_inode *ni = l->ni;
	bool unlock = l->lock.type == CSVP_LOCK_NONE, known = true;

	pthread_mutex_lock(&ni->lock);
	if (unlock)
		known = use_find(ni, &l->lock, NULL) != NULL;
	else
		l->use = use_get(ni, &l->lock, l->file);
	pthread_mutex_unlock(&ni->lock);
	if (!known)
		return -ENOENT;
	if (!unlock && !l->use)
		l->status = -ENOMEM;
	lock_post(l);
	return 0;
}

int node_lock_release(struct node_lock *l)
{
	struct node_inode *ni = l->ni;
	struct list *pos;
	bool found = false;

	pthread_mutex_lock(&ni->lock);
	list_for_each (pos, &ni->lock_uses) {
		struct lock_use *use = list_entry(pos, struct lock_use, link);
		if (use->file != l->file)
			continue;
		l->lock = use->who;
		use->file = NULL; /* not again, whatever the answer */
		found = true;
		break;
	}
	pthread_mutex_unlock(&ni->lock);
	if (!found)
		return -ENOENT;
	l->lock.type = CSVP_LOCK_NONE;
	l->lock.start = 0;
	l->lock.end = CSVP_LOCK_END;
	lock_post(l);
	return 0;
}

/* ---- cancels ---- */

static void cancel_run(struct loop_work *work)
{
	struct node_lock *l = container_of(work, struct node_lock, cancel_work);

	l->cancel_ran = true;
	if (l->freed)
		free(l);
	else if (l->begun)
		cancel_send(l);
}

void node_lock_cancel(struct node_lock *l)
{
	if (atomic_exchange(&l->cancelled, true))
		return;
	l->cancel_work.fn = cancel_run;
	loop_post(l->node->cfg.loop, &l->cancel_work);
}

void node_lock_free(struct node_lock *l)
{
	l->freed = true;
	if (!atomic_load(&l->cancelled) || l->cancel_ran)
		free(l);
}

/* ---- takeover ---- */

/* What a request under way may have done already, as far as it takes something away (G1). */
static int weaken(struct lockset *set, const struct node_lock *l)
{
	struct lock part = l->lock;
	struct list *pos;

	if (l->lock.kind == CSVP_LOCK_FLOCK) {
		if (lockset_other_type(set, &l->lock))
			lockset_drop_owner(set, &l->lock);
		return 0;
	}
	if (l->lock.type == CSVP_LOCK_NONE)
		return lockset_apply(set, &l->lock);
	if (l->lock.type == CSVP_LOCK_WRITE)
		return 0;
again:
	list_for_each (pos, &set->locks) {
		const struct lock *lock = list_entry(pos, struct lock, link);
		if (!lock_same_owner(lock, &l->lock) || lock->type != CSVP_LOCK_WRITE ||
			!lock_overlaps(lock, &l->lock))
			continue;
		part.start = lock->start > l->lock.start ? lock->start : l->lock.start;
		part.end = lock->end < l->lock.end ? lock->end : l->lock.end;
		int err = lockset_apply(set, &part);
		if (err)
			return err;
		goto again; /* the list is another one */
	}
	return 0;
}

/* What is surely held on ni. */
static int sure_locks(struct node_inode *ni, struct lockset *ret)
{
	struct list *pos;
	int err = 0;

	lockset_init(ret);
	list_for_each (pos, &ni->locks.locks) {
		struct lock *copy = malloc(sizeof(*copy));
		if (!copy)
			return -ENOMEM;
		*copy = *list_entry(pos, struct lock, link);
		lockset_adopt(ret, copy);
	}
	list_for_each (pos, &ni->lock_calls) {
		struct node_lock *l = list_entry(pos, struct node_lock, link);
		struct csvp_lock *body = (struct csvp_lock *)(l->call.msg.data +
			sizeof(struct csvp_hdr));
		body->waited_ms = le64_of((clock_mono_ns() - l->call.sent_ns) / 1000000);
		if (!err)
			err = weaken(ret, l);
	}
	return err;
}

static int reassert_send(struct node *node, struct csvp_msg *msg)
{
	int err = client_send(node, msg);

	csvp_free(msg);
	csvp_begin(msg, CSVP_REASSERT_LOCKS, 0, 0, 0);
	return err;
}

static int reassert_inode(struct node *node, struct node_inode *ni, struct csvp_msg *msg)
{
	struct lockset set;
	struct list *pos;
	int err = sure_locks(ni, &set);

	list_for_each (pos, &set.locks) {
		if (err)
			break;
		if (msg->len >= REASSERT_PER_MSG * sizeof(struct csvp_lock))
			err = reassert_send(node, msg);
		struct csvp_lock *out = csvp_put(msg, sizeof(*out));
		if (out)
			lock_put(out, ni->hash.key, list_entry(pos, struct lock, link));
		else
			err = -ENOMEM;
	}
	lockset_done(&set);
	return err;
}

int locks_reassert(struct node *node)
{
	struct htab_node *n;
	struct csvp_msg msg;
	int err = 0;

	csvp_begin(&msg, CSVP_REASSERT_LOCKS, 0, 0, 0);
	pthread_mutex_lock(&node->table_lock);
	htab_for_each (n, &node->inodes) {
		struct node_inode *ni = container_of(n, struct node_inode, hash);
		if (!err && (ni->locks.nr || !list_empty(&ni->lock_calls)))
			err = reassert_inode(node, ni, &msg);
	}
	pthread_mutex_unlock(&node->table_lock);
	if (!err && msg.len > sizeof(struct csvp_hdr))
		err = client_send(node, &msg);
	csvp_free(&msg);
	return err;
}
