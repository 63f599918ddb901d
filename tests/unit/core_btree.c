/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: util blockdev journal core */
/* The B+tree against a model, with a cache that holds next to nothing. */
#include "csvfs/core/btree_internal.h"
#include "tests/unit/core_engine.h"
#include "util/checked.h"

#define OWNER 4711u
#define NR_KEYS 40000u
#define NR_OPS 200000u

static uint64_t rng_state = 88172645463325252ull;

static uint64_t rng(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state;
}

/* The model: key number -> length and content. */
static struct entry {
	bool present;
	uint32_t len, seed;
} model[NR_KEYS];
static uint64_t nr_entries;
static struct csv_tree tree = { .owner = OWNER };

static uint64_t key_of(uint32_t nr)
{
	return nr == NR_KEYS - 1 ? UINT64_MAX : nr * 0x10000000001ull;
}

static void fill(uint8_t *val, uint32_t len, uint32_t seed)
{
	for (uint32_t i = 0; i < len; i++)
		val[i] = (uint8_t)(seed + i * 7);
}

static void check_value(uint32_t nr, const void *val, uint32_t len)
{
	uint8_t want[CSV_TREE_VALUE_MAX];

	CHECK_EQ(len, model[nr].len);
	fill(want, len, model[nr].seed);
	CHECK(memcmp(val, want, len) == 0);
}

static uint32_t random_len(void)
{
	switch (rng() % 8) {
	case 0:
		return rng() % (CSV_TREE_VALUE_MAX + 1);
	case 1:
		return 0;
	default:
		return 16 + rng() % 200;
	}
}

/* ---- changes: a few in one operation ---- */

enum kind { INSERT, UPDATE, REMOVE, GET, LE, GE };

struct change {
	enum kind kind;
	uint32_t nr, len, seed;
	int status;	 /* what it answered */
	uint64_t key;	 /* LE, GE */
};

struct batch {
	struct change c[4];
	uint32_t nr;
	struct csv_tree tree;
};

static int one_change(struct csv_txn *txn, struct csv_tree *t, struct change *c)
{
	uint8_t val[CSV_TREE_VALUE_MAX];
	const void *ret_val;
	uint32_t ret_len;

	fill(val, c->len, c->seed);
	switch (c->kind) {
	case INSERT:
		return csv_tree_insert(txn, t, key_of(c->nr), val, c->len);
	case UPDATE:
		return csv_tree_update(txn, t, key_of(c->nr), val, c->len);
	case REMOVE:
		return csv_tree_remove(txn, t, key_of(c->nr));
	case GET:
		return csv_tree_get(txn, t, key_of(c->nr), &ret_val, &ret_len);
	case LE:
		return csv_tree_le(txn, t, key_of(c->nr), &c->key, &ret_val, &ret_len);
	default:
		return csv_tree_ge(txn, t, key_of(c->nr), &c->key, &ret_val, &ret_len);
	}
}

static int run_batch(struct csv_txn *txn, void *arg)
{
	struct batch *b = arg;

	b->tree = tree;
	for (uint32_t i = 0; i < b->nr; i++) {
		b->c[i].status = one_change(txn, &b->tree, &b->c[i]);
		if (b->c[i].status != 0 && b->c[i].status != -ENOENT && b->c[i].status != -EEXIST)
			return b->c[i].status;
	}
	return 0;
}

static void check_neighbour(const struct change *c, int step)
{
	int64_t nr = c->nr;

	while (nr >= 0 && nr < (int64_t)NR_KEYS && !model[nr].present)
		nr += step;
	if (nr < 0 || nr >= (int64_t)NR_KEYS) {
		CHECK_EQ(c->status, -ENOENT);
		return;
	}
	CHECK_OK(c->status);
	CHECK_EQ(c->key, key_of((uint32_t)nr));
}

static void apply_to_model(const struct change *c)
{
	struct entry *m = &model[c->nr];

	switch (c->kind) {
	case INSERT:
		CHECK_EQ(c->status, m->present ? -EEXIST : 0);
		break;
	case LE:
		check_neighbour(c, -1);
		return;
	case GE:
		check_neighbour(c, 1);
		return;
	default:
		CHECK_EQ(c->status, m->present ? 0 : -ENOENT);
	}
	if (c->status != 0 || c->kind == GET)
		return;
	nr_entries += c->kind == INSERT;
	nr_entries -= c->kind == REMOVE;
	m->present = c->kind != REMOVE;
	m->len = c->len;
	m->seed = c->seed;
}

/* ---- structure ---- */

