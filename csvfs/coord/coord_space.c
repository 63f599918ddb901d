/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests about where a file's bytes lie: layouts, commits, sizes, allocation, inline writes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "csvfs/coord/coord_internal.h"
#include "csvfs/core/txn.h"
#include "util/checked.h"
#include "util/err.h"

#define BLK CSV_COORD_BLK
#define AHEAD_SEQUENTIAL_MAX (4096u) /* 16 MiB */
#define AHEAD_RANDOM_MAX (256u)	     /* 1 MiB */
#define AHEAD_RANDOM_STEP 32u	     /* so many random ones double it */
#define ALLOC_MAX_BLKS (1u << 14) /* in one LAYOUT; a node's I/O is far smaller */
#define COMMIT_MAX_RANGES 16u
#define MAP_AROUND_BLKS (1u << 18) /* 1 GiB */
#define IO_MAX_BLKS 258u	   /* 1 MiB, unaligned */
#define INLINE_BYTES 1024u

static uint64_t ino_of(const struct request *r)
{
	return r->ci->hash.key;
}

static int run_attr(struct request *r, struct csv_txn *txn)
{
	int err = csv_inode_get(txn, ino_of(r), &r->attr);

	if (!err && !S_ISREG(r->attr.mode))
		err = S_ISDIR(r->attr.mode) ? -EISDIR : -EINVAL;
	return err || !r->attr.is_layer ? err : -ESTALE;
}

/* The file grows past an end that lies within a block: what was put there in place, zeroes among it,
 * must be stable before the size is, or a loss of power shows what was there before (P4). */
static void grows(const struct request *r, struct csv_txn *txn)
{
	if (r->attr.size % BLK && r->attr.data_kind == 2)
		csv_txn_preflush(txn);
}

/* Ends r with what its last step came to; the way out of every chain here. */
static void finish(struct request *r, int status)
{
	request_finish(r, status);
}

void reply_size(struct request *r)
{
	struct csvp_size *out = csvp_put(&r->reply, sizeof(*out));

	if (out)
		out->size = le64_of(r->size);
}

/* ---- allocation, a bounded part a transaction ---- */

static int run_alloc(struct request *r, struct csv_txn *txn)
{
	return csv_extent_alloc(txn, ino_of(r), r->pos, r->left, &r->nr_done);
}

static void alloc_next(struct request *r, int status)
{
	if (status == 0) {
		r->pos += r->nr_done;
		r->left -= r->nr_done;
	}
	if (status || r->left == 0)
		r->then(r, status);
	else
		request_run(r, run_alloc, alloc_next);
}

/* Allocates the holes of [blk, blk + nr), unwritten; then(r, status). */
static void alloc_range(struct request *r, uint64_t blk, uint64_t nr,
	void (*then)(struct request *r, int status))
{
	r->pos = blk;
	r->left = nr;
	r->then = then;
	r->last_step = false;
	if (nr)
		request_run(r, run_alloc, alloc_next);
	else
		then(r, 0);
}

/* ---- LAYOUT ---- */

/* What was allocated is answered alone; who only asks gets what lies around, too, so that random I/O
 * soon knows the whole file. */
static int map_around(struct request *r, struct csv_txn *txn)
{
	const struct csvp_layout *b = r->body;
	bool alloc = le32_get(b->flags) & (CSVP_LAYOUT_ALLOC | CSVP_LAYOUT_ZERO_AHEAD);
	uint64_t start = alloc ? r->blk : ALIGN_DOWN(r->blk, MAP_AROUND_BLKS);
	uint64_t end = r->blk + r->nr;
	int err = csv_extent_map(txn, ino_of(r), start, end - start, r->ext, CSVP_MAX_EXTENTS,
		&r->nr_ext);

	if (err || start == r->blk || r->nr_ext < CSVP_MAX_EXTENTS)
		return err;
	const struct csv_extent *last = &r->ext[r->nr_ext - 1];
	if (last->blk + last->nr >= MIN(end, r->blk + IO_MAX_BLKS))
		return 0;
	return csv_extent_map(txn, ino_of(r), r->blk, r->nr, r->ext, CSVP_MAX_EXTENTS, &r->nr_ext);
}

