/* libs: core */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Clones against a model: each block of each file holds a number. Writes go where the engine says
 * that a block may be written in place, space of its own is filled with what shows through.
 */
#include <stdlib.h>

#include "csvfs/core/layer.h"
#include "tests/unit/core_ops.h"

#define NR_FILES 12
#define NR_BLKS 600u
#define BLK 4096u

struct file {
	uint64_t ino;
	char name[16];
	uint32_t nr; /* blocks of its size */
	uint32_t content[NR_BLKS];
};

static struct file files[NR_FILES];
static uint32_t *phys; /* content of the volume's blocks */
static uint32_t last_content, last_name;

CALL(extent_fill_next, c->ino, c->blk, c->nr, c->out)
CALL(xattr_clear, c->ino, c->out)
CALL(xattr_set, c->ino, c->name, c->len, c->buf, c->max, 0, 7)
CALL(clone, c->ino, c->dir, c->blk, c->nr, 7, c->attr)

static int t_clone(struct engine *e, uint64_t src, uint64_t dst, uint64_t off, uint64_t len,
	struct csv_attr *ret)
{
	return DO(e, clone, .ino = src, .dir = dst, .blk = off, .nr = len, .attr = ret);
}

static uint32_t number(uint32_t below)
{
	return (uint32_t)rand() % below;
}

static void resize(struct engine *e, struct file *f, uint32_t nr)
{
	struct csv_attr attr = { .size = (uint64_t)nr * BLK };
	uint64_t left = 1;

	while (nr < f->nr && left)
		CHECK_OK(DO(e, extent_punch, .ino = f->ino, .blk = nr, .nr = UINT64_MAX,
			.ret64 = &left));
	CHECK_OK(t_set(e, f->ino, CSV_SET_SIZE, &attr, NULL));
	for (uint32_t i = nr; i < f->nr; i++)
		f->content[i] = 0;
	f->nr = nr;
}

static void make(struct engine *e, struct file *f)
{
	struct csv_attr attr;

	memset(f, 0, sizeof(*f));
	snprintf(f->name, sizeof(f->name), "f%u", ++last_name);
	CHECK_OK(t_create(e, 1, f->name, S_IFREG | 0644, &attr));
	f->ino = attr.ino;
	if (last_name % 2) /* an attribute stays with its file */
		CHECK_OK(DO(e, xattr_set, .ino = f->ino, .name = "user.x", .len = 6, .buf = f->content,
			.max = 2000));
}

/* Space of its own for what the range lacks, with what shows through there now. */
static void own(struct engine *e, struct file *f, uint32_t blk, uint32_t nr)
{
	uint64_t done, pos = blk;
	struct csv_fill fill;

	while (pos < blk + nr) {
		CHECK_OK(DO(e, extent_alloc, .ino = f->ino, .blk = pos, .nr = blk + nr - pos,
			.ret64 = &done));
		pos += done;
	}
	for (;;) {
		int err = DO(e, extent_fill_next, .ino = f->ino, .blk = blk, .nr = nr, .out = &fill);
		if (err == -ENOENT)
			return;
		CHECK_OK(err);
		for (uint64_t i = 0; i < fill.nr; i++)
			phys[fill.phys + i] = fill.from_phys ? phys[fill.from_phys + i] : 0;
		CHECK_OK(DO(e, extent_written, .ino = f->ino, .blk = fill.blk, .nr = fill.nr));
	}
}

static void put(struct engine *e, struct file *f, uint32_t blk, uint32_t nr)
{
	struct csv_extent ext[64];
	uint32_t n, pos = blk;

	own(e, f, blk, nr);
	while (pos < blk + nr) {
		CHECK_OK(t_map(e, f->ino, pos, blk + nr - pos, ext, 64, &n));
		for (uint32_t i = 0; i < n; i++) {
			CHECK_EQ(ext[i].state, CSV_WRITTEN);
			for (uint64_t k = 0; k < ext[i].nr; k++, pos++)
				phys[ext[i].phys + k] = f->content[pos] = ++last_content;
		}
	}
	if (blk + nr > f->nr)
		resize(e, f, blk + nr);
}

