/* libs: util blockdev journal core */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random operations against a model in memory, with a cache of a few blocks; with even seeds on a
 * volume that is full most of the time. Each result is compared; from time to time everything is, also on a copy of the device as another host would
 * take it over now, after its recovery.
 *
 *	unit-core_random [SEED [OPERATIONS]]
 */
#include "tests/unit/core_ops.h"

#define NR_NAMES 48
#define NR_BLKS 400
#define MAX_INODES 3000
#define MAX_ENTRIES 4000
#define CLUSTER 16

struct m_inode {
	uint64_t ino, parent, size;
	uint32_t mode, nlink, inline_len;
	bool ballast; /* has extents far behind what is compared */
	uint8_t state[NR_BLKS + CLUSTER]; /* enum csv_ext_state */
	uint8_t data[CSV_INLINE_MAX];
};

struct m_entry {
	uint64_t dir, ino;
	int name;
};

static struct model {
	struct m_inode *inodes[MAX_INODES]; /* by ino */
	struct m_entry ents[MAX_ENTRIES];
	uint32_t nr_ents;
	char names[NR_NAMES][256];
	uint64_t next_ino;
} m;

static uint64_t seed_state;
static uint64_t op_nr;

static uint64_t rnd(uint64_t n)
{
	seed_state = seed_state * 6364136223846793005ull + 1442695040888963407ull;
	return (seed_state >> 33) % n;
}

/* ---- the model ---- */

static struct m_inode *m_inode(uint64_t ino)
{
	CHECK(ino < MAX_INODES && m.inodes[ino]);
	return m.inodes[ino];
}

static struct m_entry *m_find(uint64_t dir, int name)
{
	for (uint32_t i = 0; i < m.nr_ents; i++)
		if (m.ents[i].dir == dir && m.ents[i].name == name)
			return &m.ents[i];
	return NULL;
}

static void m_add(uint64_t dir, int name, uint64_t ino)
{
	CHECK(m.nr_ents < MAX_ENTRIES);
	m.ents[m.nr_ents++] = (struct m_entry){ .dir = dir, .name = name, .ino = ino };
	m_inode(dir)->size++;
}

static void m_del(struct m_entry *ent)
{
	m_inode(ent->dir)->size--;
	*ent = m.ents[--m.nr_ents];
}

static bool is_dir(uint64_t ino)
{
	return S_ISDIR(m_inode(ino)->mode);
}

static void m_unlinked(uint64_t ino)
{
	m_inode(ino)->nlink = is_dir(ino) ? 0 : m_inode(ino)->nlink - 1;
}

/* Is ino dir, or above it? */
static bool m_above(uint64_t ino, uint64_t dir)
{
	while (dir != ino && dir != CSV_ROOT_INO)
		dir = m_inode(dir)->parent;
	return dir == ino;
}

static void m_new(uint64_t ino, uint32_t mode, uint64_t parent)
{
	CHECK_EQ(ino, m.next_ino);
	m.next_ino++;
	m.inodes[ino] = calloc(1, sizeof(*m.inodes[ino]));
	CHECK(m.inodes[ino]);
	*m.inodes[ino] = (struct m_inode){ .ino = ino, .mode = mode, .parent = parent,
		.nlink = S_ISDIR(mode) ? 2 : 1 };
}

/* A live inode of this kind, perhaps without a name; 0 if a few tries find none. */
static uint64_t pick(uint32_t fmt, bool named)
{
	for (int i = 0; i < 50; i++) {
		uint64_t ino = 1 + rnd(m.next_ino - 1);

		if (m.inodes[ino] && (m.inodes[ino]->mode & S_IFMT) == fmt &&
			(!named || m.inodes[ino]->nlink))
			return ino;
	}
	return fmt == S_IFDIR ? CSV_ROOT_INO : 0;
}

static void m_init(void)
{
	for (uint64_t i = 0; i < MAX_INODES; i++)
		free(m.inodes[i]);
	memset(&m, 0, sizeof(m));
	m.next_ino = CSV_ROOT_INO;
	m_new(CSV_ROOT_INO, S_IFDIR | 0755, CSV_ROOT_INO);
	for (int i = 0; i < NR_NAMES; i++) {
		memset(m.names[i], 'a' + i % 26, i % 4 == 3 ? 255 : i + 1);
		m.names[i][0] = 'A' + i / 26;
	}
}

/* ---- comparing ---- */

