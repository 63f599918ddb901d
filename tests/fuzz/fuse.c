/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * FUSE requests, with arguments that no kernel would send, through libfuse to the front end and the node;
 * the coordinator's answers and callbacks are as hostile as in target node.
 *
 *	steps: what (1), then
 *	REQUEST: kind (1), inode (1), file (1), bytes that follow (2): the arguments, then names or data
 *	ANSWER: to which request of the node, counted from the newest (1), status (1), flags (1), len (2), bytes
 *	CALLBACK: op (1), inode (1), mode (1)
 *	CUT: the channel breaks
 *
 * Lengths and ends of names are as the kernel makes them, and files are open: libfuse believes those. Each
 * request is answered once, with no more than it asked for.
 */
#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include "csvfs/fuse/fuse_internal.h"
#include "csvfs/fuse/ioctl.h"
#include "tests/fuzz/volume.h"

const char *const fuzz_words[] = { NULL };

enum { REQUEST, ANSWER, CALLBACK, CUT, NR_STEPS };

#define MAX_STEPS 60
#define MAX_SENT 256u
#define EPOCH 9u
#define AGAIN 0x80u /* an answer's bytes come 256 times */
#define ARG_MAX (256u << 10)
#define NO_FH UINT16_MAX
#define WRITE_HEADER 80u
#define OP_TMPFILE 51u
#define OP_STATX 52u

/* What the kernel sends: struct of arguments, where in it the open file is, names behind it. */
static const struct kind {
	uint16_t op, len, fh_at;
	uint8_t names;
	bool dir; /* on an open directory */
} kinds[] = {
	{ FUSE_LOOKUP, 0, NO_FH, 1 },
	{ FUSE_GETATTR, 16, 8 },
	{ FUSE_SETATTR, 88, 8 },
	{ FUSE_READLINK, 0, NO_FH },
	{ FUSE_SYMLINK, 0, NO_FH, 2 },
	{ FUSE_MKNOD, 16, NO_FH, 1 },
	{ FUSE_MKDIR, 8, NO_FH, 1 },
	{ FUSE_UNLINK, 0, NO_FH, 1 },
	{ FUSE_RMDIR, 0, NO_FH, 1 },
	{ FUSE_RENAME2, 16, NO_FH, 2 },
	{ FUSE_LINK, 8, NO_FH, 1 },
	{ FUSE_OPEN, 8, NO_FH },
	{ FUSE_READ, 40, 0 },
	{ FUSE_WRITE, 40, 0 },
	{ FUSE_STATFS, 0, NO_FH },
	{ FUSE_RELEASE, 24, 0 },
	{ FUSE_FSYNC, 16, 0 },
	{ FUSE_SETXATTR, 8, NO_FH, 1 },
	{ FUSE_GETXATTR, 8, NO_FH, 1 },
	{ FUSE_LISTXATTR, 8, NO_FH },
	{ FUSE_REMOVEXATTR, 0, NO_FH, 1 },
	{ FUSE_FLUSH, 24, 0 },
	{ FUSE_OPENDIR, 8, NO_FH },
	{ FUSE_READDIR, 40, 0, 0, true },
	{ FUSE_READDIRPLUS, 40, 0, 0, true },
	{ FUSE_RELEASEDIR, 24, 0, 0, true },
	{ FUSE_FSYNCDIR, 16, 0, 0, true },
	{ FUSE_GETLK, 48, 0 },
	{ FUSE_SETLK, 48, 0 },
	{ FUSE_SETLKW, 48, 0 },
	{ FUSE_CREATE, 16, NO_FH, 1 },
	{ FUSE_INTERRUPT, 8, NO_FH },
	{ FUSE_IOCTL, 32, 0 },
	{ FUSE_FALLOCATE, 32, 0 },
	{ FUSE_LSEEK, 24, 0 },
	{ FUSE_COPY_FILE_RANGE, 56, 0 },
	{ OP_TMPFILE, 16, NO_FH, 1 },
	{ OP_STATX, 24, 8 },
	{ FUSE_RENAME, 8, NO_FH, 2 },
	{ FUSE_FORGET, 8, NO_FH },
};

