/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/client.h"

#include <dirent.h>
#include <errno.h>
#include <json-c/json.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "util/err.h"
#include "util/loop.h"
#include "vmm/control.h"
#include "vmm/control_socket.h"
#include "vmm/run.h"

#define ANSWER_MS 10000
#define ESCAPE 1 /* Ctrl-A */

/* What a machine says, a line at a time. */
struct conn {
	int fd;
	size_t len;
	char buf[VMM_QUEUE_MAX];
};

/* ---- lines ---- */

/* The next line, without its end: 0, -ETIMEDOUT, -ECONNRESET at the end. timeout_ms -1: for ever. */
static int next_line(struct conn *conn, int timeout_ms, char *line)
{
	uint64_t end_ns = clock_mono_ns() + (uint64_t)timeout_ms * 1000000;

	for (;;) {
		char *end = memchr(conn->buf, '\n', conn->len);
		struct pollfd p = { .fd = conn->fd, .events = POLLIN };
		uint64_t now_ns = clock_mono_ns();
		ssize_t n;

		if (end) {
			size_t len = (size_t)(end - conn->buf);

			memcpy(line, conn->buf, len);
			line[len] = '\0';
			conn->len -= len + 1;
			memmove(conn->buf, end + 1, conn->len);
			return 0;
		}
		if (conn->len == sizeof(conn->buf))
			return -EPROTO;
		if (timeout_ms >= 0 && now_ns >= end_ns)
			return -ETIMEDOUT;
		if (poll(&p, 1, timeout_ms < 0 ? -1 : (int)((end_ns - now_ns) / 1000000) + 1) <= 0)
			continue;
		n = read(conn->fd, conn->buf + conn->len, sizeof(conn->buf) - conn->len);
		if (n == 0 || (n < 0 && errno != EINTR))
			return -ECONNRESET;
		conn->len += n > 0 ? (size_t)n : 0;
	}
}

/* Sends a request and waits for its answer: 0 with the result, or negative; -EREMOTEIO: refused, and
 * *ret is the answer with its "error". */
static int ask(struct conn *conn, struct json_object *request, struct json_object **ret)
{
	const char *text = json_object_to_json_string_ext(request, VMM_JSON_TEXT);
	struct json_object *answer, *result = NULL;
	char *line = malloc(sizeof(conn->buf) + 1);
	int err = line ? 0 : -ENOMEM;

	if (!err && (send(conn->fd, text, strlen(text), MSG_NOSIGNAL) < 0 ||
			    send(conn->fd, "\n", 1, MSG_NOSIGNAL) < 0))
		err = -errno;
	if (!err)
		err = next_line(conn, ANSWER_MS, line);
	answer = err ? NULL : json_tokener_parse(line);
	free(line);
	if (err)
		return err;
	if (json_object_object_get_ex(answer, "error", NULL)) {
		*ret = answer;
		return -EREMOTEIO;
	}
	if (!json_object_object_get_ex(answer, "result", &result)) {
		json_object_put(answer);
		return -EPROTO;
	}
	*ret = json_object_get(result);
	json_object_put(answer);
	return 0;
}

/* ---- what is printed ---- */

static const char *str(struct json_object *o, const char *name)
{
	struct json_object *value;

	return json_object_object_get_ex(o, name, &value) ? json_object_get_string(value) : "";
}

static int64_t num(struct json_object *o, const char *name)
{
	struct json_object *value;

	return json_object_object_get_ex(o, name, &value) ? json_object_get_int64(value) : 0;
}

static void print_json(struct json_object *o)
{
	puts(json_object_to_json_string_ext(o, VMM_JSON_TEXT));
	fflush(stdout);
}

static void print_time(int64_t ms, const char *end)
{
	time_t s = (time_t)(ms / 1000);
	struct tm tm;
	char text[32];

	strftime(text, sizeof(text), "%F %T", localtime_r(&s, &tm));
	printf("%s%s", text, end);
}

