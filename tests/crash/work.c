/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/crash/work.h"

#include <string.h>
#include <sys/stat.h>

#include "csvfs/core/format.h"
#include "tests/unit/test.h"
#include "util/checked.h"

static const struct workload workloads[] = {
	{ "storm", { [OP_CREATE] = 40, [OP_SYMLINK] = 6, [OP_FIFO] = 3, [OP_LINK] = 8,
		  [OP_UNLINK] = 40, [OP_CHMOD] = 3, [OP_FSYNC] = 3, [OP_SYNC] = 1 },
		.nr_before = 30, .nr_ops = 160, .batch = 8, .names = 30, .dirs = 3,
		.journal_kib = 2048 },
	{ "rename", { [OP_CREATE] = 12, [OP_MKDIR] = 8, [OP_LINK] = 4, [OP_UNLINK] = 4,
		  [OP_RMDIR] = 4, [OP_RENAME] = 60, [OP_FSYNC] = 3, [OP_SYNC] = 1 },
		.nr_before = 60, .nr_ops = 150, .batch = 6, .names = 8, .dirs = 4,
		.journal_kib = 2048 },
	{ "punch", { [OP_WRITE] = 40, [OP_TRUNC] = 18, [OP_PUNCH] = 18, [OP_ZERO] = 8,
		  [OP_ALLOC] = 3, [OP_FSYNC] = 6, [OP_CLOSE] = 4 },
		.nr_before = 20, .nr_ops = 90, .batch = 5, .names = 6, .dirs = 1, .files = 3,
		.max_blks = 48, .journal_kib = 2048 },
	{ "append", { [OP_APPEND] = 50, [OP_WRITE] = 4, [OP_TRUNC] = 6, [OP_FSYNC] = 30,
		  [OP_CLOSE] = 6 },
		.nr_before = 6, .nr_ops = 140, .batch = 4, .names = 6, .dirs = 1, .files = 4,
		.max_blks = 24, .journal_kib = 2048 },
	{ "dirs", { [OP_CREATE] = 30, [OP_MKDIR] = 8, [OP_UNLINK] = 32, [OP_RMDIR] = 6,
		  [OP_RENAME] = 6, [OP_FSYNC] = 2 },
		.nr_before = 60, .nr_ops = 170, .batch = 10, .names = 120, .dirs = 1,
		.long_names = 90, .journal_kib = 2048 },
	{ "grants", { [OP_WRITE] = 60, [OP_CREATE] = 4, [OP_UNLINK] = 4, [OP_PUNCH] = 6,
		  [OP_FSYNC] = 5, [OP_CLOSE] = 5 },
		.nr_ops = 70, .batch = 6, .names = 6, .dirs = 1, .files = 3,
		.max_blks = 96, .journal_kib = 2048 },
	{ "wrap", { [OP_CREATE] = 30, [OP_MKDIR] = 10, [OP_LINK] = 6, [OP_UNLINK] = 20,
		  [OP_RMDIR] = 6, [OP_RENAME] = 20, [OP_CHMOD] = 8, [OP_SYNC] = 4 },
		.nr_before = 40, .nr_ops = 190, .batch = 4, .names = 30, .dirs = 4,
		.long_names = 40, .journal_kib = 1024 },
	{ "ckpt", { [OP_CREATE] = 30, [OP_UNLINK] = 16, [OP_RENAME] = 10, [OP_WRITE] = 20,
		  [OP_TRUNC] = 8, [OP_CHMOD] = 8, [OP_FSYNC] = 4 },
		.nr_before = 30, .nr_ops = 110, .batch = 6, .names = 20, .dirs = 3, .files = 2,
		.max_blks = 24, .journal_kib = 1280, .checkpoint_every = 6 },
	{ "takeover", { [OP_CREATE] = 16, [OP_MKDIR] = 5, [OP_SYMLINK] = 3, [OP_LINK] = 5,
		  [OP_UNLINK] = 10, [OP_RMDIR] = 3, [OP_RENAME] = 12, [OP_CHMOD] = 4,
		  [OP_TRUNC] = 6, [OP_PUNCH] = 4, [OP_ZERO] = 2, [OP_WRITE] = 16,
		  [OP_APPEND] = 6, [OP_FSYNC] = 4, [OP_CLOSE] = 4 },
		.nr_before = 30, .nr_ops = 120, .batch = 8, .names = 10, .dirs = 3, .files = 3,
		.max_blks = 24, .journal_kib = 2048, .takeover_every = 25,
		.lose_one_of = 60 },
	{ "xattr", { [OP_XATTR] = 50, [OP_NOXATTR] = 16, [OP_CREATE] = 8, [OP_MKDIR] = 3,
		  [OP_LINK] = 3, [OP_UNLINK] = 8, [OP_RENAME] = 6, [OP_CHMOD] = 2, [OP_TRUNC] = 1,
		  [OP_FSYNC] = 3, [OP_SYNC] = 1 },
		.nr_before = 40, .nr_ops = 130, .batch = 6, .names = 8, .dirs = 2, .files = 2,
		.journal_kib = 2048, .takeover_every = 60 },
	{ "clone", { [OP_CLONE] = 20, [OP_CREATE] = 22, [OP_WRITE] = 40, [OP_TRUNC] = 8,
		  [OP_PUNCH] = 8, [OP_ZERO] = 3, [OP_APPEND] = 4, [OP_UNLINK] = 14,
		  [OP_FSYNC] = 5, [OP_CLOSE] = 6 },
		.nr_before = 60, .nr_ops = 110, .batch = 5, .names = 8, .dirs = 1, .files = 2,
		.max_blks = 40, .journal_kib = 2048, .takeover_every = 50 },
	/* A file of so many pieces that it is cut off in several transactions. */
	{ "steps", { [OP_WRITE] = 6, [OP_TRUNC] = 30, [OP_UNLINK] = 20, [OP_CREATE] = 20,
		  [OP_RENAME] = 20, [OP_FSYNC] = 8 },
		.nr_before = 0, .nr_ops = 24, .batch = 4, .names = 6, .dirs = 1, .files = 2,
		.max_blks = 1300, .journal_kib = 2048, .takeover_every = 7, .pieces = 640 },
	/* Nodes die and come back; what was acknowledged stays (P3). */
	{ "death", { [OP_CREATE] = 12, [OP_MKDIR] = 4, [OP_LINK] = 4, [OP_UNLINK] = 8,
		  [OP_RENAME] = 8, [OP_CHMOD] = 4, [OP_TRUNC] = 10, [OP_PUNCH] = 6, [OP_ZERO] = 3,
		  [OP_WRITE] = 34, [OP_APPEND] = 8, [OP_FSYNC] = 4, [OP_CLOSE] = 4 },
		.nr_before = 30, .nr_ops = 120, .batch = 10, .names = 10, .dirs = 2, .files = 3,
		.max_blks = 40, .journal_kib = 2048, .takeover_every = 70, .death_every = 15,
		.lose_one_of = 150 },
	/* There is too little space, and what is freed is held back (E5). */
	{ "full", { [OP_WRITE] = 40, [OP_ALLOC] = 6, [OP_TRUNC] = 14, [OP_PUNCH] = 10,
		  [OP_CREATE] = 14, [OP_MKDIR] = 4, [OP_UNLINK] = 18, [OP_RENAME] = 6,
		  [OP_XATTR] = 4, [OP_FSYNC] = 4, [OP_CLOSE] = 6 },
		.nr_before = 20, .nr_ops = 100, .batch = 6, .names = 10, .dirs = 2, .files = 2,
		.max_blks = 48, .journal_kib = 1536, .free_blks = 120 },
	/* The volume grows in small steps, and there is no space but what that brings. */
	{ "grow", { [OP_WRITE] = 40, [OP_ALLOC] = 6, [OP_TRUNC] = 8, [OP_PUNCH] = 6,
		  [OP_CREATE] = 14, [OP_MKDIR] = 4, [OP_UNLINK] = 12, [OP_RENAME] = 6,
		  [OP_FSYNC] = 4, [OP_CLOSE] = 6 },
		.nr_before = 20, .nr_ops = 100, .batch = 6, .names = 10, .dirs = 2, .files = 2,
		.max_blks = 48, .journal_kib = 1536, .free_blks = 100, .nr_blks = 2048,
		.checkpoint_every = 35, .takeover_every = 30, .grow_every = 7 },
	/* Projects with limits that are met again and again; the check counts what they use. */
	{ "project", { [OP_PROJECT] = 14, [OP_LIMIT] = 6, [OP_CREATE] = 18, [OP_MKDIR] = 8,
		  [OP_SYMLINK] = 2, [OP_LINK] = 6, [OP_UNLINK] = 14, [OP_RMDIR] = 3,
		  [OP_RENAME] = 14, [OP_WRITE] = 26, [OP_APPEND] = 4, [OP_TRUNC] = 6,
		  [OP_PUNCH] = 4, [OP_ALLOC] = 4, [OP_XATTR] = 6, [OP_CLONE] = 6, [OP_FSYNC] = 4,
		  [OP_CLOSE] = 4 },
		.nr_before = 60, .nr_ops = 120, .batch = 6, .names = 10, .dirs = 3, .files = 3,
		.max_blks = 40, .journal_kib = 2048, .checkpoint_every = 50,
		.takeover_every = 40, .death_every = 90 },
	{ "random", { [OP_CREATE] = 10, [OP_MKDIR] = 5, [OP_SYMLINK] = 3, [OP_FIFO] = 1,
		  [OP_LINK] = 5, [OP_UNLINK] = 10, [OP_RMDIR] = 4, [OP_RENAME] = 10,
		  [OP_CHMOD] = 3, [OP_TRUNC] = 8, [OP_PUNCH] = 6, [OP_ZERO] = 4, [OP_ALLOC] = 3,
		  [OP_WRITE] = 18, [OP_APPEND] = 8, [OP_FSYNC] = 4, [OP_SYNC] = 2,
		  [OP_CLOSE] = 4 },
		.nr_before = 40, .nr_ops = 130, .batch = 8, .names = 14, .dirs = 3, .files = 3,
		.max_blks = 40, .long_names = 20, .journal_kib = 1536, .checkpoint_every = 40,
		.takeover_every = 90 },
};

