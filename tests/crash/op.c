/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Operations: from a node's call to the model's step. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "csvfs/core/core_internal.h"
#include "tests/crash/hooks.h"
#include "tests/crash/sim.h"
#include "tests/unit/test.h"
#include "util/checked.h"

/* ---- ends ---- */

/* The file whose bytes it changes. */
static struct model_file *op_file(const struct op *op)
{
	return model_file(&op->sim->model, op->kind == OP_CLONE ? op->new_ino : op->ino);
}

static struct hist *op_hist(const struct op *op, uint32_t i)
{
	return &op_file(op)->hist[op->hist[i]];
}

static void ack_add(struct sim *sim, uint64_t order)
{
	if (sim->nr_acks + 1 >= sim->max_acks) {
		sim->max_acks = sim->max_acks * 2 + 256;
		sim->acks = reallocarray(sim->acks, sim->max_acks, sizeof(*sim->acks));
		CHECK(sim->acks);
	}
	sim->acks[++sim->nr_acks] = (struct ack){ .ev = sim_events(sim), .order = order };
}

static void synced_add(struct sim *sim, uint64_t ack_nr, bool bytes)
{
	if (sim->nr_syncs == sim->max_syncs) {
		sim->max_syncs = sim->max_syncs * 2 + 64;
		sim->syncs = reallocarray(sim->syncs, sim->max_syncs, sizeof(*sim->syncs));
		CHECK(sim->syncs);
	}
	sim->syncs[sim->nr_syncs++] = (struct synced){ .ev = sim_events(sim), .ack_nr = ack_nr,
		.bytes = bytes };
}

static struct handle *handle_of(struct peer *p, uint64_t ino)
{
	for (uint32_t i = 0; i < p->nr_handles; i++)
		if (p->handles[i].ino == ino)
			return &p->handles[i];
	return NULL;
}

static void handle_drop(struct peer *p, struct handle *h)
{
	node_close(p->node, h->ni);
	*h = p->handles[--p->nr_handles];
}

static bool is_io(const struct op *op)
{
	return op->kind == OP_WRITE || op->kind == OP_APPEND;
}

static struct step op_step(const struct op *op)
{
	static const enum step_kind kinds[NR_OP_KINDS] = {
		[OP_CREATE] = STEP_CREATE, [OP_MKDIR] = STEP_CREATE, [OP_SYMLINK] = STEP_CREATE,
		[OP_FIFO] = STEP_CREATE, [OP_LINK] = STEP_LINK, [OP_UNLINK] = STEP_UNLINK,
		[OP_RMDIR] = STEP_RMDIR, [OP_RENAME] = STEP_RENAME, [OP_CHMOD] = STEP_MODE,
		[OP_TRUNC] = STEP_SIZE, [OP_XATTR] = STEP_XATTR, [OP_NOXATTR] = STEP_NOXATTR,
		[OP_PROJECT] = STEP_PROJECT, [OP_LIMIT] = STEP_LIMIT,
	};

	return (struct step){ .kind = kinds[op->kind], .dir = op->dir, .new_dir = op->new_dir,
		.ino = op->ino, .size = op->size, .limit = op->len, .mode = op->mode, .flags = op->flags,
		.name = (char *)op->name, .new_name = (char *)op->new_name,
		.target = (char *)op->new_name };
}

/* Notes whether the model would refuse it now. */
static void try_now(struct sim *sim, struct op *op)
{
	struct step s = op_step(op);

	if (op->kind == OP_CLONE) /* where it cannot be done is the engine's to say */
		op->refusable = true;
	else if (is_io(op) || (op->kind >= OP_PUNCH && op->kind <= OP_ALLOC))
		op->refusable |= !model_inode(&sim->model, op->ino);
	else
		op->refusable |= model_try(&sim->model, &s) != 0;
}

void ops_try(struct sim *sim)
{
	struct list *pos;

	list_for_each (pos, &sim->running)
		try_now(sim, list_entry(pos, struct op, link));
}

