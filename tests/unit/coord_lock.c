/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: util blockdev journal core proto coord */
/* Locks at the coordinator: ranges against a model, waiting, circles, cancels, ends of nodes, takeover
 * with reassertion, hostile messages. */
#include <time.h>

#include "csvfs/proto/lockset.h"
#include "tests/unit/coord_test.h"

#define END CSVP_LOCK_END

static struct csvp_lock wire(uint64_t ino, uint64_t owner, uint64_t start, uint64_t end,
	enum csvp_lock_type type)
{
	return (struct csvp_lock){
		.ino = le64_of(ino),
		.owner = le64_of(owner),
		.start = le64_of(start),
		.end = le64_of(end),
		.type = le32_of(type),
		.pid = le32_of(100 + (uint32_t)owner),
	};
}

/* Sends it; the number under which it will be answered. */
static uint64_t post(struct env *v, uint32_t node, enum csvp_op op, const struct csvp_lock *lock)
{
	struct csvp_msg msg;

	msg_begin(v, &msg, op);
	csvp_put_bytes(&msg, lock, sizeof(*lock));
	uint64_t xid = v->xid;
	CHECK_OK(msg_post(v, node, &msg));
	csvp_free(&msg);
	return xid;
}

static int ask(struct env *v, uint32_t node, struct csvp_lock lock)
{
	return msg_wait(v, node, post(v, node, CSVP_LOCK, &lock), NULL);
}

static uint64_t begin_wait(struct env *v, uint32_t node, struct csvp_lock lock)
{
	lock.flags = le32_of(CSVP_LOCK_WAIT);
	return post(v, node, CSVP_LOCK, &lock);
}

/* Not answered, as far as that can be seen. */
static void check_waits(struct env *v, uint32_t node, uint64_t xid)
{
	struct sent *s = sent_take(v, node, true, xid, 0);

	CHECK(!s);
}

static void cancel(struct env *v, uint32_t node, uint64_t xid)
{
	struct csvp_msg msg;

	msg_begin(v, &msg, CSVP_LOCK_CANCEL);
	struct csvp_lock_cancel *b = csvp_put(&msg, sizeof(*b));
	CHECK(b);
	b->xid = le64_of(xid);
	CHECK_OK(msg_call(v, node, &msg, NULL));
}

/* What GETLK finds. */
static struct csvp_lock getlk(struct env *v, uint32_t node, struct csvp_lock lock)
{
	struct sent *s;
	struct csvp_in in;
	struct csvp_lock found;

	CHECK_OK(msg_wait(v, node, post(v, node, CSVP_GETLK, &lock), &s));
	CHECK_OK(csvp_open(&in, s->data, s->len));
	const struct csvp_lock *b = csvp_get(&in, sizeof(*b));
	CHECK(b);
	found = *b;
	free(s);
	return found;
}

/* Connects anew and tells nr locks. */
static int tell(struct env *v, uint32_t node, uint64_t ino, unsigned nr, const struct csvp_lock *locks)
{
	struct csvp_msg msg;

	CHECK_OK(node_hello(v, node));
	msg_begin(v, &msg, CSVP_REASSERT_LOCKS);
	csvp_put_bytes(&msg, locks, nr * (uint32_t)sizeof(*locks));
	CHECK_OK(msg_call(v, node, &msg, NULL));
	msg_begin(v, &msg, CSVP_REASSERT);
	csvp_hdr(&msg)->flags = le32_of(CSVP_LAST);
	struct csvp_reassert *r = csvp_put(&msg, sizeof(*r));
	CHECK(r);
	*r = (struct csvp_reassert){ le64_of(ino), le32_of(CSVP_NONE), le32_of(1) };
	int err = msg_post(v, node, &msg);
	csvp_free(&msg);
	return err ? err : msg_wait(v, node, v->xid, NULL);
}

static uint64_t open_everywhere(struct env *v, const char *name)
{
	uint64_t ino = do_create(v, 1, name, true);

	for (uint32_t node = 2; node <= NODES; node++)
		CHECK_OK(do_open(v, node, ino));
	return ino;
}

static struct coord_stats stats_of(struct env *v)
{
	struct coord_stats st;

	coord_stats(v->coord, &st);
	return st;
}

/* ---- ranges, against an array of bytes ---- */

#define BYTES 24u
#define OWNERS 3u

/* held[byte][node][owner]: enum csvp_lock_type */
struct model {
	uint8_t held[BYTES][NODES + 1][OWNERS];
};

