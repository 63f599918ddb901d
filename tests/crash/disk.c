/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/crash/disk.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "blockdev/bdev_internal.h"
#include "tests/unit/test.h"

#define NR_BLKS (DISK_BYTES / BLK)

/* ---- images ---- */

static int junk_fd = -1;

const uint8_t *junk_bytes(void)
{
	static uint64_t *junk;

	if (junk)
		return (const uint8_t *)junk;
	junk_fd = memfd_create("junk", MFD_CLOEXEC);
	CHECK(junk_fd >= 0 && ftruncate(junk_fd, DISK_BYTES) == 0);
	junk = mmap(NULL, DISK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, junk_fd, 0);
	CHECK(junk != MAP_FAILED);
	for (uint64_t i = 0; i < DISK_BYTES / 8; i++)
		junk[i] = 0x6a756e6b00000000 + i;
	return (const uint8_t *)junk;
}

void image_init(struct image *im, const uint8_t *base)
{
	(void)junk_bytes();
	im->base = base;
	im->bytes = mmap(NULL, DISK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE, junk_fd, 0);
	CHECK(im->bytes != MAP_FAILED);
	im->is_dirty = calloc(1, NR_BLKS);
	im->dirty = calloc(NR_BLKS, sizeof(*im->dirty));
	im->nr_dirty = 0;
	CHECK(im->is_dirty && im->dirty);
}

void image_done(struct image *im)
{
	munmap(im->bytes, DISK_BYTES);
	free(im->is_dirty);
	free(im->dirty);
}

static void image_touch(struct image *im, uint64_t off, uint64_t len)
{
	for (uint64_t blk = off / BLK; blk * BLK < off + len; blk++) {
		if (im->is_dirty[blk])
			continue;
		im->is_dirty[blk] = 1;
		im->dirty[im->nr_dirty++] = (uint32_t)blk;
	}
}

void image_put(struct image *im, uint64_t off_bytes, const void *data, uint64_t len_bytes)
{
	image_touch(im, off_bytes, len_bytes);
	if (data)
		memcpy(im->bytes + off_bytes, data, len_bytes);
	else
		memset(im->bytes + off_bytes, 0, len_bytes);
}

void image_reset(struct image *im)
{
	for (uint32_t i = 0; i < im->nr_dirty; i++) {
		uint64_t off = (uint64_t)im->dirty[i] * BLK;

		memcpy(im->bytes + off, im->base + off, BLK);
		im->is_dirty[im->dirty[i]] = 0;
	}
	im->nr_dirty = 0;
}

void snap_take(struct snap *snap, const struct image *im)
{
	CHECK(im->base == junk_bytes());
	snap->nr = im->nr_dirty;
	snap->blk = calloc(snap->nr + 1, sizeof(*snap->blk));
	snap->data = malloc((uint64_t)snap->nr * BLK + 1);
	CHECK(snap->blk && snap->data);
	for (uint32_t i = 0; i < snap->nr; i++) {
		snap->blk[i] = im->dirty[i];
		memcpy(snap->data + (uint64_t)i * BLK, im->bytes + (uint64_t)im->dirty[i] * BLK, BLK);
	}
}

void snap_free(struct snap *snap)
{
	free(snap->blk);
	free(snap->data);
}

/* ---- mem ---- */

struct mem {
	struct bdev bdev;
	struct image image;
};

struct image *mem_image(struct bdev *bdev)
{
	return &container_of(bdev, struct mem, bdev)->image;
}

static void mem_submit(struct bdev_queue *queue, struct bdev_io *io)
{
	struct image *im = mem_image(queue->bdev);
	int err = 0;

	switch (io->op) {
	case BDEV_READ:
		bdev_iov_from_buf(io->iov, io->nr_iov, im->bytes + io->off_bytes, io->len_bytes);
		break;
	case BDEV_WRITE:
		image_touch(im, io->off_bytes, io->len_bytes);
		bdev_iov_to_buf(io->iov, io->nr_iov, im->bytes + io->off_bytes, io->len_bytes);
		break;
	case BDEV_WRITE_ZEROES:
		image_put(im, io->off_bytes, NULL, io->len_bytes);
		break;
	case BDEV_FLUSH:
		break;
	default:
		err = -EOPNOTSUPP;
	}
	bdev_io_complete(io, err);
}

static void mem_close(struct bdev *bdev)
{
	image_done(mem_image(bdev));
}

static const struct bdev_ops mem_ops = {
	.name = "mem",
	.bdev_bytes = sizeof(struct mem),
	.close = mem_close,
	.submit = mem_submit,
};

/* Below it is a ram device, which gives the geometry and is never asked. */
struct bdev *mem_new(const uint8_t *base)
{
	struct bdev *ram, *bdev;
	char uri[40];