struct open_file {
	uint64_t fh;
	uint32_t busy; /* requests on it */
	bool dir, gone;
};

struct pending {
	uint16_t op;
	bool answered;
	struct open_file *file[2];
	uint32_t room; /* of the answer */
};

static struct fuzz_volume clean, dirty;
static struct loop *loop;
static struct fmount m;
static struct fworker worker;
static int kernel; /* the other end of /dev/fuse */

static struct world {
	struct engine e;
	struct { uint16_t op; uint64_t xid; } sent[MAX_SENT];
	uint32_t nr_sent;
	struct pending pending[3 * MAX_STEPS];
	uint32_t nr_pending, nr_answered;
	struct open_file files[2 * MAX_STEPS];
	uint32_t nr_files;
	struct loop_work invalidated[4];
	uint64_t invalid[4];
	uint32_t nr_shutdowns;
} *w;

/* ---- the kernel's side ---- */

static uint64_t first_unique; /* of this input */

static void note_file(struct pending *p, const uint8_t *body, size_t len)
{
	size_t at = p->op == FUSE_CREATE || p->op == OP_TMPFILE ? sizeof(struct fuse_entry_out) : 0;
	struct fuse_open_out out;

	if (len != at + sizeof(out))
		fuzz_fail("an answer to an open that is none");
	memcpy(&out, body + at, sizeof(out));
	if (w->nr_files < ARRAY_SIZE(w->files))
		w->files[w->nr_files++] = (struct open_file){ .fh = out.fh, .dir = p->op == FUSE_OPENDIR };
}

static void answered(const uint8_t *msg, size_t len)
{
	const struct fuse_out_header *hdr = (const struct fuse_out_header *)(const void *)msg;

	if (len < sizeof(*hdr) || hdr->len != len)
		fuzz_fail("an answer of the wrong length");
	if (!hdr->unique || hdr->unique % 2)
		return; /* a notification; what libfuse says of an INTERRUPT */
	uint64_t index = hdr->unique / 2 - first_unique;
	if (index >= w->nr_pending || w->pending[index].answered)
		fuzz_fail("an answer to nothing, or a second one");
	struct pending *p = &w->pending[index];
	p->answered = true;
	w->nr_answered++;
	for (int i = 0; i < 2; i++)
		if (p->file[i])
			p->file[i]->busy--;
	if (hdr->error > 0 || hdr->error < -133)
		fuzz_fail("an error that the kernel does not know");
	if (hdr->error && len > sizeof(*hdr))
		fuzz_fail("an error with an answer");
	if (len - sizeof(*hdr) > p->room)
		fuzz_fail("more than was asked for");
	if (!hdr->error && (p->op == FUSE_OPEN || p->op == FUSE_OPENDIR || p->op == FUSE_CREATE ||
			p->op == OP_TMPFILE))
		note_file(p, msg + sizeof(*hdr), len - sizeof(*hdr));
}

static void turns(int nr)
{
	static uint8_t msg[4 << 20];
	ssize_t len;

	while (nr-- > 0)
		loop_run_once(loop, false);
	while ((len = recv(kernel, msg, sizeof(msg), MSG_DONTWAIT)) >= 0)
		answered(msg, (size_t)len);
}

static void process(const void *msg, size_t len)
{
	if (!worker.recv)
		worker.recv = recv_get(&worker);
	CHECK(worker.recv);
	struct fuse_buf buf = { .mem = worker.recv->mem + 4096 - WRITE_HEADER, .size = len };
	uint8_t *exact = malloc(len);
	CHECK(exact);
	memcpy(exact, msg, len); /* what looks at it before libfuse does sees where it ends */
	(void)fraw_prepare(exact, len);
	free(exact);
	memcpy(buf.mem, msg, len);
	worker.as = fraw_prepare(buf.mem, len);
	m.resends = false; /* or a shutdown would fork */
	fuse_session_process_buf(m.se, &buf);
	if (worker.taken)
		worker.recv = NULL;
	worker.taken = false;
}

