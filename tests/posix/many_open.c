/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two thousand files open at once, each with its own bytes. */
#include <sys/resource.h>

#include "tests/posix/posix.h"

#define NR 2000

int main(void)
{
	static int fd[NR];
	char name[32], text[32], got[32];
	struct rlimit limit = { NR + 100, NR + 100 };

	OK(setrlimit(RLIMIT_NOFILE, &limit));
	for (int i = 0; i < NR; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		fd[i] = open_ok(name, O_CREAT | O_RDWR);
	}
	for (int i = 0; i < NR; i++) {
		int len = snprintf(text, sizeof(text), "text of %d", i);
		CHECK_EQ(pwrite(fd[i], text, (size_t)len, i % 3 * 5000), len);
	}
	for (int i = 0; i < NR; i += 2) {
		snprintf(name, sizeof(name), "f%d", i);
		OK(unlink(name));
	}
	for (int i = 0; i < NR; i++) {
		int len = snprintf(text, sizeof(text), "text of %d", i);
		CHECK_EQ(pread(fd[i], got, sizeof(got), i % 3 * 5000), len);
		CHECK(!memcmp(got, text, (size_t)len));
		OK(close(fd[i]));
	}
	return 0;
}
