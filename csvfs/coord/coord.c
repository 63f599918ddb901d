/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sessions, the way of a request from message to answer, callbacks to nodes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "csvfs/coord/coord_internal.h"
#include "util/err.h"
#include "util/log.h"

#define RECALL_MS 10000u
#define NR_SLOTS 62u
/* As many as Linux lets one process have open unless it is told otherwise (fs.nr_open): some 400 MB of
 * struct coord_inode. */
#define OPENS_MAX (1u << 20)
#define SPARE_CALLBACKS 64u /* one to each node */

/* ---- callbacks ---- */

static void callback_free(struct coord *coord, struct callback *cb)
{
	if (coord->nr_spare == SPARE_CALLBACKS) {
		free(cb);
		return;
	}
	list_add_tail(&coord->spare, &cb->link);
	coord->nr_spare++;
}

/* A node that cannot be asked has to be fenced: memory that is short for a moment is no reason. */
static struct callback *callback_alloc(struct coord *coord)
{
	struct callback *cb = malloc(sizeof(*cb));

	if (cb || !coord->nr_spare)
		return cb;
	cb = list_entry(coord->spare.next, struct callback, link);
	list_del(&cb->link);
	coord->nr_spare--;
	return cb;
}

static void callback_end(struct callback *cb, const struct csvp_recall_reply *reply)
{
	ev_timer_stop(loop_ev(cb->coord->loop), &cb->timer);
	list_del(&cb->link);
	cb->done(cb, reply);
	callback_free(cb->coord, cb);
}

static void callback_late(struct ev_loop *ev, ev_timer *timer, int revents)
{
	struct callback *cb = timer->data;

	if (cb->op == CSVP_MEASURE) { /* nothing depends on it but the one who asks */
		callback_end(cb, NULL);
		return;
	}
	log_error("node %u has not answered a recall for %u s: it is evicted", cb->node,
		cb->coord->cfg.recall_ms / 1000);
	cb->coord->cfg.fence(cb->coord->cfg.arg, cb->node, "it did not answer a recall in time");
}

/* Takes no memory of its own: what a node must be told cannot be lost here. What the channel loses it
 * loses with the connection, after which the node begins anew. */
static void callback_put(struct coord *coord, uint32_t node, enum csvp_op op, uint64_t xid,
	uint64_t ino, enum csvp_mode mode)
{
	struct {
		struct csvp_hdr hdr;
		struct csvp_recall body;
	} msg = { .body = { .ino = le64_of(ino), .mode = le32_of(mode) } };

	csvp_hdr_init(&msg.hdr, op, 0, 0, xid);
	msg.hdr.len = le32_of(sizeof(msg));
	msg.hdr.epoch = le64_of(coord->cfg.epoch);
	coord->cfg.send(coord->cfg.arg, node, &msg, sizeof(msg));
}

static void callback_transmit(struct callback *cb)
{
	callback_put(cb->coord, cb->node, cb->op, cb->xid, cb->ino, cb->mode);
}

void callback_tell(struct coord *coord, uint32_t node, enum csvp_op op, uint64_t ino)
{
	callback_put(coord, node, op, 0, ino, CSVP_NONE);
}

int callback_send(struct request *r, uint32_t node, enum csvp_op op, uint64_t ino,
	enum csvp_mode mode, void (*done)(struct callback *, const struct csvp_recall_reply *))
{
	struct coord *coord = r->coord;
	struct callback *cb = callback_alloc(coord);

	if (!cb)
		return -ENOMEM;
	*cb = (struct callback){
		.coord = coord,
		.op = op,
		.node = node,
		.xid = coord->next_xid++,
		.ino = ino,
		.mode = mode,
		.r = r,
		.done = done,
	};
	list_add_tail(&coord->callbacks, &cb->link);
	ev_timer_init(&cb->timer, callback_late, coord->cfg.recall_ms / 1000.0, 0.0);
	cb->timer.data = cb;
	if (!coord->stopping)
		ev_timer_start(loop_ev(coord->loop), &cb->timer);
	callback_transmit(cb);
	return 0;
}

static int callback_reply(struct coord *coord, uint32_t node, struct csvp_in *in)
{
	struct list *pos;

	list_for_each (pos, &coord->callbacks) {
		struct callback *cb = list_entry(pos, struct callback, link);
		if (cb->node != node || cb->xid != le64_get(in->hdr->xid))
			continue;
		const struct csvp_recall_reply *reply = csvp_get(in, sizeof(*reply));
		if (!reply)
			return -EPROTO;
		callback_end(cb, reply);
		return 0;
	}
	return 0; /* of a callback that ended otherwise */
}

