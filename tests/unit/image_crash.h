/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Power cuts below a disk image: a workload on a small image is recorded by the `crash` filter, then cut
 * after each event. What was not stable is kept, dropped or torn at random; the image must open, show
 * each sector as some order of the requests allows it, and nothing that was flushed may be lost.
 */
#ifndef TESTS_UNIT_IMAGE_CRASH_H
#define TESTS_UNIT_IMAGE_CRASH_H

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blockdev/bdev_internal.h"
#include "blockdev/image.h"
#include "tests/unit/bdev_test.h"

#define SECTOR 512u
#define MAX_OPS 400
#define MAX_EVENTS 20000
#define AT_ONCE 4

struct op {
	enum bdev_op kind;
	uint64_t first, nr;  /* sectors */
	uint64_t stable_at;  /* number of events from which on it must be there */
	bool fua, is_done;
};

struct crash_run {
	const char *scheme; /* "vhd", "vhdx" */
	struct image_info spec;
	char *dir, *path, state[96]; /* state: URI of the image */
	struct dut d;
	struct bdev *crash;
	struct op ops[MAX_OPS];
	uint32_t nr_ops;
	uint64_t nr_events;
	uint8_t *base, *image;			     /* before the workload; a state */
	uint64_t base_bytes, max_bytes;
	unsigned int rnd;
	bool lying; /* the twin: flushes cover nothing */
	uint64_t nr_states, nr_bad;
};

/* ---- the workload ---- */

struct flight {
	struct bdev_req req;
	struct iovec iov;
	struct crash_run *r;
	struct op *op;
	bool busy;
};

static void flight_done(struct bdev_req *req, int status)
{
	struct flight *f = req->arg;

	CHECK_OK(status);
	f->busy = false;
	f->op->is_done = true;
	if (f->op->fua)
		f->op->stable_at = bdev_crash_nr_events(f->r->crash);
	free(f->iov.iov_base);
}

static void fill(uint8_t *buf, uint64_t version, uint64_t first, uint64_t nr)
{
	for (uint64_t s = 0; s < nr; s++)
		for (uint64_t i = 0; i < SECTOR; i += 8) {
			uint64_t v = (version + 1) << 32 | (first + s);
			memcpy(buf + s * SECTOR + i, &v, 8);
		}
}

static void sample(struct crash_run *r)
{
	r->nr_events = bdev_crash_nr_events(r->crash);
	CHECK(r->nr_events < MAX_EVENTS);
}

static void step(struct crash_run *r)
{
	loop_run_once(r->d.loop, true);
	sample(r);
}

static void make_op(struct crash_run *r, struct op *op)
{
	uint64_t sectors = r->spec.size_bytes / SECTOR, unit = r->spec.sector_bytes / SECTOR;
	uint64_t block = r->spec.block_bytes / SECTOR, roll = (uint64_t)rand_r(&r->rnd) % 20;

	*op = (struct op){ .kind = BDEV_WRITE, .stable_at = UINT64_MAX, .fua = roll < 5 };
	if (roll == 19)
		op->kind = BDEV_DISCARD;
	else if (roll >= 17)
		op->kind = BDEV_WRITE_ZEROES;
	if (op->kind != BDEV_WRITE && rand_r(&r->rnd) % 3) {
		op->nr = block * (1 + (uint64_t)rand_r(&r->rnd) % 2);
		op->first = (uint64_t)rand_r(&r->rnd) % DIV_ROUND_UP(sectors, block) * block;
	} else {
		op->nr = unit * (1 + (uint64_t)rand_r(&r->rnd) % 24);
		op->first = (uint64_t)rand_r(&r->rnd) % (sectors / unit) * unit;
		if (roll % 4 == 0) /* over the end of a block */
			op->first = ALIGN_UP(op->first, block) - (op->first >= block ? unit : 0);
	}
	if (op->first >= sectors)
		op->first = 0;
	op->nr = MIN(op->nr, sectors - op->first);
}

static bool overlaps(const struct op *a, const struct op *b)
{
	return a->first < b->first + b->nr && b->first < a->first + a->nr;
}

static void submit(struct crash_run *r, struct flight *f, struct op *op)
{
	void *buf = NULL;

	f->r = r;
	f->op = op;
	f->busy = true;
	if (op->kind == BDEV_WRITE) {
		CHECK(!posix_memalign(&buf, 4096, op->nr * SECTOR));
		fill(buf, (uint64_t)(op - r->ops), op->first, op->nr);
	}
	f->iov = (struct iovec){ buf, op->nr * SECTOR };
	f->req = (struct bdev_req){ .op = op->kind, .flags = op->fua && buf ? BDEV_FUA : 0,
		.off_bytes = op->first * SECTOR, .len_bytes = op->nr * SECTOR,
		.iov = buf ? &f->iov : NULL, .nr_iov = buf ? 1 : 0, .done = flight_done, .arg = f };
	op->fua = op->fua && buf;
	CHECK_OK(bdev_submit(r->d.queue, &f->req));
}

