/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A hostile coordinator: a node on a real device has calls, I/O and locks under way and gets answers and
 * callbacks that no coordinator of ours sends.
 *
 *	steps: what (1), inode or index (1), then by what; see step()
 *
 * An answer with AGAIN among its flags has its bytes 256 times.
 */
#include <unistd.h>

#include "csvfs/node/node_internal.h"
#include "tests/fuzz/volume.h"

const char *const fuzz_words[] = { NULL };

enum { CALL, OPEN, CLOSE, READ, WRITE, LOCK, CANCEL, ANSWER, CALLBACK, RAW, CUT, KEPT, SYNC, NR_STEPS };

#define MAX_STEPS 60
#define MAX_SENT 256u
#define MAX_OPEN 8u
#define EPOCH 9u
#define AGAIN 0x80u /* no flag of a message */

static struct fuzz_volume clean, dirty;
static struct loop *loop;

struct sent_call {
	uint16_t op;
	uint64_t xid;
};

struct open_file {
	struct node_inode *ni;
	uint32_t busy;
	bool closed; /* when nothing is under way any more */
};

static struct world {
	struct engine e;
	struct node *node;
	struct node_worker worker;
	struct sent_call sent[MAX_SENT];
	uint32_t nr_sent;
	struct open_file files[MAX_OPEN];
	uint32_t busy; /* calls, I/O and locks under way */
	struct node_lock *locks[8];
} *w;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_volumes_make(&clean, &dirty);
	CHECK_OK(loop_new(&loop));
	return 0;
}

/* ---- inputs to begin with ---- */

static void put_answer(struct fuzz_out *out, unsigned index, unsigned flags, const void *body, size_t len)
{
	fuzz_put(out, ANSWER, 1);
	fuzz_put(out, index, 1);
	fuzz_put(out, 0, 1); /* status */
	fuzz_put(out, flags, 1);
	fuzz_put(out, len, 2);
	fuzz_put_bytes(out, body, len);
}

static void put_hello(struct fuzz_out *out)
{
	struct csvp_hello_reply h = { le64_of(EPOCH), le32_of(2), le32_of(62), le32_of(10000) };

	put_answer(out, 0, 0, &h, sizeof(h));
}

static void seed_names(struct fuzz_out *out)
{
	struct { struct csvp_dirent ent; char name[8]; } list[2] = {
		{ { .attr = { .ino = le64_of(3) }, .cookie = le64_of(256), .name_len = le32_of(5),
			.type = le32_of(CSVP_DIRENT_KEEP | 8) }, "fuzzy" },
		{ { .attr = { .ino = le64_of(4) }, .cookie = le64_of(257), .name_len = le32_of(8),
			.type = le32_of(8) }, { 'f', 'u', 'z', 'z', 'i', 'e', 's', 't' } } };
	struct csvp_attr a = { .ino = le64_of(4), .mode = le32_of(0100644), .size = le64_of(1 << 20) };

	put_hello(out);
	fuzz_put(out, CALL | CSVP_LOOKUP << 8 | 4 << 16, 3);
	put_answer(out, 1, CSVP_KEEP_ATTR | CSVP_KEEP_NAMES, &a, sizeof(a));
	fuzz_put(out, CALL | CSVP_GETATTR << 8 | 3 << 16, 3);
	put_answer(out, 1, CSVP_KEEP_ATTR, &a, sizeof(a));
	fuzz_put(out, CALL | CSVP_READDIR << 8 | 2 << 16, 3);
	put_answer(out, 1, CSVP_KEEP_ATTR | CSVP_KEEP_NAMES, list, sizeof(list));
	fuzz_put(out, KEPT | 2 << 8, 2);
	fuzz_put(out, KEPT | 4 << 8, 2);
	fuzz_put(out, CALL | CSVP_READDIR << 8 | 3 << 16, 3); /* as long as a listing is */
	put_answer(out, 1, CSVP_KEEP_ATTR | CSVP_KEEP_NAMES | AGAIN, list, sizeof(list));
	fuzz_put(out, KEPT | 3 << 8, 2);
}