static struct open_file *file_of(unsigned index, bool dir)
{
	struct open_file *f;

	for (uint32_t i = 0; i < w->nr_files; i++) {
		f = &w->files[(index + i) % w->nr_files];
		if (!f->gone && f->dir == dir)
			return f;
	}
	return NULL;
}

/* Lengths as the kernel has them; what the answer may have at most. *data: bytes that follow. */
static uint32_t fit(const struct kind *k, uint8_t *arg, size_t *data)
{
	struct fuse_ioctl_in *io = (void *)arg;
	struct fuse_read_in *rd = (void *)arg; /* READDIR's is the same */
	struct fuse_write_in *wr = (void *)arg;
	struct fuse_getxattr_in *gx = (void *)arg;
	struct fuse_lk_in *lk = (void *)arg;
	struct fuse_lseek_in *seek = (void *)arg;
	static const unsigned cmds[] = { CSV_IOC_CLONE, CSV_IOC_MAP, CSV_IOC_SHUTDOWN, 0 };

	switch (k->op) {
	case FUSE_READ:
	case FUSE_READDIR:
	case FUSE_READDIRPLUS:
		rd->size %= (1u << 20) + 1;
		rd->offset &= INT64_MAX;
		return rd->size;
	case FUSE_WRITE:
		*data = wr->size % (ARG_MAX - 4096);
		wr->size = (uint32_t)*data;
		wr->offset &= INT64_MAX;
		break;
	case FUSE_SETXATTR:
		gx->size %= 65537;
		*data = gx->size;
		break;
	case FUSE_GETXATTR:
	case FUSE_LISTXATTR:
		gx->size %= 65537;
		return MAX(gx->size, (uint32_t)sizeof(struct fuse_getxattr_out));
	case FUSE_IOCTL:
		io->cmd = cmds[io->cmd % 4] ? cmds[io->cmd % 4] : io->cmd;
		io->in_size = io->cmd & _IOC_WRITE << _IOC_DIRSHIFT ? _IOC_SIZE(io->cmd) : io->in_size % 16384;
		io->out_size = io->cmd & _IOC_READ << _IOC_DIRSHIFT ? _IOC_SIZE(io->cmd) : io->out_size % 16384;
		io->flags = 0;
		*data = io->in_size;
		return (uint32_t)sizeof(struct fuse_ioctl_out) + io->out_size;
	case FUSE_GETLK:
	case FUSE_SETLK:
	case FUSE_SETLKW:
		lk->lk.start &= INT64_MAX;
		lk->lk.end &= INT64_MAX;
		if (lk->lk.end < lk->lk.start)
			lk->lk.end = INT64_MAX;
		lk->lk.type %= 3;
		break;
	case FUSE_LSEEK:
		seek->offset &= INT64_MAX;
		break;
	case FUSE_READLINK:
		return 4096;
	}
	return 1024;
}