/* A refusal is right if the model would have refused it at some time while it was under way. (With
 * which error is a matter of order, when more than one thing is wrong.) */
static void check_refusal(struct sim *sim, struct op *op, int status)
{
	if (!op->refusable && status != -ENOSPC && status != -EDQUOT)
		sim_complain(sim, "operation %d (%s, %s, inode %" PRIu64 ") was refused: %s", op->kind,
			op->name, op->new_name, op->ino, err_str(status));
}

static void op_acked(struct op *op, int status)
{
	struct sim *sim = op->sim;
	struct handle *h = is_io(op) ? handle_of(&sim->peers[op->node], op->ino) : NULL;

	CHECK(!op->done);
	op->done = true;
	if (op->dead)
		return;
	op->status = status;
	if (h)
		h->busy--;
	if (status == 0 && is_io(op) && !op->order)
		op->order = model_mark(&sim->model);
	if (status == 0 && (op->kind == OP_SYNC || op->kind == OP_FSYNC))
		synced_add(sim, op->ack_nr, op->kind == OP_FSYNC);
	else if (status == 0 && !op->order && op->kind != OP_SYNC && op->kind != OP_FSYNC)
		sim_complain(sim, "operation %d (%s) succeeded and has changed nothing", op->kind,
			op->name);
	if (status) {
		sim->nr_refused++;
		check_refusal(sim, op, status);
	}
	ack_add(sim, status ? 0 : op->order);
	for (uint32_t i = 0; i < op->nr_hist && status == 0; i++) {
		struct hist *x = op_hist(op, i);

		x->order = op->order;
		x->ack_ev = sim_events(sim);
		x->ack_nr = sim->nr_acks;
	}
	list_del(&op->link);
	sim->nr_running--;
	free(op->buf);
	free(op);
}

/* The answer of a CREATE, also to a resend, tells of the inode that was made. */
static void check_answer(struct op *op, struct csvp_in *reply)
{
	const struct csvp_attr *attr = csvp_get(reply, sizeof(*attr));

	if (!attr || le64_get(attr->ino) != op->made)
		sim_complain(op->sim, "the answer to operation %d (%s) is of another inode", op->kind,
			op->name);
}

void op_die(struct op *op)
{
	struct sim *sim = op->sim;
	struct node_call *call = is_io(op) ? &op->io.call : &op->call;

	op->dead = true;
	op->dead_slot = -1;
	if (call->msg.data && le16_get(csvp_hdr(&call->msg)->slot) != CSVP_NO_SLOT) {
		op->dead_slot = call->slot;
		op->dead_seq = le64_get(csvp_hdr(&call->msg)->seq);
	}
	list_del(&op->link);
	list_add_tail(&sim->dead, &op->link);
	sim->nr_running--;
	/* What it has written in place stands there from now on at the latest. */
	uint64_t order = op->order ? op->order : model_mark(&sim->model);
	for (uint32_t i = 0; i < op->nr_hist; i++)
		if (op_hist(op, i)->kind == HIST_WRITE)
			op_hist(op, i)->order = order;
}

static void call_done(struct node_call *call, int status, struct csvp_in *reply)
{
	struct op *op = container_of(call, struct op, call);

	if (status == 0 && op->kind <= OP_FIFO)
		check_answer(op, reply);
	op_acked(op, status);
}

static void io_done(struct node_io *io, int status, uint32_t nr_bytes, uint32_t skip_bytes)
{
	op_acked(container_of(io, struct op, io), status);
}

static void sync_done(struct node_sync *sync, int status)
{
	op_acked(container_of(sync, struct op, sync), status);
}

/* ---- messages ---- */

static void put_name(struct op *op, enum csvp_op what, uint64_t arg)
{
	struct csvp_msg *msg = &op->call.msg;

	csvp_begin(msg, what, 0, 0, 0);
	struct csvp_name *b = csvp_put(msg, sizeof(*b));
	*b = (struct csvp_name){ .dir = le64_of(op->dir), .arg = le64_of(arg),
		.now_ns = le64_of(9), .name_len = le32_of((uint32_t)strlen(op->name)) };
	csvp_put_bytes(msg, op->name, (uint32_t)strlen(op->name));
}

