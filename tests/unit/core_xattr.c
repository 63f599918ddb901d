/* libs: util blockdev journal core */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Extended attributes: random sets and removals against a model, limits, a full volume, what a file
 * without a name leaves behind; access lists and modes; long symlinks; a corrupter for each code of
 * csv_check() that is about them.
 *
 *	unit-core_xattr [SEED [OPERATIONS]]
 */
#include "csvfs/core/xattr_internal.h"
#include "tests/unit/core_ops.h"
#include "tests/unit/core_repair.h"
#include "util/log.h"

#define ROOT CSV_ROOT_INO
#define NR_NAMES 40

/* ---- operations ---- */

struct xcall {
	uint64_t ino, dir;
	const char *name;
	void *buf;
	const void *value;
	uint32_t len, *ret_len, umask;
	unsigned flags;
	bool dflt, left, drop;
	struct csv_attr attr;
};

static int run_set(struct csv_txn *txn, void *arg)
{
	struct xcall *c = arg;

	return csv_xattr_set(txn, c->ino, c->name, strlen(c->name), c->value, c->len, c->flags, 77);
}

static int x_set(struct engine *e, uint64_t ino, const char *name, const void *value, uint32_t len,
	unsigned flags)
{
	return test_op_sync(e, run_set, &(struct xcall){ .ino = ino, .name = name, .value = value,
		.len = len, .flags = flags });
}

static int run_get(struct csv_txn *txn, void *arg)
{
	struct xcall *c = arg;

	*c->ret_len = c->len;
	return csv_xattr_get(txn, c->ino, c->name, strlen(c->name), c->buf, c->ret_len);
}

static int x_get(struct engine *e, uint64_t ino, const char *name, void *buf, uint32_t *len)
{
	return test_op_sync(e, run_get, &(struct xcall){ .ino = ino, .name = name, .buf = buf,
		.len = *len, .ret_len = len });
}

static int run_list(struct csv_txn *txn, void *arg)
{
	struct xcall *c = arg;

	*c->ret_len = c->len;
	return csv_xattr_list(txn, c->ino, c->buf, c->ret_len);
}

static int x_list(struct engine *e, uint64_t ino, void *buf, uint32_t *len)
{
	return test_op_sync(e, run_list, &(struct xcall){ .ino = ino, .buf = buf, .len = *len,
		.ret_len = len });
}

static int run_remove(struct csv_txn *txn, void *arg)
{
	struct xcall *c = arg;

	return csv_xattr_remove(txn, c->ino, c->name, strlen(c->name), 78);
}

static int x_remove(struct engine *e, uint64_t ino, const char *name)
{
	return test_op_sync(e, run_remove, &(struct xcall){ .ino = ino, .name = name });
}

static int run_clear(struct csv_txn *txn, void *arg)
{
	struct xcall *c = arg;

	return csv_xattr_clear(txn, c->ino, &c->left);
}

static int run_acl(struct csv_txn *txn, void *arg)
{
	struct xcall *c = arg;

	return csv_acl_set(txn, c->ino, c->dflt, c->value, c->len, c->drop, 79, &c->attr);
}

static int x_acl(struct engine *e, uint64_t ino, bool dflt, const void *value, uint32_t len,
	struct csv_attr *ret)
{
	struct xcall c = { .ino = ino, .dflt = dflt, .value = value, .len = len };
	int err = test_op_sync(e, run_acl, &c);

	if (!err && ret)
		*ret = c.attr;
	return err;
}

static int run_inherit(struct csv_txn *txn, void *arg)
{
	struct xcall *c = arg;

	return csv_acl_inherit(txn, c->dir, c->ino, c->umask, &c->attr);
}

static uint32_t x_inherit(struct engine *e, uint64_t dir, uint64_t ino, uint32_t umask)
{
	struct xcall c = { .dir = dir, .ino = ino, .umask = umask };

	CHECK_OK(test_op_sync(e, run_inherit, &c));
	return c.attr.mode & 07777;
}

/* ---- the model ---- */

static struct {
	char name[256];
	uint8_t *value; /* NULL = not there */
	uint32_t len;
} model[NR_NAMES];

static uint64_t seed_state;
static uint8_t bytes[CSV_XATTR_VALUE_MAX + 1], got[CSV_XATTR_LIST_MAX];