static uint32_t m_kind(const struct m_inode *inode)
{
	if (S_ISDIR(inode->mode))
		return CSV_DATA_TREE;
	if (inode->inline_len)
		return CSV_DATA_INLINE;
	for (uint32_t i = 0; i < sizeof(inode->state); i++)
		if (inode->state[i] != CSV_HOLE)
			return CSV_DATA_TREE;
	return inode->ballast ? CSV_DATA_TREE : CSV_DATA_NONE;
}

static void get_states(struct engine *e, uint64_t ino, uint8_t *ret)
{
	static struct csv_extent x[NR_BLKS + CLUSTER];
	uint32_t nr;
	uint64_t pos = 0;

	CHECK_OK(t_map(e, ino, 0, NR_BLKS + CLUSTER, x, ARRAY_SIZE(x), &nr));
	for (uint32_t i = 0; i < nr; i++) {
		CHECK_EQ(x[i].blk, pos);
		for (uint64_t k = 0; k < x[i].nr; k++)
			ret[pos++] = x[i].state;
	}
	CHECK_EQ(pos, NR_BLKS + CLUSTER);
}

static void compare_file(struct engine *e, const struct m_inode *inode)
{
	uint8_t states[NR_BLKS + CLUSTER], buf[CSV_INLINE_MAX];
	uint32_t len = sizeof(buf);

	get_states(e, inode->ino, states);
	CHECK(memcmp(states, inode->state, sizeof(states)) == 0);
	if (!inode->inline_len)
		return;
	CHECK_OK(t_inline_get(e, inode->ino, buf, &len));
	CHECK_EQ(len, inode->inline_len);
	CHECK(memcmp(buf, inode->data, len) == 0);
}

static void compare_dir(struct engine *e, uint64_t ino)
{
	struct listing l = { 0 };
	uint32_t want = 0;

	CHECK_OK(t_readdir(e, ino, 0, true, &l));
	for (uint32_t i = 0; i < m.nr_ents; i++)
		want += m.ents[i].dir == ino;
	CHECK_EQ(l.nr, want);
	for (uint32_t i = 0; i < l.nr; i++) {
		int name = 0;

		while (name < NR_NAMES && strcmp(m.names[name], l.ents[i].name))
			name++;
		CHECK(name < NR_NAMES && m_find(ino, name));
		CHECK_EQ(m_find(ino, name)->ino, l.ents[i].ino);
		CHECK_EQ(l.ents[i].attr.nlink, m_inode(l.ents[i].ino)->nlink);
	}
	free(l.ents);
}

static void compare(struct engine *e)
{
	struct csv_attr a;
	uint64_t nr = 0;

	for (uint64_t ino = 1; ino < m.next_ino; ino++) {
		const struct m_inode *inode = m.inodes[ino];

		if (!inode) {
			CHECK_EQ(t_get(e, ino, &a), -ESTALE);
			continue;
		}
		nr++;
		CHECK_OK(t_get(e, ino, &a));
		CHECK_EQ(a.mode, inode->mode);
		CHECK_EQ(a.nlink, inode->nlink);
		CHECK_EQ(a.size, inode->size);
		CHECK_EQ(a.data_kind, m_kind(inode));
		if (S_ISDIR(inode->mode))
			CHECK_EQ(a.parent, inode->parent);
		if (S_ISREG(inode->mode))
			compare_file(e, inode);
		else
			compare_dir(e, ino);
	}
	CHECK_EQ(t_check(e).inodes, nr);
}

/* Takes a copy over, as if this host had died. */
static void compare_copy(struct engine *e)
{
	struct engine copy;

	engine_copy(e, &copy, "ram:40M");
	engine_open(&copy, 8 * 4096);
	compare(&copy);
	CHECK_OK(engine_close(&copy));
	engine_done(&copy);
}

/* ---- operations ---- */

static uint64_t nr_no_space;

static bool no_space(struct engine *e, int err)
{
	struct csv_statfs st;

	if (err != -ENOSPC)
		return false;
	CHECK_OK(t_statfs(e, &st));
	CHECK(st.free_blks < 1000);
	nr_no_space++;
	return true;
}

