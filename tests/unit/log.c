/* libs: util */
/* also plain: how a signal ends a process */
/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/log.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/test.h"

static char *dump(void)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	CHECK(f);
	log_dump(f);
	fclose(f);
	return text;
}

/* Runs fn in a child and gives what it wrote to standard error and how it ended. */
static int child(void (*fn)(void), char *out, size_t cap)
{
	size_t n = 0;
	ssize_t got;
	int fd[2], status;
	pid_t pid;

	CHECK_EQ(pipe(fd), 0);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		dup2(fd[1], STDERR_FILENO);
		close(fd[0]);
		fn();
		_exit(0);
	}
	close(fd[1]);
	while ((got = read(fd[0], out + n, cap - 1 - n)) > 0)
		n += (size_t)got;
	out[n] = '\0';
	close(fd[0]);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	return status;
}

static void say(void)
{
	log_error("disk %d", 7);
	log_warn("degraded");
	log_info("mounted");
	log_set_context("node 2 vol lab");
	log_set_level(LOG_LVL_INFO);
	log_info("two\nlines\x1b[31m");
	log_debug("detail");
}

static void levels(void)
{
	char out[4096];

	CHECK_EQ(child(say, out, sizeof(out)), 0);
	CHECK(strcmp(out, "csvfs: error: disk 7\n"
			  "csvfs: warning: degraded\n"
			  "csvfs: info: node 2 vol lab: two lines [31m\n") == 0);
}

static void detach(void)
{
	log_error("before");
	log_detach("test");
	log_error("after");
}

/* A daemon lets go of a pipe, and keeps a file. */
static void detached(void)
{
	char out[4096], path[] = "/tmp/csvfs-log.XXXXXX";
	ssize_t n;
	int fd = mkstemp(path);

	CHECK(fd >= 0);
	CHECK_EQ(unlink(path), 0);
	CHECK_EQ(child(detach, out, sizeof(out)), 0);
	CHECK(strcmp(out, "csvfs: error: before\n") == 0);

	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		dup2(fd, STDERR_FILENO);
		detach();
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, NULL, 0), pid);
	n = pread(fd, out, sizeof(out) - 1, 0);
	CHECK(n > 0);
	out[n] = '\0';
	CHECK(strcmp(out, "csvfs: error: before\ncsvfs: error: after\n") == 0);
	close(fd);
}

static void die_by_abort(void)
{
	log_dump_on_crash();
	log_dump_on_crash(); /* twice is once */
	log_debug("last words %d", 1);
	abort();
}

static void die_by_signal(void)
{
	log_dump_on_crash();
	log_debug("last words %d", 2);
	raise(SIGSEGV);
}

static void crash(void)
{
	static char out[1 << 16];
	int status;

	status = child(die_by_abort, out, sizeof(out));
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	CHECK(strstr(out, "debug: last words 1\n"));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	/* (The sanitizer's own handler, which was there before, exits.) */
	status = child(die_by_signal, out, sizeof(out));
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	CHECK(strstr(out, "debug: last words 2\n"));
#else
	child(die_by_signal, out, sizeof(out));
	CHECK(strstr(out, "debug: last words 2\n"));
#endif
}

/* The ring keeps the last 4,096, whole and in order, whoever writes. */
static void *writer(void *arg)
{
	for (int i = 0; i < 5000; i++)
		log_debug("writer %c says %d", *(char *)arg, i);
	return NULL;
}

static void ring(void)
{
	pthread_t a, b;
	char *text, *line, *save;
	int lines = 0, last[2] = { -1, -1 };

	CHECK_EQ(pthread_create(&a, NULL, writer, "a"), 0);
	CHECK_EQ(pthread_create(&b, NULL, writer, "b"), 0);
	free(dump());
	CHECK_EQ(pthread_join(a, NULL), 0);
	CHECK_EQ(pthread_join(b, NULL), 0);
	log_debug("the end");
	text = dump();
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char who;
		int i;

		lines++;
		if (sscanf(line, "%*s debug: writer %c says %d", &who, &i) != 2) {
			CHECK(strstr(line, "debug: the end"));
			continue;
		}
		CHECK(i > last[who - 'a']);
		last[who - 'a'] = i;
	}
	/* A message that met its slot in use is dropped; hardly any does. */
	CHECK(lines > 4000 && lines <= 4096);
	CHECK_EQ(last[0] > last[1] ? last[0] : last[1], 4999);
	free(text);
}

int main(void)
{
	levels();
	detached();
	crash();
	ring();
	return 0;
}