static uint32_t request(const struct kind *k, uint64_t ino, unsigned file, struct fuzz_in *in)
{
	static uint64_t buf[(ARG_MAX + 16384) / 8];
	struct fuse_in_header *hdr = (void *)buf;
	uint8_t *arg = (uint8_t *)(hdr + 1), *at = arg + k->len;
	struct pending *p = &w->pending[w->nr_pending];
	size_t len, data = 0;
	const uint8_t *bytes = fuzz_bytes(in, k->len, &len);

	if (w->nr_pending == ARRAY_SIZE(w->pending))
		return 0;
	memset(hdr, 0, sizeof(*hdr) + 64);
	memcpy(arg, bytes, len);
	*p = (struct pending){ .op = k->op };
	p->room = fit(k, arg, &data);
	for (int i = 0; i < (k->fh_at == NO_FH ? 0 : k->op == FUSE_COPY_FILE_RANGE ? 2 : 1); i++) {
		struct open_file *f = file_of(file + (unsigned)i, k->dir);
		if (!f)
			return 0;
		if (k->op == FUSE_RELEASE || k->op == FUSE_RELEASEDIR) {
			if (f->busy)
				return 0; /* the kernel waits for those */
			f->gone = true;
		}
		memcpy(arg + k->fh_at + 24 * i, &f->fh, 8);
		f->busy++;
		p->file[i] = f;
	}
	for (unsigned n = 0; n < k->names; n++) {
		bytes = fuzz_bytes(in, 1 + fuzz_num(in, 1) * (k->op == FUSE_SYMLINK && n ? 15u : 1u), &len);
		for (size_t i = 0; i < len; i++)
			*at++ = bytes[i] ? bytes[i] : 'x';
		if (!len)
			*at++ = 'x';
		*at++ = 0;
	}
	bytes = fuzz_bytes(in, data, &len);
	memset(at, 'd', data);
	memcpy(at, bytes, len);
	*hdr = (struct fuse_in_header){ .len = (uint32_t)(at + data - (uint8_t *)hdr), .opcode = k->op,
		.unique = 2 * (first_unique + w->nr_pending), .nodeid = ino ? ino : 1, .uid = file & 1, .gid = 5,
		.pid = 77 };
	if (k->op == FUSE_INTERRUPT) { /* of an earlier one */
		hdr->unique |= 1;
		((struct fuse_interrupt_in *)(void *)arg)->unique =
			2 * (first_unique + (w->nr_pending ? file % w->nr_pending : 0));
	} else if (k->op != FUSE_FORGET) {
		w->nr_pending++;
	}
	process(buf, hdr->len);
	return hdr->len;
}

static void step_request(struct fuzz_in *in)
{
	const struct kind *k = &kinds[fuzz_num(in, 1) % ARRAY_SIZE(kinds)];
	uint64_t ino = fuzz_num(in, 1) % 16;
	unsigned file = (unsigned)fuzz_num(in, 1);
	struct fuzz_in args;

	args.pos = fuzz_bytes(in, fuzz_num(in, 2), &args.left);
	(void)request(k, ino, file, &args);
}

/* ---- the coordinator's side ---- */

static int on_send(void *arg, const void *data, uint32_t len)
{
	const struct csvp_hdr *hdr = data;

	if (len < sizeof(*hdr) || le32_get(hdr->len) != len)
		fuzz_fail("the node sends what is no message");
	if (!(le32_get(hdr->flags) & CSVP_REPLY) && w->nr_sent < MAX_SENT) {
		w->sent[w->nr_sent].op = le16_get(hdr->op);
		w->sent[w->nr_sent++].xid = le64_get(hdr->xid);
	}
	return 0;
}

static void connect_again(void)
{
	struct csvp_hello_reply h = { le64_of(EPOCH), le32_of(2), le32_of(62), le32_of(10000) };
	struct csvp_msg msg;

	node_disconnected(m.node);
	node_connected(m.node, EPOCH);
	csvp_begin(&msg, CSVP_HELLO, CSVP_REPLY, 0, 0);
	csvp_put_bytes(&msg, &h, sizeof(h));
	CHECK_OK(csvp_finish(&msg));
	CHECK_OK(node_message(m.node, msg.data, msg.len));
	csvp_free(&msg);
}

static void deliver(struct csvp_msg *msg)
{
	CHECK_OK(csvp_finish(msg));
	uint8_t *exact = malloc(msg->len);
	CHECK(exact);
	memcpy(exact, msg->data, msg->len);
	int err = node_message(m.node, exact, msg->len);
	free(exact);
	csvp_free(msg);
	if (err)
		connect_again();
}

