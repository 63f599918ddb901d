/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Locks of all nodes: fcntl(2) (of processes and of open files) and flock(2). In memory only.
 *
 * L1  A lock belongs to a node that has the inode open, and to an owner there. It ends with an unlock,
 *     with the node's last close of the inode, or when the node is gone: after its fence (P7), so that
 *     nobody is let in while its writes may still land.
 * L2  Only locks that are held stand in the way of a request; those that wait do not. What becomes
 *     free is given to those who wait in the order in which they came. (A queue that no newcomer may
 *     pass would be fairer to writers, but makes circles of waiting in programs that have none.)
 * L3  A request that waits is in ci->lock_waiters and coord->lock_waits, on its node's present
 *     connection. A new connection (HELLO) takes the waiting ones away: the node sends them again, and
 *     says how long each has waited, which gives it its place back.
 * L4  What a node holds after it has connected is what it says itself (REASSERT_LOCKS), from the last
 *     REASSERT on. So a grant whose answer was lost leaves no lock behind that nobody knows of: the
 *     node sends its request again, or the cancel of it. Until then the old ones stand.
 * L5  Before all have reasserted nothing is granted (C6). Locks that are reasserted never conflict with
 *     those of other nodes, unless a node lies or has missed its own end: it is evicted then, and what
 *     was known of it stands until it is gone. To find that takes n log n.
 * L6  A request of fcntl(2) does not begin to wait if an owner would then wait for itself, by way of
 *     any number of owners on any nodes: -EDEADLK. All that wait are here, so all circles are seen.
 *     (FUSE does not say whether a lock is a process's or an open file's; they are treated alike.)
 * L7  flock(2) changes its type by unlocking first, as it says.
 *
 * A request waits in LOCK's request structure: r->link is in ci->lock_waiters, r->wait_link in
 * coord->lock_waits, r->lock is what it wants.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "csvfs/coord/coord_internal.h"
#include "util/checked.h"
#include "util/log.h"

#define MAX_NODE_LOCKS 65536u /* of a node: held */
#define MAX_INODE_LOCKS 16384u
#define MAX_NODE_WAITS 4096u
#define MAX_WAITED_MS (100ull * 365 * 86400 * 1000) /* more than that nobody has waited */
/* What it tells: what is being unlocked just then is told as done, which may cut locks in two. */
#define MAX_TOLD_LOCKS (2 * MAX_NODE_LOCKS)
#define MAX_TOLD_INODE_LOCKS (2 * MAX_INODE_LOCKS)

/* ---- changes of what is held ---- */

/* Counts what changed. */
static int apply(struct coord *coord, struct coord_inode *ci, const struct lock *lock)
{
	uint32_t before = ci->locks.nr;

	if ((ci->locks.nr >= MAX_INODE_LOCKS || coord->nr_locks[lock->node] >= MAX_NODE_LOCKS) &&
		(lock->type != CSVP_LOCK_NONE || lockset_would_cut(&ci->locks, lock)))
		return -ENOLCK;
	int err = lockset_apply(&ci->locks, lock);
	coord->nr_locks[lock->node] += ci->locks.nr - before;
	return err;
}

static void drop_owner(struct coord *coord, struct coord_inode *ci, const struct lock *who)
{
	uint32_t before = ci->locks.nr;

	lockset_drop_owner(&ci->locks, who);
	coord->nr_locks[who->node] -= before - ci->locks.nr;
}

static void drop_node(struct coord *coord, struct coord_inode *ci, uint32_t node)
{
	uint32_t before = ci->locks.nr;

	lockset_drop_node(&ci->locks, node);
	coord->nr_locks[node] -= before - ci->locks.nr;
}

/* ---- waiting ---- */

static void wait_end(struct request *r, int status)
{
	list_del(&r->link);
	list_del(&r->wait_link);
	r->coord->nr_lock_waits[r->node]--;
	request_finish(r, status);
}

/* Something was unlocked or weakened: grants what can be (L2). */
static void grant_waiters(struct coord *coord, struct coord_inode *ci)
{
	struct list *pos, *tmp;
	bool again = true;

	ci->refs++;
	while (again) { /* a grant may weaken, too: a write lock that becomes one for reading */
		again = false;
		list_for_each_safe (pos, tmp, &ci->lock_waiters) {
			struct request *r = list_entry(pos, struct request, link);
			if (lockset_conflict(&ci->locks, &r->lock))
				continue;
			again = again || (r->lock.type == CSVP_LOCK_READ &&
				lockset_other_type(&ci->locks, &r->lock));
			wait_end(r, apply(coord, ci, &r->lock));
		}
	}
	ci->refs--;
	ci_maybe_free(coord, ci);
}