static int run_layout_map(struct request *r, struct csv_txn *txn)
{
	const struct csvp_layout *b = r->body;
	int err = run_attr(r, txn);

	if (!err && (le32_get(b->flags) & CSVP_LAYOUT_DROP_PRIV))
		err = csv_priv_drop(txn, ino_of(r));
	if (!err)
		err = csv_priv_get(txn, ino_of(r), &r->has_priv);
	r->nr_ext = 0;
	r->inline_len = 0;
	if (!err && r->attr.data_kind == 1) {
		r->inline_len = sizeof(r->inline_data);
		return csv_inline_get(txn, ino_of(r), r->inline_data, &r->inline_len);
	}
	return !err && r->nr ? map_around(r, txn) : err;
}

static void layout_granted(struct request *r)
{
	finish(r, 0);
}

/* Who may write in place alone knows the times: nobody else keeps the attributes (coord_seen.c, S3). */
static void layout_mapped(struct request *r, int status)
{
	if (status == 0 && r->inner && r->ci->mode[r->node] != CSVP_EXCL)
		status = -ERR_STALE; /* it was given up meanwhile: to be asked for as ever */
	if (status == 0 && request_live(r))
		ci_set_mode(r->ci, r->node, r->mode);
	if (status == 0 && r->mode >= CSVP_WRITE && !r->inner)
		seen_forget(r, ino_of(r), layout_granted);
	else
		finish(r, status);
}

static void layout_answer(struct request *r, int status)
{
	if (!r->ext)
		r->ext = malloc(CSVP_MAX_EXTENTS * sizeof(*r->ext));
	if (!status && !r->ext)
		status = -ENOMEM;
	if (status)
		finish(r, status);
	else
		request_run(r, run_layout_map, layout_mapped);
}

static void layout_alloced(struct request *r, int status)
{
	if (status == 0 && r->zero_nr) {
		/* the node hears of the whole run */
		r->nr = MAX(r->nr, r->zero_blk + r->zero_nr - r->blk);
		data_fill_unwritten(r, r->zero_blk, r->zero_nr, layout_answer);
	} else {
		layout_answer(r, status);
	}
}

/* The run that is made ready around a small write: it grows while writes go on where the last run
 * ended, and slowly under random ones. It does not pass the end of file further than the write. */
static void zero_window(struct request *r)
{
	struct coord_inode *ci = r->ci;
	uint32_t cluster = csv_fs_geometry(r->coord->cfg.fs)->cluster_blks;
	uint64_t eof = DIV_ROUND_UP(r->attr.size, BLK);

	if (ci->ahead_blks == 0)
		ci->ahead_blks = cluster;
	if (r->blk == ci->ahead_next && r->blk) {
		ci->ahead_blks = MIN(ci->ahead_blks * 2, AHEAD_SEQUENTIAL_MAX);
	} else if (++ci->ahead_random % AHEAD_RANDOM_STEP == 0) {
		ci->ahead_blks = MIN(ci->ahead_blks * 2, MAX(AHEAD_RANDOM_MAX, cluster));
	}
	r->zero_blk = ALIGN_DOWN(r->blk, cluster);
	uint64_t end = MAX(r->blk + r->nr, ALIGN_UP(r->blk + r->nr, cluster));
	end = MAX(end, MIN(r->zero_blk + ci->ahead_blks, eof));
	r->zero_nr = end - r->zero_blk;
	ci->ahead_next = end;
}

/* Not all of the run could be had: what is written has to be. */
static void layout_window(struct request *r, int status)
{
	if (status != -EDQUOT || (r->zero_blk == r->blk && r->zero_nr == r->nr)) {
		layout_alloced(r, status);
		return;
	}
	r->ci->ahead_blks = 0;
	r->zero_blk = r->blk;
	r->zero_nr = r->nr;
	alloc_range(r, r->blk, r->nr, layout_alloced);
}

