/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tokens and sections of inodes (C1 to C4).
 *
 * A section: requests queue in ci->section; the first one is in. It recalls (ci->recalled counts the
 * answers), then works, and leaves when it is answered.
 */
#include <errno.h>
#include <stdlib.h>

#include "csvfs/coord/coord_internal.h"
#include "util/log.h"

struct coord_inode *ci_find(struct coord *coord, uint64_t ino)
{
	struct htab_node *n = htab_find(&coord->inodes, ino);

	return n ? container_of(n, struct coord_inode, hash) : NULL;
}

struct coord_inode *ci_get(struct coord *coord, uint64_t ino)
{
	struct coord_inode *ci = ci_find(coord, ino);

	if (ci)
		return ci;
	ci = calloc(1, sizeof(*ci));
	if (!ci)
		return NULL;
	list_init(&ci->section);
	list_init(&ci->inner);
	list_init(&ci->commits);
	list_init(&ci->lock_waiters);
	lockset_init(&ci->locks);
	htab_insert(&coord->inodes, ino, &ci->hash);
	return ci;
}

int ci_attach(struct request *r, uint64_t ino)
{
	struct coord_inode *ci = ci_get(r->coord, ino);

	if (!ci)
		return -ENOMEM;
	ci->refs++;
	r->ci = ci;
	return 0;
}

void ci_maybe_free(struct coord *coord, struct coord_inode *ci)
{
	if (ci->refs || ci->holders || ci->opens || ci->freeing || ci->locks.nr)
		return;
	assert(list_empty(&ci->section) && list_empty(&ci->inner) && list_empty(&ci->commits));
	htab_remove(&coord->inodes, &ci->hash);
	free(ci);
}

void ci_detach(struct request *r)
{
	struct coord_inode *ci = r->ci;

	if (!ci)
		return;
	r->ci = NULL;
	ci->refs--;
	ci_maybe_free(r->coord, ci);
}

void ci_set_mode(struct coord_inode *ci, uint32_t node, enum csvp_mode mode)
{
	ci->mode[node] = mode;
	if (mode)
		ci->holders |= NODE_BIT(node);
	else
		ci->holders &= ~NODE_BIT(node);
	ci->asserted |= NODE_BIT(node);
}

uint32_t ci_conflict(const struct coord_inode *ci, uint32_t node, enum csvp_mode mode)
{
	uint64_t others = ci->holders & ~NODE_BIT(node);

	for (uint32_t n = 1; mode && others && n < NR_NODES; n++)
		if ((others & NODE_BIT(n)) && (mode == CSVP_EXCL || ci->mode[n] != mode))
			return n;
	return 0;
}

int ci_may_open(const struct coord *coord, const struct coord_inode *ci, uint32_t node)
{
	if (ci && (ci->opens & NODE_BIT(node)))
		return 0;
	return coord->nr_opens[node] < coord->cfg.opens_max ? 0 : -ENFILE;
}

void ci_set_open(struct coord *coord, struct coord_inode *ci, uint32_t node, bool open)
{
	bool was = ci->opens & NODE_BIT(node);

	if (open && !was)
		coord->nr_opens[node]++;
	else if (!open && was)
		coord->nr_opens[node]--;
	ci->opens = open ? ci->opens | NODE_BIT(node) : ci->opens & ~NODE_BIT(node);
}

/* The mode to which a holder of held must go so that another node may have wanted. */
static enum csvp_mode compatible(enum csvp_mode held, enum csvp_mode wanted)
{
	if (wanted == CSVP_NONE || wanted == CSVP_EXCL)
		return CSVP_NONE;
	if (wanted == CSVP_READ && held == CSVP_WRITE)
		return CSVP_NONE; /* the size that it knows is no more than a lower bound */
	return held == CSVP_NONE ? CSVP_NONE : wanted;
}