static uint64_t rnd(uint64_t n)
{
	seed_state = seed_state * 6364136223846793005ull + 1442695040888963407ull;
	return (seed_state >> 33) % n;
}

static void model_put(int i, uint32_t len)
{
	free(model[i].value);
	model[i].value = malloc(len + 1);
	CHECK(model[i].value);
	memcpy(model[i].value, bytes, len);
	model[i].len = len;
}

static void model_del(int i)
{
	free(model[i].value);
	model[i].value = NULL;
}

static void name_all(void)
{
	for (int i = 0; i < NR_NAMES; i++) {
		memset(model[i].name, 'a' + i % 26, i % 4 == 3 ? 250 : i + 1);
		memcpy(model[i].name, "user.", i % 4 == 3 ? 5 : 0);
		model[i].name[0] = 'A' + i / 26;
	}
}

static void forget_all(void)
{
	for (int i = 0; i < NR_NAMES; i++)
		model_del(i);
	memset(model, 0, sizeof(model));
}

static void compare(struct engine *e, uint64_t ino)
{
	uint32_t len, want = 0;

	for (int i = 0; i < NR_NAMES; i++) {
		len = 0;
		int err = x_get(e, ino, model[i].name, NULL, &len);

		CHECK_EQ(err, model[i].value ? 0 : -ENODATA);
		if (err)
			continue;
		CHECK_EQ(len, model[i].len);
		len = sizeof(got);
		CHECK_OK(x_get(e, ino, model[i].name, got, &len));
		CHECK_EQ(len, model[i].len);
		CHECK(memcmp(got, model[i].value, len) == 0);
		if (len > 1) {
			len--;
			CHECK_EQ(x_get(e, ino, model[i].name, got, &len), -ERANGE);
		}
		want += strlen(model[i].name) + 1;
	}
	len = 0;
	CHECK_OK(x_list(e, ino, NULL, &len));
	CHECK_EQ(len, want);
	if (!want)
		return;
	len = want - 1;
	if (len)
		CHECK_EQ(x_list(e, ino, got, &len), -ERANGE);
	len = want;
	CHECK_OK(x_list(e, ino, got, &len));
	CHECK_EQ(len, want);
	for (uint32_t at = 0; at < want; at += strlen((char *)got + at) + 1) {
		int i = 0;

		while (i < NR_NAMES && strcmp(model[i].name, (char *)got + at))
			i++;
		CHECK(i < NR_NAMES && model[i].value);
	}
}

static uint32_t random_len(void)
{
	switch (rnd(5)) {
	case 0:
		return rnd(3);
	case 1:
		return rnd(200);
	case 2:
		return 1200 + rnd(1500); /* where the first piece ends */
	case 3:
		return rnd(CSV_XATTR_VALUE_MAX + 1);
	}
	return rnd(20000);
}

static void one_op(struct engine *e, uint64_t ino)
{
	int i = rnd(NR_NAMES);
	bool there = model[i].value;
	uint32_t len = random_len();
	unsigned flags = rnd(3) ? 0 : 1 + rnd(2);
	int err;

	if (rnd(4) == 0) {
		CHECK_EQ(x_remove(e, ino, model[i].name), there ? 0 : -ENODATA);
		model_del(i);
		return;
	}
	for (uint32_t k = 0; k < len; k += 64)
		bytes[k] = rnd(256);
	err = x_set(e, ino, model[i].name, bytes, len, flags);
	if (err == -ENOSPC) /* nothing has changed (E1) */
		return;
	CHECK_EQ(err, flags == CSV_XATTR_CREATE && there	   ? -EEXIST :
			      flags == CSV_XATTR_REPLACE && !there ? -ENODATA :
								     0);
	if (!err)
		model_put(i, len);
}

static void reopen(struct engine *e)
{
	CHECK_OK(engine_close(e));
	engine_open(e, 1 << 20);
}

