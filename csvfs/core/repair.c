/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Puts a volume right, offline (fsck.csvfs).
 *
 * A pass is a whole check that notes beside each error what could be done about it (check_plan.h), and
 * then one stage of that. The caller goes on with a new engine until a pass finds nothing to fix.
 *
 * R1  Each fix is one transaction that leaves the volume no worse, whatever became of the others: it
 *     is on the LUN as a whole or not at all. So a repair may be cut off anywhere; the next one begins
 *     with a check of what it finds and needs no memory of the one before.
 * R2  Stages: 0 blocks at fixed places; 1 the shape of trees; 2 what is in use is marked so; 3 what
 *     is in trees; 4 the root directory; 5 names; 6 counts, and what is nobody's is freed; 7 what counts that. A pass
 *     carries out the first stage that has something that can be done, since what later ones found
 *     may look different afterwards.
 * R3  Stages 0 and 1 change blocks in place: they need no space, so no bitmap has to be believed.
 *     Nothing (but a root for the inode tree, if that and the root block are lost) is allocated
 *     before stage 2 is clean, and nothing is freed by stage 6 before all trees
 *     were walked whole: what a lost block led to stays marked in use until it is found or given up.
 * R4  A fix looks again: it changes what it was planned for if that is still there.
 * R5  A damaged block is taken, in this order, from the log if that provably has its last content
 *     (journal_image.c), made anew from what lies below it, or from what others say of it; only then
 *     is it dropped, and what it led to and is found goes to lost+found.
 * R6  Space of a metadata block is never data's: of two owners a tree node of the right tree wins;
 *     of two files the one whose leaf was written last keeps the block, the other gets a hole.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "csvfs/core/repair_internal.h"
#include "util/err.h"

typedef unsigned long long ull;

static const struct fix_ops {
	const char *did; /* %i inode, %h directory or file, %b block, %k key, %a arg */
	fix_fn *fn;
	bool safe; /* loses nothing */
} fixes[] = {
	[FIX_SUPER] = { "block %b: superblock written anew", NULL, true },
	[FIX_SLOT] = { "block %b: slot block emptied", NULL, true },
	[FIX_SESSION] = { "block %b: session block emptied", repair_session, true },
	[FIX_ROOT_BLK] = { "block %b: root block made anew", repair_root_blk, false },
	[FIX_LEVEL] = { "block %b: level of the tree's root set to %a", repair_level, true },
	[FIX_CLEAR_TREE] = { "inode %h: unknown tree dropped", repair_clear_tree, false },
	[FIX_NODE] = { "block %b: tree node", repair_node, false },
	[FIX_CUT] = { "block %b: taken out of the tree of inode %h", repair_cut, false },
	[FIX_INODE_REC] = { "inode %i: record corrected", repair_inode_rec, false },
	[FIX_GROUP_USED] = { "group %a: blocks in use marked", repair_group_used, true },
	[FIX_NEXT_INO] = { "next inode number set to %a", repair_next_ino, true },
	[FIX_LOST_INODE] = { "inode %i: made anew for the tree at block %b", repair_lost_inode,
		false },
	[FIX_LOST_LAYER] = { "inode %i: layer made anew for the tree at block %b",
		repair_lost_layer, false },
	[FIX_KEYS] = { "block %b: keys moved to where they belong", repair_keys, false },
	[FIX_EXT_DROP] = { "inode %h, file block %k: extent dropped", repair_ext_drop, false },
	[FIX_EXT_OVERLAP] = { "inode %h, file block %k: extent cut at file block %a",
		repair_ext_overlap, false },
	[FIX_EXT_HOLE] = { "inode %h: %a blocks from block %b given up, a hole now",
		repair_ext_hole, false },
	[FIX_ENT_DROP] = { "inode %h: entry dropped (key %k)", repair_ent_drop, false },
	[FIX_ENT_MOVE] = { "inode %h: entry moved (key %k)", repair_ent_move, true },
	[FIX_XATTR_DROP] = { "inode %h: attribute dropped (key %k)", repair_xattr_drop, false },
	[FIX_SYMLINK] = { "inode %i: symlink leads nowhere now", repair_symlink, false },
	[FIX_LAYER_DROP] = { "inode %i: stands alone now", repair_layer_drop, false },
	[FIX_QUOTA_DROP] = { "project %k: entry dropped", repair_quota_drop, false },
	[FIX_ORPHAN_VAL] = { "orphan %k: entry corrected", repair_orphan_val, true },
	[FIX_ROOT_DIR] = { "root directory made", repair_root_dir, false },
	[FIX_NAME_DROP] = { "inode %h: name dropped (key %k)", repair_ent_drop, false },
	[FIX_ENT_TYPE] = { "inode %h: entry's type set to %a (key %k)", repair_ent_type, true },
	[FIX_PARENT] = { "inode %i: parent set to %a", repair_parent, true },
	[FIX_DEPTH] = { "inode %i: depth set to %a", repair_depth, true },
	[FIX_ORPHAN_DEL] = { "inode %i: taken off the orphan list", repair_orphan_del, true },
	[FIX_ORPHAN_ADD] = { "inode %i: put on the orphan list", repair_orphan_add, false },
	[FIX_LOST_FOUND] = { "inode %i: put into lost+found", repair_lost_found, false },
	[FIX_NLINK] = { "inode %i: nlink set to %a", repair_nlink, true },
	[FIX_INODE_BLKS] = { "inode %i: number of blocks set to %a", repair_inode_blks, true },
	[FIX_XATTR_BLKS] = { "inode %i: number of blocks of attributes set to %a",
		repair_xattr_blks, true },
	[FIX_DIR_SIZE] = { "inode %i: number of entries set to %a", repair_dir_size, true },
	[FIX_NR_INODES] = { "number of inodes set to %a", repair_nr_inodes, true },
	[FIX_GROUP] = { "group %a: bitmaps corrected", repair_group, true },
	[FIX_ROOT_FREE] = { "free blocks counted", repair_root_free, true },
	[FIX_QUOTA_USE] = { "project %i: counts %a blocks and %k inodes now", repair_quota_use, true },
};

