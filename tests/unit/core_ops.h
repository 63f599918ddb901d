/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The engine's operations one by one, each waited for, on the volume of core_engine.h. */
#ifndef TESTS_UNIT_CORE_OPS_H
#define TESTS_UNIT_CORE_OPS_H

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "csvfs/core/fs.h"
#include "tests/unit/core_engine.h"
#include "util/checked.h"

struct call {
	uint64_t ino, dir, new_dir, blk, nr;
	const char *name, *new_name, *target;
	uint32_t len, new_len, target_len, max;
	unsigned flags;
	int64_t now_ns;
	bool rmdir, data;
	const struct csv_attr *proto;
	const void *buf;
	void *out;
	struct csv_attr *attr, *attr2;
	struct csv_extent *exts;
	uint32_t *ret32;
	uint64_t *ret64;
	bool (*fn)(void *arg, const struct csv_dirent *ent, const struct csv_attr *attr);
	struct csv_result *result;
	struct csv_statfs *statfs;
};

/* One function for each operation: run_x is what runs, t_x calls it and waits. */
#define CALL(x, ...)                                                                               \
	static inline int run_##x(struct csv_txn *txn, void *arg)                                  \
	{                                                                                          \
		struct call *c = arg;                                                              \
		return csv_##x(txn, __VA_ARGS__);                                                  \
	}

CALL(statfs, c->statfs)
CALL(inode_get, c->ino, c->attr)
CALL(inode_set, c->ino, c->flags, c->proto, c->attr)
CALL(lookup, c->dir, c->name, c->len, c->attr)
CALL(create, c->dir, c->name, c->len, c->proto, c->target, c->target_len, c->attr)
CALL(link, c->ino, c->dir, c->name, c->len, c->now_ns, c->attr)
CALL(unlink, c->dir, c->name, c->len, c->rmdir, c->now_ns, c->attr)
CALL(rename, c->dir, c->name, c->len, c->new_dir, c->new_name, c->new_len, c->flags, c->now_ns,
	c->attr, c->attr2)
CALL(readdir, c->dir, c->blk, c->attr != NULL, c->fn, c->out)
CALL(extent_map, c->ino, c->blk, c->nr, c->exts, c->max, c->ret32)
CALL(extent_seek, c->ino, c->blk, c->nr, c->data, c->ret64)
CALL(extent_alloc, c->ino, c->blk, c->nr, c->ret64)
CALL(extent_written, c->ino, c->blk, c->nr)
CALL(extent_punch, c->ino, c->blk, c->nr, c->ret64)
CALL(inline_set, c->ino, c->buf, c->len)
CALL(inline_drop, c->ino)
CALL(orphan_next, c->ino, c->ret64)
CALL(orphan_free, c->ino)
CALL(result_get, c->max, c->blk, c->len, c->result)
CALL(result_put, c->max, c->blk, c->len, c->result)

/* In-out lengths are set anew for each run. */
static inline int run_readlink(struct csv_txn *txn, void *arg)
{
	struct call *c = arg;

	*c->ret32 = c->len;
	return csv_readlink(txn, c->ino, c->out, c->ret32);
}

static inline int run_inline_get(struct csv_txn *txn, void *arg)
{
	struct call *c = arg;

	*c->ret32 = c->len;
	return csv_inline_get(txn, c->ino, c->out, c->ret32);
}

#define DO(e, x, ...) test_op_sync(e, run_##x, &(struct call){ __VA_ARGS__ })

static inline int t_statfs(struct engine *e, struct csv_statfs *ret)
{
	return DO(e, statfs, .statfs = ret);
}

static inline int t_get(struct engine *e, uint64_t ino, struct csv_attr *ret)
{
	return DO(e, inode_get, .ino = ino, .attr = ret);
}

static inline int t_set(struct engine *e, uint64_t ino, unsigned mask, const struct csv_attr *attr,
	struct csv_attr *ret)
{
	return DO(e, inode_set, .ino = ino, .flags = mask, .proto = attr, .attr = ret);
}

static inline int t_lookup(struct engine *e, uint64_t dir, const char *name, struct csv_attr *ret)
{
	return DO(e, lookup, .dir = dir, .name = name, .len = strlen(name), .attr = ret);
}

static inline int t_create(struct engine *e, uint64_t dir, const char *name, uint32_t mode,
	struct csv_attr *ret)
{
	struct csv_attr proto = { .mode = mode, .uid = 3, .gid = 4, .ctime_ns = 100,
		.mtime_ns = 101, .atime_ns = 102, .btime_ns = 103 };

	return DO(e, create, .dir = dir, .name = name, .len = strlen(name), .proto = &proto,
		.attr = ret);
}

static inline int t_symlink(struct engine *e, uint64_t dir, const char *name, const char *target,
	struct csv_attr *ret)
{
	struct csv_attr proto = { .mode = S_IFLNK | 0777, .ctime_ns = 100 };