static void test_random(uint64_t seed, uint32_t nr_ops)
{
	struct csv_attr a;
	struct engine e;
	struct xcall c = { 0 };

	seed_state = seed;
	name_all();
	engine_device(&e, "ram:32M", true, 0, 0);
	engine_open(&e, 1 << 20);
	CHECK_OK(t_create(&e, ROOT, "file", S_IFREG | 0644, &a));
	for (uint32_t n = 0; n < nr_ops; n++) {
		one_op(&e, a.ino);
		if (n % 150 == 149) {
			compare(&e, a.ino);
			t_check(&e);
		}
		if (n % 400 == 399)
			reopen(&e);
	}
	CHECK_OK(t_unlink(&e, ROOT, "file", false, &a));
	c.ino = a.ino;
	CHECK_EQ(t_orphan_free(&e, a.ino), -EBUSY);
	for (c.left = true; c.left;) {
		CHECK_OK(test_op_sync(&e, run_clear, &c));
		t_check(&e); /* each step leaves a whole inode */
	}
	CHECK_OK(t_orphan_free(&e, a.ino));
	CHECK_EQ(t_check(&e).inodes, 1);
	CHECK_OK(engine_close(&e));
	engine_done(&e);
	forget_all();
}

/* The nth read fails, for each n until none does: what was under way has no effect (E1). */
static void test_faults(void)
{
	struct csv_attr a;
	uint64_t nth = 1, fired;

	do {
		struct bdev_fault_rule rule = { .op_mask = 1u << BDEV_READ, .nth = nth, .err = -EIO };
		uint32_t failed = 0;
		struct engine e;

		name_all();
		seed_state = nth;
		engine_device(&e, "ram:32M", true, 0, 0);
		engine_open(&e, 0);
		CHECK_OK(t_create(&e, ROOT, "file", S_IFREG | 0644, &a));
		for (int n = 0; n < 40; n++)
			one_op(&e, a.ino);
		CHECK_OK(engine_close(&e));
		engine_open(&e, 4096); /* nearly no cache: there are reads */
		bdev_fault_set(e.fault, &rule);
		for (int n = 0; n < 25; n++) {
			int i = rnd(NR_NAMES);
			uint32_t len = random_len();
			bool set = rnd(3) != 0;
			int err = set ? x_set(&e, a.ino, model[i].name, bytes, len, 0)
				      : x_remove(&e, a.ino, model[i].name);

			CHECK(err == 0 || err == -EIO || err == -ENODATA);
			failed += err == -EIO;
			if (err == 0 && set)
				model_put(i, len);
			else if (err == 0)
				model_del(i);
		}
		fired = bdev_fault_fired(e.fault);
		CHECK(failed <= 1 && !fired == !failed);
		bdev_fault_set(e.fault, NULL);
		compare(&e, a.ino);
		t_check(&e);
		CHECK_OK(engine_close(&e));
		engine_done(&e);
		forget_all();
		nth += 1 + nth / 8;
	} while (fired);
	CHECK(nth > 20);
}

/* ---- limits ---- */

static void test_limits(struct engine *e)
{
	char name[300];
	struct csv_attr a, b;
	uint32_t len, nr = 0;
	int err;

	CHECK_OK(t_create(e, ROOT, "limits", S_IFREG | 0644, &a));
	memset(name, 'n', sizeof(name));
	name[256] = 0;
	CHECK_EQ(x_set(e, a.ino, name, "", 0, 0), -ERANGE);
	CHECK_EQ(x_set(e, a.ino, "", "", 0, 0), -ERANGE);
	name[255] = 0;
	CHECK_OK(x_set(e, a.ino, name, bytes, CSV_XATTR_VALUE_MAX, 0));
	CHECK_EQ(x_set(e, a.ino, "more", bytes, CSV_XATTR_VALUE_MAX + 1, 0), -E2BIG);
	CHECK_OK(t_get(e, a.ino, &b));
	CHECK(b.has_xattrs && b.nr_blks >= 16 && b.ctime_ns == 77);
	CHECK_OK(x_remove(e, a.ino, name));
	CHECK_OK(t_get(e, a.ino, &b));
	CHECK(!b.has_xattrs && b.nr_blks == 0 && b.ctime_ns == 78);
	CHECK_EQ(x_set(e, 99999, "name", "", 0, 0), -ESTALE);
	do {
		snprintf(name, sizeof(name), "%0250u", nr++);
		err = x_set(e, a.ino, name, "v", 1, 0);
	} while (!err);
	CHECK_EQ(err, -ENOSPC);
	CHECK_EQ(nr - 1, CSV_XATTR_LIST_MAX / 251);
	len = sizeof(got);
	CHECK_OK(x_list(e, a.ino, got, &len));
	CHECK_EQ(len, (nr - 1) * 251);
	CHECK_OK(x_set(e, a.ino, "short", "v", 1, 0));
	t_check(e);
}