static bool model_blocked(const struct model *m, uint32_t node, uint32_t owner, uint64_t start,
	uint64_t end, enum csvp_lock_type type, uint64_t *ret_first)
{
	for (uint64_t b = start; b <= end && b < BYTES; b++)
		for (uint32_t n = 1; n <= NODES; n++)
			for (uint32_t o = 0; o < OWNERS; o++) {
				uint8_t held = m->held[b][n][o];
				if ((n == node && o == owner) || !held)
					continue;
				if (held != CSVP_LOCK_WRITE && type != CSVP_LOCK_WRITE)
					continue;
				*ret_first = b;
				return true;
			}
	return false;
}

static void model_set(struct model *m, uint32_t node, uint32_t owner, uint64_t start, uint64_t end,
	enum csvp_lock_type type)
{
	for (uint64_t b = start; b <= end && b < BYTES; b++)
		m->held[b][node][owner] = (uint8_t)type;
}

/* The fewest locks that say the same: runs of one type of one owner. */
static uint32_t model_count(const struct model *m)
{
	uint32_t nr = 0;

	for (uint32_t n = 1; n <= NODES; n++)
		for (uint32_t o = 0; o < OWNERS; o++)
			for (uint32_t b = 0; b < BYTES; b++)
				nr += m->held[b][n][o] &&
					(!b || m->held[b - 1][n][o] != m->held[b][n][o]);
	return nr;
}

static void test_model(unsigned seed)
{
	static struct model m;
	struct env v;
	uint64_t first;
	unsigned granted = 0, refused = 0;

	srand(seed);
	memset(&m, 0, sizeof(m));
	env_start(&v);
	uint64_t ino = open_everywhere(&v, "f");
	for (int i = 0; i < 4000; i++) {
		uint32_t node = 1 + (uint32_t)rand() % NODES, owner = (uint32_t)rand() % OWNERS;
		uint64_t start = (uint64_t)rand() % BYTES;
		uint64_t end = start + (uint64_t)rand() % 6;
		enum csvp_lock_type type = (enum csvp_lock_type)(rand() % 3);
		if (end >= BYTES - 1)
			end = END; /* the model's last byte stands for all that follow */
		if (rand() % 50 == 0)
			type = CSVP_LOCK_NONE, start = 0, end = END;
		struct csvp_lock lock = wire(ino, owner, start, end, type);
		bool blocked = type &&
			model_blocked(&m, node, owner, start, end, type, &first);
		if (type && rand() % 2) {
			struct csvp_lock got = getlk(&v, node, lock);
			CHECK_EQ(le32_get(got.type) != CSVP_LOCK_NONE, blocked);
			if (blocked) /* it begins at the first byte that is in the way, or before */
				CHECK(le64_get(got.start) <= first &&
					le64_get(got.end) >= first);
		}
		int status = ask(&v, node, lock);
		CHECK_EQ(status, blocked ? -EAGAIN : 0);
		if (!status)
			model_set(&m, node, owner, start, end, type);
		granted += !blocked;
		refused += blocked;
		CHECK_EQ(stats_of(&v).nr_locks, model_count(&m)); /* joined wherever they touch */
	}
	CHECK(granted > 500 && refused > 500);
	env_end(&v);
}

