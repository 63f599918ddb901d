/* SPDX-License-Identifier: GPL-2.0-or-later */
/* States: which there are, how they are put on a device, and one after the other. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/crash/hooks.h"
#include "tests/crash/state_internal.h"
#include "tests/unit/test.h"
#include "util/checked.h"

#define NR_FIXED 6u


static struct trial *trial_new(void)
{
	struct trial *t = calloc(1, sizeof(*t));

	CHECK(t);
	CHECK_OK(loop_new(&t->loop));
	image_init(&t->sure, junk_bytes());
	t->mem = mem_new(t->sure.bytes);
	CHECK_OK(bdev_queue_open(t->mem, t->loop, &t->queue));
	return t;
}

static void trial_free(struct trial *t)
{
	bdev_queue_close(t->queue);
	bdev_close(t->mem);
	loop_free(t->loop);
	image_done(&t->sure);
	free(t);
}

/* ---- the pieces of a state: what it has more than sure ---- */

struct piece {
	uint64_t off, len;
	const uint8_t *data;
};

struct state {
	struct piece *piece;
	uint32_t nr, max;
	bool whole;    /* everything that was done is there */
	uint64_t what; /* there was to choose from */
};

static void keep(struct state *s, const struct ev *ev, uint64_t from, uint64_t to)
{
	if (from >= to)
		return;
	if (s->nr == s->max) {
		s->max = s->max * 2 + 256;
		s->piece = reallocarray(s->piece, s->max, sizeof(*s->piece));
		CHECK(s->piece);
	}
	s->piece[s->nr++] = (struct piece){ ev->off + from, to - from,
		ev->data ? ev->data + from : NULL };
}

static void tear(struct state *s, const struct ev *ev, uint64_t *rnd)
{
	uint64_t sectors = ev->len / SECTOR, at = rnd_next(rnd) % (sectors + 1);

	switch (rnd_next(rnd) % 3) {
	case 0:
		keep(s, ev, 0, at * SECTOR);
		break;
	case 1:
		keep(s, ev, at * SECTOR, ev->len);
		break;
	case 2: /* all but a few sectors */
		for (uint64_t i = 0; i < sectors; i = at + 1) {
			at = i + rnd_next(rnd) % 24;
			at = MIN(at, sectors);
			keep(s, ev, i * SECTOR, at * SECTOR);
		}
		break;
	}
}

/* What the nth subset at a cut keeps of what is not sure. */
static void choose(struct state *s, const struct ev *evs, uint64_t nr_evs, uint64_t covered,
	uint64_t cut, uint64_t nth, uint64_t *rnd)
{
	static const unsigned percent[] = { 5, 25, 50, 75, 95 };
	unsigned keep_pc = percent[rnd_next(rnd) % ARRAY_SIZE(percent)];
	unsigned tear_pc = rnd_next(rnd) % 2 ? 20 : 0;
	uint64_t odd = rnd_next(rnd), end = MIN(nr_evs, cut + 4096);

	s->nr = 0;
	s->what = 0;
	s->whole = nth < 2;
	for (uint64_t i = covered; i < end; i++)
		s->what += evs[i].len && (i < cut || evs[i].born <= cut);
	odd %= s->what + 1;
	for (uint64_t i = covered; i < end; i++) {
		const struct ev *ev = &evs[i];
		bool in_flight = i >= cut, kept = rnd_next(rnd) % 100 < keep_pc;

		if (!ev->len || (in_flight && ev->born > cut))
			continue;
		if (nth == 0)
			kept = !in_flight;
		else if (nth == 1)
			kept = !in_flight || kept;
		else if (nth == 2)
			kept = false;
		else if (nth == 3)
			kept = in_flight;
		else if (nth == 4)
			kept = odd-- != 0;
		else if (nth == 5)
			kept = odd-- == 0;
		if (nth >= NR_FIXED && rnd_next(rnd) % 100 < tear_pc)
			tear(s, ev, rnd);
		else if (nth == 1 && in_flight && rnd_next(rnd) % 2)
			tear(s, ev, rnd);
		else if (kept)
			keep(s, ev, 0, ev->len);
	}
}

static void put_state(struct image *im, const struct state *s)
{
	for (uint32_t i = 0; i < s->nr; i++)
		image_put(im, s->piece[i].off, s->piece[i].data, s->piece[i].len);
}

/* sure has changed there: what is tried begins there. */
static void follow(struct trial *t, uint64_t off, uint64_t len)
{
	memcpy(mem_image(t->mem)->bytes + off, t->sure.bytes + off, len);
}

static void trial_load(struct trial *t, const struct snap *content)
{
	image_reset(mem_image(t->mem));
	for (uint32_t i = 0; i < t->sure.nr_dirty; i++)
		memcpy(mem_image(t->mem)->bytes + (uint64_t)t->sure.dirty[i] * BLK,
			junk_bytes() + (uint64_t)t->sure.dirty[i] * BLK, BLK);
	image_reset(&t->sure);
	for (uint32_t i = 0; i < content->nr; i++) {
		uint64_t off = (uint64_t)content->blk[i] * BLK;

		image_put(&t->sure, off, content->data + (uint64_t)i * BLK, BLK);
		follow(t, off, BLK);
	}
	t->covered = 0;
}