static void put_create(struct op *op)
{
	static const uint32_t types[] = { [OP_CREATE] = S_IFREG, [OP_MKDIR] = S_IFDIR,
		[OP_SYMLINK] = S_IFLNK, [OP_FIFO] = S_IFIFO };
	struct csvp_msg *msg = &op->call.msg;
	uint32_t target = op->kind == OP_SYMLINK ? (uint32_t)strlen(op->new_name) : 0;

	op->mode = types[op->kind] | 0640;
	csvp_begin(msg, CSVP_CREATE, 0, 0, 0);
	struct csvp_create *b = csvp_put(msg, sizeof(*b));
	*b = (struct csvp_create){ .dir = le64_of(op->dir), .mode = le32_of(op->mode),
		.now_ns = le64_of(8), .name_len = le32_of((uint32_t)strlen(op->name)),
		.target_len = le32_of(target) };
	csvp_put_bytes(msg, op->name, (uint32_t)strlen(op->name));
	csvp_put_bytes(msg, op->new_name, target);
}

static void put_rename(struct op *op)
{
	struct csvp_msg *msg = &op->call.msg;

	csvp_begin(msg, CSVP_RENAME, 0, 0, 0);
	struct csvp_rename *b = csvp_put(msg, sizeof(*b));
	*b = (struct csvp_rename){ .dir = le64_of(op->dir), .new_dir = le64_of(op->new_dir),
		.now_ns = le64_of(7), .flags = le32_of(op->flags),
		.name_len = le32_of((uint32_t)strlen(op->name)),
		.new_name_len = le32_of((uint32_t)strlen(op->new_name)) };
	csvp_put_bytes(msg, op->name, (uint32_t)strlen(op->name));
	csvp_put_bytes(msg, op->new_name, (uint32_t)strlen(op->new_name));
}

static void put_setattr(struct op *op)
{
	struct csvp_msg *msg = &op->call.msg;

	csvp_begin(msg, CSVP_SETATTR, 0, 0, 0);
	struct csvp_setattr *b = csvp_put(msg, sizeof(*b));
	*b = (struct csvp_setattr){ .ino = le64_of(op->ino),
		.mask = le32_of((op->kind == OP_TRUNC ? CSV_SET_SIZE : CSV_SET_MODE) | CSV_SET_CTIME),
		.mode = le32_of(op->mode), .size = le64_of(op->size), .ctime_ns = le64_of(6) };
}

/* XATTR: len bytes that size tells apart; from then on size is their hash. */
static void put_xattr(struct op *op)
{
	struct csvp_msg *msg = &op->call.msg;
	uint32_t len = op->kind == OP_XATTR ? (uint32_t)op->len : 0;
	uint8_t *value = malloc(len + 1);

	CHECK(value);
	for (uint32_t i = 0; i < len; i++)
		value[i] = (uint8_t)((op->size + 1) * (i + 7) >> 3);
	op->size = digest_value(value, len);
	csvp_begin(msg, len || op->kind == OP_XATTR ? CSVP_SETXATTR : CSVP_REMOVEXATTR, 0, 0, 0);
	struct csvp_xattr *b = csvp_put(msg, sizeof(*b));
	*b = (struct csvp_xattr){ .ino = le64_of(op->ino), .now_ns = le64_of(4),
		.name_len = le32_of((uint32_t)strlen(op->name)), .value_len = le32_of(len),
		.flags = le32_of(op->flags) };
	csvp_put_bytes(msg, op->name, (uint32_t)strlen(op->name));
	csvp_put_bytes(msg, value, len);
	free(value);
}

