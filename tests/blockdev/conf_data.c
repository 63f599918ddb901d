/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading, writing, zeroing: every shape of request comes back as it was sent. */
#include <errno.h>

#include "tests/blockdev/conf.h"

const char *conf_geometry(struct conf *conf)
{
	const struct bdev_geom *g = &conf->geom;

	CHECK(g->block_bytes == 512 || g->block_bytes == 4096);
	CHECK_EQ(g->size_bytes % g->block_bytes, 0);
	CHECK(g->phys_bytes >= g->block_bytes && g->phys_bytes % g->block_bytes == 0);
	CHECK(g->max_io_bytes >= g->block_bytes && g->max_io_bytes % g->block_bytes == 0);
	CHECK(g->max_zero_bytes >= g->block_bytes && g->max_zero_bytes % g->block_bytes == 0);
	CHECK(g->mem_align >= 1 && g->mem_align <= 4096);
	CHECK_EQ(g->mem_align & (g->mem_align - 1), 0);
	CHECK(!(g->caps & BDEV_CAN_PR_ABORT) || (g->caps & BDEV_CAN_PR));
	CHECK(!(g->caps & BDEV_READONLY));
	CHECK(strlen(bdev_name(conf->bdev)) > 0);
	CHECK(!strchr(bdev_name(conf->bdev), '@'));
	return NULL;
}

static void write_read(struct conf *conf, uint64_t off, uint64_t len, uint64_t tag)
{
	char *buf = conf_alloc(len);

	conf_fill(buf, len, off, tag);
	CHECK_OK(bdev_pwrite(conf->queue, buf, len, off));
	memset(buf, 0x5a, len);
	CHECK_OK(bdev_pread(conf->queue, buf, len, off));
	conf_verify(buf, len, off, tag);
	free(buf);
}

const char *conf_sizes(struct conf *conf)
{
	uint64_t b = conf->geom.block_bytes, size = conf->geom.size_bytes;
	const uint64_t sizes[] = { b, 2 * b, 3 * b, 7 * b, 4096, 8192, 65536 - b, 65536, 65536 + b,
		131072, 1048576 - b, 1048576 };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint64_t len = ALIGN_UP(sizes[i], b);
		const uint64_t offs[] = { 0, b, 3 * b, 4096, 65536 - b, 1048576 + 5 * b,
			REGION_BYTES - len };

		for (size_t j = 0; j < ARRAY_SIZE(offs); j++)
			write_read(conf, offs[j], len, conf->seed + i * 16 + j);
		write_read(conf, size - len, len, conf->seed + i);
	}
	return NULL;
}

/* Cuts len bytes into nr random pieces, some empty, each in memory of its own at a random address.
 */
static struct iovec *random_iov(uint64_t len, int nr, uint64_t *rnd, void **ret_mem)
{
	struct iovec *iov = calloc((size_t)nr, sizeof(*iov));
	char *mem = conf_alloc(len + (uint64_t)nr * 64), *p = mem;

	for (int i = 0; i < nr; i++) {
		uint64_t n = conf_random64(rnd) % (2 * len / (uint64_t)(nr - i) + 1);

		n = i == nr - 1 || n > len ? len : n;
		p += conf_random64(rnd) % 64;
		iov[i] = (struct iovec){ p, n };
		p += n;
		len -= n;
	}
	*ret_mem = mem;
	return iov;
}

static void copy_iov(const struct iovec *iov, int nr, char *flat, bool to_iov)
{
	for (int i = 0; i < nr; i++) {
		if (to_iov)
			memcpy(iov[i].iov_base, flat, iov[i].iov_len);
		else
			memcpy(flat, iov[i].iov_base, iov[i].iov_len);
		flat += iov[i].iov_len;
	}
}

/* Writes and reads with scattered memory that is cut differently each way. */
static void scatter(
	struct conf *conf, uint64_t off, uint64_t len, int nr_w, int nr_r, uint64_t *rnd)
{
	uint64_t tag = conf_random64(rnd);
	char *flat = conf_alloc(len);
	struct conf_io io = { 0 };
	struct iovec *iov;
	void *mem;

	iov = random_iov(len, nr_w, rnd, &mem);
	conf_fill(flat, len, off, tag);
	copy_iov(iov, nr_w, flat, true);
	io.req = (struct bdev_req){
		.op = BDEV_WRITE, .off_bytes = off, .len_bytes = len, .iov = iov, .nr_iov = nr_w
	};
	CHECK_OK(conf_submit(conf->queue, &io));
	CHECK_OK(conf_finish(&io));
	free(iov);
	free(mem);

	iov = random_iov(len, nr_r, rnd, &mem);
	io.req = (struct bdev_req){
		.op = BDEV_READ, .off_bytes = off, .len_bytes = len, .iov = iov, .nr_iov = nr_r
	};
	CHECK_OK(conf_submit(conf->queue, &io));
	CHECK_OK(conf_finish(&io));
	copy_iov(iov, nr_r, flat, false);
	conf_verify(flat, len, off, tag);
	free(iov);
	free(mem);
	free(flat);
}

