/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: util core proto node */
/* also plain: a limit of memory */
/* What a node keeps of what it was told is bounded, as it counts it and as the heap has it. */
#include <errno.h>
#include <malloc.h>

#include "csvfs/node/meta.h"
#include "tests/unit/test.h"
#include "util/checked.h"

#define LIMIT (64ull << 20)
#define DIRS 16u

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HEAP_LIMIT UINT64_MAX /* theirs */
#else
#define HEAP_LIMIT (LIMIT + LIMIT / 2)
#endif

static uint64_t heap(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

/* The answer to a lookup of the nth name: an inode, or that there is none. */
static void learn(struct meta *m, uint32_t nth, bool there)
{
	struct csvp_msg ask, reply;
	struct csvp_in in;
	char name[32];
	uint32_t len = (uint32_t)sprintf(name, "file-%09u", nth);

	csvp_begin(&ask, CSVP_LOOKUP, 0, 0, nth);
	struct csvp_name *b = csvp_put(&ask, sizeof(*b));
	CHECK(b);
	b->dir = le64_of(1 + nth % DIRS);
	b->name_len = le32_of(len);
	csvp_put_bytes(&ask, name, len);
	CHECK_OK(csvp_finish(&ask));
	csvp_begin(&reply, CSVP_LOOKUP, CSVP_REPLY | CSVP_KEEP_NAMES | CSVP_KEEP_ATTR,
		there ? 0 : -ENOENT, nth);
	if (there) {
		struct csvp_attr *attr = csvp_put(&reply, sizeof(*attr));
		CHECK(attr);
		attr->ino = le64_of(1000 + nth);
	}
	CHECK_OK(csvp_finish(&reply));
	CHECK_OK(csvp_open(&in, reply.data, reply.len));
	meta_learn(m, &ask, there ? 0 : -ENOENT, in);
	csvp_free(&ask);
	csvp_free(&reply);
}

static bool knows(struct meta *m, uint32_t nth, int want)
{
	struct csvp_attr attr;
	char name[32];
	int status;
	uint32_t len = (uint32_t)sprintf(name, "file-%09u", nth);

	if (!meta_lookup(m, 1 + nth % DIRS, name, len, &attr, &status))
		return false;
	CHECK_EQ(status, want);
	return true;
}

static void fill(uint32_t nr, bool there)
{
	uint64_t before = heap(), peak = 0, known = 0;
	struct meta m;

	meta_init(&m);
	for (uint32_t i = 0; i < nr; i++) {
		learn(&m, i, there);
		CHECK(m.bytes <= LIMIT);
		if (i % 1024 == 0)
			peak = MAX(peak, heap() - before);
	}
	if (there)
		CHECK(knows(&m, nr - 1, 0));
	for (uint32_t i = 0; i < nr; i++)
		known += knows(&m, i, there ? 0 : -ENOENT);
	CHECK(known > 0 && known < nr); /* the limit was met */
	printf("%s: %.1f MiB by its own count, %.1f MiB of heap at most\n",
		there ? "names with attributes" : "names that are not there", (double)m.bytes / 1048576,
		(double)peak / 1048576);
	CHECK(peak <= HEAP_LIMIT);
	meta_done(&m);
	CHECK_EQ(m.bytes, 0);
}

int main(void)
{
	fill(400000, true);
	fill(1100000, false);
	return 0;
}
