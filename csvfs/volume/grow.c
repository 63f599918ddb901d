/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * csvadm grow: asks the coordinator, wherever it is, to grow the volume, and keeps the answer until it is
 * asked for. And this node's part when any node grows it: to look at the device's size anew.
 */
#include <errno.h>
#include <stdlib.h>

#include "csvfs/volume/volume_internal.h"
#include "util/err.h"
#include "util/log.h"

struct vgrow {
	struct node_call call;
	struct volume *vol;
	bool running;
	int status;
	uint64_t old_bytes; /* when it was asked for */
	struct csvp_grow_reply reply;
};

static const char *const outcomes[] = {
	[CSVP_GROWN] = "grown",
	[CSVP_GROW_NOTHING] = "nothing",
	[CSVP_GROW_SHRINK] = "shrink",
	[CSVP_GROW_TOO_LARGE] = "too-large",
	[CSVP_GROW_BLIND] = "blind",
	[CSVP_GROW_SILENT] = "silent",
};

static struct json_object *error_json(const char *why)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "error", json_object_new_string(why));
	return o;
}

static void answered(struct node_call *call, int status, struct csvp_in *in)
{
	struct vgrow *g = container_of(call, struct vgrow, call);
	const struct csvp_grow_reply *reply = in ? csvp_get(in, sizeof(*reply)) : NULL;

	g->running = false;
	g->status = status;
	if (status)
		return;
	if (!reply || le32_get(reply->outcome) >= sizeof(outcomes) / sizeof(outcomes[0])) {
		g->status = -EPROTO;
		return;
	}
	g->reply = *reply;
	/* Sent to a second coordinator, which found it done. */
	if (le32_get(reply->outcome) == CSVP_GROW_NOTHING && le64_get(reply->new_bytes) > g->old_bytes) {
		g->reply.outcome = le32_of(CSVP_GROWN);
		g->reply.old_bytes = le64_of(g->old_bytes);
	}
}

struct json_object *vgrow_start(struct volume *vol, uint64_t size_bytes)
{
	struct vgrow *g;

	if (vol->ending)
		return error_json("the volume is being unmounted");
	if (vol->grow && vol->grow->running)
		return error_json("the volume is being grown already");
	vgrow_free(vol);
	g = calloc(1, sizeof(*g));
	if (!g)
		return error_json("no memory");
	g->vol = vol;
	g->running = true;
	g->old_bytes = vol->geom.nr_blks * 4096;
	g->call.done = answered;
	g->call.patient = true;
	csvp_begin(&g->call.msg, CSVP_GROW, 0, 0, 0);
	struct csvp_grow *body = csvp_put(&g->call.msg, sizeof(*body));
	if (body)
		body->size_bytes = le64_of(size_bytes);
	vol->grow = g;
	node_call(vol->node, &g->call);
	return json_object_new_object();
}

static void add(struct json_object *o, const char *key, uint64_t n)
{
	json_object_object_add(o, key, json_object_new_uint64(n));
}

struct json_object *vgrow_status(struct volume *vol)
{
	struct vgrow *g = vol->grow;
	uint64_t done = 0, total = 0;
	struct json_object *o;

	if (!g)
		return error_json("nobody has asked for it");
	o = json_object_new_object();
	json_object_object_add(o, "running", json_object_new_boolean(g->running));
	if (g->running) {
		if (vol->role == ROLE_SERVING && vol->fs)
			csv_grow_progress(vol->fs, &done, &total);
		add(o, "groups_done", done);
		add(o, "groups", total);
		return o;
	}
	json_object_object_add(o, "failed",
		json_object_new_string(g->status ? err_str(g->status) : ""));
	json_object_object_add(o, "outcome",
		json_object_new_string(g->status ? "" : outcomes[le32_get(g->reply.outcome)]));
	add(o, "node", le32_get(g->reply.node));
	add(o, "old_bytes", le64_get(g->reply.old_bytes));
	add(o, "new_bytes", le64_get(g->reply.new_bytes));
	add(o, "wanted_bytes", le64_get(g->reply.wanted_bytes));
	add(o, "device_bytes", le64_get(g->reply.seen_bytes));
	return o;
}

void vgrow_free(struct volume *vol)
{
	free(vol->grow);
	vol->grow = NULL;
}

/* ---- this node's part ---- */

struct look {
	struct bdev_req req;
	struct volume *vol;
	uint64_t cookie;
};

static void look_done(struct bdev_req *req, int status)
{
	struct look *look = container_of(req, struct look, req);
	struct volume *vol = look->vol;
	uint64_t cookie = look->cookie;

	free(look);
	vol->nr_measuring--;
	if (status && status != -ERR_FENCED)
		log_warn("%s: asking the device for its size: %s", bdev_name(vol->bdev),
			err_str(status));
	node_measured(vol->node, cookie);
}

void vgrow_measure(void *arg, uint64_t cookie)
{
	struct volume *vol = arg;
	struct look *look = calloc(1, sizeof(*look));

	if (look) {
		look->vol = vol;
		look->cookie = cookie;
		look->req = (struct bdev_req){ .op = BDEV_MEASURE, .done = look_done };
		vol->nr_measuring++;
		if (!bdev_submit(vol->queue, &look->req))
			return;
		vol->nr_measuring--;
		free(look);
	}
	node_measured(vol->node, cookie); /* as far as it is known */
}

void vgrow_resized(void *arg, uint64_t nr_blks)
{
	struct volume *vol = arg;

	if (nr_blks > vol->geom.nr_blks)
		log_info("the volume has %llu bytes now", (unsigned long long)nr_blks * 4096);
	vol->geom.nr_blks = nr_blks;
}

void vgrow_blind(void *arg, uint64_t needs_bytes, uint64_t seen_bytes)
{
	char why[160];

	snprintf(why, sizeof(why),
		"the volume has %llu bytes, or is about to, and this node sees %llu of the device: have it "
		"look again (log in to the target anew, or rescan the disk)",
		(unsigned long long)needs_bytes, (unsigned long long)seen_bytes);
	volume_end(arg, -ENOSPC, why);
}