/* ---- one fix ---- */

struct fix_op {
	struct csv_op op;
	struct repair *r;
	const struct check_fix *fix;
};

static int fix_run(struct csv_op *op, struct csv_txn *txn)
{
	struct fix_op *f = container_of(op, struct fix_op, op);

	return fixes[f->fix->kind].fn(txn, f->r, f->fix);
}

static int fix_once(struct repair *r, const struct check_fix *fix)
{
	struct fix_op f = { .op.run = fix_run, .r = r, .fix = fix };

	return csv_op_sync(r->fs, &f.op);
}

static int fix_do(struct repair *r, struct check_fix *fix)
{
	int err = 0, nr = 0;

	switch (fix->kind) {
	case FIX_SUPER:
		return repair_super(r, fix);
	case FIX_SLOT:
		return repair_slot(r, fix);
	case FIX_ROOT_BLK:
	case FIX_NODE:
		err = repair_node_prepare(r, fix);
		return err ? err : fix_once(r, fix);
	case FIX_ROOT_FREE:
		err = repair_root_free_sum(r, &fix->arg);
		return err ? err : fix_once(r, fix);
	case FIX_KEYS: /* one at a time */
		while (!err) {
			err = fix_once(r, fix);
			nr += !err;
		}
		return err == -EALREADY && nr ? 0 : err;
	default:
		return fix_once(r, fix);
	}
}

static void say_fixed(struct repair *r, const struct check_fix *fix)
{
	char text[256];
	size_t at = 0;

	for (const char *p = fixes[fix->kind].did; *p && at < sizeof(text) - 24; p++) {
		ull n;

		if (*p != '%') {
			text[at++] = *p;
			continue;
		}
		p++;
		n = *p == 'i' ? fix->ino : *p == 'h' ? fix->holder : *p == 'b' ? fix->blk :
			*p == 'k' ? fix->key : fix->arg;
		at += snprintf(text + at, sizeof(text) - at, "%llu", n);
	}
	text[at] = 0;
	if (r->opts->fixed)
		r->opts->fixed(r->opts->arg, text);
}