static void put_io(struct fuzz_out *out, unsigned what, unsigned file, uint64_t off, uint64_t len)
{
	fuzz_put(out, what | file << 8, 2);
	fuzz_put(out, off, 5);
	fuzz_put(out, len, 3);
}

static void seed_data(struct fuzz_out *out, bool is_inline)
{
	struct { struct csvp_layout_reply r; struct csvp_extent x[3]; } l = {
		{ le64_of(1 << 20), le32_of(CSVP_EXCL), le32_of(3) },
		{ { le64_of(0), le64_of(16), le64_of(5000), le32_of(CSV_WRITTEN) },
			{ le64_of(16), le64_of(16), le64_of(5016), le32_of(CSV_UNWRITTEN) },
			{ le64_of(32), le64_of(224), le64_of(0), le32_of(CSV_HOLE) } } };
	struct { struct csvp_layout_reply r; char data[100]; } in = {
		{ le64_of(100), le32_of(CSVP_READ), le32_of(0), le32_of(100), le32_of(1) }, "inline" };
	struct csvp_size size = { le64_of(1 << 20) };

	put_hello(out);
	fuzz_put(out, OPEN | 5 << 8, 2);
	put_io(out, READ, 0, 0, 100000);
	if (is_inline)
		put_answer(out, 1, 0, &in, sizeof(in));
	else
		put_answer(out, 1, 0, &l, sizeof(l));
	put_io(out, WRITE, 0, 65536, 65536);
	put_answer(out, 1, 0, &l, sizeof(l));
	put_answer(out, 1, 0, &size, sizeof(size));
	put_io(out, WRITE, 0, 5, 20);
	put_answer(out, 1, 0, &size, sizeof(size));
	put_answer(out, 1, 0, &l, sizeof(l));
	fuzz_put(out, CALLBACK | 5 << 8, 2);
	fuzz_put(out, CSVP_RECALL | CSVP_NONE << 8, 2);
	fuzz_put(out, CLOSE | 0 << 8, 2);
}

static void seed_locks(struct fuzz_out *out)
{
	put_hello(out);
	fuzz_put(out, OPEN | 5 << 8, 2);
	fuzz_put(out, LOCK | 0 << 8 | 0x12ull << 16 | 0x4000ull << 24, 6);
	put_answer(out, 1, 0, "", 0);
	fuzz_put(out, LOCK | 0 << 8 | 0x21ull << 16 | 0x9010ull << 24, 6);
	fuzz_put(out, CANCEL | 1 << 8, 2);
	fuzz_put(out, CUT, 2);
	put_hello(out);
	put_answer(out, 1, 0, "", 0);
	fuzz_put(out, SYNC, 2);
	fuzz_put(out, CALLBACK | 5 << 8, 2);
	fuzz_put(out, CSVP_TIMES | CSVP_NONE << 8, 2);
}

void fuzz_seeds(void (*add)(const void *data, size_t len))
{
	struct fuzz_out out[4] = { 0 };

	seed_names(&out[0]);
	seed_data(&out[1], false);
	seed_data(&out[2], true);
	seed_locks(&out[3]);
	for (int i = 0; i < 4; i++)
		add(out[i].data, out[i].len);
}

/* ---- the node's side ---- */

static int on_send(void *arg, const void *data, uint32_t len)
{
	const struct csvp_hdr *hdr = data;

	if (len < sizeof(*hdr) || le32_get(hdr->len) != len)
		fuzz_fail("the node sends what is no message");
	if (!(le32_get(hdr->flags) & CSVP_REPLY) && w->nr_sent < MAX_SENT)
		w->sent[w->nr_sent++] = (struct sent_call){ le16_get(hdr->op), le64_get(hdr->xid) };
	return 0;
}

struct pending {
	struct node_call call;
	struct node_io io;
	struct node_sync sync;
	struct open_file *file;
	uint8_t *buf;
};