/* ---- a request's way ---- */

static struct request *request_alloc(struct coord *coord, size_t len)
{
	struct request *r = calloc(1, sizeof(*r) + len);

	if (!r)
		return NULL;
	r->coord = coord;
	r->last_step = true;
	list_init(&r->link);
	list_add_tail(&coord->requests, &r->all);
	return r;
}

struct request *request_new_internal(struct coord *coord, size_t body_len)
{
	struct request *r = request_alloc(coord, body_len);

	if (r)
		r->silent = true;
	return r;
}

static void request_free(struct request *r)
{
	struct request *other = r->silent ? NULL : r->other;

	if (r->in_section)
		section_leave(r);
	if (r->inner)
		inner_leave(r);
	list_del(&r->link);
	list_del(&r->all);
	ci_detach(r);
	csvp_free(&r->reply);
	free(r->ext);
	free(r->io_buf);
	free(r);
	if (other)
		request_finish(other, 0);
}

bool request_live(const struct request *r)
{
	const struct session *s = &r->coord->sessions[r->node];

	return !r->silent && s->open && s->generation == r->generation && s->hellos == r->hellos;
}

/* Answers and ends r. A node that is gone, or another mount by now, gets nothing; nor does one that
 * has connected anew: it asks again after it has told what it holds, and what we granted to the old
 * connection is not among that. */
void request_finish(struct request *r, int status)
{
	struct coord *coord = r->coord;

	const struct op_desc *desc = r->desc;
	/* An engine that has failed, or a node that was fenced, answers nothing: the next coordinator
	 * will. */
	if (!request_live(r) || status == -ERR_FENCED || (status && csv_fs_error(coord->cfg.fs))) {
		if (status == 0 && desc && desc->after)
			desc->after(r);
		request_free(r);
		return;
	}
	bool begun = r->reply.data != NULL && status == 0;
	if (!begun) {
		csvp_free(&r->reply);
		csvp_begin(&r->reply, le16_get(r->hdr->op), CSVP_REPLY, status,
			le64_get(r->hdr->xid));
		if (status == 0 && r->desc->reply)
			r->desc->reply(r);
	}
	int err = csvp_finish(&r->reply);
	if (err) {
		log_error("answer to %s of node %u: %s", csvp_op_name(le16_get(r->hdr->op)), r->node,
			err_str(err));
		csvp_free(&r->reply);
		csvp_begin(&r->reply, le16_get(r->hdr->op), CSVP_REPLY, -ENOMEM,
			le64_get(r->hdr->xid));
		err = csvp_finish(&r->reply);
	}
	if (!err) {
		csvp_hdr(&r->reply)->epoch = le64_of(coord->cfg.epoch);
		seen_grant(r, status);
		coord->cfg.send(coord->cfg.arg, r->node, r->reply.data, r->reply.len);
	}
	if (status == 0 && desc->after)
		desc->after(r);
	request_free(r);
}

/* Exactly once: a result that is stored for this slot and sequence is the answer. */
static int run_recorded(struct request *r, struct csv_txn *txn)
{
	struct csv_result res;
	uint32_t slot = r->hdr ? le16_get(r->hdr->slot) : CSVP_NO_SLOT;

	if (slot == CSVP_NO_SLOT)
		return r->run(r, txn);
	/* It outlived its mount, in a section say: its result would replace those of the next one. */
	if (r->coord->sessions[r->node].generation != r->generation)
		return -ERR_STALE;
	uint64_t seq = le64_get(r->hdr->seq);
	int err = csv_result_get(txn, r->node, r->generation, slot, &res);
	if (err)
		return err;
	if (res.seq == seq) {
		if (!r->replayed)
			r->coord->stats.replays++;
		r->replayed = true;
		if (res.op != le16_get(r->hdr->op))
			return -EPROTO;
		err = res.ino ? csv_inode_get(txn, res.ino, &r->attr) : 0;
		if (err == -ESTALE) { /* removed meanwhile: what is left of the answer */
			r->attr = (struct csv_attr){ .ino = res.ino, .mode = (uint32_t)res.aux[0] };
			err = 0;
		}
		r->size = r->attr.size;
		return err;
	}
	if (res.seq > seq)
		return -ERR_STALE;
	err = r->run(r, txn);
	if (err || !r->last_step)
		return err;
	res = (struct csv_result){
		.seq = seq,
		.op = le16_get(r->hdr->op),
		.ino = r->attr.ino,
		.aux = { r->attr.mode },
	};
	return csv_result_put(txn, r->node, r->generation, slot, &res);
}

