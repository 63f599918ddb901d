/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A volume grows, at its end, while it is used.
 *
 * G1  Groups that begin past the old end are written in place and flushed first. Nobody reads them.
 * G2  One transaction makes the volume larger: superblock, root block, the last group, and a group
 *     that begins before the old end. Its record in the log is the moment.
 * G3  The superblock's copies follow in a transaction of their own, which begins when a checkpoint has
 *     put the first in its place: so a crash never finds both torn.
 * G4  Whoever recovers a volume reads the superblock again after the replay, which may have brought a
 *     larger one, and does G3 if the copy still tells of the old size (csv_grow_settle()).
 * G5  What the engine keeps in memory (geometry, summaries) changes within the transaction, and back
 *     when it is aborted.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "csvfs/core/alloc_internal.h"
#include "csvfs/core/core_internal.h"
#include "csvfs/core/group_internal.h"
#include "csvfs/core/root_internal.h"
#include "util/err.h"
#include "util/log.h"

typedef unsigned long long ull;

struct csv_grow {
	struct csv_fs *fs;
	struct csv_geometry old, new;
	uint64_t ag; /* the next to be written (G1) */
	uint64_t first_far; /* the first that begins past the old end */
	uint64_t far_free;  /* free blocks of what was written */
	uint8_t *group;	    /* header and bitmaps */
	struct iovec iov;
	struct bdev_req req;
	struct csv_op op;
	struct csv_txn_hook hook;
	struct jnl_wait wait;
	bool is_larger;	    /* G2 is done */
	bool copies_differ; /* settling: G3 is due */
	void (*done)(void *arg, int status);
	void *arg;
};

static uint64_t group_bytes(const struct csv_geometry *geom)
{
	return (1 + geom->ag_blks / CSV_BITMAP_BITS) * CSV_BLOCK_BYTES;
}

static uint64_t first_blk(const struct csv_geometry *geom, uint64_t ag)
{
	return geom->ag0_blk + ag * geom->ag_blks;
}

int csv_grow_plan(const struct csv_geometry *old, uint64_t nr_blks, struct csv_geometry *ret)
{
	struct csv_geometry geom = *old;

	if (nr_blks <= old->nr_blks)
		return -EINVAL;
	if (nr_blks > INT64_MAX / CSV_BLOCK_BYTES)
		return -EFBIG;
	geom.nr_blks = nr_blks;
	geom.nr_ags = MAX(old->nr_ags, csv_group_count(&geom));
	*ret = geom;
	return 0;
}

static void grow_end(struct csv_grow *g, int status)
{
	struct csv_fs *fs = g->fs;
	void (*done)(void *arg, int status) = g->done;
	void *arg = g->arg;

	fs->grow = NULL;
	fs->drv.nr_ops--;
	csv_driver_kick(fs);
	free(g->group);
	free(g);
	done(arg, status);
}

/* ---- the copies (G3) ---- */

static int put_super(struct csv_txn *txn, uint64_t blk, const struct csv_geometry *geom)
{
	void *block;
	int err = csv_txn_new(txn, blk, CSV_BT_SUPER, 0, &block);

	if (!err)
		csv_super_encode(block, geom);
	return err;
}

static int run_copies(struct csv_op *op, struct csv_txn *txn)
{
	const struct csv_geometry *geom = csv_fs_geometry(csv_txn_fs(txn));
	int err = put_super(txn, CSV_SB_COPY_BLK, geom);

	return err ? err : put_super(txn, geom->nr_blks - 1, geom);
}

static void copies_in_place(struct jnl_wait *wait, int status)
{
	grow_end(container_of(wait, struct csv_grow, wait), status);
}

static void copies_logged(struct csv_op *op, int status)
{
	struct csv_grow *g = container_of(op, struct csv_grow, op);

	if (status) { /* whoever recovers next sees to them */
		log_warn("the superblock's copies do not tell of the new size yet: %s", err_str(status));
		grow_end(g, g->is_larger && !g->fs->error ? 0 : status);
		return;
	}
	g->wait.done = copies_in_place;
	jnl_checkpoint(g->fs->jnl, &g->wait);
}

