/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One member of a cluster, without a file system: an lm, a queue for it and a queue of a worker
 * thread. Prints what lm tells, one line each, and takes commands, one line each, on its input:
 *
 *   write C    the worker writes a block full of C; "wrote C STATUS"
 *   late C     the same, but when the process finds that it was stopped; "late C STATUS"
 *   read       "read C"
 *   keys       "keys KEY... type T"
 *   status     "status coordinator=N members=MASK quorate=B activity=..."
 *   fence N    as coordinator; "fence N STATUS"
 *   resign N   as coordinator
 *   hold       does not answer step_down() and become_coordinator() from now on
 *   leave      leaves in order and ends
 */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lockmgr/lm_internal.h"
#include "util/checked.h"
#include "util/err.h"
#include "util/log.h"

#define DATA_BLK 200u

static struct loop *loop;
static struct bdev *bdev;
static struct bdev_queue *queue;
static struct lm *lm;
static bool hold, left;
static struct ev_io input;

/* ---- the worker ---- */

static struct loop *worker_loop;
static struct bdev_queue *worker_queue;
static pthread_t worker_thread;
static struct ev_timer worker_timer;
static struct loop_work worker_work, worker_stop_work;
static struct bdev_req worker_req;
static struct iovec worker_iov;
static char worker_block[4096];
static char worker_char;
static _Atomic char late_char;
static const char *worker_word;
static bool worker_busy, worker_stopping;
static uint64_t worker_seen_ns;
static pthread_barrier_t worker_ready;

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	printf("%s\n", line);
	fflush(stdout);
}

static const char *status_text(int status)
{
	return status == 0 ? "ok" : status == -ERR_FENCED ? "fenced" : err_str(status);
}

static void worker_done(struct bdev_req *req, int status)
{
	worker_busy = false;
	if (req->op == BDEV_READ && status == 0)
		say("read %c", worker_block[0] ? worker_block[0] : '0');
	else
		say("%s %c %s", worker_word, worker_char, status_text(status));
}

static void worker_submit(enum bdev_op op, const char *word, char c)
{
	int err;

	worker_word = word;
	worker_char = c;
	memset(worker_block, c, sizeof(worker_block));
	worker_iov = (struct iovec){ worker_block, sizeof(worker_block) };
	worker_req = (struct bdev_req){ .op = op, .off_bytes = DATA_BLK * 4096, .len_bytes = 4096,
		.iov = &worker_iov, .nr_iov = 1, .done = worker_done };
	worker_busy = true;
	err = bdev_submit(worker_queue, &worker_req);
	if (err)
		worker_done(&worker_req, err);
}

/* From the service thread: worker_char is set; '?' reads. */
static void worker_command(struct loop_work *work)
{
	if (worker_busy)
		say("busy");
	else if (worker_char == '?')
		worker_submit(BDEV_READ, "read", '0');
	else
		worker_submit(BDEV_WRITE, "wrote", worker_char);
}

/* Before anything else of this process has heard anything, hence the first to be late. */
static void worker_tick(struct ev_loop *ev, struct ev_timer *timer, int revents)
{
	uint64_t now_ns = clock_mono_ns();
	bool was_stopped = now_ns - worker_seen_ns > 1000000000;

	worker_seen_ns = now_ns;
	if (was_stopped && late_char && !worker_busy) {
		char c = late_char;

		late_char = 0;
		worker_submit(BDEV_WRITE, "late", c);
	}
}

static void worker_stop_fn(struct loop_work *work)
{
	worker_stopping = true;
	loop_stop(worker_loop);
}

static void *worker_main(void *arg)
{
	int err;

	if (loop_new(&worker_loop)) {
		say("no worker");
		exit(1);
	}
	err = bdev_queue_open(bdev, worker_loop, &worker_queue);
	if (err) {
		say("worker: %s", err_str(err));
		exit(1);
	}
	worker_seen_ns = clock_mono_ns();
	ev_timer_init(&worker_timer, worker_tick, 0.005, 0.005);
	ev_timer_start(loop_ev(worker_loop), &worker_timer);
	pthread_barrier_wait(&worker_ready);
	while (!worker_stopping)
		loop_run(worker_loop);
	while (worker_busy || !lm_gate_is_idle(lm, worker_queue))
		loop_run_once(worker_loop, true);
	ev_timer_stop(loop_ev(worker_loop), &worker_timer);
	bdev_queue_close(worker_queue);
	return NULL;
}

