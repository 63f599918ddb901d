/* libs: util blockdev journal core */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Every operation of the engine: what it does, and what it refuses. */
#include "csvfs/core/alloc_internal.h"
#include "tests/unit/core_ops.h"

#define ROOT CSV_ROOT_INO

static void begin(struct engine *e, const char *uri)
{
	engine_device(e, uri, true, 0, 0);
	engine_open(e, 0);
}

/* Ends with a check, before and after a restart. */
static void end(struct engine *e)
{
	t_check(e);
	CHECK_OK(engine_close(e));
	engine_open(e, 64 * 4096);
	t_check(e);
	CHECK_OK(engine_close(e));
	engine_done(e);
}

static uint64_t make(struct engine *e, uint64_t dir, const char *name, uint32_t mode)
{
	struct csv_attr a;

	CHECK_OK(t_create(e, dir, name, mode, &a));
	return a.ino;
}

static void fill_name(char *name, uint32_t len, char c)
{
	memset(name, c, len);
	name[len] = 0;
}

static void test_create(void)
{
	struct csv_attr a, b, proto = { .mode = S_IFREG };
	char name[300];
	struct engine e;

	begin(&e, "ram:64M");
	CHECK_OK(t_get(&e, ROOT, &a));
	CHECK_EQ(a.mode, S_IFDIR | 0755);
	CHECK_EQ(a.nlink, 2);
	CHECK_EQ(a.parent, ROOT);
	CHECK_OK(t_create(&e, ROOT, "file", S_IFREG | 04640, &a));
	CHECK_EQ(a.mode, S_IFREG | 04640);
	CHECK_EQ(a.ino, 2);
	CHECK_EQ(a.nlink, 1);
	CHECK_EQ(a.uid, 3);
	CHECK_EQ(a.gid, 4);
	CHECK_EQ(a.atime_ns, 102);
	CHECK_EQ(a.btime_ns, 103);
	CHECK_EQ(a.data_kind, CSV_DATA_NONE);
	CHECK_OK(t_lookup(&e, ROOT, "file", &b));
	CHECK(attr_equal(&a, &b));
	memset(&b, 0, sizeof(b));
	CHECK_EQ(t_create(&e, ROOT, "file", S_IFDIR, &b), -EEXIST);
	CHECK_EQ(b.ino, a.ino);
	CHECK_OK(t_get(&e, ROOT, &a));
	CHECK_EQ(a.size, 1);
	CHECK_EQ(a.mtime_ns, 100);
	CHECK_EQ(a.ctime_ns, 100);

	CHECK_EQ(t_lookup(&e, ROOT, "none", &a), -ENOENT);
	CHECK_EQ(t_lookup(&e, 2, "x", &a), -ENOTDIR);
	CHECK_EQ(t_lookup(&e, 999, "x", &a), -ESTALE);
	CHECK_EQ(t_create(&e, 2, "x", S_IFREG, &a), -ENOTDIR);
	CHECK_EQ(t_create(&e, ROOT, "x", 0, &a), -EINVAL);
	CHECK_EQ(t_create(&e, ROOT, "", S_IFREG, &a), -EINVAL);
	CHECK_EQ(t_create(&e, ROOT, ".", S_IFREG, &a), -EINVAL);
	CHECK_EQ(t_create(&e, ROOT, "..", S_IFREG, &a), -EINVAL);
	CHECK_EQ(t_create(&e, ROOT, "a/b", S_IFREG, &a), -EINVAL);
	CHECK_EQ(DO(&e, create, .dir = ROOT, .name = "a\0b", .len = 3, .proto = &proto, .attr = &a),
		-EINVAL);
	fill_name(name, 255, 'n');
	CHECK_OK(t_create(&e, ROOT, name, S_IFREG, &a));
	CHECK_OK(t_lookup(&e, ROOT, name, &b));
	CHECK_EQ(a.ino, b.ino);
	fill_name(name, 256, 'n');
	CHECK_EQ(t_create(&e, ROOT, name, S_IFREG, &a), -ENAMETOOLONG);
	CHECK_EQ(t_lookup(&e, ROOT, name, &a), -ENAMETOOLONG);
	CHECK_OK(t_create(&e, ROOT, "...", S_IFIFO | 0600, &a));
	CHECK_OK(DO(&e, create, .dir = ROOT, .name = "dev", .len = 3,
		.proto = &(struct csv_attr){ .mode = S_IFBLK | 0600, .rdev = 0x801 }, .attr = &a));
	CHECK_EQ(a.rdev, 0x801);
	CHECK_OK(t_create(&e, ROOT, "sock", S_IFSOCK, &a));
	end(&e);
}

