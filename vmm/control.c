/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/control.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/err.h"
#include "util/list.h"
#include "util/loop.h"
#include "vmm/control_socket.h"

#define MAX_CLIENTS 64
#define MAX_DEPTH 16
#define LATE_S 10.0 /* for the rest of a line, or to read an answer */
#define ACCEPT_AGAIN_S 1.0

struct client {
	struct list link;
	struct vmm_control *control;
	int fd;
	ev_io in, out;
	ev_timer timer;
	bool events, console;
	bool last; /* closed when all is sent */
	bool gone; /* freed by the timer, since it may be in use right now */
	size_t line_len, out_len;
	char line[VMM_LINE_MAX];
	char *buf; /* out_len bytes that wait */
};

struct vmm_control {
	struct vmm_control_conf conf;
	struct ev_loop *ev;
	struct vmm_socket *socket;
	ev_io io;
	ev_timer again;
	unsigned int nr_clients;
	struct list clients;
};

static void handle_lines(struct client *client);

static void client_free(struct client *client)
{
	struct ev_loop *ev = client->control->ev;

	ev_io_stop(ev, &client->in);
	ev_io_stop(ev, &client->out);
	ev_timer_stop(ev, &client->timer);
	list_del(&client->link);
	client->control->nr_clients--;
	if (client->fd >= 0)
		close(client->fd);
	free(client->buf);
	free(client);
}

static void let_go(struct client *client)
{
	struct ev_loop *ev = client->control->ev;

	client->gone = true;
	ev_io_stop(ev, &client->in);
	ev_io_stop(ev, &client->out);
	ev_timer_stop(ev, &client->timer);
	ev_timer_set(&client->timer, 0, 0);
	ev_timer_start(ev, &client->timer);
}

/* ---- out ---- */

/* Sends what waits; when all is sent, what comes next. */
static void send_out(struct client *client)
{
	struct ev_loop *ev = client->control->ev;
	const struct vmm_control_conf *conf = &client->control->conf;
	ssize_t n = 0;

	while (client->out_len > 0) {
		n = send(client->fd, client->buf, client->out_len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0)
			break;
		client->out_len -= (size_t)n;
		memmove(client->buf, client->buf + n, client->out_len);
	}
	if (client->out_len > 0) {
		if (errno == EAGAIN || errno == EINTR)
			ev_io_start(ev, &client->out);
		else
			let_go(client);
		return;
	}
	ev_io_stop(ev, &client->out);
	if (client->last) {
		let_go(client);
	} else if (client->console) {
		conf->console(conf->arg, client->fd, client->line, client->line_len);
		client->fd = -1;
		let_go(client);
	}
}

/* Queues a line; json is ours. */
static void put(struct client *client, struct json_object *json)
{
	const char *text = json_object_to_json_string_ext(json, VMM_JSON_TEXT);
	size_t len = text ? strlen(text) : 0;
	char *more;

	if (client->gone || client->console)
		goto out;
	more = len == 0 || client->out_len + len + 1 > VMM_QUEUE_MAX
		       ? NULL
		       : realloc(client->buf, client->out_len + len + 1);
	if (!more) {
		let_go(client);
		goto out;
	}
	client->buf = more;
	memcpy(more + client->out_len, text, len);
	more[client->out_len + len] = '\n';
	client->out_len += len + 1;
out:
	json_object_put(json);
}

void vmm_control_event(struct vmm_control *control, struct json_object *event)
{
	struct list *pos;

	list_for_each(pos, &control->clients)
	{
		struct client *client = list_entry(pos, struct client, link);

		if (!client->events || client->gone)
			continue;
		put(client, json_object_get(event));
		if (!client->gone)
			send_out(client);
	}
	json_object_put(event);
}

/* ---- requests ---- */

static void put_error(struct client *client, struct json_object *id, const char *why)
{
	struct json_object *o = json_object_new_object();

	if (id)
		json_object_object_add(o, "id", json_object_get(id));
	json_object_object_add(o, "error", json_object_new_string(why));
	put(client, o);
}

static void run(struct client *client, const struct vmm_command *command,
	struct json_object *request, struct json_object *id)
{
	struct json_object *result = json_object_new_object(), *o;
	char *error = NULL;
	int err = command->run(client->control->conf.arg, request, result, &error);

	if (err < 0) {
		put_error(client, id, error ? error : err_str(err));
		json_object_put(result);
	} else {
		o = json_object_new_object();
		if (id)
			json_object_object_add(o, "id", json_object_get(id));
		json_object_object_add(o, "result", result);
		put(client, o);
		client->events |= command->then == VMM_THEN_EVENTS;
		client->console = command->then == VMM_THEN_CONSOLE;
	}
	free(error);
}

/* The whole text is one JSON value, or NULL. */
static struct json_object *parse(const char *text, size_t len)
{
	struct json_tokener *tok = json_tokener_new_ex(MAX_DEPTH);
	struct json_object *json;
	bool whole;

	if (!tok)
		return NULL;
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT);
	json = json_tokener_parse_ex(tok, text, (int)len);
	whole = json_tokener_get_error(tok) == json_tokener_success &&
		json_tokener_get_parse_end(tok) == len;
	json_tokener_free(tok);
	if (whole)
		return json;
	json_object_put(json);
	return NULL;
}