const struct workload *workload_nth(unsigned n)
{
	return n < ARRAY_SIZE(workloads) ? &workloads[n] : NULL;
}

const struct workload *workload_find(const char *name)
{
	for (unsigned n = 0; n < ARRAY_SIZE(workloads); n++)
		if (strcmp(workloads[n].name, name) == 0)
			return &workloads[n];
	return NULL;
}

/* ---- making operations up ---- */

static uint64_t rnd(struct sim *sim, uint64_t n)
{
	return rnd_next(&sim->rnd) % n;
}

static void any_name(struct sim *sim, const struct workload *w, char *out)
{
	uint64_t n = rnd(sim, w->names);
	size_t len = n % 100 < w->long_names ? 200 : 4;

	memset(out, 'x', len);
	out[len] = '\0';
	out[0] = 'a' + (char)(n / 26);
	out[1] = 'a' + (char)(n % 26);
}

static uint64_t any_inode(struct sim *sim, uint32_t type)
{
	struct model *m = &sim->model;
	uint32_t nr = 0;

	for (uint32_t i = 0; i < m->nr_inodes; i++)
		nr += (m->inodes[i].mode & S_IFMT) == type && m->inodes[i].ino != sim->ballast;
	if (!nr)
		return 0;
	nr = (uint32_t)rnd(sim, nr);
	for (uint32_t i = 0;; i++)
		if ((m->inodes[i].mode & S_IFMT) == type && m->inodes[i].ino != sim->ballast &&
			nr-- == 0)
			return m->inodes[i].ino;
}

