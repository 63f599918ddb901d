/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/tool.h"
#include "util/checked.h"

int tool_parse_size(const char *text, uint64_t *ret_bytes)
{
	static const char suffixes[] = "kMGTP";
	char *end;

	errno = 0;
	unsigned long long n = strtoull(text, &end, 10);
	if (end == text || strchr(text, '-'))
		return -EINVAL;
	if (errno)
		return -ERANGE;
	uint64_t bytes = n;
	const char *s = *end ? strchr(suffixes, *end == 'K' ? 'k' : *end) : NULL;
	if (*end && (!s || (end[1] && strcmp(end + 1, "iB") && strcmp(end + 1, "B"))))
		return -EINVAL;
	for (const char *p = suffixes; s && p <= s; p++)
		if (checked_mul(bytes, (uint64_t)1024, &bytes))
			return -ERANGE;
	*ret_bytes = bytes;
	return 0;
}

const char *tool_size(uint64_t bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	static char text[4][32];
	static unsigned next;
	char *out = text[next++ % 4];
	double v = (double)bytes;
	unsigned u = 0;

	while (v >= 1024.0 && u < ARRAY_SIZE(units) - 1) {
		v /= 1024.0;
		u++;
	}
	snprintf(out, sizeof(text[0]), v < 10 && u ? "%.1f %s" : "%.0f %s", v, units[u]);
	return out;
}

void tool_progress(const char *label, uint64_t done, uint64_t total)
{
	char bar[31];
	unsigned filled = total ? (unsigned)((double)done / (double)total * 30.0) : 30;

	if (!isatty(STDERR_FILENO))
		return;
	for (unsigned i = 0; i < 30; i++)
		bar[i] = i < filled ? '#' : ' ';
	bar[30] = 0;
	fprintf(stderr, "\r%s  [%s] %3u%%%s", label, bar, filled * 100 / 30,
		done >= total ? "\n" : "");
	fflush(stderr);
}
