/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A filter that sends requests down in random order, some rounds of the loop later, the same for
 * the same seed. It stands under `crash`, and remembers how many events that had recorded when each
 * of its events was submitted: what could be in flight when the power fails.
 */
#ifndef TESTS_UNIT_JOURNAL_SHUFFLE_H
#define TESTS_UNIT_JOURNAL_SHUFFLE_H

#include "blockdev/bdev_internal.h"
#include "tests/unit/test.h"

struct shuffle {
	struct bdev bdev;
	const struct bdev *crash;
	uint64_t rnd;
	/* A request goes down with a chance of 1 in slow in each round: flushes, requests in
	 * [mid, end), others. */
	uint64_t slow[3], mid, end;
	uint64_t *born; /* [n]: events recorded when the nth change (from 1) was submitted */
	uint64_t nr_born, max_born;
};

struct shuffle_queue {
	struct bdev_queue queue;
	struct list held; /* bdev_io.node */
	struct loop_work work;
	bool armed;
};

struct shuffle_io {
	struct bdev_io io;
	struct bdev_req child;
};

/* splitmix64 */
static inline uint64_t rnd_next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static inline struct shuffle_queue *to_sq(struct bdev_queue *queue)
{
	return container_of(queue, struct shuffle_queue, queue);
}

static void shuffle_arm(struct shuffle_queue *sq)
{
	if (sq->armed || list_empty(&sq->held))
		return;
	sq->armed = true;
	loop_defer(sq->queue.loop, &sq->work);
}

static bool shuffle_go(struct shuffle *s, const struct bdev_io *io)
{
	unsigned kind = 2;

	if (io->op == BDEV_FLUSH)
		kind = 0;
	else if (io->off_bytes >= s->mid && io->off_bytes < s->end)
		kind = 1;
	return rnd_next(&s->rnd) % s->slow[kind] == 0;
}

static void shuffle_run(struct loop_work *work)
{
	struct shuffle_queue *sq = container_of(work, struct shuffle_queue, work);
	struct shuffle *s = container_of(sq->queue.bdev, struct shuffle, bdev);
	struct list go, *pos, *tmp;

	sq->armed = false;
	list_init(&go);
	list_for_each_safe (pos, tmp, &sq->held) {
		if (!shuffle_go(s, list_entry(pos, struct bdev_io, node)))
			continue;
		list_del(pos);
		if (rnd_next(&s->rnd) % 2)
			list_add(&go, pos);
		else
			list_add_tail(&go, pos);
	}
	while (!list_empty(&go)) {
		struct shuffle_io *io = list_entry(go.next, struct shuffle_io, io.node);

		list_del(&io->io.node);
		bdev_filter_forward(&io->io, &io->child, NULL);
	}
	shuffle_arm(sq);
}

static void shuffle_note(struct shuffle *s)
{
	if (s->nr_born + 1 >= s->max_born) {
		s->max_born = s->max_born * 2 + 256;
		s->born = realloc(s->born, s->max_born * sizeof(*s->born));
		CHECK(s->born);
	}
	s->born[++s->nr_born] = bdev_crash_nr_events(s->crash);
}

static void shuffle_submit(struct bdev_queue *queue, struct bdev_io *io)
{
	struct shuffle_queue *sq = to_sq(queue);
	struct list *pos;

	if (io->op == BDEV_WRITE || io->op == BDEV_FLUSH)
		shuffle_note(container_of(queue->bdev, struct shuffle, bdev));
	list_for_each (pos, &sq->held) {
		const struct bdev_io *other = list_entry(pos, struct bdev_io, node);

		/* Nobody may rely on the order of two writes to one place. */
		if (io->op == BDEV_WRITE && other->op == BDEV_WRITE)
			CHECK(io->off_bytes + io->len_bytes <= other->off_bytes ||
				other->off_bytes + other->len_bytes <= io->off_bytes);
	}
	list_add_tail(&sq->held, &io->node);
	shuffle_arm(sq);
}

static int shuffle_queue_open(struct bdev_queue *queue)
{
	list_init(&to_sq(queue)->held);
	to_sq(queue)->work.fn = shuffle_run;
	return 0;
}

static void shuffle_close(struct bdev *bdev)
{
	free(container_of(bdev, struct shuffle, bdev)->born);
}

static const struct bdev_ops shuffle_ops = {
	.name = "shuffle",
	.bdev_bytes = sizeof(struct shuffle),
	.queue_bytes = sizeof(struct shuffle_queue),
	.io_bytes = sizeof(struct shuffle_io),
	.close = shuffle_close,
	.submit = shuffle_submit,
	.queue_open = shuffle_queue_open,
};

/* Makes crash over shuffle over lower. */
static inline struct shuffle *shuffle_new(
	struct bdev *lower, uint64_t seed, struct bdev **ret_crash)
{
	struct bdev *bdev;
	struct shuffle *s;

	CHECK_OK(bdev_filter_new(&shuffle_ops, lower, &bdev));
	s = container_of(bdev, struct shuffle, bdev);
	s->rnd = seed;
	s->slow[0] = s->slow[1] = s->slow[2] = 3;
	CHECK_OK(bdev_crash_new(bdev, ret_crash));
	s->crash = *ret_crash;
	return s;
}

#endif