/* Joined and cut as fcntl(2) says, and nothing is left. */
static void test_ranges(void)
{
	struct env v;

	env_start(&v);
	uint64_t ino = open_everywhere(&v, "f");
	CHECK_OK(ask(&v, 1, wire(ino, 1, 0, 9, CSVP_LOCK_WRITE)));
	CHECK_OK(ask(&v, 1, wire(ino, 1, 20, 29, CSVP_LOCK_WRITE)));
	CHECK_EQ(stats_of(&v).nr_locks, 2);
	CHECK_OK(ask(&v, 1, wire(ino, 1, 10, 19, CSVP_LOCK_WRITE)));
	CHECK_EQ(stats_of(&v).nr_locks, 1);
	CHECK_OK(ask(&v, 1, wire(ino, 1, 5, 24, CSVP_LOCK_READ)));
	CHECK_EQ(stats_of(&v).nr_locks, 3);
	CHECK_OK(ask(&v, 2, wire(ino, 1, 5, 24, CSVP_LOCK_READ)));
	CHECK_EQ(ask(&v, 2, wire(ino, 1, 4, 24, CSVP_LOCK_READ)), -EAGAIN);
	struct csvp_lock got = getlk(&v, 2, wire(ino, 1, 0, END, CSVP_LOCK_WRITE));
	CHECK_EQ(le64_get(got.start), 0);
	CHECK_EQ(le64_get(got.end), 4);
	CHECK_EQ(le32_get(got.type), CSVP_LOCK_WRITE);
	CHECK_EQ(le32_get(got.pid), 0); /* of another node */
	got = getlk(&v, 1, wire(ino, 2, 0, END, CSVP_LOCK_WRITE));
	CHECK_EQ(le32_get(got.pid), 101);
	CHECK_OK(ask(&v, 1, wire(ino, 1, 7, 7, CSVP_LOCK_NONE)));
	CHECK_EQ(stats_of(&v).nr_locks, 5);
	CHECK_OK(ask(&v, 1, wire(ino, 1, 0, END, CSVP_LOCK_NONE)));
	CHECK_EQ(stats_of(&v).nr_locks, 1);
	/* to the very end */
	CHECK_OK(ask(&v, 1, wire(ino, 1, END, END, CSVP_LOCK_WRITE)));
	CHECK_OK(ask(&v, 1, wire(ino, 1, END - 1, END - 1, CSVP_LOCK_WRITE)));
	CHECK_EQ(stats_of(&v).nr_locks, 2);
	/* the two kinds do not see each other */
	struct csvp_lock whole = wire(ino, 1, 0, END, CSVP_LOCK_WRITE);
	whole.kind = le32_of(CSVP_LOCK_FLOCK);
	CHECK_OK(ask(&v, 3, whole));
	CHECK_EQ(ask(&v, 4, whole), -EAGAIN);
	/* a close ends both */
	CHECK_OK(do_close(&v, 3, ino));
	CHECK_OK(ask(&v, 4, whole));
	CHECK_OK(do_close(&v, 4, ino));
	CHECK_OK(do_close(&v, 1, ino));
	CHECK_OK(do_close(&v, 2, ino));
	CHECK_EQ(stats_of(&v).nr_locks, 0);
	CHECK_EQ(stats_of(&v).nr_inodes, 0);
	env_end(&v);
}

/* ---- waiting ---- */

static void test_wait(void)
{
	struct env v;

	env_start(&v);
	uint64_t ino = open_everywhere(&v, "f");
	CHECK_OK(ask(&v, 1, wire(ino, 1, 0, 99, CSVP_LOCK_WRITE)));
	uint64_t a = begin_wait(&v, 2, wire(ino, 1, 0, 9, CSVP_LOCK_WRITE));
	uint64_t b = begin_wait(&v, 3, wire(ino, 1, 5, 14, CSVP_LOCK_WRITE));
	uint64_t c = begin_wait(&v, 4, wire(ino, 1, 50, 59, CSVP_LOCK_READ));
	uint64_t d = begin_wait(&v, 4, wire(ino, 2, 55, 59, CSVP_LOCK_READ));
	CHECK_EQ(stats_of(&v).nr_lock_waits, 4);
	/* another one may pass those that wait for something else */
	CHECK_OK(ask(&v, 4, wire(ino, 1, 200, 300, CSVP_LOCK_WRITE)));
	check_waits(&v, 2, a);
	CHECK_OK(ask(&v, 1, wire(ino, 1, 0, 20, CSVP_LOCK_NONE)));
	CHECK_OK(msg_wait(&v, 2, a, NULL)); /* who came first */
	check_waits(&v, 3, b);
	check_waits(&v, 4, c);
	CHECK_OK(ask(&v, 1, wire(ino, 1, 30, 99, CSVP_LOCK_READ))); /* weakened: readers come in */
	CHECK_OK(msg_wait(&v, 4, c, NULL));
	CHECK_OK(msg_wait(&v, 4, d, NULL));
	check_waits(&v, 3, b);
	CHECK_OK(ask(&v, 2, wire(ino, 1, 0, END, CSVP_LOCK_NONE)));
	CHECK_OK(msg_wait(&v, 3, b, NULL));
	/* the end of a file is an unlock, too */
	b = begin_wait(&v, 3, wire(ino, 1, 80, 80, CSVP_LOCK_WRITE));
	check_waits(&v, 3, b);
	CHECK_OK(do_close(&v, 1, ino));
	CHECK_OK(msg_wait(&v, 3, b, NULL));
	CHECK_EQ(stats_of(&v).nr_lock_waits, 0);
	env_end(&v);
}