/* All of the volume but a little is taken: sets fail without a trace, removals do not. */
static void test_full(void)
{
	struct engine e;
	struct csv_attr a;
	char name[32];
	uint32_t len, nr = 0;
	int err;

	engine_device(&e, "ram:32M", true, 0, 0);
	engine_open(&e, 0);
	CHECK_OK(t_create(&e, ROOT, "file", S_IFREG | 0644, &a));
	do {
		snprintf(name, sizeof(name), "name %u", nr++);
		err = x_set(&e, a.ino, name, bytes, 50000, 0);
	} while (!err);
	CHECK_EQ(err, -ENOSPC);
	CHECK(nr > 100);
	len = 0;
	CHECK_EQ(x_get(&e, a.ino, name, NULL, &len), -ENODATA);
	t_check(&e);
	for (uint32_t i = 0; i < nr - 1; i++) {
		snprintf(name, sizeof(name), "name %u", i);
		CHECK_OK(x_remove(&e, a.ino, name));
	}
	t_check(&e);
	CHECK_OK(engine_close(&e));
	engine_done(&e);
}

/* ---- access lists ---- */

#define ACL(...)                                                                                   \
	(const uint16_t[]){ 2, 0, __VA_ARGS__ }, sizeof((const uint16_t[]){ 2, 0, __VA_ARGS__ })
#define ENT(tag, perm, id) tag, perm, (id) & 0xffff, (uint32_t)(id) >> 16
#define ANY 0xffffffffu

static uint32_t mode_of(struct engine *e, uint64_t ino)
{
	struct csv_attr a;

	CHECK_OK(t_get(e, ino, &a));
	return a.mode & 07777;
}

static bool acl_is(struct engine *e, uint64_t ino, const char *name, const void *want, uint32_t len)
{
	uint8_t value[512];
	uint32_t n = sizeof(value);
	int err = x_get(e, ino, name, value, &n);

	CHECK(err == 0 || err == -ENODATA);
	return err ? len == 0 : n == len && memcmp(value, want, len) == 0;
}

