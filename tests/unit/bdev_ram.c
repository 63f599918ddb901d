/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: util blockdev */
/*
 * What the common code does when the path is lost, the target forgets us, the power fails: a ram:
 * device can do all of it.
 */
#include <errno.h>

#include "tests/unit/bdev_test.h"

static void run_ms(struct dut *d, uint32_t ms)
{
	uint64_t end = clock_mono_ns() + (uint64_t)ms * 1000000;

	while (clock_mono_ns() < end)
		loop_run_once(d->loop, false);
}

/* ---- B4 ---- */

static void count_events(void *arg, enum bdev_event ev)
{
	((int *)arg)[ev]++;
}

static void path_lost(void)
{
	struct dut d = { 0 };
	struct bdev_counters counters;
	struct async a = { 0 }, b = { 0 };
	int events[4] = { 0 };

	CHECK_OK(loop_new(&d.loop));
	CHECK_OK(bdev_open("stats|ram:1M", NULL, &d.bdev, NULL));
	bdev_set_notify(d.bdev, count_events, events);
	CHECK_OK(bdev_queue_open(d.bdev, d.loop, &d.queue));
	CHECK_OK(dut_write(&d, 'a', 0, 0));
	bdev_ram_cut(d.bdev, true);
	async_start(&d, &a, BDEV_WRITE, 'b', 0, 0);
	async_start(&d, &b, BDEV_WRITE, 'c', 4096, BDEV_GATE);
	run_ms(&d, 50);
	CHECK(!a.over && !b.over);
	CHECK_EQ(events[BDEV_PATH_DOWN], 1);
	CHECK_EQ(events[BDEV_PATH_UP], 0);
	bdev_ram_cut(d.bdev, false);
	CHECK_OK(async_end(&d, &a));
	CHECK_OK(async_end(&d, &b));
	CHECK_EQ(events[BDEV_PATH_UP], 1);
	CHECK_EQ(dut_read(&d, 0), 'b');
	bdev_counters(d.bdev, &counters);
	CHECK_EQ(counters.reconnects, 1);
	CHECK_EQ(counters.gate_closings, 2);
	CHECK(counters.resends >= 1);
	CHECK_EQ(counters.in_flight, 0);
	dut_close(&d);
}

static void transport_timeout(void)
{
	struct bdev_opts opts = { .transport_timeout_ms = 60 };
	struct dut d = { 0 };
	struct async a = { 0 };
	uint64_t start;

	CHECK_OK(loop_new(&d.loop));
	CHECK_OK(bdev_open("ram:1M", &opts, &d.bdev, NULL));
	CHECK_OK(bdev_queue_open(d.bdev, d.loop, &d.queue));
	bdev_ram_cut(d.bdev, true);
	start = clock_mono_ns();
	CHECK_EQ(dut_write(&d, 'a', 0, 0), -ERR_TRANSPORT);
	CHECK(clock_mono_ns() - start >= 60000000);
	CHECK(clock_mono_ns() - start < 5000000000);
	CHECK_EQ(dut_write(&d, 'a', 0, 0), -ERR_TRANSPORT);
	/* not a fence: the queue goes on when the path is back */
	bdev_ram_cut(d.bdev, false);
	CHECK_OK(dut_write(&d, 'b', 0, 0));
	CHECK_EQ(dut_read(&d, 0), 'b');
	/* and one that comes back in time is not failed */
	bdev_ram_cut(d.bdev, true);
	async_start(&d, &a, BDEV_WRITE, 'c', 0, 0);
	run_ms(&d, 10);
	bdev_ram_cut(d.bdev, false);
	CHECK_OK(async_end(&d, &a));
	dut_close(&d);
}

static void fence_while_down(void)
{
	struct dut d = dut_open("ram:1M");
	struct async a = { 0 };

	bdev_ram_cut(d.bdev, true);
	async_start(&d, &a, BDEV_WRITE, 'a', 0, 0);
	run_ms(&d, 10);
	CHECK(!a.over);
	bdev_fence_self(d.bdev);
	CHECK_EQ(async_end(&d, &a), -ERR_FENCED);
	dut_close(&d);
}

/* ---- B5 ---- */

