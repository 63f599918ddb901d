/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Exactly once (docs/DESIGN.md, 5).
 *
 *	once kill [SEED]	the coordinator is killed k turns after a request was sent, for rising k
 *				until it was answered before; every kind of request. What it had in
 *				flight is lost, torn or arrives. The next one takes over, the node
 *				resends: the answer must come, and the effect be there once. Every
 *				third time the next one is killed as well.
 *	once drop [SEED]	the nth message in either direction is lost and its connection with it,
 *				for rising n until none is, while a mixed workload runs
 *	once twin		results are not looked up: both must find it out
 *
 * One that failed is "replay: crash-once MODE SEED".
 */
#include <inttypes.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "csvfs/coord/coord_internal.h"
#include "csvfs/core/format.h"
#include "tests/crash/hooks.h"
#include "tests/crash/state.h"
#include "tests/crash/work.h"
#include "tests/unit/test.h"
#include "util/checked.h"
#include "util/log.h"

#ifdef __SANITIZE_ADDRESS__
#define DROP_STEP 7u /* only each so many-th message */
#define NR_SEEDS 2u
#else
#define DROP_STEP 1u
#define NR_SEEDS 3u
#endif

#define MAX_KILLS 3000u

struct once {
	struct sim *sim;
	uint64_t serial; /* for names */
	uint64_t nr_kills, nr_requests;
};

/* ---- requests: each is made ready, then sent, many times over ---- */

static void name_of(char *out, const char *what, uint64_t n)
{
	snprintf(out, CSV_NAME_MAX, "%s%llu", what, (unsigned long long)n);
}

/* Does op by node 1 and waits. */
static void done(struct once *o, struct op op)
{
	op.node = 1;
	CHECK(sim_submit(o->sim, &op));
	sim_idle(o->sim);
}

static struct op named(const struct once *o, enum op_kind kind, const char *name)
{
	struct op op = { .kind = kind, .dir = CSV_ROOT_INO };

	name_of(op.name, name, o->serial);
	return op;
}

static uint64_t made(struct once *o, enum op_kind kind, const char *name)
{
	struct op op = named(o, kind, name);

	done(o, op);
	struct model_entry *e = model_lookup(&o->sim->model, CSV_ROOT_INO, op.name);
	return e ? e->ino : 0;
}

/* A file with blocks, or with inline data. */
static uint64_t made_file(struct once *o, uint64_t len)
{
	uint64_t ino = made(o, OP_CREATE, "f");

	done(o, (struct op){ .kind = OP_WRITE, .ino = ino, .len = len });
	return ino;
}

static struct op make_link(struct once *o)
{
	struct op op = named(o, OP_LINK, "link");

	op.ino = made(o, OP_CREATE, "f");
	return op;
}

static struct op make_rename(struct once *o, bool replace, unsigned flags)
{
	struct op op = named(o, OP_RENAME, "from");

	made(o, OP_CREATE, "from");
	op.new_dir = made(o, OP_MKDIR, "dir");
	name_of(op.new_name, "to", o->serial);
	if (replace) {
		struct op to = op;

		to.kind = OP_CREATE;
		to.dir = op.new_dir;
		strcpy(to.name, op.new_name);
		done(o, to);
	}
	op.flags = flags;
	return op;
}

static struct op on_file(struct once *o, enum op_kind kind, uint64_t file_len, uint64_t off,
	uint64_t len)
{
	return (struct op){ .kind = kind, .ino = made_file(o, file_len), .off = off, .len = len,
		.size = off, .mode = 0600 };
}

static struct op with_xattr(struct once *o, enum op_kind kind, unsigned flags)
{
	struct op op = { .kind = OP_XATTR, .ino = made(o, OP_CREATE, "f"), .len = 300, .size = 5,
		.name = "user.x" };

	done(o, op);
	op.kind = kind;
	op.flags = flags;
	return op;
}

#define KIB 1024u