static void section_go(struct request *r)
{
	void (*step)(struct request *, int) = r->step;

	if (!r->awaits || r->ci->recalled || !list_empty(&r->ci->inner))
		return;
	r->awaits = false;
	r->step = NULL;
	step(r, 0);
}

static int run_wrote(struct request *r, struct csv_txn *txn)
{
	struct csv_attr set = { .mtime_ns = (int64_t)r->times_ns, .ctime_ns = (int64_t)r->times_ns };
	int err = csv_inode_set(txn, r->ci->hash.key, CSV_SET_MTIME_MAX, &set, NULL);

	return err == -ESTALE ? 0 : err;
}

static void step_wrote(struct request *r, int status)
{
	request_finish(r, status);
}

/* A node said when it wrote last: note it, without anybody waiting. */
static void note_times(struct coord *coord, uint64_t ino, uint64_t wrote_ns)
{
	if (!wrote_ns)
		return;
	struct request *r = request_new_internal(coord, 0);
	if (!r)
		return;
	if (ci_attach(r, ino)) {
		request_finish(r, -ENOMEM);
		return;
	}
	r->times_ns = wrote_ns;
	request_run(r, run_wrote, step_wrote);
}

static void recall_done(struct callback *cb, const struct csvp_recall_reply *reply)
{
	struct request *r = cb->r;
	struct coord_inode *ci = r->ci;

	if (!reply)
		ci_set_mode(ci, cb->node, CSVP_NONE);
	else if (ci->mode[cb->node]) /* else its CLOSE came first */
		ci_set_mode(ci, cb->node, cb->mode);
	if (reply)
		note_times(cb->coord, ci->hash.key, le64_get(reply->wrote_ns));
	ci->recalled &= ~NODE_BIT(cb->node);
	section_go(r);
}

void section_recall(struct request *r, uint64_t mask, enum csvp_mode mode,
	void (*step)(struct request *r, int status))
{
	struct coord_inode *ci = r->ci;
	struct coord *coord = r->coord;

	r->step = step;
	r->awaits = true;
	for (uint32_t node = 1; node < NR_NODES; node++) {
		if (!(ci->holders & mask & NODE_BIT(node)) || coord->cfg.no_recall)
			continue;
		enum csvp_mode to = compatible(ci->mode[node], mode);
		if (to == ci->mode[node])
			continue;
		/* Its kernel may have pages under the token, and may not let go of them before this
		 * is answered. Nobody else has any: it need not give the token up to itself. */
		bool own = node == r->node && ci->mode[node] == CSVP_EXCL;
		ci->recalled |= NODE_BIT(node);
		if (callback_send(r, node, own ? CSVP_REFRESH : CSVP_RECALL, ci->hash.key,
			    own ? CSVP_EXCL : to, recall_done)) {
			/* The section stays blocked on a node that could not be asked: get rid of it. */
			log_error("out of memory for a recall from node %u", node);
			coord->cfg.fence(coord->cfg.arg, node, "no memory to recall its token");
		}
		coord->stats.recalls++;
	}
	section_go(r);
}

void section_enter(struct request *r, uint64_t mask, enum csvp_mode mode,
	void (*step)(struct request *r, int status))
{
	struct coord_inode *ci = r->ci;
	bool first = list_empty(&ci->section);

	r->in_section = true;
	list_add_tail(&ci->section, &r->link);
	if (first) {
		section_recall(r, mask, mode, step);
		return;
	}
	r->step = step;
	r->section_mask = mask;
	r->section_mode = mode;
}

/* ---- beside the section (C7) ---- */

/* r's node alone holds the token, and whoever is in the section waits until it gives it up. */
static bool inner_allowed(const struct request *r)
{
	const struct coord_inode *ci = r->ci;

	if (!r->inner_step || r->inner || ci->mode[r->node] != CSVP_EXCL || list_empty(&ci->section))
		return false;
	return list_entry(ci->section.next, struct request, link)->node != r->node;
}