/* Says what err means for who wants the machine. The exit code. */
static int complain(const struct vmm_options *options, const char *name, int err)
{
	switch (err) {
	case -ENOENT:
		return vmm_fail(options, VMM_EXIT_NO_MACHINE,
			"no machine \"%s\" runs here (csvvm list shows which do)", name);
	case -ECONNREFUSED:
		return vmm_fail(options, VMM_EXIT_NO_MACHINE,
			"the process of the machine \"%s\" has died; csvvm run starts it again", name);
	case -EACCES:
	case -EPERM:
		return vmm_fail(options, VMM_EXIT_DENIED,
			"machine \"%s\": not permitted; be root, or the user who started it", name);
	case -ETIMEDOUT:
	case -EAGAIN:
		return vmm_fail(options, VMM_EXIT_NO_ANSWER,
			"machine \"%s\": its process does not answer; it is stopped, or stuck: "
			"ps -eo pid,stat,wchan,args shows which", name);
	case -ECONNRESET:
	case -EPIPE:
		return vmm_fail(
			options, VMM_EXIT_NO_MACHINE, "the machine \"%s\" has just ended", name);
	default:
		return vmm_fail(options, VMM_EXIT_REFUSED, "machine \"%s\": %s", name, err_str(err));
	}
}

/* ---- a machine ---- */

static int open_conn(const struct vmm_options *options, struct conn **ret_conn)
{
	struct conn *conn = calloc(1, sizeof(*conn));

	if (!conn)
		return vmm_fail(options, VMM_EXIT_REFUSED, "out of memory");
	conn->fd = vmm_socket_connect(options->control_dir, options->operand);
	if (conn->fd < 0) {
		int code = complain(options, options->operand, conn->fd);

		free(conn);
		return code;
	}
	*ret_conn = conn;
	return 0;
}

static void close_conn(struct conn *conn)
{
	close(conn->fd);
	free(conn);
}

/* An exit code; with 0 the caller puts *ret_result. */
static int ask_it(const struct vmm_options *options, struct conn *conn, struct json_object *request,
	struct json_object **ret_result)
{
	struct json_object *result = NULL;
	int err = ask(conn, request, &result);

	if (err == -EREMOTEIO) {
		int code = vmm_fail(options, VMM_EXIT_REFUSED, "machine \"%s\": %s",
			options->operand, str(result, "error"));

		json_object_put(result);
		return code;
	}
	if (err)
		return complain(options, options->operand, err);
	*ret_result = result;
	return 0;
}

static struct json_object *request_of(const char *command)
{
	struct json_object *request = json_object_new_object();

	json_object_object_add(request, "cmd", json_object_new_string(command));
	return request;
}

/* Connects and gives the command that the user gave. */
static int begin(
	const struct vmm_options *options, struct conn **ret_conn, struct json_object **ret_result)
{
	struct json_object *request;
	int code = open_conn(options, ret_conn);

	if (code)
		return code;
	request = request_of(options->command);
	code = ask_it(options, *ret_conn, request, ret_result);
	json_object_put(request);
	if (code)
		close_conn(*ret_conn);
	return code;
}

int vmm_client_ask(const struct vmm_options *options, struct json_object *request,
	struct json_object **ret_result)
{
	struct conn *conn;
	int code = open_conn(options, &conn);

	if (code)
		return code;
	code = ask_it(options, conn, request, ret_result);
	close_conn(conn);
	return code;
}

int vmm_client_simple(const struct vmm_options *options)
{
	struct json_object *result;
	struct conn *conn;
	int code = begin(options, &conn, &result);

	if (code)
		return code;
	if (options->json)
		print_json(result);
	json_object_put(result);
	close_conn(conn);
	return 0;
}

static void print_disks(struct json_object *info)
{
	struct json_object *disks;

	if (!json_object_object_get_ex(info, "disks", &disks))
		return;
	for (size_t i = 0; i < json_object_array_length(disks); i++) {
		struct json_object *disk = json_object_array_get_idx(disks, i);
		const char *sep = "  (";

		printf("%-9s %s", i == 0 ? "disks" : "", str(disk, "file"));
		json_object_object_foreach(disk, key, value)
		{
			if (strcmp(key, "file") == 0)
				continue;
			printf("%s%s %s", sep, key, json_object_get_string(value));
			sep = ", ";
		}
		puts(")");
	}
}