static void put_fallocate(struct op *op)
{
	static const uint32_t modes[] = { [OP_PUNCH] = CSVP_FALLOC_PUNCH | CSVP_FALLOC_KEEP_SIZE,
		[OP_ZERO] = CSVP_FALLOC_ZERO, [OP_ALLOC] = 0 };
	struct csvp_msg *msg = &op->call.msg;

	csvp_begin(msg, CSVP_FALLOCATE, 0, 0, 0);
	struct csvp_fallocate *b = csvp_put(msg, sizeof(*b));
	*b = (struct csvp_fallocate){ .ino = le64_of(op->ino), .off_bytes = le64_of(op->off),
		.len_bytes = le64_of(op->len), .now_ns = le64_of(5),
		.mode = le32_of(modes[op->kind] | op->flags) };
}

static void put_project(struct op *op)
{
	struct csvp_msg *msg = &op->call.msg;

	csvp_begin(msg, CSVP_PROJECT_SET, 0, 0, 0);
	struct csvp_project *b = csvp_put(msg, sizeof(*b));
	*b = (struct csvp_project){ .ino = le64_of(op->ino), .now_ns = le64_of(2),
		.projid = le32_of((uint32_t)op->size), .limit_blks = le64_of(op->len),
		.flags = le32_of(op->flags ? CSVP_PROJECT_INHERIT : 0) };
}

static void put_clone(struct op *op)
{
	struct csvp_msg *msg = &op->call.msg;

	csvp_begin(msg, CSVP_CLONE, 0, 0, 0);
	struct csvp_clone *b = csvp_put(msg, sizeof(*b));
	*b = (struct csvp_clone){ .src = le64_of(op->ino), .dst = le64_of(op->new_ino),
		.len_bytes = le64_of(INT64_MAX), .now_ns = le64_of(3) };
}

static void put_call(struct op *op)
{
	switch (op->kind) {
	case OP_LINK:
		put_name(op, CSVP_LINK, op->ino);
		break;
	case OP_UNLINK:
	case OP_RMDIR:
		put_name(op, CSVP_UNLINK, op->kind == OP_RMDIR);
		break;
	case OP_RENAME:
		put_rename(op);
		break;
	case OP_CHMOD:
	case OP_TRUNC:
		put_setattr(op);
		break;
	case OP_XATTR:
	case OP_NOXATTR:
		put_xattr(op);
		break;
	case OP_PUNCH:
	case OP_ZERO:
	case OP_ALLOC:
		put_fallocate(op);
		break;
	case OP_PROJECT:
	case OP_LIMIT:
		put_project(op);
		break;
	case OP_CLONE:
		put_clone(op);
		break;
	case OP_SYNC:
		csvp_begin(&op->call.msg, CSVP_SYNC, 0, 0, 0);
		break;
	default:
		put_create(op);
	}
}

/* ---- histories ---- */

static void hist_add(struct op *op, enum hist_kind kind, uint64_t from, uint64_t end, uint32_t version,
	uint32_t keep)
{
	struct hist h = { .kind = kind, .from = (uint32_t)from, .nr = (uint32_t)(end - from),
		.version = version, .keep = keep, .src = op->ino, .order = NEVER, .begun_ev = sim_events(op->sim),
		.ack_ev = NEVER, .ack_nr = NEVER };

	if (from < end)
		op->hist[op->nr_hist++] = model_hist(op_file(op), &h);
}

#define BLK_SECTORS (BLK / SECTOR)

/* Whole blocks are given back, the rest is zeroed in place. */
static void hist_punch(struct op *op)
{
	uint64_t from = op->off / SECTOR, end = (op->off + op->len) / SECTOR;
	uint64_t blk_from = ALIGN_UP(from, BLK_SECTORS), blk_end = ALIGN_DOWN(end, BLK_SECTORS);

	if (blk_from >= blk_end) {
		hist_add(op, HIST_WRITE, from, end, 0, 0);
		return;
	}
	hist_add(op, HIST_WRITE, from, blk_from, 0, 0);
	hist_add(op, HIST_PUNCH, blk_from, blk_end, 0, 0);
	hist_add(op, HIST_WRITE, blk_end, end, 0, 0);
}