const char *conf_iov_shapes(struct conf *conf)
{
	static const int counts[] = { 1, 2, 3, 16, 17, 128, 1500 };
	uint64_t b = conf->geom.block_bytes, rnd = conf->seed;

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		for (int round = 0; round < 8; round++) {
			uint64_t len = b * (1 + conf_random64(&rnd) % 64);
			uint64_t off = b * (conf_random64(&rnd) % ((REGION_BYTES - len) / b));

			scatter(conf, off, len, counts[i], counts[(i + 3) % 7], &rnd);
		}
	}
	return NULL;
}

const char *conf_split(struct conf *conf)
{
	uint64_t b = conf->geom.block_bytes, rnd = conf->seed + 1;

	write_read(conf, 0, 8 << 20, conf->seed);
	write_read(conf, 3 * b, (8 << 20) + 5 * b, conf->seed + 1);
	if (conf->geom.max_io_bytes < REGION_BYTES / 2) {
		write_read(conf, b, conf->geom.max_io_bytes + b, conf->seed + 2);
		write_read(conf, 0, 2 * (uint64_t)conf->geom.max_io_bytes, conf->seed + 3);
	}
	scatter(conf, 7 * b, (6 << 20) + b, 333, 5, &rnd);
	scatter(conf, b, 8 << 20, 1, 2000, &rnd);
	return NULL;
}

/* ---- many at once, against a model in memory ---- */

#define DEPTH 128
#define MODEL_BYTES (4u << 20)
#define MAX_BLOCKS 32

struct slot {
	struct conf_io io;
	uint64_t off, len;
	char *buf;
};

struct model {
	struct conf *conf;
	uint64_t rnd;
	char *bytes;
	bool *taken; /* blocks that a request under way touches */
	struct slot slots[DEPTH];
};

static void take(struct model *m, const struct slot *s, bool on)
{
	uint64_t b = m->conf->geom.block_bytes;

	for (uint64_t at = s->off / b; at < (s->off + s->len) / b; at++)
		m->taken[at] = on;
}

static bool is_free(const struct model *m, const struct slot *s)
{
	uint64_t b = m->conf->geom.block_bytes;

	for (uint64_t at = s->off / b; at < (s->off + s->len) / b; at++)
		if (m->taken[at])
			return false;
	return true;
}

static void start_random(struct model *m, struct slot *s)
{
	uint64_t b = m->conf->geom.block_bytes, dice = conf_random64(&m->rnd) % 100;
	enum bdev_op op = dice < 45 ? BDEV_READ : dice < 90 ? BDEV_WRITE : BDEV_WRITE_ZEROES;
	uint32_t flags = op != BDEV_READ && dice % 16 == 0 ? BDEV_FUA : 0;

	do {
		s->len = b * (1 + conf_random64(&m->rnd) % MAX_BLOCKS);
		s->off = b * (conf_random64(&m->rnd) % ((MODEL_BYTES - s->len) / b + 1));
	} while (!is_free(m, s));
	if (!(m->conf->geom.caps & (BDEV_CAN_FUA | BDEV_CAN_FLUSH)))
		flags = 0;
	if (op == BDEV_WRITE) {
		conf_fill(s->buf, s->len, s->off, conf_random64(&m->rnd));
		memcpy(m->bytes + s->off, s->buf, s->len);
	} else if (op == BDEV_WRITE_ZEROES) {
		memset(m->bytes + s->off, 0, s->len);
	} else {
		memset(s->buf, 0xa5, s->len);
	}
	take(m, s, true);
	conf_start(m->conf->queue, &s->io, op, flags, op == BDEV_WRITE_ZEROES ? NULL : s->buf,
		s->len, s->off);
}

static void end_random(struct model *m, struct slot *s)
{
	CHECK_OK(conf_finish(&s->io));
	if (s->io.req.op == BDEV_READ)
		CHECK(memcmp(s->buf, m->bytes + s->off, s->len) == 0);
	take(m, s, false);
}