static void test_directories(void)
{
	struct csv_attr a, b;
	uint64_t d, sub;
	struct engine e;

	begin(&e, "ram:64M");
	d = make(&e, ROOT, "d", S_IFDIR | 0700);
	sub = make(&e, d, "sub", S_IFDIR | 0700);
	CHECK_OK(t_get(&e, d, &a));
	CHECK_EQ(a.nlink, 3);
	CHECK_EQ(a.size, 1);
	CHECK_EQ(a.nr_blks, 1);
	CHECK_OK(t_lookup(&e, sub, "..", &a));
	CHECK_EQ(a.ino, d);
	CHECK_OK(t_lookup(&e, sub, ".", &a));
	CHECK_EQ(a.ino, sub);
	CHECK_OK(t_lookup(&e, ROOT, "..", &a));
	CHECK_EQ(a.ino, ROOT);

	CHECK_EQ(t_unlink(&e, ROOT, "d", true, &a), -ENOTEMPTY);
	CHECK_EQ(t_unlink(&e, ROOT, "d", false, &a), -EISDIR);
	CHECK_EQ(t_unlink(&e, ROOT, "none", true, &a), -ENOENT);
	make(&e, ROOT, "f", S_IFREG);
	CHECK_EQ(t_unlink(&e, ROOT, "f", true, &a), -ENOTDIR);
	CHECK_OK(t_unlink(&e, d, "sub", true, &a));
	CHECK_EQ(a.nlink, 0);
	CHECK_OK(t_get(&e, d, &a));
	CHECK_EQ(a.nlink, 2);
	CHECK_EQ(a.size, 0);
	CHECK_EQ(a.nr_blks, 0);
	CHECK_EQ(t_create(&e, sub, "x", S_IFREG, &a), -ENOENT);
	CHECK_EQ(t_link(&e, 4, sub, "x", &a), -ENOENT);
	CHECK_EQ(t_rename(&e, ROOT, "f", sub, "x", 0, &a, &b), -ENOENT);
	CHECK_OK(t_get(&e, sub, &a)); /* an orphan, until it is freed */
	t_check(&e);
	CHECK_OK(t_orphan_free(&e, sub));
	CHECK_EQ(t_get(&e, sub, &a), -ESTALE);
	end(&e);
}

static void test_links(void)
{
	struct csv_attr a;
	struct engine e;
	uint64_t f, d, next;

	begin(&e, "ram:64M");
	f = make(&e, ROOT, "f", S_IFREG);
	d = make(&e, ROOT, "d", S_IFDIR);
	CHECK_OK(t_link(&e, f, d, "g", &a));
	CHECK_EQ(a.nlink, 2);
	CHECK_EQ(a.ctime_ns, 200);
	CHECK_EQ(t_link(&e, f, d, "g", &a), -EEXIST);
	CHECK_EQ(t_link(&e, d, ROOT, "dd", &a), -EPERM);
	CHECK_EQ(t_link(&e, 99, ROOT, "dd", &a), -ESTALE);
	CHECK_EQ(t_link(&e, f, f, "dd", &a), -ENOTDIR);
	CHECK_OK(t_unlink(&e, ROOT, "f", false, &a));
	CHECK_EQ(a.nlink, 1);
	CHECK_OK(t_orphan_next(&e, 0, &next));
	CHECK_EQ(next, 0);
	CHECK_EQ(t_orphan_free(&e, f), -ESTALE);
	CHECK_OK(t_unlink(&e, d, "g", false, &a));
	CHECK_EQ(a.nlink, 0);
	CHECK_EQ(a.ctime_ns, 300);
	CHECK_OK(t_orphan_next(&e, 0, &next));
	CHECK_EQ(next, f);
	CHECK_OK(t_orphan_next(&e, f, &next));
	CHECK_EQ(next, 0);
	CHECK_EQ(t_link(&e, f, ROOT, "again", &a), -ENOENT);
	t_check(&e);
	t_reap(&e);
	end(&e);
}

static void test_attributes(void)
{
	struct csv_attr a, s = { .mode = 01777, .uid = 7, .gid = 8, .size = 12345, .atime_ns = -5,
		.mtime_ns = 50, .ctime_ns = 60 };
	struct engine e;
	uint64_t f;

	begin(&e, "ram:64M");
	f = make(&e, ROOT, "f", S_IFREG | 0600);
	CHECK_OK(t_set(&e, f, CSV_SET_MODE | CSV_SET_UID | CSV_SET_GID | CSV_SET_SIZE |
		CSV_SET_ATIME | CSV_SET_MTIME | CSV_SET_CTIME, &s, &a));
	CHECK_EQ(a.mode, S_IFREG | 01777);
	CHECK_EQ(a.uid, 7);
	CHECK_EQ(a.gid, 8);
	CHECK_EQ(a.size, 12345);
	CHECK_EQ(a.atime_ns, -5);
	CHECK_EQ(a.mtime_ns, 50);
	s = (struct csv_attr){ .mtime_ns = 40, .ctime_ns = 70 };
	CHECK_OK(t_set(&e, f, CSV_SET_MTIME_MAX, &s, &a));
	CHECK_EQ(a.mtime_ns, 50);
	CHECK_EQ(a.ctime_ns, 70);
	CHECK_EQ(a.size, 12345);
	s.size = 1ull << 63;
	CHECK_EQ(t_set(&e, f, CSV_SET_SIZE, &s, &a), -EFBIG);
	s.size = INT64_MAX;
	CHECK_OK(t_set(&e, f, CSV_SET_SIZE, &s, NULL));
	CHECK_EQ(t_set(&e, ROOT, CSV_SET_SIZE, &s, NULL), -EINVAL);
	s.mode = S_IFDIR;
	CHECK_EQ(t_set(&e, f, CSV_SET_MODE, &s, NULL), -EINVAL);
	CHECK_EQ(t_set(&e, 77, CSV_SET_MODE, &s, NULL), -ESTALE);
	end(&e);
}