/* ---- what lm tells ---- */

static void on_become(void *arg)
{
	uint64_t epoch = 0;

	say("become");
	for (uint32_t node = 1; node <= LM_MAX_NODES; node++)
		epoch = MAX(epoch, lm->table.nodes[node].slot.epoch);
	if (!hold)
		lm_serving(lm, epoch + 1);
}

static void on_coordinator(void *arg, const struct lm_coordinator *coord)
{
	say("coordinator %u epoch %llu address %s", coord->node, (unsigned long long)coord->epoch,
		coord->address);
}

static void on_gone(void *arg, uint32_t node, uint64_t generation)
{
	say("gone %u", node);
}

static void on_membership(void *arg, uint64_t mask, bool quorate)
{
	say("members %llx %s", (unsigned long long)mask, quorate ? "quorate" : "inquorate");
}

static void on_fenced(void *arg, const char *why)
{
	say("fenced: %s", why);
}

static void on_step_down(void *arg, const char *why)
{
	say("step_down: %s", why);
	if (!hold)
		lm_resign(lm, 0);
}

static const struct lm_ops ops = {
	.become_coordinator = on_become,
	.coordinator = on_coordinator,
	.node_gone = on_gone,
	.membership = on_membership,
	.fenced = on_fenced,
	.step_down = on_step_down,
};

/* ---- commands ---- */

static void fence_done(void *arg, int status)
{
	say("fence %u %s", (unsigned int)(uintptr_t)arg, status_text(status));
}

static void on_left(void *arg)
{
	say("left");
	left = true;
	loop_stop(loop);
}

static struct lm_io keys_io;
static struct lm_keys keys;

static void reservation_read(struct lm_io *io, int status)
{
	char line[400];
	int n = 0;

	for (uint32_t i = 0; i < keys.nr && n < 380; i++)
		n += snprintf(line + n, sizeof(line) - (size_t)n, " %u/%x",
			lm_key_node(lm->cfg.uuid, keys.keys[i]), (uint32_t)keys.keys[i]);
	line[n] = '\0';
	say("keys%s type %u", line, status ? 0 : io->req.pr.type);
}

static void keys_read(struct lm_io *io, int status)
{
	status = lm_keys_take(&keys, io, status);
	if (status == -EAGAIN)
		lm_keys_read(&keys, io, queue, 0, keys_read);
	else if (status)
		say("keys: %s", status_text(status));
	else
		lm_io_cmd(io, queue, BDEV_PR_READ_RESERVATION, NULL, 0, reservation_read);
}

static void print_status(void)
{
	struct lm_status st;

	lm_status(lm, &st);
	say("status coordinator=%u members=%llx quorate=%d fencing=%d activity=%s", st.coord.node,
		(unsigned long long)st.member_mask, st.quorate, st.fencing, st.activity);
}

static void leave(void)
{
	if (worker_loop) {
		worker_stop_work.fn = worker_stop_fn;
		loop_post(worker_loop, &worker_stop_work);
		pthread_join(worker_thread, NULL);
	}
	lm_leave(lm, on_left, NULL);
}

static void command(char *line)
{
	char word[20] = "", arg[20] = "";

	if (sscanf(line, "%19s %19s", word, arg) < 1)
		return;
	if (strcmp(word, "write") == 0 || strcmp(word, "read") == 0) {
		worker_char = word[0] == 'r' ? '?' : arg[0];
		worker_work.fn = worker_command;
		loop_post(worker_loop, &worker_work);
	} else if (strcmp(word, "late") == 0) {
		late_char = arg[0];
		say("armed");
	} else if (strcmp(word, "keys") == 0) {
		lm_keys_read(&keys, &keys_io, queue, 0, keys_read);
	} else if (strcmp(word, "status") == 0) {
		print_status();
	} else if (strcmp(word, "fence") == 0) {
		uint32_t node = (uint32_t)atoi(arg);

		lm_fence(lm, node, "the test says so", fence_done, (void *)(uintptr_t)node);
	} else if (strcmp(word, "resign") == 0) {
		lm_resign(lm, (uint32_t)atoi(arg));
	} else if (strcmp(word, "hold") == 0) {
		hold = true;
		say("holding");
	} else if (strcmp(word, "leave") == 0) {
		leave();
	} else {
		say("what?");
	}
}