static void op_create(struct engine *e)
{
	uint64_t dir = pick(S_IFDIR, false);
	int name = rnd(NR_NAMES);
	uint32_t mode = (rnd(4) == 0 ? S_IFDIR : S_IFREG) | 0640;
	struct m_entry *ent = m_find(dir, name);
	struct csv_attr a = { 0 };
	int err;

	if (m.next_ino >= MAX_INODES)
		return;
	err = t_create(e, dir, m.names[name], mode, &a);
	if (ent) {
		CHECK_EQ(err, -EEXIST);
		CHECK_EQ(a.ino, ent->ino);
	} else if (m_inode(dir)->nlink == 0) {
		CHECK_EQ(err, -ENOENT);
	} else if (!no_space(e, err)) {
		CHECK_OK(err);
		m_new(a.ino, mode, S_ISDIR(mode) ? dir : 0);
		m_add(dir, name, a.ino);
		m_inode(dir)->nlink += S_ISDIR(mode);
	}
}

static void op_link(struct engine *e)
{
	uint64_t dir = pick(S_IFDIR, true), ino = pick(S_IFREG, false);
	int name = rnd(NR_NAMES), err;
	struct csv_attr a;

	if (!ino)
		return;
	err = t_link(e, ino, dir, m.names[name], &a);
	if (m_find(dir, name)) {
		CHECK_EQ(err, -EEXIST);
	} else if (m_inode(ino)->nlink == 0) {
		CHECK_EQ(err, -ENOENT);
	} else if (!no_space(e, err)) {
		CHECK_OK(err);
		m_inode(ino)->nlink++;
		m_add(dir, name, ino);
	}
}

static void op_unlink(struct engine *e)
{
	uint64_t dir = pick(S_IFDIR, true), ino;
	int name = rnd(NR_NAMES), err, want = 0;
	struct m_entry *ent = m_find(dir, name);
	bool rmdir = rnd(3) == 0;
	struct csv_attr a;

	err = t_unlink(e, dir, m.names[name], rmdir, &a);
	if (!ent)
		want = -ENOENT;
	else if (rmdir && !is_dir(ent->ino))
		want = -ENOTDIR;
	else if (!rmdir && is_dir(ent->ino))
		want = -EISDIR;
	else if (rmdir && m_inode(ent->ino)->size)
		want = -ENOTEMPTY;
	CHECK_EQ(err, want);
	if (want)
		return;
	ino = ent->ino;
	CHECK_EQ(a.ino, ino);
	m_del(ent);
	m_unlinked(ino);
	CHECK_EQ(a.nlink, m_inode(ino)->nlink);
	m_inode(dir)->nlink -= rmdir;
}

static int rename_wants(uint64_t dir, const struct m_entry *old, uint64_t new_dir,
	const struct m_entry *new, unsigned flags)
{
	if (!old)
		return -ENOENT;
	if ((flags & CSV_RENAME_EXCHANGE) && !new)
		return -ENOENT;
	if ((flags & CSV_RENAME_NOREPLACE) && new)
		return -EEXIST;
	if (new && new->ino == old->ino)
		return 0;
	if (m_inode(new_dir)->nlink == 0)
		return -ENOENT;
	if (is_dir(old->ino) && m_above(old->ino, new_dir))
		return -EINVAL;
	if (!new)
		return 0;
	if (flags & CSV_RENAME_EXCHANGE)
		return is_dir(new->ino) && m_above(new->ino, dir) ? -EINVAL : 0;
	if (is_dir(old->ino) && !is_dir(new->ino))
		return -ENOTDIR;
	if (!is_dir(old->ino) && is_dir(new->ino))
		return -EISDIR;
	return is_dir(new->ino) && m_inode(new->ino)->size ? -ENOTEMPTY : 0;
}

static void m_moved(uint64_t ino, uint64_t from, uint64_t to)
{
	if (!is_dir(ino))
		return;
	m_inode(from)->nlink--;
	m_inode(to)->nlink++;
	m_inode(ino)->parent = to;
}

static void m_rename(struct m_entry *old, uint64_t new_dir, int new_name, struct m_entry *new,
	unsigned flags)
{
	uint64_t ino = old->ino, dir = old->dir, other = new ? new->ino : 0;

	if (other == ino)
		return;
	m_moved(ino, dir, new_dir);
	if (flags & CSV_RENAME_EXCHANGE) {
		m_moved(other, new_dir, dir);
		old->ino = other;
		new->ino = ino;
		return;
	}
	if (new) {
		m_inode(new_dir)->nlink -= is_dir(other);
		m_unlinked(other);
		new->ino = ino;
		m_del(old);
	} else {
		m_del(old);
		m_add(new_dir, new_name, ino);
	}
}