static void layout_alloc(struct request *r, int status)
{
	const struct csvp_layout *b = r->body;

	r->zero_nr = 0;
	if (status) {
		finish(r, status);
	} else if (le32_get(b->flags) & CSVP_LAYOUT_ZERO_AHEAD) {
		zero_window(r);
		alloc_range(r, r->zero_blk, r->zero_nr, layout_window);
	} else {
		if (r->attr.base) { /* what is to be written next may show through until then */
			r->zero_blk = r->blk;
			r->zero_nr = r->nr;
		}
		alloc_range(r, r->blk, r->nr, layout_alloced);
	}
}

static void layout_attr(struct request *r, int status)
{
	if (status)
		finish(r, status);
	else if (r->attr.data_kind == 1)
		data_uninline(r, layout_alloc);
	else if (r->attr.base && !r->inner) /* the place changes of what others may have cached */
		section_recall(r, ~NODE_BIT(r->node), CSVP_NONE, layout_alloc);
	else
		layout_alloc(r, 0);
}

static void layout_recalled(struct request *r, int status)
{
	const struct csvp_layout *b = r->body;

	if (status == 0 && r->nr &&
		(le32_get(b->flags) & (CSVP_LAYOUT_ALLOC | CSVP_LAYOUT_ZERO_AHEAD)))
		request_run(r, run_attr, layout_attr);
	else
		layout_answer(r, status);
}

/* In the section: which mode is right to give, who must give way for it. */
static void layout_entered(struct request *r, int status)
{
	const struct csvp_layout *b = r->body;
	struct coord_inode *ci = r->ci;
	enum csvp_mode own = ci->mode[r->node];
	enum csvp_mode mode = le32_get(b->mode);
	uint64_t others = ci->holders & ~NODE_BIT(r->node);

	if (mode == CSVP_READ)
		for (uint32_t node = 1; node < NR_NODES; node++)
			if (node != r->node && ci->mode[node] >= CSVP_WRITE)
				mode = CSVP_WRITE; /* reading beside a writer needs no more */
	if (mode == CSVP_WRITE && !others)
		mode = CSVP_EXCL; /* alone: spare it the next question */
	r->mode = MAX(mode, own == CSVP_EXCL || (own == CSVP_WRITE && mode == CSVP_READ) ? own : 0);
	section_recall(r, ~NODE_BIT(r->node), r->mode, layout_recalled);
}

/* Its node has the token that it asks for. */
static void layout_inner(struct request *r)
{
	r->mode = CSVP_EXCL;
	layout_recalled(r, 0);
}

void start_layout(struct request *r)
{
	const struct csvp_layout *b = r->body;
	uint32_t mode = le32_get(b->mode);
	uint64_t end;

	r->blk = le64_get(b->blk);
	r->nr = le64_get(b->nr);
	uint32_t flags = le32_get(b->flags) & (CSVP_LAYOUT_ALLOC | CSVP_LAYOUT_ZERO_AHEAD);
	if (mode < CSVP_READ || mode > CSVP_EXCL || checked_add(r->blk, r->nr, &end) ||
		end > CSVP_FILE_MAX_BLKS ||
		(flags && (mode == CSVP_READ || r->nr > ALLOC_MAX_BLKS))) {
		finish(r, -EINVAL);
		return;
	}
	int err = ci_attach(r, le64_get(b->ino));
	if (!err && (le32_get(b->flags) & CSVP_LAYOUT_PAGES) && mode == CSVP_EXCL)
		r->inner_step = layout_inner;
	if (err)
		finish(r, err);
	else if (!inner_enter(r))
		section_enter(r, 0, CSVP_NONE, layout_entered);
}

void reply_layout(struct request *r)
{
	struct csvp_layout_reply *out = csvp_put(&r->reply, sizeof(*out));

	if (!out)
		return;
	out->size = le64_of(r->attr.size);
	out->mode = le32_of(r->mode);
	out->nr_extents = le32_of(r->nr_ext);
	out->inline_len = le32_of(r->inline_len);
	out->is_inline = le32_of(r->attr.data_kind == 1);
	out->has_priv = le32_of(r->has_priv);
	for (uint32_t i = 0; i < r->nr_ext; i++) {
		struct csvp_extent *e = csvp_put(&r->reply, sizeof(*e));
		if (!e)
			return;
		e->blk = le64_of(r->ext[i].blk);
		e->nr = le64_of(r->ext[i].nr);
		e->phys = le64_of(r->ext[i].phys);
		e->state = le32_of(r->ext[i].state);
	}
	csvp_put_bytes(&r->reply, r->inline_data, r->inline_len);
}