/* Up to AT_ONCE requests that do not overlap, at once. */
static void batch(struct crash_run *r)
{
	struct flight flights[AT_ONCE] = { 0 };
	uint32_t first = r->nr_ops;
	bool busy = true;

	for (int i = 0; i < AT_ONCE && r->nr_ops < MAX_OPS; i++) {
		struct op *op = &r->ops[r->nr_ops];
		bool clash = false;

		make_op(r, op);
		for (uint32_t o = first; o < r->nr_ops; o++)
			clash |= overlaps(op, &r->ops[o]);
		if (!clash) {
			r->nr_ops++;
			submit(r, &flights[i], op);
		}
	}
	while (busy) {
		step(r);
		busy = false;
		for (int i = 0; i < AT_ONCE; i++)
			busy |= flights[i].busy;
	}
}

static void flush(struct crash_run *r)
{
	uint32_t n = r->nr_ops;

	CHECK_OK(bdev_flush_sync(r->d.queue));
	sample(r);
	for (uint32_t i = 0; i < n; i++)
		r->ops[i].stable_at = MIN(r->ops[i].stable_at, r->nr_events);
}

static void read_base(struct crash_run *r)
{
	int fd = open(r->path, O_RDONLY);
	struct stat st;

	CHECK(fd >= 0 && !fstat(fd, &st));
	r->base_bytes = (uint64_t)st.st_size;
	r->base = calloc(1, r->max_bytes);
	r->image = malloc(r->max_bytes);
	CHECK(r->base && r->image && r->base_bytes <= r->max_bytes);
	CHECK_EQ(pread(fd, r->base, r->base_bytes, 0), r->base_bytes);
	close(fd);
}

static void record(struct crash_run *r, int nr_batches)
{
	char uri[256];

	snprintf(uri, sizeof(uri), "%s:crash|file:%s", r->scheme, r->path);
	r->d = dut_open(uri);
	r->crash = r->d.bdev->lower;
	for (int i = 0; i < nr_batches; i++) {
		batch(r);
		if (rand_r(&r->rnd) % 3 == 0)
			flush(r);
	}
	sample(r);
}

/* ---- the states ---- */

static void apply(struct crash_run *r, const struct bdev_crash_event *e, bool torn, uint64_t *size)
{
	uint64_t skip = torn ? (uint64_t)rand_r(&r->rnd) : 0;

	CHECK(e->off_bytes + e->len_bytes <= r->max_bytes);
	for (uint64_t at = 0; at < e->len_bytes; at += SECTOR) {
		if (torn && (skip >> at / SECTOR % 30 & 1))
			continue;
		if (e->op == BDEV_WRITE)
			memcpy(r->image + e->off_bytes + at, (const uint8_t *)e->data + at, SECTOR);
		else
			memset(r->image + e->off_bytes + at, 0, SECTOR);
	}
	*size = MAX(*size, e->off_bytes + e->len_bytes);
}

enum { DROP, KEEP, RANDOM };

/* The image after a cut that lets n events happen; its size. */
static uint64_t build(struct crash_run *r, uint64_t n, int how)
{
	uint64_t covered = 0, size = r->base_bytes;

	memcpy(r->image, r->base, r->max_bytes);
	for (uint64_t i = 0; i < n && !r->lying; i++) {
		const struct bdev_crash_event *e = bdev_crash_event(r->crash, i);
		if (e->op == BDEV_FLUSH && e->flush_covers >= covered) {
			covered = e->flush_covers;
			size = MAX(size, e->size_bytes);
		}
	}
	for (uint64_t i = 0; i < n; i++) {
		const struct bdev_crash_event *e = bdev_crash_event(r->crash, i);
		bool stable = i < covered || (e->fua && !r->lying);

		if (e->op == BDEV_FLUSH || (!stable && how == DROP))
			continue;
		if (stable || how == KEEP)
			apply(r, e, false, &size);
		else if (rand_r(&r->rnd) % 2)
			apply(r, e, rand_r(&r->rnd) % 3 == 0, &size);
	}
	if (rand_r(&r->rnd) % 2)
		size = r->max_bytes;
	return ALIGN_UP(MIN(size, r->max_bytes), SECTOR);
}

/* A device in memory that holds the state; it lives as long as this is open. */
static struct dut hold_state(struct crash_run *r, uint64_t size)
{
	char uri[64];
	struct dut d;

	snprintf(uri, sizeof(uri), "ram:%llu?name=state-%llu", (unsigned long long)size,
		(unsigned long long)r->nr_states);
	d = dut_open(uri);
	CHECK_OK(bdev_pwrite(d.queue, r->image, size, 0));
	snprintf(r->state, sizeof(r->state), "%s:%s", r->scheme, uri);
	return d;
}

