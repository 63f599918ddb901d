/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A verifying random load that must not notice it when the target goes away and comes back:
 *
 *	restart [-q QUEUES] [-d DEPTH] [-b BASE_MIB] [-m MIB] [-a AUTH_FILE] [-k PSK_FILE] [-g] URI
 *SECONDS
 *
 * It ends after SECONDS, or sooner on SIGTERM. Each queue has a thread, a loop and a region of its
 *own, and a number for each block of it that says which write was the last. Blocks carry that
 *number; each read checks it. Prints a line of progress ten times a second, "ops N reconnects N",
 *for scripts that pull the plug meanwhile. At the end all is read once more. Exit 0 = no error and
 *every byte right.
 *
 * With -g each queue has a key registered under a reservation of type 7, and its gate registers
 * again what the target forgot; it says "registered" each time. Then no keys are left at the end.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "blockdev/bdev.h"
#include "util/checked.h"
#include "util/err.h"
#include "util/log.h"

#define UNIT 4096u
#define MAX_UNITS 32u /* of a request */

struct slot {
	struct bdev_req req;
	struct worker *worker;
	struct iovec iov[4];
	char *buf;
	uint64_t first;
	uint32_t nr;
	bool verify;
};

struct gate {
	struct bdev_req req;
	struct worker *worker;
	uint64_t keys[64];
};

struct worker {
	pthread_t thread;
	struct gate gate;
	struct bdev *bdev;
	unsigned int seed;
	int id, depth, in_flight;
	uint64_t base_bytes, nr_units, next_number;
	uint64_t *number; /* of the last write; 0 = zeroes, UINT64_MAX = undefined */
	bool *busy;
	uint64_t stop_ns;
	struct bdev_queue *queue;
	struct loop *loop;
	_Atomic uint64_t ops;
	_Atomic int failed;
	_Atomic bool ended;
};

static volatile sig_atomic_t stop;

static void on_term(int signal)
{
	stop = 1;
}

static uint64_t random_below(struct worker *w, uint64_t n)
{
	return (((uint64_t)rand_r(&w->seed) << 31) ^ (uint64_t)rand_r(&w->seed)) % n;
}

static void fail(struct worker *w, const char *what, uint64_t unit, int err)
{
	fprintf(stderr, "queue %d: %s at %llu: %s\n", w->id, what,
		(unsigned long long)(w->base_bytes + unit * UNIT), err_str(err));
	atomic_store(&w->failed, 1);
}

static void fill(struct worker *w, char *buf, uint64_t unit, uint64_t number)
{
	uint64_t *p = (uint64_t *)buf;

	for (unsigned int i = 0; i < UNIT / 8; i++)
		p[i] = number ? number * 0x9e3779b97f4a7c15ull + (w->base_bytes / UNIT + unit) + i
			      : 0;
}

static void check(struct worker *w, const char *buf, uint64_t unit)
{
	static _Thread_local uint64_t want[UNIT / 8];

	if (w->number[unit] == UINT64_MAX)
		return;
	fill(w, (char *)want, unit, w->number[unit]);
	if (memcmp(want, buf, UNIT))
		fail(w, "wrong data", unit, -EIO);
}

static void next(struct slot *s);

static void done(struct bdev_req *req, int status)
{
	struct slot *s = container_of(req, struct slot, req);
	struct worker *w = s->worker;

	w->in_flight--;
	atomic_fetch_add(&w->ops, 1);
	if (status)
		fail(w, "request failed", s->first, status);
	for (uint32_t i = 0; i < s->nr; i++) {
		if (!status && req->op == BDEV_READ)
			check(w, s->buf + (size_t)i * UNIT, s->first + i);
		w->busy[s->first + i] = false;
	}
	next(s);
}

static bool take_range(struct slot *s)
{
	struct worker *w = s->worker;

	s->nr = 1 + random_below(w, MAX_UNITS);
	s->first = random_below(w, w->nr_units - s->nr);
	for (uint32_t i = 0; i < s->nr; i++)
		if (w->busy[s->first + i])
			return false;
	for (uint32_t i = 0; i < s->nr; i++)
		w->busy[s->first + i] = true;
	return true;
}

static void set_numbers(struct slot *s, uint64_t number)
{
	for (uint32_t i = 0; i < s->nr; i++)
		s->worker->number[s->first + i] = number;
}

static void set_iov(struct slot *s)
{
	size_t len = (size_t)s->nr * UNIT, at = 0;
	int n = 1 + random_below(s->worker, 4);

	s->req.iov = s->iov;
	for (s->req.nr_iov = 0; s->req.nr_iov < n; s->req.nr_iov++) {
		size_t part = s->req.nr_iov == n - 1 ? len - at : (len / n) & ~(size_t)511;

		s->iov[s->req.nr_iov] = (struct iovec){s->buf + at, part};
		at += part;
	}
}

