/* libs: util blockdev journal core */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Crashes. A workload runs on a device that records every write and flush; then for many cuts of
 * the record a device is made as it could be found after
 *
 *   - the coordinator's death: what was done is there, what was in flight perhaps;
 *   - a loss of power: what a flush covered is there, of the rest any part.
 *
 * The next coordinator recovers it. It must find what the workload had made after its first k
 * operations, for a k that leaves out nothing that was acknowledged (after a loss of power: nothing
 * that was synced), and csv_check() must have nothing to say. Each operation stores its number in a
 * session slot, so k is known, and that an operation is there as a whole or not at all.
 *
 *	unit-core_crash [SEED [CUT]]
 */
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/core_ops.h"
#include "util/log.h"

#define NR_OPS 260
#define NR_DIRS 3
#define NR_NAMES 10
#define BATCH 6	      /* operations at the same time */
#define SYNC_EVERY 24 /* operations between syncs */
#define URI "ram:32M"
#define DEV_BYTES (32ull << 20)

static uint64_t rng_state;

static uint64_t rnd(uint64_t n)
{
	rng_state = rng_state * 6364136223846793005ull + 1442695040888963407ull;
	return (rng_state >> 33) % n;
}

/* ---- the workload: operation idx is the same in each run ---- */

enum kind { CREATE, MKDIR, INLINE, SYMLINK, LINK, UNLINK, RMDIR, RENAME, EXCHANGE, ALLOC, WRITTEN,
	PUNCH, SIZE, REAP, NR_KINDS };

struct step {
	struct csv_op op;
	uint32_t idx;
	enum kind kind;
	uint32_t dirs[2], names[2];
	uint64_t blk, nr;
	bool done;
};

static struct step steps[NR_OPS];

static void make_steps(uint64_t seed)
{
	rng_state = seed * 77 + 1;
	for (uint32_t i = 0; i < NR_OPS; i++)
		steps[i] = (struct step){ .idx = i, .kind = rnd(NR_KINDS), .dirs = { rnd(NR_DIRS),
			rnd(NR_DIRS) }, .names = { rnd(NR_NAMES), rnd(NR_NAMES) },
			.blk = rnd(200), .nr = 1 + rnd(100) };
}

static int dir_ino(struct csv_txn *txn, uint32_t dir, uint64_t *ret)
{
	char name[16];
	struct csv_attr a;
	int err;

	snprintf(name, sizeof(name), "d%u", dir);
	err = csv_lookup(txn, CSV_ROOT_INO, name, strlen(name), &a);
	if (!err)
		*ret = a.ino;
	return err;
}

static uint32_t entry_name(uint32_t name, char *ret)
{
	uint32_t len = name % 3 == 0 ? 200 : 4;

	memset(ret, 'n', len);
	ret[0] = 'a' + name;
	return len;
}

static int make_entry(struct csv_txn *txn, const struct step *s, uint64_t dir, const char *name,
	uint32_t len)
{
	static const uint32_t modes[] = { [CREATE] = S_IFREG, [MKDIR] = S_IFDIR,
		[INLINE] = S_IFREG, [SYMLINK] = S_IFLNK };
	struct csv_attr a, proto = { .mode = modes[s->kind] | 0600, .ctime_ns = s->idx };
	uint8_t data[1000];
	int err = csv_create(txn, dir, name, len, &proto, "to/somewhere", 12, &a);

	memset(data, s->idx, sizeof(data));
	if (!err && s->kind == INLINE)
		err = csv_inline_set(txn, a.ino, data, s->nr * 9);
	return err;
}

static int change_names(struct csv_txn *txn, const struct step *s, const uint64_t *dirs,
	char names[2][256], const uint32_t *lens)
{
	struct csv_attr a, b;
	int err;

	switch (s->kind) {
	case LINK:
		err = csv_lookup(txn, dirs[0], names[0], lens[0], &a);
		return err ? err : csv_link(txn, a.ino, dirs[1], names[1], lens[1], s->idx, &b);
	case UNLINK:
	case RMDIR:
		return csv_unlink(txn, dirs[0], names[0], lens[0], s->kind == RMDIR, s->idx, &a);
	case RENAME:
	case EXCHANGE:
		return csv_rename(txn, dirs[0], names[0], lens[0], dirs[1], names[1], lens[1],
			s->kind == EXCHANGE ? CSV_RENAME_EXCHANGE : 0, s->idx, &a, &b);
	default:
		return make_entry(txn, s, dirs[0], names[0], lens[0]);
	}
}

