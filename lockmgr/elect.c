/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <string.h>

#include "lockmgr/elect.h"
#include "lockmgr/group_format.h"
#include "util/crc32c.h"
#include "util/err.h"

/* ---- the table ---- */

void elect_view(struct elect *elect, const struct group_member *members, size_t nr_members)
{
	bool in[LM_MAX_NODES + 1] = { false };

	for (size_t i = 0; i < nr_members; i++) {
		uint32_t node = members[i].node;
		struct elect_member *m;

		if (node < 1 || node > LM_MAX_NODES || in[node])
			continue;
		in[node] = true;
		m = &elect->members[node];
		if (m->present && m->pid == members[i].pid)
			continue;
		*m = (struct elect_member){ .present = true, .pid = members[i].pid };
		elect->condemned[node] = 0;
	}
	for (uint32_t node = 1; node <= LM_MAX_NODES; node++) {
		if (!in[node]) {
			elect->members[node] = (struct elect_member){ 0 };
			elect->condemned[node] = 0;
		}
		elect->members[node].spoken = false;
	}
}

void elect_condemn(struct elect *elect, uint32_t node, uint64_t generation)
{
	struct elect_member *m = &elect->members[node];

	/* A verdict on a mount that was before this one, heard late, does not hit this one. */
	if (m->present && (!m->known || m->state.generation == generation))
		elect->condemned[node] = generation;
}

int elect_heard(struct elect *elect, const struct elect_state *state)
{
	struct elect_member *m = &elect->members[state->node];

	if (!m->present)
		return -ENOENT;
	m->state = *state;
	m->known = true;
	m->spoken = true;
	for (uint32_t node = 1; node <= LM_MAX_NODES; node++)
		if (state->condemned[node])
			elect_condemn(elect, node, state->condemned[node]);
	return 0;
}

bool elect_is_condemned(const struct elect *elect, uint32_t node)
{
	const struct elect_member *m = &elect->members[node];

	return elect->condemned[node] &&
		(!m->known || m->state.generation == elect->condemned[node]);
}

bool elect_is_member(const struct elect *elect, uint32_t node)
{
	return elect->members[node].present && !elect_is_condemned(elect, node);
}

uint64_t elect_mask(const struct elect *elect)
{
	uint64_t mask = 0;

	for (uint32_t node = 1; node <= LM_MAX_NODES; node++)
		if (elect_is_member(elect, node))
			mask |= 1ull << (node - 1);
	return mask;
}

/* ---- the choice ---- */

bool elect_complete(const struct elect *elect)
{
	for (uint32_t node = 1; node <= LM_MAX_NODES; node++)
		if (elect_is_member(elect, node) && !elect->members[node].spoken)
			return false;
	return true;
}

bool elect_others_have_role(const struct elect *elect, uint32_t except)
{
	for (uint32_t node = 1; node <= LM_MAX_NODES; node++) {
		const struct elect_member *m = &elect->members[node];

		if (node != except && elect_is_member(elect, node) &&
			(!m->spoken || m->state.role != LM_ROLE_NONE))
			return true;
	}
	return false;
}

uint32_t elect_serving(const struct elect *elect)
{
	uint32_t best = 0;

	for (uint32_t node = 1; node <= LM_MAX_NODES; node++) {
		const struct elect_member *m = &elect->members[node];

		if (!elect_is_member(elect, node) || !m->known || m->state.role != LM_ROLE_SERVING)
			continue;
		if (best == 0 || m->state.epoch > elect->members[best].state.epoch)
			best = node;
	}
	return best;
}

static bool can_take(const struct elect *elect, uint32_t node, bool yields)
{
	const struct elect_member *m = &elect->members[node];

	return elect_is_member(elect, node) && m->known && m->state.path && !m->state.joining &&
		m->state.yields == yields;
}

/* Whom a member that gave the role up asked for, if that one can. */
static uint32_t wished(const struct elect *elect)
{
	for (uint32_t node = 1; node <= LM_MAX_NODES; node++) {
		const struct elect_member *m = &elect->members[node];

		if (elect_is_member(elect, node) && m->known && m->state.yields && m->state.wish &&
			can_take(elect, m->state.wish, false))
			return m->state.wish;
	}
	return 0;
}