/* A node that is gone holds nothing and waits for nothing. */
static void test_gone(void)
{
	struct env v;

	env_start(&v);
	uint64_t ino = open_everywhere(&v, "f"), other = open_everywhere(&v, "g");
	CHECK_OK(ask(&v, 2, wire(ino, 1, 0, END, CSVP_LOCK_WRITE)));
	CHECK_OK(ask(&v, 2, wire(other, 1, 0, END, CSVP_LOCK_WRITE)));
	uint64_t a = begin_wait(&v, 3, wire(ino, 1, 0, 9, CSVP_LOCK_WRITE));
	uint64_t gone = begin_wait(&v, 2, wire(ino, 2, 3, 4, CSVP_LOCK_WRITE));
	uint64_t b = begin_wait(&v, 4, wire(other, 1, 7, 7, CSVP_LOCK_READ));
	coord_node_gone(v.coord, 2, v.generation[2]);
	CHECK_OK(msg_wait(&v, 3, a, NULL));
	CHECK_OK(msg_wait(&v, 4, b, NULL));
	check_waits(&v, 2, gone);
	struct coord_stats st = stats_of(&v);
	CHECK_EQ(st.nr_locks, 2);
	CHECK_EQ(st.nr_lock_waits, 0);
	env_end(&v);
}

static void test_cancel(void)
{
	struct env v;

	env_start(&v);
	uint64_t ino = open_everywhere(&v, "f");
	CHECK_OK(ask(&v, 1, wire(ino, 1, 0, 9, CSVP_LOCK_WRITE)));
	uint64_t a = begin_wait(&v, 2, wire(ino, 1, 0, 9, CSVP_LOCK_WRITE));
	uint64_t b = begin_wait(&v, 3, wire(ino, 1, 0, 9, CSVP_LOCK_WRITE));
	cancel(&v, 3, a); /* not its own */
	cancel(&v, 2, a + 1000);
	check_waits(&v, 2, a);
	cancel(&v, 2, a);
	CHECK_EQ(msg_wait(&v, 2, a, NULL), -EINTR);
	/* it leaves nothing behind: who comes next is next */
	CHECK_OK(ask(&v, 1, wire(ino, 1, 0, 9, CSVP_LOCK_NONE)));
	CHECK_OK(msg_wait(&v, 3, b, NULL));
	/* granted before the cancel: it stays so, and there is one answer */
	uint64_t c = begin_wait(&v, 1, wire(ino, 1, 0, 9, CSVP_LOCK_WRITE));
	CHECK_OK(ask(&v, 3, wire(ino, 1, 0, 9, CSVP_LOCK_NONE)));
	cancel(&v, 1, c);
	CHECK_OK(msg_wait(&v, 1, c, NULL));
	CHECK_EQ(ask(&v, 2, wire(ino, 1, 0, 9, CSVP_LOCK_WRITE)), -EAGAIN);
	env_end(&v);
}

/* ---- circles ---- */

static void test_deadlock(void)
{
	struct env v;

	env_start(&v);
	uint64_t f = open_everywhere(&v, "f"), g = open_everywhere(&v, "g");
	/* two */
	CHECK_OK(ask(&v, 1, wire(f, 7, 0, 0, CSVP_LOCK_WRITE)));
	CHECK_OK(ask(&v, 2, wire(f, 7, 1, 1, CSVP_LOCK_WRITE)));
	uint64_t a = begin_wait(&v, 1, wire(f, 7, 1, 1, CSVP_LOCK_WRITE));
	uint64_t b = begin_wait(&v, 2, wire(f, 7, 0, 0, CSVP_LOCK_READ));
	CHECK_EQ(msg_wait(&v, 2, b, NULL), -EDEADLK);
	check_waits(&v, 1, a);
	/* three, over two files; the same owner's number on another node is another owner */
	CHECK_OK(ask(&v, 3, wire(g, 7, 5, 6, CSVP_LOCK_WRITE)));
	b = begin_wait(&v, 2, wire(g, 7, 6, 6, CSVP_LOCK_WRITE));
	check_waits(&v, 2, b);
	uint64_t c = begin_wait(&v, 3, wire(f, 8, 0, 0, CSVP_LOCK_WRITE)); /* who holds nothing */
	check_waits(&v, 3, c);
	uint64_t d = begin_wait(&v, 3, wire(f, 7, 0, 0, CSVP_LOCK_WRITE));
	CHECK_EQ(msg_wait(&v, 3, d, NULL), -EDEADLK);
	/* what is asked for without waiting is no circle */
	CHECK_EQ(ask(&v, 3, wire(f, 7, 0, 0, CSVP_LOCK_WRITE)), -EAGAIN);
	/* it goes on when one lets go */
	CHECK_OK(ask(&v, 3, wire(g, 7, 0, END, CSVP_LOCK_NONE)));
	CHECK_OK(msg_wait(&v, 2, b, NULL));
	CHECK_OK(ask(&v, 2, wire(f, 7, 0, END, CSVP_LOCK_NONE)));
	CHECK_OK(msg_wait(&v, 1, a, NULL));
	check_waits(&v, 3, c);

	/* two readers that both want to write */
	CHECK_OK(ask(&v, 1, wire(g, 1, 100, 109, CSVP_LOCK_READ)));
	CHECK_OK(ask(&v, 4, wire(g, 1, 100, 109, CSVP_LOCK_READ)));
	a = begin_wait(&v, 1, wire(g, 1, 100, 109, CSVP_LOCK_WRITE));
	CHECK_EQ(msg_wait(&v, 4, begin_wait(&v, 4, wire(g, 1, 105, 105, CSVP_LOCK_WRITE)), NULL),
		-EDEADLK);
	CHECK_OK(ask(&v, 4, wire(g, 1, 0, END, CSVP_LOCK_NONE)));
	CHECK_OK(msg_wait(&v, 1, a, NULL));
	env_end(&v);
}