static void pending_end(struct pending *p)
{
	if (p->file)
		p->file->busy--;
	w->busy--;
	free(p->buf);
	free(p);
}

static struct pending *pending_new(struct open_file *file)
{
	struct pending *p = calloc(1, sizeof(*p));

	CHECK(p);
	p->file = file;
	if (file)
		file->busy++;
	w->busy++;
	return p;
}

static void call_done(struct node_call *call, int status, struct csvp_in *reply)
{
	pending_end(container_of(call, struct pending, call));
}

static void io_done(struct node_io *io, int status, uint32_t nr_bytes, uint32_t skip_bytes)
{
	struct pending *p = container_of(io, struct pending, io);
	uint8_t sum = 0;

	if (!status && nr_bytes > io->len_bytes)
		fuzz_fail("more bytes than were asked for");
	for (uint32_t i = 0; !status && io->op == NODE_READ && i < nr_bytes; i += 512)
		sum ^= p->buf[skip_bytes + i];
	(void)*(volatile uint8_t *)&sum;
	pending_end(p);
}

static void sync_done(struct node_sync *sync, int status)
{
	pending_end(container_of(sync, struct pending, sync));
}

static void lock_done(struct node_lock *l, int status)
{
	for (size_t i = 0; i < ARRAY_SIZE(w->locks); i++)
		if (w->locks[i] == l)
			w->locks[i] = NULL;
	((struct open_file *)l->file)->busy--;
	w->busy--;
	node_lock_free(l);
}

static void turns(int nr)
{
	while (nr-- > 0)
		loop_run_once(loop, false);
	for (size_t i = 0; i < MAX_OPEN; i++) {
		struct open_file *f = &w->files[i];
		if (f->closed && !f->busy) {
			node_close(w->node, f->ni);
			*f = (struct open_file){ 0 };
		}
	}
}

/* A request whose struct begins with an inode. */
static void step_call(unsigned op, uint64_t ino)
{
	static const uint32_t lens[CSVP_OP_LIMIT] = { [CSVP_LOOKUP] = sizeof(struct csvp_name),
		[CSVP_READDIR] = sizeof(struct csvp_readdir), [CSVP_GETATTR] = sizeof(struct csvp_getattr) };
	struct pending *p = pending_new(NULL);

	op = op % CSVP_RECALL ? op % CSVP_RECALL : CSVP_LOOKUP;
	csvp_begin(&p->call.msg, (enum csvp_op)op, 0, 0, 0);
	struct csvp_ino *b = csvp_put(&p->call.msg, MAX(lens[op], 8u));
	CHECK(b);
	b->ino = le64_of(ino);
	if (op == CSVP_LOOKUP) {
		((struct csvp_name *)b)->name_len = le32_of(5);
		csvp_put_bytes(&p->call.msg, "fuzzy", 5);
	}
	p->call.modifies = op == CSVP_CREATE || op == CSVP_SETATTR;
	p->call.done = call_done;
	node_call(w->node, &p->call);
}

static void step_open(uint64_t ino)
{
	bool first;

	for (size_t i = 0; i < MAX_OPEN; i++) {
		if (w->files[i].ni)
			continue;
		w->files[i].ni = node_open(w->node, ino, &first);
		CHECK(w->files[i].ni);
		return;
	}
}

static struct open_file *file_of(unsigned index)
{
	struct open_file *f = &w->files[index % MAX_OPEN];

	return f->ni && !f->closed ? f : NULL;
}

static void step_io(enum node_io_op op, unsigned index, struct fuzz_in *in)
{
	struct open_file *f = file_of(index);
	uint64_t off = fuzz_num(in, 5), len = fuzz_num(in, 3);

	if (!f)
		return;
	struct pending *p = pending_new(f);
	p->io = (struct node_io){ .op = op, .worker = &w->worker, .ni = f->ni,
		.off_bytes = off & 1ull << 39 ? off : off % (2 << 20), .len_bytes = len % (200 << 10),
		.append = op == NODE_WRITE && off % 7 == 0, .drop_priv = off % 5 == 0, .done = io_done };
	p->buf = aligned_alloc(4096, ALIGN_UP(p->io.len_bytes + 8192u, 4096u));
	CHECK(p->buf);
	memset(p->buf, 'w', p->io.len_bytes);
	p->io.buf = p->buf;
	node_io_submit(&p->io);
}