/* A name that is there, of a directory or of anything else; mostly. */
static bool any_entry(struct sim *sim, const struct workload *w, bool dir, uint64_t *ret_dir,
	char *ret_name)
{
	struct model *m = &sim->model;

	for (int tries = 0; tries < 20 && m->nr_entries; tries++) {
		struct model_entry *e = &m->entries[rnd(sim, m->nr_entries)];

		if (S_ISDIR(model_inode(m, e->ino)->mode) != dir || e->ino == sim->ballast)
			continue;
		*ret_dir = e->dir;
		strcpy(ret_name, e->name);
		return true;
	}
	*ret_dir = any_inode(sim, S_IFDIR);
	any_name(sim, w, ret_name);
	return !dir;
}

static bool make_rename(struct sim *sim, const struct workload *w, struct op *op)
{
	uint64_t how = rnd(sim, 10);

	if (!any_entry(sim, w, rnd(sim, 3) == 0, &op->dir, op->name))
		return false;
	if (how < 4) { /* over something, or exchanged with it */
		any_entry(sim, w, rnd(sim, 3) == 0, &op->new_dir, op->new_name);
	} else {
		op->new_dir = rnd(sim, 2) ? op->dir : any_inode(sim, S_IFDIR);
		any_name(sim, w, op->new_name);
	}
	how = rnd(sim, 10);
	if (how < 3)
		op->flags = CSV_RENAME_EXCHANGE;
	else if (how == 3)
		op->flags = CSV_RENAME_NOREPLACE;
	return true;
}

