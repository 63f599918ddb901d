/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A coordinator on a real engine on memory; the test is its nodes: what it sends them is kept. */
#ifndef TESTS_UNIT_COORD_TEST_H
#define TESTS_UNIT_COORD_TEST_H

#include <sys/stat.h>

#include "csvfs/coord/coord.h"
#include "csvfs/proto/proto.h"
#include "tests/unit/core_engine.h"

#define NODES 4u
#define GENERATION 1000u

/* A message that the coordinator has sent. */
struct sent {
	struct sent *next;
	uint32_t node, len;
	uint8_t data[];
};

struct env {
	struct engine e;
	struct coord *coord;
	struct sent *first, **last;
	uint64_t generation[NODES + 1];
	uint64_t times_ns[NODES + 1]; /* what each answers to TIMES */
	uint64_t xid;
	uint64_t evicted; /* mask of nodes that were to be fenced */
	unsigned served;
	uint32_t recall_ms, seen_max, opens_max;
	bool hold_forgets; /* nodes do not answer FORGET by themselves */
};

static inline void env_send(void *arg, uint32_t node, const void *data, uint32_t len)
{
	struct env *v = arg;
	struct sent *s = malloc(sizeof(*s) + len);

	CHECK(s);
	s->next = NULL;
	s->node = node;
	s->len = len;
	memcpy(s->data, data, len);
	*v->last = s;
	v->last = &s->next;
}

static inline void env_fence(void *arg, uint32_t node, const char *why)
{
	struct env *v = arg;

	v->evicted |= 1ull << node;
}

static inline void env_serving(void *arg)
{
	((struct env *)arg)->served++;
}

static inline void env_forget(struct env *v)
{
	while (v->first) {
		struct sent *s = v->first;
		v->first = s->next;
		free(s);
	}
	v->last = &v->first;
}

/* ---- what a node sends ---- */

static inline void msg_begin(struct env *v, struct csvp_msg *msg, enum csvp_op op)
{
	csvp_begin(msg, op, 0, 0, ++v->xid);
	csvp_hdr(msg)->epoch = le64_of(v->e.epoch);
}

static inline int msg_post(struct env *v, uint32_t node, struct csvp_msg *msg)
{
	CHECK_OK(csvp_finish(msg));
	csvp_hdr(msg)->epoch = le64_of(v->e.epoch); /* it may be a resend */
	return coord_message(v->coord, node, msg->data, msg->len);
}

/* The first message kept that is an answer to xid (reply) or a callback of op; taken out. NULL: none. */
static inline struct sent *sent_take(struct env *v, uint32_t node, bool reply, uint64_t xid,
	enum csvp_op op)
{
	for (struct sent **at = &v->first; *at; at = &(*at)->next) {
		struct sent *s = *at;
		struct csvp_in in;
		CHECK_OK(csvp_open(&in, s->data, s->len));
		if (s->node != node || !!(le32_get(in.hdr->flags) & CSVP_REPLY) != reply)
			continue;
		if (reply ? le64_get(in.hdr->xid) != xid : le16_get(in.hdr->op) != op)
			continue;
		*at = s->next;
		if (v->last == &s->next)
			v->last = at;
		return s;
	}
	return NULL;
}

static inline void recall_answer(struct env *v, uint32_t node, enum csvp_op op, uint64_t xid,
	uint64_t wrote_ns)
{
	struct csvp_msg msg;

	csvp_begin(&msg, op, CSVP_REPLY, 0, xid);
	struct csvp_recall_reply *b = csvp_put(&msg, sizeof(*b));
	CHECK(b);
	b->wrote_ns = le64_of(wrote_ns);
	CHECK_OK(msg_post(v, node, &msg));
	csvp_free(&msg);
}

static inline uint64_t sent_xid(const struct sent *s)
{
	return le64_get(((const struct csvp_hdr *)s->data)->xid);
}

