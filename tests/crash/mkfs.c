/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A new volume is made over an old one, and everything stops in the middle: what is found is the old
 * one, whole; or none; or the new one, whole and empty (docs/FORMAT.md, 1).
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "csvfs/core/format.h"
#include "tests/crash/hooks.h"
#include "tests/crash/state_internal.h"
#include "tests/crash/work.h"
#include "tests/unit/test.h"

struct mkfs_case {
	struct explore x;
	uint8_t old_uuid[16];
	uint64_t old_names, end; /* events, when mkfs had ended */
};

static uint64_t empty_names(void)
{
	struct seen root = { .ino = CSV_ROOT_INO, .mode = S_IFDIR | 0755, .nlink = 2, .target = "" };

	return digest_entry(0, "/", 1, &root);
}

/* Of the three superblocks some may be missing, in the old volume as in the new. */
static void said(void *arg, const char *text)
{
	struct explore *x = arg;

	if (strncmp(text, "sb-copy", 7))
		wrong(x, "the check says: %s", text);
}

static bool judge_new(struct explore *x, struct trial *t, struct look *look, bool again)
{
	struct mkfs_case *c = container_of(x, struct mkfs_case, x);
	struct csv_geometry geom;
	int err = csv_super_read(t->queue, &geom);
	bool old;

	if (err) {
		if ((err != -ERR_NOTCSV && err != -ERR_CORRUPT) || look->cut == c->end)
			wrong(x, "there is no volume: %s", err_str(err));
		return !x->st->failed;
	}
	old = memcmp(geom.uuid, c->old_uuid, 16) == 0;
	if (old && look->cut == c->end)
		wrong(x, "the old volume is still there");
	struct csv_fs *fs = judge_mount(x, t->loop, t->queue);
	if (!fs)
		return false;
	struct csv_check_report report;
	CHECK_OK(csv_check(fs, said, x, &report));
	if (!x->st->failed && judge_survey(x, fs) &&
		x->survey.names != (old ? c->old_names : empty_names()))
		wrong(x, "the %s volume is not what it should be", old ? "old" : "new");
	judge_unmount(fs, t);
	return !x->st->failed;
}

/* A volume with something on it; returns with it closed. */
static struct sim *make_old(struct states *st, struct mkfs_case *c)
{
	const struct workload *w = workload_find("storm");
	struct sim *sim = sim_new(st->seed, 2 << 20, 0, 0, false);
	uint64_t k;

	work_begin(sim, w);
	work_run(sim, w, 20);
	sim_end(sim, true);
	CHECK(!sim->failed);
	k = sim->model.nr_steps - 1;
	while (sim->model.digests[k] == 0)
		k--;
	c->old_names = sim->model.digests[k];
	memcpy(c->old_uuid, sim->geom.uuid, 16);
	return sim;
}

void mkfs_run(struct states *st)
{
	struct mkfs_case c = { .x = { .judge = judge_new, .st = st } };
	struct sim *sim = make_old(st, &c);
	struct csv_mkfs opts = { .uuid = { 0xaa }, .cluster_bytes = 4096u << st->seed % 5,
		.journal_bytes = (1 + st->seed % 3) << 20 };
	struct csv_geometry geom;
	struct bdev_queue *queue;
	struct snap base;

	opts.uuid[1] = (uint8_t)st->seed;
	snap_take(&base, mem_image(sim->mem));
	c.x.first = sim_events(sim);
	for (unsigned i = 0; i < 3; i++)
		chaos_of(sim->dev)->slow[i] = 1 + st->seed % 3;
	CHECK_OK(csv_mkfs_plan(&opts, DISK_BYTES, &geom));
	geom.hash_seed = 43;
	CHECK_OK(bdev_queue_open(sim->dev, sim->loop, &queue));
	CHECK_OK(csv_mkfs_write(queue, &geom, NULL, NULL));
	bdev_queue_close(queue);
	c.end = sim_events(sim);
	explore_run(&c.x, sim->dev, &base);
	sim_free(sim);
	snap_free(&base);
}