static void hist_trunc(struct op *op)
{
	uint64_t from = op->size / SECTOR, blk_end = ALIGN_UP(op->size, BLK) / SECTOR;

	hist_add(op, HIST_CUT, from, blk_end, 0, op->size % SECTOR);
	hist_add(op, HIST_PUNCH, blk_end, UINT32_MAX, 0, 0);
}

static void hist_write(struct op *op)
{
	uint64_t from = op->off / SECTOR, end = (op->off + op->len) / SECTOR;
	uint32_t version = ++op->sim->version;

	op->buf = aligned_alloc(BLK, ALIGN_UP(op->len, BLK));
	CHECK(op->buf);
	for (uint64_t s = from; s < end; s++)
		pattern_fill(op->ino, s, version, (uint64_t *)op->buf + (s - from) * 64);
	hist_add(op, HIST_WRITE, from, end, version, 0);
}

/* ---- beginning ---- */

static void io_begin_op(struct op *op)
{
	struct peer *p = &op->sim->peers[op->node];

	op->io = (struct node_io){
		.op = NODE_WRITE,
		.worker = &p->worker,
		.ni = handle_of(p, op->ino)->ni,
		.off_bytes = op->off,
		.len_bytes = (uint32_t)op->len,
		.buf = op->buf,
		.append = op->kind == OP_APPEND,
		.done = io_done,
	};
	node_io_submit(&op->io);
}

static void opened(struct node_call *call, int status, struct csvp_in *reply)
{
	struct op *op = container_of(call, struct op, call);
	struct peer *p = &op->sim->peers[op->node];
	struct handle *h = handle_of(p, op->ino);

	h->opening = false;
	if (status == 0) {
		io_begin_op(op);
		return;
	}
	uint64_t ino = op->ino;
	bool dead = op->dead;
	op_acked(op, status);
	if (dead)
		return;
	handle_drop(p, handle_of(p, ino));
}

static void begin_io(struct op *op)
{
	struct peer *p = &op->sim->peers[op->node];
	struct handle *h = handle_of(p, op->ino);
	bool first;

	if (h) {
		h->busy++;
		io_begin_op(op);
		return;
	}
	h = &p->handles[p->nr_handles++];
	*h = (struct handle){ .ino = op->ino, .busy = 1 };
	h->ni = node_open(p->node, op->ino, &first);
	CHECK(h->ni);
	if (!first) { /* it was being closed */
		io_begin_op(op);
		return;
	}
	h->opening = true;
	csvp_begin(&op->call.msg, CSVP_OPEN, 0, 0, 0);
	struct csvp_ino *b = csvp_put(&op->call.msg, sizeof(*b));
	b->ino = le64_of(op->ino);
	op->call.modifies = false;
	op->call.done = opened;
	node_call(p->node, &op->call);
}

static void begin(struct op *op)
{
	struct peer *p = &op->sim->peers[op->node];

	if (is_io(op)) {
		hist_write(op);
		begin_io(op);
	} else if (op->kind == OP_FSYNC) {
		op->sync.done = sync_done;
		node_sync(&p->worker, &op->sync);
	} else {
		if (op->kind == OP_PUNCH || op->kind == OP_ZERO)
			hist_punch(op);
		else if (op->kind == OP_TRUNC)
			hist_trunc(op);
		else if (op->kind == OP_CLONE)
			hist_add(op, HIST_CLONE, 0, UINT32_MAX, 0, 0);
		put_call(op);
		op->call.modifies = op->kind != OP_SYNC;
		op->call.done = call_done;
		node_call(p->node, &op->call);
	}
}

static bool may_begin(struct sim *sim, const struct op *op)
{
	struct peer *p = &sim->peers[op->node];
	struct handle *h = handle_of(p, op->ino);

	if (op->kind == OP_CLOSE) {
		if (h && !h->busy)
			handle_drop(p, h);
		return false;
	}
	if (!is_io(op))
		return true;
	return h ? !h->opening : p->nr_handles < MAX_HANDLES;
}