/* Nodes answer what is asked of times, what times_ns says; and forget, unless they are to hold that. */
static inline void times_answer(struct env *v)
{
	for (uint32_t node = 1; node <= NODES; node++) {
		struct sent *s;
		while (!v->hold_forgets && (s = sent_take(v, node, false, 0, CSVP_FORGET))) {
			if (sent_xid(s))
				recall_answer(v, node, CSVP_FORGET, sent_xid(s), 0);
			free(s);
		}
		while ((s = sent_take(v, node, false, 0, CSVP_TIMES))) {
			recall_answer(v, node, CSVP_TIMES,
				le64_get(((struct csvp_hdr *)s->data)->xid), v->times_ns[node]);
			free(s);
		}
	}
}

/* Waits for the answer to xid. *ret_reply (may be NULL) is the caller's to free. */
static inline int msg_wait(struct env *v, uint32_t node, uint64_t xid, struct sent **ret_reply)
{
	struct sent *s = NULL;
	struct csvp_in in;

	RUN_UNTIL(&v->e, (times_answer(v), s = sent_take(v, node, true, xid, 0)) != NULL);
	CHECK_OK(csvp_open(&in, s->data, s->len));
	int status = csvp_status(in.hdr);
	if (ret_reply)
		*ret_reply = s;
	else
		free(s);
	return status;
}

/* Sends and waits; msg is freed. */
static inline int msg_call(struct env *v, uint32_t node, struct csvp_msg *msg,
	struct sent **ret_reply)
{
	uint64_t xid = le64_get(csvp_hdr(msg)->xid);

	CHECK_OK(msg_post(v, node, msg));
	csvp_free(msg);
	return msg_wait(v, node, xid, ret_reply);
}

/* What the coordinator has to do by itself is done, as far as that shows. */
static inline void env_settle(struct env *v)
{
	struct csvp_msg msg;

	for (int i = 0; i < 20; i++) {
		msg_begin(v, &msg, CSVP_STATFS);
		CHECK_OK(msg_call(v, 1, &msg, NULL));
	}
}

static inline int node_hello(struct env *v, uint32_t node)
{
	struct csvp_msg msg;

	msg_begin(v, &msg, CSVP_HELLO);
	struct csvp_hello *h = csvp_put(&msg, sizeof(*h));
	CHECK(h);
	memcpy(h->uuid, csv_fs_geometry(v->e.fs)->uuid, sizeof(h->uuid));
	h->node = le32_of(node);
	h->generation = le64_of(v->generation[node]);
	uint64_t xid = v->xid;
	int err = msg_post(v, node, &msg);
	csvp_free(&msg);
	return err ? err : msg_wait(v, node, xid, NULL);
}

/* nr pairs of inode and mode, all of them open. */
static inline void node_reassert(struct env *v, uint32_t node, unsigned nr, const uint64_t *pairs)
{
	struct csvp_msg msg;

	msg_begin(v, &msg, CSVP_REASSERT);
	csvp_hdr(&msg)->flags = le32_of(CSVP_LAST);
	for (unsigned i = 0; i < nr; i++) {
		struct csvp_reassert *r = csvp_put(&msg, sizeof(*r));
		CHECK(r);
		*r = (struct csvp_reassert){ le64_of(pairs[2 * i]),
			le32_of((uint32_t)pairs[2 * i + 1]), le32_of(1) };
	}
	CHECK_OK(msg_call(v, node, &msg, NULL));
}

/* ---- start and end ---- */

static inline void env_coord(struct env *v, uint64_t expected)
{
	struct coord_cfg cfg = {
		.fs = v->e.fs,
		.queue = v->e.queue,
		.epoch = v->e.epoch,
		.node = 1,
		.recall_ms = v->recall_ms ? v->recall_ms : 60000,
		.seen_max = v->seen_max,
		.opens_max = v->opens_max,
		.send = env_send,
		.fence = env_fence,
		.serving = env_serving,
		.arg = v,
	};

	memcpy(cfg.uuid, csv_fs_geometry(v->e.fs)->uuid, sizeof(cfg.uuid));
	v->served = 0;
	CHECK_OK(coord_new(&cfg, expected, &v->coord));
}