/* flock: a change of type lets go first, so two that change wait for nobody's ever. */
static void test_flock(void)
{
	struct env v;
	struct csvp_lock sh, ex, un;

	env_start(&v);
	uint64_t ino = open_everywhere(&v, "f");
	sh = wire(ino, 1, 0, END, CSVP_LOCK_READ);
	ex = wire(ino, 1, 0, END, CSVP_LOCK_WRITE);
	un = wire(ino, 1, 0, END, CSVP_LOCK_NONE);
	sh.kind = ex.kind = un.kind = le32_of(CSVP_LOCK_FLOCK);
	CHECK_OK(ask(&v, 1, sh));
	CHECK_OK(ask(&v, 2, sh));
	uint64_t a = begin_wait(&v, 1, ex);
	check_waits(&v, 1, a);
	uint64_t b = begin_wait(&v, 2, ex);
	CHECK_OK(msg_wait(&v, 1, a, NULL));
	check_waits(&v, 2, b);
	CHECK_OK(ask(&v, 1, un));
	CHECK_OK(msg_wait(&v, 2, b, NULL));
	CHECK_EQ(ask(&v, 1, sh), -EAGAIN);
	CHECK_OK(ask(&v, 2, sh));
	CHECK_OK(ask(&v, 1, sh));
	CHECK_EQ(ask(&v, 1, ex), -EAGAIN); /* and has lost the shared one by that */
	CHECK_OK(ask(&v, 2, ex));
	env_end(&v);
}

/* ---- connections and takeover ---- */

/* A node that comes back holds what it says, and waits for nothing until it asks again. */
static void test_reconnect(void)
{
	struct env v;

	env_start(&v);
	uint64_t ino = open_everywhere(&v, "f");
	struct csvp_lock keeps = wire(ino, 1, 0, 9, CSVP_LOCK_WRITE);
	CHECK_OK(ask(&v, 1, keeps));
	CHECK_OK(ask(&v, 2, wire(ino, 1, 20, 29, CSVP_LOCK_WRITE)));
	struct csvp_lock lost = wire(ino, 1, 20, 29, CSVP_LOCK_WRITE);
	uint64_t a = begin_wait(&v, 1, lost); /* granted below, and the answer is lost */
	uint64_t b = begin_wait(&v, 1, wire(ino, 1, 300, 300, CSVP_LOCK_WRITE)); /* granted at once */
	CHECK_OK(msg_wait(&v, 1, b, NULL));
	uint64_t c = begin_wait(&v, 3, wire(ino, 1, 20, 20, CSVP_LOCK_READ));
	CHECK_OK(ask(&v, 2, wire(ino, 1, 0, END, CSVP_LOCK_NONE)));
	check_waits(&v, 3, c); /* node 1 was first */
	/* ... but knows nothing of it: the lock does not stay behind */
	CHECK_OK(tell(&v, 1, ino, 1, &keeps));
	CHECK_OK(msg_wait(&v, 3, c, NULL));
	CHECK_EQ(ask(&v, 3, wire(ino, 1, 5, 5, CSVP_LOCK_READ)), -EAGAIN);
	CHECK_OK(ask(&v, 3, wire(ino, 1, 300, 300, CSVP_LOCK_WRITE)));
	env_forget(&v);
	/* A wait that the cut has ended: nobody is granted anything on the old connection. */
	a = begin_wait(&v, 1, lost);
	CHECK_EQ(stats_of(&v).nr_lock_waits, 1);
	CHECK_OK(tell(&v, 1, ino, 1, &keeps));
	CHECK_EQ(stats_of(&v).nr_lock_waits, 0);
	CHECK_OK(ask(&v, 3, wire(ino, 1, 0, END, CSVP_LOCK_NONE)));
	check_waits(&v, 1, a);
	CHECK_OK(ask(&v, 2, wire(ino, 1, 20, 29, CSVP_LOCK_WRITE)));
	/* Sent again, it gets its place back; it may be older than this machine's clock. */
	b = begin_wait(&v, 3, wire(ino, 1, 20, 29, CSVP_LOCK_WRITE));
	lost.waited_ms = le64_of(365ull * 86400 * 1000);
	a = begin_wait(&v, 1, lost);
	CHECK_OK(ask(&v, 2, wire(ino, 1, 0, END, CSVP_LOCK_NONE)));
	CHECK_OK(msg_wait(&v, 1, a, NULL));
	check_waits(&v, 3, b);
	env_end(&v);
}

