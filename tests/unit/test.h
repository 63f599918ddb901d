/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What every unit test uses: checks that name the place, and skipping with a reason. */
#ifndef TESTS_UNIT_TEST_H
#define TESTS_UNIT_TEST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/err.h"

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #cond);         \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

#define CHECK_EQ(a, b)                                                                             \
	do {                                                                                       \
		long long a_ = (long long)(a), b_ = (long long)(b);                                \
		if (a_ != b_) {                                                                    \
			fprintf(stderr, "%s:%d: failed: %s == %s (%lld, %lld)\n", __FILE__,        \
				__LINE__, #a, #b, a_, b_);                                         \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

#define CHECK_OK(expr)                                                                             \
	do {                                                                                       \
		int err_ = (expr);                                                                 \
		if (err_ != 0) {                                                                   \
			fprintf(stderr, "%s:%d: failed: %s: %s\n", __FILE__, __LINE__, #expr,      \
				err_str(err_));                                                    \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

#define SKIP(why)                                                                                  \
	do {                                                                                       \
		printf("skipped: %s\n", why);                                                      \
		exit(77);                                                                          \
	} while (0)

#endif