static void test_symlinks(void)
{
	char target[CSV_SYMLINK_MAX + 2], got[CSV_INLINE_MAX];
	struct csv_attr a;
	struct engine e;
	uint32_t len;

	begin(&e, "ram:64M");
	CHECK_OK(t_symlink(&e, ROOT, "s", "to/here", &a));
	CHECK_EQ(a.size, 7);
	len = sizeof(got);
	CHECK_OK(t_readlink(&e, a.ino, got, &len));
	CHECK(len == 7 && memcmp(got, "to/here", 7) == 0);
	len = 2;
	CHECK_OK(t_readlink(&e, a.ino, got, &len));
	CHECK_EQ(len, 2);
	fill_name(target, CSV_INLINE_MAX, 't');
	CHECK_OK(t_symlink(&e, ROOT, "long", target, &a));
	len = sizeof(got);
	CHECK_OK(t_readlink(&e, a.ino, got, &len));
	CHECK(len == CSV_INLINE_MAX && memcmp(got, target, len) == 0);
	fill_name(target, CSV_SYMLINK_MAX + 1, 't');
	CHECK_EQ(t_symlink(&e, ROOT, "longer", target, &a), -ENAMETOOLONG);
	CHECK_EQ(t_symlink(&e, ROOT, "empty", "", &a), -EINVAL);
	CHECK_EQ(t_readlink(&e, ROOT, got, &len), -EINVAL);
	end(&e);
}

static void expect_rename(struct engine *e, uint64_t dir, const char *name, uint64_t new_dir,
	const char *new_name, unsigned flags, int want)
{
	struct csv_attr a, b;

	CHECK_EQ(t_rename(e, dir, name, new_dir, new_name, flags, &a, &b), want);
}

static void test_rename_files(void)
{
	struct csv_attr a, b;
	struct engine e;
	uint64_t f, g, d;

	begin(&e, "ram:64M");
	f = make(&e, ROOT, "f", S_IFREG);
	d = make(&e, ROOT, "d", S_IFDIR);
	CHECK_OK(t_rename(&e, ROOT, "f", ROOT, "f2", 0, &a, &b));
	CHECK_EQ(a.ino, f);
	CHECK_EQ(a.ctime_ns, 400);
	CHECK_EQ(b.ino, 0);
	CHECK_EQ(t_lookup(&e, ROOT, "f", &a), -ENOENT);
	CHECK_OK(t_rename(&e, ROOT, "f2", d, "f", 0, &a, &b));
	g = make(&e, d, "g", S_IFREG);
	expect_rename(&e, d, "f", d, "g", CSV_RENAME_NOREPLACE, -EEXIST);
	expect_rename(&e, d, "f", d, "none", CSV_RENAME_EXCHANGE, -ENOENT);
	expect_rename(&e, d, "f", d, "g", CSV_RENAME_EXCHANGE | CSV_RENAME_NOREPLACE, -EINVAL);
	expect_rename(&e, d, "f", d, "g", 4, -EINVAL);
	expect_rename(&e, d, "none", d, "g", 0, -ENOENT);
	expect_rename(&e, d, "f", ROOT, "d", 0, -EISDIR);
	expect_rename(&e, d, "f", d, "..", 0, -EINVAL);
	CHECK_OK(t_rename(&e, d, "f", d, "g", CSV_RENAME_EXCHANGE, &a, &b));
	CHECK_EQ(a.ino, f);
	CHECK_EQ(b.ino, g);
	CHECK_OK(t_lookup(&e, d, "g", &a));
	CHECK_EQ(a.ino, f);
	CHECK_OK(t_rename(&e, d, "g", d, "f", 0, &a, &b));
	CHECK_EQ(a.ino, f);
	CHECK_EQ(b.ino, g);
	CHECK_EQ(b.nlink, 0);
	CHECK_OK(t_get(&e, d, &a));
	CHECK_EQ(a.size, 1);
	/* Two names of one inode, and a name onto itself. */
	CHECK_OK(t_link(&e, f, d, "f3", &a));
	CHECK_OK(t_rename(&e, d, "f", d, "f3", 0, &a, &b));
	CHECK_EQ(a.nlink, 2);
	CHECK_OK(t_rename(&e, d, "f", d, "f", 0, &a, &b));
	expect_rename(&e, d, "f", d, "f", CSV_RENAME_NOREPLACE, -EEXIST);
	CHECK_OK(t_get(&e, d, &a));
	CHECK_EQ(a.size, 2);
	/* A name that is one of several is replaced. */
	make(&e, ROOT, "h", S_IFREG);
	CHECK_OK(t_rename(&e, ROOT, "h", d, "f3", 0, &a, &b));
	CHECK_EQ(b.ino, f);
	CHECK_EQ(b.nlink, 1);
	end(&e);
}