static void step_answer(struct fuzz_in *in)
{
	static const int statuses[] = { 0, -ENOENT, -ESTALE, -EEXIST, -ERR_STALE, -EFBIG, -EAGAIN, -ENOSPC, -ERANGE };
	unsigned index = (unsigned)fuzz_num(in, 1), status = (unsigned)fuzz_num(in, 1);
	unsigned flags = (unsigned)fuzz_num(in, 1);
	struct csvp_msg msg;
	size_t len;
	const uint8_t *body = fuzz_bytes(in, fuzz_num(in, 2), &len);

	if (!w->nr_sent)
		return;
	uint32_t at = w->nr_sent - 1 - index % w->nr_sent;
	csvp_begin(&msg, w->sent[at].op, (flags & ~1u) | CSVP_REPLY, statuses[status % ARRAY_SIZE(statuses)],
		w->sent[at].xid);
	for (int n = 0; n < (flags & AGAIN ? 256 : 1) && msg.len + len <= CSVP_MAX_BYTES; n++)
		csvp_put_bytes(&msg, body, (uint32_t)len);
	deliver(&msg);
}

static void step_callback(struct fuzz_in *in)
{
	unsigned op = (unsigned)fuzz_num(in, 1), ino = (unsigned)fuzz_num(in, 1), mode = (unsigned)fuzz_num(in, 1);
	struct csvp_recall body = { le64_of(ino % 16), le32_of(mode & 15) };
	struct csvp_msg msg;

	csvp_begin(&msg, (enum csvp_op)(CSVP_RECALL + op % 5), 0, 0, mode >> 4);
	csvp_put_bytes(&msg, &body, sizeof(body));
	deliver(&msg);
}

static void invalidated(struct loop_work *work)
{
	size_t i = (size_t)(work - w->invalidated);
	uint64_t ino = w->invalid[i];

	w->invalid[i] = 0;
	node_invalidated(m.node, ino);
}

/* The kernel has no pages: that is soon done. */
static void invalidate(void *arg, uint64_t ino, uint64_t off_bytes, uint64_t len_bytes)
{
	for (size_t i = 0; i < ARRAY_SIZE(w->invalid); i++) {
		if (w->invalid[i])
			continue;
		w->invalid[i] = ino;
		w->invalidated[i].fn = invalidated;
		loop_defer(loop, &w->invalidated[i]);
		return;
	}
	loop_run_once(loop, false);
	invalidate(arg, ino, off_bytes, len_bytes);
}

static void forgotten(void *arg, uint64_t ino)
{
	if (ino == FUSE_ROOT_ID || !ino)
		fmount_root_changed(&m);
}

static void on_shutdown(void *arg)
{
	w->nr_shutdowns++;
}

/* ---- a process, an input ---- */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct { struct fuse_in_header hdr; struct fuse_init_in in; } init = {
		{ .len = sizeof(init), .opcode = FUSE_INIT, .unique = 2 },
		{ .major = 7, .minor = 38, .max_readahead = 131072, .flags = ~(1u << 29), .flags2 = 1u << 4 } };
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	int ends[2], room = 4 << 20;
	char name[32];

	fuzz_volumes_make(&clean, &dirty);
	CHECK_OK(loop_new(&loop));
	CHECK_OK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends));
	kernel = ends[1];
	(void)setsockopt(ends[0], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
	CHECK_OK(fuse_opt_add_arg(&args, "fuzz"));
	m.cfg.mountpoint = "/csv/fuzz";
	m.cfg.shutdown = on_shutdown;
	list_init(&m.files);
	pthread_mutex_init(&m.files_lock, NULL);
	m.se = fuse_session_new(&args, &fuse_meta_ops, sizeof(fuse_meta_ops), &m);
	CHECK(m.se);
	fuse_opt_free_args(&args);
	snprintf(name, sizeof(name), "/dev/fd/%d", ends[0]);
	CHECK_OK(fuse_session_mount(m.se, name));
	CHECK_OK(fraw_init(&m));
	fworker_self = &worker;
	worker.mount = &m;
	process(&init, sizeof(init));
	CHECK(recv(kernel, &init, sizeof(init), MSG_DONTWAIT) > 0);
	return 0;
}