/* What the flushes before the cut cover goes into sure. */
static void trial_advance(struct trial *t, const struct ev *evs, uint64_t cut, bool lying)
{
	uint64_t covered = t->covered;

	if (cut > 0 && !lying)
		covered = MAX(covered, evs[cut - 1].covers);
	for (; t->covered < covered; t->covered++) {
		const struct ev *ev = &evs[t->covered];

		if (!ev->len)
			continue;
		image_put(&t->sure, ev->off, ev->data, ev->len);
		follow(t, ev->off, ev->len);
	}
}

static void list_model(const struct model *m, uint64_t k)
{
	struct model at;

	model_at(m, k, &at);
	for (uint32_t i = 0; i < at.nr_entries; i++) {
		struct model_inode *n = model_inode(&at, at.entries[i].ino);

		fprintf(stderr, "    %" PRIu64 "/%.24s: inode %" PRIu64 " mode %o nlink %u size %" PRIu64
				"\n", at.entries[i].dir, at.entries[i].name, n->ino, n->mode, n->nlink,
			n->size);
	}
	model_free(&at);
}

static void failure(struct explore *x)
{
	char id[160], *colon;

	if (x->st->quiet)
		return;
	if (x->sim && x->st->only && getenv("CRASH_LIST")) {
		fprintf(stderr, "  it should be (step %" PRIu64 "):\n", x->k);
		list_model(&x->sim->model, x->k);
	}
	snprintf(id, sizeof(id), "%s", x->id);
	while ((colon = strchr(id, ':')))
		*colon = ' ';
	fprintf(stderr, "%s\nreplay: crash-%s %s\n", x->what, x->st->workload, id);
}

/* ---- enumeration ---- */

static uint64_t state_rnd(const struct states *st, uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t x = st->seed;

	x = rnd_next(&x) ^ a;
	x = rnd_next(&x) ^ b << 20;
	x = rnd_next(&x) ^ c << 40;
	return rnd_next(&x);
}

/* What was synced before the cut, with the bytes of files or without. */
static uint64_t synced_acks(const struct sim *sim, uint64_t cut, bool bytes)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < sim->nr_syncs && sim->syncs[i].ev <= cut; i++)
		if (sim->syncs[i].bytes || !bytes)
			n = MAX(n, sim->syncs[i].ack_nr);
	return n;
}

static struct look look_at(const struct explore *x, uint64_t cut, bool whole)
{
	if (!x->sim)
		return (struct look){ .cut = cut };
	return (struct look){
		.cut = cut,
		.ack_nr = whole ? NEVER : synced_acks(x->sim, cut, true),
		.names_nr = whole ? NEVER : synced_acks(x->sim, cut, false),
	};
}

static bool wanted(const struct states *st, unsigned at, uint64_t cut, uint64_t subset)
{
	return !st->only || (st->want[at] == cut && st->want[at + 1] == subset);
}

static bool try_one(struct explore *x, struct trial *t, struct look *look, bool again)
{
	x->st->nr++;
	return x->judge(x, t, look, again);
}

/* Cuts the recording of a replay. kind 0: what the first crash left is on the platters; 1: it is not
 * flushed yet. */
static void second_crash(struct explore *x, uint64_t kind, const struct ev *evs, uint64_t nr_evs,
	const struct snap *base, const struct look *first_look, const char *id)
{
	struct states *st = x->st;
	struct trial *t = x->trial[1];
	struct state s = { 0 };

	trial_load(t, base);
	for (uint64_t cut = 0; cut <= nr_evs && !st->failed; cut++) {
		trial_advance(t, evs, cut, st->lying);
		for (uint64_t nth = 0; nth < NR_FIXED + 2 && !st->failed; nth++) {
			uint64_t rnd = state_rnd(st, cut, nth, kind + 1);
			struct look look = *first_look;

			choose(&s, evs, nr_evs, t->covered, cut, nth, &rnd);
			if ((s.what == 0 && nth > 0) || !wanted(st, 3, cut, nth))
				continue;
			snprintf(x->id, sizeof(x->id), "%s:%" PRIu64 ":%" PRIu64 ":%" PRIu64, id, kind,
				cut, nth);
			put_state(mem_image(t->mem), &s);
			st->nr_second++;
			if (!try_one(x, t, &look, false))
				failure(x);
			image_reset(mem_image(t->mem));
		}
	}
	free(s.piece);
}

/* The events of a replay behind the pieces of the state that it found. */
static struct ev *events_after(const struct state *s, const struct ev *evs, uint64_t nr)
{
	struct ev *all = calloc(s->nr + nr + 1, sizeof(*all));

	CHECK(all);
	for (uint32_t i = 0; i < s->nr; i++)
		all[i] = (struct ev){ .off = s->piece[i].off, .len = s->piece[i].len,
			.data = s->piece[i].data };
	for (uint64_t i = 0; i < nr; i++) {
		all[s->nr + i] = evs[i];
		all[s->nr + i].born += s->nr;
		if (evs[i].len == 0)
			all[s->nr + i].covers += s->nr;
	}
	return all;
}