static void test_rename_directories(void)
{
	struct csv_attr a, b;
	struct engine e;
	uint64_t x, y, z;

	begin(&e, "ram:64M");
	x = make(&e, ROOT, "x", S_IFDIR);
	y = make(&e, x, "y", S_IFDIR);
	z = make(&e, y, "z", S_IFDIR);
	make(&e, ROOT, "f", S_IFREG);
	expect_rename(&e, ROOT, "x", x, "loop", 0, -EINVAL);
	expect_rename(&e, ROOT, "x", y, "loop", 0, -EINVAL);
	expect_rename(&e, ROOT, "x", z, "loop", 0, -EINVAL);
	expect_rename(&e, y, "z", ROOT, "x", 0, -ENOTEMPTY);
	expect_rename(&e, y, "z", ROOT, "x", CSV_RENAME_EXCHANGE, -EINVAL);
	expect_rename(&e, ROOT, "x", y, "z", CSV_RENAME_EXCHANGE, -EINVAL);
	expect_rename(&e, ROOT, "x", ROOT, "f", 0, -ENOTDIR);
	CHECK_OK(t_rename(&e, ROOT, "x", ROOT, "x", 0, &a, &b));
	/* To another parent: link counts and ".." follow. */
	CHECK_OK(t_rename(&e, y, "z", ROOT, "z", 0, &a, &b));
	CHECK_EQ(a.parent, ROOT);
	CHECK_OK(t_get(&e, ROOT, &a));
	CHECK_EQ(a.nlink, 4);
	CHECK_OK(t_get(&e, y, &a));
	CHECK_EQ(a.nlink, 2);
	CHECK_OK(t_lookup(&e, z, "..", &a));
	CHECK_EQ(a.ino, ROOT);
	/* Onto an empty directory. */
	CHECK_OK(t_rename(&e, ROOT, "z", x, "y", 0, &a, &b));
	CHECK_EQ(b.ino, y);
	CHECK_EQ(b.nlink, 0);
	CHECK_OK(t_get(&e, x, &a));
	CHECK_EQ(a.nlink, 3);
	CHECK_OK(t_get(&e, ROOT, &a));
	CHECK_EQ(a.nlink, 3);
	t_check(&e);
	/* A directory and a file change places between directories. */
	CHECK_OK(t_rename(&e, ROOT, "f", x, "y", CSV_RENAME_EXCHANGE, &a, &b));
	CHECK_EQ(b.ino, z);
	CHECK_EQ(b.parent, ROOT);
	CHECK_OK(t_get(&e, x, &a));
	CHECK_EQ(a.nlink, 2);
	CHECK_OK(t_get(&e, ROOT, &a));
	CHECK_EQ(a.nlink, 4);
	/* Two directories of different parents change places. */
	make(&e, x, "w", S_IFDIR);
	CHECK_OK(t_rename(&e, x, "w", ROOT, "f", CSV_RENAME_EXCHANGE, &a, &b));
	CHECK_EQ(b.parent, x);
	t_check(&e);
	t_reap(&e);
	end(&e);
}

static void test_readdir(void)
{
	struct listing all = { 0 }, part = { .limit = 7 };
	uint64_t after = 0, d;
	struct csv_attr a;
	struct engine e;
	uint32_t got = 0;
	char name[64];

	begin(&e, "ram:64M");
	d = make(&e, ROOT, "d", S_IFDIR);
	CHECK_OK(t_readdir(&e, d, 0, true, &all));
	CHECK_EQ(all.nr, 0);
	for (int i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "entry number %d", i);
		make(&e, d, name, i % 2 ? S_IFREG : S_IFIFO);
	}
	CHECK_OK(t_readdir(&e, d, 0, true, &all));
	CHECK_EQ(all.nr, 500);
	for (uint32_t i = 0; i < all.nr; i++) {
		CHECK(all.ents[i].cookie >= 256 && all.ents[i].cookie >> 63 == 0);
		CHECK(i == 0 || all.ents[i].cookie > all.ents[i - 1].cookie);
		CHECK_EQ(all.ents[i].attr.ino, all.ents[i].ino);
		CHECK_OK(t_lookup(&e, d, all.ents[i].name, &a));
		CHECK_EQ(a.ino, all.ents[i].ino);
		CHECK_EQ(a.mode >> 12, all.ents[i].type);
	}
	/* In pieces, while entries go. */
	for (;;) {
		CHECK_OK(t_readdir(&e, d, after, false, &part));
		if (part.nr == 0)
			break;
		for (uint32_t i = 0; i < part.nr; i++)
			CHECK_EQ(part.ents[i].ino, all.ents[got + i].ino);
		got += part.nr;
		after = part.ents[part.nr - 1].cookie;
		CHECK_OK(t_unlink(&e, d, part.ents[part.nr - 1].name, false, &a));
	}
	CHECK_EQ(got, 500);
	CHECK_OK(t_readdir(&e, d, UINT64_MAX, false, &part));
	CHECK_EQ(part.nr, 0);
	CHECK_EQ(t_readdir(&e, all.ents[0].ino, 0, false, &part), -ENOTDIR);
	free(all.ents);
	free(part.ents);
	end(&e);
}