/* By age: a request that is sent again gets its place back (L3). */
static int wait_begin(struct request *r)
{
	struct coord *coord = r->coord;
	struct list *at = r->ci->lock_waiters.prev;

	if (coord->nr_lock_waits[r->node] >= MAX_NODE_WAITS)
		return -ENOLCK;
	coord->nr_lock_waits[r->node]++;
	while (at != &r->ci->lock_waiters &&
		list_entry(at, struct request, link)->since_ns > r->since_ns)
		at = at->prev;
	list_add(at, &r->link);
	list_add_tail(&coord->lock_waits, &r->wait_link);
	return 0;
}

/* ---- circles (L6) ---- */

/* Notes each request whose owner stands in the way of want: in lock_search, on the list found. */
static void note_blockers(struct coord *coord, const struct coord_inode *ci, const struct lock *want,
	struct list *found)
{
	struct list *pos, *wpos;

	list_for_each (pos, &ci->locks.locks) {
		const struct lock *lock = list_entry(pos, struct lock, link);
		if (!lock_conflicts(lock, want))
			continue;
		list_for_each (wpos, &coord->lock_waits) {
			struct request *w = list_entry(wpos, struct request, wait_link);
			if (w->search == coord->lock_search || !lock_same_owner(&w->lock, lock))
				continue;
			w->search = coord->lock_search;
			list_add_tail(found, &w->search_link);
		}
	}
}

static bool blocked_by(const struct request *w, const struct lock *owner)
{
	struct list *pos;

	list_for_each (pos, &w->ci->locks.locks) {
		const struct lock *lock = list_entry(pos, struct lock, link);
		if (lock_same_owner(lock, owner) && lock_conflicts(lock, &w->lock))
			return true;
	}
	return false;
}

/* Whether somebody that r would wait for waits for r's owner, directly or by way of others. */
static bool would_deadlock(struct request *r)
{
	struct coord *coord = r->coord;
	struct list found = LIST_INIT(found);
	bool circle = false;

	coord->lock_search++;
	note_blockers(coord, r->ci, &r->lock, &found);
	while (!list_empty(&found)) {
		struct request *w = list_entry(found.next, struct request, search_link);
		list_del(&w->search_link);
		if (circle)
			continue;
		circle = blocked_by(w, &r->lock);
		if (!circle)
			note_blockers(coord, w->ci, &w->lock, &found);
	}
	return circle;
}

/* ---- requests ---- */

/* Reads the body; r->ci is set. The inode must be open on the node (L1). */
static int lock_begin(struct request *r)
{
	const struct csvp_lock *b = r->body;
	int err = lock_get(&r->lock, b);

	if (err)
		return err;
	if (le32_get(b->flags) & ~CSVP_LOCK_WAIT)
		return -EINVAL;
	r->lock.node = r->node;
	const struct coord_inode *ci = ci_find(r->coord, le64_get(b->ino));
	if (!ci || !(ci->opens & NODE_BIT(r->node)))
		return -ESTALE;
	return ci_attach(r, le64_get(b->ino));
}

static int unlock(struct request *r)
{
	if (r->lock.start > 0 || r->lock.end < CSVP_LOCK_END)
		return apply(r->coord, r->ci, &r->lock);
	drop_owner(r->coord, r->ci, &r->lock); /* needs no memory: a close cannot fail */
	return 0;
}

void start_lock(struct request *r)
{
	const struct csvp_lock *b = r->body;
	struct coord *coord = r->coord;
	bool wait = le32_get(b->flags) & CSVP_LOCK_WAIT;
	int err = lock_begin(r);

	if (err) {
		request_finish(r, err);
		return;
	}
	if (r->lock.type == CSVP_LOCK_NONE) {
		err = unlock(r);
		grant_waiters(coord, r->ci);
		request_finish(r, err);
		return;
	}
	bool changes = lockset_other_type(&r->ci->locks, &r->lock);
	if (changes && r->lock.kind == CSVP_LOCK_FLOCK) { /* L7 */
		drop_owner(coord, r->ci, &r->lock);
		grant_waiters(coord, r->ci);
	}
	if (!lockset_conflict(&r->ci->locks, &r->lock)) {
		err = apply(coord, r->ci, &r->lock);
		if (changes)
			grant_waiters(coord, r->ci);
		request_finish(r, err);
		return;
	}
	/* it may have begun before this machine did, so it can be below 0 */
	r->since_ns = (int64_t)clock_mono_ns() -
		      (int64_t)MIN(le64_get(b->waited_ms), MAX_WAITED_MS) * 1000000;
	if (!wait)
		err = -EAGAIN;
	else if (r->lock.kind == CSVP_LOCK_FCNTL && would_deadlock(r))
		err = -EDEADLK;
	else
		err = wait_begin(r);
	if (err)
		request_finish(r, err);
}