static void op_rename(struct engine *e)
{
	uint64_t dir = pick(S_IFDIR, false), new_dir = rnd(3) ? pick(S_IFDIR, false) : dir;
	int name = rnd(NR_NAMES), new_name = rnd(NR_NAMES), err, want;
	unsigned flags = rnd(6);
	struct m_entry *old = m_find(dir, name), *new = m_find(new_dir, new_name);
	struct csv_attr a, b;

	if (flags > 2)
		flags = 0;
	err = t_rename(e, dir, m.names[name], new_dir, m.names[new_name], flags, &a, &b);
	want = rename_wants(dir, old, new_dir, new, flags);
	if (want == 0 && no_space(e, err))
		return;
	CHECK_EQ(err, want);
	if (want)
		return;
	CHECK_EQ(a.ino, old->ino);
	CHECK_EQ(b.ino, new && new->ino != old->ino ? new->ino : 0);
	m_rename(old, new_dir, new_name, new, flags);
}

/* New blocks lie in the range, rounded to clusters; what was there is as it was. */
static void m_allocated(struct m_inode *inode, const uint8_t *states, uint64_t blk, uint64_t nr,
	uint64_t done)
{
	for (uint64_t i = 0; i < NR_BLKS + CLUSTER; i++) {
		if (inode->state[i] != CSV_HOLE || i < ALIGN_DOWN(blk, CLUSTER) ||
			i >= ALIGN_UP(blk + nr, CLUSTER))
			CHECK_EQ(states[i], inode->state[i]);
		else
			CHECK(states[i] != CSV_WRITTEN);
		if (i >= blk && i < blk + done)
			CHECK(states[i] != CSV_HOLE);
	}
	memcpy(inode->state, states, sizeof(inode->state));
}

static void op_alloc(struct engine *e)
{
	uint64_t ino = pick(S_IFREG, false), blk = rnd(NR_BLKS), nr = 1 + rnd(NR_BLKS - blk), done;
	uint8_t states[NR_BLKS + CLUSTER];
	int err;

	if (!ino || m_inode(ino)->inline_len)
		return;
	if (rnd(2))
		nr = 1 + rnd(MIN(nr, 20));
	err = t_alloc_some(e, ino, blk, nr, &done);
	get_states(e, ino, states);
	if (no_space(e, err)) {
		CHECK(memcmp(states, m_inode(ino)->state, sizeof(states)) == 0);
		return;
	}
	CHECK_OK(err);
	CHECK(done > 0 && done <= nr);
	m_allocated(m_inode(ino), states, blk, nr, done);
}

/* Takes nearly all that is free. */
static void op_ballast(struct engine *e)
{
	uint64_t ino = pick(S_IFREG, false), leave = 100 + rnd(300);
	struct csv_statfs st;

	CHECK_OK(t_statfs(e, &st));
	if (!ino || m_inode(ino)->inline_len || st.free_blks < leave * 2)
		return;
	m_inode(ino)->ballast = true;
	CHECK_OK(t_alloc(e, ino, 1 << 20, st.free_blks - leave));
}

static void op_written(struct engine *e)
{
	uint64_t ino = pick(S_IFREG, false), blk = rnd(NR_BLKS), nr = rnd(30);
	int want = 0;

	if (!ino || m_inode(ino)->inline_len)
		return;
	nr = MIN(nr, NR_BLKS - blk);
	for (uint64_t i = blk; i < blk + nr; i++)
		if (m_inode(ino)->state[i] == CSV_HOLE)
			want = -ESTALE;
	CHECK_EQ(t_written(e, ino, blk, nr), want);
	for (uint64_t i = blk; i < blk + nr && !want; i++)
		m_inode(ino)->state[i] = CSV_WRITTEN;
}

static void op_punch(struct engine *e)
{
	uint64_t ino = pick(S_IFREG, false), blk = rnd(NR_BLKS), nr = rnd(NR_BLKS);

	if (!ino)
		return;
	if (rnd(3))
		nr = rnd(10);
	if (rnd(20) == 0)
		blk = 0, nr = UINT64_MAX;
	CHECK_OK(t_punch(e, ino, blk, nr));
	for (uint64_t i = blk; i < NR_BLKS + CLUSTER && i - blk < nr; i++)
		m_inode(ino)->state[i] = CSV_HOLE;
	if (nr == UINT64_MAX)
		m_inode(ino)->ballast = false;
}