static inline void env_stopped(void *arg)
{
	*(bool *)arg = true;
}

static inline void env_stop(struct env *v)
{
	bool stopped = false;

	coord_stop(v->coord, env_stopped, &stopped);
	RUN_UNTIL(&v->e, stopped);
	CHECK_OK(engine_close(&v->e));
	coord_free(v->coord);
	v->coord = NULL;
	env_forget(v);
}

/* Another coordinator takes over; answers that were not taken are lost. */
static inline void env_restart(struct env *v, uint64_t expected)
{
	env_stop(v);
	engine_open(&v->e, 0);
	env_coord(v, expected);
}

/* Each node is there with nothing in its hands. */
static inline void env_nodes(struct env *v)
{
	for (uint32_t node = 1; node <= NODES; node++) {
		CHECK_OK(node_hello(v, node));
		node_reassert(v, node, 0, NULL);
	}
	CHECK_EQ(v->served, 1);
}

#define ALL ((1ull << NODES) - 1)

static inline void env_start_on(struct env *v, const char *uri)
{
	memset(v, 0, sizeof(*v));
	v->last = &v->first;
	for (uint32_t node = 1; node <= NODES; node++)
		v->generation[node] = GENERATION + node;
	engine_device(&v->e, uri, true, 0, 0);
	engine_open(&v->e, 0);
	env_coord(v, ALL);
	env_nodes(v);
}

static inline void env_start(struct env *v)
{
	env_start_on(v, "ram:64M");
}

static inline void env_complain(void *arg, const char *text)
{
	fprintf(stderr, "%s\n", text);
}

/* Ends, and looks at what is on the volume. */
static inline void env_end(struct env *v)
{
	struct csv_check_report report;

	env_stop(v);
	engine_open(&v->e, 0);
	CHECK_OK(csv_check(v->e.fs, env_complain, NULL, &report));
	CHECK_EQ(report.errors, 0);
	CHECK_OK(engine_close(&v->e));
	engine_done(&v->e);
}

/* ---- requests ---- */

static inline void put_slot(struct csvp_msg *msg, uint16_t slot, uint64_t seq)
{
	csvp_hdr(msg)->slot = le16_of(slot);
	csvp_hdr(msg)->seq = le64_of(seq);
}

static inline void build_create(struct env *v, struct csvp_msg *msg, uint64_t dir, const char *name,
	uint32_t mode, const char *target, bool open)
{
	msg_begin(v, msg, CSVP_CREATE);
	struct csvp_create *b = csvp_put(msg, sizeof(*b));
	CHECK(b);
	b->dir = le64_of(dir);
	b->mode = le32_of(mode);
	b->open = le32_of(open);
	b->now_ns = le64_of(5);
	b->name_len = le32_of((uint32_t)strlen(name));
	b->target_len = le32_of((uint32_t)strlen(target));
	csvp_put_bytes(msg, name, (uint32_t)strlen(name));
	csvp_put_bytes(msg, target, (uint32_t)strlen(target));
}

/* LOOKUP, LINK, UNLINK */
static inline void build_name(struct env *v, struct csvp_msg *msg, enum csvp_op op, uint64_t dir,
	uint64_t arg, const char *name)
{
	msg_begin(v, msg, op);
	struct csvp_name *b = csvp_put(msg, sizeof(*b));
	CHECK(b);
	b->dir = le64_of(dir);
	b->arg = le64_of(arg);
	b->now_ns = le64_of(6);
	b->name_len = le32_of((uint32_t)strlen(name));
	csvp_put_bytes(msg, name, (uint32_t)strlen(name));
}

static inline void build_rename(struct env *v, struct csvp_msg *msg, const char *name,
	const char *new_name)
{
	msg_begin(v, msg, CSVP_RENAME);
	struct csvp_rename *b = csvp_put(msg, sizeof(*b));
	CHECK(b);
	b->dir = b->new_dir = le64_of(1);
	b->now_ns = le64_of(7);
	b->name_len = le32_of((uint32_t)strlen(name));
	b->new_name_len = le32_of((uint32_t)strlen(new_name));
	csvp_put_bytes(msg, name, (uint32_t)strlen(name));
	csvp_put_bytes(msg, new_name, (uint32_t)strlen(new_name));
}