static void next(struct slot *s)
{
	struct worker *w = s->worker;
	uint32_t caps = bdev_geom(w->bdev).caps;
	unsigned int dice = random_below(w, 100);
	int err;

	s->nr = 0;
	if (stop || clock_mono_ns() >= w->stop_ns || atomic_load(&w->failed))
		return;
	memset(&s->req, 0, sizeof(s->req));
	s->req.done = done;
	s->req.op = dice < 45		      ? BDEV_WRITE
		    : dice < 93		      ? BDEV_READ
		    : dice < 95		      ? BDEV_FLUSH
		    : dice < 98		      ? BDEV_WRITE_ZEROES
		    : caps & BDEV_CAN_DISCARD ? BDEV_DISCARD
					      : BDEV_READ;
	if (s->req.op == BDEV_WRITE && dice < 3 && (caps & (BDEV_CAN_FUA | BDEV_CAN_FLUSH)))
		s->req.flags = BDEV_FUA;
	if (s->req.op != BDEV_FLUSH) {
		while (!take_range(s))
			;
		s->req.off_bytes = w->base_bytes + s->first * UNIT;
		s->req.len_bytes = (uint64_t)s->nr * UNIT;
		set_iov(s);
	}
	if (s->req.op == BDEV_WRITE) {
		set_numbers(s, ++w->next_number);
		for (uint32_t i = 0; i < s->nr; i++)
			fill(w, s->buf + (size_t)i * UNIT, s->first + i, w->next_number);
	} else if (s->req.op == BDEV_WRITE_ZEROES) {
		set_numbers(s, 0);
	} else if (s->req.op == BDEV_DISCARD) {
		set_numbers(s, UINT64_MAX);
	}
	w->in_flight++;
	err = bdev_submit(w->queue, &s->req);
	if (err) {
		w->in_flight--;
		fail(w, "submit refused", s->first, err);
	}
}

/* ---- the gate ---- */

#define KEY 0xc5f5000000001000ull

static _Thread_local struct worker *this_worker;

static void gate_step(struct bdev_req *req, int status);

static void gate_send(struct gate *gate, enum bdev_op op)
{
	struct worker *w = gate->worker;

	gate->req = (struct bdev_req){.op = op,
		.flags = BDEV_GATE,
		.done = gate_step,
		.arg = w->queue,
		.pr = {.key = KEY + w->id,
			.new_key = KEY + w->id,
			.keys = gate->keys,
			.max_keys = ARRAY_SIZE(gate->keys),
			.type = BDEV_PR_WRITE_EXCLUSIVE_ALL}};
	if (bdev_submit(w->queue, &gate->req))
		abort();
}

static bool gate_has_key(const struct gate *gate)
{
	for (uint32_t i = 0; i < MIN(gate->req.pr.nr_keys, ARRAY_SIZE(gate->keys)); i++)
		if (gate->keys[i] == KEY + gate->worker->id)
			return true;
	return false;
}

static void gate_step(struct bdev_req *req, int status)
{
	struct gate *gate = container_of(req, struct gate, req);
	struct worker *w = gate->worker;

	if (status)
		fail(w, "gate", 0, status);
	if (status || req->op == BDEV_PR_RESERVE ||
		(req->op == BDEV_PR_READ_KEYS && gate_has_key(gate))) {
		bdev_queue_gate_done(w->queue, status);
	} else if (req->op == BDEV_PR_READ_KEYS) {
		gate_send(gate, BDEV_PR_REGISTER);
	} else {
		printf("registered queue %d\n", w->id);
		gate_send(gate, BDEV_PR_RESERVE);
	}
}

static void gate_closed(void *arg, struct bdev_queue *queue)
{
	this_worker->queue = queue;
	this_worker->gate.worker = this_worker;
	gate_send(&this_worker->gate, BDEV_PR_READ_KEYS);
}

static int count_keys(struct bdev *bdev)
{
	struct bdev_req req = {.op = BDEV_PR_READ_KEYS};
	struct bdev_queue *queue;
	struct loop *loop;
	int err;

	bdev_set_gate(bdev, NULL, NULL);
	if (loop_new(&loop) || bdev_queue_open(bdev, loop, &queue))
		abort();
	err = bdev_sync(queue, &req);
	bdev_queue_close(queue);
	loop_free(loop);
	printf("keys left: %u\n", req.pr.nr_keys);
	return err || req.pr.nr_keys;
}