static int op_run(struct csv_op *op, struct csv_txn *txn)
{
	return run_recorded(container_of(op, struct request, op), txn);
}

static void op_forgotten(struct request *r)
{
	if (r->status == 0 && r->replayed)
		request_finish(r, 0);
	else
		r->step(r, r->status);
}

static void op_done(struct csv_op *op, int status)
{
	struct request *r = container_of(op, struct request, op);

	r->status = status;
	if (status == 0 && op->nr_changed)
		seen_changed(r, op_forgotten);
	else
		op_forgotten(r);
}

/* Runs run as one transaction of the engine, then step(r, status). */
void request_run(struct request *r, int (*run)(struct request *r, struct csv_txn *txn),
	void (*step)(struct request *r, int status))
{
	r->run = run;
	r->step = step;
	r->op = (struct csv_op){ .run = op_run, .done = op_done };
	csv_op_submit(r->coord->cfg.fs, &r->op);
}

static void request_start(struct request *r)
{
	if (r->desc->start)
		r->desc->start(r);
	else
		request_run(r, r->desc->run, request_finish);
}

/* ---- sessions ---- */

/* C6: begins to serve when nobody is awaited any more. */
static void session_check(struct coord *coord)
{
	if (coord->serving || coord->awaited)
		return;
	coord->serving = true;
	coord->cfg.serving(coord->cfg.arg);
	orphan_scan(coord);
	struct list parked = LIST_INIT(parked);
	list_splice_tail(&parked, &coord->parked);
	while (!list_empty(&parked)) {
		struct request *r = list_entry(parked.next, struct request, link);
		list_del(&r->link);
		request_start(r);
	}
}

/* What node has open is known now, or it has nothing: orphans that waited for that are looked at. */
static void told(struct coord *coord, uint32_t node)
{
	bool waited = coord->telling & NODE_BIT(node);

	coord->telling &= ~NODE_BIT(node);
	if (waited && !coord->telling && coord->serving)
		orphan_scan(coord);
}

static void parked_drop(struct coord *coord, uint32_t node)
{
	struct list *pos, *tmp;

	list_for_each_safe (pos, tmp, &coord->parked) {
		struct request *r = list_entry(pos, struct request, link);
		if (r->node == node)
			request_free(r);
	}
}

static int hello(struct coord *coord, struct request *r, struct csvp_in *in)
{
	const struct csvp_hello *body = csvp_get(in, sizeof(*body));
	struct session *s = &coord->sessions[r->node];

	if (!body || le32_get(body->node) != r->node)
		return -EPROTO;
	if (memcmp(body->uuid, coord->cfg.uuid, sizeof(body->uuid))) {
		log_error("node %u speaks of another volume", r->node);
		return -EPROTO;
	}
	if (s->open && s->generation > le64_get(body->generation))
		return -ERR_STALE;
	if (s->open && s->generation != le64_get(body->generation))
		coord_node_gone(coord, r->node, s->generation);
	s->open = true;
	r->hellos = ++s->hellos;
	s->generation = r->generation = le64_get(body->generation);
	parked_drop(coord, r->node); /* it resends them */
	seen_node_gone(coord, r->node); /* it has forgotten everything */
	coord->telling |= NODE_BIT(r->node);
	lock_hello(coord, r->node);
	token_reassert_begin(coord, r->node);
	csvp_begin(&r->reply, CSVP_HELLO, CSVP_REPLY, 0, le64_get(r->hdr->xid));
	struct csvp_hello_reply *reply = csvp_put(&r->reply, sizeof(*reply));
	if (reply) {
		reply->epoch = le64_of(coord->cfg.epoch);
		reply->coord_node = le32_of(coord->cfg.node);
		reply->nr_slots = le32_of(NR_SLOTS);
		reply->recall_ms = le32_of(coord->cfg.recall_ms);
		reply->nr_blks = le64_of(csv_fs_geometry(coord->cfg.fs)->nr_blks);
		reply->needs_blks = le64_of(grow_needs_blks(coord));
	}
	request_finish(r, 0);
	return 0;
}

int claim_refused(struct coord *coord, uint32_t node, uint32_t other, uint64_t ino, const char *what)
{
	/* Both would write. One of them lies, or has missed its own end. */
	uint32_t victim = node == coord->cfg.node ? other : node;

	log_error("inode %llu: node %u says that it holds a %s that node %u has: node %u is evicted",
		(unsigned long long)ino, node, what, other, victim);
	coord->cfg.fence(coord->cfg.arg, victim, "it claims what another node holds");
	return -EPROTO;
}