/* Every kind of request that changes something, in its shapes. */
static bool make_request(struct once *o, unsigned nth, struct op *ret)
{
	switch (nth) {
	case 0: *ret = named(o, OP_CREATE, "new"); break;
	case 1: *ret = named(o, OP_MKDIR, "new"); break;
	case 2: *ret = named(o, OP_SYMLINK, "new"); strcpy(ret->new_name, "target"); break;
	case 3: *ret = named(o, OP_FIFO, "new"); break;
	case 4: *ret = make_link(o); break;
	case 5: made_file(o, 64 * KIB); *ret = named(o, OP_UNLINK, "f"); break;
	case 6: made(o, OP_MKDIR, "d"); *ret = named(o, OP_RMDIR, "d"); break;
	case 7: *ret = make_rename(o, false, 0); break;
	case 8: *ret = make_rename(o, true, 0); break;
	case 9: *ret = make_rename(o, true, CSV_RENAME_EXCHANGE); break;
	case 10: *ret = on_file(o, OP_CHMOD, 512, 0, 0); break;
	case 11: *ret = on_file(o, OP_TRUNC, 64 * KIB, 5000, 0); break;
	case 12: *ret = on_file(o, OP_TRUNC, 64 * KIB + 512, 100000, 0); break;
	case 13: *ret = on_file(o, OP_TRUNC, 512, 100, 0); break;
	case 14: *ret = on_file(o, OP_PUNCH, 64 * KIB, 512, 20 * KIB); break;
	case 15: *ret = on_file(o, OP_PUNCH, 1024, 512, 512); break;
	case 16: *ret = on_file(o, OP_ZERO, 64 * KIB, 512, 80 * KIB); break;
	case 17: *ret = on_file(o, OP_ALLOC, 512, 0, 80 * KIB); break;
	case 18: *ret = on_file(o, OP_WRITE, 512, 512, 512); break;		/* inline */
	case 19: *ret = on_file(o, OP_APPEND, 512, 512, 512); break;		/* inline */
	case 20: *ret = on_file(o, OP_WRITE, 512, 8 * KIB, 4 * KIB); break;	/* out of the inode */
	case 21: *ret = on_file(o, OP_WRITE, 64 * KIB, 64 * KIB, 64 * KIB); break; /* grant, COMMIT */
	case 22: *ret = on_file(o, OP_WRITE, 64 * KIB, 80 * KIB, 512); break;	/* zeroed ahead */
	case 23: *ret = on_file(o, OP_WRITE, 64 * KIB, 4 * KIB, 8 * KIB); break; /* in place */
	case 24: *ret = on_file(o, OP_APPEND, 64 * KIB + 512, 64 * KIB + 512, 3 * KIB); break;
	case 25: *ret = on_file(o, OP_XATTR, 512, 7, 3000); strcpy(ret->name, "user.x"); break;
	case 26: *ret = with_xattr(o, OP_XATTR, CSV_XATTR_REPLACE); break;
	case 27: *ret = with_xattr(o, OP_NOXATTR, 0); break;
	case 28:
		*ret = on_file(o, OP_CLONE, 64 * KIB, 0, 0);
		ret->new_ino = made(o, OP_CREATE, "clone");
		break;
	case 29: *ret = on_file(o, OP_APPEND, 64 * KIB, 64 * KIB, 64 * KIB); break; /* grant, COMMIT */
	case 30: *ret = on_file(o, OP_PROJECT, 64 * KIB, 0, 0); ret->size = 1; break;
	case 31:
		made_file(o, 64 * KIB);
		*ret = (struct op){ .kind = OP_LIMIT, .size = 2, .len = o->serial };
		break;
	default: return false;
	}
	return true;
}

/* ---- kill ---- */

static bool running(const struct sim *sim)
{
	return sim->nr_running > 0;
}

/* Sends the request by another node than made it ready, and kills the coordinator after k turns.
 * False: it was answered before. */
static bool kill_at(struct once *o, const struct op *op, uint64_t k)
{
	struct sim *sim = o->sim;
	struct op sent = *op;

	sent.node = 2;
	CHECK(sim_submit(sim, &sent));
	o->nr_requests++;
	while (k-- > 0 && running(sim))
		sim_turn(sim);
	if (!running(sim))
		return false;
	sim_takeover(sim);
	o->nr_kills++;
	if (o->nr_kills % 3 == 0 && !sim->failed) {
		for (uint64_t turns = rnd_next(&sim->rnd) % 20; turns > 0 && running(sim); turns--)
			sim_turn(sim);
		sim_takeover(sim);
		o->nr_kills++;
	}
	return true;
}