static void test_large_directory(void)
{
	struct csv_statfs before, after;
	struct csv_attr a;
	struct engine e;
	char name[200];
	uint64_t d;

	begin(&e, "ram:64M");
	d = make(&e, ROOT, "d", S_IFDIR);
	CHECK_OK(t_statfs(&e, &before));
	for (int i = 0; i < 4000; i++) {
		snprintf(name, sizeof(name), "%d-%0*d", i, i % 120 + 1, i);
		make(&e, d, name, S_IFREG);
	}
	CHECK_OK(t_get(&e, d, &a));
	CHECK_EQ(a.size, 4000);
	CHECK(a.nr_blks > 50);
	t_check(&e);
	for (int i = 0; i < 4000; i++) {
		snprintf(name, sizeof(name), "%d-%0*d", i, i % 120 + 1, i);
		CHECK_OK(t_unlink(&e, d, name, false, &a));
	}
	t_reap(&e);
	CHECK_OK(t_get(&e, d, &a));
	CHECK_EQ(a.nr_blks, 0);
	CHECK_EQ(a.nlink, 2);
	CHECK_OK(t_statfs(&e, &after));
	CHECK_EQ(after.free_blks, before.free_blks);
	CHECK_EQ(after.nr_inodes, before.nr_inodes);
	end(&e);
}

static void test_inline(void)
{
	uint8_t buf[CSV_INLINE_MAX + 1], got[CSV_INLINE_MAX + 1];
	struct csv_extent x[4];
	struct csv_attr a, s = { 0 };
	struct engine e;
	uint64_t f, pos;
	uint32_t len, nr;

	begin(&e, "ram:64M");
	f = make(&e, ROOT, "f", S_IFREG);
	for (uint32_t i = 0; i < sizeof(buf); i++)
		buf[i] = i * 7;
	len = sizeof(got);
	CHECK_EQ(t_inline_get(&e, f, got, &len), -EINVAL);
	CHECK_EQ(t_inline_set(&e, f, buf, CSV_INLINE_MAX + 1), -EFBIG);
	CHECK_EQ(t_inline_set(&e, ROOT, buf, 1), -EISDIR);
	for (uint32_t n = 1; n <= CSV_INLINE_MAX; n = n * 3 / 2 + 1) {
		CHECK_OK(t_inline_set(&e, f, buf, n));
		CHECK_OK(t_get(&e, f, &a));
		CHECK_EQ(a.size, n);
		CHECK_EQ(a.data_kind, CSV_DATA_INLINE);
		CHECK_EQ(a.nr_blks, 0);
		len = sizeof(got);
		CHECK_OK(t_inline_get(&e, f, got, &len));
		CHECK(len == n && memcmp(got, buf, n) == 0);
	}
	len = 3;
	CHECK_EQ(t_inline_get(&e, f, got, &len), -ERANGE);
	CHECK_OK(t_map(&e, f, 0, 5, x, 4, &nr));
	CHECK(nr == 1 && x[0].state == CSV_HOLE && x[0].nr == 5);
	CHECK_OK(t_seek(&e, f, 0, 5, true, &pos));
	CHECK_EQ(pos, 0);
	CHECK_OK(t_seek(&e, f, 0, 5, false, &pos));
	CHECK_EQ(pos, 1);
	/* The size cuts it; a larger one leaves it. */
	s.size = 100;
	CHECK_OK(t_set(&e, f, CSV_SET_SIZE, &s, NULL));
	s.size = 5000;
	CHECK_OK(t_set(&e, f, CSV_SET_SIZE, &s, NULL));
	len = sizeof(got);
	CHECK_OK(t_inline_get(&e, f, got, &len));
	CHECK_EQ(len, 100);
	t_check(&e);
	/* To blocks: the data stays until it is dropped. */
	CHECK_EQ(t_inline_drop(&e, f), -ESTALE);
	CHECK_OK(t_alloc(&e, f, 0, 1));
	CHECK_OK(t_get(&e, f, &a));
	CHECK_EQ(a.data_kind, CSV_DATA_INLINE);
	CHECK_EQ(t_inline_set(&e, f, buf, 10), -EINVAL);
	CHECK_OK(t_map(&e, f, 0, 5, x, 4, &nr));
	CHECK(nr == 1 && x[0].state == CSV_UNWRITTEN);
	t_check(&e);
	CHECK_OK(t_inline_drop(&e, f));
	CHECK_EQ(t_inline_drop(&e, f), -EINVAL);
	CHECK_OK(t_get(&e, f, &a));
	CHECK_EQ(a.data_kind, CSV_DATA_TREE);
	CHECK_OK(t_map(&e, f, 0, 2, x, 4, &nr));
	CHECK(nr == 2 && x[0].state == CSV_WRITTEN && x[0].nr == 1 && x[1].state == CSV_UNWRITTEN);
	CHECK_OK(t_punch(&e, f, 0, UINT64_MAX));
	CHECK_OK(t_inline_set(&e, f, buf, 10));
	CHECK_OK(t_inline_set(&e, f, buf, 0));
	CHECK_OK(t_get(&e, f, &a));
	CHECK_EQ(a.data_kind, CSV_DATA_NONE);
	end(&e);
}

