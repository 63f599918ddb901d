/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs every promise of blockdev/bdev.h against one device, whose first 16 MiB and last MiB are
 * overwritten:
 *
 *   conformance [--seed N] [--only TEST] [--require CAP,...] [--auth-file F] [--psk-file F] URI
 *
 * Exits 0 if all passed, 1 at the first failure, 77 if a test given by --only does not apply.
 * --require fails when the device lacks a cap: flush fua discard zeroes cheap pr abort global.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <unistd.h>

#include "tests/blockdev/conf.h"

static const struct {
	const char *name;
	conf_test_fn *fn;
} tests[] = {
	{ "geometry", conf_geometry },
	{ "sizes", conf_sizes },
	{ "iov_shapes", conf_iov_shapes },
	{ "split", conf_split },
	{ "random", conf_random },
	{ "fua_flush", conf_fua_flush },
	{ "discard", conf_discard },
	{ "write_zeroes", conf_write_zeroes },
	{ "refused", conf_refused },
	{ "readonly", conf_readonly },
	{ "counters", conf_counters },
	{ "threads", conf_threads },
	{ "gate", conf_gate },
	{ "gate_refuses", conf_gate_refuses },
	{ "deadline", conf_deadline },
	{ "deadline_race", conf_deadline_race },
	{ "fence_self", conf_fence_self },
	{ "pr_all_registrants", conf_pr_all_registrants },
	{ "pr_registrants_only", conf_pr_registrants_only },
	{ "pr_late_write", conf_pr_late_write },
	{ "pr_reset", conf_pr_reset },
};

/* ---- helpers, see conf.h ---- */

