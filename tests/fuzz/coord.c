/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hostile nodes: a coordinator on a real engine gets messages that no node of ours sends. It may refuse
 * them; afterwards the volume has no error.
 *
 *	1: two of the nodes have not reasserted yet, so nothing is served (1); then
 *	each message: node (1), op (1), ctl (2): CTL_*, len (1; times 4 with CTL_LONG), that many bytes: the
 *	body, or with CTL_RAW all of the message; CTL_SLOT: slot (1) and sequence (1) stand before len;
 *	CTL_AGAIN: these bytes come 256 times
 *
 * A node that was refused says HELLO before anything else is heard, as on a new channel.
 */
#include <unistd.h>

#include "csvfs/coord/coord_internal.h"
#include "tests/fuzz/volume.h"
#include "tests/unit/coord_test.h"

const char *const fuzz_words[] = { NULL };

#define CTL_REPLY 1u
#define CTL_LAST 2u
#define CTL_SLOT 4u
#define CTL_RAW 8u
#define CTL_OTHER_EPOCH 0x10u
#define CTL_SILENT 0x20u /* nobody answers what the coordinator asks, so far */
#define CTL_PILE 0x40u	 /* the next message comes before this one was worked on */
#define CTL_LONG 0x80u
#define CTL_GONE 0x100u	 /* the node was fenced before */
#define CTL_CUT 0x200u	 /* the message is shorter than it says */
#define CTL_AGAIN 0x400u

#define MAX_MESSAGES 60

static struct fuzz_volume clean, dirty;
static struct loop *loop;
static bool refused[NODES + 1];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_volumes_make(&clean, &dirty);
	CHECK_OK(loop_new(&loop));
	return 0;
}

/* ---- inputs to begin with: good messages ---- */

static void put_ctl(struct fuzz_out *out, unsigned node, unsigned op, unsigned ctl, struct csvp_msg *msg)
{
	uint32_t len = msg->len - (uint32_t)sizeof(struct csvp_hdr);
	bool is_long = len > 255;

	fuzz_put(out, node - 1, 1);
	fuzz_put(out, op, 1);
	fuzz_put(out, ctl | (is_long ? CTL_LONG : 0), 2);
	if (ctl & CTL_SLOT)
		fuzz_put(out, 0x101 * (1 + out->len % 7), 2);
	fuzz_put(out, is_long ? (len + 3) / 4 : len, 1);
	fuzz_put_bytes(out, csvp_hdr(msg) + 1, len);
	for (; is_long && len % 4; len++)
		fuzz_put(out, 0, 1);
	csvp_free(msg);
}

static void put_msg(struct fuzz_out *out, unsigned node, struct csvp_msg *msg)
{
	unsigned op = le16_get(csvp_hdr(msg)->op);

	put_ctl(out, node, op, coord_ops[op].once && out->len % 2 ? CTL_SLOT : 0, msg);
}

/* A message of an op whose struct begins with an inode, the rest as words say. */
static void put_words(struct fuzz_out *out, struct env *v, unsigned node, enum csvp_op op, unsigned ctl,
	uint32_t len, const uint64_t words[8])
{
	struct csvp_msg msg;

	msg_begin(v, &msg, op);
	csvp_put_bytes(&msg, words, MIN(len, 64u));
	put_ctl(out, node, op, ctl, &msg);
}

static void put_hello(struct fuzz_out *out, struct env *v, uint32_t node)
{
	struct csvp_hello h = { .node = le32_of(node), .generation = le64_of(GENERATION + node) };
	struct csvp_msg msg;

	memcpy(h.uuid, clean.geom.uuid, sizeof(h.uuid));
	msg_begin(v, &msg, CSVP_HELLO);
	csvp_put_bytes(&msg, &h, sizeof(h));
	put_msg(out, node, &msg);
}

static void put_xattr(struct fuzz_out *out, struct env *v, enum csvp_op op, uint64_t ino, const char *name)
{
	struct csvp_xattr b = { .ino = le64_of(ino), .name_len = le32_of((uint32_t)strlen(name)),
		.value_len = le32_of(40) };
	struct csvp_msg msg;

	msg_begin(v, &msg, op);
	csvp_put_bytes(&msg, &b, sizeof(b));
	csvp_put_bytes(&msg, name, (uint32_t)strlen(name));
	csvp_put_bytes(&msg, "\2\0\0\0\1\0\6\0\377\377\377\377\4\0\4\0\377\377\377\377\40\0\4\0\377\377\377\377"
			     "0123456789ab", 40);
	put_msg(out, 2, &msg);
}