static int change_space(struct csv_txn *txn, const struct step *s, uint64_t dir, const char *name,
	uint32_t len)
{
	struct csv_attr a, size = { .size = s->blk * 1000 };
	uint64_t done;
	int err = csv_lookup(txn, dir, name, len, &a);

	if (err)
		return err;
	if (a.data_kind == CSV_DATA_INLINE && s->kind != SIZE)
		return -EINVAL;
	switch (s->kind) {
	case ALLOC:
		return csv_extent_alloc(txn, a.ino, s->blk, s->nr, &done);
	case WRITTEN:
		err = csv_extent_alloc(txn, a.ino, s->blk, s->nr, &done);
		return err ? err : csv_extent_written(txn, a.ino, s->blk, done);
	case PUNCH:
		return csv_extent_punch(txn, a.ino, s->blk, s->nr, &done);
	default:
		return csv_inode_set(txn, a.ino, CSV_SET_SIZE, &size, NULL);
	}
}

static int reap_one(struct csv_txn *txn)
{
	uint64_t ino, left;
	int err = csv_orphan_next(txn, 0, &ino);

	if (err || !ino)
		return err;
	err = csv_extent_punch(txn, ino, 0, UINT64_MAX, &left);
	return err || left ? err : csv_orphan_free(txn, ino);
}

static int step_do(struct csv_txn *txn, const struct step *s)
{
	char names[2][256];
	uint32_t lens[2];
	uint64_t dirs[2];

	for (int i = 0; i < 2; i++) {
		int err = dir_ino(txn, s->dirs[i], &dirs[i]);

		if (err)
			return err;
		lens[i] = entry_name(s->names[i], names[i]);
	}
	if (s->kind == REAP)
		return reap_one(txn);
	if (s->kind >= ALLOC)
		return change_space(txn, s, dirs[0], names[0], lens[0]);
	return change_names(txn, s, dirs, names, lens);
}

/* As the coordinator does it: the effect and its result in one transaction. */
static int step_run(struct csv_op *op, struct csv_txn *txn)
{
	struct step *s = container_of(op, struct step, op);
	int err = step_do(txn, s);
	struct csv_result res = { .seq = s->idx + 1, .op = s->kind, .status = err };

	if (err == -ERR_WAIT || err == -ERR_CORRUPT || err == -ENOSPC || err == -ENOMEM)
		return err;
	return csv_result_put(txn, 1, 1, 0, &res);
}

/* ---- what is on a volume, as one number ---- */

static uint64_t hash_bytes(uint64_t hash, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len-- > 0)
		hash = (hash ^ *p++) * 1099511628211ull;
	return hash;
}

#define HASH(hash, x) ((hash) = hash_bytes(hash, &(x), sizeof(x)))

static void hash_inode(struct engine *e, uint64_t ino, uint64_t *hash)
{
	struct csv_extent x[400];
	uint8_t data[CSV_INLINE_MAX];
	struct csv_attr a;
	uint32_t nr, len = sizeof(data);

	CHECK_OK(t_get(e, ino, &a));
	HASH(*hash, a.ino);
	HASH(*hash, a.mode);
	HASH(*hash, a.nlink);
	HASH(*hash, a.size);
	HASH(*hash, a.ctime_ns);
	HASH(*hash, a.data_kind);
	if (!S_ISREG(a.mode))
		return;
	CHECK_OK(t_map(e, ino, 0, 400, x, 400, &nr));
	for (uint32_t i = 0; i < nr; i++) {
		/* Pieces that are only apart on the volume count as one. */
		if (i > 0 && x[i].state == x[i - 1].state)
			continue;
		HASH(*hash, x[i].blk);
		HASH(*hash, x[i].state);
	}
	if (a.data_kind != CSV_DATA_INLINE)
		return;
	CHECK_OK(t_inline_get(e, ino, data, &len));
	*hash = hash_bytes(*hash, data, len);
}

static void hash_dir(struct engine *e, uint64_t dir, uint64_t *hash)
{
	struct listing l = { 0 };

	hash_inode(e, dir, hash);
	CHECK_OK(t_readdir(e, dir, 0, false, &l));
	for (uint32_t i = 0; i < l.nr; i++) {
		HASH(*hash, l.ents[i].cookie);
		*hash = hash_bytes(*hash, l.ents[i].name, strlen(l.ents[i].name));
		if (l.ents[i].type == DT_DIR)
			hash_dir(e, l.ents[i].ino, hash);
		else
			hash_inode(e, l.ents[i].ino, hash);
	}
	free(l.ents);
}

static uint64_t digest(struct engine *e)
{
	uint64_t hash = 14695981039346656037ull, ino = 0;

	hash_dir(e, CSV_ROOT_INO, &hash);
	for (;;) {
		CHECK_OK(t_orphan_next(e, ino, &ino));
		if (!ino)
			return hash;
		hash_inode(e, ino, &hash);
	}
}

/* ---- runs ---- */

