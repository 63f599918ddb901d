/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A hostile volume: blocks of a good one are changed, with right checksums; then it is mounted, checked,
 * used and repaired. It may be refused; nothing may crash, hang, or bring the engine to write what it
 * would not read; a repair comes to an end, and what it says is clean is.
 *
 *	flags (1): RUN_*, then edits: which block (2; 8000h: one of the log's images, too), and fuzz_edit()
 */
#include "csvfs/core/scrub.h"
#include "journal/journal_format.h"
#include "tests/fuzz/volume.h"
#include "util/crc32c.h"

const char *const fuzz_words[] = { NULL };

#define RUN_DIRTY 1u  /* there is a log to replay */
#define RUN_SAFE 2u   /* repair what loses nothing */
#define RUN_OPS 4u    /* use it, before the repair */
#define RUN_SCRUB 8u  /* check it in use */
#define RUN_REPAIR 16u

#define MAX_EDITS 16
#define MAX_PASSES 60

static struct fuzz_volume clean, dirty;
static struct loop *loop;
static uint64_t nr_unchecked; /* checks that did not come to their end */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_volumes_make(&clean, &dirty);
	CHECK_OK(loop_new(&loop));
	return 0;
}

static void seed(void (*add)(const void *data, size_t len), unsigned flags, unsigned which, unsigned what,
	unsigned pos, uint64_t number)
{
	struct fuzz_out out = { .len = 0 };

	fuzz_put(&out, flags, 1);
	fuzz_put(&out, which, 2);
	fuzz_put_edit(&out, what, pos, number);
	add(out.data, out.len);
}

void fuzz_seeds(void (*add)(const void *data, size_t len))
{
	for (uint32_t i = 0; i < clean.nr_home; i++) {
		const struct csv_blk_hdr *h = fuzz_blk(&clean, clean.meta[i]);

		if (le16_get(h->type) == CSV_BT_JRECORD)
			continue;
		seed(add, RUN_REPAIR | (i % 3 ? 0 : RUN_OPS), i, 3, 0x40 + i % 9 * 8, i * 0x101);
		seed(add, RUN_REPAIR | RUN_SCRUB, i, 4, 0x48 + i * 37 % 3000, 1u << i % 8);
	}
	for (uint32_t i = 0; i < 40; i++)
		seed(add, RUN_DIRTY | RUN_REPAIR | (i & 1 ? RUN_SAFE : 0), 0x8000 | (i * 7),
			i % 4, 0x40 + i % 16 * 4, i * 3);
}

/* ---- the edits ---- */

/* blk is an image in the log: its record's descriptor is told of the new checksum. */
static void fix_record(struct engine *e, uint64_t blk)
{
	uint8_t desc[CSV_BLOCK_BYTES], block[CSV_BLOCK_BYTES];
	struct jnl_desc_blk *d = (struct jnl_desc_blk *)desc;

	CHECK_OK(bdev_pread(e->queue, block, sizeof(block), blk * CSV_BLOCK_BYTES));
	for (uint64_t back = 1; back <= JNL_DESC_ENTS && back < blk; back++) {
		CHECK_OK(bdev_pread(e->queue, desc, sizeof(desc), (blk - back) * CSV_BLOCK_BYTES));
		if (le32_get(d->h.magic) != JNL_MAGIC || le16_get(d->h.type) != JNL_BT_RECORD ||
			le64_get(d->h.blkno) != blk - back)
			continue;
		d->ents[back - 1].crc = le32_of(crc32c(0, block, sizeof(block)));
		fuzz_seal(desc);
		CHECK_OK(bdev_pwrite(e->queue, desc, sizeof(desc), (blk - back) * CSV_BLOCK_BYTES));
		return;
	}
}

