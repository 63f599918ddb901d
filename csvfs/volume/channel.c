/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The channel between this node and the coordinator, wherever it is (V2). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "csvfs/volume/volume_internal.h"
#include "util/err.h"
#include "util/log.h"

#define RETRY_S 0.25
#define IDLE_MS 0u

/* The channel to the coordinator is of no use any more: begin anew. A message that was lost is resent
 * after a connection alone. */
static void up_drop(struct volume *vol)
{
	node_disconnected(vol->node);
	vol->local_up = false;
	stream_free(vol->up);
	vol->up = NULL;
	ev_timer_again(loop_ev(vol->loop), &vol->retry);
}

/* ---- in-process ---- */

struct local_msg {
	struct loop_work work;
	struct volume *vol;
	uint64_t term, local_nr;
	bool to_coord;
	uint32_t len;
	uint8_t data[];
};

static void local_deliver(struct loop_work *work)
{
	struct local_msg *m = container_of(work, struct local_msg, work);
	struct volume *vol = m->vol;
	int err = 0;

	if (m->term == vol->term && vol->role == ROLE_SERVING && vol->coord) {
		if (m->to_coord)
			err = coord_message(vol->coord, vol->self, m->data, m->len);
		else if (vol->local_up && m->local_nr == vol->local_nr)
			err = node_message(vol->node, m->data, m->len);
	}
	free(m);
	if (!err)
		return;
	log_error("message within this node: %s", err_str(err));
	up_drop(vol);
}

static int local_send(struct volume *vol, bool to_coord, const void *data, uint32_t len)
{
	struct local_msg *m = malloc(sizeof(*m) + len);

	if (!m)
		return -ENOMEM;
	m->vol = vol;
	m->term = vol->term;
	m->local_nr = vol->local_up ? vol->local_nr : 0; /* 0: it is lost already */
	m->to_coord = to_coord;
	m->len = len;
	memcpy(m->data, data, len);
	m->work.fn = local_deliver;
	loop_defer(vol->loop, &m->work);
	return 0;
}

/* ---- this node's half: up to the coordinator ---- */

static void up_open(struct stream *stream, void *arg)
{
	struct volume *vol = arg;

	log_info("connected to coordinator node %u at %s", vol->coordinator.node,
		stream_peer(stream));
	node_connected(vol->node, vol->coordinator.epoch);
}

static void up_frame(struct stream *stream, void *arg, const void *frame, size_t len)
{
	struct volume *vol = arg;
	int err = node_message(vol->node, frame, (uint32_t)len);

	if (!err || vol->up != stream)
		return; /* or it was dropped meanwhile */
	log_error("coordinator node %u: %s", vol->coordinator.node, err_str(err));
	up_drop(vol);
}

static void up_close(struct stream *stream, void *arg, int err)
{
	struct volume *vol = arg;

	log_warn("connection to coordinator node %u is lost: %s", vol->coordinator.node,
		err_str(err));
	node_disconnected(vol->node);
	vol->up = NULL;
	ev_timer_again(loop_ev(vol->loop), &vol->retry);
}

static const struct stream_ops up_ops = { up_open, up_frame, up_close };

static struct stream_cfg stream_cfg_of(const struct volume *vol)
{
	return (struct stream_cfg){
		.loop = vol->loop,
		.psk = vol->key,
		.identity = vol->uuid_text,
		.max_frame = CSVP_MAX_BYTES,
		.idle_timeout_ms = IDLE_MS,
	};
}

static void up_connect(struct volume *vol)
{
	struct stream_cfg cfg = stream_cfg_of(vol);
	const struct lm_coordinator *c = &vol->coordinator;

	if (!c->node)
		return;
	if (c->node == vol->self) {
		if (vol->coord) {
			vol->local_up = true;
			vol->local_nr++;
			node_connected(vol->node, c->epoch);
		}
		return;
	}
	cfg.source = lm_address(vol->lm); /* by which the coordinator knows this node */
	if (stream_connect(&cfg, c->address, c->port, &up_ops, vol, &vol->up))
		ev_timer_again(loop_ev(vol->loop), &vol->retry);
}

static void retry_fired(struct ev_loop *ev, ev_timer *timer, int revents)
{
	struct volume *vol = timer->data;

	ev_timer_stop(ev, timer);
	if (!vol->up)
		up_connect(vol);
}

void channel_coordinator(void *arg, const struct lm_coordinator *coord)
{
	struct volume *vol = arg;

	if (vol->up && coord->node == vol->coordinator.node &&
		coord->epoch == vol->coordinator.epoch)
		return;
	vol->coordinator = *coord;
	ev_timer_stop(loop_ev(vol->loop), &vol->retry);
	if (vol->up) {
		stream_free(vol->up);
		vol->up = NULL;
	}
	node_disconnected(vol->node);
	vol->local_up = false;
	if (coord->node == 0) {
		if (!vol->no_coordinator_since_ns)
			vol->no_coordinator_since_ns = clock_mono_ns();
		if (!vol->ending)
			log_warn("there is no coordinator at present");
		return;
	}
	vol->no_coordinator_since_ns = 0;
	log_info("node %u coordinates, epoch %llu", coord->node, (unsigned long long)coord->epoch);
	up_connect(vol);
}

int channel_to_coordinator(void *arg, const void *data, uint32_t len)
{
	struct volume *vol = arg;

	int err = -ENOTCONN;

	if (vol->coordinator.node == vol->self)
		err = vol->coord ? local_send(vol, true, data, len) : -ENOTCONN;
	else if (vol->up)
		err = stream_send(vol->up, data, len);
	if (err && err != -ENOTCONN && err != -ECONNRESET) { /* after those a new one comes anyway */
		log_error("a message to the coordinator was not sent: %s", err_str(err));
		up_drop(vol);
	}
	return err;
}