static void mkfs(struct engine *e)
{
	struct csv_mkfs opts = { .uuid = { 0xc5, 9 }, .journal_bytes = 2 << 20 };
	struct csv_geometry geom;

	CHECK_OK(csv_mkfs_plan(&opts, DEV_BYTES, &geom));
	geom.hash_seed = 42;
	geom.created_ns = 1;
	CHECK_OK(csv_mkfs_write(e->queue, &geom, NULL, NULL));
}

static void begin(struct engine *e, struct bdev *bdev)
{
	char name[16];
	struct csv_attr a;

	engine_on(e, bdev);
	mkfs(e);
	engine_open(e, 0);
	for (int i = 0; i < NR_DIRS; i++) {
		snprintf(name, sizeof(name), "d%d", i);
		CHECK_OK(t_create(e, CSV_ROOT_INO, name, S_IFDIR | 0755, &a));
	}
	t_sync(e);
}

static struct bdev *open_device(void)
{
	struct bdev *bdev;
	char *error;

	CHECK_OK(bdev_open(URI, NULL, &bdev, &error));
	return bdev;
}

static uint64_t digests[NR_OPS + 1]; /* after the first n operations */

/* One after the other, on a device that lasts. */
static void run_reference(void)
{
	struct engine e;

	begin(&e, open_device());
	digests[0] = digest(&e);
	for (uint32_t i = 0; i < NR_OPS; i++) {
		steps[i].op.run = step_run;
		steps[i].op.done = NULL;
		CHECK_OK(csv_op_sync(e.fs, &steps[i].op));
		digests[i + 1] = digest(&e);
	}
	t_check(&e);
	CHECK_OK(engine_close(&e));
	engine_done(&e);
}

struct crash {
	struct engine e;
	uint8_t *base, *now; /* the device before the workload; at the cut */
	uint64_t first;	     /* event of the workload */
	uint64_t nr;	     /* events */
	uint32_t submitted, acked, stable, syncing;
	bool sync_busy;
};

static struct crash run;

static uint64_t mark_now(void)
{
	return run.acked | (uint64_t)run.stable << 32;
}

static void step_done(struct csv_op *op, int status)
{
	struct step *s = container_of(op, struct step, op);

	CHECK_OK(status);
	CHECK_EQ(s->idx, run.acked); /* in order */
	s->done = true;
	run.acked++;
	bdev_crash_mark(run.e.stats, mark_now());
}

static void sync_done(void *arg, int status)
{
	CHECK_OK(status);
	run.stable = run.syncing;
	run.sync_busy = false;
	bdev_crash_mark(run.e.stats, mark_now());
}

/* Several at a time, with syncs in between, on the recording device. */
static void run_recorded(void)
{
	struct bdev *bdev;

	run.submitted = run.acked = run.stable = 0;
	CHECK_OK(bdev_crash_new(open_device(), &bdev));
	begin(&run.e, bdev);
	CHECK_EQ(digest(&run.e), digests[0]);
	run.base = malloc(DEV_BYTES);
	run.now = malloc(DEV_BYTES);
	CHECK(run.base && run.now);
	CHECK_OK(bdev_pread(run.e.queue, run.base, DEV_BYTES, 0));
	run.first = bdev_crash_nr_events(bdev);
	bdev_crash_mark(bdev, 0);
	while (run.acked < NR_OPS) {
		while (run.submitted < NR_OPS && run.submitted < run.acked + BATCH) {
			struct step *s = &steps[run.submitted++];

			s->op.done = step_done;
			csv_op_submit(run.e.fs, &s->op);
		}
		if (!run.sync_busy && run.acked >= run.syncing + SYNC_EVERY) {
			run.sync_busy = true;
			run.syncing = run.acked;
			csv_fs_sync(run.e.fs, sync_done, NULL);
		}
		loop_run_once(run.e.loop, true);
	}
	RUN_UNTIL(&run.e, !run.sync_busy);
	CHECK_EQ(digest(&run.e), digests[NR_OPS]);
	CHECK_OK(engine_close(&run.e));
	run.nr = bdev_crash_nr_events(bdev);
}

/* ---- cuts ---- */

/* Part of a write may arrive: of a block that is torn, some sectors. */
static void apply(const struct bdev_crash_event *ev, bool torn)
{
	if (ev->op == BDEV_FLUSH || ev->op == BDEV_DISCARD)
		return;
	for (uint64_t off = 0; off < ev->len_bytes; off += 512) {
		if (torn && rnd(2))
			continue;
		if (ev->op == BDEV_WRITE)
			memcpy(run.now + ev->off_bytes + off, (const char *)ev->data + off, 512);
		else
			memset(run.now + ev->off_bytes + off, 0, 512);
	}
}

static void maybe_apply(const struct bdev_crash_event *ev)
{
	uint64_t fate = rnd(5);

	if (fate < 4)
		apply(ev, fate == 3);
}

enum loss { DEATH, POWER, LYING_FLUSHES };