struct walk {
	struct csv_tree *tree;
	uint64_t nodes, entries, used;
	uint64_t next_nr; /* of the model */
	bool check_model;
	uint32_t child; /* of the root */
	bool done;
};

static int check_node(struct csv_txn *txn, struct walk *w, uint64_t blk, uint32_t level, uint64_t lo,
	uint64_t hi)
{
	const struct csv_tree_node *n;
	const char *why;
	int err = tree_node_read(txn, w->tree, blk, level, &n);

	if (err != 0)
		return err;
	CHECK_OK(csv_tree_node_verify(n, csv_fs_geometry(csv_txn_fs(txn)), &why));
	w->nodes++;
	w->used += node_used(n);
	for (uint32_t i = 0; i < node_nr(n); i++) {
		uint64_t from = level > 0 && i == 0 ? lo : node_key(n, i);
		uint64_t to = i + 1 < node_nr(n) ? node_key(n, i + 1) - 1 : hi;

		CHECK(from >= lo && from <= hi && to <= hi);
		if (level > 0) {
			err = check_node(txn, w, node_child(n, i), level - 1, from, to);
			if (err != 0)
				return err;
			continue;
		}
		w->entries++;
		if (!w->check_model)
			continue;
		while (w->next_nr < NR_KEYS && !model[w->next_nr].present)
			w->next_nr++;
		CHECK(w->next_nr < NR_KEYS);
		CHECK_EQ(node_key(n, i), key_of((uint32_t)w->next_nr));
		check_value((uint32_t)w->next_nr, node_val(n, i), node_len(n, i));
		w->next_nr++;
	}
	return 0;
}

/* One child of the root: an operation that reads all of a tree would run again for each node. */
static int check_run(struct csv_txn *txn, void *arg)
{
	struct walk *w = arg, tmp = *w;
	uint32_t level = w->tree->root.level;
	const struct csv_tree_node *n;
	int err;

	err = tree_node_read(txn, w->tree, le64_get(w->tree->root.blk), level, &n);
	if (err != 0)
		return err;
	if (level == 0)
		err = check_node(txn, &tmp, le64_get(w->tree->root.blk), 0, 0, UINT64_MAX);
	else
		err = check_node(txn, &tmp, node_child(n, w->child), level - 1,
			w->child > 0 ? node_key(n, w->child) : 0,
			w->child + 1 < node_nr(n) ? node_key(n, w->child + 1) - 1 : UINT64_MAX);
	if (err != 0)
		return err;
	tmp.nodes += level > 0 && w->child == 0;
	tmp.used += level > 0 && w->child == 0 ? node_used(n) : 0;
	tmp.done = level == 0 || ++tmp.child == node_nr(n);
	*w = tmp;
	return 0;
}

static struct walk check_tree(struct engine *e, struct csv_tree *t, bool check_model)
{
	struct walk w = { .tree = t, .check_model = check_model };

	w.done = le64_get(t->root.blk) == 0;
	while (!w.done)
		CHECK_OK(test_op_sync(e, check_run, &w));
	CHECK_EQ(w.nodes, t->nr_blks);
	if (check_model)
		CHECK_EQ(w.entries, nr_entries);
	return w;
}

static int count_run(void *arg, uint64_t key, const void *val, uint32_t len, bool *go_on)
{
	struct walk *w = arg;

	while (w->next_nr < NR_KEYS && !model[w->next_nr].present)
		w->next_nr++;
	CHECK(w->next_nr < NR_KEYS && key_of((uint32_t)w->next_nr) == key);
	check_value((uint32_t)w->next_nr, val, len);
	w->next_nr++;
	w->entries++;
	*go_on = w->entries < 5000;
	return 0;
}

static int walk_run(struct csv_txn *txn, void *arg)
{
	struct walk *w = arg;

	w->entries = 0;
	w->next_nr = NR_KEYS / 3;
	return csv_tree_walk(txn, &tree, key_of(NR_KEYS / 3), count_run, w);
}

/* ---- the tests ---- */

static int statfs_run(struct csv_txn *txn, void *arg)
{
	return csv_statfs(txn, arg);
}

static void random_changes(struct engine *e, uint32_t nr, uint32_t insert_pct, uint32_t remove_pct)
{
	for (uint32_t i = 0; i < nr;) {
		struct batch b = { .nr = 1 + rng() % ARRAY_SIZE(b.c) };

		for (uint32_t j = 0; j < b.nr; j++) {
			uint32_t dice = rng() % 100;

			b.c[j].kind = dice < insert_pct ? INSERT
				      : dice < insert_pct + remove_pct ? REMOVE
							: (enum kind[]){ UPDATE, UPDATE, GET, LE,
								  GE }[rng() % 5];
			b.c[j].nr = rng() % NR_KEYS;
			b.c[j].len = random_len();
			b.c[j].seed = (uint32_t)rng();
		}
		CHECK_OK(test_op_sync(e, run_batch, &b));
		tree = b.tree;
		for (uint32_t j = 0; j < b.nr; j++)
			apply_to_model(&b.c[j]);
		i += b.nr;
	}
}