	return DO(e, create, .dir = dir, .name = name, .len = strlen(name), .proto = &proto,
		.target = target, .target_len = strlen(target), .attr = ret);
}

static inline int t_link(struct engine *e, uint64_t ino, uint64_t dir, const char *name,
	struct csv_attr *ret)
{
	return DO(e, link, .ino = ino, .dir = dir, .name = name, .len = strlen(name),
		.now_ns = 200, .attr = ret);
}

static inline int t_unlink(struct engine *e, uint64_t dir, const char *name, bool rmdir,
	struct csv_attr *ret)
{
	return DO(e, unlink, .dir = dir, .name = name, .len = strlen(name), .rmdir = rmdir,
		.now_ns = 300, .attr = ret);
}

static inline int t_rename(struct engine *e, uint64_t dir, const char *name, uint64_t new_dir,
	const char *new_name, unsigned flags, struct csv_attr *moved, struct csv_attr *replaced)
{
	return DO(e, rename, .dir = dir, .name = name, .len = strlen(name), .new_dir = new_dir,
		.new_name = new_name, .new_len = strlen(new_name), .flags = flags, .now_ns = 400,
		.attr = moved, .attr2 = replaced);
}

static inline int t_readlink(struct engine *e, uint64_t ino, char *buf, uint32_t *len)
{
	return DO(e, readlink, .ino = ino, .out = buf, .len = *len, .ret32 = len);
}

static inline int t_map(struct engine *e, uint64_t ino, uint64_t blk, uint64_t nr,
	struct csv_extent *exts, uint32_t max, uint32_t *ret_nr)
{
	return DO(e, extent_map, .ino = ino, .blk = blk, .nr = nr, .exts = exts, .max = max,
		.ret32 = ret_nr);
}

static inline int t_seek(struct engine *e, uint64_t ino, uint64_t blk, uint64_t end, bool data,
	uint64_t *ret)
{
	return DO(e, extent_seek, .ino = ino, .blk = blk, .nr = end, .data = data, .ret64 = ret);
}

/* One call of the engine. */
static inline int t_alloc_some(struct engine *e, uint64_t ino, uint64_t blk, uint64_t nr,
	uint64_t *done)
{
	return DO(e, extent_alloc, .ino = ino, .blk = blk, .nr = nr, .ret64 = done);
}

/* As many as it takes. */
static inline int t_alloc(struct engine *e, uint64_t ino, uint64_t blk, uint64_t nr)
{
	while (nr > 0) {
		uint64_t done = 0;
		int err = t_alloc_some(e, ino, blk, nr, &done);

		if (err)
			return err;
		CHECK(done > 0 && done <= nr);
		blk += done;
		nr -= done;
	}
	return 0;
}

static inline int t_written(struct engine *e, uint64_t ino, uint64_t blk, uint64_t nr)
{
	return DO(e, extent_written, .ino = ino, .blk = blk, .nr = nr);
}

static inline int t_punch(struct engine *e, uint64_t ino, uint64_t blk, uint64_t nr)
{
	uint64_t left = UINT64_MAX;

	do {
		uint64_t before = left;
		int err = DO(e, extent_punch, .ino = ino, .blk = blk,
			.nr = left == UINT64_MAX ? nr : left, .ret64 = &left);

		if (err)
			return err;
		CHECK(left < before);
	} while (left > 0);
	return 0;
}

static inline int t_inline_set(struct engine *e, uint64_t ino, const void *buf, uint32_t len)
{
	return DO(e, inline_set, .ino = ino, .buf = buf, .len = len);
}

static inline int t_inline_get(struct engine *e, uint64_t ino, void *buf, uint32_t *len)
{
	return DO(e, inline_get, .ino = ino, .out = buf, .len = *len, .ret32 = len);
}

static inline int t_inline_drop(struct engine *e, uint64_t ino)
{
	return DO(e, inline_drop, .ino = ino);
}

static inline int t_orphan_next(struct engine *e, uint64_t after, uint64_t *ret)
{
	return DO(e, orphan_next, .ino = after, .ret64 = ret);
}

static inline int t_orphan_free(struct engine *e, uint64_t ino)
{
	return DO(e, orphan_free, .ino = ino);
}

static inline int t_result_get(struct engine *e, uint32_t node, uint64_t generation, uint32_t slot,
	struct csv_result *ret)
{
	return DO(e, result_get, .max = node, .blk = generation, .len = slot, .result = ret);
}

static inline int t_result_put(struct engine *e, uint32_t node, uint64_t generation, uint32_t slot,
	struct csv_result *result)
{
	return DO(e, result_put, .max = node, .blk = generation, .len = slot, .result = result);
}