static void test_acl(struct engine *e)
{
	struct csv_attr dir, file, sub, attr = { .mode = 02750 };
	static const uint16_t cut[] = { 2, 0, ENT(1, 6, ANY), ENT(2, 7, 1000), ENT(4, 5, ANY),
		ENT(16, 4, ANY), ENT(32, 0, ANY) };

	CHECK_OK(t_create(e, ROOT, "acl", S_IFDIR | 0755, &dir));
	CHECK_OK(t_create(e, dir.ino, "file", S_IFREG | 0644, &file));
	/* as a mode: nothing is kept */
	CHECK_OK(x_acl(e, file.ino, false, ACL(ENT(1, 7, ANY), ENT(4, 5, ANY), ENT(32, 1, ANY)),
		NULL));
	CHECK_EQ(mode_of(e, file.ino), 0751);
	CHECK(acl_is(e, file.ino, CSV_ACL_ACCESS, NULL, 0));
	/* the mask is the group's part of the mode; chmod sets it */
	CHECK_OK(x_acl(e, file.ino, false, ACL(ENT(1, 6, ANY), ENT(2, 7, 1000), ENT(4, 5, ANY),
		ENT(16, 6, ANY), ENT(32, 0, ANY)), NULL));
	CHECK_EQ(mode_of(e, file.ino), 0660);
	attr.mode = 0640;
	CHECK_OK(t_set(e, file.ino, CSV_SET_MODE, &attr, NULL));
	CHECK(acl_is(e, file.ino, CSV_ACL_ACCESS, cut, sizeof(cut)));
	CHECK_OK(x_acl(e, file.ino, false, NULL, 0, NULL));
	CHECK(acl_is(e, file.ino, CSV_ACL_ACCESS, NULL, 0));
	CHECK_EQ(mode_of(e, file.ino), 0640);
	/* what makes no sense */
	CHECK_EQ(x_acl(e, file.ino, false, ACL(ENT(1, 7, ANY), ENT(4, 5, ANY)), NULL), -EINVAL);
	CHECK_EQ(x_acl(e, file.ino, false, ACL(ENT(4, 7, ANY), ENT(1, 5, ANY), ENT(32, 0, ANY)),
			 NULL), -EINVAL);
	CHECK_EQ(x_acl(e, file.ino, false, ACL(ENT(1, 7, ANY), ENT(2, 7, 5), ENT(4, 5, ANY),
			 ENT(32, 0, ANY)), NULL), -EINVAL);
	CHECK_EQ(x_acl(e, file.ino, false, ACL(ENT(1, 9, ANY), ENT(4, 5, ANY), ENT(32, 0, ANY)),
			 NULL), -EINVAL);
	CHECK_EQ(x_acl(e, file.ino, false, "\1\0\0\0", 4, NULL), -EINVAL);
	CHECK_EQ(x_acl(e, file.ino, false, "\2\0\0\0\1", 5, NULL), -EINVAL);
	CHECK_EQ(x_acl(e, file.ino, true, ACL(ENT(1, 7, ANY), ENT(4, 5, ANY), ENT(32, 0, ANY)),
			 NULL), -EACCES);
	/* inherited */
	CHECK_EQ(x_inherit(e, dir.ino, file.ino, 027), 0640);
	CHECK_OK(x_acl(e, dir.ino, true, ACL(ENT(1, 6, ANY), ENT(2, 7, 1000), ENT(4, 5, ANY),
		ENT(16, 4, ANY), ENT(32, 0, ANY)), NULL));
	CHECK_EQ(mode_of(e, dir.ino), 0755);
	CHECK_OK(t_create(e, dir.ino, "new", S_IFREG | 0666, &file));
	CHECK_EQ(x_inherit(e, dir.ino, file.ino, 0777), 0640);
	CHECK(acl_is(e, file.ino, CSV_ACL_ACCESS, cut, sizeof(cut)));
	CHECK(acl_is(e, file.ino, CSV_ACL_DEFAULT, NULL, 0));
	CHECK_OK(t_create(e, dir.ino, "sub", S_IFDIR | 02777, &sub));
	CHECK_EQ(x_inherit(e, dir.ino, sub.ino, 0777), 02640);
	CHECK(acl_is(e, sub.ino, CSV_ACL_DEFAULT, cut, sizeof(cut)));
	t_check(e);
}

/* ---- set-user-id and the like ---- */

static int run_priv(struct csv_txn *txn, void *arg)
{
	struct xcall *c = arg;

	if (!c->drop)
		return csv_priv_get(txn, c->ino, &c->left);
	return csv_priv_drop(txn, c->ino);
}

static bool has_priv(struct engine *e, uint64_t ino)
{
	struct xcall c = { .ino = ino };

	CHECK_OK(test_op_sync(e, run_priv, &c));
	return c.left;
}

static void test_priv(struct engine *e)
{
	struct csv_attr a, set = { .mode = 06755 };
	uint32_t len = 0;

	CHECK_OK(t_create(e, ROOT, "priv", S_IFREG | 0755, &a));
	CHECK(!has_priv(e, a.ino));
	CHECK_OK(t_set(e, a.ino, CSV_SET_MODE, &set, NULL));
	CHECK_OK(x_set(e, a.ino, "security.capability", "c", 1, 0));
	CHECK_OK(x_set(e, a.ino, "user.other", "o", 1, 0));
	CHECK(has_priv(e, a.ino));
	CHECK_OK(test_op_sync(e, run_priv, &(struct xcall){ .ino = a.ino, .drop = true }));
	CHECK(!has_priv(e, a.ino));
	CHECK_EQ(mode_of(e, a.ino), 0755);
	CHECK_EQ(x_get(e, a.ino, "security.capability", NULL, &len), -ENODATA);
	CHECK_OK(x_get(e, a.ino, "user.other", NULL, &len));
	CHECK_OK(x_set(e, a.ino, "security.capability", "c", 1, 0));
	CHECK(has_priv(e, a.ino));
	set.mode = 02745; /* not a program of the group's: mandatory locking of old */
	CHECK_OK(t_set(e, a.ino, CSV_SET_MODE, &set, NULL));
	CHECK_OK(test_op_sync(e, run_priv, &(struct xcall){ .ino = a.ino, .drop = true }));
	CHECK_EQ(mode_of(e, a.ino), 02745);
}

