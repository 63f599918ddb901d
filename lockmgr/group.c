/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Corosync: CPG for views and messages, quorum, cfg for our address.
 *
 * Quorum and CPG notices come by different sockets, so either may be first. When nodes go or come,
 * CPG sends the view, then the number of the new ring; quorum sends its verdict with the number of
 * the ring that it is about. Between such a view and its ring, and until quorum has spoken about
 * that ring, the answer is PENDING (G2).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include <corosync/cfg.h>
#include <corosync/cmap.h>
#include <corosync/cpg.h>
#include <corosync/quorum.h>

#include "lockmgr/group.h"
#include "util/err.h"
#include "util/list.h"
#include "util/log.h"
#include "util/loop.h"

#define MSG_MAX 4096u
#define SEND_RETRY_S 0.02
#define JOIN_RETRY_S 0.1
#define RECONNECT_S 1.0

struct group {
	struct loop *loop;
	struct cpg_name name;
	const struct group_ops *ops;
	void *arg;
	uint32_t node;
	char address[INET6_ADDRSTRLEN];

	bool connected, joined, dispatching, closed, broken;
	cpg_handle_t cpg;
	quorum_handle_t quorum;
	struct ev_io cpg_io, quorum_io;
	struct ev_timer timer; /* joins, or reconnects */
	struct ev_timer send_timer;
	struct loop_work break_work;
	bool break_queued;

	uint64_t cpg_ring, quorum_ring;
	bool ring_changes; /* a view came whose ring is not known yet */
	bool quorate, quorum_known;

	uint8_t msg[MSG_MAX]; /* waits to be sent if msg_len is not 0 */
	size_t msg_len;
};

/* ---- what Corosync tells ---- */

static struct group *of_cpg(cpg_handle_t handle)
{
	void *context = NULL;

	if (cpg_context_get(handle, &context) != CS_OK)
		return NULL;
	return context;
}

static void copy_members(struct group_member *to, const struct cpg_address *from, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		to[i] = (struct group_member){ .node = from[i].nodeid, .pid = from[i].pid };
}

static void on_confchg(cpg_handle_t handle, const struct cpg_name *name,
	const struct cpg_address *members, size_t nr_members, const struct cpg_address *left,
	size_t nr_left, const struct cpg_address *joined, size_t nr_joined)
{
	struct group_member now[CPG_MEMBERS_MAX], gone[CPG_MEMBERS_MAX];
	struct group *g = of_cpg(handle);

	if (!g || g->closed || nr_members > CPG_MEMBERS_MAX || nr_left > CPG_MEMBERS_MAX)
		return;
	for (size_t i = 0; i < nr_left; i++)
		if (left[i].reason == CPG_REASON_NODEDOWN)
			g->ring_changes = true;
	for (size_t i = 0; i < nr_joined; i++)
		if (joined[i].reason == CPG_REASON_NODEUP)
			g->ring_changes = true;
	copy_members(now, members, nr_members);
	copy_members(gone, left, nr_left);
	g->ops->view(g->arg, now, nr_members, gone, nr_left);
}

static void on_ring(cpg_handle_t handle, struct cpg_ring_id ring, uint32_t nr_members,
	const uint32_t *members)
{
	struct group *g = of_cpg(handle);

	if (!g || g->closed)
		return;
	g->cpg_ring = ring.seq;
	g->ring_changes = false;
	g->ops->quorum(g->arg);
}

static void on_deliver(cpg_handle_t handle, const struct cpg_name *name, uint32_t node,
	uint32_t pid, void *msg, size_t len)
{
	struct group *g = of_cpg(handle);

	if (g && !g->closed)
		g->ops->message(g->arg, node, pid, msg, len);
}

static void on_quorum(quorum_handle_t handle, uint32_t quorate, uint64_t ring_seq,
	uint32_t nr_members, uint32_t *members)
{
	const void *context = NULL;
	struct group *g;

	if (quorum_context_get(handle, &context) != CS_OK || !context)
		return;
	g = (struct group *)context;
	if (g->closed)
		return;
	g->quorate = quorate;
	g->quorum_ring = ring_seq;
	g->quorum_known = true;
	g->ops->quorum(g->arg);
}

/* ---- connection ---- */

static void disconnect(struct group *g)
{
	if (!g->connected)
		return;
	ev_io_stop(loop_ev(g->loop), &g->cpg_io);
	ev_io_stop(loop_ev(g->loop), &g->quorum_io);
	cpg_finalize(g->cpg);
	quorum_finalize(g->quorum);
	g->connected = g->joined = g->quorate = g->quorum_known = g->ring_changes = false;
	g->cpg_ring = g->quorum_ring = 0;
	g->msg_len = 0;
}

static void group_free(struct group *g)
{
	disconnect(g);
	ev_timer_stop(loop_ev(g->loop), &g->timer);
	ev_timer_stop(loop_ev(g->loop), &g->send_timer);
	free(g);
}