static inline void build_setattr(struct env *v, struct csvp_msg *msg, uint64_t ino, uint32_t mask,
	uint64_t size, uint64_t mtime_ns)
{
	msg_begin(v, msg, CSVP_SETATTR);
	struct csvp_setattr *b = csvp_put(msg, sizeof(*b));
	CHECK(b);
	b->ino = le64_of(ino);
	b->mask = le32_of(mask);
	b->mode = le32_of(0600);
	b->size = le64_of(size);
	b->mtime_ns = b->ctime_ns = le64_of(mtime_ns);
}

static inline void build_fallocate(struct env *v, struct csvp_msg *msg, uint64_t ino, uint64_t off,
	uint64_t len, uint32_t mode)
{
	msg_begin(v, msg, CSVP_FALLOCATE);
	struct csvp_fallocate *b = csvp_put(msg, sizeof(*b));
	CHECK(b);
	*b = (struct csvp_fallocate){ .ino = le64_of(ino), .off_bytes = le64_of(off),
		.len_bytes = le64_of(len), .now_ns = le64_of(9), .mode = le32_of(mode) };
}

static inline void build_inline(struct env *v, struct csvp_msg *msg, uint64_t ino, uint64_t off,
	const char *text, bool append)
{
	msg_begin(v, msg, CSVP_WRITE_INLINE);
	struct csvp_write_inline *b = csvp_put(msg, sizeof(*b));
	CHECK(b);
	*b = (struct csvp_write_inline){ le64_of(ino), le64_of(off), le64_of(8),
		le32_of((uint32_t)strlen(text)), le32_of(append) };
	csvp_put_bytes(msg, text, (uint32_t)strlen(text));
}

static inline void build_layout(struct env *v, struct csvp_msg *msg, uint64_t ino, uint64_t blk,
	uint64_t nr, enum csvp_mode mode, uint32_t flags)
{
	msg_begin(v, msg, CSVP_LAYOUT);
	struct csvp_layout *b = csvp_put(msg, sizeof(*b));
	CHECK(b);
	*b = (struct csvp_layout){ le64_of(ino), le64_of(blk), le64_of(nr), le32_of(mode),
		le32_of(flags) };
}

static inline void build_commit(struct env *v, struct csvp_msg *msg, uint64_t ino, uint64_t size,
	uint64_t blk, uint64_t nr)
{
	msg_begin(v, msg, CSVP_COMMIT);
	struct csvp_commit *b = csvp_put(msg, sizeof(*b));
	CHECK(b);
	*b = (struct csvp_commit){ le64_of(ino), le64_of(size), le64_of(0), le32_of(nr ? 1 : 0),
		le32_of(0) };
	struct csvp_range range = { le64_of(blk), le64_of(nr) };
	csvp_put_bytes(msg, &range, nr ? sizeof(range) : 0);
}

static inline int do_open(struct env *v, uint32_t node, uint64_t ino)
{
	struct csvp_msg msg;
	msg_begin(v, &msg, CSVP_OPEN);
	struct csvp_ino *b = csvp_put(&msg, sizeof(*b));
	CHECK(b);
	b->ino = le64_of(ino);
	return msg_call(v, node, &msg, NULL);
}

static inline int do_close(struct env *v, uint32_t node, uint64_t ino)
{
	struct csvp_msg msg;
	msg_begin(v, &msg, CSVP_CLOSE);
	struct csvp_close *b = csvp_put(&msg, sizeof(*b));
	CHECK(b);
	b->ino = le64_of(ino);
	return msg_call(v, node, &msg, NULL);
}

/* The answer's attributes. */
static inline struct csv_attr attr_of(const struct sent *s)
{
	struct csvp_in in;
	struct csv_attr attr;

	CHECK_OK(csvp_open(&in, s->data, s->len));
	const struct csvp_attr *wire = csvp_get(&in, sizeof(*wire));
	CHECK(wire);
	csvp_get_attr(&attr, wire);
	return attr;
}