static int reassert_locks(struct coord *coord, struct request *r, struct csvp_in *in)
{
	int err = lock_reassert(coord, r->node, in);

	if (!err)
		request_finish(r, 0);
	return err;
}

static int reassert_one(struct coord *coord, struct request *r, const struct csvp_reassert *e)
{
	uint32_t mode = le32_get(e->mode), node = r->node;
	uint64_t ino = le64_get(e->ino);
	const struct coord_inode *ci = ci_find(coord, ino);

	if (mode > CSVP_EXCL || le32_get(e->opens) != 1)
		return -EPROTO;
	/* It also tells of what it was about to open, and of directories that it opened without a word. */
	if (ci_may_open(coord, ci, node) && coord->nr_opens[node] >= 2 * coord->cfg.opens_max) {
		log_error("node %u says that it has more than %u files open", node, coord->nr_opens[node]);
		return -EPROTO;
	}
	uint32_t other = ci && !coord->cfg.no_recall ? ci_conflict(ci, node, mode) : 0;
	if (other)
		return claim_refused(coord, node, other, ino, "token");
	int err = ci_attach(r, ino);
	if (err)
		return err;
	ci_set_mode(r->ci, node, mode);
	ci_set_open(coord, r->ci, node, true);
	ci_detach(r);
	return 0;
}

/* A node's tokens and opens, told after it has found a new coordinator. */
static int reassert(struct coord *coord, struct request *r, struct csvp_in *in)
{
	const struct csvp_reassert *e;
	uint32_t node = r->node;

	while ((e = csvp_get(in, sizeof(*e)))) {
		int err = reassert_one(coord, r, e);
		if (err)
			return err;
	}
	bool last = le32_get(r->hdr->flags) & CSVP_LAST;
	int err = last ? lock_reassert_check(coord, node) : 0;
	if (err)
		return err;
	request_finish(r, 0);
	if (last) {
		struct list *pos;
		token_reassert_end(coord, node);
		lock_reassert_end(coord, node);
		list_for_each (pos, &coord->callbacks) { /* the old connection may have lost them */
			struct callback *cb = list_entry(pos, struct callback, link);
			if (cb->node == node)
				callback_transmit(cb);
		}
		coord->awaited &= ~NODE_BIT(node);
		told(coord, node);
		session_check(coord);
	}
	return 0;
}

int coord_message(struct coord *coord, uint32_t node, const void *data, uint32_t len)
{
	struct csvp_in in;
	int err = csvp_open(&in, data, len);

	if (err)
		return err;
	uint32_t op = le16_get(in.hdr->op);
	if (op >= CSVP_OP_LIMIT || node < 1 || node >= NR_NODES)
		return -EPROTO;
	if (op != CSVP_HELLO && le64_get(in.hdr->epoch) != coord->cfg.epoch)
		return -ERR_STALE; /* it means another coordinator */
	if (le32_get(in.hdr->flags) & CSVP_REPLY)
		return callback_reply(coord, node, &in);
	struct session *s = &coord->sessions[node];
	if (op != CSVP_HELLO && !s->open)
		return -ERR_STALE;

	struct request *r = request_alloc(coord, len);
	if (!r)
		return -ENOMEM;
	memcpy(r->data, data, len);
	err = csvp_open(&r->in, r->data, len);
	assert(!err);
	r->hdr = r->in.hdr;
	r->node = node;
	r->generation = s->generation;
	r->hellos = s->hellos;
	r->desc = &coord_ops[op];
	coord->stats.requests[op]++;
	if ((op == CSVP_REASSERT || op == CSVP_REASSERT_LOCKS) && !(coord->telling & NODE_BIT(node))) {
		request_free(r); /* it has told all that it holds on this connection */
		return -EPROTO;
	}
	if (op == CSVP_HELLO || op == CSVP_REASSERT || op == CSVP_REASSERT_LOCKS) {
		err = op == CSVP_HELLO	     ? hello(coord, r, &r->in) :
			op == CSVP_REASSERT ? reassert(coord, r, &r->in) :
					      reassert_locks(coord, r, &r->in);
		if (err)
			request_free(r);
		return err;
	}
	uint32_t slot = le16_get(r->hdr->slot);
	r->body = csvp_get(&r->in, r->desc->body_len);
	if (!r->body || (!r->desc->run && !r->desc->start) ||
		(slot != CSVP_NO_SLOT && (slot >= NR_SLOTS || !r->desc->once))) {
		request_free(r);
		return -EPROTO;
	}
	if (!coord->serving)
		list_add_tail(&coord->parked, &r->link);
	else
		request_start(r);
	return 0;
}