static void on_break(struct loop_work *work)
{
	struct group *g = container_of(work, struct group, break_work);

	g->break_queued = false;
	if (g->closed) {
		group_free(g);
		return;
	}
	disconnect(g);
	ev_timer_set(&g->timer, RECONNECT_S, 0.0);
	ev_timer_start(loop_ev(g->loop), &g->timer);
	g->ops->lost(g->arg);
}

/* Later, since we may be in one of Corosync's callbacks. */
static void break_later(struct group *g)
{
	if (g->break_queued)
		return;
	g->break_queued = true;
	loop_defer(g->loop, &g->break_work);
}

static void try_send(struct group *g)
{
	struct iovec iov = { g->msg, g->msg_len };
	cs_error_t err;

	if (!g->joined || g->msg_len == 0)
		return;
	err = cpg_mcast_joined(g->cpg, CPG_TYPE_AGREED, &iov, 1);
	if (err == CS_ERR_TRY_AGAIN) {
		ev_timer_stop(loop_ev(g->loop), &g->send_timer);
		ev_timer_set(&g->send_timer, SEND_RETRY_S, 0.0);
		ev_timer_start(loop_ev(g->loop), &g->send_timer);
		return;
	}
	g->msg_len = 0;
	if (err != CS_OK) {
		log_warn("Corosync: cannot send: %s", cs_strerror(err));
		break_later(g);
	}
}

static void on_send_timer(struct ev_loop *ev, struct ev_timer *timer, int revents)
{
	try_send(container_of(timer, struct group, send_timer));
}

static void on_cpg_io(struct ev_loop *ev, struct ev_io *io, int revents)
{
	struct group *g = container_of(io, struct group, cpg_io);
	cs_error_t err = cpg_dispatch(g->cpg, CS_DISPATCH_ALL);

	if (err != CS_OK && err != CS_ERR_TRY_AGAIN)
		break_later(g);
}

static void on_quorum_io(struct ev_loop *ev, struct ev_io *io, int revents)
{
	struct group *g = container_of(io, struct group, quorum_io);
	cs_error_t err = quorum_dispatch(g->quorum, CS_DISPATCH_ALL);

	if (err != CS_OK && err != CS_ERR_TRY_AGAIN)
		break_later(g);
}

/* Our address, numeric, as Corosync uses it (its first link). */
static void find_address(struct group *g)
{
	corosync_cfg_node_address_t addrs[8];
	corosync_cfg_callbacks_t callbacks = { 0 };
	corosync_cfg_handle_t cfg;
	int nr = 0;

	if (corosync_cfg_initialize(&cfg, &callbacks) != CS_OK)
		return;
	if (corosync_cfg_get_node_addrs(cfg, g->node, 8, &nr, addrs) == CS_OK && nr > 0) {
		struct sockaddr_storage ss = { 0 };

		memcpy(&ss, addrs[0].address, sizeof(addrs[0].address));
		if (ss.ss_family == AF_INET)
			inet_ntop(AF_INET, &((struct sockaddr_in *)&ss)->sin_addr, g->address,
				sizeof(g->address));
		else if (ss.ss_family == AF_INET6)
			inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&ss)->sin6_addr, g->address,
				sizeof(g->address));
	}
	corosync_cfg_finalize(cfg);
}

/* The same from the configuration, which may have a name where an address is wanted. */
static void find_address_in_cmap(struct group *g)
{
	cmap_handle_t cmap;
	char key[64], *value = NULL;
	struct in6_addr addr;
	uint32_t id;

	if (cmap_initialize(&cmap) != CS_OK)
		return;
	for (int i = 0; i < 64 && !g->address[0]; i++) {
		snprintf(key, sizeof(key), "nodelist.node.%d.nodeid", i);
		if (cmap_get_uint32(cmap, key, &id) != CS_OK || id != g->node)
			continue;
		snprintf(key, sizeof(key), "nodelist.node.%d.ring0_addr", i);
		if (cmap_get_string(cmap, key, &value) != CS_OK)
			continue;
		if (strlen(value) < sizeof(g->address) &&
			(inet_pton(AF_INET, value, &addr) == 1 ||
				inet_pton(AF_INET6, value, &addr) == 1))
			strcpy(g->address, value);
		free(value);
	}
	cmap_finalize(cmap);
}

static int fail(char **ret_error, const char *what, cs_error_t err)
{
	if (ret_error &&
		asprintf(ret_error, "Corosync does not answer (%s: %s): is it running on this node?",
			what, cs_strerror(err)) < 0)
		*ret_error = NULL;
	return -ENOTCONN;
}

static int connect_quorum(struct group *g, char **ret_error)
{
	quorum_callbacks_t callbacks = { .quorum_notify_fn = on_quorum };
	uint32_t type = 0;
	cs_error_t err = quorum_initialize(&g->quorum, &callbacks, &type);

	if (err != CS_OK)
		return fail(ret_error, "quorum", err);
	if (type != QUORUM_SET) {
		quorum_finalize(g->quorum);
		if (ret_error)
			*ret_error = strdup("Corosync has no quorum provider: its configuration needs "
					    "quorum { provider: corosync_votequorum }");
		return -EINVAL;
	}
	quorum_context_set(g->quorum, g);
	err = quorum_trackstart(g->quorum, CS_TRACK_CHANGES | CS_TRACK_CURRENT);
	if (err != CS_OK) {
		quorum_finalize(g->quorum);
		return fail(ret_error, "quorum tracking", err);
	}
	return 0;
}