/* Records the replay of a state and cuts it. */
static void crash_again(struct explore *x, const struct state *s, const struct look *look)
{
	struct states *st = x->st;
	struct bdev *dev, *crash, *mem;
	struct bdev_queue *queue;
	struct loop *loop;
	uint64_t nr, first;
	char id[64];

	struct snap sure, content;

	snprintf(id, sizeof(id), "%.60s", x->id);
	CHECK_OK(loop_new(&loop));
	dev = chaos_new(state_rnd(st, 1, 2, 3), &crash, &mem);
	snap_take(&sure, &x->trial[0]->sure);
	for (uint32_t i = 0; i < sure.nr; i++)
		image_put(mem_image(mem), (uint64_t)sure.blk[i] * BLK, sure.data + (uint64_t)i * BLK,
			BLK);
	put_state(mem_image(mem), s);
	snap_take(&content, mem_image(mem));
	for (unsigned i = 0; i < 3; i++)
		chaos_of(dev)->slow[i] = 3;
	CHECK_OK(bdev_queue_open(dev, loop, &queue));
	first = bdev_crash_nr_events(crash);
	struct csv_fs *fs = judge_mount(x, loop, queue);
	SPIN_UNTIL(loop, chaos_quiet(dev));
	struct ev *evs = chaos_events(dev, first, &nr);
	struct ev *all = events_after(s, evs, nr);

	for (uint64_t kind = 0; kind < 2 && fs && !st->failed; kind++) {
		if (st->only && (st->nr_want < 5 || st->want[2] != kind))
			continue;
		second_crash(x, kind, kind ? all : evs, kind ? s->nr + nr : nr,
			kind ? &sure : &content, look, id);
	}
	csv_fs_free(fs);
	bdev_queue_close(queue);
	bdev_close(dev);
	loop_free(loop);
	free(evs);
	free(all);
	snap_free(&sure);
	snap_free(&content);
}

static void try_cut(struct explore *x, const struct ev *evs, uint64_t nr_evs, uint64_t cut)
{
	struct states *st = x->st;
	struct trial *t = x->trial[0];
	static struct state s;

	for (uint64_t nth = 0; nth < NR_FIXED + st->nr_subsets && !st->failed; nth++) {
		uint64_t rnd = state_rnd(st, cut, nth, 0);
		bool again = rnd_next(&rnd) % 16 == 0;
		bool second = rnd_next(&rnd) % MAX(st->second_every, 1) == 0 && st->second_every;
		struct look look, promise = look_at(x, x->first + cut, false);

		choose(&s, evs, nr_evs, t->covered, cut, nth, &rnd);
		if ((s.what == 0 && nth > 0) || !wanted(st, 0, cut, nth))
			continue;
		snprintf(x->id, sizeof(x->id), "%" PRIu64 ":%" PRIu64 ":%" PRIu64, st->seed, cut, nth);
		look = look_at(x, x->first + cut, s.whole);
		put_state(mem_image(t->mem), &s);
		if (!try_one(x, t, &look, again))
			failure(x);
		else if (st->only ? st->nr_want > 2 : second)
			crash_again(x, &s, &promise);
		image_reset(mem_image(t->mem));
	}
}

static void ack_orders(struct explore *x)
{
	const struct sim *sim = x->sim;

	x->ack_order = calloc(sim->nr_acks + 1, sizeof(*x->ack_order));
	CHECK(x->ack_order);
	for (uint64_t n = 1; n <= sim->nr_acks; n++) {
		uint64_t k = sim->acks[n].order;

		x->ack_order[n] = x->ack_order[n - 1];
		if (k && !sim->model.steps[k].gone)
			x->ack_order[n] = MAX(x->ack_order[n], k);
	}
}

void explore_run(struct explore *x, struct bdev *dev, const struct snap *base)
{
	struct states *st = x->st;
	uint64_t nr;
	struct ev *evs = chaos_events(dev, x->first, &nr);

	hook_committed = NULL;
	x->trial[0] = trial_new();
	x->trial[1] = trial_new();
	trial_load(x->trial[0], base);
	for (uint64_t cut = 0; cut <= nr && !st->failed && st->nr < st->max; cut++) {
		trial_advance(x->trial[0], evs, cut, st->lying);
		if (cut % st->every && !st->only)
			continue;
		st->nr_cuts++;
		if (!st->only || st->want[0] == cut)
			try_cut(x, evs, nr, cut);
	}
	free(evs);
	judge_done(x);
	if (st->failed) /* a mount that failed may still hold the queue */
		return;
	trial_free(x->trial[0]);
	trial_free(x->trial[1]);
}

void states_try(struct states *st, struct sim *sim, uint64_t first, const struct snap *base)
{
	struct explore x = { .judge = judge_volume, .st = st, .sim = sim, .first = first };

	model_sort(&sim->model);
	ack_orders(&x);
	explore_run(&x, sim->dev, base);
	free(x.ack_order);
}