void start_getlk(struct request *r)
{
	int err = lock_begin(r);

	if (!err && r->lock.type == CSVP_LOCK_NONE)
		err = -EINVAL;
	request_finish(r, err);
}

void reply_getlk(struct request *r)
{
	const struct csvp_lock *b = r->body;
	const struct lock *found = lockset_conflict(&r->ci->locks, &r->lock);
	struct csvp_lock *out = csvp_put(&r->reply, sizeof(*out));
	struct lock answer = r->lock;

	answer.type = CSVP_LOCK_NONE;
	if (found) {
		answer = *found;
		if (found->node != r->node)
			answer.pid = 0; /* it would name another process there */
	}
	if (out)
		lock_put(out, le64_get(b->ino), &answer);
}

void start_lock_cancel(struct request *r)
{
	const struct csvp_lock_cancel *b = r->body;
	struct list *pos;

	list_for_each (pos, &r->coord->lock_waits) {
		struct request *w = list_entry(pos, struct request, wait_link);
		if (w->node != r->node || le64_get(w->hdr->xid) != le64_get(b->xid))
			continue;
		wait_end(w, -EINTR);
		break;
	}
	request_finish(r, 0); /* else it was granted, and answered before this */
}

/* ---- nodes that come and go ---- */

static void waits_drop(struct coord *coord, uint32_t node, const struct coord_inode *ci)
{
	struct list *pos, *tmp;

	list_for_each_safe (pos, tmp, &coord->lock_waits) {
		struct request *w = list_entry(pos, struct request, wait_link);
		if (w->node == node && (!ci || w->ci == ci))
			wait_end(w, -EBADF);
	}
}

static void asserted_drop(struct coord *coord, uint32_t node)
{
	lockset_done(&coord->asserted_locks[node]);
}

void lock_hello(struct coord *coord, uint32_t node)
{
	waits_drop(coord, node, NULL);
	asserted_drop(coord, node);
}

void lock_closed(struct coord *coord, struct coord_inode *ci, uint32_t node)
{
	waits_drop(coord, node, ci);
	drop_node(coord, ci, node);
	grant_waiters(coord, ci);
}

void lock_node_gone(struct coord *coord, uint32_t node)
{
	struct htab_node *n, *tmp;

	lock_hello(coord, node);
	htab_for_each_safe (n, tmp, &coord->inodes) {
		struct coord_inode *ci = container_of(n, struct coord_inode, hash);
		drop_node(coord, ci, node);
		grant_waiters(coord, ci);
	}
}

int lock_reassert(struct coord *coord, uint32_t node, struct csvp_in *in)
{
	struct lockset *set = &coord->asserted_locks[node];
	const struct csvp_lock *b;

	while ((b = csvp_get(in, sizeof(*b)))) {
		struct lock *lock = malloc(sizeof(*lock));
		if (!lock)
			return -ENOMEM;
		if (lock_get(lock, b) || lock->type == CSVP_LOCK_NONE || set->nr >= MAX_TOLD_LOCKS) {
			free(lock);
			return -EPROTO;
		}
		lock->node = node;
		lock->ino = le64_get(b->ino);
		lockset_adopt(set, lock);
	}
	return csvp_left(in) ? -EPROTO : 0;
}

/* By inode, owner, start. */
static int by_owner(const void *a, const void *b)
{
	const struct lock *l = *(struct lock *const *)a, *m = *(struct lock *const *)b;

	if (l->ino != m->ino)
		return l->ino < m->ino ? -1 : 1;
	if (l->kind != m->kind)
		return l->kind < m->kind ? -1 : 1;
	if (l->owner != m->owner)
		return l->owner < m->owner ? -1 : 1;
	return l->start < m->start ? -1 : l->start > m->start;
}

static int by_start(const void *a, const void *b)
{
	const struct lock *l = *(struct lock *const *)a, *m = *(struct lock *const *)b;

	if (l->kind != m->kind)
		return l->kind < m->kind ? -1 : 1;
	return l->start < m->start ? -1 : l->start > m->start;
}