/* Nothing that is under way on the file makes the outcome a matter of luck. */
static bool no_conflict(struct sim *sim, const struct op *op)
{
	struct list *pos;

	list_for_each (pos, &sim->running) {
		const struct op *other = list_entry(pos, struct op, link);

		if (op->ino && other->new_ino == op->ino && other->kind == OP_CLONE)
			return false;
		if (op->kind == OP_CLONE && (other->ino == op->new_ino || other->new_ino == op->new_ino))
			return false;
		if (other->ino != op->ino || !op->ino)
			continue;
		if (op->kind == OP_CLONE || other->kind == OP_CLONE)
			return false; /* with what it would clone is a matter of luck */
		if (op->kind == OP_APPEND || other->kind == OP_APPEND)
			return false;
		if (op->kind == OP_WRITE && other->kind == OP_WRITE &&
			op->off / BLK <= (other->off + other->len) / BLK &&
			other->off / BLK <= (op->off + op->len) / BLK)
			return false;
	}
	return true;
}

/* A file that loses its last name while it is cloned is none that the model knows. */
static bool names_and_clones(struct sim *sim, const struct op *op)
{
	struct list *pos;

	list_for_each (pos, &sim->running) {
		enum op_kind other = list_entry(pos, struct op, link)->kind;

		if (op->kind == OP_CLONE ? other == OP_UNLINK || other == OP_RENAME :
					   other == OP_CLONE)
			return true;
	}
	return false;
}

static void make_range(struct sim *sim, const struct workload *w, struct op *op)
{
	uint64_t unit = rnd(sim, 3) ? BLK : SECTOR, units = w->max_blks * (BLK / unit);

	op->off = rnd(sim, units) * unit;
	op->len = (1 + rnd(sim, MAX(1, MIN(units - op->off / unit, 12 * (BLK / unit))))) * unit;
	op->len = MIN(op->len, w->max_blks * BLK - op->off);
	if (op->kind == OP_ZERO || op->kind == OP_ALLOC)
		op->flags = rnd(sim, 2) ? CSVP_FALLOC_KEEP_SIZE : 0;
}

static void make_write(struct sim *sim, const struct workload *w, struct op *op)
{
	uint64_t how = rnd(sim, 8);

	if (how == 0) { /* may stay in the inode */
		op->off = rnd(sim, 2) * SECTOR;
		op->len = SECTOR;
	} else if (how < 5 && w->max_blks > 20) { /* into new space without zeroing */
		op->off = rnd(sim, w->max_blks - 16) * BLK;
		op->len = 16 * BLK;
	} else {
		make_range(sim, w, op);
	}
}

static bool make_append(struct sim *sim, const struct workload *w, struct op *op)
{
	struct model_inode *i = model_inode(&sim->model, op->ino);

	op->off = i->size;
	op->len = (1 + rnd(sim, 20)) * SECTOR;
	if (op->off % SECTOR == 0 && op->off + op->len <= w->max_blks * BLK)
		return true;
	op->kind = OP_TRUNC; /* to where one can go on */
	op->size = op->off % SECTOR ? ALIGN_UP(op->off, SECTOR) : rnd(sim, 8) * SECTOR;
	return true;
}

static uint64_t any_empty(struct sim *sim)
{
	for (int tries = 0; tries < 20; tries++) {
		uint64_t ino = any_inode(sim, S_IFREG);

		if (ino && model_inode(&sim->model, ino)->size == 0)
			return ino;
	}
	return 0;
}