/* Whether op may have left this in the sector. */
static bool effect(const struct crash_run *r, const struct op *op, uint64_t value, uint64_t sector)
{
	uint64_t version = (uint64_t)(op - r->ops);

	if (op->kind == BDEV_WRITE)
		return value == ((version + 1) << 32 | sector);
	if (op->kind == BDEV_WRITE_ZEROES)
		return value == 0;
	return value == 0 || (value >> 32 <= version && (value & UINT32_MAX) == sector);
}

static bool allowed(const struct crash_run *r, uint64_t n, uint64_t sector, const uint8_t *data)
{
	bool ok = false, any_stable = false;
	uint64_t value;

	memcpy(&value, data, 8);
	for (uint64_t i = 8; i < SECTOR; i += 8)
		if (memcmp(data, data + i, 8))
			return false;
	for (uint32_t i = r->nr_ops; i-- > 0 && !any_stable && !ok;) {
		const struct op *op = &r->ops[i];
		if (sector < op->first || sector >= op->first + op->nr)
			continue;
		ok = effect(r, op, value, sector);
		any_stable = op->stable_at <= n;
	}
	return ok || (!any_stable && value == 0);
}

/* 0 or what was wrong. */
static const char *judge(struct crash_run *r, uint64_t n)
{
	uint64_t bytes = r->spec.size_bytes;
	uint8_t *buf = malloc(bytes), *again = malloc(bytes);
	const char *wrong = NULL;
	char *error = NULL;
	struct bdev *bdev;
	int err;

	CHECK(buf && again);
	if (bdev_open(r->state, NULL, &bdev, &error)) {
		fprintf(stderr, "%s\n", error);
		free(error);
		free(buf);
		free(again);
		return "it does not open";
	}
	bdev_close(bdev);
	struct dut d = dut_open(r->state);
	if (bdev_pread(d.queue, buf, bytes, 0))
		wrong = "it cannot be read";
	for (uint64_t s = 0; s < bytes / SECTOR && !wrong; s++)
		if (!allowed(r, n, s, buf + s * SECTOR))
			wrong = "a sector is wrong";
	/* It goes on, and what it has stays. */
	uint64_t at = (uint64_t)rand_r(&r->rnd) % (bytes / 4096) * 4096;
	memset(again, 0xee, 4096);
	err = bdev_pwrite(d.queue, again, 4096, at);
	if (!wrong && err && err != -ENOSPC) /* memory does not grow */
		wrong = "it cannot be written";
	if (!err)
		memset(buf + at, 0xee, 4096);
	dut_close(&d);
	d = dut_open(r->state);
	if (!wrong && (bdev_pread(d.queue, again, bytes, 0) || memcmp(buf, again, bytes)))
		wrong = "it differs when it is opened again";
	dut_close(&d);
	free(buf);
	free(again);
	return wrong;
}

static void cut(struct crash_run *r, uint64_t n, int how)
{
	const char *wrong;

	struct dut hold = hold_state(r, build(r, n, how));
	wrong = judge(r, n);
	dut_close(&hold);
	r->nr_states++;
	r->nr_bad += wrong != NULL;
	if (!wrong || r->lying)
		return;
	fprintf(stderr, "cut after %llu events, state %llu: %s\n", (unsigned long long)n,
		(unsigned long long)r->nr_states, wrong);
	exit(1);
}

/* Records nr_batches on a new image and cuts it everywhere; then the twin, which must fail. */
static inline void image_crash(const char *scheme, const struct image_info *spec, uint64_t max_bytes,
	unsigned int seed, int nr_batches, int nr_random)
{
	static struct crash_run run;
	struct crash_run *r = &run;
	const char *tmp = getenv("TEST_TMPDIR");
	struct bdev *file;
	char *uri;

	*r = (struct crash_run){ .scheme = scheme, .spec = *spec, .rnd = seed, .max_bytes = max_bytes };
	CHECK(asprintf(&r->dir, "%s/image-XXXXXX", tmp ? tmp : "/tmp") > 0 && mkdtemp(r->dir));
	CHECK(asprintf(&r->path, "%s/disk", r->dir) > 0);
	close(open(r->path, O_RDWR | O_CREAT, 0600));
	CHECK(asprintf(&uri, "file:%s", r->path) > 0);
	CHECK_OK(bdev_open(uri, NULL, &file, NULL));
	CHECK_OK(image_make(file, spec, NULL));
	bdev_close(file);
	free(uri);
	read_base(r);
	record(r, nr_batches);
	for (uint64_t n = 0; n <= r->nr_events; n++)
		for (int k = 0; k < 2 + nr_random; k++)
			cut(r, n, MIN(k, RANDOM));
	printf("%s: %u requests, %llu events, %llu states\n", scheme, r->nr_ops,
		(unsigned long long)r->nr_events, (unsigned long long)r->nr_states);
	r->lying = true;
	for (uint64_t n = 1; n <= r->nr_events && !r->nr_bad; n++)
		cut(r, n, RANDOM);
	CHECK(r->nr_bad > 0);
	dut_close(&r->d);
	unlink(r->path);
	rmdir(r->dir);
	free(r->dir);
	free(r->path);
	free(r->base);
	free(r->image);
}

#endif