static void step_lock(unsigned index, struct fuzz_in *in)
{
	struct open_file *f = file_of(index);
	unsigned how = (unsigned)fuzz_num(in, 1);
	uint64_t range = fuzz_num(in, 3);
	size_t at = 0;

	while (at < ARRAY_SIZE(w->locks) && w->locks[at])
		at++;
	if (!f || at == ARRAY_SIZE(w->locks))
		return;
	struct node_lock *l = calloc(1, sizeof(*l));
	CHECK(l);
	*l = (struct node_lock){ .node = w->node, .ni = f->ni, .file = f, .wait = how & 0x80, .done = lock_done,
		.lock = { .kind = how >> 6 & 1, .type = (how & 3) % 3, .owner = how >> 4 & 3, .pid = 5,
			.start = range & 0xff, .end = range >> 8 & 0x3f ? range >> 8 : CSVP_LOCK_END } };
	if (l->lock.end < l->lock.start || l->lock.kind == CSVP_LOCK_FLOCK) {
		l->lock.start = 0;
		l->lock.end = CSVP_LOCK_END;
	}
	if (node_lock(l)) {
		free(l);
		return;
	}
	w->locks[at] = l;
	w->busy++;
	f->busy++;
}

/* ---- the coordinator's side ---- */

static void deliver(const void *data, size_t len)
{
	uint8_t *exact = malloc(len ? len : 1);

	CHECK(exact);
	memcpy(exact, data, len);
	int err = node_message(w->node, exact, (uint32_t)len);
	free(exact);
	if (err > 0)
		fuzz_fail("node_message() answers a positive number");
	if (err) { /* as on a new channel */
		node_disconnected(w->node);
		node_connected(w->node, EPOCH);
	}
}

/* An answer to the index-th newest request. */
static void step_answer(unsigned index, struct fuzz_in *in)
{
	static const int statuses[] = { 0, -ENOENT, -ESTALE, -EEXIST, -ERR_STALE, -EFBIG, -EAGAIN, -ENOSPC, 5 };
	unsigned status = (unsigned)fuzz_num(in, 1), flags = (unsigned)fuzz_num(in, 1);
	size_t len;
	const uint8_t *body = fuzz_bytes(in, fuzz_num(in, 2), &len);
	struct csvp_msg msg;

	if (!w->nr_sent)
		return;
	struct sent_call *s = &w->sent[w->nr_sent - 1 - (index > 0 ? index - 1u : 0u) % w->nr_sent];
	csvp_begin(&msg, s->op, (flags & ~1u) | CSVP_REPLY, statuses[status % ARRAY_SIZE(statuses)], s->xid);
	for (int n = 0; n < (flags & AGAIN ? 256 : 1) && msg.len + len <= CSVP_MAX_BYTES; n++)
		csvp_put_bytes(&msg, body, (uint32_t)len);
	CHECK_OK(csvp_finish(&msg));
	deliver(msg.data, msg.len);
	csvp_free(&msg);
}

static void step_callback(uint64_t ino, struct fuzz_in *in)
{
	unsigned op = (unsigned)fuzz_num(in, 1), mode = (unsigned)fuzz_num(in, 1);
	struct csvp_msg msg;

	csvp_begin(&msg, (enum csvp_op)op, 0, 0, mode >> 4);
	struct csvp_recall *b = csvp_put(&msg, sizeof(*b));
	CHECK(b);
	b->ino = le64_of(ino);
	b->mode = le32_of(mode & 15);
	CHECK_OK(csvp_finish(&msg));
	deliver(msg.data, msg.len);
	csvp_free(&msg);
}

