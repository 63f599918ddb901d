/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Calls to the coordinator (N1).
 *
 * Connection states:
 *   down   -> hello      node_connected: HELLO is sent
 *   hello  -> ready      its answer: tokens are reasserted, outstanding calls resent in order
 *   any    -> down       node_disconnected
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "csvfs/node/node_internal.h"
#include "util/err.h"
#include "util/log.h"

int client_send(struct node *node, struct csvp_msg *msg)
{
	int err = csvp_finish(msg);

	if (err)
		return err;
	csvp_hdr(msg)->epoch = le64_of(node->epoch);
	return node->cfg.send(node->cfg.arg, msg->data, msg->len);
}

static int free_slot(struct node *node)
{
	for (unsigned i = 0; i < NODE_SLOTS; i++)
		if (!node->slot_used[i])
			return (int)i;
	return -1;
}

static void call_transmit(struct node_call *call)
{
	struct node *node = call->node;

	if (!node->ready)
		return; /* sent when it is */
	csvp_hdr(&call->msg)->epoch = le64_of(node->epoch);
	node->cfg.send(node->cfg.arg, call->msg.data, call->msg.len);
	if (call->sent)
		node->stats.resent++;
	call->sent = true;
}

/* The call leaves; its slot goes to the next that waits for one. */
static void call_begin(struct node_call *call);

static void call_end(struct node_call *call, int status, struct csvp_in *reply)
{
	struct node *node = call->node;

	list_del(&call->link);
	htab_remove(&node->by_xid, &call->hash);
	if (call->slot >= 0) {
		node->slot_used[call->slot] = false;
		if (!list_empty(&node->waiting)) {
			struct node_call *next = list_entry(node->waiting.next, struct node_call, link);
			list_del(&next->link);
			call_begin(next);
		}
	}
	csvp_free(&call->msg);
	call->done(call, status, reply);
}

static void call_begin(struct node_call *call)
{
	struct node *node = call->node;
	struct csvp_hdr *hdr = csvp_hdr(&call->msg);

	call->slot = -1;
	if (call->modifies) {
		int slot = free_slot(node);
		if (slot < 0) {
			list_add_tail(&node->waiting, &call->link);
			return;
		}
		call->slot = slot;
		node->slot_used[slot] = true;
		hdr->slot = le16_of((uint16_t)slot);
		hdr->seq = le64_of(++node->slot_seq[slot]);
	}
	call->xid = node->next_xid++;
	hdr->xid = le64_of(call->xid);
	call->sent = false;
	call->sent_ns = clock_mono_ns();
	list_add_tail(&node->calls, &call->link);
	htab_insert(&node->by_xid, call->xid, &call->hash);
	node->stats.calls[le16_get(hdr->op)]++;
	call_transmit(call);
}

static void call_start(struct loop_work *work)
{
	struct node_call *call = container_of(work, struct node_call, work);
	int err = csvp_finish(&call->msg);

	if (!err)
		err = atomic_load(&call->node->failed);
	if (err) {
		csvp_free(&call->msg);
		call->done(call, err, NULL);
		return;
	}
	call_begin(call);
}

void client_call(struct node *node, struct node_call *call)
{
	call->node = node;
	call_start(&call->work);
}

void node_call(struct node *node, struct node_call *call)
{
	call->node = node;
	call->work.fn = call_start;
	loop_post(node->cfg.loop, &call->work);
}

/* ---- connection ---- */

void node_connected(struct node *node, uint64_t epoch)
{
	struct csvp_msg msg;

	node->connected = true;
	node->ready = node->looking = false;
	node->epoch = epoch;
	node->stats.reconnects++;
	csvp_begin(&msg, CSVP_HELLO, 0, 0, 0);
	struct csvp_hello *hello = csvp_put(&msg, sizeof(*hello));
	if (hello) {
		memcpy(hello->uuid, node->cfg.uuid, sizeof(hello->uuid));
		hello->node = le32_of(node->id);
		hello->generation = le64_of(node->generation);
	}
	if (client_send(node, &msg))
		log_warn("hello to the coordinator was not sent");
	csvp_free(&msg);
}

void node_disconnected(struct node *node)
{
	node->connected = node->ready = node->looking = false;
}