static void sabotage(const struct fuzz_volume *vol, struct engine *e, struct fuzz_in *in)
{
	uint8_t block[CSV_BLOCK_BYTES];

	for (int n = 0; in->left > 0 && n < MAX_EDITS; n++) {
		uint32_t which = (uint32_t)fuzz_num(in, 2);
		uint64_t blk = vol->meta[which & 0x8000 ? which % vol->nr_meta : which % vol->nr_home];

		CHECK_OK(bdev_pread(e->queue, block, sizeof(block), blk * CSV_BLOCK_BYTES));
		fuzz_edit(vol, in, block, blk);
		CHECK_OK(bdev_pwrite(e->queue, block, sizeof(block), blk * CSV_BLOCK_BYTES));
		if (blk > vol->geom.journal_blk && blk < vol->geom.ag0_blk)
			fix_record(e, blk);
	}
}

/* ---- what is done with it ---- */

static int recover(struct engine *e)
{
	const struct csv_geometry *g = csv_fs_geometry(e->fs);
	struct engine_wait w = { 0 };
	struct jnl_header h;
	int err = jnl_read_header(e->queue, g->journal_blk, g->journal_nr_blks, g->uuid, &h);

	if (!err)
		err = csv_fs_recover(e->fs, h.epoch + 1, 1, engine_recovered, &w);
	if (err)
		return err;
	RUN_UNTIL(e, w.done);
	return w.status;
}

/* As fsck.csvfs does it. */
static int open_engine(struct engine *e, bool reset)
{
	struct csv_fs_cfg cfg = { .queue = e->queue, .cache_bytes = 256 << 10, .failed = engine_failed,
		.arg = e };
	uint64_t errors = 0;
	int err = csv_fs_new(&cfg, &e->fs);

	if (err)
		return err;
	err = csv_check_log(e->fs, fuzz_count_msg, &errors, &errors);
	for (int attempt = 0; !err; attempt++) {
		err = recover(e);
		if (!reset || err != -ERR_CORRUPT || attempt)
			break;
		err = csv_log_reset(e->fs);
	}
	if (err) {
		csv_fs_free(e->fs);
		e->fs = NULL;
	}
	return err;
}

static int list_xattrs(struct csv_txn *txn, void *arg)
{
	static char buf[CSV_XATTR_LIST_MAX];
	uint32_t len = sizeof(buf);

	return csv_xattr_list(txn, *(uint64_t *)arg, buf, &len);
}

static int get_xattr(struct csv_txn *txn, void *arg)
{
	static char buf[CSV_XATTR_VALUE_MAX];
	uint32_t len = sizeof(buf);

	return csv_xattr_get(txn, *(uint64_t *)arg, "user.of-5000", 12, buf, &len);
}

static void use_inode(struct engine *e, uint64_t ino)
{
	struct csv_extent x[8];
	char target[CSV_SYMLINK_MAX];
	uint8_t data[CSV_INLINE_MAX];
	uint32_t nr, len = sizeof(target), data_len = sizeof(data);
	struct csv_attr a;
	uint64_t n;

	(void)t_get(e, ino, &a);
	(void)t_map(e, ino, 0, 2000, x, ARRAY_SIZE(x), &nr);
	(void)t_seek(e, ino, 5, 2000, ino % 2, &n);
	(void)t_readlink(e, ino, target, &len);
	(void)t_inline_get(e, ino, data, &data_len);
	(void)test_op_sync(e, list_xattrs, &ino);
	(void)test_op_sync(e, get_xattr, &ino);
	if (ino % 3 == 0)
		(void)t_alloc_some(e, ino, ino, 9, &n);
	if (ino % 5 == 0)
		(void)t_written(e, ino, ino, 2);
}

/* A bounded punch: a hostile tree may have no end. */
static void punch(struct engine *e, uint64_t ino)
{
	uint64_t left = UINT64_MAX;

	for (int i = 0; i < 50 && left; i++)
		if (DO(e, extent_punch, .ino = ino, .blk = 0, .nr = left, .ret64 = &left))
			return;
}