/* ---- the coordinator's half: other nodes come to us ---- */

static void peer_free(struct peer *peer)
{
	list_del(&peer->link);
	peer->gone = true;
	if (!peer->busy)
		free(peer);
}

/* Who has the key may say that it is any node: it is one that comes from where that node says, in the
 * group, that it is (V3). */
static int peer_hello(struct peer *peer, const struct csvp_hello *hello)
{
	struct volume *vol = peer->vol;
	uint32_t node = le32_get(hello->node);
	uint64_t generation = 0;
	const char *address = node == vol->self ? NULL : lm_member_address(vol->lm, node, &generation);

	if (!address || generation != le64_get(hello->generation)) {
		/* It comes again; we may not have heard of it yet. */
		log_warn("refusing %s, which says that it is node %u: the group knows no such %s",
			stream_peer(peer->stream), node, address ? "mount of it" : "other member");
		return -ERR_MOVED;
	}
	if (!stream_peer_is(peer->stream, address)) {
		log_error("refusing %s, which says that it is node %u: that is at %s",
			stream_peer(peer->stream), node, address);
		return -EPERM;
	}
	channel_drop_node(vol, node); /* an older connection */
	peer->node = node;
	return 0;
}

static void peer_frame(struct stream *stream, void *arg, const void *frame, size_t len)
{
	struct peer *peer = arg;
	struct volume *vol = peer->vol;
	const struct csvp_hdr *hdr = frame;
	int err = -ERR_MOVED;

	peer->busy = true;
	if (vol->role == ROLE_SERVING && vol->coord) {
		err = peer->node ? 0 : -EPROTO;
		if (!peer->node && len >= sizeof(*hdr) + sizeof(struct csvp_hello) &&
			le16_get(hdr->op) == CSVP_HELLO)
			err = peer_hello(peer, (const struct csvp_hello *)(hdr + 1));
		if (!err)
			err = coord_message(vol->coord, peer->node, frame, (uint32_t)len);
	}
	peer->busy = false;
	if (peer->gone) { /* with what the message led to */
		free(peer);
		return;
	}
	if (!err)
		return;
	if (err != -ERR_MOVED)
		log_warn("closing the connection of %s (node %u): %s", stream_peer(stream),
			peer->node, err_str(err));
	stream_free(stream);
	peer_free(peer);
}

static void peer_close(struct stream *stream, void *arg, int err)
{
	struct peer *peer = arg;

	log_info("connection of %s (node %u) has ended: %s", stream_peer(stream), peer->node,
		err_str(err));
	peer_free(peer);
}

void channel_drop_node(struct volume *vol, uint32_t node)
{
	struct list *pos, *tmp;

	list_for_each_safe (pos, tmp, &vol->peers) {
		struct peer *peer = list_entry(pos, struct peer, link);
		if (peer->node != node)
			continue;
		stream_free(peer->stream);
		peer_free(peer);
	}
}

static const struct stream_ops peer_ops = { NULL, peer_frame, peer_close };

static void accepted(void *arg, struct stream *stream)
{
	struct volume *vol = arg;
	struct peer *peer = calloc(1, sizeof(*peer));

	if (!peer) {
		stream_free(stream);
		return;
	}
	peer->vol = vol;
	peer->stream = stream;
	list_add_tail(&vol->peers, &peer->link);
	stream_set_ops(stream, &peer_ops, peer);
}

void channel_to_node(void *arg, uint32_t node, const void *data, uint32_t len)
{
	struct volume *vol = arg;
	struct list *pos;

	if (vol->role != ROLE_SERVING)
		return; /* the next coordinator answers what is resent to it */
	if (node == vol->self) {
		if (local_send(vol, false, data, len)) {
			log_error("no memory for a message within this node");
			up_drop(vol);
		}
		return;
	}
	list_for_each (pos, &vol->peers) {
		struct peer *peer = list_entry(pos, struct peer, link);
		if (peer->node != node)
			continue;
		int err = stream_send(peer->stream, data, len);
		if (err) {
			log_error("node %u does not read what it is sent: %s", node, err_str(err));
			stream_free(peer->stream);
			peer_free(peer);
		}
		return;
	}
}

void channel_drop_peers(struct volume *vol)
{
	while (!list_empty(&vol->peers)) {
		struct peer *peer = list_entry(vol->peers.next, struct peer, link);
		stream_free(peer->stream);
		peer_free(peer);
	}
}

int channel_listen(struct volume *vol)
{
	struct stream_cfg cfg = stream_cfg_of(vol);

	ev_timer_init(&vol->retry, retry_fired, 0.0, RETRY_S);
	vol->retry.data = vol;
	if (vol->cfg.single)
		return 0;
	int err = stream_listen(&cfg, "::", 0, accepted, vol, &vol->listener);
	if (err) /* a host without IPv6 */
		err = stream_listen(&cfg, "0.0.0.0", 0, accepted, vol, &vol->listener);
	return err;
}

uint16_t channel_port(const struct volume *vol)
{
	return vol->listener ? stream_listener_port(vol->listener) : 0;
}

void channel_done(struct volume *vol)
{
	ev_timer_stop(loop_ev(vol->loop), &vol->retry);
	if (vol->up)
		stream_free(vol->up);
	vol->up = NULL;
	channel_drop_peers(vol);
	if (vol->listener)
		stream_listener_free(vol->listener);
	vol->listener = NULL;
}