/* Everything ends, and is answered. */
static void end(void)
{
	static const struct kind release = { FUSE_RELEASE, 24, 0 }, releasedir = { FUSE_RELEASEDIR, 24, 0, 0, true };
	struct node_stats st;

	node_fail(m.node, -ERR_FENCED);
	for (int i = 0; w->nr_answered < w->nr_pending; i++) {
		if (i > 100000)
			fuzz_fail("a request is not answered, though the node has failed");
		turns(1);
	}
	struct open_file *f;
	for (int dir = 0; dir < 2; dir++)
		while ((f = file_of(0, dir))) {
			struct fuzz_in none = { (const uint8_t *)"", 0 };
			CHECK(request(dir ? &releasedir : &release, 5, (unsigned)(f - w->files), &none));
			turns(4);
		}
	for (int i = 0; node_stats(m.node, &st), st.nr_inodes || w->nr_answered < w->nr_pending; i++) {
		if (i > 100000)
			fuzz_fail("an inode is not closed, though the node has failed");
		turns(1);
	}
	turns(8);
	if (atomic_load(&m.nr_calls) || worker.nr_io || !list_empty(&m.files))
		fuzz_fail("a request was answered and is not over");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct world world;
	struct fuzz_in in = { data, len };
	struct node_cfg cfg = { .loop = loop, .send = on_send, .invalidate = invalidate, .forgotten = forgotten };

	first_unique += w ? w->nr_pending + 1 : 2;
	w = &world;
	memset(w, 0, sizeof(*w));
	fuzz_volume_open(&clean, loop, &w->e);
	cfg.bdev = w->e.stats;
	memcpy(cfg.uuid, clean.geom.uuid, sizeof(cfg.uuid));
	CHECK_OK(node_new(&cfg, &m.node));
	node_identity(m.node, 3, 1000);
	worker.nw = (struct node_worker){ .node = m.node, .loop = loop, .queue = w->e.queue };
	CHECK_OK(buf_pool_new(0, &worker.nw.pool));
	connect_again();
	for (int n = 0; in.left > 0 && n < MAX_STEPS; n++) {
		switch (fuzz_num(&in, 1) % NR_STEPS) {
		case REQUEST:
			step_request(&in);
			break;
		case ANSWER:
			step_answer(&in);
			break;
		case CALLBACK:
			step_callback(&in);
			break;
		default:
			connect_again();
		}
		turns(4);
	}
	end();
	node_free(m.node);
	buf_pool_free(worker.nw.pool);
	fuzz_volume_close(&w->e);
	return 0;
}

/* ---- inputs to begin with ---- */

static struct fuzz_out out;

static void put_request(unsigned op, unsigned ino, unsigned file, const void *args, size_t len, const char *names)
{
	size_t nr = names[0] ? strlen(names) + 1 : 0;
	unsigned k = 0;

	while (kinds[k].op != op)
		k++;
	fuzz_put(&out, REQUEST | k << 8 | ino << 16 | (uint64_t)file << 24, 4);
	fuzz_put(&out, len + nr, 2);
	fuzz_put_bytes(&out, args, len);
	if (nr) {
		fuzz_put(&out, nr - 2, 1);
		fuzz_put_bytes(&out, names, nr - 1);
	}
}

static void put_answer(unsigned index, unsigned flags, const void *body, size_t len)
{
	fuzz_put(&out, ANSWER | index << 8 | (uint64_t)flags << 24, 4);
	fuzz_put(&out, len, 2);
	fuzz_put_bytes(&out, body, len);
}

static const struct csvp_attr file_attr = { .ino = { 5 }, .mode = { 0100644 }, .nlink = { 1 }, .size = { 1 << 20 } };

static void put_open(void)
{
	put_request(FUSE_OPEN, 5, 0, (uint32_t[2]){ O_RDWR }, 8, "");
	put_answer(0, 0, &file_attr, sizeof(file_attr));
}