/* ---- a stage ---- */

static int by_kind(const void *a, const void *b)
{
	const struct check_fix *x = a, *y = b;
	const uint64_t *p = &x->ino, *q = &y->ino;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	/* ino, holder, owner, blk, key, arg: so that what was noted twice is found */
	for (int i = 0; i < 6; i++)
		if (p[i] != q[i])
			return p[i] < q[i] ? -1 : 1;
	return 0;
}
static_assert(offsetof(struct check_fix, arg) - offsetof(struct check_fix, ino) == 40, "by_kind");

static bool may(const struct repair *r, enum fix_kind kind)
{
	return fixes[kind].safe || !r->opts->safe_only;
}

/* The volume has stopped: nothing more can be written. */
static bool is_fatal(const struct repair *r, int err)
{
	return csv_fs_error(r->fs) || err == -ENOMEM || err == -ESHUTDOWN || err == -ERR_FENCED;
}

static int do_stage(struct repair *r, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++) {
		struct check_fix *fix = &r->plan->fixes[i];
		int err;

		if ((i > from && by_kind(fix, fix - 1) == 0) || !may(r, fix->kind))
			continue;
		err = fix_do(r, fix);
		if (err && is_fatal(r, err))
			return csv_fs_error(r->fs) ? csv_fs_error(r->fs) : err;
		if (!err) {
			r->report->fixed++;
			say_fixed(r, fix);
		} else if (err != -EALREADY) {
			r->report->failed++;
		}
	}
	return 0;
}

/* The free blocks of the volume are counted anew after those of a group. */
static void count_free(struct check *c)
{
	struct check_plan *plan = c->plan;

	for (uint64_t i = 0; i < plan->nr; i++) {
		if (plan->fixes[i].kind != FIX_GROUP && plan->fixes[i].kind != FIX_GROUP_USED)
			continue;
		check_fix(c, &(struct check_fix){ .kind = FIX_ROOT_FREE });
		return;
	}
}

static int do_plan(struct repair *r)
{
	struct check_plan *plan = r->plan;
	uint64_t to;
	int err = plan->nr_dups ? repair_dups(r) : 0;

	count_free(r->c);
	if (plan->nr)
		qsort(plan->fixes, plan->nr, sizeof(*plan->fixes), by_kind);
	for (uint64_t from = 0; from < plan->nr && !err; from = to) {
		uint32_t stage = check_fix_stage(plan->fixes[from].kind);
		bool held = false;

		for (to = from; to < plan->nr; to++) {
			if (check_fix_stage(plan->fixes[to].kind) != stage)
				break;
			held |= !may(r, plan->fixes[to].kind);
		}
		err = do_stage(r, from, to);
		/* What must not be done keeps what follows it from being done, too. */
		if (r->report->fixed || held)
			break;
	}
	return err;
}

int csv_repair(struct csv_fs *fs, const struct csv_repair_opts *opts,
	struct csv_repair_report *ret)
{
	struct csv_repair_report report = { 0 };
	struct check_plan plan = { 0 };
	struct check c = { .fs = fs, .geom = csv_fs_geometry(fs), .msg = opts->msg,
		.arg = opts->arg, .progress = opts->progress, .report = &report.check,
		.plan = opts->write ? &plan : NULL };
	struct repair r = { .fs = fs, .c = &c, .plan = &plan, .opts = opts, .report = &report };
	int err = check_run(&c);

	r.buf = malloc(CSV_BLOCK_BYTES);
	if (!err && !r.buf)
		err = -ENOMEM;
	if (!err && opts->write)
		err = do_plan(&r);
	jnl_images_free(r.images);
	free(r.nodes.nodes);
	free(r.image);
	free(r.found);
	free(r.found_keys);
	free(r.buf);
	check_plan_free(&plan);
	check_done(&c);
	if (!err)
		*ret = report;
	return err;
}
