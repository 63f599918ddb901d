/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The twin: a decoder that believes a length. That the driver must find out. */
#include "tests/fuzz/fuzz.h"

const char *const fuzz_words[] = { NULL };

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	return 0;
}

void fuzz_seeds(void (*add)(const void *data, size_t len))
{
	add("TWIN\4\0\0\0abcd", 12);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_in in = { data, len };

	if (fuzz_num(&in, 4) != 0x4e495754 || len < 8)
		return 0;
	if (fuzz_num(&in, 4) > in.left + 4096)
		fuzz_fail("read past the end");
	return 0;
}