static void forget_all(struct node *node)
{
	meta_clear(&node->meta);
	if (node->cfg.forgotten)
		node->cfg.forgotten(node->cfg.arg, 0);
}

static uint64_t seen_bytes(const struct node *node)
{
	return bdev_geom(node->cfg.bdev).size_bytes;
}

/* Tells what this node holds, and begins to serve. */
static int begin(struct node *node)
{
	struct list *pos, *tmp;

	forget_all(node); /* the coordinator counts on nothing of it any more */
	int err = locks_reassert(node);
	if (!err)
		err = inodes_reassert(node);
	if (err)
		return err;
	node->ready = true;
	list_for_each_safe (pos, tmp, &node->calls)
		call_transmit(list_entry(pos, struct node_call, link));
	return 0;
}

/* The node sees less of the device than the volume has, or is about to have: a last look. */
static void blind(struct node *node)
{
	log_error("this node sees %llu bytes of the device, and the volume needs %llu",
		(unsigned long long)seen_bytes(node),
		(unsigned long long)node->needs_blks * NODE_BLK);
	if (node->cfg.blind)
		node->cfg.blind(node->cfg.arg, node->needs_blks * NODE_BLK, seen_bytes(node));
}

static int hello_answered(struct node *node, struct csvp_in *in)
{
	const struct csvp_hello_reply *reply = csvp_get(in, sizeof(*reply));

	if (!reply || le64_get(reply->needs_blks) > INT64_MAX / NODE_BLK)
		return -EPROTO;
	node->epoch = le64_get(reply->epoch);
	node->needs_blks = le64_get(reply->needs_blks);
	if (node->cfg.resized)
		node->cfg.resized(node->cfg.arg, le64_get(reply->nr_blks));
	if (seen_bytes(node) / NODE_BLK >= node->needs_blks)
		return begin(node);
	node->looking = true;
	if (node->cfg.measure)
		node->cfg.measure(node->cfg.arg, 0);
	else
		node_measured(node, 0);
	return 0;
}

static void measured_for_hello(struct node *node)
{
	if (!node->looking)
		return; /* the connection is another one by now */
	node->looking = false;
	if (seen_bytes(node) / NODE_BLK < node->needs_blks)
		blind(node);
	else if (begin(node))
		log_warn("what this node holds could not be told to the coordinator");
}

void node_measured(struct node *node, uint64_t cookie)
{
	struct csvp_msg msg;

	if (!cookie) {
		measured_for_hello(node);
		return;
	}
	csvp_begin(&msg, CSVP_MEASURE, CSVP_REPLY, 0, cookie);
	struct csvp_recall_reply *reply = csvp_put(&msg, sizeof(*reply));
	if (reply)
		reply->size_bytes = le64_of(seen_bytes(node));
	if (client_send(node, &msg)) /* asked again, after the next HELLO */
		log_debug("the device's size was not told");
	csvp_free(&msg);
}

int node_message(struct node *node, const void *data, uint32_t len)
{
	struct csvp_in in;
	int err = csvp_open(&in, data, len);

	if (err)
		return err;
	unsigned op = le16_get(in.hdr->op);
	if (!(le32_get(in.hdr->flags) & CSVP_REPLY)) {
		const struct csvp_recall *body = csvp_get(&in, sizeof(*body));
		uint32_t mode = body ? le32_get(body->mode) : CSVP_EXCL;
		if (op == CSVP_RECALL && mode < CSVP_EXCL)
			inode_recall(node, in.hdr, le64_get(body->ino), mode);
		else if (op == CSVP_REFRESH && body)
			inode_refresh(node, in.hdr, le64_get(body->ino));
		else if (op == CSVP_FORGET && body)
			inode_forget(node, in.hdr, le64_get(body->ino));
		else if (op == CSVP_TIMES && body)
			inode_times(node, in.hdr, le64_get(body->ino));
		else if (op == CSVP_MEASURE && body && le64_get(in.hdr->xid) && node->cfg.measure)
			node->cfg.measure(node->cfg.arg, le64_get(in.hdr->xid));
		else if (op == CSVP_MEASURE && body)
			node_measured(node, le64_get(in.hdr->xid));
		else if (op == CSVP_RESIZED && body && node->cfg.resized)
			node->cfg.resized(node->cfg.arg, le64_get(body->ino));
		else if (op == CSVP_RESIZED && body)
			return 0;
		else
			return -EPROTO;
		return 0;
	}
	int status = csvp_status(in.hdr);
	if (status > 0)
		return -EPROTO;
	if (op == CSVP_HELLO)
		return status ? status : hello_answered(node, &in);
	if (op == CSVP_REASSERT || op == CSVP_REASSERT_LOCKS)
		return status;
	struct htab_node *n = htab_find(&node->by_xid, le64_get(in.hdr->xid));
	if (!n)
		return 0; /* the answer to a first sending, the second one was faster */
	struct node_call *call = container_of(n, struct node_call, hash);
	if (op != le16_get(csvp_hdr(&call->msg)->op))
		return -EPROTO;
	meta_learn(&node->meta, &call->msg, status, in);
	call_end(call, status, status ? NULL : &in);
	return 0;
}