static void write_copies(struct csv_grow *g)
{
	g->op = (struct csv_op){ .run = run_copies, .done = copies_logged };
	csv_op_submit(g->fs, &g->op);
}

static void super_in_place(struct jnl_wait *wait, int status)
{
	struct csv_grow *g = container_of(wait, struct csv_grow, wait);

	if (status)
		grow_end(g, status);
	else
		write_copies(g);
}

/* ---- the moment (G2) ---- */

/* The last group has more blocks: [from, end) of it become free. */
static int extend_group(struct csv_txn *txn, uint64_t ag, uint64_t from, uint64_t end)
{
	const struct csv_alloc *alloc = csv_alloc_of(txn);
	uint64_t first = ag_first_blk(alloc, ag);
	struct csv_ag *hdr;
	int err = csv_txn_write(txn, first, CSV_BT_AG, (void **)&hdr);

	if (err)
		return err;
	if (le64_get(hdr->nr_blks) != from) {
		log_error("allocation group %llu says that it has %llu blocks, it has %llu", (ull)ag,
			(ull)le64_get(hdr->nr_blks), (ull)from);
		return -ERR_CORRUPT;
	}
	hdr->nr_blks = le64_of(end);
	hdr->free_blks = le64_of(le64_get(hdr->free_blks) + end - from);
	while (from < end) {
		uint64_t bitmap = from / CSV_BITMAP_BITS, bit = from % CSV_BITMAP_BITS;
		uint64_t nr = MIN(end - from, CSV_BITMAP_BITS - bit);
		struct csv_bitmap *bm;

		err = csv_txn_write(txn, first + 1 + bitmap, CSV_BT_BITMAP, (void **)&bm);
		if (err)
			return err;
		if (!csv_bitmap_set(bm->bits, bit, nr, false)) {
			log_error("allocation group %llu: bitmap %llu has free blocks past its end",
				(ull)ag, (ull)bitmap);
			return -ERR_CORRUPT;
		}
		from += nr;
	}
	return 0;
}

/* A new group that begins before the old end, where the superblock's copy may lie. */
static int log_group(struct csv_txn *txn, struct csv_grow *g, uint64_t ag, uint64_t *free_blks)
{
	uint64_t nr_bitmaps = g->new.ag_blks / CSV_BITMAP_BITS;

	*free_blks += csv_group_image(g->group, &g->new, ag, 0);
	for (uint64_t i = 0; i <= nr_bitmaps; i++) {
		uint8_t *from = g->group + i * CSV_BLOCK_BYTES, *to;
		int err = csv_txn_new(txn, first_blk(&g->new, ag) + i, i ? CSV_BT_BITMAP : CSV_BT_AG,
			i ? ag : 0, (void **)&to);

		if (err)
			return err;
		memcpy(to + sizeof(struct csv_blk_hdr), from + sizeof(struct csv_blk_hdr),
			CSV_BLOCK_BYTES - sizeof(struct csv_blk_hdr));
	}
	return 0;
}

static void larger(struct csv_txn_hook *hook, uint64_t seq)
{
	struct csv_grow *g = container_of(hook, struct csv_grow, hook);

	csv_alloc_grown(g->fs->alloc, &g->old);
	g->is_larger = true;
}

static void not_larger(struct csv_txn_hook *hook)
{
	struct csv_grow *g = container_of(hook, struct csv_grow, hook);

	g->fs->geom = g->old;
}

static int run_grow(struct csv_op *op, struct csv_txn *txn)
{
	struct csv_grow *g = container_of(op, struct csv_grow, op);
	uint64_t last = g->old.nr_ags - 1, free_blks = g->far_free, from, end;
	struct csv_root *root;
	int err;

	from = csv_group_nr_blks(&g->old, last);
	end = csv_group_nr_blks(&g->new, last);
	g->fs->geom = g->new; /* (G5) */
	csv_txn_hook(txn, &g->hook);
	err = from < end ? extend_group(txn, last, from, end) : 0;
	free_blks += end - from;
	for (uint64_t ag = g->old.nr_ags; ag < g->first_far && !err; ag++)
		err = log_group(txn, g, ag, &free_blks);
	if (!err)
		err = csv_root_write(txn, &root);
	if (!err)
		root->free_blks = le64_of(le64_get(root->free_blks) + free_blks);
	return err ? err : put_super(txn, CSV_SB_BLK, &g->new);
}