static void compare(struct engine *e, const struct file *f)
{
	struct csv_extent ext[64];
	uint64_t pos = 0, at;
	uint32_t n;

	while (pos < f->nr) {
		CHECK_OK(t_map(e, f->ino, pos, f->nr - pos, ext, 64, &n));
		for (uint32_t i = 0; i < n; i++) {
			bool data = ext[i].state == CSV_WRITTEN || ext[i].state == CSV_SHARED;
			CHECK_EQ(ext[i].blk, pos);
			CHECK_OK(DO(e, extent_seek, .ino = f->ino, .blk = pos, .nr = f->nr,
				.data = data, .ret64 = &at));
			CHECK_EQ(at, pos);
			for (uint64_t k = 0; k < ext[i].nr; k++, pos++)
				CHECK_EQ(data ? phys[ext[i].phys + k] : 0, f->content[pos]);
		}
	}
}

static void hole(struct engine *e, struct file *f, uint32_t blk, uint32_t nr)
{
	uint64_t left = nr;

	while (left)
		CHECK_OK(DO(e, extent_punch, .ino = f->ino, .blk = blk, .nr = left, .ret64 = &left));
	for (uint32_t i = blk; i < blk + nr; i++)
		f->content[i] = 0;
}

/* What the coordinator does with orphans: each may leave another one behind. */
static void free_orphans(struct engine *e)
{
	uint64_t ino, left;
	bool more;

	for (;;) {
		CHECK_OK(DO(e, orphan_next, .ino = 0, .ret64 = &ino));
		if (!ino)
			return;
		do
			CHECK_OK(DO(e, extent_punch, .ino = ino, .blk = 0, .nr = UINT64_MAX,
				.ret64 = &left));
		while (left);
		do
			CHECK_OK(DO(e, xattr_clear, .ino = ino, .out = &more));
		while (more);
		CHECK_OK(DO(e, orphan_free, .ino = ino));
	}
}

static void drop(struct engine *e, struct file *f)
{
	struct csv_attr attr;

	CHECK_OK(t_unlink(e, 1, f->name, false, &attr));
	f->ino = 0;
	free_orphans(e);
}

/* In one piece, or in several as cp(1) does. */
static void clone(struct engine *e, struct file *src, struct file *dst)
{
	uint32_t step = number(3) ? NR_BLKS : 1 + number(NR_BLKS), nr = src->nr;
	struct csv_attr attr;
	int err = 0;

	make(e, dst);
	while (dst->nr < nr) {
		err = t_clone(e, src->ino, dst->ino, (uint64_t)dst->nr * BLK, (uint64_t)step * BLK,
			&attr);
		if (err == -EOPNOTSUPP) /* too deep */
			break;
		CHECK_OK(err);
		CHECK_EQ(attr.size, (uint64_t)MIN(nr, dst->nr + step) * BLK);
		dst->nr = (uint32_t)(attr.size / BLK);
	}
	memcpy(dst->content, src->content, dst->nr * sizeof(dst->content[0]));
}

static void check_clean(struct engine *e)
{
	CHECK_EQ(t_check(e).errors, 0);
}

static void step(struct engine *e)
{
	struct file *f = &files[number(NR_FILES)], *g = &files[number(NR_FILES)];
	uint32_t blk, nr;

	if (!f->ino) {
		make(e, f);
		return;
	}
	blk = number(NR_BLKS - 1);
	nr = 1 + number(MIN(NR_BLKS - blk - 1, number(4) ? 8u : NR_BLKS) + 1);
	nr = MIN(nr, NR_BLKS - blk);
	switch (number(10)) {
	case 0:
	case 1:
	case 2:
		if (g != f && g->ino)
			drop(e, g);
		if (g != f)
			clone(e, f, g);
		break;
	case 3:
		resize(e, f, number(4) ? number(NR_BLKS) : 0);
		break;
	case 4:
		hole(e, f, blk, nr);
		break;
	case 5:
		if (!number(2))
			drop(e, f);
		break;
	default:
		put(e, f, blk, nr);
	}
	if (f->ino)
		compare(e, f);
	if (g->ino)
		compare(e, g);
}

