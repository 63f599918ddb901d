/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>

#include "csvfs/proto/lockset.h"
#include "util/checked.h"

void lockset_init(struct lockset *set)
{
	list_init(&set->locks);
	set->nr = 0;
}

static void drop(struct lockset *set, struct lock *lock)
{
	list_del(&lock->link);
	free(lock);
	set->nr--;
}

void lockset_done(struct lockset *set)
{
	while (!list_empty(&set->locks))
		drop(set, list_entry(set->locks.next, struct lock, link));
}

bool lock_same_owner(const struct lock *a, const struct lock *b)
{
	return a->node == b->node && a->kind == b->kind && a->owner == b->owner;
}

bool lock_overlaps(const struct lock *a, const struct lock *b)
{
	return a->start <= b->end && b->start <= a->end;
}

bool lock_conflicts(const struct lock *a, const struct lock *b)
{
	return a->kind == b->kind && !lock_same_owner(a, b) && lock_overlaps(a, b) &&
		(a->type == CSVP_LOCK_WRITE || b->type == CSVP_LOCK_WRITE);
}

const struct lock *lockset_conflict(const struct lockset *set, const struct lock *want)
{
	const struct lock *first = NULL;
	struct list *pos;

	list_for_each (pos, &set->locks) {
		const struct lock *lock = list_entry(pos, struct lock, link);
		if (lock_conflicts(lock, want) && (!first || lock->start < first->start))
			first = lock;
	}
	return first;
}

/* Whether lock could be one with a range from start to end of the same type. Ends reach INT64_MAX at
 * most: one more does not overflow. */
static bool touches(const struct lock *lock, uint64_t start, uint64_t end)
{
	return lock->start <= end + 1 && start <= lock->end + 1;
}

/* Takes [start, end] out of lock. spare is used, and set to NULL, when two pieces are left. */
static void cut(struct lockset *set, struct lock *lock, uint64_t start, uint64_t end,
	struct lock **spare)
{
	bool left = lock->start < start, right = lock->end > end;

	if (left && right) {
		struct lock *rest = *spare;
		*spare = NULL;
		*rest = *lock;
		rest->start = end + 1;
		list_add_tail(&set->locks, &rest->link);
		set->nr++;
		lock->end = start - 1;
	} else if (left) {
		lock->end = start - 1;
	} else if (right) {
		lock->start = end + 1;
	} else {
		drop(set, lock);
	}
}

int lockset_reserve(struct lock_memory *mem)
{
	mem->made = malloc(sizeof(*mem->made));
	mem->rest = malloc(sizeof(*mem->rest));
	if (mem->made && mem->rest)
		return 0;
	lockset_unreserve(mem);
	return -ENOMEM;
}

void lockset_unreserve(struct lock_memory *mem)
{
	free(mem->made);
	free(mem->rest);
	*mem = (struct lock_memory){ NULL, NULL };
}

void lockset_apply_reserved(struct lockset *set, const struct lock *want, struct lock_memory *mem)
{
	struct lock *made = mem->made;
	struct list *pos, *tmp;

	*made = *want;
	list_for_each_safe (pos, tmp, &set->locks) {
		struct lock *lock = list_entry(pos, struct lock, link);
		if (!lock_same_owner(lock, want))
			continue;
		if (want->type != CSVP_LOCK_NONE && lock->type == want->type) {
			if (!touches(lock, want->start, want->end))
				continue;
			made->start = MIN(made->start, lock->start);
			made->end = MAX(made->end, lock->end);
			drop(set, lock);
		} else if (lock_overlaps(lock, want)) {
			/* in two at most once: two locks of one owner do not overlap (S1) */
			cut(set, lock, want->start, want->end, &mem->rest);
		}
	}
	if (want->type != CSVP_LOCK_NONE) {
		lockset_adopt(set, made);
		mem->made = NULL;
	}
	lockset_unreserve(mem);
}

int lockset_apply(struct lockset *set, const struct lock *want)
{
	struct lock_memory mem;
	int err = lockset_reserve(&mem);

	if (!err)
		lockset_apply_reserved(set, want, &mem);
	return err;
}

void lockset_adopt(struct lockset *set, struct lock *lock)
{
	list_add_tail(&set->locks, &lock->link);
	set->nr++;
}

bool lockset_other_type(const struct lockset *set, const struct lock *who)
{
	struct list *pos;

	list_for_each (pos, &set->locks) {
		const struct lock *lock = list_entry(pos, struct lock, link);
		if (lock_same_owner(lock, who) && lock->type != who->type)
			return true;
	}
	return false;
}

bool lockset_would_cut(const struct lockset *set, const struct lock *who)
{
	struct list *pos;

	list_for_each (pos, &set->locks) {
		const struct lock *lock = list_entry(pos, struct lock, link);
		if (lock_same_owner(lock, who) && lock->start < who->start && lock->end > who->end)
			return true;
	}
	return false;
}

bool lockset_holds(const struct lockset *set, const struct lock *who)
{
	struct list *pos;

	list_for_each (pos, &set->locks)
		if (lock_same_owner(list_entry(pos, struct lock, link), who))
			return true;
	return false;
}

void lockset_drop_node(struct lockset *set, uint32_t node)
{
	struct list *pos, *tmp;

	list_for_each_safe (pos, tmp, &set->locks) {
		struct lock *lock = list_entry(pos, struct lock, link);
		if (lock->node == node)
			drop(set, lock);
	}
}

void lockset_drop_owner(struct lockset *set, const struct lock *who)
{
	struct list *pos, *tmp;

	list_for_each_safe (pos, tmp, &set->locks) {
		struct lock *lock = list_entry(pos, struct lock, link);
		if (lock_same_owner(lock, who))
			drop(set, lock);
	}
}

int lock_get(struct lock *lock, const struct csvp_lock *in)
{
	*lock = (struct lock){
		.kind = le32_get(in->kind),
		.type = le32_get(in->type),
		.pid = le32_get(in->pid),
		.owner = le64_get(in->owner),
		.start = le64_get(in->start),
		.end = le64_get(in->end),
	};
	if (lock->kind > CSVP_LOCK_FLOCK || lock->type > CSVP_LOCK_WRITE ||
		lock->start > lock->end || lock->end > CSVP_LOCK_END)
		return -EINVAL;
	if (lock->kind == CSVP_LOCK_FLOCK && (lock->start || lock->end != CSVP_LOCK_END))
		return -EINVAL;
	return 0;
}

void lock_put(struct csvp_lock *out, uint64_t ino, const struct lock *lock)
{
	*out = (struct csvp_lock){
		.ino = le64_of(ino),
		.owner = le64_of(lock->owner),
		.start = le64_of(lock->start),
		.end = le64_of(lock->end),
		.type = le32_of(lock->type),
		.kind = le32_of(lock->kind),
		.pid = le32_of(lock->pid),
	};
}
