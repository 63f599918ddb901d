/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of the conformance suite share. */
#ifndef TESTS_BLOCKDEV_CONF_H
#define TESTS_BLOCKDEV_CONF_H

#include <stdbool.h>
#include <stdint.h>

#include "blockdev/bdev.h"
#include "tests/unit/test.h"
#include "util/checked.h"

#define REGION_BYTES (16u << 20) /* what the tests write to, at the start of the device */
#define LAST_OP (1u << 20)	 /* what each of them may still change at the device's end */

/* The device under test; a test opens its own handles where it needs a gate, a second one ... */
struct conf {
	const char *uri;
	struct bdev_opts opts;
	uint64_t seed;
	struct loop *loop;
	struct bdev *bdev;
	struct bdev_queue *queue;
	struct bdev_geom geom;
};

/* 0 = passed, or the reason for which it does not apply. */
typedef const char *conf_test_fn(struct conf *conf);

conf_test_fn conf_geometry, conf_sizes, conf_iov_shapes, conf_split, conf_random, conf_fua_flush,
	conf_discard, conf_write_zeroes, conf_refused, conf_readonly, conf_counters, conf_threads,
	conf_gate, conf_gate_refuses, conf_deadline, conf_deadline_race, conf_fence_self,
	conf_pr_all_registrants, conf_pr_registrants_only, conf_pr_late_write, conf_pr_reset;

/* A request, its memory, and what became of it. */
struct conf_io {
	struct bdev_req req;
	struct iovec iov;
	bool busy, in_submit;
	int status;
	uint32_t nr_done;
	struct loop *loop;
};

/* A pattern that differs for each 8 bytes of the device and each tag. */
void conf_fill(void *buf, uint64_t len, uint64_t off, uint64_t tag);
/* Ends the test if buf differs from the pattern. */
void conf_verify(const void *buf, uint64_t len, uint64_t off, uint64_t tag);
uint64_t conf_random64(uint64_t *state);

/* Hands in; checks B1 (done not from within, not twice, on the loop's thread). */
int conf_submit(struct bdev_queue *queue, struct conf_io *io);
/* conf_submit() that must succeed, of a data op with one piece of memory (buf NULL for others). */
void conf_start(struct bdev_queue *queue, struct conf_io *io, enum bdev_op op, uint32_t flags,
	void *buf, uint64_t len, uint64_t off);
/* Runs the loop until *flag is false, for at most 30 s. */
void conf_wait(struct loop *loop, const bool *flag);
/* The same for one io; returns its status. */
int conf_finish(struct conf_io *io);
/* conf_start() and conf_finish() */
int conf_do(struct bdev_queue *queue, enum bdev_op op, uint32_t flags, void *buf, uint64_t len,
	uint64_t off);
/* Runs the loop for ms. */
void conf_run_ms(struct loop *loop, uint32_t ms);

/* Opens one more handle, or ends the test. prefix = filters, "" = none. */
struct bdev *conf_open(struct conf *conf, const char *prefix);
struct bdev_queue *conf_queue(struct bdev *bdev, struct loop *loop);
void *conf_alloc(uint64_t len);

#endif
