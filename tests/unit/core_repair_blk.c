/* libs: util blockdev journal core */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every metadata block of a volume in turn is lost. While the log still has it nothing else is lost;
 * without the log no more than what only that block held, and the repair is clean.
 */
#include "tests/unit/core_image.h"
#include "tests/unit/core_repair.h"
#include "util/log.h"

static uint32_t nr_in_log;

static const char *type_name(const struct csv_blk_hdr *h)
{
	const struct csv_blk_ops *ops = csv_blk_ops(le16_get(h->type));

	return ops ? ops->name : "other";
}

/* Names of inodes that a leaf of the inode tree holds: what may be lost with it. */
static uint32_t held(const uint8_t *image, uint64_t blk, const struct tree_of_files *before)
{
	const struct csv_tree_node *n = (const void *)(image + blk * CSV_BLOCK_BYTES);
	uint32_t nr = 0;

	if (le16_get(n->h.type) != CSV_BT_TREE || le16_get(n->level) > 0)
		return 0;
	if (le64_get(n->h.owner) != CSV_OWNER_INODES)
		return 2; /* a file (of two names), or none of a directory's */
	for (uint32_t i = 0; i < le16_get(n->nr); i++)
		for (uint32_t s = 0; s < before->nr; s++)
			nr += before->seen[s].ino == le64_get(n->slots[i].key);
	return nr;
}

/* Has the log the block's last content still? */
static bool in_log(struct engine *e, uint64_t blk)
{
	const struct csv_geometry *g = csv_fs_geometry(e->fs);
	uint8_t block[CSV_BLOCK_BYTES];
	struct jnl_images *images;
	int err;

	CHECK_OK(jnl_images_load(e->queue, g->journal_blk, g->journal_nr_blks, g->uuid,
		jnl_tail_seq(csv_fs_journal(e->fs)), &images));
	err = jnl_images_get(images, blk, block);
	jnl_images_free(images);
	return err == 0;
}

static void lose(const uint8_t *good, uint64_t blk, bool log, const struct tree_of_files *before)
{
	static const uint8_t junk[CSV_BLOCK_BYTES] = { 0xde, 0xad };
	static uint8_t zeroes[64 * CSV_BLOCK_BYTES];
	struct tree_of_files after;
	struct engine e;
	uint32_t lost, may;

	image_load(&e, IMAGE_URI, good);
	engine_open(&e, 0); /* its end leaves headers that do not need what lies in the ring */
	if (!log) {
		const struct csv_geometry *g = csv_fs_geometry(e.fs);
		uint64_t from = g->journal_blk + 1, nr = g->journal_nr_blks - 2;

		for (uint64_t pos = 0; pos < nr; pos += 64)
			CHECK_OK(bdev_pwrite(e.queue, zeroes,
				(nr - pos < 64 ? nr - pos : 64) * CSV_BLOCK_BYTES,
				(from + pos) * CSV_BLOCK_BYTES));
	}
	may = in_log(&e, blk) ? 0 : held(good, blk, before);
	nr_in_log += log && in_log(&e, blk);
	CHECK(log || !in_log(&e, blk));
	CHECK_OK(engine_close(&e));
	CHECK_OK(bdev_pwrite(e.queue, junk, sizeof(junk), blk * CSV_BLOCK_BYTES));
	engine_open(&e, 0);
	CHECK_EQ(repair_all(&e), 0);
	t_check(&e);
	see(&e, &after);
	lost = seen_lost(before, &after, false);
	if (lost > may || repair_verbose)
		fprintf(stderr, "block %llu (%s), %s: %u lost, %u may be\n",
			(unsigned long long)blk,
			type_name((const void *)(good + blk * CSV_BLOCK_BYTES)),
			log ? "with the log" : "without the log", lost, may);
	CHECK(lost <= may);
	free(after.seen);
	CHECK_OK(engine_close(&e));
	engine_done(&e);
}

int main(int argc, char **argv)
{
	struct tree_of_files before;
	uint8_t *good = image_make();
	struct engine e;
	uint32_t nr = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!getenv("SHOW_LOG"))
		log_set_level((enum log_level)-1);
	repair_verbose = argc > 1;
	image_load(&e, IMAGE_URI, good);
	engine_open(&e, 0);
	see(&e, &before);
	CHECK_OK(engine_close(&e));
	engine_done(&e);
	for (uint64_t blk = image_next(good, CSV_ROOT_BLK); blk; blk = image_next(good, blk + 1)) {
		uint16_t type = le16_get(image_blk(good, blk)->type);

		if (type == CSV_BT_SUPER || type > CSV_BT_SESSION ||
			(type == CSV_BT_SESSION && blk > CSV_SESS_BLK))
			continue;
		if (argc > 1 && blk != strtoull(argv[1], NULL, 0))
			continue;
		if (le64_get(image_blk(good, blk)->seq))
			lose(good, blk, true, &before);
		lose(good, blk, false, &before);
		nr++;
	}
	printf("%u blocks, each lost with and without the log; it had %u of them\n", nr, nr_in_log);
	CHECK((nr > 15 && nr_in_log > 5) || argc > 1);
	free(before.seen);
	free(good);
	return 0;
}