	snprintf(uri, sizeof(uri), "ram:%llu", DISK_BYTES);
	CHECK_OK(bdev_open(uri, NULL, &ram, NULL));
	CHECK_OK(bdev_filter_new(&mem_ops, ram, &bdev));
	image_init(mem_image(bdev), base);
	return bdev;
}

/* ---- chaos ---- */

struct chaos_bdev {
	struct bdev bdev;
	struct chaos pub;
	struct bdev *crash;
	uint64_t *born; /* [n]: events recorded when the nth change (from 0) was submitted to us */
	uint64_t nr_born, max_born;
	struct list held; /* bdev_io.node, of all queues */
	struct loop *loop;
	struct loop_work work;
	bool armed;
};

struct chaos_queue {
	struct bdev_queue queue;
	bool fenced;
};

struct chaos_io {
	struct bdev_io io;
	struct bdev_req child;
	uint64_t born;
	void *part;
	struct iovec iov;
};

static struct chaos_bdev *to_chaos(const struct bdev *bdev)
{
	return container_of(bdev, struct chaos_bdev, bdev);
}

static struct chaos_io *to_cio(struct bdev_io *io)
{
	return container_of(io, struct chaos_io, io);
}

static bool changes(enum bdev_op op)
{
	return op == BDEV_WRITE || op == BDEV_WRITE_ZEROES || op == BDEV_FLUSH;
}

/* crash numbers what comes down in this order. */
static void note_down(struct chaos_bdev *c, uint64_t born)
{
	if (c->nr_born == c->max_born) {
		c->max_born = c->max_born * 2 + 256;
		c->born = realloc(c->born, c->max_born * sizeof(*c->born));
		CHECK(c->born);
	}
	c->born[c->nr_born++] = born;
	c->pub.nr_down++;
}

static void chaos_down(struct chaos_bdev *c, struct bdev_io *io,
	void (*done)(struct bdev_req *child, int status))
{
	if (changes(io->op))
		note_down(c, to_cio(io)->born);
	bdev_filter_forward(io, &to_cio(io)->child, done);
}

static void chaos_arm(struct chaos_bdev *c)
{
	if (c->armed || list_empty(&c->held))
		return;
	c->armed = true;
	loop_defer(c->loop, &c->work);
}

static bool chaos_go(struct chaos *s, const struct bdev_io *io)
{
	unsigned kind = 2;

	if (io->op == BDEV_FLUSH)
		kind = 0;
	else if (io->off_bytes >= s->mid && io->off_bytes < s->end)
		kind = 1;
	return rnd_next(&s->rnd) % s->slow[kind] == 0;
}

static void chaos_run(struct loop_work *work)
{
	struct chaos_bdev *c = container_of(work, struct chaos_bdev, work);
	struct list go, *pos, *tmp;

	c->armed = false;
	list_init(&go);
	list_for_each_safe (pos, tmp, &c->held) {
		if (!chaos_go(&c->pub, list_entry(pos, struct bdev_io, node)))
			continue;
		list_del(pos);
		if (rnd_next(&c->pub.rnd) % 2)
			list_add(&go, pos);
		else
			list_add_tail(&go, pos);
	}
	while (!list_empty(&go)) {
		struct bdev_io *io = list_entry(go.next, struct bdev_io, node);

		list_del(&io->node);
		chaos_down(c, io, NULL);
	}
	chaos_arm(c);
}

/* Zeroing ahead may meet the write of another node in one hole: that is written again then
 * (docs/DESIGN.md, 3). Otherwise nobody may rely on the order of two changes of one place. */
static bool overlap(const struct bdev_io *a, const struct bdev_io *b)
{
	if ((a->op == BDEV_WRITE_ZEROES || b->op == BDEV_WRITE_ZEROES) && a->queue != b->queue)
		return false;
	return a->op != BDEV_FLUSH && b->op != BDEV_FLUSH &&
	       a->off_bytes < b->off_bytes + b->len_bytes &&
	       b->off_bytes < a->off_bytes + a->len_bytes;
}

static void chaos_submit(struct bdev_queue *queue, struct bdev_io *io)
{
	struct chaos_bdev *c = to_chaos(queue->bdev);
	struct list *pos;

	c->pub.nr_requests++;
	if (container_of(queue, struct chaos_queue, queue)->fenced) {
		bdev_io_complete(io, -ERR_FENCED);
		return;
	}
	to_cio(io)->born = bdev_crash_nr_events(c->crash);
	list_for_each (pos, &c->held) {
		const struct bdev_io *other = list_entry(pos, struct bdev_io, node);

		if (changes(io->op) && changes(other->op) && overlap(io, other)) {
			fprintf(stderr, "op %d at %llu + %llu while op %d at %llu + %llu is in flight\n",
				io->op, (unsigned long long)io->off_bytes,
				(unsigned long long)io->len_bytes, other->op,
				(unsigned long long)other->off_bytes,
				(unsigned long long)other->len_bytes);
			abort();
		}
	}
	list_add_tail(&c->held, &io->node);
	chaos_arm(c);
}