/* ---- COMMIT ---- */

/* -ERR_STALE unless the whole range is unwritten: somebody zeroed or freed it meanwhile. */
static int check_unwritten(struct request *r, struct csv_txn *txn, uint64_t blk, uint64_t nr)
{
	while (nr) {
		struct csv_extent e[8];
		uint32_t n;
		int err = csv_extent_map(txn, ino_of(r), blk, nr, e, ARRAY_SIZE(e), &n);
		if (err)
			return err;
		for (uint32_t i = 0; i < n; i++) {
			if (e[i].state != CSV_UNWRITTEN)
				return -ERR_STALE;
			blk += e[i].nr;
			nr -= e[i].nr;
		}
	}
	return 0;
}

/* Its token was not taken: what it wrote is to be believed. */
static bool may_commit(const struct request *r)
{
	return r->ci->mode[r->node] >= CSVP_WRITE || r->coord->cfg.no_recall;
}

static int run_commit(struct request *r, struct csv_txn *txn)
{
	const struct csvp_commit *b = r->body;
	struct csvp_in in = r->in;
	const struct csvp_range *ranges =
		csvp_get(&in, (uint64_t)le32_get(b->nr_ranges) * sizeof(*ranges));
	uint64_t new_size = le64_get(b->new_size);
	uint64_t wrote_ns = le64_get(b->wrote_ns);
	int err = run_attr(r, txn);

	if (!err && !may_commit(r)) /* a second sending of it may run after a truncation */
		err = -ERR_STALE;
	for (uint32_t i = 0; !err && i < le32_get(b->nr_ranges); i++) {
		uint64_t blk = le64_get(ranges[i].blk), nr = le64_get(ranges[i].nr);
		err = check_unwritten(r, txn, blk, nr);
		if (!err)
			err = csv_extent_written(txn, ino_of(r), blk, nr);
	}
	if (err)
		return err;
	struct csv_attr set = { .mtime_ns = (int64_t)wrote_ns, .ctime_ns = (int64_t)wrote_ns };
	unsigned mask = wrote_ns ? CSV_SET_MTIME_MAX : 0;
	if (new_size > r->attr.size) {
		set.size = new_size;
		mask |= CSV_SET_SIZE;
		grows(r, txn);
	}
	if (mask)
		err = csv_inode_set(txn, ino_of(r), mask, &set, &r->attr);
	r->size = r->attr.size;
	return err;
}

static void commit_done(struct request *r, int status)
{
	struct coord_inode *ci = r->ci;

	ci->nr_commits--;
	if (ci->nr_commits == 0 && ci->zeroer) {
		struct request *zeroer = ci->zeroer;
		ci->zeroer = NULL;
		zeroer->step(zeroer, 0);
	}
	finish(r, status);
}

static void commit_go(struct request *r, int status)
{
	r->ci->nr_commits++;
	request_run(r, run_commit, commit_done);
}

void start_commit(struct request *r)
{
	const struct csvp_commit *b = r->body;
	uint32_t nr = le32_get(b->nr_ranges);
	struct csvp_in in = r->in;
	const struct csvp_range *ranges = csvp_get(&in, (uint64_t)nr * sizeof(*ranges));
	int err = 0;

	if (!ranges || nr > COMMIT_MAX_RANGES || le64_get(b->new_size) > INT64_MAX)
		err = -EINVAL;
	for (uint32_t i = 0; !err && i < nr; i++)
		if (!range_ok(le64_get(ranges[i].blk), le64_get(ranges[i].nr), CSVP_FILE_MAX_BLKS))
			err = -EINVAL;
	if (!err)
		err = ci_attach(r, le64_get(b->ino));
	if (!err && !may_commit(r))
		err = -ERR_STALE;
	if (err) {
		finish(r, err);
	} else if (r->ci->zeroing) {
		r->then = commit_go;
		list_add_tail(&r->ci->commits, &r->link);
	} else {
		commit_go(r, 0);
	}
}

/* ---- inline files ---- */

