/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What driver.c gives targets, where libFuzzer drives them. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"

void fuzz_fail(const char *why)
{
	fprintf(stderr, "%s\n", why);
	abort();
}