static void grown(struct csv_op *op, int status)
{
	struct csv_grow *g = container_of(op, struct csv_grow, op);

	if (status) {
		grow_end(g, status);
		return;
	}
	log_info("the volume has %llu blocks now, %llu before", (ull)g->new.nr_blks,
		(ull)g->old.nr_blks);
	g->wait.done = super_in_place;
	jnl_checkpoint(g->fs->jnl, &g->wait);
}

/* ---- new groups (G1) ---- */

static void write_next(struct csv_grow *g);

static void group_done(struct bdev_req *req, int status)
{
	struct csv_grow *g = container_of(req, struct csv_grow, req);

	if (status) {
		log_error("a new allocation group cannot be written: %s", err_str(status));
		grow_end(g, status);
		return;
	}
	write_next(g);
}

static void flushed(struct bdev_req *req, int status)
{
	struct csv_grow *g = container_of(req, struct csv_grow, req);

	if (status) {
		grow_end(g, status);
		return;
	}
	g->hook = (struct csv_txn_hook){ .commit = larger, .abort = not_larger };
	g->op = (struct csv_op){ .run = run_grow, .done = grown };
	csv_op_submit(g->fs, &g->op);
}

static int seal_group(struct csv_grow *g, uint64_t ag)
{
	uint64_t nr = group_bytes(&g->new) / CSV_BLOCK_BYTES;
	int err = 0;

	g->far_free += csv_group_image(g->group, &g->new, ag, 0);
	for (uint64_t i = 0; i < nr && !err; i++)
		err = csv_blk_seal(g->group + i * CSV_BLOCK_BYTES, first_blk(&g->new, ag) + i, &g->new,
			jnl_epoch(g->fs->jnl), 0);
	return err;
}

static void write_next(struct csv_grow *g)
{
	bool flush = g->ag == g->new.nr_ags;
	int err = g->fs->error ? g->fs->error : g->fs->state != CSV_FS_OPEN ? -ESHUTDOWN : 0;

	if (!err && !flush)
		err = seal_group(g, g->ag);
	g->req = (struct bdev_req){ .op = BDEV_FLUSH, .done = flushed };
	if (!err && !flush) {
		g->iov = (struct iovec){ g->group, group_bytes(&g->new) };
		g->req = (struct bdev_req){ .op = BDEV_WRITE, .len_bytes = g->iov.iov_len,
			.off_bytes = first_blk(&g->new, g->ag++) * CSV_BLOCK_BYTES, .iov = &g->iov,
			.nr_iov = 1, .done = group_done };
	}
	if (!err)
		err = bdev_submit(g->fs->queue, &g->req);
	if (err)
		grow_end(g, err);
}

static struct csv_grow *grow_new(struct csv_fs *fs, void (*done)(void *arg, int status), void *arg)
{
	struct csv_grow *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->group = aligned_alloc(CSV_BLOCK_BYTES, group_bytes(&fs->geom));
	if (!g->group) {
		free(g);
		return NULL;
	}
	g->fs = fs;
	g->old = fs->geom;
	g->done = done;
	g->arg = arg;
	return g;
}