static void test_model(void)
{
	struct csv_statfs before, after;
	struct walk w = { 0 };
	uint64_t rerun;
	struct engine e;

	engine_device(&e, "ram:256M", true, 0, 0);
	engine_open(&e, 16 << 10);
	CHECK_OK(test_op_sync(&e, statfs_run, &before));
	for (uint32_t round = 0; round < 40; round++) {
		/* grow, keep, shrink */
		uint32_t ins = round < 16 ? 60 : round < 24 ? 30 : 10;
		uint32_t rem = round < 16 ? 10 : round < 24 ? 30 : 60;

		random_changes(&e, NR_OPS / 40, ins, rem);
		check_tree(&e, &tree, true);
	}
	rerun = e.fs->drv.reruns;
	CHECK_OK(test_op_sync(&e, walk_run, &w));
	/* About one for each eight leaves, and each leaf has at most 300 entries. */
	CHECK(e.fs->drv.reruns - rerun < 5 + w.entries / 16);
	CHECK(e.fs->cache.evictions > 10000);
	CHECK(e.fs->drv.reruns > 1000);

	/* Also after a restart, from the device alone. */
	CHECK_OK(engine_close(&e));
	engine_open(&e, 16 << 10);
	check_tree(&e, &tree, true);
	for (uint32_t i = 0; i < NR_KEYS; i++) {
		struct batch b = { .c = { { .kind = REMOVE, .nr = i } }, .nr = 1 };

		if (!model[i].present)
			continue;
		CHECK_OK(test_op_sync(&e, run_batch, &b));
		tree = b.tree;
		apply_to_model(&b.c[0]);
	}
	CHECK_EQ(le64_get(tree.root.blk), 0);
	CHECK_EQ(tree.nr_blks, 0);
	CHECK_OK(test_op_sync(&e, statfs_run, &after));
	CHECK_EQ(after.free_blks, before.free_blks);
	CHECK_OK(engine_close(&e));
	engine_done(&e);
}

/* Keys in a fixed order, a value of fixed length; several per operation. */
struct series {
	struct csv_tree tree, tmp;
	uint64_t key, step, nr;
	uint32_t len;
};

static int series_run(struct csv_txn *txn, void *arg)
{
	uint8_t val[CSV_TREE_VALUE_MAX] = { 0 };
	struct series *s = arg;

	s->tmp = s->tree;
	for (uint64_t i = 0; i < s->nr; i++) {
		int err = csv_tree_insert(txn, &s->tmp, s->key + i * s->step, val, s->len);

		if (err != 0)
			return err;
	}
	return 0;
}

static double series_fill(struct engine *e, struct series *s, uint32_t batches)
{
	struct walk w;

	for (uint32_t i = 0; i < batches; i++) {
		CHECK_OK(test_op_sync(e, series_run, s));
		s->tree = s->tmp;
		s->key += s->nr * s->step;
	}
	w = check_tree(e, &s->tree, false);
	return (double)w.used / (double)(w.nodes * NODE_CAP);
}

static void test_fill(void)
{
	struct series inodes = { .tree = { .owner = 1 }, .key = 1, .step = 1, .nr = 50, .len = 0xc0 };
	struct series extents = { .tree = { .owner = 2 }, .key = 0, .step = 16, .nr = 50, .len = 16 };
	struct series middle = { .tree = { .owner = 3 }, .key = 1ull << 40, .step = 1, .nr = 1,
		.len = 16 };
	struct series down = { .tree = { .owner = 4 }, .key = 1ull << 40, .step = -1ull, .nr = 50,
		.len = 16 };
	double f;
	struct engine e;

	engine_device(&e, "ram:256M", true, 0, 0);
	engine_open(&e, 0);
	f = series_fill(&e, &inodes, 1000);
	printf("ascending inodes: %.2f full\n", f);
	CHECK(f > 0.93);
	f = series_fill(&e, &extents, 1000);
	printf("ascending extents: %.2f full\n", f);
	CHECK(f > 0.95);
	/* Ascending below something that is there already. */
	series_fill(&e, &middle, 1);
	middle.key = 1000;
	middle.nr = 50;
	f = series_fill(&e, &middle, 1000);
	printf("ascending in the middle: %.2f full\n", f);
	CHECK(f > 0.95);
	f = series_fill(&e, &down, 1000);
	printf("descending: %.2f full\n", f);
	CHECK(f > 0.45);
	CHECK_OK(engine_close(&e));
	engine_done(&e);
}

