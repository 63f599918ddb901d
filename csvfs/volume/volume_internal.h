/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CSVFS_VOLUME_INTERNAL_H
#define CSVFS_VOLUME_INTERNAL_H

#include <json-c/json.h>
#include <sys/un.h>

#include "blockdev/bdev.h"
#include "csvfs/coord/coord.h"
#include "csvfs/core/fs.h"
#include "csvfs/fuse/fuse.h"
#include "csvfs/node/node.h"
#include "csvfs/volume/volume.h"
#include "lockmgr/lockmgr.h"
#include "util/stream.h"

enum role_state {
	ROLE_NONE,
	ROLE_RECOVERING, /* the engine replays */
	ROLE_SERVING,	 /* coord exists; it may still await reassertions */
	ROLE_CLOSING,	 /* the engine is being closed */
};

struct volume;

struct peer { /* a node's connection to our coordinator */
	struct list link;
	struct volume *vol;
	struct stream *stream;
	uint32_t node; /* 0 until its HELLO */
	bool busy;     /* a frame of it is worked on: who does frees it if it is gone then */
	bool gone;
};

struct volume {
	struct volume_cfg cfg;
	struct loop *loop;
	struct bdev *bdev;
	struct bdev_queue *queue;
	struct csv_geometry geom;
	uint8_t key[STREAM_KEY_BYTES];
	bool has_key;
	char uuid_text[37];
	struct lm *lm;
	struct node *node;
	struct fmount *mount;
	uint32_t self;
	uint64_t started_ns;

	/* the role */
	enum role_state role;
	uint64_t term; /* counts roles taken: tells old in-process messages (V1) */
	struct csv_fs *fs;
	struct coord *coord;
	bool give_up; /* close the engine as soon as it can be */
	uint32_t resign_to;
	uint64_t takeover_start_ns, takeover_ns; /* of the last takeover: begun, how long */
	uint64_t replayed_records;
	ev_timer await_timer;
	ev_timer sync_timer; /* while it coordinates */
	bool syncing;

	/* the channel to the coordinator (V2) */
	struct lm_coordinator coordinator;
	struct stream *up;
	/* To ourselves, likewise: when a message is lost, so are those behind it, until it is made anew. */
	bool local_up;
	uint64_t local_nr;
	ev_timer retry;
	struct stream_listener *listener;
	struct list peers;
	uint64_t no_coordinator_since_ns;

	/* end */
	bool second; /* there is another mount of it now, and nothing to serve (V4) */
	bool ready_told, ending, drained, leaving, left;
	unsigned drain_ticks;
	int end_status;
	char *error; /* why, for the operator */
	char fenced_why[256];
	ev_async stop_async;
	struct loop_work ended_work;
	ev_timer drain_timer;

	struct control *control;
	struct vscrub *scrub;
	struct vgrow *grow;
	uint32_t nr_measuring; /* requests to the device */
};

/* channel.c */
int channel_listen(struct volume *vol);
void channel_done(struct volume *vol);
uint16_t channel_port(const struct volume *vol);
/* lm: the coordinator has changed. */
void channel_coordinator(void *arg, const struct lm_coordinator *coord);
/* node_cfg.send, coord_cfg.send */
int channel_to_coordinator(void *arg, const void *data, uint32_t len);
void channel_to_node(void *arg, uint32_t node, const void *data, uint32_t len);
void channel_drop_peers(struct volume *vol);
void channel_drop_node(struct volume *vol, uint32_t node);

/* role.c */
void role_become(void *arg);
void role_step_down(void *arg, const char *why);
void role_node_gone(void *arg, uint32_t node, uint64_t generation);
/* Closes the engine, if there is one, in order; volume_ending goes on after it. */
void role_close(struct volume *vol, uint32_t resign_to);

/* second.c */
/* lm_join(), or a second mount of what this node has mounted already: vol->second. The sentence for an error
 * is in *ret_why, or with the volume (volume_fail). */
int second_join(struct volume *vol, char **ret_why);

/* volume.c */
/* What volume_run() tells of the error; returns err. */
int volume_fail(struct volume *vol, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void volume_end(struct volume *vol, int status, const char *why);
void volume_role_closed(struct volume *vol);

/* control.c */
int control_path(const struct volume *vol, struct sockaddr_un *ret_addr);
int control_new(struct volume *vol, struct control **ret);
void control_free(struct control *control);
/* scrub.c: csvadm check; answers for the control socket */
struct json_object *vscrub_start(struct volume *vol, uint64_t bytes_per_s);
struct json_object *vscrub_status(struct volume *vol, uint64_t from);
/* Before the engine is closed. */
void vscrub_end(struct volume *vol, const char *why);
void vscrub_free(struct volume *vol);
/* grow.c: csvadm grow; answers for the control socket */
struct json_object *vgrow_start(struct volume *vol, uint64_t size_bytes);
struct json_object *vgrow_status(struct volume *vol);
/* When the node has no calls any more. */
void vgrow_free(struct volume *vol);
/* node_cfg's */
void vgrow_measure(void *arg, uint64_t cookie);
void vgrow_resized(void *arg, uint64_t nr_blks);
void vgrow_blind(void *arg, uint64_t needs_bytes, uint64_t seen_bytes);
/* status.c: what csvadm shows */
struct json_object *status_json(struct volume *vol);

#endif
