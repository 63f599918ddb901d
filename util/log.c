/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ring. A message takes the next ticket and fills the slot ticket % RING. Each slot has a
 * flag that is held while the slot is written or read: contended only when the ring laps a slow
 * writer or meets a dump, and then the message is dropped from the ring rather than waited for.
 * The crash handler reads slots whether or not it gets the flag.
 */
#include "util/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "util/checked.h"

#define RING 4096
#define TEXT_BYTES 232 /* what the ring keeps of a message */
#define LINE_BYTES 1024

struct slot {
	atomic_flag held;
	uint8_t level;
	uint64_t ticket; /* 1 and up; 0 = never used */
	uint64_t time_ns;
	char text[TEXT_BYTES];
};

static struct slot ring[RING];
static _Atomic uint64_t last_ticket;
static _Atomic int print_level = LOG_LVL_WARN;

static pthread_mutex_t context_lock = PTHREAD_MUTEX_INITIALIZER;
static char context[96];

static const char *const level_name[] = { "error", "warning", "info", "debug" };
static const char crash_name[][10] = { "error: ", "warning: ", "info: ", "debug: " };
static const char journal_prefix[][4] = { "<3>", "<4>", "<6>", "<7>" };

/* The system log, once log_detach() was called: a socket of datagrams, and how each of them begins. */
static _Atomic int system_log = -1;
static char system_prefix[ARRAY_SIZE(level_name)][64];

void log_set_level(enum log_level level)
{
	atomic_store(&print_level, (int)level);
}

void log_set_context(const char *new_context)
{
	pthread_mutex_lock(&context_lock);
	snprintf(context, sizeof(context), "%s", new_context);
	pthread_mutex_unlock(&context_lock);
}

/* systemd tells a service which stream is its journal: sd-daemon(3), JOURNAL_STREAM. */
static bool stderr_is_journal(void)
{
	const char *env = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return env && sscanf(env, "%llu:%llu", &dev, &ino) == 2 && fstat(STDERR_FILENO, &st) == 0 &&
	       st.st_dev == dev && st.st_ino == ino;
}

void log_detach(const char *name)
{
	static const int severity[] = { LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG };
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = "/dev/log" };
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	struct stat st;

	for (size_t i = 0; i < ARRAY_SIZE(severity); i++)
		snprintf(system_prefix[i], sizeof(system_prefix[i]), "<%d>%s[%d]: ",
			LOG_DAEMON | severity[i], name, (int)getpid());
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
		atomic_store(&system_log, fd);
	else if (fd >= 0)
		close(fd);
	if (null >= 0 && (fstat(STDERR_FILENO, &st) != 0 || !S_ISREG(st.st_mode)))
		dup2(null, STDERR_FILENO);
	if (null >= 0)
		close(null);
}

/* Signal-safe. What the system log has no room for is dropped: nothing here waits for it. */
static void send_system_log(enum log_level level, struct iovec *parts, size_t nr)
{
	struct msghdr msg = { .msg_iov = parts, .msg_iovlen = nr };
	int fd = atomic_load(&system_log);

	if (fd < 0)
		return;
	parts[0] = (struct iovec){ system_prefix[level], strlen(system_prefix[level]) };
	ssize_t n = sendmsg(fd, &msg, MSG_NOSIGNAL);
	(void)n;
}

static void print(enum log_level level, const char *text)
{
	static _Atomic int journal = -1;
	char line[LINE_BYTES];
	int n;

	if (atomic_load(&journal) < 0)
		atomic_store(&journal, stderr_is_journal());
	if (atomic_load(&journal))
		n = snprintf(line, sizeof(line), "%s%s\n", journal_prefix[level], text);
	else
		n = snprintf(line, sizeof(line), "csvfs: %s: %s\n", level_name[level], text);
	if (n >= (int)sizeof(line)) {
		n = sizeof(line) - 1;
		line[n - 1] = '\n';
	}
	/* One write keeps the lines of several threads whole; nobody is left to tell of a failure. */
	while (write(STDERR_FILENO, line, (size_t)n) < 0 && errno == EINTR)
		;
	send_system_log(level, (struct iovec[]){ { 0 }, { (void *)text, strlen(text) } }, 2);
}

static void ring_add(enum log_level level, const char *text)
{
	uint64_t ticket = atomic_fetch_add(&last_ticket, 1) + 1;
	struct slot *slot = &ring[ticket % RING];
	size_t len = strnlen(text, TEXT_BYTES - 1);
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (atomic_flag_test_and_set_explicit(&slot->held, memory_order_acquire))
		return;
	slot->ticket = ticket;
	slot->level = (uint8_t)level;
	slot->time_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	memcpy(slot->text, text, len);
	slot->text[len] = '\0';
	atomic_flag_clear_explicit(&slot->held, memory_order_release);
}