static void op_inline(struct engine *e)
{
	uint64_t ino = pick(S_IFREG, false);
	uint8_t buf[CSV_INLINE_MAX];
	struct m_inode *inode;
	uint32_t len = rnd(CSV_INLINE_MAX + 1);
	int err;

	if (!ino)
		return;
	inode = m_inode(ino);
	if (m_kind(inode) == CSV_DATA_INLINE && rnd(3) == 0) {
		if (no_space(e, t_alloc(e, ino, 0, 1)))
			return;
		CHECK_OK(t_inline_drop(e, ino));
		inode->inline_len = 0;
		get_states(e, ino, inode->state);
		CHECK_EQ(inode->state[0], CSV_WRITTEN);
		return;
	}
	for (uint32_t i = 0; i < len; i++)
		buf[i] = rnd(256);
	err = t_inline_set(e, ino, buf, len);
	if (m_kind(inode) == CSV_DATA_TREE) {
		CHECK_EQ(err, -EINVAL);
	} else if (!no_space(e, err)) {
		CHECK_OK(err);
		memcpy(inode->data, buf, len);
		inode->inline_len = len;
		inode->size = len;
	}
}

static void op_size(struct engine *e)
{
	uint64_t ino = pick(S_IFREG, false);
	struct csv_attr a = { .size = rnd(2000) }, got;

	if (!ino)
		return;
	CHECK_OK(t_set(e, ino, CSV_SET_SIZE, &a, &got));
	CHECK_EQ(got.size, a.size);
	m_inode(ino)->size = a.size;
	m_inode(ino)->inline_len = MIN(m_inode(ino)->inline_len, a.size);
}

static void op_reap(struct engine *e)
{
	uint64_t ino;

	CHECK_OK(t_orphan_next(e, rnd(m.next_ino), &ino));
	if (!ino)
		return;
	CHECK_EQ(m_inode(ino)->nlink, 0);
	if (m_kind(m_inode(ino)) == CSV_DATA_TREE && !is_dir(ino))
		CHECK_EQ(t_orphan_free(e, ino), -EBUSY);
	CHECK_OK(t_punch(e, ino, 0, UINT64_MAX));
	CHECK_OK(t_orphan_free(e, ino));
	free(m.inodes[ino]);
	m.inodes[ino] = NULL;
}

static bool tight;

static void step(struct engine *e)
{
	static void (*const ops[])(struct engine *) = { op_create, op_create, op_create, op_link,
		op_unlink, op_unlink, op_rename, op_rename, op_alloc, op_alloc, op_written,
		op_written, op_punch, op_inline, op_size, op_reap };

	ops[rnd(ARRAY_SIZE(ops))](e);
	if (rnd(400) == 0)
		t_checkpoint(e);
	if (tight && rnd(100) == 0)
		op_ballast(e);
}

static void run(uint64_t seed, uint64_t nr_ops)
{
	struct engine e;

	seed_state = seed;
	tight = seed % 2 == 0;
	nr_no_space = 0;
	m_init();
	engine_device(&e, "ram:40M", true, 0, 0);
	engine_open(&e, 8 * 4096);
	for (op_nr = 0; op_nr < nr_ops; op_nr++) {
		step(&e);
		if (op_nr % 1000 == 500)
			compare_copy(&e);
		if (op_nr % 1500 == 700) {
			CHECK_OK(engine_close(&e));
			engine_open(&e, 8 * 4096);
		}
	}
	compare(&e);
	compare_copy(&e);
	CHECK(!tight || nr_ops < 1000 || nr_no_space > 10);
	CHECK_OK(engine_close(&e));
	engine_done(&e);
	for (uint64_t i = 0; i < MAX_INODES; i++)
		free(m.inodes[i]);
	memset(m.inodes, 0, sizeof(m.inodes));
}

static uint64_t running_seed;

static void say_where(void)
{
	if (running_seed)
		fprintf(stderr, "unit-core_random %llu (operation %llu)\n",
			(unsigned long long)running_seed, (unsigned long long)op_nr);
}

int main(int argc, char **argv)
{
	uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 0) : 1, last = argc > 1 ? first : 4;

	atexit(say_where);
	for (running_seed = first; running_seed <= last; running_seed++)
		run(running_seed, argc > 2 ? strtoull(argv[2], NULL, 0) : 2500);
	running_seed = 0;
	return 0;
}