static void step_kept(uint64_t ino)
{
	struct csvp_attr a;
	uint8_t *listing;
	uint32_t len;
	int status;

	(void)node_meta_getattr(w->node, ino, &a);
	(void)node_meta_lookup(w->node, ino, "fuzzy", &a, &status);
	if (!node_meta_readdir(w->node, ino, 0, &listing, &len))
		return;
	/* what is kept can be told to the kernel: each entry is whole */
	struct csvp_in in = { .pos = listing, .end = listing + len };
	const struct csvp_dirent *ent;
	while ((ent = csvp_get(&in, sizeof(*ent))))
		if (le32_get(ent->name_len) > CSV_NAME_MAX ||
			!csvp_get(&in, ALIGN_UP((uint64_t)le32_get(ent->name_len), 8u)))
			fuzz_fail("a listing that makes no sense is kept");
	free(listing);
}

static void step(struct fuzz_in *in)
{
	unsigned what = (unsigned)fuzz_num(in, 1) % NR_STEPS, arg = (unsigned)fuzz_num(in, 1);
	const uint8_t *bytes;
	size_t len;

	if (what == CALL)
		step_call(arg, fuzz_num(in, 1));
	else if (what == OPEN)
		step_open(arg % 16);
	else if (what == CLOSE && file_of(arg))
		file_of(arg)->closed = true;
	else if (what == READ || what == WRITE)
		step_io(what == READ ? NODE_READ : NODE_WRITE, arg, in);
	else if (what == LOCK)
		step_lock(arg, in);
	else if (what == CANCEL && w->locks[arg % ARRAY_SIZE(w->locks)])
		node_lock_cancel(w->locks[arg % ARRAY_SIZE(w->locks)]);
	else if (what == ANSWER)
		step_answer(arg, in);
	else if (what == CALLBACK)
		step_callback(arg % 16, in);
	else if (what == KEPT)
		step_kept(arg % 16);
	else if (what == RAW && (bytes = fuzz_bytes(in, arg, &len)))
		deliver(bytes, len);
	else if (what == CUT) {
		node_disconnected(w->node);
		node_connected(w->node, EPOCH + arg % 2);
	} else if (what == SYNC) {
		struct pending *p = pending_new(NULL);
		p->sync.done = sync_done;
		node_sync(&w->worker, &p->sync);
	}
	turns(4);
}

static void end(void)
{
	struct node_stats st;

	node_fail(w->node, -ERR_FENCED);
	for (int i = 0; w->busy > 0; i++) {
		if (i > 100000)
			fuzz_fail("a call or an I/O has no end, though the node has failed");
		turns(1);
	}
	for (size_t i = 0; i < MAX_OPEN; i++)
		w->files[i].closed = w->files[i].ni != NULL;
	for (int i = 0; node_stats(w->node, &st), st.nr_inodes > 0; i++) {
		if (i > 100000)
			fuzz_fail("an inode is not closed, though the node has failed");
		turns(1);
	}
	turns(8);
	node_free(w->node);
	buf_pool_free(w->worker.pool);
	fuzz_volume_close(&w->e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct world world;
	struct fuzz_in in = { data, len };
	struct node_cfg cfg = { .loop = loop, .send = on_send };

	w = &world;
	memset(w, 0, sizeof(*w));
	fuzz_volume_open(&clean, loop, &w->e);
	cfg.bdev = w->e.stats;
	memcpy(cfg.uuid, clean.geom.uuid, sizeof(cfg.uuid));
	CHECK_OK(node_new(&cfg, &w->node));
	node_identity(w->node, 3, 1000);
	w->worker = (struct node_worker){ .node = w->node, .loop = loop, .queue = w->e.queue };
	CHECK_OK(buf_pool_new(0, &w->worker.pool));
	node_connected(w->node, EPOCH);
	for (int n = 0; in.left > 0 && n < MAX_STEPS; n++)
		step(&in);
	end();
	return 0;
}