static void seed_names(void)
{
	struct { struct csvp_dirent ent; char name[8]; } list[2] = {
		{ { .attr = file_attr, .cookie = { 256 }, .name_len = { 5 }, .type = { CSVP_DIRENT_KEEP | 8 } }, "fuzzy" },
		{ { .attr = file_attr, .cookie = { 257 }, .name_len = { 8 }, .type = { 8 } }, "fuzziest" } };
	struct csvp_statfs fs = { { 1000 }, { 500 }, { 400 }, { 10 } };
	struct csvp_attr dir = { .ino = { 1 }, .mode = { 040755 }, .nlink = { 2 } };

	put_request(FUSE_LOOKUP, 1, 0, "", 0, "fuzzy");
	put_answer(0, CSVP_KEEP_ATTR | CSVP_KEEP_NAMES, &file_attr, sizeof(file_attr));
	put_request(FUSE_OPENDIR, 1, 0, (uint32_t[2]){ 0 }, 8, "");
	put_answer(0, 0, &dir, sizeof(dir));
	put_request(FUSE_READDIRPLUS, 1, 0, &(struct fuse_read_in){ .size = 4096 }, 40, "");
	put_answer(0, CSVP_KEEP_ATTR | CSVP_KEEP_NAMES, list, sizeof(list));
	put_request(FUSE_READDIR, 1, 0, &(struct fuse_read_in){ .offset = 256, .size = 1000 }, 40, "");
	put_answer(0, AGAIN, list, sizeof(list));
	put_request(OP_STATX, 1, 0, (uint64_t[3]){ 0 }, 24, "");
	put_answer(0, CSVP_KEEP_ATTR, &dir, sizeof(dir));
	put_request(FUSE_STATFS, 1, 0, "", 0, "");
	put_answer(0, 0, &fs, sizeof(fs));
	put_request(FUSE_READLINK, 7, 0, "", 0, "");
	put_answer(0, 0, "there", 5);
	put_request(FUSE_MKDIR, 1, 0, (uint32_t[2]){ 0755, 022 }, 8, "dir");
	put_answer(0, 0, &dir, sizeof(dir));
	put_request(FUSE_CREATE, 1, 0, (uint32_t[4]){ O_RDWR, 0644 }, 16, "new");
	put_answer(0, CSVP_KEEP_ATTR, &(struct csvp_attr[2]){ file_attr, dir }, 2 * sizeof(dir));
	put_request(OP_TMPFILE, 1, 0, (uint32_t[4]){ O_RDWR, 0600 }, 16, "tmp");
	put_answer(0, 0, &file_attr, sizeof(file_attr));
	fuzz_put(&out, CALLBACK | 2 << 8 | 1 << 16, 4);
	put_request(FUSE_UNLINK, 1, 0, "", 0, "new");
	put_request(FUSE_RELEASEDIR, 1, 0, (uint64_t[3]){ 0 }, 24, "");
}