static void use(struct engine *e)
{
	struct listing l = { .limit = 300 };
	struct csv_attr a, b;
	struct csv_statfs st;
	struct csv_result res;
	uint64_t ino;

	(void)t_statfs(e, &st);
	for (uint64_t dir = 1; dir < 5; dir++) {
		(void)t_readdir(e, dir, 0, true, &l);
		(void)t_create(e, dir, "hostile", S_IFREG | 0644, &a);
		(void)t_create(e, dir, "deeper", S_IFDIR | 0755, &a);
		(void)t_rename(e, dir, "hostile", 1, "file", 0, &a, &b);
		(void)t_lookup(e, dir, "link", &a);
		(void)t_link(e, 6, dir, "another", &a);
		(void)t_unlink(e, dir, "symlink", false, &a);
	}
	free(l.ents);
	for (ino = 1; ino < 130; ino++)
		use_inode(e, ino);
	punch(e, 6);
	if (!t_orphan_next(e, 0, &ino) && ino) {
		punch(e, ino);
		(void)t_orphan_free(e, ino);
	}
	(void)t_result_get(e, 3, 1000, 2, &res);
}

struct scrubbing {
	uint64_t errors;
	bool done;
};

static void scrub_msg(void *arg, const char *text)
{
	((struct scrubbing *)arg)->errors++;
}

static void scrub_done(void *arg, int status)
{
	((struct scrubbing *)arg)->done = true;
}

static void scrub(struct engine *e)
{
	struct scrubbing s = { 0 };
	struct csv_scrub_cfg cfg = { .msg = scrub_msg, .done = scrub_done, .arg = &s };
	struct csv_scrub *scrub;

	CHECK_OK(csv_scrub_start(e->fs, &cfg, &scrub));
	RUN_UNTIL(e, s.done);
	csv_scrub_stop(scrub);
}

/* Passes until nothing is left to be done. */
static void repair(struct engine *e, bool safe)
{
	struct csv_repair_report rep = { 0 };
	uint64_t texts = 0;
	struct csv_repair_opts opts = { .write = true, .safe_only = safe, .now_ns = 77,
		.msg = fuzz_count_msg, .fixed = fuzz_count_msg, .arg = &texts };

	for (int pass = 0; pass < MAX_PASSES; pass++) {
		if (csv_repair(e->fs, &opts, &rep))
			return;
		if (csv_fs_error(e->fs))
			fuzz_fail("the repair has stopped the engine");
		if (!rep.fixed)
			break;
		CHECK_OK(engine_close(e));
		if (open_engine(e, true))
			fuzz_fail("a volume that was repaired cannot be mounted");
	}
	if (rep.fixed)
		fuzz_fail("the repair does not come to an end");
	if (!safe && rep.check.errors && !rep.failed)
		fuzz_fail("the repair leaves errors and has not tried to");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_in in = { data, len };
	unsigned flags = (unsigned)fuzz_num(&in, 1);
	const struct fuzz_volume *vol = flags & RUN_DIRTY ? &dirty : &clean;
	struct csv_check_report report;
	uint64_t texts = 0;
	struct engine e;

	fuzz_volume_open(vol, loop, &e);
	sabotage(vol, &e, &in);
	if (!open_engine(&e, flags & RUN_REPAIR)) {
		if (csv_check(e.fs, fuzz_count_msg, &texts, &report) && !csv_fs_error(e.fs))
			nr_unchecked++;
		if (flags & RUN_SCRUB)
			scrub(&e);
		if (flags & RUN_OPS)
			use(&e);
		if (csv_fs_error(e.fs))
			fuzz_fail("what is wrong on the volume has stopped the engine");
		if (flags & RUN_REPAIR) {
			CHECK_OK(engine_close(&e));
			if (open_engine(&e, true))
				fuzz_fail("a volume that was in use cannot be mounted");
			repair(&e, flags & RUN_SAFE);
		}
	}
	if (e.fs)
		CHECK_OK(engine_close(&e));
	fuzz_volume_close(&e);
	return 0;
}
