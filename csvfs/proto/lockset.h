/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The byte-range locks of one inode (fcntl(2), flock(2)): what the coordinator keeps for all nodes,
 * and each node for itself, to tell the next coordinator.
 *
 * S1  Locks of one owner (node, kind, owner) never overlap; those of one type never touch either.
 * S2  Locks of one kind that overlap and have different owners are all for reading. Who calls
 *     lockset_apply() has asked lockset_conflict() before.
 * S3  An operation that fails has changed nothing.
 *
 * Not thread-safe. Every call takes time in proportion to the number of locks.
 */
#ifndef CSVFS_LOCKSET_H
#define CSVFS_LOCKSET_H

#include <stdbool.h>

#include "csvfs/proto/proto_format.h"
#include "util/list.h"

struct lock {
	struct list link;
	uint32_t node;
	uint32_t kind; /* enum csvp_lock_kind */
	uint32_t type; /* enum csvp_lock_type */
	uint32_t pid;
	uint64_t owner;
	uint64_t start, end; /* bytes; end is of the range */
	uint64_t ino;	     /* the caller's; not looked at here */
};

struct lockset {
	struct list locks; /* in no order */
	uint32_t nr;
};

void lockset_init(struct lockset *set);
/* Frees all locks. */
void lockset_done(struct lockset *set);

bool lock_same_owner(const struct lock *a, const struct lock *b);
bool lock_overlaps(const struct lock *a, const struct lock *b);
/* Whether a and b cannot be held at the same time. */
bool lock_conflicts(const struct lock *a, const struct lock *b);

/* The lock that keeps want from being granted, of several that which begins first; NULL: none. */
const struct lock *lockset_conflict(const struct lockset *set, const struct lock *want);
/* The owner of want has want->type in its range from now on; CSVP_LOCK_NONE unlocks. What it held
 * there is cut, replaced, joined as fcntl(2) says. want is copied. -ENOMEM (also of an unlock: it may
 * cut a lock in two). */
int lockset_apply(struct lockset *set, const struct lock *want) __attribute__((warn_unused_result));
/* The same with memory that lockset_reserve() has got before: cannot fail. What is left over is freed. */
struct lock_memory {
	struct lock *made, *rest;
};
int lockset_reserve(struct lock_memory *mem) __attribute__((warn_unused_result));
void lockset_unreserve(struct lock_memory *mem);
void lockset_apply_reserved(struct lockset *set, const struct lock *want, struct lock_memory *mem);
/* Puts a lock that the caller has made into the set, which frees it. Its owner must hold nothing there
 * yet (S1). */
void lockset_adopt(struct lockset *set, struct lock *lock);
/* Whether the owner of who holds anything of another type than who->type. */
bool lockset_other_type(const struct lockset *set, const struct lock *who);
/* Whether the owner of who holds anything. */
bool lockset_holds(const struct lockset *set, const struct lock *who);
/* Whether to unlock the range of who leaves two locks where one was. */
bool lockset_would_cut(const struct lockset *set, const struct lock *who);
/* Drops all locks of a node. */
void lockset_drop_node(struct lockset *set, uint32_t node);
/* Drops all locks of the owner of who; never fails. */
void lockset_drop_owner(struct lockset *set, const struct lock *who);

/* From and to the wire. lock_get(): -EINVAL for what no node may send; node is not set. */
int lock_get(struct lock *lock, const struct csvp_lock *in) __attribute__((warn_unused_result));
void lock_put(struct csvp_lock *out, uint64_t ino, const struct lock *lock);

#endif