static void test_takeover(void)
{
	struct env v;

	env_start(&v);
	uint64_t ino = open_everywhere(&v, "f");
	struct csvp_lock one = wire(ino, 1, 0, 9, CSVP_LOCK_WRITE);
	struct csvp_lock two[] = { wire(ino, 1, 10, 19, CSVP_LOCK_WRITE),
		wire(ino, 2, 30, 39, CSVP_LOCK_READ) };
	CHECK_OK(ask(&v, 1, one));
	CHECK_OK(ask(&v, 2, two[0]));
	CHECK_OK(ask(&v, 2, two[1]));
	env_restart(&v, 7); /* nodes 1 to 3 */
	CHECK_OK(tell(&v, 1, ino, 1, &one));
	/* it asks before all have spoken, for what another one will say is its own */
	struct csvp_lock wants = wire(ino, 1, 10, 10, CSVP_LOCK_WRITE);
	uint64_t early = post(&v, 1, CSVP_LOCK, &wants);
	uint64_t waits = begin_wait(&v, 1, wire(ino, 1, 15, 16, CSVP_LOCK_WRITE));
	CHECK_OK(tell(&v, 3, ino, 0, NULL));
	check_waits(&v, 1, early);
	CHECK_EQ(v.served, 0);
	CHECK_OK(tell(&v, 2, ino, 2, two));
	CHECK_EQ(v.served, 1);
	CHECK_EQ(msg_wait(&v, 1, early, NULL), -EAGAIN);
	check_waits(&v, 1, waits);
	CHECK_OK(ask(&v, 3, wire(ino, 9, 32, 33, CSVP_LOCK_READ)));
	CHECK_EQ(ask(&v, 3, wire(ino, 9, 32, 33, CSVP_LOCK_WRITE)), -EAGAIN);
	CHECK_OK(ask(&v, 2, wire(ino, 1, 0, END, CSVP_LOCK_NONE)));
	CHECK_OK(msg_wait(&v, 1, waits, NULL));
	CHECK_EQ(stats_of(&v).nr_locks, 4);

	/* two say that they have it: the later one goes, and what it had stands until it is gone */
	CHECK_EQ(tell(&v, 3, ino, 1, &one), -EPROTO);
	CHECK_EQ(v.evicted, 1u << 3);
	CHECK_EQ(stats_of(&v).nr_locks, 4);
	CHECK_EQ(ask(&v, 2, wire(ino, 2, 32, 33, CSVP_LOCK_WRITE)), -EAGAIN);
	coord_node_gone(v.coord, 3, v.generation[3]);
	CHECK_OK(ask(&v, 2, wire(ino, 2, 32, 33, CSVP_LOCK_WRITE)));
	/* the coordinator's own node stays, whoever came first */
	v.evicted = 0;
	struct csvp_lock wide = wire(ino, 5, 0, END, CSVP_LOCK_WRITE);
	CHECK_EQ(tell(&v, 1, ino, 1, &wide), -EPROTO);
	CHECK_EQ(v.evicted, 1u << 2);
	env_end(&v);
}

/* ---- hostile messages ---- */