static int run_write_inline(struct request *r, struct csv_txn *txn)
{
	const struct csvp_write_inline *b = r->body;
	struct csvp_in in = r->in;
	uint32_t len = le32_get(b->len), have = sizeof(r->inline_data);
	const void *bytes = csvp_get(&in, len);
	int err = run_attr(r, txn);

	if (err)
		return err;
	if (!bytes)
		return -EPROTO;
	uint64_t off = le32_get(b->flags) & CSVP_INLINE_APPEND ? r->attr.size : le64_get(b->off_bytes);
	if (r->attr.data_kind == 2 || r->attr.size > INLINE_BYTES || !range_ok(off, len, INLINE_BYTES))
		return -EFBIG;
	memset(r->inline_data, 0, sizeof(r->inline_data));
	if (r->attr.data_kind == 1) {
		err = csv_inline_get(txn, ino_of(r), r->inline_data, &have);
		if (err)
			return err;
	}
	memcpy(r->inline_data + off, bytes, len);
	uint64_t size = MAX(r->attr.size, off + len);
	err = csv_inline_set(txn, ino_of(r), r->inline_data, (uint32_t)size);
	if (err)
		return err == -EINVAL ? -EFBIG : err; /* space was allocated ahead: not inline */
	if (le32_get(b->flags) & CSVP_INLINE_DROP_PRIV) {
		err = csv_priv_drop(txn, ino_of(r));
		if (err)
			return err;
	}
	struct csv_attr set = { .mtime_ns = (int64_t)le64_get(b->wrote_ns),
		.ctime_ns = (int64_t)le64_get(b->wrote_ns) };
	err = csv_inode_set(txn, ino_of(r), CSV_SET_MTIME_MAX, &set, &r->attr);
	r->size = size;
	return err;
}

static void write_inline_go(struct request *r, int status)
{
	request_run(r, run_write_inline, finish);
}

/* Whoever knows the size for certain must not any more; nor the asker beside them. */
static void write_inline_entered(struct request *r, int status)
{
	uint64_t mask = r->ci->mode[r->node] == CSVP_READ ? ALL_NODES : ~NODE_BIT(r->node);

	section_recall(r, mask, CSVP_WRITE, write_inline_go);
}

void start_write_inline(struct request *r)
{
	const struct csvp_write_inline *b = r->body;
	int err = ci_attach(r, le64_get(b->ino));

	if (err)
		finish(r, err);
	else
		section_enter(r, 0, CSVP_NONE, write_inline_entered);
}

/* ---- sizes ---- */

/* Shrinks by a bounded part: the size goes down with the space, so that each step leaves a whole
 * file behind. */
static int run_shrink(struct request *r, struct csv_txn *txn)
{
	int err = run_attr(r, txn);

	if (err)
		return err;
	r->base = r->attr.base;
	uint64_t size = r->size, blk = DIV_ROUND_UP(size, BLK);
	r->left = 0;
	if (r->attr.data_kind == 2)
		err = csv_extent_punch(txn, ino_of(r), blk, UINT64_MAX, &r->left);
	if (err)
		return err;
	const struct csvp_setattr *b = r->body;
	struct csv_attr set = {
		.mode = le32_get(b->mode),
		.uid = le32_get(b->uid),
		.gid = le32_get(b->gid),
		.size = r->left ? MIN(r->attr.size, (blk + r->left) * BLK) : size,
		.atime_ns = (int64_t)le64_get(b->atime_ns),
		.mtime_ns = (int64_t)le64_get(b->mtime_ns),
		.ctime_ns = (int64_t)le64_get(b->ctime_ns),
	};
	r->last_step = r->left == 0;
	if (size > r->attr.size)
		grows(r, txn);
	return csv_inode_set(txn, ino_of(r), r->last_step ? le32_get(b->mask) : CSV_SET_SIZE, &set,
		&r->attr);
}

static void shrink_next(struct request *r, int status)
{
	if (status == 0 && r->base && !r->attr.base)
		orphan_check(r->coord, r->base); /* it may have been the last that needed it */
	if (status || r->left == 0)
		finish(r, status);
	else
		request_run(r, run_shrink, shrink_next);
}

