/* libs: util blockdev journal core */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * csv_repair() puts right what each corrupter does: the check is clean afterwards, the engine works,
 * and of the other files nothing has changed.
 *
 *	unit-core_repair [INDEX]
 */
#include "tests/unit/core_corrupt.h"
#include "tests/unit/core_repair.h"
#include "util/log.h"

/* What may be lost: names, and contents. The rest of some 106 must be as before. */
static const struct {
	const char *code;
	int names, contents;
} losses[] = {
	{ "bad-inode", 0, 0 },
	{ "dir-names", 3, 0 },
	{ "dir-loop", 104, 0 },
	{ "unreachable", 2, 0 },
	{ "dirent-inode", 1, 0 },
	{ "dirent-hash", 1, 0 },
	{ "bad-dirent", 1, 0 },
	{ "dup-block", 3, 3 },
	{ "layer-base", 1, 1 },
	{ "lost-inode", 1, 1 }, /* its mode and size */
};

static void lost_at_most(const char *code, int *names, int *contents)
{
	*names = *contents = 0;
	for (size_t i = 0; i < ARRAY_SIZE(losses); i++)
		if (!strcmp(losses[i].code, code)) {
			*names = losses[i].names;
			*contents = losses[i].contents;
		}
}

static void still_works(struct engine *e)
{
	struct csv_attr a;

	CHECK_OK(t_create(e, ROOT, "after", S_IFREG | 0644, &a));
	CHECK_OK(t_alloc(e, a.ino, 0, 100));
	CHECK_OK(t_create(e, ROOT, "after dir", S_IFDIR | 0755, &a));
	t_check(e);
}

static void test_code(size_t i)
{
	struct tree_of_files before, after;
	int names, contents;
	struct engine e;
	uint64_t left;

	begin(&e);
	see(&e, &before);
	name_arg = corrupters[i].code;
	CHECK_OK(test_op_sync(&e, corrupters[i].fn, NULL));
	CHECK_OK(engine_close(&e));
	engine_open(&e, 0);
	left = repair_all(&e);
	see(&e, &after);
	lost_at_most(name_arg, &names, &contents);
	printf("%zu %s: %llu errors left, %u names, %u contents lost\n", i, name_arg,
		(unsigned long long)left, seen_lost(&before, &after, true),
		seen_lost(&before, &after, false));
	CHECK_EQ(left, 0);
	t_check(&e);
	CHECK((int)seen_lost(&before, &after, true) <= names);
	CHECK((int)seen_lost(&before, &after, false) <= contents);
	still_works(&e);
	CHECK_OK(engine_close(&e));
	engine_done(&e);
	free(before.seen);
	free(after.seen);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!getenv("SHOW_LOG"))
		log_set_level((enum log_level)-1);
	repair_verbose = argc > 1;
	for (size_t i = 0; i < ARRAY_SIZE(corrupters); i++)
		if (argc < 2 || i == strtoul(argv[1], NULL, 0))
			test_code(i);
	return 0;
}
