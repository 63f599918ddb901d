/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Decoders of single blocks and of the lock manager's message: each type of metadata block as the
 * engine, the journal and the lock manager read it, with right checksums and wrong contents.
 *
 *	kind (1), which block of that kind (2), edits (volume.h)
 */
#include "journal/journal_internal.h"
#include "lockmgr/elect.h"
#include "lockmgr/group_format.h"
#include "lockmgr/lm_internal.h"
#include "tests/fuzz/volume.h"
#include "util/crc32c.h"

const char *const fuzz_words[] = { NULL };

static struct fuzz_volume clean, dirty;
static uint8_t slot[CSV_BLOCK_BYTES], message[CSV_BLOCK_BYTES];

enum { KIND_BLOCK, KIND_LOG, KIND_SLOT, KIND_MESSAGE, NR_KINDS };

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct elect_state state = { .node = 3, .generation = 9, .epoch = 4, .path = true,
		.address = "127.0.0.1", .name = "node" };
	struct lm_slot s = { .state = LM_SLOT_LIVE, .node = 3, .generation = 99, .pr_key = 7,
		.name = "node" };

	fuzz_volumes_make(&clean, &dirty);
	slot_encode(&s, clean.geom.uuid, CSV_SLOT_BLK + 2, slot);
	elect_encode(&state, clean.geom.uuid, message);
	return 0;
}

void fuzz_seeds(void (*add)(const void *data, size_t len))
{
	for (uint32_t i = 0; i < dirty.nr_home; i++) {
		struct fuzz_out out = { .len = 0 };

		fuzz_put(&out, i % 2 ? KIND_BLOCK : KIND_LOG, 1);
		fuzz_put(&out, i, 2);
		fuzz_put_edit(&out, 1, 0x42, 3);
		add(out.data, out.len);
	}
	add("\2\0\0\2\x4c\0\2", 7);
	add("\3\0\0\2\x38\0\1", 7);
}

static void edit(struct fuzz_in *in, uint8_t *block, uint64_t blk)
{
	for (int n = 0; in->left > 0 && n < 64; n++)
		fuzz_edit(&dirty, in, block, blk);
}

static void check_block(struct fuzz_in *in, uint64_t blk)
{
	uint8_t block[CSV_BLOCK_BYTES], twin[CSV_BLOCK_BYTES];
	struct csv_geometry geom;
	const char *why = "";

	memcpy(block, fuzz_blk(&dirty, blk), sizeof(block));
	edit(in, block, blk);
	uint16_t type = le16_get(((struct csv_blk_hdr *)block)->type);
	if (!csv_super_check(block, blk, &geom, &why) && geom.ag0_blk >= geom.nr_blks)
		fuzz_fail("a superblock that cannot be");
	if (csv_blk_verify(block, blk, type, &dirty.geom))
		return;
	/* What is read may be written again, and then reads the same. */
	memcpy(twin, block, sizeof(twin));
	if (csv_blk_seal(twin, blk, &dirty.geom, 7, 9) || csv_blk_verify(twin, blk, type, &dirty.geom))
		fuzz_fail("a block that was read cannot be written");
}

/* The log's header, and the ring from a record on. */
static void check_log(struct fuzz_in *in, uint64_t blk)
{
	static struct loop *loop;
	const struct csv_geometry *g = &dirty.geom;
	struct jnl_hdr_info info;
	uint8_t block[CSV_BLOCK_BYTES];
	struct jnl_scan scan;
	struct engine e;

	memcpy(block, fuzz_blk(&dirty, blk), sizeof(block));
	edit(in, block, blk);
	if (!jnl_hdr_decode(block, blk, g->journal_nr_blks, g->uuid, &info) &&
		info.tail_pos >= g->journal_nr_blks)
		fuzz_fail("a log's tail outside of the log");
	if (blk <= g->journal_blk || blk >= g->journal_blk + g->journal_nr_blks - 1)
		return;
	if (!loop)
		CHECK_OK(loop_new(&loop));
	fuzz_volume_open(&dirty, loop, &e);
	struct csv_fs_cfg cfg = { .queue = e.queue };
	CHECK_OK(csv_fs_new(&cfg, &e.fs));
	jnl_scan_init(&scan, csv_fs_journal(e.fs));
	scan.pos = blk - g->journal_blk - 1;
	scan.next_seq = le64_get(((struct csv_blk_hdr *)block)->seq);
	scan.max_epoch = UINT64_MAX;
	for (uint64_t i = 0; jnl_scan_feed(&scan, i ? fuzz_blk(&dirty, blk + i) : (void *)block) == 1;)
		if (blk + ++i >= g->journal_blk + g->journal_nr_blks - 1)
			break;
	jnl_scan_done(&scan);
	csv_fs_free(e.fs);
	fuzz_volume_close(&e);
}

static void check_slot(struct fuzz_in *in)
{
	uint8_t block[CSV_BLOCK_BYTES];
	struct lm_slot got;

	memcpy(block, slot, sizeof(block));
	edit(in, block, CSV_SLOT_BLK + 2);
	if (!slot_decode(block, clean.geom.uuid, CSV_SLOT_BLK + 2, 3, &got) &&
		(got.node != 3 || strnlen(got.name, sizeof(got.name)) == sizeof(got.name)))
		fuzz_fail("a slot that cannot be");
}

static void check_message(struct fuzz_in *in, uint32_t len)
{
	uint8_t copy[CSV_BLOCK_BYTES];
	struct lm_msg *msg = (struct lm_msg *)copy;
	static const struct le32 zero;
	struct elect_state state;
	struct elect elect = { 0 };

	memcpy(copy, message, sizeof(copy));
	edit(in, copy, 0);
	len = len ? len % CSV_BLOCK_BYTES : sizeof(*msg);
	memcpy(copy, message, 4);
	if (len >= sizeof(*msg) - 64 * 8) {
		msg->len = le32_of(len);
		msg->crc = zero;
		msg->crc = le32_of(crc32c(0, copy, len));
	}
	uint8_t *exact = malloc(len ? len : 1);
	CHECK(exact);
	memcpy(exact, copy, len);
	if (!elect_decode(exact, len, clean.geom.uuid, le32_get(msg->node), &state)) {
		struct group_member member = { .node = state.node };
		elect_view(&elect, &member, 1);
		CHECK_OK(elect_heard(&elect, &state));
		(void)elect_choose(&elect);
	}
	free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_in in = { data, len };
	unsigned kind = (unsigned)fuzz_num(&in, 1) % NR_KINDS;
	uint32_t which = (uint32_t)fuzz_num(&in, 2);

	if (kind == KIND_BLOCK)
		check_block(&in, dirty.meta[which % dirty.nr_home]);
	else if (kind == KIND_LOG)
		check_log(&in, dirty.meta[which % dirty.nr_meta]);
	else if (kind == KIND_SLOT)
		check_slot(&in);
	else
		check_message(&in, which);
	return 0;
}