void node_fail(struct node *node, int err)
{
	atomic_store(&node->failed, err);
	node->ready = false;
	forget_all(node);
	while (!list_empty(&node->waiting)) {
		struct node_call *call = list_entry(node->waiting.next, struct node_call, link);
		list_del(&call->link);
		csvp_free(&call->msg);
		call->done(call, err, NULL);
	}
	while (!list_empty(&node->calls))
		call_end(list_entry(node->calls.next, struct node_call, link), err, NULL);
	inodes_fail(node);
}

int node_new(const struct node_cfg *cfg, struct node **ret_node)
{
	struct node *node = calloc(1, sizeof(*node));
	struct bdev_geom geom = bdev_geom(cfg->bdev);

	if (!node)
		return -ENOMEM;
	node->cfg = *cfg;
	node->block_bytes = geom.block_bytes;
	node->global_flush = geom.caps & BDEV_GLOBAL_FLUSH;
	pthread_mutex_init(&node->table_lock, NULL);
	htab_init(&node->inodes);
	htab_init(&node->by_xid);
	meta_init(&node->meta);
	list_init(&node->calls);
	list_init(&node->waiting);
	node->next_xid = 1;
	*ret_node = node;
	return 0;
}

void node_identity(struct node *node, uint32_t id, uint64_t generation)
{
	node->id = id;
	node->generation = generation;
}

void node_free(struct node *node)
{
	if (!node)
		return;
	assert(list_empty(&node->calls) && list_empty(&node->waiting));
	htab_done(&node->by_xid);
	meta_done(&node->meta);
	htab_done(&node->inodes);
	pthread_mutex_destroy(&node->table_lock);
	free(node);
}

bool node_meta_getattr(struct node *node, uint64_t ino, struct csvp_attr *ret)
{
	return meta_getattr(&node->meta, ino, ret);
}

bool node_meta_lookup(struct node *node, uint64_t dir, const char *name, struct csvp_attr *ret,
	int *ret_status)
{
	return meta_lookup(&node->meta, dir, name, (uint32_t)strlen(name), ret, ret_status);
}

bool node_meta_readdir(struct node *node, uint64_t dir, uint64_t after, uint8_t **ret,
	uint32_t *ret_len)
{
	return meta_readdir(&node->meta, dir, after, ret, ret_len);
}

void node_stats(struct node *node, struct node_stats *ret)
{
	*ret = node->stats;
	for (int i = 0; i < 2; i++) {
		ret->io_ops[i] = atomic_load(&node->io_ops[i]);
		ret->io_bytes[i] = atomic_load(&node->io_bytes[i]);
	}
	pthread_mutex_lock(&node->table_lock);
	ret->nr_inodes = htab_count(&node->inodes);
	pthread_mutex_unlock(&node->table_lock);
	pthread_mutex_lock(&node->meta.lock);
	ret->meta_hits = node->meta.hits;
	ret->meta_bytes = node->meta.bytes;
	pthread_mutex_unlock(&node->meta.lock);
	ret->outstanding = htab_count(&node->by_xid);
	ret->connected = node->ready;
	ret->epoch = node->epoch;
	ret->waiting_ns = 0;
	struct list *pos;
	list_for_each (pos, &node->calls) {
		const struct node_call *call = list_entry(pos, struct node_call, link);
		if (call->patient)
			continue;
		ret->waiting_ns = clock_mono_ns() - call->sent_ns;
		break;
	}
}