static void close_all(struct sim *sim)
{
	for (uint32_t node = 1; node <= MODEL_NODES; node++)
		while (sim->peers[node].nr_handles > 0 && !sim->failed)
			sim_submit(sim, &(struct op){ .kind = OP_CLOSE, .node = node,
				.ino = sim->peers[node].handles[0].ino });
	sim_idle(sim);
}

static void kill_all(struct once *o, unsigned nth)
{
	struct op op;

	for (uint64_t k = 0; k < MAX_KILLS && !o->sim->failed; k++) {
		o->serial++;
		CHECK(make_request(o, nth, &op));
		bool killed = kill_at(o, &op, k);

		sim_idle(o->sim);
		close_all(o->sim);
		if (!o->sim->failed)
			judge_live(o->sim);
		if (o->sim->nr_refused)
			sim_complain(o->sim, "a request was refused");
		if (!killed)
			return;
	}
	sim_complain(o->sim, "request %u is never answered", nth);
}

/* A kind of request that is carried out exactly once and was not tried. */
static unsigned not_tried(void)
{
	for (unsigned op = 1; op < CSVP_OP_LIMIT; op++)
		if (coord_ops[op].once && !(hook_ops_put >> op & 1))
			return op;
	return 0;
}

static bool run_kill(uint64_t seed)
{
	struct once o = { 0 };
	struct op op;
	bool failed = false;
	unsigned nth;

	for (nth = 0; !failed; nth++) {
		o.sim = sim_new(seed * 100 + nth, 2 << 20, 0, 0, false);
		for (unsigned i = 0; i < 3; i++)
			chaos_of(o.sim->dev)->slow[i] = 1 + (seed >> i) % 3;
		o.serial = 0;
		if (!make_request(&o, nth, &op)) {
			sim_end(o.sim, true);
			sim_free(o.sim);
			break;
		}
		kill_all(&o, nth);
		if (o.sim->failed)
			fprintf(stderr, "request %u\nreplay: crash-once kill %" PRIu64 "\n", nth, seed);
		failed = o.sim->failed;
		if (!failed)
			sim_end(o.sim, true);
		sim_free(o.sim);
	}
	if (!failed && not_tried()) {
		fprintf(stderr, "%s has no request here\n", csvp_op_name(not_tried()));
		failed = true;
	}
	printf("kill: %u requests, sent %" PRIu64 " times, %" PRIu64 " kills\n", nth, o.nr_requests,
		o.nr_kills);
	return !failed;
}

/* ---- drop ---- */

static bool run_drop(uint64_t seed)
{
	const struct workload *w = workload_find("takeover");
	struct workload mixed = *w;
	uint64_t nr = 0, n = 1;
	bool dropped = true, failed = false;

	mixed.takeover_every = mixed.lose_one_of = 0;
	while (dropped && !failed) {
		struct sim *sim = sim_new(seed, 2 << 20, 0, 0, false);

		work_begin(sim, &mixed);
		sim->drop_message = sim->nr_messages + n;
		work_run(sim, &mixed, 40);
		dropped = sim->nr_messages >= sim->drop_message;
		nr += dropped;
		if (!sim->failed)
			judge_live(sim);
		sim_end(sim, true);
		failed = sim->failed;
		if (failed)
			fprintf(stderr, "message %" PRIu64 "\nreplay: crash-once drop %" PRIu64 "\n", n,
				seed);
		sim_free(sim);
		n += DROP_STEP;
	}
	printf("drop: %" PRIu64 " messages\n", nr);
	return !failed;
}

/* ---- twin ---- */

static bool found_out(bool (*run)(uint64_t seed))
{
	int status;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK(freopen("/dev/null", "w", stderr));
		CHECK(freopen("/dev/null", "w", stdout));
		hook_twin = TWIN_FORGET_SLOTS;
		exit(run(1) ? 0 : 42);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) && WEXITSTATUS(status) == 42;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "kill";
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;

	log_set_level(getenv("CRASH_LOG") ? LOG_LVL_DEBUG : (enum log_level)-1);
	bool kill = strcmp(mode, "kill") == 0;
	if (kill || strcmp(mode, "drop") == 0) {
		for (uint64_t end = argc > 2 ? seed + 1 : NR_SEEDS + 1; seed < end; seed++)
			if (!(kill ? run_kill : run_drop)(seed))
				return 1;
		return 0;
	}
	if (strcmp(mode, "twin"))
		return 2;
	CHECK(found_out(run_kill));
	CHECK(found_out(run_drop));
	return 0;
}