static void lost_done(struct bdev_req *child, int status)
{
	struct bdev_io *io = child->arg;

	free(to_cio(io)->part);
	to_cio(io)->part = NULL;
	bdev_io_complete(io, -ERR_FENCED);
}

/* Some of a write's sectors arrive. */
static void tear(struct chaos_bdev *c, struct bdev_io *io)
{
	struct chaos_io *cio = to_cio(io);
	uint64_t sectors = io->len_bytes / SECTOR, from = rnd_next(&c->pub.rnd) % sectors;
	uint64_t nr = 1 + rnd_next(&c->pub.rnd) % (sectors - from);

	cio->part = malloc(io->len_bytes);
	CHECK(cio->part);
	bdev_iov_to_buf(io->iov, io->nr_iov, cio->part, io->len_bytes);
	cio->iov = (struct iovec){ (uint8_t *)cio->part + from * SECTOR, nr * SECTOR };
	cio->child = (struct bdev_req){
		.op = BDEV_WRITE,
		.off_bytes = io->off_bytes + from * SECTOR,
		.len_bytes = nr * SECTOR,
		.iov = &cio->iov,
		.nr_iov = 1,
		.done = lost_done,
		.arg = io,
	};
	note_down(c, cio->born);
	CHECK_OK(bdev_submit(io->queue->lower, &cio->child));
}

void chaos_fence(struct bdev_queue *queue)
{
	struct chaos_bdev *c = to_chaos(queue->bdev);
	struct list *pos, *tmp;

	container_of(queue, struct chaos_queue, queue)->fenced = true;
	list_for_each_safe (pos, tmp, &c->held) {
		struct bdev_io *io = list_entry(pos, struct bdev_io, node);
		uint64_t fate = rnd_next(&c->pub.rnd) % 3;

		if (io->queue != queue)
			continue;
		list_del(pos);
		if (io->op == BDEV_WRITE && fate == 1)
			tear(c, io);
		else if (changes(io->op) && fate == 2)
			chaos_down(c, io, lost_done);
		else
			bdev_io_complete(io, -ERR_FENCED);
	}
}

static int chaos_queue_open(struct bdev_queue *queue)
{
	to_chaos(queue->bdev)->loop = queue->loop;
	return 0;
}

static void chaos_close(struct bdev *bdev)
{
	free(to_chaos(bdev)->born);
}

static const struct bdev_ops chaos_ops = {
	.name = "chaos",
	.bdev_bytes = sizeof(struct chaos_bdev),
	.queue_bytes = sizeof(struct chaos_queue),
	.io_bytes = sizeof(struct chaos_io),
	.close = chaos_close,
	.submit = chaos_submit,
	.queue_open = chaos_queue_open,
};

struct bdev *chaos_new(uint64_t seed, struct bdev **ret_crash,
	struct bdev **ret_mem)
{
	struct bdev *bdev;

	*ret_mem = mem_new(junk_bytes());
	CHECK_OK(bdev_crash_new(*ret_mem, ret_crash));
	CHECK_OK(bdev_filter_new(&chaos_ops, *ret_crash, &bdev));
	struct chaos_bdev *c = to_chaos(bdev);
	c->crash = *ret_crash;
	c->pub.rnd = seed;
	c->pub.slow[0] = c->pub.slow[1] = c->pub.slow[2] = 1;
	c->work.fn = chaos_run;
	list_init(&c->held);
	return bdev;
}

struct chaos *chaos_of(struct bdev *bdev)
{
	return &to_chaos(bdev)->pub;
}

bool chaos_quiet(struct bdev *bdev)
{
	struct bdev_counters n;

	bdev_counters(bdev, &n);
	return n.in_flight == 0;
}

struct ev *chaos_events(struct bdev *bdev, uint64_t first, uint64_t *ret_nr)
{
	struct chaos_bdev *c = to_chaos(bdev);
	uint64_t nr = bdev_crash_nr_events(c->crash) - first;
	struct ev *evs = calloc(nr + 1, sizeof(*evs));

	CHECK(evs);
	for (uint64_t i = 0; i < nr; i++) {
		const struct bdev_crash_event *e = bdev_crash_event(c->crash, first + i);
		uint64_t born = c->born[e->submit_seq - 1];

		born = born > first ? born - first : 0;
		CHECK(e->op == BDEV_WRITE || e->op == BDEV_WRITE_ZEROES || e->op == BDEV_FLUSH);
		/* A flush covers what was done when it was submitted to us, not when it came down. */
		evs[i] = (struct ev){ .off = e->off_bytes, .len = e->len_bytes, .data = e->data,
			.covers = e->op == BDEV_FLUSH ? born : 0, .born = born };
		CHECK(e->op == BDEV_FLUSH || e->len_bytes);
	}
	*ret_nr = nr;
	return evs;
}
