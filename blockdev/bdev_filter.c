/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What filters share: sending a request on, and being made from a URI. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blockdev/bdev_internal.h"

static const char *const op_names[BDEV_NR_OPS] = {
	[BDEV_READ] = "read",
	[BDEV_WRITE] = "write",
	[BDEV_FLUSH] = "flush",
	[BDEV_DISCARD] = "discard",
	[BDEV_WRITE_ZEROES] = "zero",
	[BDEV_PR_REGISTER] = "register",
	[BDEV_PR_RESERVE] = "reserve",
	[BDEV_PR_PREEMPT] = "preempt",
	[BDEV_PR_READ_KEYS] = "readkeys",
	[BDEV_PR_READ_RESERVATION] = "readreservation",
	[BDEV_LUN_RESET] = "reset",
	[BDEV_MEASURE] = "measure",
};

static void forward_done(struct bdev_req *child, int status)
{
	struct bdev_io *io = child->arg;

	*io->pr = child->pr;
	bdev_io_complete(io, status);
}

void bdev_filter_forward(struct bdev_io *io, struct bdev_req *child,
	void (*done)(struct bdev_req *child, int status))
{
	int err;

	*child = (struct bdev_req){
		.op = io->op,
		.flags = io->flags,
		.off_bytes = io->off_bytes,
		.len_bytes = io->len_bytes,
		.iov = io->iov,
		.nr_iov = io->nr_iov,
		.pr = *io->pr,
		.done = done ? done : forward_done,
		.arg = io,
	};
	err = bdev_submit(io->queue->lower, child);
	if (err)
		child->done(child, err); /* refused: the same way, so that done can clean up */
}

/* ---- "name(args)" ---- */

static int find_op(const char *name, size_t len)
{
	for (int op = 0; op < BDEV_NR_OPS; op++)
		if (strlen(op_names[op]) == len && strncmp(op_names[op], name, len) == 0)
			return op;
	return -EINVAL;
}

/* "read+write" to a mask; "all". */
static int parse_op_mask(const char *text, uint32_t *ret_mask)
{
	uint32_t mask = 0;

	if (strcmp(text, "all") == 0) {
		*ret_mask = (1u << BDEV_NR_OPS) - 1;
		return 0;
	}
	while (*text) {
		size_t n = strcspn(text, "+");
		int op = find_op(text, n);

		if (op < 0)
			return op;
		mask |= 1u << op;
		text += n;
		text += *text == '+';
	}
	*ret_mask = mask;
	return mask ? 0 : -EINVAL;
}

static int parse_number(const char *text, uint64_t max, uint64_t *ret_n)
{
	char *end;
	unsigned long long n;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || n > max)
		return -EINVAL;
	*ret_n = n;
	return 0;
}

static int parse_err(const char *text, int *ret_err)
{
	static const struct {
		const char *name;
		int err;
	} names[] = { { "EIO", -EIO }, { "ENOSPC", -ENOSPC }, { "EREMOTEIO", -EREMOTEIO },
		{ "EOPNOTSUPP", -EOPNOTSUPP }, { "EBUSY", -EBUSY }, { "ENOMEM", -ENOMEM },
		{ "FENCED", -ERR_FENCED }, { "TRANSPORT", -ERR_TRANSPORT } };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(names[i].name, text) == 0) {
			*ret_err = names[i].err;
			return 0;
		}
	}
	return -EINVAL;
}

/* What any of the filters can be told. */
struct filter_args {
	struct bdev_fault_rule rule;
	struct bdev_delay delay;
};

static int parse_fault_arg(struct bdev_fault_rule *rule, const char *key, const char *value)
{
	if (strcmp(key, "ops") == 0)
		return parse_op_mask(value, &rule->op_mask);
	if (strcmp(key, "nth") == 0)
		return parse_number(value, UINT64_MAX, &rule->nth);
	if (strcmp(key, "err") == 0)
		return parse_err(value, &rule->err);
	if (strcmp(key, "sticky") == 0 && *value == '\0') {
		rule->sticky = true;
		return 0;
	}
	return -EINVAL;
}

/* "<op>_ms=N" */
static int parse_delay_arg(struct bdev_delay *delay, const char *key, const char *value)
{
	const char *suffix = strstr(key, "_ms");
	uint64_t ms;
	int op;

	if (!suffix || suffix[3] != '\0')
		return -EINVAL;
	op = find_op(key, (size_t)(suffix - key));
	if (op < 0 || parse_number(value, 3600000, &ms))
		return -EINVAL;
	delay->ms[op] = (uint32_t)ms;
	return 0;
}

static int parse_args(const char *name, char *text, struct filter_args *args, char **ret_error)
{
	char *save = NULL;

	for (char *arg = strtok_r(text, ",", &save); arg; arg = strtok_r(NULL, ",", &save)) {
		char *eq = strchr(arg, '=');
		const char *value = eq ? eq + 1 : "";
		int err = -EINVAL;

		if (eq)
			*eq = '\0';
		if (strcmp(name, "fault") == 0)
			err = parse_fault_arg(&args->rule, arg, value);
		else if (strcmp(name, "delay") == 0)
			err = parse_delay_arg(&args->delay, arg, value);
		if (err)
			return bdev_fail(ret_error, err, "the filter %s has no argument \"%s%s%s\"",
				name, arg, eq ? "=" : "", value);
	}
	return 0;
}

int bdev_filter_parse(const char *name, const char *text, struct bdev *lower,
	struct bdev **ret_bdev, char **ret_error)
{
	struct filter_args args = { .rule = { .err = -EIO } };
	char *copy = strdup(text);
	int err;

	if (!copy)
		return -ENOMEM;
	err = parse_args(name, copy, &args, ret_error);
	free(copy);
	if (err)
		return err;
	if (strcmp(name, "fault") == 0)
		return bdev_fault_new(lower, &args.rule, ret_bdev);
	if (strcmp(name, "delay") == 0)
		return bdev_delay_new(lower, &args.delay, ret_bdev);
	if (strcmp(name, "stats") == 0)
		return bdev_stats_new(lower, ret_bdev);
	if (strcmp(name, "crash") == 0)
		return bdev_crash_new(lower, ret_bdev);
	if (strcmp(name, "overlay") == 0)
		return bdev_overlay_new(lower, ret_bdev);
	return bdev_fail(ret_error, -EINVAL, "there is no filter \"%s\"", name);
}