void log_msg(enum log_level level, const char *fmt, ...)
{
	int saved_errno = errno;
	char text[LINE_BYTES - 64];
	size_t n;
	va_list ap;

	pthread_mutex_lock(&context_lock);
	n = (size_t)snprintf(text, sizeof(text), "%s%s", context, context[0] ? ": " : "");
	pthread_mutex_unlock(&context_lock);
	va_start(ap, fmt);
	vsnprintf(text + n, sizeof(text) - n, fmt, ap);
	va_end(ap);
	/* A name or a peer's words must not forge a line or drive a terminal. */
	for (char *c = text; *c; c++) {
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = ' ';
	}

	ring_add(level, text);
	if ((int)level <= atomic_load_explicit(&print_level, memory_order_relaxed))
		print(level, text);
	errno = saved_errno;
}

void log_dump(FILE *out)
{
	uint64_t last = atomic_load(&last_ticket);
	uint64_t ticket = last > RING ? last - RING : 0;

	while (++ticket <= last) {
		struct slot *slot = &ring[ticket % RING], copy;
		char when[32];
		struct tm tm;
		time_t s;

		while (atomic_flag_test_and_set_explicit(&slot->held, memory_order_acquire))
			sched_yield();
		copy.ticket = slot->ticket;
		copy.level = slot->level;
		copy.time_ns = slot->time_ns;
		memcpy(copy.text, slot->text, sizeof(copy.text));
		atomic_flag_clear_explicit(&slot->held, memory_order_release);
		if (copy.ticket != ticket)
			continue;
		s = (time_t)(copy.time_ns / 1000000000u);
		strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", gmtime_r(&s, &tm));
		fprintf(out, "%s.%06uZ %s: %s\n", when,
			(unsigned int)(copy.time_ns % 1000000000u / 1000), level_name[copy.level],
			copy.text);
	}
}

/* The crash path: only what signal-safety(7) allows. */

static void put(enum log_level level, const char *a, const char *b, const char *c)
{
	struct iovec parts[] = { { 0 }, { (void *)a, strlen(a) }, { (void *)b, strlen(b) },
		{ (void *)c, strlen(c) }, { (void *)"\n", 1 } };
	ssize_t n = writev(STDERR_FILENO, parts + 1, 4);

	(void)n;
	send_system_log(level, parts, 4);
}

static void time_text(uint64_t ns, char digits[24])
{
	uint64_t us = ns / 1000;

	memcpy(digits, "0000000000.000000 ", 19);
	for (int i = 16; i >= 0; i--) {
		if (i == 10)
			continue;
		digits[i] = (char)('0' + us % 10);
		us /= 10;
	}
}

static const int crash_signals[] = { SIGSEGV, SIGABRT, SIGBUS, SIGFPE };
static struct sigaction crash_before[ARRAY_SIZE(crash_signals)];

static void on_crash(int sig, siginfo_t *info, void *ucontext)
{
	uint64_t last = atomic_load(&last_ticket);
	uint64_t ticket = last > RING ? last - RING : 0;

	(void)ucontext;
	for (size_t i = 0; i < ARRAY_SIZE(crash_signals); i++)
		sigaction(crash_signals[i], &crash_before[i], NULL);

	put(LOG_LVL_ERROR, "csvfs: crashed; recent events, oldest first:", "", "");
	while (++ticket <= last) {
		const struct slot *slot = &ring[ticket % RING];
		char when[24];

		if (slot->ticket != ticket)
			continue;
		time_text(slot->time_ns, when);
		put(LOG_LVL_ERROR, when, crash_name[slot->level], slot->text);
	}
	/* A fault happens again on return; a sent signal (abort, kill) must be sent again. */
	if (info->si_code <= 0)
		raise(sig);
}

void log_dump_on_crash(void)
{
	static char stack[64 << 10];
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction sa = { .sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	/* For the calling thread: that an overflowed stack still tells its story. */
	sigaltstack(&ss, NULL);
	sigemptyset(&sa.sa_mask);
	for (size_t i = 0; i < ARRAY_SIZE(crash_signals); i++) {
		struct sigaction now;

		/* A second call must not take our own handler for the one before. */
		if (sigaction(crash_signals[i], NULL, &now) == 0 && now.sa_sigaction != on_crash &&
			sigaction(crash_signals[i], &sa, &now) == 0)
			crash_before[i] = now;
	}
}