static void seed_names(struct fuzz_out *out, struct env *v, uint64_t ino)
{
	struct csvp_msg msg;

	build_create(v, &msg, 1, "new", S_IFREG | 0644, "", true);
	put_msg(out, 1, &msg);
	build_create(v, &msg, 2, "link to", S_IFLNK | 0777, "there", false);
	put_msg(out, 2, &msg);
	build_name(v, &msg, CSVP_LOOKUP, 1, 0, "file");
	put_msg(out, 3, &msg);
	build_name(v, &msg, CSVP_LINK, 1, ino, "twice");
	put_msg(out, 1, &msg);
	build_rename(v, &msg, "file", "origin");
	put_msg(out, 2, &msg);
	build_name(v, &msg, CSVP_UNLINK, 1, 0, "origin");
	put_msg(out, 3, &msg);
	build_setattr(v, &msg, ino, 127, 70000, 5);
	put_msg(out, 1, &msg);
}

static void seed_data(struct fuzz_out *out, struct env *v, uint64_t ino)
{
	struct csvp_msg msg;

	put_words(out, v, 1, CSVP_OPEN, 0, 8, (uint64_t[8]){ ino });
	put_words(out, v, 2, CSVP_OPEN, 0, 8, (uint64_t[8]){ ino });
	build_layout(v, &msg, ino, 0, 64, CSVP_WRITE, CSVP_LAYOUT_ALLOC);
	put_msg(out, 1, &msg);
	build_layout(v, &msg, ino, 3, 2, CSVP_EXCL, CSVP_LAYOUT_ZERO_AHEAD);
	put_msg(out, 2, &msg);
	build_commit(v, &msg, ino, 100000, 1, 3);
	put_msg(out, 1, &msg);
	build_inline(v, &msg, ino + 7, 5, "some bytes", false);
	put_msg(out, 2, &msg);
	build_fallocate(v, &msg, ino, 8192, 40000, CSVP_FALLOC_PUNCH | CSVP_FALLOC_KEEP_SIZE);
	put_msg(out, 1, &msg);
	build_setattr(v, &msg, ino, CSV_SET_SIZE, 5000, 7);
	put_msg(out, 2, &msg);
	put_words(out, v, 1, CSVP_CLONE, 0, 40, (uint64_t[8]){ ino, ino + 1, 0, 1 << 20, 4 });
	put_words(out, v, 1, CSVP_MAP, 0, 24, (uint64_t[8]){ ino, 0, 1000 });
	put_words(out, v, 1, CSVP_SEEK, 0, 24, (uint64_t[8]){ ino, 4096, 1 });
	put_words(out, v, 1, CSVP_CLOSE, 0, 24, (uint64_t[8]){ ino, 5, 6 });
}

static void seed_rest(struct fuzz_out *out, struct env *v, uint64_t ino)
{
	uint64_t read_lock = 1, write_lock = 2, wait = 1ull << 32;

	put_words(out, v, 1, CSVP_OPEN, 0, 8, (uint64_t[8]){ ino });
	put_words(out, v, 2, CSVP_OPEN, 0, 8, (uint64_t[8]){ ino });
	put_words(out, v, 1, CSVP_LOCK, 0, 56, (uint64_t[8]){ ino, 9, 0, 100, write_lock, 0, 0 });
	put_words(out, v, 2, CSVP_LOCK, 0, 56, (uint64_t[8]){ ino, 8, 50, 70, read_lock, wait | 77, 0 });
	put_words(out, v, 2, CSVP_GETLK, 0, 56, (uint64_t[8]){ ino, 8, 50, 70, write_lock, 0, 0 });
	put_words(out, v, 2, CSVP_LOCK_CANCEL, 0, 8, (uint64_t[8]){ v->xid });
	put_hello(out, v, 1);
	put_words(out, v, 1, CSVP_REASSERT_LOCKS, 0, 56, (uint64_t[8]){ ino, 9, 0, 100, write_lock });
	put_words(out, v, 1, CSVP_REASSERT, CTL_LAST, 16, (uint64_t[8]){ ino, 1ull << 32 | CSVP_READ });
	put_words(out, v, 1, CSVP_GETATTR, 0, 24, (uint64_t[8]){ ino, 4, 5 });
	put_words(out, v, 1, CSVP_READDIR, 0, 32, (uint64_t[8]){ 2, 0, 65536, 7 });
	put_words(out, v, 1, CSVP_READLINK, 0, 8, (uint64_t[8]){ 7 });
	put_words(out, v, 1, CSVP_STATFS, 0, 0, (uint64_t[8]){ 0 });
	put_words(out, v, 1, CSVP_SYNC, 0, 0, (uint64_t[8]){ 0 });
	put_words(out, v, 3, CSVP_RECALL, CTL_REPLY, 8, (uint64_t[8]){ 5 });
}