static void read_all(struct worker *w)
{
	char *buf = aligned_alloc(UNIT, UNIT * 64);
	uint64_t unit, n;
	int err;

	for (unit = 0; unit < w->nr_units && !atomic_load(&w->failed); unit += n) {
		n = MIN(64, w->nr_units - unit);
		err = bdev_pread(w->queue, buf, n * UNIT, w->base_bytes + unit * UNIT);
		if (err)
			fail(w, "final read", unit, err);
		for (uint64_t i = 0; i < n && !err; i++)
			check(w, buf + i * UNIT, unit + i);
	}
	free(buf);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct slot *slots = calloc(w->depth, sizeof(*slots));
	int err = loop_new(&w->loop);

	this_worker = w;
	if (!err)
		err = bdev_queue_open(w->bdev, w->loop, &w->queue);
	if (err) {
		fail(w, "can't open the queue", 0, err);
		atomic_store(&w->ended, true);
		return NULL;
	}
	for (int i = 0; i < w->depth; i++) {
		slots[i].worker = w;
		slots[i].buf = aligned_alloc(UNIT, UNIT * MAX_UNITS);
		next(&slots[i]);
	}
	while (w->in_flight)
		loop_run_once(w->loop, true);
	read_all(w);
	bdev_queue_close(w->queue);
	loop_free(w->loop);
	for (int i = 0; i < w->depth; i++)
		free(slots[i].buf);
	free(slots);
	atomic_store(&w->ended, true);
	return NULL;
}

static void progress(struct bdev *bdev, struct worker *workers, int n)
{
	bool going = true;

	while (going) {
		struct bdev_counters counters;
		uint64_t ops = 0;

		usleep(100000);
		going = false;
		for (int i = 0; i < n; i++) {
			ops += atomic_load(&workers[i].ops);
			going |= !atomic_load(&workers[i].ended);
		}
		bdev_counters(bdev, &counters);
		printf("ops %llu reconnects %llu resends %llu\n", (unsigned long long)ops,
			(unsigned long long)counters.reconnects,
			(unsigned long long)counters.resends);
		fflush(stdout);
	}
}

struct config {
	int nr_queues, depth;
	uint64_t base_bytes, size_bytes;
	double seconds;
	bool gate;
};

static int run(struct bdev *bdev, const struct config *config)
{
	struct worker *workers = calloc(config->nr_queues, sizeof(*workers));
	uint64_t stop_ns = clock_mono_ns() + (uint64_t)(config->seconds * 1e9);
	int failed = 0;

	for (int i = 0; i < config->nr_queues; i++) {
		struct worker *w = &workers[i];

		w->bdev = bdev;
		w->id = i;
		w->seed = 4711 + i;
		w->depth = config->depth;
		w->nr_units = config->size_bytes / config->nr_queues / UNIT;
		w->base_bytes = config->base_bytes + i * w->nr_units * UNIT;
		w->number = malloc(w->nr_units * sizeof(*w->number));
		memset(w->number, 0xff, w->nr_units * sizeof(*w->number));
		w->busy = calloc(w->nr_units, sizeof(*w->busy));
		w->stop_ns = stop_ns;
		if (pthread_create(&w->thread, NULL, work, w))
			abort();
	}
	progress(bdev, workers, config->nr_queues);
	for (int i = 0; i < config->nr_queues; i++) {
		pthread_join(workers[i].thread, NULL);
		failed |= atomic_load(&workers[i].failed);
		free(workers[i].number);
		free(workers[i].busy);
	}
	free(workers);
	return failed;
}

static int parse(int argc, char **argv, struct config *config, struct bdev_opts *opts)
{
	int c;

	while ((c = getopt(argc, argv, "q:d:b:m:a:k:g")) != -1) {
		switch (c) {
		case 'q':
			config->nr_queues = atoi(optarg);
			break;
		case 'd':
			config->depth = atoi(optarg);
			break;
		case 'b':
			config->base_bytes = strtoull(optarg, NULL, 10) << 20;
			break;
		case 'm':
			config->size_bytes = strtoull(optarg, NULL, 10) << 20;
			break;
		case 'a':
			opts->auth_file = optarg;
			break;
		case 'k':
			opts->tls_psk_file = optarg;
			break;
		case 'g':
			config->gate = true;
			break;
		default:
			return -EINVAL;
		}
	}
	if (argc - optind != 2)
		return -EINVAL;
	config->seconds = atof(argv[optind + 1]);
	return 0;
}

int main(int argc, char **argv)
{
	struct config config = {.nr_queues = 2, .depth = 16, .size_bytes = 32 << 20};
	struct bdev_opts opts = {0};
	char *error = NULL;
	struct bdev *bdev;
	int err, failed;

	if (parse(argc, argv, &config, &opts)) {
		fprintf(stderr,
			"usage: restart [-q N] [-d N] [-b MIB] [-m MIB] [-a FILE] [-k FILE] [-g] "
			"URI SECONDS\n");
		return 2;
	}
	signal(SIGTERM, on_term);
	log_set_level(LOG_LVL_INFO);
	err = bdev_open(argv[optind], &opts, &bdev, &error);
	if (err) {
		fprintf(stderr, "%s (%s)\n", error ? error : "no reason", err_str(err));
		free(error);
		return 1;
	}
	if (config.gate)
		bdev_set_gate(bdev, gate_closed, NULL);
	failed = run(bdev, &config);
	if (config.gate)
		failed |= count_keys(bdev);
	bdev_close(bdev);
	puts(failed ? "FAILED" : "all right");
	return failed;
}