static void on_input(struct ev_loop *ev, struct ev_io *io, int revents)
{
	static char buf[512];
	static size_t len;
	ssize_t n = read(0, buf + len, sizeof(buf) - 1 - len);
	char *end;

	if (n <= 0) {
		ev_io_stop(ev, io);
		return;
	}
	len += (size_t)n;
	buf[len] = '\0';
	while ((end = strchr(buf, '\n'))) {
		*end = '\0';
		command(buf);
		len -= (size_t)(end + 1 - buf);
		memmove(buf, end + 1, len + 1);
	}
}

/* ---- main ---- */

static int usage(void)
{
	fprintf(stderr, "usage: lmtest [--single] [--no-fence] [--no-courtesy] [--lease-ms N]\n"
			"              [--beat-ms N] [--silence-ms N] [--initiator NAME] URI\n");
	return 2;
}

static int parse(int argc, char **argv, struct lm_cfg *cfg, struct bdev_opts *opts,
	bool *no_courtesy)
{
	static const struct option longs[] = { { "single", 0, NULL, 's' },
		{ "no-fence", 0, NULL, 'f' }, { "no-courtesy", 0, NULL, 'c' },
		{ "lease-ms", 1, NULL, 'l' }, { "beat-ms", 1, NULL, 'b' },
		{ "silence-ms", 1, NULL, 'q' }, { "initiator", 1, NULL, 'i' }, { 0 } };
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 's': cfg->single = true; break;
		case 'f': cfg->no_fence = true; break;
		case 'c': *no_courtesy = true; break;
		case 'l': cfg->lease_ms = (uint32_t)atoi(optarg); break;
		case 'b': cfg->beat_ms = (uint32_t)atoi(optarg); break;
		case 'q': cfg->silence_ms = (uint32_t)atoi(optarg); break;
		case 'i': opts->initiator = optarg; break;
		default: return 2;
		}
	}
	return optind == argc - 1 ? 0 : 2;
}

int main(int argc, char **argv)
{
	struct lm_cfg cfg = {
		.uuid = { 0xc5, 0xf5, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14 },
		.slot_blk = 64,
		.port = 4711,
		.ops = &ops,
	};
	struct bdev_opts opts = { 0 };
	bool no_courtesy = false;
	char *why = NULL;
	int err;

	if (parse(argc, argv, &cfg, &opts, &no_courtesy))
		return usage();
	log_set_level(LOG_LVL_INFO);
	if (loop_new(&loop))
		return 1;
	if (bdev_open(argv[optind], &opts, &bdev, &why)) {
		say("failed: %s", why);
		return 1;
	}
	cfg.loop = loop;
	cfg.bdev = bdev;
	err = lm_new(&cfg, &lm);
	if (!err) {
		lm->no_courtesy = no_courtesy;
		err = bdev_queue_open(bdev, loop, &queue);
	}
	if (!err)
		err = lm_join(lm, queue, &why);
	if (err) {
		say("failed: %s", why ? why : err_str(err));
		free(why);
		return 1;
	}
	pthread_barrier_init(&worker_ready, NULL, 2);
	pthread_create(&worker_thread, NULL, worker_main, NULL);
	pthread_barrier_wait(&worker_ready);
	say("joined node %u pid %d key %x", lm_node(lm), (int)getpid(), (uint32_t)lm->key);
	ev_io_init(&input, on_input, 0, EV_READ);
	ev_io_start(loop_ev(loop), &input);
	while (!left)
		loop_run(loop);
	lm_free(lm);
	bdev_queue_close(queue);
	lm_keys_done(&keys);
	bdev_close(bdev);
	loop_free(worker_loop);
	ev_io_stop(loop_ev(loop), &input);
	loop_free(loop);
	return 0;
}