uint64_t conf_random64(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static uint64_t pattern_at(uint64_t off, uint64_t tag)
{
	uint64_t state = off * 2654435761u + tag;

	return conf_random64(&state);
}

void conf_fill(void *buf, uint64_t len, uint64_t off, uint64_t tag)
{
	for (uint64_t i = 0; i < len; i += 8) {
		uint64_t v = pattern_at(off + i, tag);

		memcpy((char *)buf + i, &v, 8);
	}
}

void conf_verify(const void *buf, uint64_t len, uint64_t off, uint64_t tag)
{
	for (uint64_t i = 0; i < len; i += 8) {
		uint64_t v;

		memcpy(&v, (const char *)buf + i, 8);
		if (v == pattern_at(off + i, tag))
			continue;
		fprintf(stderr,
			"wrong bytes at device offset %" PRIu64 " (%" PRIu64 " into %" PRIu64 ")\n",
			off + i, i, len);
		exit(1);
	}
}

void *conf_alloc(uint64_t len)
{
	void *p;

	CHECK_EQ(posix_memalign(&p, 4096, len), 0);
	return p;
}

static void io_done(struct bdev_req *req, int status)
{
	struct conf_io *io = req->arg;

	CHECK(!io->in_submit);
	CHECK(io->busy);
	CHECK(loop_is_owner(io->loop));
	io->status = status;
	io->busy = false;
	io->nr_done++;
}

int conf_submit(struct bdev_queue *queue, struct conf_io *io)
{
	int err;

	io->req.done = io_done;
	io->req.arg = io;
	io->loop = bdev_queue_loop(queue);
	io->nr_done = 0;
	io->busy = true;
	io->in_submit = true;
	err = bdev_submit(queue, &io->req);
	io->in_submit = false;
	if (err)
		io->busy = false;
	return err;
}

void conf_start(struct bdev_queue *queue, struct conf_io *io, enum bdev_op op, uint32_t flags,
	void *buf, uint64_t len, uint64_t off)
{
	io->iov = (struct iovec){ buf, len };
	io->req = (struct bdev_req){
		.op = op,
		.flags = flags,
		.off_bytes = off,
		.len_bytes = len,
		.iov = buf ? &io->iov : NULL,
		.nr_iov = buf ? 1 : 0,
	};
	CHECK_OK(conf_submit(queue, io));
}

static void tick_cb(struct ev_loop *ev, struct ev_timer *w, int revents)
{
	(void)ev;
	(void)w;
	(void)revents;
}

void conf_wait(struct loop *loop, const bool *flag)
{
	uint64_t deadline = clock_mono_ns() + 30000000000u;
	struct ev_timer tick;

	ev_timer_init(&tick, tick_cb, 0.01, 0.01);
	ev_timer_start(loop_ev(loop), &tick);
	while (*flag) {
		if (clock_mono_ns() > deadline) {
			fprintf(stderr, "a request was not done within 30 s\n");
			abort();
		}
		loop_run_once(loop, true);
	}
	ev_timer_stop(loop_ev(loop), &tick);
}

int conf_finish(struct conf_io *io)
{
	conf_wait(io->loop, &io->busy);
	CHECK_EQ(io->nr_done, 1);
	return io->status;
}

int conf_do(struct bdev_queue *queue, enum bdev_op op, uint32_t flags, void *buf, uint64_t len,
	uint64_t off)
{
	struct conf_io io = { 0 };

	conf_start(queue, &io, op, flags, buf, len, off);
	return conf_finish(&io);
}

void conf_run_ms(struct loop *loop, uint32_t ms)
{
	uint64_t end = clock_mono_ns() + (uint64_t)ms * 1000000;
	struct ev_timer tick;

	ev_timer_init(&tick, tick_cb, 0.002, 0.002);
	ev_timer_start(loop_ev(loop), &tick);
	while (clock_mono_ns() < end)
		loop_run_once(loop, true);
	ev_timer_stop(loop_ev(loop), &tick);
}

struct bdev *conf_open(struct conf *conf, const char *prefix)
{
	char *uri, *error = NULL;
	struct bdev *bdev;
	int err;

	CHECK(asprintf(&uri, "%s%s", prefix, conf->uri) > 0);
	err = bdev_open(uri, &conf->opts, &bdev, &error);
	if (err) {
		fprintf(stderr, "%s: %s (%s)\n", uri, error ? error : "no reason", err_str(err));
		exit(1);
	}
	CHECK(!error);
	free(uri);
	return bdev;
}

struct bdev_queue *conf_queue(struct bdev *bdev, struct loop *loop)
{
	struct bdev_queue *queue;

	CHECK_OK(bdev_queue_open(bdev, loop, &queue));
	CHECK(bdev_queue_bdev(queue) == bdev);
	CHECK(bdev_queue_loop(queue) == loop);
	return queue;
}

/* ---- main ---- */

static void require(const struct conf *conf, const char *caps)
{
	static const struct {
		const char *name;
		uint32_t cap;
	} names[] = { { "flush", BDEV_CAN_FLUSH }, { "fua", BDEV_CAN_FUA },
		{ "discard", BDEV_CAN_DISCARD }, { "zeroes", BDEV_CAN_WRITE_ZEROES },
		{ "cheap", BDEV_CHEAP_ZEROES }, { "pr", BDEV_CAN_PR },
		{ "abort", BDEV_CAN_PR_ABORT }, { "global", BDEV_GLOBAL_FLUSH } };
	char *copy = strdup(caps), *save = NULL;

	for (char *cap = strtok_r(copy, ",", &save); cap; cap = strtok_r(NULL, ",", &save)) {
		bool found = false;

		for (size_t i = 0; i < ARRAY_SIZE(names); i++)
			found |= !strcmp(names[i].name, cap) && (conf->geom.caps & names[i].cap);
		if (!found) {
			fprintf(stderr, "%s: the device lacks %s\n", conf->uri, cap);
			exit(1);
		}
	}
	free(copy);
}

static int run(struct conf *conf, const char *only)
{
	int ret = only ? -1 : 0;

	for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
		const char *why;

		if (only && strcmp(only, tests[i].name) != 0)
			continue;
		printf("%s: ", tests[i].name);
		fflush(stdout);
		conf->queue = conf_queue(conf->bdev, conf->loop);
		why = tests[i].fn(conf);
		bdev_queue_close(conf->queue);
		printf("%s%s\n", why ? "skipped: " : "ok", why ? why : "");
		if (only)
			ret = why ? 77 : 0;
	}
	if (ret < 0)
		fprintf(stderr, "there is no test %s\n", only);
	return ret < 0 ? 2 : ret;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "seed", 1, NULL, 's' }, { "only", 1, NULL, 'o' },
		{ "require", 1, NULL, 'r' }, { "auth-file", 1, NULL, 'a' },
		{ "psk-file", 1, NULL, 'p' }, { 0 } };
	struct conf conf = { .seed = clock_real_ns() };
	const char *only = NULL, *caps = "";
	int c, ret;

	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (c) {
		case 's':
			conf.seed = strtoull(optarg, NULL, 0);
			break;
		case 'o':
			only = optarg;
			break;
		case 'r':
			caps = optarg;
			break;
		case 'a':
			conf.opts.auth_file = optarg;
			break;
		case 'p':
			conf.opts.tls_psk_file = optarg;
			break;
		default:
			return 2;
		}
	}
	if (optind + 1 != argc) {
		fprintf(stderr, "usage: %s [--seed N] [--only TEST] [--require CAPS] URI\n",
			argv[0]);
		return 2;
	}
	conf.uri = argv[optind];
	printf("%s, seed %" PRIu64 "\n", conf.uri, conf.seed);
	CHECK_OK(loop_new(&conf.loop));
	conf.bdev = conf_open(&conf, "");
	conf.geom = bdev_geom(conf.bdev);
	require(&conf, caps);
	if (conf.geom.size_bytes < REGION_BYTES + LAST_OP) {
		fprintf(stderr, "%s: smaller than the 17 MiB that are needed\n", conf.uri);
		return 1;
	}
	ret = run(&conf, only);
	bdev_close(conf.bdev);
	loop_free(conf.loop);
	return ret;
}
