/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Corosync as the rest of lockmgr sees it: a group with views and totally ordered messages (CPG),
 * quorum, our node id and address. group_none.c stands in where Corosync is not built in.
 *
 * G1  view() and message() come in the same order on every member.
 * G2  GROUP_QUORATE is answered only when quorum's ring is the ring of the last view: a node that
 *     has just lost its peers never counts as quorate between the two notices.
 * G3  After lost() the group reconnects by itself; view() tells when it is back.
 * G4  No callback runs from within a call, or after group_close().
 */
#ifndef LOCKMGR_GROUP_H
#define LOCKMGR_GROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct group;
struct loop;

struct group_member {
	uint32_t node, pid;
};

enum group_quorum { GROUP_NOT_QUORATE, GROUP_QUORUM_PENDING, GROUP_QUORATE };

struct group_ops {
	void (*view)(void *arg, const struct group_member *members, size_t nr_members,
		const struct group_member *left, size_t nr_left);
	void (*message)(void *arg, uint32_t node, uint32_t pid, const void *msg, size_t len);
	/* group_quorum() may have changed. */
	void (*quorum)(void *arg);
	void (*lost)(void *arg);
};

/* Connects to Corosync and asks to join the group name. Errors: -ENOTCONN, -ENOMEM, -EOPNOTSUPP
 * (built without Corosync). *ret_error is the caller's. */
int group_open(struct loop *loop, const char *name, const struct group_ops *ops, void *arg,
	struct group **ret_group, char **ret_error) __attribute__((warn_unused_result, nonnull));

/* Leaves the group; freed when it is safe. NULL is allowed. */
void group_close(struct group *group);

/* Multicasts len bytes (up to 4 KiB; copied). A message that still waits is replaced: the newest
 * one tells all. Lost if the group is lost. */
void group_send(struct group *group, const void *msg, size_t len);

enum group_quorum group_quorum(const struct group *group);
uint32_t group_node(const struct group *group);
const char *group_address(const struct group *group);

#endif