/* ---- long symlinks ---- */

static void test_symlinks(struct engine *e)
{
	static const uint32_t lens[] = { 1023, 1024, 1025, 1280, 2559, 2560, 2561, 4095 };
	char target[4200], buf[4200], name[32];
	struct csv_attr a;
	uint32_t len;

	for (size_t i = 0; i < sizeof(target); i++)
		target[i] = 'a' + i % 23;
	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		char keep = target[lens[i]];

		target[lens[i]] = 0;
		snprintf(name, sizeof(name), "link %u", lens[i]);
		CHECK_OK(t_symlink(e, ROOT, name, target, &a));
		CHECK_EQ(a.size, lens[i]);
		len = sizeof(buf);
		CHECK_OK(t_readlink(e, a.ino, buf, &len));
		CHECK_EQ(len, lens[i]);
		CHECK(memcmp(buf, target, len) == 0);
		len = 100;
		CHECK_OK(t_readlink(e, a.ino, buf, &len));
		CHECK_EQ(len, 100);
		target[lens[i]] = keep;
	}
	target[4096] = 0;
	CHECK_EQ(t_symlink(e, ROOT, "longer", target, &a), -ENAMETOOLONG);
	t_check(e);
	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		snprintf(name, sizeof(name), "link %u", lens[i]);
		CHECK_OK(t_unlink(e, ROOT, name, false, &a));
	}
	t_reap(e);
	t_check(e);
}

/* ---- corrupters ---- */

static uint64_t victim, victim_link;

/* Puts an entry into the attributes of victim, or takes one away (val NULL). */
static int plant(struct csv_txn *txn, uint64_t key, const void *val, uint32_t len)
{
	struct csv_inode inode;
	struct csv_tree tree;
	int err = csv_inode_load(txn, victim, &inode);

	csv_xattr_tree_get(&inode, &tree);
	if (!err)
		err = val ? csv_tree_insert(txn, &tree, key, val, len)
			  : csv_tree_remove(txn, &tree, key);
	if (!err)
		err = csv_xattr_tree_put(&inode, &tree);
	return err ? err : csv_inode_store(txn, &inode);
}

static uint64_t key_of(struct csv_txn *txn, const char *name)
{
	return csv_xattr_hash(csv_fs_geometry(csv_txn_fs(txn)), name, strlen(name));
}

static int lost_piece(struct csv_txn *txn, void *arg)
{
	return plant(txn, key_of(txn, "big") | 1, NULL, 0);
}

static int lost_last(struct csv_txn *txn, void *arg)
{
	return plant(txn, key_of(txn, "big") | 4, NULL, 0);
}

static int lost_first(struct csv_txn *txn, void *arg)
{
	return plant(txn, key_of(txn, "big"), NULL, 0);
}

static int more_pieces(struct csv_txn *txn, void *arg)
{
	return plant(txn, key_of(txn, "small") | 1, "more", 4);
}

static int no_name(struct csv_txn *txn, void *arg)
{
	return plant(txn, 0x1230000, "\0\0\0\0\0\0\0\0", 8);
}

static int wrong_len(struct csv_txn *txn, void *arg)
{
	return plant(txn, 0x1230000, "\1\0\0\0\1\0\0\0n", 9);
}

static int wrong_hash(struct csv_txn *txn, void *arg)
{
	return plant(txn, 0x1230000, "\0\0\0\0\1\0\0\0n", 9);
}

static int twice(struct csv_txn *txn, void *arg)
{
	return plant(txn, key_of(txn, "small") | 0x300, "\0\0\0\0\5\0\0\0small", 13);
}

static int blocks_wrong(struct csv_txn *txn, void *arg)
{
	struct csv_inode inode;
	int err = csv_inode_load(txn, victim, &inode);

	inode.rec.xattr_blks = le32_of(le32_get(inode.rec.xattr_blks) + 1);
	return err ? err : csv_inode_store(txn, &inode);
}