static void seed_data(void)
{
	struct { struct csvp_layout_reply r; struct csvp_extent x[3]; } l = {
		{ { 1 << 20 }, { CSVP_EXCL }, { 3 } },
		{ { { 0 }, { 16 }, { 5000 }, { CSV_WRITTEN } }, { { 16 }, { 16 }, { 5016 }, { CSV_UNWRITTEN } },
			{ { 32 }, { 224 }, { 0 }, { CSV_HOLE } } } };
	struct csvp_size size = { { 1 << 20 } };

	put_open();
	put_request(FUSE_READ, 5, 0, &(struct fuse_read_in){ .size = 100000, .read_flags = 2 }, 40, "");
	put_answer(0, 0, &l, sizeof(l));
	put_request(FUSE_WRITE, 5, 0, &(struct fuse_write_in){ .offset = 65536, .size = 65536 }, 40, "");
	put_answer(0, 0, &l, sizeof(l));
	put_answer(0, 0, &size, sizeof(size));
	put_request(FUSE_READ, 5, 0, &(struct fuse_read_in){ .offset = 5, .size = 4096 }, 40, ""); /* for a mapping */
	put_request(FUSE_FSYNC, 5, 0, (uint64_t[2]){ 0 }, 16, "");
	put_request(FUSE_IOCTL, 5, 0, &(struct fuse_ioctl_in){ .cmd = 1 }, 32, "");
	put_answer(0, 0, &l, sizeof(l));
	put_request(FUSE_IOCTL, 5, 0, &(struct fuse_ioctl_in){ .cmd = 0 }, 32, "");
	put_answer(0, 0, &size, sizeof(size));
	put_request(FUSE_IOCTL, 5, 0, &(struct fuse_ioctl_in){ .cmd = 2 }, 32, "");
	put_request(FUSE_FALLOCATE, 5, 0, &(struct fuse_fallocate_in){ .length = 8192, .mode = 3 }, 32, "");
	put_answer(0, 0, &size, sizeof(size));
	put_request(FUSE_LSEEK, 5, 0, &(struct fuse_lseek_in){ .whence = SEEK_HOLE }, 24, "");
	put_answer(0, 0, &size, sizeof(size));
	put_request(FUSE_COPY_FILE_RANGE, 5, 0, &(struct fuse_copy_file_range_in){ .nodeid_out = 6, .len = 1 << 20 }, 56, "");
	put_answer(0, 0, &size, sizeof(size));
	put_request(FUSE_SETATTR, 5, 0, &(struct fuse_setattr_in){ .valid = FATTR_SIZE | FATTR_FH, .size = 77 }, 88, "");
	put_answer(0, 0, &file_attr, sizeof(file_attr));
	fuzz_put(&out, CALLBACK | 5 << 16, 4);
	put_request(FUSE_RELEASE, 5, 0, (uint64_t[3]){ 0 }, 24, "");
}

static void seed_rest(void)
{
	struct { struct csvp_size size; char value[24]; } x = { { { 24 } }, "a value of 24 bytes, yes" };
	struct fuse_lk_in lk = { .owner = 9, .lk = { .start = 5, .end = 50, .type = F_WRLCK } };

	put_open();
	put_request(FUSE_GETXATTR, 5, 0, (uint32_t[2]){ 100 }, 8, "user.a");
	put_answer(0, 0, &x, sizeof(x));
	put_request(FUSE_LISTXATTR, 5, 0, (uint32_t[2]){ 100 }, 8, "");
	put_answer(0, 0, &x, sizeof(x));
	put_request(FUSE_GETXATTR, 5, 0, (uint32_t[2]){ 0 }, 8, "user.a");
	put_answer(0, 0, &x, sizeof(x));
	put_request(FUSE_SETXATTR, 5, 0, (uint32_t[2]){ 60000 }, 8, "user.b");
	put_answer(0, 0, "", 0);
	put_request(FUSE_SETLKW, 5, 0, &lk, sizeof(lk), "");
	put_answer(0, 0, "", 0);
	lk.owner = 10;
	put_request(FUSE_SETLKW, 5, 0, &lk, sizeof(lk), "");
	put_request(FUSE_INTERRUPT, 5, 7, (uint64_t[1]){ 0 }, 8, "");
	fuzz_put(&out, CUT, 1);
	put_request(FUSE_GETLK, 5, 0, &lk, sizeof(lk), "");
	put_answer(0, 0, &(struct csvp_lock){ .ino = { 5 }, .type = { 2 }, .end = { 7 } }, sizeof(struct csvp_lock));
	put_request(FUSE_FLUSH, 5, 0, (uint64_t[3]){ 0, 0, 9 }, 24, "");
	put_request(FUSE_RELEASE, 5, 0, (uint64_t[3]){ 0, 2, 9 }, 24, "");
}

void fuzz_seeds(void (*add)(const void *data, size_t len))
{
	void (*const seeds[])(void) = { seed_names, seed_data, seed_rest };

	for (size_t i = 0; i < ARRAY_SIZE(seeds); i++) {
		out.len = 0;
		seeds[i]();
		add(out.data, out.len);
	}
}
