/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Built without Corosync: there are no groups. */
#include <errno.h>
#include <string.h>

#include "lockmgr/group.h"

int group_open(struct loop *loop, const char *name, const struct group_ops *ops, void *arg,
	struct group **ret_group, char **ret_error)
{
	*ret_error = strdup("this csvfs was built without Corosync: only a single node can mount");
	return -EOPNOTSUPP;
}

void group_close(struct group *group)
{
}

void group_send(struct group *group, const void *msg, size_t len)
{
}

enum group_quorum group_quorum(const struct group *group)
{
	return GROUP_NOT_QUORATE;
}

uint32_t group_node(const struct group *group)
{
	return 0;
}

const char *group_address(const struct group *group)
{
	return "";
}