static void make_xattr(struct sim *sim, struct op *op)
{
	static const uint32_t lens[] = { 0, 20, 200, 900, 4000, 20000 };
	uint32_t how = (uint32_t)rnd(sim, 6);

	snprintf(op->name, sizeof(op->name), "user.%u", (uint32_t)rnd(sim, 5));
	op->len = rnd(sim, lens[rnd(sim, ARRAY_SIZE(lens))] + 1);
	op->size = rnd(sim, 1000);
	if (op->kind == OP_XATTR && how < 2)
		op->flags = how ? CSV_XATTR_CREATE : CSV_XATTR_REPLACE;
}

static bool make_file_op(struct sim *sim, const struct workload *w, struct op *op)
{
	op->ino = any_inode(sim, S_IFREG);
	if (!op->ino)
		return false;
	switch (op->kind) {
	case OP_WRITE:
		make_write(sim, w, op);
		break;
	case OP_APPEND:
		make_append(sim, w, op);
		break;
	case OP_TRUNC:
		op->size = rnd(sim, 4) ? rnd(sim, model_inode(&sim->model, op->ino)->size + 1) :
					 rnd(sim, MAX(1, w->max_blks) * BLK);
		if (rnd(sim, 2))
			op->size = ALIGN_DOWN(op->size, SECTOR);
		if (rnd(sim, 8) == 0)
			op->size = 0;
		break;
	case OP_CHMOD:
		op->mode = 0600 | (uint32_t)rnd(sim, 0200);
		break;
	case OP_CLONE:
		op->new_ino = any_empty(sim);
		return op->new_ino && op->new_ino != op->ino && !names_and_clones(sim, op) &&
		       model_inode(&sim->model, op->ino)->size && no_conflict(sim, op);
	case OP_XATTR:
	case OP_NOXATTR:
		make_xattr(sim, op);
		break;
	case OP_LINK:
		op->dir = any_inode(sim, S_IFDIR);
		any_name(sim, w, op->name);
		break;
	default:
		make_range(sim, w, op);
	}
	return no_conflict(sim, op);
}

static bool make_op(struct sim *sim, const struct workload *w, struct op *op)
{
	uint32_t sum = 0, at;

	*op = (struct op){ .node = 1 + (uint32_t)rnd(sim, MODEL_NODES) };
	for (unsigned k = 0; k < NR_OP_KINDS; k++)
		sum += w->weight[k];
	at = (uint32_t)rnd(sim, sum);
	while (at >= w->weight[op->kind])
		at -= w->weight[op->kind++];
	switch (op->kind) {
	case OP_CREATE:
	case OP_MKDIR:
	case OP_SYMLINK:
	case OP_FIFO:
		op->dir = any_inode(sim, S_IFDIR);
		any_name(sim, w, op->name);
		if (op->kind == OP_SYMLINK)
			any_name(sim, w, op->new_name);
		return true;
	case OP_UNLINK:
	case OP_RMDIR:
		return any_entry(sim, w, op->kind == OP_RMDIR, &op->dir, op->name) &&
		       !names_and_clones(sim, op);
	case OP_RENAME:
		return make_rename(sim, w, op) && !names_and_clones(sim, op);
	case OP_FSYNC:
	case OP_SYNC:
		return true;
	case OP_CLOSE: {
		struct peer *p = &sim->peers[op->node];

		if (p->nr_handles)
			op->ino = p->handles[rnd(sim, p->nr_handles)].ino;
		return p->nr_handles > 0;
	}
	case OP_PROJECT:
		op->ino = any_inode(sim, rnd(sim, 3) ? S_IFDIR : S_IFREG);
		op->size = rnd(sim, MODEL_PROJECTS);
		op->flags = rnd(sim, 3) != 0;
		return op->ino != 0;
	case OP_LIMIT:
		op->size = 1 + rnd(sim, MODEL_PROJECTS - 1);
		op->len = rnd(sim, 3) ? 10 + rnd(sim, 150) : 0;
		return true;
	default:
		return make_file_op(sim, w, op);
	}
}

/* ---- running them ---- */