int vmm_client_info(const struct vmm_options *options)
{
	struct json_object *info;
	struct conn *conn;
	int code = begin(options, &conn, &info);

	if (code)
		return code;
	if (options->json) {
		print_json(info);
	} else {
		printf("name      %s\nstate     %s", str(info, "name"), str(info, "state"));
		if (*str(info, "reason"))
			printf(" (%s)", str(info, "reason"));
		printf("\nprocess   %s\nsince     ", str(info, "pid"));
		print_time(num(info, "since_ms"), "\n");
		printf("resets    %s\ncpus      %s\nmemory    %lld MiB, %lld MiB of it given up\nkernel    %s\n",
			str(info, "resets"), str(info, "cpus"),
			(long long)num(info, "memory_bytes") >> 20,
			(long long)num(info, "balloon_bytes") >> 20, str(info, "kernel"));
		print_disks(info);
	}
	json_object_put(info);
	close_conn(conn);
	return 0;
}

int vmm_client_events(const struct vmm_options *options)
{
	struct json_object *o;
	struct conn *conn;
	char *line;
	int code = begin(options, &conn, &o);

	if (code)
		return code;
	json_object_put(o);
	line = malloc(sizeof(conn->buf) + 1);
	while (line && next_line(conn, -1, line) == 0) {
		o = json_tokener_parse(line);
		if (options->json) {
			print_json(o);
		} else {
			print_time(num(o, "time_ms"), " ");
			printf("%s%s%s\n", str(o, "event"), *str(o, "reason") ? ": " : "",
				str(o, "reason"));
			fflush(stdout);
		}
		json_object_put(o);
	}
	free(line);
	close_conn(conn);
	return 0;
}

int vmm_client_end(const struct vmm_options *options)
{
	uint64_t end_ns = clock_mono_ns() + options->wait_s * 1000000000ull;
	struct json_object *result;
	struct conn *conn;
	int code = begin(options, &conn, &result), left_ms, err = 0;
	char *line;

	if (code)
		return code;
	line = malloc(sizeof(conn->buf) + 1);
	/* its process closes when it has ended */
	while (line && options->wait_s > 0 && !err) {
		left_ms = (int)(((int64_t)end_ns - (int64_t)clock_mono_ns()) / 1000000);
		err = next_line(conn, left_ms < 0 ? 0 : left_ms, line);
	}
	if (err == -ETIMEDOUT)
		code = vmm_fail(options, VMM_EXIT_NO_ANSWER,
			"the machine \"%s\" has not ended in %u s%s", options->operand,
			options->wait_s,
			strcmp(options->command, "stop") == 0
				? ": its guest may ignore the power button; csvvm kill ends it"
				: "");
	else if (options->json)
		print_json(result);
	free(line);
	json_object_put(result);
	close_conn(conn);
	return code;
}

/* ---- a machine's disks ---- */

/* As the control socket has it; a file by its whole name, since the machine runs elsewhere. */
static struct json_object *disk_json(const struct vmm_disk_conf *disk)
{
	struct json_object *o = json_object_new_object();
	char *path = realpath(disk->path, NULL);

	json_object_object_add(o, "file", json_object_new_string(path ? path : disk->path));
	json_object_object_add(o, "ro", json_object_new_boolean(disk->readonly));
	if (disk->bus != VMM_BUS_ANY)
		json_object_object_add(o, "bus", json_object_new_string(vmm_bus_name(disk->bus)));
	json_object_object_add(o, "on-error",
		json_object_new_string(disk->on_error == VMM_ON_ERROR_PAUSE ? "pause" : "report"));
	if (disk->id[0])
		json_object_object_add(o, "id", json_object_new_string(disk->id));
	free(path);
	return o;
}

int vmm_client_attach(const struct vmm_options *options)
{
	struct json_object *request = request_of(options->command), *result;
	struct vmm_disk_conf disk;
	char *error = NULL;
	int code;

	if (vmm_options_disk(&disk, options->argument, &error) < 0)
		code = vmm_fail(options, VMM_EXIT_USAGE, "%s", error ? error : "out of memory");
	else {
		json_object_object_add(request, "disk", disk_json(&disk));
		code = vmm_client_ask(options, request, &result);
		if (code == 0 && options->json)
			print_json(result);
		else if (code == 0)
			puts(str(result, "disk"));
		if (code == 0)
			json_object_put(result);
	}
	free(error);
	json_object_put(request);
	return code;
}

