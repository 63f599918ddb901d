/* libs: util blockdev journal core */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A scrub of a volume in use: it says nothing of a good one, also while that changes all the time; it
 * finds what corrupters did and blocks that are lost, and mends superblocks; it can be stopped at any
 * step.
 */
#include "csvfs/core/scrub.h"
#include "tests/unit/core_corrupt.h"
#include "util/log.h"

struct watch {
	char text[4096];
	bool done;
	int status;
	uint64_t errors;
};

static void on_scrub_msg(void *arg, const char *text)
{
	struct watch *w = arg;
	size_t used = strlen(w->text);

	w->errors++;
	snprintf(w->text + used, sizeof(w->text) - used, "%s\n", text);
}

static void on_scrub_done(void *arg, int status)
{
	struct watch *w = arg;

	w->done = true;
	w->status = status;
}

static struct csv_scrub *start(struct engine *e, struct watch *w, uint64_t rate)
{
	struct csv_scrub_cfg cfg = { .bytes_per_s = rate, .msg = on_scrub_msg,
		.done = on_scrub_done, .arg = w };
	struct csv_scrub *s;

	memset(w, 0, sizeof(*w));
	CHECK_OK(csv_scrub_start(e->fs, &cfg, &s));
	return s;
}

static void scrub(struct engine *e, struct watch *w)
{
	struct csv_scrub *s = start(e, w, 0);

	RUN_UNTIL(e, w->done);
	CHECK_OK(w->status);
	csv_scrub_stop(s);
}

static void expect(struct engine *e, const char *code)
{
	struct watch w;
	char line[64];

	snprintf(line, sizeof(line), "%s: ", code);
	scrub(e, &w);
	if (!strstr(w.text, line))
		fprintf(stderr, "%s was not found, but:\n%s", code, w.text);
	CHECK(strstr(w.text, line));
}

/* What it compares (S1). */
static const char *const codes[] = { "inode-blocks", "bad-inode", "dirent-inode", "dirent-type",
	"dirent-hash", "bad-dirent", "bad-orphan", "ext-overlap", "bad-extent", "tree-owner",
	"tree-level", "tree-order", "root-free", "ag-free" };

static bool compares(const char *code)
{
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		if (!strcmp(codes[i], code))
			return true;
	return false;
}

static void test_corrupters(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(corrupters); i++) {
		struct engine e;
		struct watch w;

		begin(&e);
		scrub(&e, &w);
		if (w.errors)
			fprintf(stderr, "of a good volume:\n%s", w.text);
		CHECK_EQ(w.errors, 0);
		name_arg = corrupters[i].code;
		CHECK_OK(test_op_sync(&e, corrupters[i].fn, NULL));
		if (compares(name_arg))
			expect(&e, name_arg);
		else
			scrub(&e, &w); /* it ends */
		CHECK_OK(engine_close(&e));
		engine_done(&e);
	}
}

/* Something that changes: files come, grow, go. */
static void churn(struct engine *e, uint32_t i)
{
	char name[32];
	struct csv_attr a;
	uint64_t left, done;

	snprintf(name, sizeof(name), "churn%u", i % 40);
	if (t_create(e, at.dir, name, S_IFREG | 0644, &a) == 0) {
		CHECK_OK(t_alloc_some(e, a.ino, (i * 7) % 50, 30, &done));
		CHECK_OK(t_written(e, a.ino, (i * 7) % 50, 1));
		return;
	}
	CHECK_OK(t_unlink(e, at.dir, name, false, &a));
	CHECK_OK(t_punch(e, a.ino, 0, UINT64_MAX));
	CHECK_OK(t_orphan_free(e, a.ino));
	CHECK_OK(t_alloc_some(e, at.file, 1000 + i % 300, 3, &done));
	CHECK_OK(DO(e, extent_punch, .ino = at.file, .blk = 1000 + (i * 13) % 300, .nr = 5,
		.ret64 = &left));
}

static void test_in_use(void)
{
	struct engine e;
	struct watch w;
	uint32_t rounds = 0;

	engine_device(&e, "ram:260M", true, 0, 0);
	engine_open(&e, 32 * 4096); /* so that it has to wait for blocks */
	populate(&e);
	for (uint32_t i = 0; rounds < 5; i++) {
		struct csv_scrub *s = start(&e, &w, 0);

		for (; !w.done; i++)
			churn(&e, i);
		CHECK_OK(w.status);
		if (w.errors)
			fprintf(stderr, "of a volume in use:\n%s", w.text);
		CHECK_EQ(w.errors, 0);
		csv_scrub_stop(s);
		rounds++;
	}
	t_check(&e);
	CHECK_OK(engine_close(&e));
	engine_done(&e);
}

static void lose(struct engine *e, uint64_t blk)
{
	static const uint8_t junk[CSV_BLOCK_BYTES] = { 1, 2, 3 };

	CHECK_OK(bdev_pwrite(e->queue, junk, sizeof(junk), blk * CSV_BLOCK_BYTES));
}

static int load_tree(struct csv_txn *txn, void *arg)
{
	return load(txn, *(uint64_t *)arg);
}

static uint64_t tree_of(struct engine *e, uint64_t ino)
{
	CHECK_OK(test_op_sync(e, load_tree, &ino));
	return le64_get(inode.rec.tree.blk);
}

static void test_lost_blocks(void)
{
	struct engine e;
	struct watch w;
	uint64_t blks[6];
	char line[64];

	begin(&e);
	blks[0] = tree_of(&e, at.file);
	blks[1] = tree_of(&e, at.dir);
	blks[2] = CSV_SESS_BLK + 7;
	blks[3] = csv_fs_geometry(e.fs)->ag0_blk + 1; /* a bitmap */
	blks[4] = csv_fs_geometry(e.fs)->ag0_blk;
	blks[5] = CSV_SB_COPY_BLK;
	CHECK_OK(engine_close(&e));
	for (size_t i = 0; i < ARRAY_SIZE(blks); i++)
		lose(&e, blks[i]);
	engine_open(&e, 0);
	scrub(&e, &w);
	for (size_t i = 0; i < ARRAY_SIZE(blks); i++) {
		snprintf(line, sizeof(line), "block %llu:", (unsigned long long)blks[i]);
		if (!strstr(w.text, line))
			fprintf(stderr, "nothing of %s\n%s", line, w.text);
		CHECK(strstr(w.text, line));
	}
	CHECK(strstr(w.text, "sb-copy: "));
	scrub(&e, &w); /* that one was mended */
	CHECK(!strstr(w.text, "sb-copy: "));
	CHECK_OK(csv_fs_error(e.fs));
	CHECK_OK(engine_close(&e));
	engine_done(&e);
}

static void test_stop(void)
{
	struct engine e;
	struct watch w;

	begin(&e);
	for (uint32_t steps = 0; steps < 60; steps++) {
		struct csv_scrub *s = start(&e, &w, 0);
		struct csv_scrub_status st;

		for (uint32_t i = 0; i < steps && !w.done; i++)
			loop_run_once(e.loop, true);
		csv_scrub_status(s, &st);
		CHECK_EQ(st.errors, 0);
		csv_scrub_stop(s);
	}
	for (uint32_t i = 0; i < 20; i++)
		loop_run_once(e.loop, false);
	CHECK_OK(engine_close(&e));
	engine_done(&e);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!getenv("SHOW_LOG"))
		log_set_level((enum log_level)-1);
	test_in_use();
	test_corrupters();
	test_lost_blocks();
	test_stop();
	return 0;
}