void coord_node_gone(struct coord *coord, uint32_t node, uint64_t generation)
{
	struct session *s = &coord->sessions[node];
	struct list *pos;

	if (s->open && s->generation > generation)
		return; /* it is back already, as another mount */
	s->open = false;
	parked_drop(coord, node);
	for (;;) { /* an end may begin others: start anew after each */
		struct callback *found = NULL;
		list_for_each (pos, &coord->callbacks) {
			struct callback *cb = list_entry(pos, struct callback, link);
			if (cb->node == node) {
				found = cb;
				break;
			}
		}
		if (!found)
			break;
		callback_end(found, NULL);
	}
	seen_node_gone(coord, node);
	lock_node_gone(coord, node);
	token_node_gone(coord, node);
	coord->awaited &= ~NODE_BIT(node);
	told(coord, node);
	session_check(coord);
}

int coord_new(const struct coord_cfg *cfg, uint64_t expected, struct coord **ret_coord)
{
	struct coord *coord = calloc(1, sizeof(*coord));

	if (!coord)
		return -ENOMEM;
	coord->cfg = *cfg;
	if (!coord->cfg.recall_ms)
		coord->cfg.recall_ms = RECALL_MS;
	if (!coord->cfg.opens_max)
		coord->cfg.opens_max = OPENS_MAX;
	coord->loop = bdev_queue_loop(cfg->queue);
	coord->awaited = expected;
	coord->next_xid = cfg->epoch << 32 | 1; /* an answer to an earlier coordinator fits none */
	htab_init(&coord->inodes);
	htab_init(&coord->seen);
	list_init(&coord->seen_lru);
	list_init(&coord->requests);
	list_init(&coord->parked);
	list_init(&coord->callbacks);
	list_init(&coord->spare);
	list_init(&coord->grow.waiters);
	lock_init(coord);
	while (coord->nr_spare < SPARE_CALLBACKS) {
		struct callback *cb = malloc(sizeof(*cb));
		if (!cb) {
			coord_free(coord);
			return -ENOMEM;
		}
		callback_free(coord, cb);
	}
	*ret_coord = coord;
	return 0;
}

void stop_check(struct coord *coord)
{
	void (*done)(void *arg) = coord->stopped;

	if (!done || coord->nr_io)
		return;
	coord->stopped = NULL;
	done(coord->stopped_arg);
}

void coord_stop(struct coord *coord, void (*done)(void *arg), void *arg)
{
	struct list *pos;

	list_for_each (pos, &coord->callbacks) {
		struct callback *cb = list_entry(pos, struct callback, link);
		ev_timer_stop(loop_ev(coord->loop), &cb->timer);
	}
	coord->stopping = true;
	coord->stopped = done;
	coord->stopped_arg = arg;
	stop_check(coord);
}

void coord_free(struct coord *coord)
{
	struct htab_node *n, *tmp;

	if (!coord)
		return;
	while (!list_empty(&coord->callbacks)) {
		struct callback *cb = list_entry(coord->callbacks.next, struct callback, link);
		ev_timer_stop(loop_ev(coord->loop), &cb->timer);
		list_del(&cb->link);
		free(cb);
	}
	while (!list_empty(&coord->spare)) {
		struct callback *cb = list_entry(coord->spare.next, struct callback, link);
		list_del(&cb->link);
		free(cb);
	}
	while (!list_empty(&coord->requests)) {
		struct request *r = list_entry(coord->requests.next, struct request, all);
		r->in_section = false;
		list_del(&r->link);
		list_del(&r->all);
		csvp_free(&r->reply);
		free(r->ext);
		free(r->io_buf);
		free(r);
	}
	htab_for_each_safe (n, tmp, &coord->inodes) {
		struct coord_inode *ci = container_of(n, struct coord_inode, hash);
		htab_remove(&coord->inodes, n);
		lockset_done(&ci->locks);
		free(ci);
	}
	htab_done(&coord->inodes);
	seen_done(coord);
	lock_done(coord);
	free(coord);
}

void coord_stats(const struct coord *coord, struct coord_stats *ret)
{
	*ret = coord->stats;
	ret->nr_inodes = htab_count(&coord->inodes);
	ret->nr_seen = htab_count(&coord->seen);
	ret->awaited = coord->awaited;
	ret->serving = coord->serving;
	ret->nr_sessions = 0;
	ret->nr_locks = ret->nr_lock_waits = 0;
	for (uint32_t node = 1; node < NR_NODES; node++) {
		ret->nr_sessions += coord->sessions[node].open;
		ret->nr_locks += coord->nr_locks[node];
		ret->nr_lock_waits += coord->nr_lock_waits[node];
	}
}