static void test_hostile(void)
{
	struct env v;
	struct csvp_msg msg;

	env_start(&v);
	uint64_t ino = open_everywhere(&v, "f"), closed = do_create(&v, 1, "g", false);
	struct csvp_lock good = wire(ino, 1, 0, 9, CSVP_LOCK_WRITE), bad;
	struct csvp_lock none = wire(ino, 1, 0, 9, CSVP_LOCK_NONE);

	CHECK_EQ(ask(&v, 1, wire(ino, 1, 9, 8, CSVP_LOCK_WRITE)), -EINVAL);
	CHECK_EQ(ask(&v, 1, wire(ino, 1, 0, END + 1, CSVP_LOCK_WRITE)), -EINVAL);
	CHECK_EQ(ask(&v, 1, wire(ino, 1, UINT64_MAX, UINT64_MAX, CSVP_LOCK_NONE)), -EINVAL);
	CHECK_EQ(ask(&v, 1, wire(ino, 1, 0, 9, 3)), -EINVAL);
	CHECK_EQ(ask(&v, 1, wire(closed, 1, 0, 9, CSVP_LOCK_READ)), -ESTALE);
	CHECK_EQ(ask(&v, 1, wire(0, 1, 0, 9, CSVP_LOCK_READ)), -ESTALE);
	CHECK_EQ(ask(&v, 1, wire(UINT64_MAX, 1, 0, 9, CSVP_LOCK_READ)), -ESTALE);
	bad = good;
	bad.kind = le32_of(2);
	CHECK_EQ(ask(&v, 1, bad), -EINVAL);
	bad.kind = le32_of(CSVP_LOCK_FLOCK); /* a part of the file */
	CHECK_EQ(ask(&v, 1, bad), -EINVAL);
	bad = good;
	bad.flags = le32_of(2);
	CHECK_EQ(ask(&v, 1, bad), -EINVAL);
	CHECK_EQ(msg_wait(&v, 1, post(&v, 1, CSVP_GETLK, &none), NULL), -EINVAL);
	bad = good;
	bad.waited_ms = le64_of(UINT64_MAX); /* older than the world */
	CHECK_OK(ask(&v, 2, good));
	uint64_t a = begin_wait(&v, 1, bad);
	check_waits(&v, 1, a);
	CHECK_OK(do_close(&v, 1, ino)); /* with a request under way */
	CHECK_EQ(msg_wait(&v, 1, a, NULL), -EBADF);

	/* too short; locks of nothing; on what is not open */
	msg_begin(&v, &msg, CSVP_LOCK);
	csvp_put_bytes(&msg, &good, sizeof(good) - 1);
	CHECK_EQ(msg_post(&v, 3, &msg), -EPROTO);
	csvp_free(&msg);
	msg_begin(&v, &msg, CSVP_REASSERT_LOCKS);
	csvp_put_bytes(&msg, &good, sizeof(good) - 1);
	CHECK_EQ(msg_post(&v, 3, &msg), -EPROTO);
	csvp_free(&msg);
	msg_begin(&v, &msg, CSVP_REASSERT_LOCKS);
	csvp_put_bytes(&msg, &none, sizeof(none));
	CHECK_EQ(msg_post(&v, 3, &msg), -EPROTO);
	csvp_free(&msg);
	bad = wire(closed, 1, 0, 9, CSVP_LOCK_WRITE);
	CHECK_EQ(tell(&v, 3, ino, 1, &bad), -EPROTO);
	/* two of one owner that overlap */
	struct csvp_lock twice[] = { wire(ino, 1, 25, 35, CSVP_LOCK_WRITE),
		wire(ino, 1, 20, 29, CSVP_LOCK_READ) };
	CHECK_EQ(tell(&v, 3, ino, 2, twice), -EPROTO);
	CHECK_OK(tell(&v, 3, ino, 1, twice));
	CHECK_EQ(stats_of(&v).nr_locks, 2);
	/* after all was told */
	msg_begin(&v, &msg, CSVP_REASSERT_LOCKS);
	csvp_put_bytes(&msg, &good, sizeof(good));
	CHECK_EQ(msg_post(&v, 3, &msg), -EPROTO);
	csvp_free(&msg);
	/* as many as there may be, and one more */
	int status = 0;
	uint32_t nr;
	for (nr = 0; nr < 20000 && !status; nr++)
		status = ask(&v, 4, wire(ino, 1, 1000 + 2 * nr, 1000 + 2 * nr, CSVP_LOCK_READ));
	CHECK_EQ(status, -ENOLCK);
	CHECK_EQ(stats_of(&v).nr_locks, 16384);
	CHECK_OK(ask(&v, 4, wire(ino, 1, 0, END, CSVP_LOCK_NONE)));
	CHECK_EQ(stats_of(&v).nr_locks, 2);
	env_end(&v);
}

/* ---- as many as there may be ---- */

#define INODE_LOCKS 16384u