/* Of those that begin earlier, what reaches farthest. */
struct reach {
	const struct lock *any, *writing;
};

static void reach_add(struct reach *reach, const struct lock *lock)
{
	if (!reach->any || reach->any->end < lock->end)
		reach->any = lock;
	if (lock->type == CSVP_LOCK_WRITE && (!reach->writing || reach->writing->end < lock->end))
		reach->writing = lock;
}

/* all: the locks of an inode, by_start. Another node's that conflicts with one of node's; NULL: none. */
static const struct lock *find_conflict(struct lock **all, size_t nr, uint32_t node)
{
	struct reach reach[2] = { 0 };

	for (size_t i = 0; i < nr; i++) {
		bool own = all[i]->node == node;
		if (i && all[i]->kind != all[i - 1]->kind)
			memset(reach, 0, sizeof(reach));
		const struct lock *other = all[i]->type == CSVP_LOCK_WRITE ? reach[!own].any :
									     reach[!own].writing;
		if (other && other->end >= all[i]->start)
			return own ? other : all[i];
		reach_add(&reach[own], all[i]);
	}
	return NULL;
}

/* The locks told of one inode, by_owner, and those of other nodes there. */
static int check_inode(struct coord *coord, uint32_t node, struct lock **told, size_t nr_told)
{
	const struct coord_inode *ci = ci_find(coord, told[0]->ino);
	const struct lock *other;
	struct list *pos;

	/* open by what it tells on this connection: the rest is dropped after this */
	if (!ci || !(ci->opens & ci->asserted & NODE_BIT(node)) || nr_told > MAX_TOLD_INODE_LOCKS)
		return -EPROTO;
	for (size_t i = 1; i < nr_told; i++)
		if (lock_same_owner(told[i], told[i - 1]) && told[i]->start <= told[i - 1]->end)
			return -EPROTO; /* (S1 of lockset.h) */
	size_t nr = nr_told;
	struct lock **all = malloc((nr_told + ci->locks.nr) * sizeof(*all));
	if (!all)
		return -ENOMEM;
	memcpy(all, told, nr_told * sizeof(*all));
	list_for_each (pos, &ci->locks.locks) {
		struct lock *lock = list_entry(pos, struct lock, link);
		if (lock->node != node)
			all[nr++] = lock;
	}
	qsort(all, nr, sizeof(*all), by_start);
	other = find_conflict(all, nr, node);
	int err = other ? claim_refused(coord, node, other->node, told[0]->ino, "lock") : 0;
	free(all);
	return err;
}

int lock_reassert_check(struct coord *coord, uint32_t node)
{
	const struct lockset *set = &coord->asserted_locks[node];
	struct list *pos;
	size_t nr = 0, end;
	int err = 0;

	if (!set->nr)
		return 0;
	struct lock **told = malloc(set->nr * sizeof(*told));
	if (!told)
		return -ENOMEM;
	list_for_each (pos, &set->locks)
		told[nr++] = list_entry(pos, struct lock, link);
	qsort(told, nr, sizeof(*told), by_owner);
	for (size_t at = 0; at < nr && !err; at = end) {
		for (end = at + 1; end < nr && told[end]->ino == told[at]->ino; end++)
			;
		err = check_inode(coord, node, told + at, end - at);
	}
	free(told);
	return err;
}

void lock_reassert_end(struct coord *coord, uint32_t node)
{
	struct lockset *set = &coord->asserted_locks[node];
	struct htab_node *n, *tmp;

	htab_for_each (n, &coord->inodes)
		drop_node(coord, container_of(n, struct coord_inode, hash), node);
	while (!list_empty(&set->locks)) {
		struct lock *lock = list_entry(set->locks.next, struct lock, link);
		list_del(&lock->link);
		set->nr--;
		lockset_adopt(&ci_find(coord, lock->ino)->locks, lock);
		coord->nr_locks[node]++;
	}
	htab_for_each_safe (n, tmp, &coord->inodes)
		grant_waiters(coord, container_of(n, struct coord_inode, hash));
}

void lock_init(struct coord *coord)
{
	list_init(&coord->lock_waits);
	for (uint32_t node = 0; node < NR_NODES; node++)
		lockset_init(&coord->asserted_locks[node]);
}

void lock_done(struct coord *coord)
{
	for (uint32_t node = 0; node < NR_NODES; node++)
		asserted_drop(coord, node);
}