static inline bool attr_equal(const struct csv_attr *a, const struct csv_attr *b)
{
	return a->ino == b->ino && a->mode == b->mode && a->nlink == b->nlink && a->uid == b->uid &&
	       a->gid == b->gid && a->projid == b->projid && a->size == b->size &&
	       a->nr_blks == b->nr_blks && a->atime_ns == b->atime_ns &&
	       a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns &&
	       a->btime_ns == b->btime_ns && a->rdev == b->rdev && a->parent == b->parent &&
	       a->data_kind == b->data_kind;
}

/* Removes all orphans, as the coordinator does (E7). */
static inline void t_reap(struct engine *e)
{
	uint64_t ino = 0;

	for (;;) {
		CHECK_OK(t_orphan_next(e, ino, &ino));
		if (ino == 0)
			return;
		CHECK_OK(t_punch(e, ino, 0, UINT64_MAX));
		CHECK_OK(t_orphan_free(e, ino));
	}
}

/* ---- directories as lists ---- */

struct listing {
	struct listed {
		uint64_t cookie, ino;
		uint8_t type;
		char name[256];
		struct csv_attr attr;
	} *ents;
	uint32_t nr, max, limit; /* stops after limit entries (0 = never) */
};

static inline bool listing_add(void *arg, const struct csv_dirent *ent, const struct csv_attr *attr)
{
	struct listing *l = arg;
	struct listed *to;

	if (l->nr == l->max) {
		l->max = l->max ? l->max * 2 : 64;
		l->ents = realloc(l->ents, l->max * sizeof(*l->ents));
		CHECK(l->ents);
	}
	to = &l->ents[l->nr++];
	*to = (struct listed){ .cookie = ent->cookie, .ino = ent->ino, .type = ent->type };
	memcpy(to->name, ent->name, ent->name_len);
	if (attr)
		to->attr = *attr;
	return l->nr != l->limit;
}

static inline int listing_run(struct csv_txn *txn, void *arg)
{
	struct call *c = arg;

	((struct listing *)c->out)->nr = 0;
	return run_readdir(txn, arg);
}

/* want_attr: attr of each entry, too. */
static inline int t_readdir(struct engine *e, uint64_t dir, uint64_t after, bool want_attr,
	struct listing *ret)
{
	struct csv_attr dummy;

	return test_op_sync(e, listing_run, &(struct call){ .dir = dir, .blk = after,
		.fn = listing_add, .out = ret, .attr = want_attr ? &dummy : NULL });
}

/* ---- check ---- */

static inline void check_print(void *arg, const char *text)
{
	fprintf(stderr, "check: %s\n", text);
}

static inline struct csv_check_report t_check(struct engine *e)
{
	struct csv_check_report report;

	CHECK_OK(csv_check(e->fs, check_print, NULL, &report));
	CHECK_EQ(report.errors, 0);
	return report;
}

static inline void t_sync(struct engine *e)
{
	struct engine_wait w = { 0 };

	csv_fs_sync(e->fs, engine_wait_done, &w);
	RUN_UNTIL(e, w.done);
	CHECK_OK(w.status);
}


struct checkpoint_wait {
	struct jnl_wait wait;
	bool done;
};

static inline void checkpoint_wait_done(struct jnl_wait *wait, int status)
{
	CHECK_OK(status);
	container_of(wait, struct checkpoint_wait, wait)->done = true;
}

/* Everything in place and out of the log: nothing is held back any more. */
static inline void t_checkpoint(struct engine *e)
{
	struct checkpoint_wait w = { .wait.done = checkpoint_wait_done };

	jnl_checkpoint(csv_fs_journal(e->fs), &w.wait);
	RUN_UNTIL(e, w.done);
}

/* ---- devices ---- */

/* An engine's frame around a device; the test's own filters may be in front. */
static inline void engine_on(struct engine *e, struct bdev *bdev)
{
	memset(e, 0, sizeof(*e));
	CHECK_OK(loop_new(&e->loop));
	e->ram = e->fault = e->delay = e->stats = bdev;
	CHECK_OK(bdev_queue_open(bdev, e->loop, &e->queue));
}

/* A device with the same bytes, as another host would find them now. */
static inline void engine_copy(struct engine *from, struct engine *ret, const char *uri)
{
	uint64_t size = bdev_geom(from->stats).size_bytes, step = 1 << 20;
	uint8_t *buf = malloc(step);
	struct bdev *bdev;
	char *error;

	CHECK(buf);
	CHECK_OK(bdev_open(uri, NULL, &bdev, &error));
	engine_on(ret, bdev);
	for (uint64_t off = 0; off < size; off += step) {
		CHECK_OK(bdev_pread(from->queue, buf, MIN(step, size - off), off));
		CHECK_OK(bdev_pwrite(ret->queue, buf, MIN(step, size - off), off));
	}
	free(buf);
}

#endif
