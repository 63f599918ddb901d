/* libs: util blockdev journal core */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A repair that is cut off at any write can be begun again, and loses no more than one that was not:
 * (R1). After each cut the device holds what was written, or only what was flushed.
 *
 *	CSVFS_TEST_FULL=1 unit-core_repair_cut [INDEX]: every cut of each corrupter
 */
#include "tests/unit/core_image.h"
#include "tests/unit/core_repair.h"
#include "util/log.h"

static void apply(uint8_t *image, const struct bdev_crash_event *ev)
{
	if (ev->op == BDEV_WRITE)
		memcpy(image + ev->off_bytes, ev->data, ev->len_bytes);
	else if (ev->op == BDEV_WRITE_ZEROES)
		memset(image + ev->off_bytes, 0, ev->len_bytes);
}

/* What the device holds after the first cut events, if all of them arrived; or, after a loss of power,
 * what flushes among them cover. */
static void make_image(uint8_t *image, const uint8_t *base, const struct bdev *crash, uint64_t first,
	uint64_t cut, bool power)
{
	uint64_t sure = first;

	memcpy(image, base, IMAGE_BYTES);
	for (uint64_t i = first; i < cut && power; i++) {
		const struct bdev_crash_event *ev = bdev_crash_event(crash, i);

		if (ev->op == BDEV_FLUSH && ev->flush_covers > sure)
			sure = ev->flush_covers;
	}
	for (uint64_t i = first; i < (power ? sure : cut); i++)
		apply(image, bdev_crash_event(crash, i));
}

/* The whole repair; what is lost by it compared with before. */
static uint32_t repair_image(const char *uri, const uint8_t *image,
	const struct tree_of_files *before, struct engine *e, uint64_t *ret_first)
{
	struct tree_of_files after;
	uint32_t lost;

	image_load(e, uri, image);
	*ret_first = strstr(uri, "crash") ? bdev_crash_nr_events(e->ram) : 0;
	engine_open(e, 0);
	CHECK_EQ(repair_all(e), 0);
	see(e, &after);
	lost = seen_lost(before, &after, false);
	free(after.seen);
	CHECK_OK(engine_close(e));
	return lost;
}

static void test_cuts(size_t i, const uint8_t *good, bool full)
{
	uint8_t *base, *cut_image = malloc(IMAGE_BYTES);
	struct tree_of_files before;
	struct engine e, e2;
	uint64_t first, nr, step, dummy, cuts = 0;
	uint32_t lost;

	CHECK(cut_image);
	image_load(&e, IMAGE_URI, good);
	engine_open(&e, 0);
	see(&e, &before);
	name_arg = corrupters[i].code;
	CHECK_OK(test_op_sync(&e, corrupters[i].fn, NULL));
	base = image_save(&e);
	lost = repair_image("crash|" IMAGE_URI, base, &before, &e, &first);
	nr = bdev_crash_nr_events(e.ram);
	step = full || nr - first < 4 ? 1 : nr - first - 1; /* one, elsewhere each time */
	for (uint64_t cut = first + 1 + i * 7 % step; cut < nr; cut += step) {
		for (int power = 0; power < 2; power++) {
			uint32_t now;

			make_image(cut_image, base, e.ram, first, cut, power);
			now = repair_image(IMAGE_URI, cut_image, &before, &e2, &dummy);
			engine_done(&e2);
			if (now > lost)
				fprintf(stderr, "%zu %s, cut %llu, power %d: %u lost, not %u\n", i,
					name_arg, (unsigned long long)(cut - first), power, now,
					lost);
			CHECK(now <= lost);
			cuts++;
		}
	}
	printf("%zu %s: %llu events, %llu cuts, %u contents lost\n", i, name_arg,
		(unsigned long long)(nr - first), (unsigned long long)cuts, lost);
	engine_done(&e);
	free(base);
	free(cut_image);
	free(before.seen);
}

int main(int argc, char **argv)
{
	bool full = getenv("CSVFS_TEST_FULL");
	uint8_t *good;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!getenv("SHOW_LOG"))
		log_set_level((enum log_level)-1);
	good = image_make();
	for (size_t i = 0; i < ARRAY_SIZE(corrupters); i++)
		if (argc < 2 || i == strtoul(argv[1], NULL, 0))
			test_cuts(i, good, full);
	free(good);
	return 0;
}
