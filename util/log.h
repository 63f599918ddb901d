/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages. A level is an audience: error = the operator must act, warning = degraded,
 * info = lifecycle, debug = developers. All of them go to an in-memory ring (the last 4,096),
 * those at or below the set level also to standard error (with the systemd <N> prefix when
 * standard error is the journal). Thread-safe; does not block on anything but standard error.
 * A daemon calls log_detach(), and then nothing blocks here.
 */
#ifndef UTIL_LOG_H
#define UTIL_LOG_H

#include <stdio.h>

enum log_level { LOG_LVL_ERROR, LOG_LVL_WARN, LOG_LVL_INFO, LOG_LVL_DEBUG };

/* Messages up to this level are printed; default LOG_LVL_WARN. */
void log_set_level(enum log_level level);

/* Names node and volume in front of every line ("node 2 vol lab"); copied. */
void log_set_context(const char *context) __attribute__((nonnull));

/*
 * From now on messages go to the system log (/dev/log; name is how they begin), as far as it has room
 * for them, and standard error is let go: whoever waits for its other end sees it closed. Where it is
 * a file it stays, and gets them too.
 */
void log_detach(const char *name) __attribute__((nonnull));

void log_msg(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_msg(LOG_LVL_ERROR, __VA_ARGS__)
#define log_warn(...) log_msg(LOG_LVL_WARN, __VA_ARGS__)
#define log_info(...) log_msg(LOG_LVL_INFO, __VA_ARGS__)
#define log_debug(...) log_msg(LOG_LVL_DEBUG, __VA_ARGS__)

/* Writes the ring, oldest first, to out. */
void log_dump(FILE *out) __attribute__((nonnull));

/* On SIGSEGV, SIGABRT, SIGBUS, SIGFPE: dump the ring to standard error, then die as before. */
void log_dump_on_crash(void);

#endif