/* An unlock may cut a lock in two: not beyond the limit, what needs no more locks goes on. */
static void test_cut_limit(void)
{
	struct env v;
	int status = 0;

	env_start(&v);
	uint64_t ino = open_everywhere(&v, "f");
	CHECK_OK(ask(&v, 1, wire(ino, 1, 0, END, CSVP_LOCK_WRITE)));
	for (uint64_t at = 1; at < 4 * INODE_LOCKS && !status; at += 2)
		status = ask(&v, 1, wire(ino, 1, at, at, CSVP_LOCK_NONE));
	CHECK_EQ(status, -ENOLCK);
	CHECK_EQ(stats_of(&v).nr_locks, INODE_LOCKS);
	CHECK_OK(ask(&v, 1, wire(ino, 1, 0, 0, CSVP_LOCK_NONE)));
	CHECK_OK(ask(&v, 1, wire(ino, 1, 0, END, CSVP_LOCK_NONE)));
	CHECK_EQ(stats_of(&v).nr_locks, 0);
	env_end(&v);
}

static int tell_locks(struct env *v, uint32_t node, uint64_t ino, const struct csvp_lock *locks, uint32_t nr)
{
	struct csvp_msg msg;

	msg_begin(v, &msg, CSVP_REASSERT_LOCKS);
	for (uint32_t i = 0; i < nr; i++) {
		struct csvp_lock lock = locks[i];
		lock.ino = le64_of(ino);
		csvp_put_bytes(&msg, &lock, sizeof(lock));
	}
	int err = msg_post(v, node, &msg);
	csvp_free(&msg);
	return err ? err : msg_wait(v, node, v->xid, NULL);
}

static uint64_t cpu_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* All that two nodes may hold is told and compared in no time; too many are refused. */
static void test_many(void)
{
	static struct csvp_lock locks[INODE_LOCKS];
	uint64_t pairs[8], begin;
	struct env v;

	env_start(&v);
	for (unsigned i = 0; i < 4; i++) {
		pairs[2 * i] = open_everywhere(&v, (char[2]){ (char)('a' + i), 0 });
		pairs[2 * i + 1] = CSVP_NONE;
	}
	begin = cpu_ms();
	for (uint32_t node = 2; node <= 3; node++) {
		CHECK_OK(node_hello(&v, node));
		for (uint32_t i = 0; i < INODE_LOCKS; i++)
			locks[i] = wire(0, node * INODE_LOCKS + i, 4 * i + node, 4 * i + node, CSVP_LOCK_WRITE);
		for (unsigned i = 0; i < 4; i++)
			CHECK_OK(tell_locks(&v, node, pairs[2 * i], locks, INODE_LOCKS));
		node_reassert(&v, node, 4, pairs);
	}
	CHECK_EQ(stats_of(&v).nr_locks, 8 * INODE_LOCKS);
	printf("%u locks told in %llu ms\n", 8 * INODE_LOCKS, (unsigned long long)(cpu_ms() - begin));
	CHECK(cpu_ms() - begin < 4000);
	CHECK_EQ(v.evicted, 0);

	/* one among them that is another node's */
	CHECK_OK(node_hello(&v, 2));
	locks[INODE_LOCKS / 2] = wire(0, 1, 4 * 77 + 3, 4 * 77 + 3, CSVP_LOCK_READ);
	for (uint32_t i = 0; i < INODE_LOCKS; i++)
		if (i != INODE_LOCKS / 2)
			locks[i] = wire(0, 2 * INODE_LOCKS + i, 4 * i + 2, 4 * i + 2, CSVP_LOCK_READ);
	CHECK_OK(tell_locks(&v, 2, pairs[6], locks, INODE_LOCKS));
	struct csvp_msg msg;
	msg_begin(&v, &msg, CSVP_REASSERT);
	csvp_hdr(&msg)->flags = le32_of(CSVP_LAST);
	struct csvp_reassert r = { le64_of(pairs[6]), le32_of(CSVP_NONE), le32_of(1) };
	csvp_put_bytes(&msg, &r, sizeof(r));
	CHECK_EQ(msg_post(&v, 2, &msg), -EPROTO);
	csvp_free(&msg);
	CHECK_EQ(v.evicted, 1u << 2);

	/* without end */
	int status = 0;
	unsigned nr;
	CHECK_OK(node_hello(&v, 2));
	for (nr = 0; nr < 20 && !status; nr++)
		status = tell_locks(&v, 2, pairs[0] + nr, locks, INODE_LOCKS);
	CHECK_EQ(status, -EPROTO);
	CHECK(nr > 4);
	env_end(&v);
}

int main(void)
{
	test_ranges();
	for (unsigned seed = 1; seed <= 4; seed++)
		test_model(seed);
	test_wait();
	test_gone();
	test_cancel();
	test_deadlock();
	test_flock();
	test_reconnect();
	test_takeover();
	test_hostile();
	test_cut_limit();
	test_many();
	return 0;
}