const char *conf_random(struct conf *conf)
{
	struct model m = { .conf = conf, .rnd = conf->seed + 2 };
	char *all = conf_alloc(MODEL_BYTES);

	m.bytes = conf_alloc(MODEL_BYTES);
	m.taken = calloc(MODEL_BYTES / conf->geom.block_bytes, 1);
	conf_fill(m.bytes, MODEL_BYTES, 0, conf->seed);
	CHECK_OK(bdev_pwrite(conf->queue, m.bytes, MODEL_BYTES, 0));
	for (int i = 0; i < DEPTH; i++)
		m.slots[i].buf = conf_alloc(MAX_BLOCKS * 4096);
	for (int i = 0; i < DEPTH; i++)
		start_random(&m, &m.slots[i]);
	for (int n = 0; n < 3000; n++) {
		struct slot *s = &m.slots[conf_random64(&m.rnd) % DEPTH];

		end_random(&m, s);
		start_random(&m, s);
	}
	for (int i = 0; i < DEPTH; i++)
		end_random(&m, &m.slots[i]);
	CHECK_OK(bdev_pread(conf->queue, all, MODEL_BYTES, 0));
	CHECK(memcmp(all, m.bytes, MODEL_BYTES) == 0);
	for (int i = 0; i < DEPTH; i++)
		free(m.slots[i].buf);
	free(m.taken);
	free(m.bytes);
	free(all);
	return NULL;
}

/* ---- flush, discard, zeroes ---- */

const char *conf_fua_flush(struct conf *conf)
{
	uint64_t len = 3 << 20;
	char *buf = conf_alloc(len);
	struct conf_io io = { 0 };

	if (!(conf->geom.caps & BDEV_CAN_FLUSH)) {
		io.req.op = BDEV_FLUSH;
		CHECK_EQ(conf_submit(conf->queue, &io), -EOPNOTSUPP);
		free(buf);
		return "the device has no flush";
	}
	CHECK_OK(bdev_flush_sync(conf->queue));
	conf_fill(buf, len, 4096, conf->seed);
	CHECK_OK(conf_do(conf->queue, BDEV_WRITE, BDEV_FUA, buf, 4096, 4096));
	CHECK_OK(conf_do(conf->queue, BDEV_WRITE, BDEV_FUA, buf, len, 4096));
	CHECK_OK(bdev_flush_sync(conf->queue));
	memset(buf, 0, len);
	CHECK_OK(bdev_pread(conf->queue, buf, len, 4096));
	conf_verify(buf, len, 4096, conf->seed);
	for (int i = 0; i < 20; i++) {
		CHECK_OK(conf_do(conf->queue, BDEV_WRITE, 0, buf, 4096, 4096));
		CHECK_OK(bdev_flush_sync(conf->queue));
	}
	free(buf);
	return NULL;
}

static void check_zero(const char *buf, uint64_t len)
{
	for (uint64_t i = 0; i < len; i++)
		CHECK_EQ(buf[i], 0);
}

/* Fills a range and a block on both sides, has op done to the range, checks what is left. */
static void wipe(struct conf *conf, enum bdev_op op, uint32_t flags, uint64_t off, uint64_t len)
{
	uint64_t b = conf->geom.block_bytes, all = len + 2 * b, start = off - b;
	char *buf = conf_alloc(all);

	conf_fill(buf, all, start, conf->seed);
	CHECK_OK(bdev_pwrite(conf->queue, buf, all, start));
	CHECK_OK(conf_do(conf->queue, op, flags, NULL, len, off));
	memset(buf, 0x77, all);
	CHECK_OK(bdev_pread(conf->queue, buf, all, start));
	conf_verify(buf, b, start, conf->seed);
	conf_verify(buf + b + len, b, off + len, conf->seed);
	if (op == BDEV_WRITE_ZEROES)
		check_zero(buf + b, len);
	conf_fill(buf, all, start, conf->seed + 1);
	CHECK_OK(bdev_pwrite(conf->queue, buf, all, start));
	memset(buf, 0x77, all);
	CHECK_OK(bdev_pread(conf->queue, buf, all, start));
	conf_verify(buf, all, start, conf->seed + 1);
	free(buf);
}

const char *conf_discard(struct conf *conf)
{
	struct conf_io io = { .req = { .op = BDEV_DISCARD, .len_bytes = 1 << 20 } };

	if (!(conf->geom.caps & BDEV_CAN_DISCARD)) {
		CHECK_EQ(conf_submit(conf->queue, &io), -EOPNOTSUPP);
		return "the device has no discard";
	}
	wipe(conf, BDEV_DISCARD, 0, 1 << 20, 1 << 20);
	wipe(conf, BDEV_DISCARD, 0, 4096, 4096);
	wipe(conf, BDEV_DISCARD, 0, 4096 + conf->geom.block_bytes, 5 << 20);
	return NULL;
}

const char *conf_write_zeroes(struct conf *conf)
{
	uint64_t b = conf->geom.block_bytes;

	wipe(conf, BDEV_WRITE_ZEROES, 0, b, b);
	wipe(conf, BDEV_WRITE_ZEROES, 0, 4096, 65536);
	wipe(conf, BDEV_WRITE_ZEROES, 0, 5 * b, (8 << 20) + 3 * b);
	if (conf->geom.caps & (BDEV_CAN_FLUSH | BDEV_CAN_FUA))
		wipe(conf, BDEV_WRITE_ZEROES, BDEV_FUA, 8192, 3 << 20);
	return NULL;
}