static int connect_all(struct group *g, char **ret_error)
{
	cpg_model_v1_data_t model = {
		.model = CPG_MODEL_V1,
		.cpg_deliver_fn = on_deliver,
		.cpg_confchg_fn = on_confchg,
		.cpg_totem_confchg_fn = on_ring,
		.flags = CPG_MODEL_V1_DELIVER_INITIAL_TOTEM_CONF,
	};
	int cpg_fd = -1, quorum_fd = -1, ret;
	unsigned int node = 0;
	cs_error_t err;

	err = cpg_model_initialize(&g->cpg, CPG_MODEL_V1, (cpg_model_data_t *)&model, g);
	if (err != CS_OK)
		return fail(ret_error, "cpg", err);
	err = cpg_local_get(g->cpg, &node);
	if (err != CS_OK) {
		cpg_finalize(g->cpg);
		return fail(ret_error, "node id", err);
	}
	ret = connect_quorum(g, ret_error);
	if (ret) {
		cpg_finalize(g->cpg);
		return ret;
	}
	if (g->node && g->node != node)
		log_error("this node's Corosync id is %u now, it was %u: mount again", node, g->node);
	if (cpg_fd_get(g->cpg, &cpg_fd) != CS_OK ||
		quorum_fd_get(g->quorum, &quorum_fd) != CS_OK || (g->node && g->node != node)) {
		cpg_finalize(g->cpg);
		quorum_finalize(g->quorum);
		return fail(ret_error, "descriptors", CS_ERR_LIBRARY);
	}
	g->node = node;
	g->connected = true;
	ev_io_set(&g->cpg_io, cpg_fd, EV_READ);
	ev_io_set(&g->quorum_io, quorum_fd, EV_READ);
	ev_io_start(loop_ev(g->loop), &g->cpg_io);
	ev_io_start(loop_ev(g->loop), &g->quorum_io);
	return 0;
}

/* Corosync asks to try again while a new ring forms. */
static void try_join(struct group *g)
{
	cs_error_t err = cpg_join(g->cpg, &g->name);

	if (err == CS_OK) {
		g->joined = true;
		try_send(g);
	} else if (err == CS_ERR_TRY_AGAIN) {
		ev_timer_stop(loop_ev(g->loop), &g->timer);
		ev_timer_set(&g->timer, JOIN_RETRY_S, 0.0);
		ev_timer_start(loop_ev(g->loop), &g->timer);
	} else {
		log_warn("Corosync: cannot join the group: %s", cs_strerror(err));
		break_later(g);
	}
}

static void on_timer(struct ev_loop *ev, struct ev_timer *timer, int revents)
{
	struct group *g = container_of(timer, struct group, timer);

	if (!g->connected && connect_all(g, NULL)) {
		ev_timer_set(&g->timer, RECONNECT_S, 0.0);
		ev_timer_start(ev, &g->timer);
		return;
	}
	try_join(g);
}

/* ---- interface ---- */

int group_open(struct loop *loop, const char *name, const struct group_ops *ops, void *arg,
	struct group **ret_group, char **ret_error)
{
	struct group *g = calloc(1, sizeof(*g));
	int err;

	if (!g)
		return -ENOMEM;
	g->loop = loop;
	g->ops = ops;
	g->arg = arg;
	g->name.length = (uint32_t)strnlen(name, CPG_MAX_NAME_LENGTH - 1);
	memcpy(g->name.value, name, g->name.length);
	ev_init(&g->cpg_io, on_cpg_io);
	ev_init(&g->quorum_io, on_quorum_io);
	ev_init(&g->timer, on_timer);
	ev_init(&g->send_timer, on_send_timer);
	g->break_work.fn = on_break;
	err = connect_all(g, ret_error);
	if (err) {
		free(g);
		return err;
	}
	find_address(g);
	if (!g->address[0])
		find_address_in_cmap(g);
	try_join(g);
	*ret_group = g;
	return 0;
}

void group_close(struct group *g)
{
	if (!g || g->closed)
		return;
	g->closed = true;
	if (g->joined)
		cpg_leave(g->cpg, &g->name);
	break_later(g);
}

void group_send(struct group *g, const void *msg, size_t len)
{
	if (g->closed || !g->connected || len > sizeof(g->msg))
		return;
	memcpy(g->msg, msg, len);
	g->msg_len = len;
	try_send(g);
}

enum group_quorum group_quorum(const struct group *g)
{
	if (!g->connected)
		return GROUP_NOT_QUORATE;
	if (g->ring_changes || !g->quorum_known || g->cpg_ring != g->quorum_ring)
		return GROUP_QUORUM_PENDING;
	return g->quorate ? GROUP_QUORATE : GROUP_NOT_QUORATE;
}

uint32_t group_node(const struct group *g)
{
	return g->node;
}

const char *group_address(const struct group *g)
{
	return g->address;
}