static void test_extents(void)
{
	struct csv_extent x[16];
	struct csv_attr a;
	struct engine e;
	uint64_t f, pos, cl, done;
	uint32_t nr;

	begin(&e, "ram:64M");
	cl = csv_fs_geometry(e.fs)->cluster_blks;
	CHECK_EQ(cl, 16);
	f = make(&e, ROOT, "f", S_IFREG);
	CHECK_OK(t_map(&e, f, 3, 10, x, 16, &nr));
	CHECK(nr == 1 && x[0].blk == 3 && x[0].nr == 10 && x[0].state == CSV_HOLE);
	/* Rounded to the cluster, aligned on the volume. */
	CHECK_OK(t_alloc(&e, f, 20, 3));
	CHECK_OK(t_map(&e, f, 0, 100, x, 16, &nr));
	CHECK_EQ(nr, 3);
	CHECK(x[0].state == CSV_HOLE && x[0].nr == 16);
	CHECK(x[1].state == CSV_UNWRITTEN && x[1].blk == 16 && x[1].nr == 16);
	CHECK_EQ(x[1].phys % cl, 0);
	CHECK(x[2].state == CSV_HOLE && x[2].blk == 32 && x[2].nr == 68);
	CHECK_OK(t_get(&e, f, &a));
	CHECK_EQ(a.nr_blks, 17);
	CHECK_EQ(a.data_kind, CSV_DATA_TREE);
	/* What continues joins. */
	CHECK_OK(t_alloc(&e, f, 32, 64));
	CHECK_OK(t_map(&e, f, 16, 80, x, 16, &nr));
	CHECK(nr == 1 && x[0].nr == 80);
	CHECK_OK(t_alloc(&e, f, 0, 96));
	CHECK_OK(t_map(&e, f, 0, 96, x, 16, &nr));
	CHECK_EQ(nr, 1);
	CHECK_OK(t_get(&e, f, &a));
	CHECK_EQ(a.nr_blks, 97);
	/* Written, in the middle; then all of it. */
	CHECK_OK(t_written(&e, f, 40, 8));
	CHECK_OK(t_map(&e, f, 0, 96, x, 16, &nr));
	CHECK_EQ(nr, 3);
	CHECK(x[1].state == CSV_WRITTEN && x[1].blk == 40 && x[1].nr == 8);
	CHECK_EQ(x[1].phys, x[0].phys + 40);
	CHECK_OK(t_map(&e, f, 44, 30, x, 1, &nr));
	CHECK(nr == 1 && x[0].blk == 44 && x[0].nr == 4);
	CHECK_OK(t_seek(&e, f, 0, 96, true, &pos));
	CHECK_EQ(pos, 40);
	CHECK_OK(t_seek(&e, f, 42, 96, false, &pos));
	CHECK_EQ(pos, 48);
	CHECK_OK(t_seek(&e, f, 50, 96, true, &pos));
	CHECK_EQ(pos, 96);
	CHECK_EQ(t_written(&e, f, 90, 10), -ESTALE);
	CHECK_OK(t_written(&e, f, 0, 96));
	CHECK_OK(t_written(&e, f, 0, 96));
	CHECK_OK(t_map(&e, f, 0, 96, x, 16, &nr));
	CHECK(nr == 1 && x[0].state == CSV_WRITTEN);
	CHECK_OK(t_alloc_some(&e, f, 10, 20, &done)); /* nothing to do */
	CHECK_EQ(done, 20);
	t_check(&e);
	/* Holes. */
	CHECK_OK(t_punch(&e, f, 10, 5));
	CHECK_OK(t_punch(&e, f, 90, 100));
	CHECK_OK(t_punch(&e, f, 0, 1));
	CHECK_OK(t_map(&e, f, 0, 100, x, 16, &nr));
	CHECK_EQ(nr, 5);
	CHECK(x[1].blk == 1 && x[1].nr == 9 && x[2].state == CSV_HOLE && x[2].nr == 5);
	CHECK(x[3].blk == 15 && x[3].nr == 75);
	CHECK_OK(t_get(&e, f, &a));
	CHECK_EQ(a.nr_blks, 85);
	/* The hole in a cluster takes what is free, and no more than the hole. */
	CHECK_OK(t_alloc(&e, f, 12, 1));
	CHECK_OK(t_map(&e, f, 0, 20, x, 16, &nr));
	CHECK_OK(t_get(&e, f, &a));
	CHECK_EQ(a.nr_blks, 90);
	CHECK_OK(t_punch(&e, f, 0, UINT64_MAX));
	CHECK_OK(t_get(&e, f, &a));
	CHECK_EQ(a.nr_blks, 0);
	CHECK_EQ(a.data_kind, CSV_DATA_NONE);
	CHECK_OK(t_punch(&e, f, 5, 5));
	/* Limits. */
	CHECK_EQ(t_alloc_some(&e, f, 1ull << 51, 1, &done), -EFBIG);
	CHECK_EQ(t_alloc_some(&e, f, (1ull << 51) - 1, 2, &done), -EFBIG);
	CHECK_OK(t_alloc(&e, f, (1ull << 51) - 1, 1));
	CHECK_OK(t_seek(&e, f, 0, 1ull << 51, true, &pos));
	CHECK_EQ(pos, 1ull << 51);
	CHECK_EQ(t_alloc_some(&e, ROOT, 0, 1, &done), -EISDIR);
	CHECK_EQ(t_map(&e, ROOT, 0, 1, x, 1, &nr), -EISDIR);
	CHECK_EQ(t_map(&e, 99, 0, 1, x, 1, &nr), -ESTALE);
	end(&e);
}