struct gate {
	struct bdev_req req;
	uint64_t keys[8];
	uint64_t key;
	bool manual, open;
	int nr_runs, nr_fails;
	struct bdev_queue *queue;
};

static void keys_read(struct bdev_req *req, int status)
{
	struct gate *gate = req->arg;
	bool there = false;

	for (uint32_t i = 0; i < req->pr.nr_keys && !status; i++)
		there |= gate->keys[i] == gate->key;
	gate->nr_fails += !there;
	if (!gate->manual)
		bdev_queue_gate_done(gate->queue, there ? 0 : -ERR_FENCED);
	else
		gate->open = true;
}

/* As the lock manager does: it belongs who finds its key. Key 0 = everybody does. */
static void gate_fn(void *arg, struct bdev_queue *queue)
{
	struct gate *gate = arg;

	gate->nr_runs++;
	gate->queue = queue;
	if (gate->key == 0) {
		bdev_queue_gate_done(queue, 0);
		return;
	}
	gate->req = (struct bdev_req){ .op = BDEV_PR_READ_KEYS,
		.flags = BDEV_GATE,
		.pr = { .keys = gate->keys, .max_keys = 8 },
		.done = keys_read,
		.arg = gate };
	CHECK_OK(bdev_submit(queue, &gate->req));
}

static struct dut open_gated(struct gate *gate, uint64_t key)
{
	struct dut d = { 0 };
	struct bdev_req reg = { .op = BDEV_PR_REGISTER, .pr = { .new_key = key } };

	CHECK_OK(loop_new(&d.loop));
	CHECK_OK(bdev_open("delay(readkeys_ms=10)|ram:1M?name=gated", NULL, &d.bdev, NULL));
	bdev_set_gate(d.bdev, gate_fn, gate);
	CHECK_OK(bdev_queue_open(d.bdev, d.loop, &d.queue));
	CHECK_OK(bdev_sync(d.queue, &reg));
	gate->key = key;
	return d;
}

static void restart_forgets(void)
{
	struct gate gate = { 0 };
	struct dut d = open_gated(&gate, 77);

	CHECK_EQ(gate.nr_runs, 1);
	CHECK_OK(dut_write(&d, 'a', 0, 0));
	bdev_ram_restart(d.bdev);
	/* Without the gate this write would succeed: no reservation is left to stop it. */
	CHECK_EQ(dut_write(&d, 'b', 0, 0), -ERR_FENCED);
	CHECK_EQ(gate.nr_runs, 2);
	CHECK_EQ(gate.nr_fails, 1);
	dut_close(&d);
}

static void reset_keeps(void)
{
	struct gate gate = { 0 };
	struct dut d = open_gated(&gate, 77), other = dut_open("ram:1M?name=gated");

	CHECK_OK(dut_op(&other, BDEV_LUN_RESET, 0, 0, 0));
	CHECK_OK(dut_write(&d, 'b', 0, 0));
	CHECK_EQ(gate.nr_runs, 2);
	CHECK_EQ(gate.nr_fails, 0);
	dut_close(&other);
	dut_close(&d);
}

/* A gate that closes while its function works is not opened by what that function had seen. */
static void closes_again(void)
{
	struct gate gate = { 0 };
	struct dut d = open_gated(&gate, 77), other = dut_open("ram:1M?name=gated");
	struct async a = { 0 }, b = { 0 };

	gate.manual = true;
	CHECK_OK(dut_op(&other, BDEV_LUN_RESET, 0, 0, 0));
	async_start(&d, &a, BDEV_WRITE, 'a', 0, 0);
	while (!gate.open)
		loop_run_once(d.loop, true);
	CHECK_EQ(gate.nr_runs, 2);
	CHECK_EQ(gate.nr_fails, 0); /* it has seen its key ... */
	bdev_ram_restart(d.bdev);   /* ... which is gone now; a gate request finds out */
	async_start(&d, &b, BDEV_READ, 0, 0, BDEV_GATE);
	CHECK_OK(async_end(&d, &b));
	gate.manual = false;
	bdev_queue_gate_done(d.queue, 0);
	CHECK_EQ(async_end(&d, &a), -ERR_FENCED);
	CHECK_EQ(gate.nr_runs, 3);
	CHECK_EQ(gate.nr_fails, 1);
	dut_close(&other);
	dut_close(&d);
}

