/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * GROW: the volume takes more of its device.
 *
 * G1  Before anything is written each node has looked at the device anew, and sees that much of it: those
 *     with a session are asked, until none is left that has not answered on its present connection. Who
 *     comes from then on is told in the answer to its HELLO how much it must see, and looks by itself.
 * G2  A node that does not answer is not fenced for it: the volume stays as it is.
 * G3  One at a time; others wait. A GROW that is sent again finds the volume grown.
 */
#include <errno.h>
#include <string.h>

#include "csvfs/coord/coord_internal.h"
#include "util/checked.h"
#include "util/err.h"
#include "util/log.h"

#define BLK CSV_COORD_BLK

static uint64_t volume_blks(const struct coord *coord)
{
	return csv_fs_geometry(coord->cfg.fs)->nr_blks;
}

/* The next that waits begins, once r is answered. */
static void end(struct request *r, int status)
{
	struct coord *coord = r->coord;

	coord->grow.r = NULL;
	coord->grow.blks = 0;
	request_finish(r, status);
	if (!coord->grow.r && !list_empty(&coord->grow.waiters)) {
		struct request *next = list_entry(coord->grow.waiters.next, struct request, link);

		list_del(&next->link);
		list_init(&next->link);
		start_grow(next);
	}
}

static void outcome(struct request *r, enum csvp_grow_outcome what, uint32_t node, uint64_t seen)
{
	r->grow = (struct csvp_grow_reply){
		.outcome = le32_of(what),
		.node = le32_of(node),
		.old_bytes = le64_of(r->coord->grow.old_blks * BLK),
		.new_bytes = le64_of(volume_blks(r->coord) * BLK),
		.wanted_bytes = le64_of(r->coord->grow.blks * BLK),
		.seen_bytes = le64_of(seen),
	};
	end(r, 0);
}

void reply_grow(struct request *r)
{
	csvp_put_bytes(&r->reply, &r->grow, sizeof(r->grow));
}

static void grown(void *arg, int status)
{
	struct request *r = arg;
	struct coord *coord = r->coord;

	if (status) {
		log_error("growing the volume has failed: %s", err_str(status));
		end(r, status);
		return;
	}
	for (uint32_t node = 1; node < NR_NODES; node++)
		if (coord->sessions[node].open)
			callback_tell(coord, node, CSVP_RESIZED, volume_blks(coord));
	outcome(r, CSVP_GROWN, 0, 0);
}

/* Everybody has answered. */
static void decide(struct request *r)
{
	const struct csvp_grow *b = r->body;
	struct coord *coord = r->coord;
	struct coord_grow *g = &coord->grow;
	uint64_t most = bdev_geom(bdev_queue_bdev(coord->cfg.queue)).size_bytes;

	for (uint32_t node = 1; node < NR_NODES; node++) {
		if (!coord->sessions[node].open)
			continue;
		if (!(g->answered & NODE_BIT(node))) {
			outcome(r, CSVP_GROW_SILENT, node, 0);
			return;
		}
		most = MAX(most, g->seen_bytes[node]);
	}
	g->blks = (le64_get(b->size_bytes) ? le64_get(b->size_bytes) : most) / BLK;
	if (g->blks > most / BLK) {
		outcome(r, CSVP_GROW_TOO_LARGE, 0, most);
		return;
	}
	if (g->blks <= g->old_blks) {
		bool same = g->blks == g->old_blks || !le64_get(b->size_bytes);
		outcome(r, same ? CSVP_GROW_NOTHING : CSVP_GROW_SHRINK, 0, most);
		return;
	}
	for (uint32_t node = 1; node < NR_NODES; node++) {
		if (coord->sessions[node].open && g->seen_bytes[node] / BLK < g->blks) {
			outcome(r, CSVP_GROW_BLIND, node, g->seen_bytes[node]);
			return;
		}
	}
	int err = csv_grow(coord->cfg.fs, g->blks, grown, r);
	if (err)
		end(r, err);
}

static void ask(struct request *r);

static void measured(struct callback *cb, const struct csvp_recall_reply *reply)
{
	struct coord_grow *g = &cb->coord->grow;

	g->waiting &= ~NODE_BIT(cb->node);
	if (reply) {
		g->answered |= NODE_BIT(cb->node);
		g->seen_bytes[cb->node] = le64_get(reply->size_bytes);
	}
	if (!g->waiting)
		ask(cb->r);
}

/* Those that have not been asked on their present connection; when there is none: decide. */
static void ask(struct request *r)
{
	struct coord *coord = r->coord;
	struct coord_grow *g = &coord->grow;

	for (uint32_t node = 1; node < NR_NODES; node++) {
		const struct session *s = &coord->sessions[node];

		if (!s->open || g->hellos[node] == s->hellos)
			continue;
		int err = callback_send(r, node, CSVP_MEASURE, 0, CSVP_NONE, measured);
		if (err && g->waiting) { /* it counts as silent */
			g->hellos[node] = s->hellos;
			continue;
		}
		if (err) {
			end(r, err);
			return;
		}
		g->hellos[node] = s->hellos;
		g->answered &= ~NODE_BIT(node);
		g->waiting |= NODE_BIT(node);
	}
	if (!g->waiting)
		decide(r);
}

void start_grow(struct request *r)
{
	struct coord *coord = r->coord;

	if (coord->grow.r) { /* (G3) */
		list_add_tail(&coord->grow.waiters, &r->link);
		return;
	}
	struct list waiters = LIST_INIT(waiters);
	list_splice_tail(&waiters, &coord->grow.waiters);
	memset(&coord->grow, 0, sizeof(coord->grow));
	list_init(&coord->grow.waiters);
	list_splice_tail(&coord->grow.waiters, &waiters);
	coord->grow.r = r;
	coord->grow.old_blks = volume_blks(coord);
	ask(r);
}

uint64_t grow_needs_blks(const struct coord *coord)
{
	return MAX(coord->grow.blks, volume_blks(coord));
}