/* Every other block of a long file: many extents, bounded steps. */
static void test_fragments(void)
{
	struct csv_extent *x = malloc(sizeof(*x) * 8192);
	struct csv_statfs before, after;
	struct csv_attr a;
	struct engine e;
	uint32_t nr;
	uint64_t f;

	begin(&e, "ram:64M");
	f = make(&e, ROOT, "f", S_IFREG);
	CHECK_OK(t_statfs(&e, &before));
	CHECK_OK(t_alloc(&e, f, 0, 4000));
	for (uint64_t blk = 0; blk < 4000; blk += 2)
		CHECK_OK(t_written(&e, f, blk, 1));
	CHECK_OK(t_map(&e, f, 0, 4000, x, 8192, &nr));
	CHECK(nr >= 4000);
	t_check(&e);
	for (uint64_t blk = 1; blk < 4000; blk += 2)
		CHECK_OK(t_punch(&e, f, blk, 1));
	CHECK_OK(t_get(&e, f, &a));
	t_check(&e);
	/* Alloc fills all of the holes again, though one call must not do it. */
	CHECK_OK(t_alloc(&e, f, 0, 4000));
	CHECK_OK(t_get(&e, f, &a));
	CHECK(a.nr_blks >= 4000);
	CHECK_OK(t_written(&e, f, 100, 60));
	CHECK_OK(t_punch(&e, f, 0, UINT64_MAX));
	CHECK_OK(t_statfs(&e, &after));
	CHECK_EQ(before.free_blks, after.free_blks);
	free(x);
	end(&e);
}

/* Files that grow at the same time do not end up in each other's pieces. */
static void test_spread(void)
{
	struct csv_extent x[64];
	uint64_t f[4];
	struct engine e;
	char name[16];
	uint32_t nr;

	begin(&e, "ram:512M");
	for (int i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		f[i] = make(&e, ROOT, name, S_IFREG);
	}
	for (uint64_t blk = 0; blk < 4096; blk += 256)
		for (int i = 0; i < 4; i++)
			CHECK_OK(t_alloc(&e, f[i], blk, 256));
	for (int i = 0; i < 4; i++) {
		CHECK_OK(t_map(&e, f[i], 0, 4096, x, 64, &nr));
		CHECK(nr <= 2);
	}
	/* Clusters in any order end up in one piece, too. */
	f[0] = make(&e, ROOT, "random", S_IFREG);
	for (uint64_t i = 0; i < 128; i++)
		CHECK_OK(t_alloc(&e, f[0], i * 37 % 128 * 16, 16));
	CHECK_OK(t_map(&e, f[0], 0, 2048, x, 64, &nr));
	CHECK(nr <= 4);
	end(&e);
}

static void test_no_space(void)
{
	struct csv_statfs st, full;
	struct csv_attr a;
	struct engine e;
	uint64_t f, g, total = 0, done;
	char name[300];
	int err = 0;

	begin(&e, "ram:32M");
	f = make(&e, ROOT, "f", S_IFREG);
	g = make(&e, ROOT, "g", S_IFREG);
	CHECK_OK(t_alloc(&e, g, 0, 64));
	while ((err = t_alloc_some(&e, f, total, 100, &done)) == 0)
		total += done;
	CHECK_EQ(err, -ENOSPC);
	CHECK_OK(t_statfs(&e, &full));
	CHECK(full.free_blks >= 64 && full.free_blks < 200); /* the reserve */
	t_check(&e);
	/* Names still can be made, until the last blocks. */
	for (int i = 0; err == -ENOSPC || err == 0; i++) {
		fill_name(name, 250, 'a');
		snprintf(name, sizeof(name), "%d", i);
		name[strlen(name)] = 'a';
		err = t_create(&e, ROOT, name, S_IFREG, &a);
		if (err)
			break;
	}
	CHECK_EQ(err, -ENOSPC);
	CHECK_OK(t_statfs(&e, &st));
	CHECK(st.free_blks >= 16);
	CHECK_EQ(t_lookup(&e, ROOT, name, &a), -ENOENT);
	CHECK_EQ(t_rename(&e, ROOT, "g", ROOT, "new", 0, &a, &a), -ENOSPC);
	CHECK_EQ(t_link(&e, g, ROOT, "new", &a), -ENOSPC);
	t_check(&e);
	/* What frees still works; and what it freed can be used, all of it. */
	CHECK_OK(t_punch(&e, g, 32, 8));
	CHECK_OK(t_unlink(&e, ROOT, "f", false, &a));
	CHECK_OK(t_punch(&e, f, 0, UINT64_MAX));
	CHECK_OK(t_orphan_free(&e, f));
	f = make(&e, ROOT, "f", S_IFREG);
	CHECK_OK(t_statfs(&e, &st));
	CHECK_OK(t_alloc(&e, f, 0, st.free_blks - 200));
	end(&e);
}