bool sim_submit(struct sim *sim, const struct op *what)
{
	struct op *op;

	if (!may_begin(sim, what))
		return false;
	op = malloc(sizeof(*op));
	CHECK(op);
	*op = *what;
	op->sim = sim;
	op->refusable = false;
	try_now(sim, op);
	op->ack_nr = sim->nr_acks;
	op->order = 0;
	op->made = 0;
	op->nr_hist = 0;
	op->buf = NULL;
	op->done = op->dead = false;
	op->generation = sim->peers[op->node].generation;
	list_add_tail(&sim->running, &op->link);
	sim->nr_running++;
	begin(op);
	return true;
}

bool sim_busy(const struct sim *sim, uint64_t ino)
{
	struct list *pos;

	list_for_each (pos, &sim->running)
		if (list_entry(pos, struct op, link)->ino == ino)
			return true;
	return false;
}

/* ---- what the engine committed ---- */

static struct op *op_of_slot(struct sim *sim, const struct seen_txn *t)
{
	struct list *pos;

	list_for_each (pos, &sim->dead) {
		struct op *op = list_entry(pos, struct op, link);

		if (op->node == t->node && op->generation == t->generation &&
			op->dead_slot == (int)t->slot && op->dead_seq == t->result.seq)
			return op;
	}
	if (t->generation != sim->peers[t->node].generation)
		return NULL;

	list_for_each (pos, &sim->running) {
		struct op *op = list_entry(pos, struct op, link);
		struct node_call *call = is_io(op) ? &op->io.call : &op->call;

		if (op->node == t->node && call->msg.data && call->slot == (int)t->slot &&
			le64_get(csvp_hdr(&call->msg)->seq) == t->result.seq &&
			le16_get(csvp_hdr(&call->msg)->slot) == t->slot)
			return op;
	}
	return NULL;
}

static struct op *find_commit(struct list *ops, const struct seen_txn *t)
{
	struct list *pos;

	list_for_each (pos, ops) {
		struct op *op = list_entry(pos, struct op, link);

		if (!is_io(op) || op->ino != t->ino)
			continue;
		if (t->nr_written && t->blk[0] * BLK < op->off + op->len &&
			op->off < (t->blk[0] + t->nr[0]) * BLK)
			return op;
		if (!t->nr_written && op->off + op->len == t->size)
			return op;
	}
	return NULL;
}

/* The write whose COMMIT this is. */
static struct op *op_of_commit(struct sim *sim, const struct seen_txn *t)
{
	struct op *op = find_commit(&sim->running, t);

	return op ? op : find_commit(&sim->dead, t);
}

static void step_take(struct sim *sim, struct op *op, struct step *s)
{
	int err;
	uint64_t order = model_step(&sim->model, s, &err);

	if (err)
		sim_complain(sim, "operation %d (%s, %s) was carried out, which must end with: %s",
			op ? (int)op->kind : -1, s->name ? s->name : "",
			s->new_name ? s->new_name : "", err_str(err));
	ops_try(sim);
	if (!op)
		return;
	/* A write in its place may be done again, when the answer to its COMMIT was lost. */
	if (op->order && !sim->model.steps[op->order].gone && op->kind != OP_WRITE)
		sim_complain(sim, "operation %d (%s) was carried out twice", op->kind, op->name);
	op->order = order;
	for (uint32_t i = 0; i < op->nr_hist; i++)
		op_hist(op, i)->order = order;
}

/* The blocks whose bytes the step promises; a hist entry is one op's, so all of it or nothing. */
static void commit_promises(struct op *op, const struct seen_txn *t)
{
	uint64_t nr = 0;

	for (uint32_t i = 0; i < t->nr_written; i++)
		nr += t->nr[i];
	if (op->nr_hist && op->off % BLK == 0 && op->len == nr * BLK)
		op_hist(op, 0)->committed = true;
}