/* Makes run.now the device as it may be found when the workload's first cut events are done. */
static void make_image(uint64_t cut, enum loss loss)
{
	struct bdev *bdev = run.e.stats;
	uint64_t sure = loss == DEATH ? cut : run.first, last_seq = 0;

	memcpy(run.now, run.base, DEV_BYTES);
	for (uint64_t i = run.first; i < cut; i++) {
		const struct bdev_crash_event *ev = bdev_crash_event(bdev, i);

		if (ev->op == BDEV_FLUSH && loss == POWER)
			sure = MAX(sure, ev->flush_covers);
		last_seq = MAX(last_seq, ev->submit_seq);
	}
	for (uint64_t i = run.first; i < sure; i++)
		apply(bdev_crash_event(bdev, i), false);
	for (uint64_t i = sure; i < run.nr; i++) {
		const struct bdev_crash_event *ev = bdev_crash_event(bdev, i);

		if (i < cut || ev->submit_seq < last_seq)
			maybe_apply(ev);
	}
}

static void load_image(struct engine *e)
{
	static const uint8_t zeroes[CSV_BLOCK_BYTES];

	engine_on(e, open_device());
	for (uint64_t off = 0; off < DEV_BYTES; off += CSV_BLOCK_BYTES)
		if (memcmp(run.now + off, zeroes, CSV_BLOCK_BYTES))
			CHECK_OK(bdev_pwrite(e->queue, run.now + off, CSV_BLOCK_BYTES, off));
}

static int last_result(struct csv_txn *txn, void *arg)
{
	return csv_result_get(txn, 1, 1, 0, arg);
}

/* Recovers run.now. True: it is what it must be, with at least the first min operations. */
static bool recovers(uint64_t cut, uint32_t min)
{
	struct csv_check_report report;
	struct csv_result res;
	struct engine e;
	bool ok = false;

	load_image(&e);
	engine_open(&e, 0);
	if (csv_check(e.fs, check_print, NULL, &report) == 0 &&
		report.errors == 0) {
		CHECK_OK(test_op_sync(&e, last_result, &res));
		ok = res.seq >= min && res.seq <= NR_OPS && digest(&e) == digests[res.seq];
		if (!ok)
			fprintf(stderr, "cut %llu: operation %llu is the last, at least %u is "
					"promised; %s\n",
				(unsigned long long)cut, (unsigned long long)res.seq, min,
				res.seq < min ? "lost" : "in another state");
	}
	CHECK_OK(engine_close(&e));
	engine_done(&e);
	return ok;
}

static bool try_cut(uint64_t seed, uint64_t cut, enum loss loss)
{
	uint64_t mark = cut < run.nr ? bdev_crash_event(run.e.stats, cut)->user_mark : mark_now();

	rng_state = seed * 1000003 + cut * 3 + loss;
	make_image(cut, loss);
	return recovers(cut, loss == DEATH ? (uint32_t)mark : mark >> 32);
}

/* The twin: flushes that the device only pretends to carry out must show. In a process of its own,
 * since such a volume may be beyond what the checks above can say. */
static bool falls(uint64_t seed, uint64_t cut)
{
	pid_t pid = fork();
	int status;

	CHECK(pid >= 0);
	if (pid == 0) {
		log_set_level((enum log_level)-1);
		CHECK(freopen("/dev/null", "w", stderr));
		_exit(try_cut(seed, cut, LYING_FLUSHES) ? 0 : 1);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	return status != 0;
}

static void test_cuts(uint64_t seed, uint64_t only)
{
	uint64_t step = MAX(1, (run.nr - run.first) / 45), fallen = 0;
	uint64_t from = only != UINT64_MAX ? only : run.first;
	uint64_t to = only != UINT64_MAX ? only : run.nr;

	for (uint64_t cut = from; cut <= to; cut += step) {
		if (!try_cut(seed, cut, DEATH) || !try_cut(seed, cut, POWER)) {
			fprintf(stderr, "unit-core_crash %llu %llu\n", (unsigned long long)seed,
				(unsigned long long)cut);
			exit(1);
		}
	}
	if (only != UINT64_MAX)
		return;
	for (uint64_t cut = from; cut <= to; cut += step * 3)
		fallen += falls(seed, cut);
	CHECK(fallen > 0);
	printf("%llu events, %llu cuts; %llu fall when flushes lie\n",
		(unsigned long long)(run.nr - run.first),
		(unsigned long long)((to - from) / step + 1), (unsigned long long)fallen);
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	uint64_t only = argc > 2 ? strtoull(argv[2], NULL, 0) : UINT64_MAX;

	make_steps(seed);
	run_reference();
	run_recorded();
	test_cuts(seed, only);
	free(run.base);
	free(run.now);
	engine_done(&run.e);
	return 0;
}