static void handle_line(struct client *client, const char *text, size_t len)
{
	const struct vmm_command *command = client->control->conf.commands;
	struct json_object *request = parse(text, len), *name = NULL, *id = NULL;

	if (json_object_is_type(request, json_type_object)) {
		json_object_object_get_ex(request, "cmd", &name);
		json_object_object_get_ex(request, "id", &id);
	}
	if (!json_object_is_type(name, json_type_string)) {
		put_error(client, id, "the request is not a JSON object with a \"cmd\"");
	} else {
		while (command->name && strcmp(command->name, json_object_get_string(name)) != 0)
			command++;
		if (command->name)
			run(client, command, request, id);
		else
			put_error(client, id, "there is no such command");
	}
	json_object_put(request);
}

/* Carries out what has come, one by one, each when the answer before it is sent. */
static void handle_lines(struct client *client)
{
	struct ev_loop *ev = client->control->ev;
	char *end;

	while (!client->gone && !client->last && client->out_len == 0 &&
		(end = memchr(client->line, '\n', client->line_len))) {
		size_t len = (size_t)(end - client->line);
		char line[VMM_LINE_MAX];

		memcpy(line, client->line, len);
		client->line_len -= len + 1;
		memmove(client->line, end + 1, client->line_len);
		handle_line(client, line, len);
		if (!client->gone)
			send_out(client);
	}
	if (client->gone)
		return;
	if (client->out_len == 0 && client->line_len == VMM_LINE_MAX) {
		put_error(client, NULL, "the request is too long");
		client->line_len = 0;
		client->last = true;
		send_out(client);
		if (client->gone)
			return;
	}
	if (client->out_len > 0 || client->last)
		ev_io_stop(ev, &client->in);
	else
		ev_io_start(ev, &client->in);
	ev_timer_stop(ev, &client->timer);
	if (client->line_len > 0 || (client->out_len > 0 && !client->events)) {
		ev_timer_set(&client->timer, LATE_S, 0);
		ev_timer_start(ev, &client->timer);
	}
}

static void on_readable(struct ev_loop *ev, ev_io *watcher, int revents)
{
	struct client *client = watcher->data;
	ssize_t n = recv(client->fd, client->line + client->line_len,
		VMM_LINE_MAX - client->line_len, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		client_free(client);
		return;
	}
	client->line_len += (size_t)n;
	handle_lines(client);
}

static void on_writable(struct ev_loop *ev, ev_io *watcher, int revents)
{
	struct client *client = watcher->data;

	send_out(client);
	if (!client->gone)
		handle_lines(client);
}

static void on_timer(struct ev_loop *ev, ev_timer *timer, int revents)
{
	client_free(timer->data);
}

/* ---- connections ---- */

static void client_new(struct vmm_control *control, int fd)
{
	struct client *client = calloc(1, sizeof(*client));

	if (!client) {
		close(fd);
		return;
	}
	client->control = control;
	client->fd = fd;
	list_add_tail(&control->clients, &client->link);
	control->nr_clients++;
	ev_io_init(&client->in, on_readable, fd, EV_READ);
	ev_io_init(&client->out, on_writable, fd, EV_WRITE);
	ev_timer_init(&client->timer, on_timer, LATE_S, 0);
	client->in.data = client->out.data = client->timer.data = client;
	if (control->nr_clients > MAX_CLIENTS) {
		put_error(client, NULL, "there are too many connections");
		client->last = true;
		send_out(client);
		return;
	}
	ev_io_start(control->ev, &client->in);
}

static void on_connection(struct ev_loop *ev, ev_io *watcher, int revents)
{
	struct vmm_control *control = watcher->data;
	int fd = accept4(watcher->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0) {
		client_new(control, fd);
	} else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) {
		/* it stays readable: not again at once */
		ev_io_stop(ev, &control->io);
		ev_timer_start(ev, &control->again);
	}
}

static void on_again(struct ev_loop *ev, ev_timer *timer, int revents)
{
	ev_io_start(ev, &((struct vmm_control *)timer->data)->io);
}

int vmm_control_new(
	const struct vmm_control_conf *conf, struct vmm_control **ret_control, char **ret_error)
{
	struct vmm_control *control = calloc(1, sizeof(*control));
	int err;

	*ret_error = NULL;
	if (!control)
		return -ENOMEM;
	err = vmm_socket_new(conf->dir, conf->name, &control->socket, ret_error);
	if (err) {
		free(control);
		return err;
	}
	control->conf = *conf;
	control->ev = loop_ev(conf->loop);
	list_init(&control->clients);
	ev_io_init(&control->io, on_connection, vmm_socket_fd(control->socket), EV_READ);
	ev_timer_init(&control->again, on_again, ACCEPT_AGAIN_S, 0);
	control->io.data = control->again.data = control;
	ev_io_start(control->ev, &control->io);
	*ret_control = control;
	return 0;
}

void vmm_control_free(struct vmm_control *control)
{
	if (!control)
		return;
	ev_io_stop(control->ev, &control->io);
	ev_timer_stop(control->ev, &control->again);
	/* first the name, so that who sees its connection end can take it */
	vmm_socket_free(control->socket);
	while (!list_empty(&control->clients))
		client_free(list_entry(control->clients.next, struct client, link));
	free(control);
}