int csv_grow(struct csv_fs *fs, uint64_t nr_blks, void (*done)(void *arg, int status), void *arg)
{
	struct csv_geometry geom;
	struct csv_grow *g;
	int err = csv_grow_plan(&fs->geom, nr_blks, &geom);

	if (err)
		return err;
	if (fs->state != CSV_FS_OPEN || fs->error)
		return fs->error ? fs->error : -ESHUTDOWN;
	if (fs->grow || fs->nr_super_io) /* a check that is just looking at them may mend them */
		return -EBUSY;
	if (bdev_geom(bdev_queue_bdev(fs->queue)).size_bytes / CSV_BLOCK_BYTES < nr_blks)
		return -ENOSPC;
	/* What one transaction may change (G2). */
	if (geom.ag_blks / CSV_BITMAP_BITS + 8 > JNL_TXN_MAX_BLOCKS)
		return -EOPNOTSUPP;
	err = csv_alloc_make_room(fs->alloc, geom.nr_ags);
	if (err)
		return err;
	g = grow_new(fs, done, arg);
	if (!g)
		return -ENOMEM;
	g->new = geom;
	g->first_far = g->old.nr_ags;
	while (g->first_far < geom.nr_ags && first_blk(&geom, g->first_far) < g->old.nr_blks)
		g->first_far++;
	g->ag = g->first_far;
	fs->grow = g;
	fs->drv.nr_ops++; /* the engine stays open for it */
	write_next(g);
	return 0;
}

void csv_grow_progress(const struct csv_fs *fs, uint64_t *ret_done, uint64_t *ret_total)
{
	const struct csv_grow *g = fs->grow;

	*ret_done = g ? g->ag - g->first_far : 0;
	*ret_total = g ? g->new.nr_ags - g->first_far : 0;
}

/* ---- after a replay (G4) ---- */

static int read_size(struct csv_txn *txn, uint64_t blk, struct csv_geometry *ret)
{
	const void *block;
	const char *why;
	int err = csv_txn_read(txn, blk, CSV_BT_SUPER, &block);

	return err ? err : csv_super_decode(block, ret, &why);
}

static int run_read_copy(struct csv_op *op, struct csv_txn *txn)
{
	struct csv_grow *g = container_of(op, struct csv_grow, op);
	struct csv_geometry copy;
	int err = read_size(txn, CSV_SB_COPY_BLK, &copy);

	g->copies_differ = !err && copy.nr_blks < g->fs->geom.nr_blks;
	return err;
}

static void copy_read(struct csv_op *op, int status)
{
	struct csv_grow *g = container_of(op, struct csv_grow, op);

	if (status || !g->copies_differ) { /* a damaged one is the check's */
		grow_end(g, status == -ENOMEM ? status : 0);
		return;
	}
	log_info("the volume was being grown: its superblock's copies are written");
	write_copies(g);
}

static int adopt(struct csv_fs *fs, const struct csv_geometry *geom)
{
	struct csv_geometry old = fs->geom;
	struct csv_alloc *alloc;
	int err;

	if (geom->nr_blks <= old.nr_blks)
		return 0;
	if (bdev_geom(bdev_queue_bdev(fs->queue)).size_bytes / CSV_BLOCK_BYTES < geom->nr_blks) {
		log_error("the volume was grown to %llu blocks, and this node's device is smaller: have "
			  "the initiator look at its size again",
			(ull)geom->nr_blks);
		return -ENOSPC;
	}
	fs->geom = *geom;
	err = csv_alloc_new(fs, &alloc);
	if (err) {
		fs->geom = old;
		return err;
	}
	csv_alloc_free_state(fs->alloc);
	fs->alloc = alloc;
	return 0;
}

static int run_read_super(struct csv_op *op, struct csv_txn *txn)
{
	struct csv_grow *g = container_of(op, struct csv_grow, op);

	return read_size(txn, CSV_SB_BLK, &g->new);
}

static void super_read(struct csv_op *op, int status)
{
	struct csv_grow *g = container_of(op, struct csv_grow, op);

	if (!status)
		status = adopt(g->fs, &g->new);
	else if (status == -ERR_CORRUPT || status == -EIO) /* a copy was good enough to come here */
		status = 0;
	if (status) {
		grow_end(g, status);
		return;
	}
	g->op = (struct csv_op){ .run = run_read_copy, .done = copy_read };
	csv_op_submit(g->fs, &g->op);
}

int csv_grow_settle(struct csv_fs *fs, void (*done)(void *arg, int status), void *arg)
{
	struct csv_grow *g = grow_new(fs, done, arg);

	if (!g)
		return -ENOMEM;
	fs->grow = g;
	fs->drv.nr_ops++;
	g->op = (struct csv_op){ .run = run_read_super, .done = super_read };
	csv_op_submit(fs, &g->op);
	return 0;
}