static void inner_add(struct request *r)
{
	bool first = list_empty(&r->ci->inner);

	r->inner = true;
	list_add_tail(&r->ci->inner, &r->link);
	if (first)
		r->inner_step(r);
}

bool inner_enter(struct request *r)
{
	bool allowed = inner_allowed(r);

	if (allowed)
		inner_add(r);
	return allowed;
}

void inner_leave(struct request *r)
{
	struct coord_inode *ci = r->ci;

	r->inner = false;
	list_del(&r->link);
	if (!list_empty(&ci->inner)) {
		struct request *next = list_entry(ci->inner.next, struct request, link);
		next->inner_step(next);
	} else if (!list_empty(&ci->section)) {
		section_go(list_entry(ci->section.next, struct request, link));
	}
}

static void refresh_done(struct callback *cb, const struct csvp_recall_reply *reply)
{
	struct request *r = cb->r;

	if (reply)
		note_times(cb->coord, cb->ino, le64_get(reply->wrote_ns));
	r->step(r, 0);
}

void inner_refresh(struct request *r, void (*step)(struct request *r, int status))
{
	r->step = step;
	if (callback_send(r, r->node, CSVP_REFRESH, r->ci->hash.key, CSVP_EXCL, refresh_done))
		step(r, -ENOMEM);
}

/* Another request is in now: those for pages that it will wait for need not queue behind it. */
static void inner_take(struct coord_inode *ci)
{
	struct list *pos, *tmp;

	list_for_each_safe (pos, tmp, &ci->section) {
		struct request *r = list_entry(pos, struct request, link);
		if (pos == ci->section.next || !inner_allowed(r))
			continue;
		list_del(&r->link);
		r->in_section = false;
		inner_add(r);
	}
}

void section_leave(struct request *r)
{
	struct coord_inode *ci = r->ci;

	assert(r->in_section && ci->section.next == &r->link && !ci->recalled);
	r->in_section = false;
	list_del(&r->link);
	if (list_empty(&ci->section))
		return;
	struct request *next = list_entry(ci->section.next, struct request, link);
	inner_take(ci);
	section_recall(next, next->section_mask, next->section_mode, next->step);
}

void token_node_gone(struct coord *coord, uint32_t node)
{
	struct htab_node *n, *tmp;

	htab_for_each_safe (n, tmp, &coord->inodes) {
		struct coord_inode *ci = container_of(n, struct coord_inode, hash);
		bool was_open = ci->opens & NODE_BIT(node);

		ci->refs++; /* what follows may end requests */
		ci_set_mode(ci, node, CSVP_NONE);
		ci_set_open(coord, ci, node, false);
		if (ci->recalled & NODE_BIT(node)) {
			/* Only when the callback itself could not be sent. */
			ci->recalled &= ~NODE_BIT(node);
			section_go(list_entry(ci->section.next, struct request, link));
		}
		if (was_open && !ci->opens)
			orphan_check(coord, n->key);
		ci->refs--;
		ci_maybe_free(coord, ci);
	}
}

void token_reassert_begin(struct coord *coord, uint32_t node)
{
	struct htab_node *n;

	htab_for_each (n, &coord->inodes)
		container_of(n, struct coord_inode, hash)->asserted &= ~NODE_BIT(node);
}

void token_reassert_end(struct coord *coord, uint32_t node)
{
	struct htab_node *n, *tmp;

	htab_for_each_safe (n, tmp, &coord->inodes) {
		struct coord_inode *ci = container_of(n, struct coord_inode, hash);

		if (ci->asserted & NODE_BIT(node))
			continue;
		bool was_open = ci->opens & NODE_BIT(node);
		ci->refs++;
		ci_set_mode(ci, node, CSVP_NONE);
		ci_set_open(coord, ci, node, false);
		if (was_open && !ci->opens)
			orphan_check(coord, n->key);
		ci->refs--;
		ci_maybe_free(coord, ci);
	}
}