/* Freed blocks have no next owner before their log record is out of the log (E5). */
static void test_hold_back(void)
{
	struct jnl_stats before, after;
	struct csv_extent old, new;
	struct csv_statfs st;
	struct engine e;
	uint64_t f, g, nr;
	uint32_t n;

	begin(&e, "ram:64M");
	f = make(&e, ROOT, "f", S_IFREG);
	CHECK_OK(t_alloc(&e, f, 0, 256));
	CHECK_OK(t_map(&e, f, 0, 256, &old, 1, &n));
	CHECK_OK(t_punch(&e, f, 0, UINT64_MAX));
	CHECK_OK(t_alloc(&e, f, 0, 256));
	CHECK_OK(t_map(&e, f, 0, 256, &new, 1, &n));
	CHECK(new.phys + new.nr <= old.phys || old.phys + old.nr <= new.phys);
	CHECK_OK(t_punch(&e, f, 0, UINT64_MAX));
	CHECK(e.fs->alloc->held_nr >= 512);
	t_check(&e);
	t_checkpoint(&e);
	CHECK_EQ(e.fs->alloc->held_nr, 0);
	CHECK_OK(t_alloc(&e, f, 0, 256));
	CHECK_OK(t_map(&e, f, 0, 256, &new, 1, &n));
	CHECK_EQ(new.phys, old.phys);
	/* When there is nothing else, an allocation waits for a checkpoint. */
	g = make(&e, ROOT, "g", S_IFREG);
	CHECK_OK(t_statfs(&e, &st));
	nr = st.free_blks - 400;
	CHECK_OK(t_alloc(&e, g, 0, nr));
	CHECK_OK(t_punch(&e, g, 0, nr));
	jnl_stats(csv_fs_journal(e.fs), &before);
	CHECK_OK(t_alloc(&e, f, 1000, nr / 2));
	jnl_stats(csv_fs_journal(e.fs), &after);
	CHECK(after.checkpoints > before.checkpoints);
	end(&e);
}

static int alloc_and_fail(struct csv_txn *txn, void *arg)
{
	uint64_t done;
	int err = csv_extent_alloc(txn, *(uint64_t *)arg, 0, 500, &done);

	return err ? err : -EXDEV;
}

static int punch_and_fail(struct csv_txn *txn, void *arg)
{
	uint64_t left;
	int err = csv_extent_punch(txn, *(uint64_t *)arg, 0, 500, &left);

	return err ? err : -EXDEV;
}

/* What is aborted leaves nothing, also in the allocator's memory. */
static void test_abort(void)
{
	struct csv_statfs before, after;
	struct engine e;
	uint64_t f;

	begin(&e, "ram:64M");
	f = make(&e, ROOT, "f", S_IFREG);
	CHECK_OK(t_statfs(&e, &before));
	CHECK_EQ(test_op_sync(&e, alloc_and_fail, &f), -EXDEV);
	CHECK_OK(t_statfs(&e, &after));
	CHECK_EQ(before.free_blks, after.free_blks);
	t_check(&e);
	CHECK_OK(t_alloc(&e, f, 0, 500));
	CHECK_EQ(test_op_sync(&e, punch_and_fail, &f), -EXDEV);
	CHECK_EQ(e.fs->alloc->held_nr, 0);
	CHECK(e.fs->alloc->cur == NULL);
	t_check(&e);
	CHECK_OK(t_punch(&e, f, 0, UINT64_MAX));
	CHECK_OK(t_statfs(&e, &after));
	CHECK_EQ(before.free_blks, after.free_blks);
	end(&e);
}

static void test_results(void)
{
	struct csv_result r = { .seq = 9, .op = 3, .status = -ENOENT, .ino = 5, .aux = { 1, 2, 3, 4, 5 } };
	struct csv_result got;
	struct engine e;

	begin(&e, "ram:64M");
	CHECK_OK(t_result_get(&e, 64, 1, 61, &got));
	CHECK_EQ(got.seq, 0);
	CHECK_OK(t_result_put(&e, 64, 1, 61, &r));
	CHECK_OK(engine_close(&e));
	engine_open(&e, 0);
	CHECK_OK(t_result_get(&e, 64, 1, 61, &got));
	CHECK(memcmp(&r, &got, sizeof(r)) == 0);
	CHECK_OK(t_result_get(&e, 64, 2, 61, &got));
	CHECK_EQ(got.seq, 0);
	CHECK_OK(t_result_get(&e, 63, 1, 61, &got));
	CHECK_EQ(got.seq, 0);
	CHECK_OK(t_result_put(&e, 64, 2, 0, &r));
	CHECK_OK(t_result_get(&e, 64, 2, 61, &got));
	CHECK_EQ(got.seq, 0);
	CHECK_OK(t_result_get(&e, 64, 2, 0, &got));
	CHECK_EQ(got.seq, 9);
	end(&e);
}

int main(void)
{
	test_create();
	test_directories();
	test_links();
	test_attributes();
	test_symlinks();
	test_rename_files();
	test_rename_directories();
	test_readdir();
	test_large_directory();
	test_inline();
	test_extents();
	test_fragments();
	test_spread();
	test_no_space();
	test_hold_back();
	test_abort();
	test_results();
	return 0;
}