static void committed_commit(struct sim *sim, const struct seen_txn *t, uint64_t seq)
{
	struct op *op = op_of_commit(sim, t);
	struct step s = { .kind = STEP_NONE, .ino = t->ino, .size = t->size, .log_seq = seq };
	struct model_inode *i = model_inode(&sim->model, t->ino);

	if (!op) {
		if (t->mask & CSV_SET_SIZE)
			sim_complain(sim, "inode %" PRIu64 " became %" PRIu64 " long, for nobody",
				t->ino, t->size);
		return;
	}
	if ((t->mask & CSV_SET_SIZE) && i) { /* or it is an orphan */
		s.kind = STEP_SIZE;
		if (t->size <= i->size)
			sim_complain(sim, "a write made inode %" PRIu64 " shorter", t->ino);
	}
	step_take(sim, op, &s);
	commit_promises(op, t);
}

/* One of several steps of a truncation. */
static void committed_size(struct sim *sim, const struct seen_txn *t, uint64_t seq)
{
	struct step s = { .kind = STEP_SIZE, .ino = t->ino, .size = t->size, .log_seq = seq };
	struct model_inode *i = model_inode(&sim->model, t->ino);
	struct list *pos;

	if (!i)
		return;
	for (int dead = 0; dead < 2; dead++) {
		list_for_each (pos, dead ? &sim->dead : &sim->running) {
			struct op *op = list_entry(pos, struct op, link);

			if (op->kind == OP_TRUNC && op->ino == t->ino && op->size <= t->size &&
				t->size <= i->size) {
				step_take(sim, NULL, &s);
				return;
			}
		}
	}
	sim_complain(sim, "inode %" PRIu64 " became %" PRIu64 " long", t->ino, t->size);
}

static void committed_put(struct sim *sim, const struct seen_txn *t, uint64_t seq)
{
	struct op *op = op_of_slot(sim, t);

	if (!op) {
		sim_complain(sim, "a result was recorded that nobody asked for");
		return;
	}
	struct step s = op_step(op);
	struct model_inode *i = model_inode(&sim->model, op->ino);
	s.slot_node = t->node;
	s.slot = t->slot;
	s.slot_seq = t->result.seq;
	s.slot_generation = t->generation;
	if (t->generation < sim->model.generations[t->node])
		sim_complain(sim, "a result of an earlier mount replaced those of this one");
	s.log_seq = seq;
	if (s.kind == STEP_CREATE)
		s.ino = op->made = t->result.ino;
	if ((t->mask & CSV_SET_SIZE) && op->kind != OP_TRUNC) { /* fallocate */
		s.kind = STEP_SIZE;
		s.size = op->off + op->len;
		if (t->size != s.size)
			sim_complain(sim, "fallocate made inode %" PRIu64 " %" PRIu64 " long",
				op->ino, t->size);
	}
	if (op->kind == OP_CLONE && i) {
		i = model_inode(&sim->model, op->new_ino);
		s.kind = STEP_SIZE;
		s.size = model_inode(&sim->model, op->ino)->size;
		s.ino = op->new_ino;
	}
	if (is_io(op) && i) {
		s.kind = STEP_SIZE;
		s.size = MAX(i->size, op->off + op->len);
		op_hist(op, 0)->inlined = true;
	}
	if (s.kind != STEP_CREATE && s.ino && !i) /* an orphan that is open */
		s.kind = STEP_NONE;
	s.name = strdup(op->name);
	s.new_name = s.target = strdup(op->new_name);
	step_take(sim, op, &s);
}

void sim_committed(void *arg, const struct seen_txn *t, uint64_t seq)
{
	struct sim *sim = arg;

	if (t->fs != sim->fs)
		return;
	if (t->put)
		committed_put(sim, t, seq);
	else if (t->set && (t->mask & CSV_SET_MTIME_MAX) &&
		((t->mask & CSV_SET_SIZE) || t->nr_written))
		committed_commit(sim, t, seq);
	else if (t->set && (t->mask & CSV_SET_SIZE))
		committed_size(sim, t, seq);
}