uint32_t elect_choose(const struct elect *elect)
{
	uint32_t node = elect_serving(elect);

	if (node)
		return node;
	for (node = 1; node <= LM_MAX_NODES; node++) {
		const struct elect_member *m = &elect->members[node];

		if (elect_is_member(elect, node) && m->known && m->state.role == LM_ROLE_TAKING)
			return node;
	}
	if (!elect_complete(elect) || elect_others_have_role(elect, 0))
		return 0;
	node = wished(elect);
	if (node)
		return node;
	for (int yields = 0; yields < 2; yields++)
		for (node = 1; node <= LM_MAX_NODES; node++)
			if (can_take(elect, node, yields))
				return node;
	return 0;
}

/* ---- the message ---- */

static uint32_t msg_crc(const void *msg, size_t len)
{
	static const struct le32 zero;
	const size_t at = offsetof(struct lm_msg, crc);
	uint32_t crc = crc32c(0, msg, at);

	crc = crc32c(crc, &zero, sizeof(zero));
	return crc32c(crc, (const char *)msg + at + sizeof(zero), len - at - sizeof(zero));
}

void elect_encode(const struct elect_state *state, const uint8_t uuid[16], void *ret_msg)
{
	struct lm_msg *msg = ret_msg;

	memset(msg, 0, sizeof(*msg));
	msg->magic = le32_of(LM_MSG_MAGIC);
	msg->version = le16_of(LM_MSG_VERSION);
	msg->type = le16_of(LM_MSG_STATE);
	msg->len = le32_of(sizeof(*msg));
	memcpy(msg->uuid, uuid, sizeof(msg->uuid));
	msg->node = le32_of(state->node);
	msg->flags = le32_of((state->path ? LM_MSG_PATH : 0) |
		(state->joining ? LM_MSG_JOINING : 0) | (state->yields ? LM_MSG_YIELDS : 0));
	msg->generation = le64_of(state->generation);
	msg->epoch = le64_of(state->epoch);
	msg->role = le32_of(state->role);
	msg->claim = le32_of(state->claim);
	msg->wish = le32_of(state->wish);
	msg->port = le16_of(state->port);
	memcpy(msg->address, state->address, sizeof(msg->address));
	memcpy(msg->name, state->name, sizeof(msg->name));
	for (uint32_t node = 1; node <= LM_MAX_NODES; node++)
		msg->condemned[node - 1] = le64_of(state->condemned[node]);
	msg->crc = le32_of(msg_crc(msg, sizeof(*msg)));
}

static bool is_string(const char *s, size_t size)
{
	return memchr(s, '\0', size) != NULL;
}

int elect_decode(const void *data, size_t len, const uint8_t uuid[16], uint32_t sender,
	struct elect_state *ret)
{
	const struct lm_msg *msg = data;
	uint32_t flags;

	if (len < offsetof(struct lm_msg, uuid) || le32_get(msg->magic) != LM_MSG_MAGIC ||
		le32_get(msg->len) != len || le32_get(msg->crc) != msg_crc(data, len))
		return -EBADMSG;
	if (le16_get(msg->version) != LM_MSG_VERSION || le16_get(msg->type) != LM_MSG_STATE)
		return -ERR_VERSION;
	if (len < sizeof(*msg) || memcmp(msg->uuid, uuid, sizeof(msg->uuid)) != 0 ||
		le32_get(msg->node) != sender || sender < 1 || sender > LM_MAX_NODES ||
		le32_get(msg->role) > LM_ROLE_CLOSING || le32_get(msg->wish) > LM_MAX_NODES ||
		!is_string(msg->address, sizeof(msg->address)) ||
		!is_string(msg->name, sizeof(msg->name)))
		return -EBADMSG;

	flags = le32_get(msg->flags);
	*ret = (struct elect_state){
		.node = sender,
		.generation = le64_get(msg->generation),
		.epoch = le64_get(msg->epoch),
		.role = (enum lm_role)le32_get(msg->role),
		.claim = le32_get(msg->claim),
		.wish = le32_get(msg->wish),
		.path = flags & LM_MSG_PATH,
		.joining = flags & LM_MSG_JOINING,
		.yields = flags & LM_MSG_YIELDS,
		.port = le16_get(msg->port),
	};
	memcpy(ret->address, msg->address, sizeof(ret->address));
	memcpy(ret->name, msg->name, sizeof(ret->name));
	for (uint32_t node = 1; node <= LM_MAX_NODES; node++)
		ret->condemned[node] = le64_get(msg->condemned[node - 1]);
	return 0;
}