/* Locks on what the node had open, and does not tell of any more. */
static void seed_liar(struct fuzz_out *out, struct env *v)
{
	fuzz_put(out, 1, 1);
	put_words(out, v, 3, CSVP_REASSERT, 0, 16, (uint64_t[8]){ 6, 1ull << 32 });
	put_hello(out, v, 3);
	put_words(out, v, 3, CSVP_REASSERT_LOCKS, 0, 56, (uint64_t[8]){ 6, 9, 0, 100, 2 });
	put_words(out, v, 3, CSVP_REASSERT, CTL_LAST, 0, (uint64_t[8]){ 0 });
}

/* Many of what there is a list of: names, values, locks, inodes, ranges. */
static void seed_large(struct fuzz_out *out, struct env *v)
{
	struct csvp_xattr x = { .ino = le64_of(5), .name_len = le32_of(6), .value_len = le32_of(255 * 256 - 38) };
	struct csvp_commit c = { .ino = le64_of(6), .nr_ranges = le32_of(510) };

	fuzz_put(out, 0, 1);
	put_words(out, v, 1, CSVP_OPEN, 0, 8, (uint64_t[8]){ 6 });
	put_words(out, v, 1, CSVP_LAYOUT, 0, 32, (uint64_t[8]){ 6, 0, 1 << 20, CSVP_EXCL | 1ull << 32 });
	fuzz_put(out, 0 | CSVP_SETXATTR << 8 | CTL_AGAIN << 16, 4);
	fuzz_put(out, 255, 1);
	fuzz_put_bytes(out, &x, sizeof(x));
	fuzz_put_bytes(out, "user.b", 6);
	for (size_t n = sizeof(x) + 6; n < 255; n++)
		fuzz_put(out, 'v', 1);
	put_xattr(out, v, CSVP_GETXATTR, 5, "user.b");
	fuzz_put(out, 0 | CSVP_COMMIT << 8 | CTL_AGAIN << 16, 4);
	fuzz_put(out, 32, 1);
	fuzz_put_bytes(out, &c, sizeof(c));
	put_hello(out, v, 1);
	put_words(out, v, 1, CSVP_REASSERT_LOCKS, CTL_AGAIN, 56, (uint64_t[8]){ 6, 9, 0, 100, 1 });
	put_words(out, v, 1, CSVP_REASSERT, CTL_AGAIN, 16, (uint64_t[8]){ 6, 1ull << 32 | CSVP_EXCL });
	put_words(out, v, 1, CSVP_REASSERT, CTL_LAST, 16, (uint64_t[8]){ 6, 1ull << 32 });
}

void fuzz_seeds(void (*add)(const void *data, size_t len))
{
	static const char *const names[] = { "user.a", CSV_ACL_ACCESS, CSV_ACL_DEFAULT, "security.capability" };
	struct env v = { .xid = 0 };
	struct fuzz_out liar = { .len = 0 }, large = { .len = 0 };

	seed_liar(&liar, &v);
	add(liar.data, liar.len);
	seed_large(&large, &v);
	add(large.data, large.len);
	for (uint64_t ino = 1; ino < 16; ino++) {
		struct fuzz_out out = { .len = 1 };
		(ino % 3 == 0 ? seed_names : ino % 3 == 1 ? seed_data : seed_rest)(&out, &v, ino / 3 + 2);
		add(out.data, out.len);
	}
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct fuzz_out out = { .len = 1 };
		put_xattr(&out, &v, CSVP_SETXATTR, i + 1, names[i]);
		put_xattr(&out, &v, CSVP_GETXATTR, i + 1, names[i]);
		put_xattr(&out, &v, CSVP_LISTXATTR, i + 1, "");
		put_xattr(&out, &v, CSVP_REMOVEXATTR, i + 1, names[i]);
		add(out.data, out.len);
	}
}

/* ---- a run ---- */

/* What the coordinator waits for is answered; what it answers is forgotten. */
static void answer_callbacks(struct env *v)
{
	struct sent *s = v->first;

	v->first = NULL;
	v->last = &v->first;
	while (s) {
		struct sent *next = s->next;
		const struct csvp_hdr *hdr = (const struct csvp_hdr *)s->data;
		struct csvp_msg msg;

		if (!(le32_get(hdr->flags) & CSVP_REPLY) && le64_get(hdr->xid) && !refused[s->node]) {
			csvp_begin(&msg, le16_get(hdr->op), CSVP_REPLY, 0, le64_get(hdr->xid));
			struct csvp_recall_reply *b = csvp_put(&msg, sizeof(*b));
			CHECK(b);
			b->wrote_ns = le64_of(le64_get(hdr->xid) % 3);
			(void)msg_post(v, s->node, &msg);
			csvp_free(&msg);
		}
		free(s);
		s = next;
	}
}

