/* libs: util blockdev journal core proto coord */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The limit on what nodes may keep holds while a directory is listed that is larger, in replies as
 * large as they may be; and coordinator and node agree on what is kept. What the close of a file costs.
 * How many orphans are freed at a time. */
#include "csvfs/coord/coord_internal.h"
#include "tests/unit/coord_test.h"
#include "util/checked.h"

#define FILES 12000u
#define LIMIT 4096u
#define PER_TXN 24u

static bool kept[FILES + 100]; /* what the node keeps, by inode number */

struct names {
	uint32_t first, nr;
};

static int run_make(struct csv_txn *txn, void *arg)
{
	struct csv_attr attr, proto = { .mode = S_IFREG | 0644, .ctime_ns = 100 };
	const struct names *n = arg;
	char name[32];

	for (uint32_t i = n->first; i < n->first + n->nr; i++) {
		uint32_t len = (uint32_t)sprintf(name, "file-%08u", i);
		int err = csv_create(txn, CSV_ROOT_INO, name, len, &proto, NULL, 0, &attr);

		if (err)
			return err;
	}
	return 0;
}

/* What was sent before the reply: each is answered. */
static uint32_t hear_forgets(struct env *v, uint32_t node)
{
	struct sent *s;
	uint32_t nr = 0;

	while ((s = sent_take(v, node, false, 0, CSVP_FORGET))) {
		const struct csvp_recall *b = (const void *)(s->data + sizeof(struct csvp_hdr));

		CHECK(kept[le64_get(b->ino)]);
		kept[le64_get(b->ino)] = false;
		recall_answer(v, node, CSVP_FORGET, sent_xid(s), 0);
		free(s);
		nr++;
	}
	return nr;
}

static uint32_t hear_listing(const struct sent *s, uint64_t *after)
{
	const struct csvp_dirent *ent;
	struct csvp_in in;
	uint32_t nr = 0;

	CHECK_OK(csvp_open(&in, s->data, s->len));
	CHECK(le32_get(in.hdr->flags) & CSVP_KEEP_NAMES);
	kept[CSV_ROOT_INO] = true;
	while ((ent = csvp_get(&in, sizeof(*ent)))) {
		CHECK(csvp_get(&in, ALIGN_UP(le32_get(ent->name_len), 8u)));
		CHECK(le32_get(ent->type) & CSVP_DIRENT_KEEP);
		kept[le64_get(ent->attr.ino)] = true;
		*after = le64_get(ent->cookie);
		nr++;
	}
	return nr;
}

static uint32_t nr_kept(void)
{
	uint32_t nr = 0;

	for (uint32_t i = 0; i < ARRAY_SIZE(kept); i++)
		nr += kept[i];
	return nr;
}

static uint32_t list_part(struct env *v, uint32_t node, uint64_t *after, uint32_t *forgets)
{
	struct csvp_msg msg;
	struct sent *s;

	msg_begin(v, &msg, CSVP_READDIR);
	struct csvp_readdir *b = csvp_put(&msg, sizeof(*b));
	CHECK(b);
	b->dir = le64_of(CSV_ROOT_INO);
	b->after = le64_of(*after);
	b->max_bytes = le32_of(UINT32_MAX);
	CHECK_OK(msg_call(v, node, &msg, &s));
	*forgets += hear_forgets(v, node);
	uint32_t nr = hear_listing(s, after);
	free(s);
	return nr;
}

/* One transaction closes a file that has a name; one without a name is removed then. */
static void test_close(void)
{
	struct coord_stats stats;
	struct csvp_msg msg;
	uint64_t ino, before;
	struct env v;

	env_start(&v);
	ino = do_create(&v, 1, "f", true);
	env_settle(&v);
	before = v.e.fs->drv.runs;
	CHECK_OK(do_close(&v, 1, ino));
	msg_begin(&v, &msg, CSVP_STATFS);
	CHECK_OK(msg_call(&v, 1, &msg, NULL));
	CHECK_EQ(v.e.fs->drv.runs - before, 2);

	CHECK_OK(do_open(&v, 1, ino));
	build_name(&v, &msg, CSVP_UNLINK, 1, 0, "f");
	CHECK_OK(msg_call(&v, 1, &msg, NULL));
	CHECK_OK(do_close(&v, 1, ino));
	RUN_UNTIL(&v.e, (env_settle(&v), coord_stats(v.coord, &stats), stats.nr_inodes == 0));
	env_end(&v);
}

static int run_unlink(struct csv_txn *txn, void *arg)
{
	const struct names *n = arg;
	struct csv_attr attr;
	char name[32];

	for (uint32_t i = n->first; i < n->first + n->nr; i++) {
		uint32_t len = (uint32_t)sprintf(name, "file-%08u", i);
		int err = csv_unlink(txn, CSV_ROOT_INO, name, len, false, 200, &attr);

		if (err)
			return err;
	}
	return 0;
}

static int run_orphan(struct csv_txn *txn, void *arg)
{
	return csv_orphan_next(txn, 0, arg);
}

#define ORPHANS 960u

/* A coordinator that finds many of them frees them all, a few at a time. */
static void test_orphans(void)
{
	struct coord_stats stats = { 0 };
	uint64_t left = 1;
	struct env v;

	env_start(&v);
	for (uint32_t at = 0; at < ORPHANS; at += PER_TXN) {
		struct names n = { at, PER_TXN };
		CHECK_OK(test_op_sync(&v.e, run_make, &n));
		CHECK_OK(test_op_sync(&v.e, run_unlink, &n));
	}
	env_restart(&v, ALL);
	env_nodes(&v);
	while (left) {
		for (int i = 0; i < 20; i++) {
			loop_run_once(v.e.loop, false);
			coord_stats(v.coord, &stats);
			CHECK(stats.nr_inodes <= 70);
		}
		CHECK_OK(test_op_sync(&v.e, run_orphan, &left));
	}
	env_end(&v);
}

int main(void)
{
	struct coord_stats stats;
	struct env v;
	uint64_t after = 0;
	uint32_t nr, all = 0, forgets = 0, replies = 0;

	env_start_on(&v, "ram:256M");
	v.seen_max = LIMIT;
	env_restart(&v, ALL);
	env_nodes(&v);
	for (uint32_t at = 0; at < FILES; at += PER_TXN) {
		struct names n = { at, MIN(PER_TXN, FILES - at) };
		CHECK_OK(test_op_sync(&v.e, run_make, &n));
	}
	v.hold_forgets = true;
	do {
		nr = list_part(&v, 2, &after, &forgets);
		all += nr;
		replies++;
		coord_stats(v.coord, &stats);
		CHECK(stats.nr_seen <= LIMIT);
		CHECK_EQ(stats.nr_seen, nr_kept());
	} while (nr > 0);
	CHECK_EQ(all, FILES);
	CHECK(all / replies > 256); /* else one eviction a reply would do */
	CHECK(forgets >= FILES - LIMIT);
	v.hold_forgets = false;
	env_end(&v);
	test_close();
	test_orphans();
	return 0;
}