static int level_wrong(struct csv_txn *txn, void *arg)
{
	struct csv_inode inode;
	int err = csv_inode_load(txn, victim, &inode);

	inode.rec.xattrs.level = 16;
	return err ? err : csv_inode_store(txn, &inode);
}

static int link_cut(struct csv_txn *txn, void *arg)
{
	struct csv_inode inode;
	struct csv_tree tree;
	int err = csv_inode_load(txn, victim_link, &inode);

	csv_inode_tree_get(&inode, &tree);
	if (!err)
		err = csv_tree_remove(txn, &tree, 1);
	if (!err)
		err = csv_inode_tree_put(&inode, &tree);
	return err ? err : csv_inode_store(txn, &inode);
}

static const struct corrupter {
	const char *code;
	int (*fn)(struct csv_txn *txn, void *arg);
} corrupters[] = {
	{ "bad-xattr", lost_piece },
	{ "bad-xattr", lost_last },
	{ "bad-xattr", lost_first },
	{ "bad-xattr", more_pieces },
	{ "bad-xattr", no_name },
	{ "bad-xattr", wrong_len },
	{ "xattr-hash", wrong_hash },
	{ "xattr-twice", twice },
	{ "inode-blocks", blocks_wrong },
	{ "bad-inode", level_wrong },
	{ "bad-symlink", link_cut },
};

struct codes {
	const char *want;
	bool found;
};

static void on_msg(void *arg, const char *text)
{
	struct codes *c = arg;

	c->found |= strncmp(text, c->want, strlen(c->want)) == 0 && text[strlen(c->want)] == ':';
}

static void test_corrupters(void)
{
	char target[3000];

	memset(target, 't', sizeof(target));
	target[sizeof(target) - 1] = 0;
	for (size_t i = 0; i < ARRAY_SIZE(corrupters); i++) {
		struct codes codes = { .want = corrupters[i].code };
		struct csv_check_report report;
		struct xcall c = { 0 };
		struct engine e;
		struct csv_attr a;
		uint32_t len;

		engine_device(&e, "ram:32M", true, 0, 0);
		engine_open(&e, 0);
		CHECK_OK(t_create(&e, ROOT, "file", S_IFREG | 0644, &a));
		victim = a.ino;
		CHECK_OK(x_set(&e, victim, "big", bytes, 6000, 0));
		CHECK_OK(x_set(&e, victim, "small", "value", 5, 0));
		CHECK_OK(t_symlink(&e, ROOT, "link", target, &a));
		victim_link = a.ino;
		t_check(&e);
		CHECK_OK(test_op_sync(&e, corrupters[i].fn, NULL));
		CHECK_OK(csv_check(e.fs, on_msg, &codes, &report));
		if (!codes.found)
			fprintf(stderr, "%s was not found\n", codes.want);
		CHECK(codes.found && report.errors);
		/* The engine gets on with it: errors, no crash. */
		len = sizeof(got);
		(void)!x_get(&e, victim, "big", got, &len);
		len = sizeof(got);
		(void)!x_list(&e, victim, got, &len);
		(void)!x_set(&e, victim, "big", bytes, 100, 0);
		(void)!x_set(&e, victim, "n", bytes, 60000, 0);
		(void)!x_remove(&e, victim, "small");
		c.ino = victim;
		(void)!test_op_sync(&e, run_clear, &c);
		len = sizeof(got);
		(void)!t_readlink(&e, victim_link, (char *)got, &len);
		CHECK_OK(csv_fs_error(e.fs));
		CHECK_EQ(repair_all(&e), 0);
		t_check(&e);
		CHECK_OK(engine_close(&e));
		engine_done(&e);
	}
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	uint32_t nr_ops = argc > 2 ? strtoul(argv[2], NULL, 0) : 1200;
	struct engine e;

	test_random(seed, nr_ops);
	if (argc == 1)
		test_random(2, nr_ops);
	log_set_level((enum log_level)-1); /* errors on purpose */
	test_faults();
	engine_device(&e, "ram:32M", true, 0, 0);
	engine_open(&e, 0);
	test_limits(&e);
	test_acl(&e);
	test_priv(&e);
	test_symlinks(&e);
	CHECK_OK(engine_close(&e));
	engine_done(&e);
	test_full();
	test_corrupters();
	return 0;
}