static void setattr_zeroed(struct request *r, int status)
{
	if (status)
		finish(r, status);
	else
		request_run(r, run_shrink, shrink_next);
}

static void setattr_attr(struct request *r, int status)
{
	const struct csvp_setattr *b = r->body;

	r->size = le64_get(b->size);
	if (status)
		finish(r, status);
	else if (r->size > r->attr.size && r->attr.size % BLK)
		data_zero_part(r, r->attr.size / BLK, r->attr.size % BLK, BLK, setattr_zeroed);
	else
		setattr_zeroed(r, 0);
}

static void setattr_recalled(struct request *r, int status)
{
	r->last_step = false;
	if (status)
		finish(r, status);
	else
		request_run(r, run_attr, setattr_attr);
}

/* Its node writes no page back before this is answered (the kernel's FUSE does not, while it changes
 * a size), and does not give its token up before those are written. */
static void setattr_inner(struct request *r)
{
	inner_refresh(r, setattr_recalled);
}

/* In order: nobody has a token; what lies past a growing end is zeroed; size and space change. */
void start_setattr_size(struct request *r)
{
	const struct csvp_setattr *b = r->body;

	r->inner_step = setattr_inner;
	if (le64_get(b->size) > INT64_MAX)
		finish(r, -EFBIG);
	else if (!inner_enter(r))
		section_enter(r, ALL_NODES, CSVP_NONE, setattr_recalled);
}

/* ---- fallocate ---- */

static int run_falloc_size(struct request *r, struct csv_txn *txn)
{
	const struct csvp_fallocate *b = r->body;
	uint64_t end = le64_get(b->off_bytes) + le64_get(b->len_bytes);
	int64_t now = (int64_t)le64_get(b->now_ns);
	struct csv_attr set = { .size = end, .mtime_ns = now, .ctime_ns = now };
	int err = run_attr(r, txn);
	bool longer = !err && end > r->attr.size &&
		!(le32_get(b->mode) & (CSVP_FALLOC_KEEP_SIZE | CSVP_FALLOC_PUNCH));

	if (longer)
		grows(r, txn);
	if (err)
		return err;
	set.mode = r->attr.mode & ~(uint32_t)S_ISGID;
	bool drop = (le32_get(b->mode) & CSVP_FALLOC_DROP_SGID) && (r->attr.mode & S_ISGID) &&
		r->attr.gid != le32_get(b->gid);
	err = csv_inode_set(txn, ino_of(r),
		(longer ? CSV_SET_SIZE : 0) | (drop ? CSV_SET_MODE : 0) | CSV_SET_MTIME_MAX, &set,
		&r->attr);
	r->size = r->attr.size;
	return err;
}

static void falloc_last(struct request *r, int status)
{
	r->last_step = true;
	if (status)
		finish(r, status);
	else
		request_run(r, run_falloc_size, finish);
}

static void falloc_alloc(struct request *r, int status)
{
	const struct csvp_fallocate *b = r->body;
	uint64_t off = le64_get(b->off_bytes), end = off + le64_get(b->len_bytes);

	if (status)
		finish(r, status);
	else
		alloc_range(r, off / BLK, DIV_ROUND_UP(end, BLK) - off / BLK, falloc_last);
}

static int run_falloc_punch(struct request *r, struct csv_txn *txn)
{
	r->left = 0;
	return r->nr ? csv_extent_punch(txn, ino_of(r), r->blk, r->nr, &r->left) : 0;
}

static void falloc_punched(struct request *r, int status)
{
	const struct csvp_fallocate *b = r->body;

	if (status == 0 && r->left) {
		r->nr = r->left;
		request_run(r, run_falloc_punch, falloc_punched);
	} else if (status == 0 && (le32_get(b->mode) & CSVP_FALLOC_ZERO)) {
		falloc_alloc(r, 0);
	} else {
		falloc_last(r, status);
	}
}

static void falloc_edges(struct request *r, int status)
{
	if (status)
		finish(r, status);
	else
		request_run(r, run_falloc_punch, falloc_punched);
}

