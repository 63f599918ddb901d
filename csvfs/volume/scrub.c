/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * csvadm check: a check of the volume while it is used, by the coordinator's engine. There is one at a
 * time; what it has said is kept until the next one begins. It ends when nobody asks for it any more.
 */
#include <stdlib.h>
#include <string.h>

#include "csvfs/core/scrub.h"
#include "csvfs/volume/volume_internal.h"
#include "util/err.h"

#define MAX_TEXTS 10000u
#define ASKED_S 30.0

struct vscrub {
	struct volume *vol;
	struct csv_scrub *scrub; /* NULL: it has ended */
	struct csv_scrub_status last;
	struct json_object *texts;
	uint64_t start_ns, took_ns;
	const char *why; /* it did not come to its end; NULL: it did, or is under way */
	ev_timer asked;
};

static struct json_object *error_json(const char *why)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "error", json_object_new_string(why));
	return o;
}

static void end(struct vscrub *v, const char *why)
{
	if (!v->scrub)
		return;
	csv_scrub_status(v->scrub, &v->last);
	csv_scrub_stop(v->scrub);
	v->scrub = NULL;
	v->why = why;
	v->took_ns = clock_mono_ns() - v->start_ns;
	ev_timer_stop(loop_ev(v->vol->loop), &v->asked);
}

static void on_msg(void *arg, const char *text)
{
	struct vscrub *v = arg;

	if (json_object_array_length(v->texts) < MAX_TEXTS)
		json_object_array_add(v->texts, json_object_new_string(text));
}

static void on_done(void *arg, int status)
{
	end(arg, status ? err_str(status) : NULL);
}

static void on_forgotten(struct ev_loop *ev, ev_timer *timer, int revents)
{
	end(timer->data, "nobody asked for it any more");
}

struct json_object *vscrub_start(struct volume *vol, uint64_t bytes_per_s)
{
	struct csv_scrub_cfg cfg = { .bytes_per_s = bytes_per_s, .msg = on_msg, .done = on_done };
	struct vscrub *v;

	if (vol->role != ROLE_SERVING || !vol->fs)
		return error_json("this node does not coordinate; run it on the one that does "
				  "(csvadm coordinator show)");
	if (vol->scrub && vol->scrub->scrub)
		return error_json("a check is under way already");
	vscrub_free(vol);
	v = calloc(1, sizeof(*v));
	if (!v)
		return error_json("no memory");
	v->vol = vol;
	v->start_ns = clock_mono_ns();
	v->texts = json_object_new_array();
	cfg.arg = v;
	if (csv_scrub_start(vol->fs, &cfg, &v->scrub)) {
		json_object_put(v->texts);
		free(v);
		return error_json("no memory");
	}
	ev_timer_init(&v->asked, on_forgotten, ASKED_S, ASKED_S);
	v->asked.data = v;
	ev_timer_start(loop_ev(vol->loop), &v->asked);
	vol->scrub = v;
	return json_object_new_object();
}

struct json_object *vscrub_status(struct volume *vol, uint64_t from)
{
	struct json_object *o, *texts;
	struct vscrub *v = vol->scrub;
	bool running;

	if (!v)
		return error_json("no check was begun");
	running = v->scrub != NULL;
	if (running) {
		csv_scrub_status(v->scrub, &v->last);
		v->took_ns = clock_mono_ns() - v->start_ns;
		ev_timer_again(loop_ev(vol->loop), &v->asked);
	}
	o = json_object_new_object();
	texts = json_object_new_array();
	for (size_t i = from; i < json_object_array_length(v->texts); i++)
		json_object_array_add(texts,
			json_object_get(json_object_array_get_idx(v->texts, i)));
	json_object_object_add(o, "running", json_object_new_boolean(running));
	json_object_object_add(o, "ended_by", json_object_new_string(v->why ? v->why : ""));
	json_object_object_add(o, "errors", json_object_new_uint64(v->last.errors));
	json_object_object_add(o, "inodes", json_object_new_uint64(v->last.inodes));
	json_object_object_add(o, "of_inodes", json_object_new_uint64(v->last.nr_inodes));
	json_object_object_add(o, "blocks", json_object_new_uint64(v->last.blks));
	json_object_object_add(o, "took_ms", json_object_new_uint64(v->took_ns / 1000000));
	json_object_object_add(o, "texts", texts);
	return o;
}

void vscrub_end(struct volume *vol, const char *why)
{
	if (vol->scrub)
		end(vol->scrub, why);
}

void vscrub_free(struct volume *vol)
{
	if (!vol->scrub)
		return;
	end(vol->scrub, "");
	json_object_put(vol->scrub->texts);
	free(vol->scrub);
	vol->scrub = NULL;
}