/* Sends and frees msg; *ret_attr is what was answered. */
static inline int call_attr(struct env *v, uint32_t node, struct csvp_msg *msg,
	struct csv_attr *ret_attr)
{
	struct sent *s;
	int status = msg_call(v, node, msg, &s);

	if (!status)
		*ret_attr = attr_of(s);
	free(s);
	return status;
}

static inline int do_getattr(struct env *v, uint32_t node, uint64_t ino, uint64_t wrote_ns,
	struct csv_attr *ret_attr)
{
	struct csvp_msg msg;
	msg_begin(v, &msg, CSVP_GETATTR);
	struct csvp_getattr *b = csvp_put(&msg, sizeof(*b));
	CHECK(b);
	*b = (struct csvp_getattr){ .ino = le64_of(ino), .wrote_ns = le64_of(wrote_ns) };
	return call_attr(v, node, &msg, ret_attr);
}

static inline uint64_t do_create(struct env *v, uint32_t node, const char *name, bool open)
{
	struct csvp_msg msg;
	struct csv_attr attr;

	build_create(v, &msg, 1, name, S_IFREG | 0644, "", open);
	CHECK_OK(call_attr(v, node, &msg, &attr));
	return attr.ino;
}

static inline int do_unlink(struct env *v, uint32_t node, const char *name)
{
	struct csvp_msg msg;

	build_name(v, &msg, CSVP_UNLINK, 1, 0, name);
	return msg_call(v, node, &msg, NULL);
}

/* Mode that a LAYOUT was granted; negative: refused. *ret (may be NULL) is the size. */
static inline int layout_mode(const struct sent *s, uint64_t *ret_size)
{
	struct csvp_in in;

	CHECK_OK(csvp_open(&in, s->data, s->len));
	if (csvp_status(in.hdr))
		return csvp_status(in.hdr);
	const struct csvp_layout_reply *r = csvp_get(&in, sizeof(*r));
	CHECK(r);
	if (ret_size)
		*ret_size = le64_get(r->size);
	return (int)le32_get(r->mode);
}

static inline int do_layout(struct env *v, uint32_t node, uint64_t ino, uint64_t blk, uint64_t nr,
	enum csvp_mode mode, uint32_t flags)
{
	struct csvp_msg msg;
	struct sent *s;

	build_layout(v, &msg, ino, blk, nr, mode, flags);
	(void)msg_call(v, node, &msg, &s);
	int got = layout_mode(s, NULL);
	free(s);
	return got;
}

/* Waits for a recall of ino at node; returns its xid and *ret_mode. */
static inline uint64_t recall_wait(struct env *v, uint32_t node, uint64_t ino,
	enum csvp_mode *ret_mode)
{
	struct sent *s = NULL;
	struct csvp_in in;

	RUN_UNTIL(&v->e, (s = sent_take(v, node, false, 0, CSVP_RECALL)) != NULL);
	CHECK_OK(csvp_open(&in, s->data, s->len));
	uint64_t xid = le64_get(in.hdr->xid);
	const struct csvp_recall *r = csvp_get(&in, sizeof(*r));
	CHECK(r);
	CHECK_EQ(le64_get(r->ino), ino);
	*ret_mode = le32_get(r->mode);
	free(s);
	return xid;
}

static inline bool was_recalled(struct env *v, uint32_t node)
{
	struct sent *s = sent_take(v, node, false, 0, CSVP_RECALL);

	free(s);
	return s != NULL;
}

static inline uint64_t size_of(struct env *v, uint64_t ino)
{
	struct csv_attr a = { 0 };

	CHECK_OK(do_getattr(v, 1, ino, 0, &a));
	return a.size;
}

static inline bool exists(struct env *v, uint64_t ino)
{
	struct csv_attr a = { 0 };
	int err = do_getattr(v, 1, ino, 0, &a);

	CHECK(!err || err == -ESTALE);
	return !err;
}

#endif
