/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of the group's members and the choice of the coordinator. Pure: no I/O, no time.
 *
 * E1  The table changes by views and messages only. Both come in the same order everywhere, so
 *     members that were in the group equally long have equal tables; a newcomer's is equal as soon
 *     as each member has spoken since it came. elect_choose() answers 0 until then unless somebody
 *     holds the role.
 * E2  A claim counts when the claimer's own message comes back to it and it is still the choice
 *     then: claims that cross are ordered by the group, and only one of them is the choice.
 * E3  A condemned generation of a node (its beat stood still, or the coordinator evicted it) counts
 *     as gone, whatever it says later, until that node leaves the group.
 */
#ifndef LOCKMGR_ELECT_H
#define LOCKMGR_ELECT_H

#include <stdbool.h>
#include <stdint.h>

#include "lockmgr/group.h"
#include "lockmgr/lockmgr.h"

enum lm_role {
	LM_ROLE_NONE,
	LM_ROLE_TAKING,	 /* fences and recovers */
	LM_ROLE_SERVING, /* coordinates */
	LM_ROLE_CLOSING, /* coordinates no more, but something of its engine is still in flight */
};

/* What a member says of itself. */
struct elect_state {
	uint32_t node;
	uint64_t generation, epoch;
	enum lm_role role;
	uint32_t claim, wish;
	bool path, joining, yields;
	uint16_t port;
	char address[64], name[64];
	uint64_t condemned[LM_MAX_NODES + 1]; /* [node] = generation, 0 = not */
};

struct elect_member {
	bool present; /* in the group */
	bool spoken;  /* since the last view */
	bool known;   /* has spoken since it came: state is valid */
	uint32_t pid;
	struct elect_state state;
};

struct elect {
	struct elect_member members[LM_MAX_NODES + 1]; /* [node] */
	uint64_t condemned[LM_MAX_NODES + 1];	       /* the union of what members said */
};

/* Takes a new view over: who is not in it is forgotten; everyone has to speak again. */
void elect_view(struct elect *elect, const struct group_member *members, size_t nr_members);

/* Takes over what a member said. -ENOENT: it is not in the group. */
int elect_heard(struct elect *elect, const struct elect_state *state)
	__attribute__((warn_unused_result));

/* Holds a generation of a node for dead (E3). */
void elect_condemn(struct elect *elect, uint32_t node, uint64_t generation);
bool elect_is_condemned(const struct elect *elect, uint32_t node);

/* In the group and not condemned. */
bool elect_is_member(const struct elect *elect, uint32_t node);
/* Bit n - 1 = node n. */
uint64_t elect_mask(const struct elect *elect);

/* The member that has or should take the role; 0 = not to be told yet, or nobody can. */
uint32_t elect_choose(const struct elect *elect);
/* The member that serves; 0 = none. */
uint32_t elect_serving(const struct elect *elect);
/* A member other than node has a role, or has not said yet whether it has: node must not begin. */
bool elect_others_have_role(const struct elect *elect, uint32_t node);
/* All members that are not condemned have spoken since the last view. */
bool elect_complete(const struct elect *elect);

/* The message's bytes. */
void elect_encode(const struct elect_state *state, const uint8_t uuid[16], void *ret_msg);
/* Checks everything. sender: who sent it, according to the group. Errors: -EBADMSG, -ERR_VERSION. */
int elect_decode(const void *msg, size_t len, const uint8_t uuid[16], uint32_t sender,
	struct elect_state *ret) __attribute__((warn_unused_result));

#endif