static void random_model(unsigned seed, int steps)
{
	struct csv_statfs before, after;
	struct engine e;

	srand(seed);
	memset(files, 0, sizeof(files));
	engine_device(&e, "ram:128M", true, 0, 0);
	engine_open(&e, 0);
	phys = calloc(134217728 / BLK, sizeof(*phys));
	CHECK(phys);
	CHECK_OK(t_statfs(&e, &before));
	for (int i = 0; i < steps; i++) {
		step(&e);
		if (i % 100 == 99) {
			for (int k = 0; k < NR_FILES; k++)
				if (files[k].ino)
					compare(&e, &files[k]);
			check_clean(&e);
		}
		if (i % 150 == 149) {
			CHECK_OK(engine_close(&e));
			engine_open(&e, 0);
		}
	}
	for (int k = 0; k < NR_FILES; k++)
		if (files[k].ino)
			drop(&e, &files[k]);
	check_clean(&e);
	CHECK_OK(t_statfs(&e, &after));
	CHECK_EQ(after.nr_inodes, before.nr_inodes);
	CHECK_EQ(after.free_blks, before.free_blks);
	CHECK_OK(engine_close(&e));
	engine_done(&e);
	free(phys);
}

/* A file of many extents is cloned in a transaction of a few blocks. */
static void constant_time(void)
{
	struct csv_attr attr;
	struct engine e;
	struct file *f = &files[0], *g = &files[1];

	memset(files, 0, sizeof(files));
	engine_device(&e, "ram:128M", true, 0, 0);
	engine_open(&e, 0);
	phys = calloc(134217728 / BLK, sizeof(*phys));
	CHECK(phys);
	make(&e, f);
	for (uint32_t i = 0; i < NR_BLKS; i += 2)
		put(&e, f, i, 1);
	make(&e, g);
	uint64_t before = jnl_written_seq(csv_fs_journal(e.fs));
	CHECK_OK(t_clone(&e, f->ino, g->ino, 0, UINT64_MAX, &attr));
	CHECK_EQ(jnl_written_seq(csv_fs_journal(e.fs)), before + 1);
	CHECK_EQ(attr.size, (uint64_t)f->nr * BLK);
	CHECK(attr.nr_blks >= NR_BLKS / 2);
	CHECK(attr.base != 0);
	CHECK_OK(t_get(&e, attr.base, &attr));
	CHECK(attr.is_layer);
	CHECK_EQ(attr.nlink, 2);
	/* what cannot be cloned says so, and changes nothing */
	CHECK_EQ(t_clone(&e, f->ino, f->ino, 0, UINT64_MAX, &attr), -EINVAL);
	CHECK_EQ(t_clone(&e, f->ino, g->ino, 0, UINT64_MAX, &attr), -EOPNOTSUPP);
	make(&e, &files[2]);
	CHECK_EQ(t_clone(&e, f->ino, files[2].ino, 0, BLK + 1, &attr), -EOPNOTSUPP);
	CHECK_EQ(t_clone(&e, f->ino, files[2].ino, BLK, BLK, &attr), -EOPNOTSUPP);
	check_clean(&e);
	CHECK_OK(engine_close(&e));
	engine_done(&e);
	free(phys);
}

/* Clones of clones, each written to: at the limit a copy is asked for, and all are right. */
static void depth(void)
{
	struct csv_attr attr;
	struct engine e;
	struct file *f = &files[0], *g = &files[1];
	int err = 0, n;

	memset(files, 0, sizeof(files));
	engine_device(&e, "ram:128M", true, 0, 0);
	engine_open(&e, 0);
	phys = calloc(134217728 / BLK, sizeof(*phys));
	CHECK(phys);
	make(&e, f);
	for (n = 0; !err; n++) {
		put(&e, f, (uint32_t)n, 40);
		make(&e, g);
		err = t_clone(&e, f->ino, g->ino, 0, UINT64_MAX, &attr);
		if (!err) {
			g->nr = f->nr;
			memcpy(g->content, f->content, sizeof(f->content));
			compare(&e, g);
			compare(&e, f);
		}
	}
	CHECK_EQ(err, -EOPNOTSUPP);
	CHECK_EQ(n, CSV_DEPTH_MAX + 1);
	check_clean(&e);
	CHECK_OK(engine_close(&e));
	engine_done(&e);
	free(phys);
}

int main(void)
{
	constant_time();
	depth();
	for (unsigned seed = 1; seed <= 6; seed++)
		random_model(seed, 400);
	return 0;
}
