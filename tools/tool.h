/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the command-line programs share. */
#ifndef TOOLS_TOOL_H
#define TOOLS_TOOL_H

#include <stdbool.h>
#include <stdint.h>

#define TOOL_VERSION "csvfs 0.1.0"

/* "10G", "64k", "4096": bytes; suffixes k, M, G, T, P are powers of 1,024. -EINVAL, -ERANGE. */
int tool_parse_size(const char *text, uint64_t *ret_bytes) __attribute__((warn_unused_result));

/* "3.9 GiB"; static storage for four calls. */
const char *tool_size(uint64_t bytes);

/* A line "label  [#####     ]  42%" on standard error, drawn anew in place; only on a terminal, and
 * ended with a newline at done == total. */
void tool_progress(const char *label, uint64_t done, uint64_t total);

#endif