/* Until nothing moves any more. */
static void settle(struct env *v, bool silent)
{
	for (int calm = 0, turns = 0; calm < 4; turns++) {
		CHECK(turns < 200000);
		if (!silent)
			answer_callbacks(v);
		loop_run_once(loop, false);
		calm = v->e.fs->drv.nr_ops || v->coord->nr_io || (!silent && v->first) ? 0 : calm + 1;
	}
}

/* xid of something that the coordinator asked of node; 0: it asks nothing. */
static uint64_t asked(const struct env *v, uint32_t node)
{
	for (const struct sent *s = v->first; s; s = s->next) {
		const struct csvp_hdr *hdr = (const struct csvp_hdr *)s->data;
		if (s->node == node && !(le32_get(hdr->flags) & CSVP_REPLY))
			return le64_get(hdr->xid);
	}
	return 0;
}

static void send_one(struct env *v, struct fuzz_in *in)
{
	uint32_t node = 1 + (uint32_t)fuzz_num(in, 1) % NODES, op = (uint32_t)fuzz_num(in, 1);
	unsigned ctl = (unsigned)fuzz_num(in, 2);
	uint16_t slot = ctl & CTL_SLOT ? (uint16_t)fuzz_num(in, 1) : CSVP_NO_SLOT;
	uint64_t seq = ctl & CTL_SLOT ? fuzz_num(in, 1) : 0;
	size_t want = fuzz_num(in, 1) * (ctl & CTL_LONG ? 4 : 1), len;
	const uint8_t *body = fuzz_bytes(in, want, &len);
	struct csvp_msg msg;

	if (ctl & CTL_GONE)
		coord_node_gone(v->coord, node, v->coord->sessions[node].generation);
	if (refused[node] && op != CSVP_HELLO && !(ctl & CTL_RAW))
		return;
	msg_begin(v, &msg, (enum csvp_op)op);
	struct csvp_hdr *hdr = csvp_hdr(&msg);
	hdr->flags = le32_of(ctl & (CTL_REPLY | CTL_LAST));
	hdr->slot = le16_of(slot);
	hdr->seq = le64_of(seq);
	if (ctl & CTL_REPLY)
		hdr->xid = le64_of(asked(v, node));
	if (ctl & CTL_OTHER_EPOCH)
		hdr->epoch = le64_of(v->e.epoch - 1);
	for (int n = 0; n < (ctl & CTL_AGAIN ? 256 : 1); n++)
		csvp_put_bytes(&msg, body, (uint32_t)len);
	CHECK_OK(csvp_finish(&msg));
	if (ctl & CTL_CUT)
		csvp_hdr(&msg)->len = le32_of(msg.len + 8);
	/* exactly as long as it is, so that reading past it shows */
	uint8_t *exact = malloc(msg.len);
	CHECK(exact);
	memcpy(exact, msg.data, msg.len);
	int err = ctl & CTL_RAW ? coord_message(v->coord, node, body, (uint32_t)len) :
				  coord_message(v->coord, node, exact, msg.len);
	free(exact);
	csvp_free(&msg);
	if (getenv("SHOW_LOG"))
		dprintf(2, "node %u: %s, %zu bytes: %s\n", node, csvp_op_name(op), len, err_str(err));
	if (err > 0)
		fuzz_fail("coord_message() answers a positive number");
	refused[node] = err != 0;
	if (!(ctl & CTL_PILE))
		settle(v, ctl & CTL_SILENT);
}

/* All say HELLO; the first of them have nothing, and the others have not said it yet. */
static void nodes_come(struct env *v, uint32_t nr_ready)
{
	for (uint32_t node = 1; node <= NODES; node++) {
		CHECK_OK(node_hello(v, node));
		if (node <= nr_ready)
			node_reassert(v, node, 0, NULL);
	}
}

static void complain(void *arg, const char *text)
{
	dprintf(2, "%s\n", text);
}

static void check_volume(struct env *v)
{
	struct csv_check_report report;

	engine_open(&v->e, 0);
	CHECK_OK(csv_check(v->e.fs, complain, NULL, &report));
	if (report.errors)
		fuzz_fail("messages have damaged the volume");
	CHECK_OK(engine_close(&v->e));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_in in = { data, len };
	struct env v = { .last = &v.first };

	memset(refused, 0, sizeof(refused));
	for (uint32_t node = 1; node <= NODES; node++)
		v.generation[node] = GENERATION + node;
	fuzz_volume_open(&clean, loop, &v.e);
	engine_open(&v.e, 0);
	env_coord(&v, ALL);
	nodes_come(&v, fuzz_num(&in, 1) & 1 ? 2 : NODES);
	for (int n = 0; in.left > 0 && n < MAX_MESSAGES; n++)
		send_one(&v, &in);
	settle(&v, false);
	CHECK_OK(csv_fs_error(v.e.fs));
	env_stop(&v);
	check_volume(&v);
	fuzz_volume_close(&v.e);
	return 0;
}