void work_run(struct sim *sim, const struct workload *w, uint32_t nr_ops)
{
	uint32_t begun = 0, next_takeover = w->takeover_every, next_ckpt = w->checkpoint_every;
	uint32_t next_death = w->death_every, next_grow = w->grow_every;

	sim->lose_one_of = w->lose_one_of;
	while (begun < nr_ops && !sim->failed) {
		struct op op;
		uint64_t turns = rnd(sim, 6);

		if (sim->nr_running < w->batch && make_op(sim, w, &op))
			begun += sim_submit(sim, &op);
		while (turns-- > 0)
			sim_turn(sim);
		if (next_grow && begun >= next_grow) {
			sim_grow(sim, csv_fs_geometry(sim->fs)->nr_blks + 1 + rnd(sim, 200));
			next_grow += w->grow_every;
		}
		if (next_ckpt && begun >= next_ckpt) {
			sim_checkpoint(sim);
			next_ckpt += w->checkpoint_every;
		}
		if (next_takeover && begun >= next_takeover) {
			sim_takeover(sim);
			next_takeover += w->takeover_every;
		}
		if (next_death && begun >= next_death) {
			sim_node_death(sim, 1 + (uint32_t)rnd(sim, MODEL_NODES));
			next_death += w->death_every;
		}
		if (rnd(sim, 40) == 0) /* a pause */
			sim_idle(sim);
	}
	sim->lose_one_of = 0;
	sim_idle(sim);
}

static void make(struct sim *sim, enum op_kind kind, uint32_t n)
{
	struct op op = { .kind = kind, .node = 1, .dir = CSV_ROOT_INO };

	snprintf(op.name, sizeof(op.name), "%s%u", kind == OP_MKDIR ? "dir" : "file", n);
	CHECK(sim_submit(sim, &op));
	sim_idle(sim);
}

/* The file consists of so many pieces of a block, with holes between them. */
static void cut_up(struct sim *sim, uint64_t ino, uint32_t pieces)
{
	struct op op = { .kind = OP_ALLOC, .node = 1, .ino = ino, .len = 2 * BLK * pieces };

	CHECK(sim_submit(sim, &op));
	sim_idle(sim);
	for (uint32_t i = 0; i < pieces && !sim->failed; i++) {
		op = (struct op){ .kind = OP_PUNCH, .node = 1, .ino = ino,
			.off = 2ull * i * BLK, .len = BLK };
		CHECK(sim_submit(sim, &op));
		while (sim->nr_running > 20)
			sim_turn(sim);
	}
	sim_idle(sim);
}

/* Takes all the space, then gives so much back. */
static void fill_volume(struct sim *sim, uint32_t free_blks)
{
	struct op op = { .kind = OP_ALLOC, .node = 1, .len = free_blks * BLK,
		.flags = CSVP_FALLOC_KEEP_SIZE };
	uint64_t before = sim->nr_refused;

	make(sim, OP_CREATE, 1000);
	make(sim, OP_CREATE, 1001);
	op.ino = model_lookup(&sim->model, CSV_ROOT_INO, "file1001")->ino;
	CHECK(sim_submit(sim, &op));
	sim_idle(sim);
	sim->ballast = op.ino = model_lookup(&sim->model, CSV_ROOT_INO, "file1000")->ino;
	for (op.len = 64 * BLK; sim->nr_refused == before && !sim->failed; op.off += op.len) {
		CHECK(sim_submit(sim, &op));
		sim_idle(sim);
	}
	make(sim, OP_UNLINK, 1001);
}

void work_begin(struct sim *sim, const struct workload *w)
{
	struct workload calm = *w;

	for (uint32_t n = 0; n < w->dirs; n++)
		make(sim, OP_MKDIR, n);
	for (uint32_t n = 0; n < w->files; n++)
		make(sim, OP_CREATE, n);
	for (uint32_t n = 0; w->pieces && n < w->files; n++)
		cut_up(sim, model_lookup(&sim->model, CSV_ROOT_INO, n ? "file1" : "file0")->ino,
			w->pieces);
	if (w->free_blks)
		fill_volume(sim, w->free_blks);
	calm.takeover_every = calm.death_every = calm.grow_every = 0;
	work_run(sim, &calm, w->nr_before);
	sim_settle(sim);
}