/* The path goes and comes while the gate's own request is held: the function runs once more. */
static void lost_in_gate(void)
{
	struct gate gate = { 0 };
	struct dut d = open_gated(&gate, 77), other = dut_open("ram:1M?name=gated");

	CHECK_OK(dut_op(&other, BDEV_LUN_RESET, 0, 0, 0));
	for (int i = 0; i < 3; i++) {
		struct async a = { 0 };

		bdev_ram_cut(d.bdev, true);
		async_start(&d, &a, BDEV_WRITE, 'a', 0, 0);
		run_ms(&d, 20);
		CHECK(!a.over);
		bdev_ram_cut(d.bdev, false);
		run_ms(&d, 6);
		bdev_ram_cut(d.bdev, true);
		run_ms(&d, 20);
		bdev_ram_cut(d.bdev, false);
		CHECK_OK(async_end(&d, &a));
	}
	CHECK_EQ(gate.nr_fails, 0);
	CHECK(gate.nr_runs >= 4);
	dut_close(&other);
	dut_close(&d);
}

/* ---- a queue may be closed by the last done() ---- */

static void close_in_done(struct bdev_req *req, int status)
{
	struct dut *d = req->arg;

	CHECK_EQ(status, -ERR_FENCED);
	bdev_queue_close(d->queue);
	d->queue = NULL;
}

static void closed_by_done(void)
{
	struct dut d = dut_open("stats|delay(flush_ms=1000)|ram:1M");
	struct bdev_req req = { .op = BDEV_FLUSH, .done = close_in_done, .arg = &d };

	CHECK_OK(bdev_submit(d.queue, &req));
	run_ms(&d, 5);
	bdev_fence_self(d.bdev);
	while (d.queue)
		loop_run_once(d.loop, true);
	run_ms(&d, 5);
	dut_close(&d);
}

/* ---- flush and FUA, real and emulated ---- */

static void power_loss(const char *uri)
{
	struct dut d = dut_open(uri);

	CHECK_OK(dut_write(&d, 'a', 0, 0));
	CHECK_OK(dut_write(&d, 'a', 4096, 0));
	CHECK_OK(bdev_flush_sync(d.queue));
	CHECK_OK(dut_write(&d, 'b', 0, 0));
	bdev_ram_power_loss(d.bdev);
	CHECK_EQ(dut_read(&d, 0), 'a'); /* the model loses what was not flushed */
	CHECK_OK(dut_write(&d, 'c', 4096, BDEV_FUA));
	CHECK_OK(dut_op(&d, BDEV_WRITE_ZEROES, 8192, 3 << 20, BDEV_FUA));
	bdev_ram_power_loss(d.bdev);
	CHECK_EQ(dut_read(&d, 4096), 'c');
	CHECK_EQ(dut_read(&d, 8192), 0);
	CHECK_OK(dut_write(&d, 'd', 4 << 20, 0));
	CHECK_OK(bdev_flush_sync(d.queue));
	CHECK_OK(dut_op(&d, BDEV_WRITE_ZEROES, 2 << 20, 3 << 20, BDEV_FUA));
	bdev_ram_power_loss(d.bdev);
	CHECK_EQ(dut_read(&d, 4 << 20), 0);
	dut_close(&d);
}

/* A FUA write makes nothing else stable, where it is not emulated by a flush. */
static void fua_alone(void)
{
	struct dut d = dut_open("ram:1M?cache");

	CHECK_OK(dut_write(&d, 'a', 0, 0));
	CHECK_OK(dut_write(&d, 'b', 4096, BDEV_FUA));
	bdev_ram_power_loss(d.bdev);
	CHECK_EQ(dut_read(&d, 0), 0);
	CHECK_EQ(dut_read(&d, 4096), 'b');
	dut_close(&d);
}

int main(void)
{
	path_lost();
	transport_timeout();
	fence_while_down();
	restart_forgets();
	reset_keeps();
	closes_again();
	lost_in_gate();
	power_loss("ram:8M?cache");
	power_loss("stats|ram:8M?cache&no=fua");
	power_loss("ram:8M?cache&no=fua+zeroes&max_io=64k");
	fua_alone();
	closed_by_done();
	return 0;
}