/* The first edge is zeroed: now the last, if it is another block. */
static void falloc_edge2(struct request *r, int status)
{
	const struct csvp_fallocate *b = r->body;
	uint64_t off = le64_get(b->off_bytes), end = off + le64_get(b->len_bytes);

	r->blk = DIV_ROUND_UP(off, BLK);
	r->nr = end / BLK > r->blk ? end / BLK - r->blk : 0;
	if (status)
		finish(r, status);
	else if (end % BLK && end / BLK >= r->blk)
		data_zero_part(r, end / BLK, 0, end % BLK, falloc_edges);
	else
		falloc_edges(r, 0);
}

/* A growing end: what lies past the old one in its block is zeroed first. */
static void falloc_begin(struct request *r, int status)
{
	const struct csvp_fallocate *b = r->body;
	uint64_t off = le64_get(b->off_bytes), end = off + le64_get(b->len_bytes);
	uint32_t mode = le32_get(b->mode);

	if (status)
		finish(r, status);
	else if (!(mode & (CSVP_FALLOC_PUNCH | CSVP_FALLOC_ZERO)))
		falloc_alloc(r, 0);
	else if (off % BLK)
		data_zero_part(r, off / BLK, off % BLK,
			end / BLK == off / BLK ? (uint32_t)(end % BLK) : BLK, falloc_edge2);
	else
		falloc_edge2(r, 0);
}

static void falloc_tail(struct request *r, int status)
{
	const struct csvp_fallocate *b = r->body;
	uint64_t end = le64_get(b->off_bytes) + le64_get(b->len_bytes);

	if (status)
		finish(r, status);
	else if (end > r->attr.size && r->attr.size % BLK)
		data_zero_part(r, r->attr.size / BLK, r->attr.size % BLK, BLK, falloc_begin);
	else
		falloc_begin(r, 0);
}

static void falloc_attr(struct request *r, int status)
{
	if (status == 0 && r->attr.data_kind == 1)
		data_uninline(r, falloc_tail);
	else
		falloc_tail(r, status);
}

static void falloc_recalled(struct request *r, int status)
{
	request_run(r, run_attr, falloc_attr);
}

void start_fallocate(struct request *r)
{
	const struct csvp_fallocate *b = r->body;
	uint64_t off = le64_get(b->off_bytes), len = le64_get(b->len_bytes);
	uint32_t mode = le32_get(b->mode) & ~(uint32_t)CSVP_FALLOC_DROP_SGID;
	int err = 0;

	if (!len || !range_ok(off, len, INT64_MAX))
		err = -EINVAL;
	else if (mode & ~(CSVP_FALLOC_KEEP_SIZE | CSVP_FALLOC_PUNCH | CSVP_FALLOC_ZERO) ||
		((mode & CSVP_FALLOC_PUNCH) && mode != (CSVP_FALLOC_PUNCH | CSVP_FALLOC_KEEP_SIZE)))
		err = -EOPNOTSUPP;
	else
		err = ci_attach(r, le64_get(b->ino));
	r->last_step = false;
	if (err)
		finish(r, err);
	else
		section_enter(r, ALL_NODES, CSVP_NONE, falloc_recalled);
}

/* ---- seek ---- */

static int run_seek(struct request *r, struct csv_txn *txn)
{
	const struct csvp_seek *b = r->body;
	uint64_t off = le64_get(b->off_bytes), blk;
	bool data = le32_get(b->data);
	int err = run_attr(r, txn);

	if (err)
		return err;
	if (off >= r->attr.size)
		return -ENXIO;
	uint64_t end = DIV_ROUND_UP(r->attr.size, BLK);
	if (r->attr.data_kind == 1) {
		r->size = data ? off : r->attr.size;
		return 0;
	}
	err = csv_extent_seek(txn, ino_of(r), off / BLK, end, data, &blk);
	if (err)
		return err;
	if (data && blk >= end)
		return -ENXIO;
	r->size = MIN(MAX(blk * BLK, off), r->attr.size);
	return 0;
}

/* Who writes now is asked for nothing: what it has committed counts. */
void start_seek(struct request *r)
{
	const struct csvp_seek *b = r->body;
	int err = ci_attach(r, le64_get(b->ino));

	if (err)
		finish(r, err);
	else
		request_run(r, run_seek, finish);
}