/* Waits for an event of the disk. 0; or what it says went wrong, printed; or -ETIMEDOUT. */
static int wait_disk(const struct vmm_options *options, struct conn *conn, const char *event)
{
	uint64_t end_ns = clock_mono_ns() + options->wait_s * 1000000000ull;
	char *line = malloc(sizeof(conn->buf) + 1);
	int code = line ? -EAGAIN : -ENOMEM;

	while (code == -EAGAIN) {
		int64_t left_ms = ((int64_t)end_ns - (int64_t)clock_mono_ns()) / 1000000;
		int err = next_line(conn, left_ms < 0 ? 0 : (int)left_ms, line);
		struct json_object *o = err ? NULL : json_tokener_parse(line);

		if (err == -ETIMEDOUT)
			code = err;
		else if (err)
			code = complain(options, options->operand, err);
		else if (strcmp(str(o, "event"), event) == 0 &&
			 strcmp(str(o, "disk"), options->argument) == 0) {
			code = 0;
			if (*str(o, "error"))
				code = vmm_fail(options, VMM_EXIT_REFUSED, "machine \"%s\": %s: %s",
					options->operand, options->argument, str(o, "error"));
			else if (options->json)
				print_json(o);
		}
		json_object_put(o);
	}
	free(line);
	return code;
}

/* Listens, sends request (ours from now on), waits for the event. An exit code; or -ETIMEDOUT. */
static int do_to_disk(
	const struct vmm_options *options, struct json_object *request, const char *event)
{
	struct json_object *events = request_of("events"), *result;
	struct conn *conn;
	int code = open_conn(options, &conn);

	json_object_object_add(request, "disk", json_object_new_string(options->argument));
	if (code == 0) {
		code = ask_it(options, conn, events, &result);
		if (code == 0) {
			json_object_put(result);
			code = vmm_client_ask(options, request, &result);
		}
		if (code == 0) {
			json_object_put(result);
			code = options->wait_s > 0 ? wait_disk(options, conn, event) : 0;
		}
		close_conn(conn);
	}
	json_object_put(events);
	json_object_put(request);
	return code;
}

int vmm_client_detach(const struct vmm_options *options)
{
	struct json_object *request = request_of(options->command);
	int code;

	json_object_object_add(request, "force", json_object_new_boolean(options->force));
	code = do_to_disk(options, request, "disk-detached");
	if (code == -ETIMEDOUT)
		return vmm_fail(options, VMM_EXIT_NO_ANSWER,
			"the guest of \"%s\" was asked, and has not let go of %s in %u s; --force takes "
			"it away, with what the guest has not written yet",
			options->operand, options->argument, options->wait_s);
	return code;
}

int vmm_client_resize(const struct vmm_options *options)
{
	struct json_object *request = request_of(options->command);
	int code;

	if (options->size_bytes > 0)
		json_object_object_add(
			request, "size_bytes", json_object_new_int64((int64_t)options->size_bytes));
	code = do_to_disk(options, request, "disk-resized");
	if (code == -ETIMEDOUT)
		return vmm_fail(options, VMM_EXIT_NO_ANSWER,
			"machine \"%s\": the storage of %s has not told its size in %u s",
			options->operand, options->argument, options->wait_s);
	return code;
}

int vmm_client_balloon(const struct vmm_options *options)
{
	struct json_object *request, *result;
	uint64_t bytes;
	int code;

	if (vmm_parse_size(options->argument, &bytes) < 0 || bytes == 0 || bytes > INT64_MAX)
		return vmm_fail(options, VMM_EXIT_USAGE, "\"%s\" is not a size: 256M, 2G (csvvm --help)",
			options->argument);
	request = request_of(options->command);
	json_object_object_add(request, "memory_bytes", json_object_new_int64((int64_t)bytes));
	code = vmm_client_ask(options, request, &result);
	json_object_put(request);
	if (code)
		return code;
	if (options->json)
		print_json(result);
	json_object_put(result);
	return 0;
}

/* ---- all machines ---- */

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_socket(const struct dirent *e)
{
	const char *end = strrchr(e->d_name, '.');

	return end && end != e->d_name && strcmp(end, ".sock") == 0;
}

