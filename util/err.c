/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/err.h"

#include <errno.h>
#include <string.h>

#include "util/checked.h"

#define MAX_ERRNO 4095

static const struct {
	const char *text;
	int errno_code;
} codes[] = {
	[ERR_CORRUPT - ERR_FIRST] = { "corrupt metadata", EUCLEAN },
	[ERR_STALE - ERR_FIRST] = { "stale epoch or generation", ESTALE },
	[ERR_FENCED - ERR_FIRST] = { "this node was fenced", ESHUTDOWN },
	[ERR_TRANSPORT - ERR_FIRST] = { "path to the device or peer lost", EIO },
	/* WAIT and MOVED are answered inside; to let one out is a bug that must not loop a caller. */
	[ERR_WAIT - ERR_FIRST] = { "waiting for a block", EIO },
	[ERR_MOVED - ERR_FIRST] = { "the coordinator is elsewhere", EIO },
	[ERR_VERSION - ERR_FIRST] = { "unknown format, feature or protocol version", EOPNOTSUPP },
	[ERR_NOTCSV - ERR_FIRST] = { "not a csvfs volume", EINVAL },
	[ERR_KEY - ERR_FIRST] = { "wrong volume key", EACCES },
	[ERR_MOUNTED - ERR_FIRST] = { "mounted on this node already", EBUSY },
};

_Static_assert(ARRAY_SIZE(codes) == ERR_LAST - ERR_FIRST, "each private code has a text");

/* Index into codes, or -1. Compared before negation: INT_MIN has no opposite. */
static int code_index(int err)
{
	if (err > -ERR_FIRST || err <= -ERR_LAST)
		return -1;
	return -err - ERR_FIRST;
}

const char *err_str(int err)
{
	int i = code_index(err);
	const char *text;

	if (i >= 0)
		return codes[i].text;
	if (err == 0)
		return "success";
	if (err > 0 || err < -MAX_ERRNO)
		return "unknown error";
	text = strerrordesc_np(-err);
	return text ? text : "unknown error";
}

int err_to_errno(int err)
{
	int i = code_index(err);

	if (i >= 0)
		return codes[i].errno_code;
	if (err > 0 || err < -MAX_ERRNO)
		return EIO;
	return -err;
}