/* What all blocks look like: cached ones, and through the cache the others. */
struct image {
	uint64_t nr;
	uint8_t (*blocks)[CSV_BLOCK_BYTES];
	bool *there;
};

static void image_take(struct engine *e, struct image *img)
{
	struct htab_node *node;

	img->nr = csv_fs_geometry(e->fs)->nr_blks;
	img->blocks = calloc(img->nr, CSV_BLOCK_BYTES);
	img->there = calloc(img->nr, sizeof(bool));
	CHECK(img->blocks != NULL && img->there != NULL);
	for (uint64_t blk = 0; blk < img->nr; blk++) {
		const void *peeked = jnl_peek(csv_fs_journal(e->fs), blk);

		if (peeked != NULL) {
			memcpy(img->blocks[blk], peeked, CSV_BLOCK_BYTES);
			img->there[blk] = true;
		}
	}
	htab_for_each(node, &e->fs->cache.bufs) {
		struct csv_buf *buf = container_of(node, struct csv_buf, node);

		CHECK(!buf->written && !buf->forgotten && !buf->fresh && buf->before == NULL);
		img->there[node->key] = !buf->dead;
		if (!buf->dead)
			memcpy(img->blocks[node->key], buf->data, CSV_BLOCK_BYTES);
	}
}

static void image_free(struct image *img)
{
	free(img->blocks);
	free(img->there);
}

struct aborted {
	struct csv_tree tree;
	uint64_t from;
	uint32_t changed;
};

static int aborted_run(struct csv_txn *txn, void *arg)
{
	struct aborted *a = arg;
	uint8_t val[700];
	int err = 0;

	memset(val, 0xee, sizeof(val));
	a->tree = tree;
	for (uint32_t i = 0; i < 30 && err == 0; i++) {
		uint32_t nr = (uint32_t)((a->from + i) % (NR_KEYS - 1));

		if (model[nr].present)
			err = i % 2 ? csv_tree_remove(txn, &a->tree, key_of(nr))
				    : csv_tree_update(txn, &a->tree, key_of(nr), val, sizeof(val));
		else
			err = csv_tree_insert(txn, &a->tree, key_of(nr), val, sizeof(val));
	}
	a->changed = csv_txn_nr_blks(txn);
	return err != 0 ? err : -ECANCELED;
}

static void test_abort(void)
{
	struct image before, after;
	struct engine e;

	memset(model, 0, sizeof(model));
	memset(&tree, 0, sizeof(tree));
	tree.owner = OWNER;
	nr_entries = 0;
	engine_device(&e, "ram:64M", true, 0, 0);
	engine_open(&e, 0);
	random_changes(&e, 5000, 80, 5);
	check_tree(&e, &tree, true);
	for (uint32_t i = 0; i < 10; i++) {
		struct aborted a = { .from = rng() % NR_KEYS };
		uint64_t differ = 0;

		if (i == 5) { /* once with nothing but clean blocks */
			CHECK_OK(engine_close(&e));
			engine_open(&e, 0);
			check_tree(&e, &tree, true);
		}
		image_take(&e, &before);
		CHECK_EQ(test_op_sync(&e, aborted_run, &a), -ECANCELED);
		CHECK(a.changed > 5);
		image_take(&e, &after);
		for (uint64_t blk = 0; blk < before.nr; blk++)
			differ += before.there[blk] &&
				  (!after.there[blk] || memcmp(before.blocks[blk],
								after.blocks[blk],
								CSV_BLOCK_BYTES) != 0);
		CHECK_EQ(differ, 0);
		image_free(&before);
		image_free(&after);
		check_tree(&e, &tree, true);
	}
	CHECK_OK(engine_close(&e));
	engine_done(&e);
}

/* ---- hostile nodes ---- */