static void print_machine(const struct vmm_options *options, const char *name)
{
	struct conn *conn = calloc(1, sizeof(*conn));
	struct json_object *request = request_of("info"), *info = NULL;
	int err = -ENOMEM;

	if (conn) {
		conn->fd = err = vmm_socket_connect(options->control_dir, name);
		if (conn->fd >= 0) {
			err = ask(conn, request, &info);
			close(conn->fd);
		}
	}
	if (err) {
		json_object_put(info);
		info = json_object_new_object();
		json_object_object_add(info, "name", json_object_new_string(name));
		json_object_object_add(info, "state",
			json_object_new_string(err == -ECONNREFUSED ? "died"
					       : err == -ETIMEDOUT || err == -EAGAIN
						       ? "no answer"
						       : err_str(err)));
	}
	/* it ended as we looked */
	if (err != -ENOENT && err != -ECONNRESET) {
		if (options->json)
			print_json(info);
		else
			printf("%-20s %-10s %8s %5s %7lld MiB\n", name, str(info, "state"),
				str(info, "pid"), str(info, "cpus"),
				(long long)num(info, "memory_bytes") >> 20);
	}
	json_object_put(info);
	json_object_put(request);
	free(conn);
}

int vmm_client_list(const struct vmm_options *options)
{
	struct dirent **entries;
	int nr = scandir(options->control_dir, &entries, is_socket, by_name);

	if (nr < 0 && errno != ENOENT)
		return vmm_fail(options, errno == EACCES ? VMM_EXIT_DENIED : VMM_EXIT_REFUSED, "%s: %s",
			options->control_dir, strerror(errno));
	if (!options->json)
		printf("%-20s %-10s %8s %5s %11s\n", "NAME", "STATE", "PROCESS", "CPUS", "MEMORY");
	for (int i = 0; i < nr; i++) {
		*strrchr(entries[i]->d_name, '.') = '\0';
		print_machine(options, entries[i]->d_name);
		free(entries[i]);
	}
	if (nr >= 0)
		free(entries);
	return 0;
}

/* ---- the console ---- */

static struct termios old_termios;

/* What was typed, to the machine; false: detach. */
static bool type(int fd, const char *bytes, ssize_t nr, bool is_tty)
{
	static bool escape;

	for (ssize_t i = 0; i < nr; i++) {
		if (is_tty && !escape && bytes[i] == ESCAPE) {
			escape = true;
			continue;
		}
		if (escape && bytes[i] == 'd')
			return false;
		if (!escape || bytes[i] == ESCAPE) {
			if (send(fd, &bytes[i], 1, MSG_NOSIGNAL) < 0)
				return true; /* the other direction sees the end */
		}
		escape = false;
	}
	return true;
}

/* Until either end closes. */
static void pump(int fd, bool is_tty)
{
	struct pollfd polls[] = { { .fd = fd, .events = POLLIN },
		{ .fd = STDIN_FILENO, .events = POLLIN } };
	char bytes[4096];
	ssize_t n;

	for (;;) {
		if (poll(polls, 2, -1) < 0)
			continue;
		if (polls[0].revents) {
			n = read(fd, bytes, sizeof(bytes));
			if (n <= 0 || write(STDOUT_FILENO, bytes, (size_t)n) < 0)
				return;
		}
		if (polls[1].revents) {
			n = read(STDIN_FILENO, bytes, sizeof(bytes));
			if (n <= 0)
				polls[1].fd = -1; /* it may still have much to say */
			else if (!type(fd, bytes, n, is_tty))
				return;
		}
	}
}

int vmm_client_console(const struct vmm_options *options)
{
	struct json_object *result;
	struct termios raw;
	struct conn *conn;
	int code = begin(options, &conn, &result);
	bool is_tty = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &old_termios) == 0;

	if (code)
		return code;
	json_object_put(result);
	signal(SIGPIPE, SIG_IGN);
	if (is_tty) {
		fprintf(stderr, "csvvm: console of %s; Ctrl-A d detaches\n", options->operand);
		raw = old_termios;
		cfmakeraw(&raw);
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	}
	/* what came along with the answer */
	(void)!write(STDOUT_FILENO, conn->buf, conn->len);
	pump(conn->fd, is_tty);
	if (is_tty)
		tcsetattr(STDIN_FILENO, TCSANOW, &old_termios);
	close_conn(conn);
	return 0;
}
