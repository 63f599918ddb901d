/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Repairing a volume in tests, and what is on it before and after. */
#ifndef TESTS_UNIT_CORE_REPAIR_H
#define TESTS_UNIT_CORE_REPAIR_H

#include "tests/unit/core_ops.h"

static bool repair_verbose;

static inline void repair_msg(void *arg, const char *text)
{
	if (repair_verbose)
		printf("  %s\n", text);
}

static inline void repair_fixed(void *arg, const char *text)
{
	if (repair_verbose)
		printf("  -> %s\n", text);
}

static inline int repair_pass(struct engine *e, bool safe_only, struct csv_repair_report *ret)
{
	struct csv_repair_opts opts = { .write = true, .safe_only = safe_only, .now_ns = 77,
		.msg = repair_msg, .fixed = repair_fixed };

	return csv_repair(e->fs, &opts, ret);
}

/* Until nothing is left to be done; how many errors there are then. The engine is a new one. */
static inline uint64_t repair_all(struct engine *e)
{
	struct csv_repair_report rep = { 0 };

	for (int pass = 0; pass < 40; pass++) {
		CHECK_OK(repair_pass(e, false, &rep));
		CHECK_OK(engine_close(e));
		engine_open(e, 0);
		if (rep.fixed == 0)
			return rep.check.errors;
		if (repair_verbose)
			printf("  -- pass %d: %llu errors, %llu fixed, %llu failed\n", pass,
				(unsigned long long)rep.check.errors,
				(unsigned long long)rep.fixed, (unsigned long long)rep.failed);
	}
	fprintf(stderr, "the repair does not come to an end\n");
	exit(1);
}

/* ---- what is on a volume ---- */

struct seen {
	char path[400];
	uint64_t ino, hash;
};

struct tree_of_files {
	struct seen *seen;
	uint32_t nr, max;
};

static inline uint64_t seen_hash(uint64_t hash, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len-- > 0)
		hash = (hash ^ *p++) * 1099511628211ull;
	return hash;
}

static inline uint64_t seen_content(struct engine *e, const struct csv_attr *a)
{
	uint8_t buf[CSV_INLINE_MAX];
	uint32_t len = sizeof(buf), nr;
	uint64_t hash = 14695981039346656037ull, blk = 0;
	struct csv_extent x[16];

	hash = seen_hash(hash, &a->mode, sizeof(a->mode));
	if (S_ISDIR(a->mode))
		return hash;
	hash = seen_hash(hash, &a->size, sizeof(a->size));
	if (S_ISLNK(a->mode) && t_readlink(e, a->ino, (char *)buf, &len) == 0)
		return seen_hash(hash, buf, len);
	if (a->data_kind == CSV_DATA_INLINE && t_inline_get(e, a->ino, buf, &len) == 0)
		return seen_hash(hash, buf, len);
	while (S_ISREG(a->mode) && blk < 1100 &&
		t_map(e, a->ino, blk, 1100 - blk, x, ARRAY_SIZE(x), &nr) == 0) {
		for (uint32_t i = 0; i < nr; i++)
			for (uint64_t b = 0; b < x[i].nr; b++) {
				uint64_t one[3] = { x[i].blk + b, x[i].state,
					x[i].phys ? x[i].phys + b : 0 };

				hash = seen_hash(hash, one, sizeof(one));
			}
		blk = x[nr - 1].blk + x[nr - 1].nr;
	}
	return hash;
}

static inline void seen_walk(struct engine *e, uint64_t dir, const char *path,
	struct tree_of_files *to, int depth)
{
	struct listing l = { .limit = 2000 };

	CHECK(depth < 10);
	if (t_readdir(e, dir, 0, false, &l))
		l.nr = 0;
	for (uint32_t i = 0; i < l.nr; i++) {
		struct csv_attr a;
		struct seen *s;

		if (t_lookup(e, dir, l.ents[i].name, &a))
			continue;
		if (to->nr == to->max) {
			to->max = to->max ? to->max * 2 : 256;
			to->seen = realloc(to->seen, to->max * sizeof(*to->seen));
			CHECK(to->seen);
		}
		s = &to->seen[to->nr++];
		snprintf(s->path, sizeof(s->path), "%.120s/%s", path, l.ents[i].name);
		s->ino = a.ino;
		s->hash = seen_content(e, &a);
		if (S_ISDIR(a.mode)) {
			char sub[400];

			snprintf(sub, sizeof(sub), "%s", s->path);
			seen_walk(e, a.ino, sub, to, depth + 1);
		}
	}
	free(l.ents);
}

static inline void see(struct engine *e, struct tree_of_files *ret)
{
	memset(ret, 0, sizeof(*ret));
	seen_walk(e, CSV_ROOT_INO, "", ret, 0);
}

/* How many of before's are not in after: by path and content, or by content alone. */
static inline uint32_t seen_lost(const struct tree_of_files *before,
	const struct tree_of_files *after, bool by_path)
{
	uint32_t lost = 0;

	for (uint32_t i = 0; i < before->nr; i++) {
		const struct seen *b = &before->seen[i];
		bool found = false;

		for (uint32_t j = 0; j < after->nr && !found; j++) {
			const struct seen *a = &after->seen[j];

			found = a->ino == b->ino && a->hash == b->hash &&
				(!by_path || !strcmp(a->path, b->path));
		}
		if (!found && repair_verbose)
			printf("  lost: %s (inode %llu)\n", b->path, (unsigned long long)b->ino);
		lost += !found;
	}
	return lost;
}

#endif