static void test_verify(void)
{
	struct csv_geometry geom = { .nr_blks = 1 << 16, .ag0_blk = 1024, .nr_ags = 1,
		.ag_blks = 1 << 16 };
	union {
		uint8_t bytes[CSV_BLOCK_BYTES];
		struct csv_tree_node node;
	} good, bad;
	uint64_t refused = 0;
	uint8_t val[64] = { 0 };
	const char *why;

	memset(&good, 0, sizeof(good));
	good.node.h.blkno = le64_of(2000);
	good.node.h.type = le16_of(CSV_BT_TREE);
	node_init(&good.node, 0);
	CHECK(csv_tree_node_verify(&good, &geom, &why) != 0); /* no entry */
	for (uint32_t i = 0; i < 20; i++)
		node_insert(&good.node, i, i * 10, val, 10 + i);
	node_remove(&good.node, 7);
	CHECK_OK(csv_tree_node_verify(&good, &geom, &why));

#define REFUSED(change)                                                                            \
	do {                                                                                       \
		bad = good;                                                                        \
		change;                                                                            \
		CHECK_EQ(csv_tree_node_verify(&bad, &geom, &why), -ERR_CORRUPT);                   \
	} while (0)
	REFUSED(bad.node.nr = le16_of(19 + 1));
	REFUSED(bad.node.nr = le16_of(UINT16_MAX));
	REFUSED(bad.node.level = le16_of(16));
	REFUSED(bad.node.level = le16_of(1)); /* values are no pointers */
	REFUSED(bad.node.low = le16_of(4097));
	REFUSED(bad.node.low = le16_of(0));
	REFUSED(bad.node.dead = le16_of(0));
	REFUSED(bad.node.slots[3].key = bad.node.slots[2].key);
	REFUSED(bad.node.slots[3].key = le64_of(0));
	REFUSED(bad.node.slots[3].off = bad.node.slots[2].off);
	REFUSED(bad.node.slots[3].off = le16_of(4090));
	REFUSED(bad.node.slots[18].len = le16_of(0));
	REFUSED(bad.node.slots[3].len = le16_of(5000));
	REFUSED(bad.node.slots[3].off = le16_of(0x48));
	REFUSED(bad.node.h.blkno = le64_of(3));

	/* Whatever else is broken: it is refused, or harmless to use. */
	for (uint32_t i = 0; i < 200000; i++) {
		uint32_t nr = 1 + rng() % 3;

		bad = good;
		while (nr-- > 0)
			bad.bytes[0x40 + rng() % 300] ^= (uint8_t)(1u << rng() % 8);
		if (csv_tree_node_verify(&bad, &geom, &why) != 0) {
			refused++;
			continue;
		}
		CHECK(node_used(&bad.node) <= NODE_CAP);
		if (node_used(&bad.node) + node_entry_bytes(64) <= NODE_CAP)
			node_insert(&bad.node, 0, 0, val, 64);
		while (node_nr(&bad.node) > 0)
			node_remove(&bad.node, (uint32_t)(rng() % node_nr(&bad.node)));
	}
	CHECK(refused > 100000);
}

/* A parent whose children are exchanged, or are of another tree or level. */
static int sabotage_run(struct csv_txn *txn, void *arg)
{
	const struct csv_tree_node *root;
	struct csv_tree_node *n;
	const void *val;
	uint32_t len, how = *(uint32_t *)arg;
	int err = tree_node_write(txn, le64_get(tree.root.blk), &n);

	if (err != 0)
		return err;
	root = n;
	CHECK(tree.root.level == 1 && node_nr(root) > 3);
	((struct csv_tree_ptr *)node_val(n, 1))->blk =
		how == 0 ? le64_of(node_child(root, 2)) : tree.root.blk;
	err = csv_tree_get(txn, &tree, node_key(root, 1), &val, &len);
	if (err == 0 || err == -ENOENT)
		return -EINVAL;
	return err;
}

static int foreign_run(struct csv_txn *txn, void *arg)
{
	struct csv_tree t = tree;
	const void *val;
	uint32_t len;

	(void)arg;
	t.owner++;
	return csv_tree_get(txn, &t, 1, &val, &len);
}

static void test_pointers(void)
{
	struct engine e;

	memset(model, 0, sizeof(model));
	memset(&tree, 0, sizeof(tree));
	tree.owner = OWNER;
	nr_entries = 0;
	engine_device(&e, "ram:64M", true, 0, 0);
	engine_open(&e, 0);
	random_changes(&e, 500, 80, 5);
	for (uint32_t how = 0; how < 2; how++)
		CHECK_EQ(test_op_sync(&e, sabotage_run, &how), -ERR_CORRUPT);
	CHECK_EQ(test_op_sync(&e, foreign_run, NULL), -ERR_CORRUPT);
	check_tree(&e, &tree, true);
	CHECK_OK(engine_close(&e));
	engine_done(&e);
}

int main(void)
{
	test_verify();
	test_pointers();
	test_abort();
	test_fill();
	memset(model, 0, sizeof(model));
	memset(&tree, 0, sizeof(tree));
	tree.owner = OWNER;
	nr_entries = 0;
	test_model();
	return 0;
}
