/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket, <control_dir>/<uuid>.sock: one JSON object a line in, one out.
 *   {"cmd": "status"}                        what csvadm shows
 *   {"cmd": "coordinator-move", "node": N}   hand the role over (0: to whoever is next)
 *   {"cmd": "check-start", "bytes_per_s": N}  begin a check of the volume in use
 *   {"cmd": "check-status", "from": N}         how far it is, its messages from the Nth on
 *   {"cmd": "grow-start", "size_bytes": N}     have the volume grown (0: to all of the device)
 *   {"cmd": "grow-status"}                     whether that is done, and how it ended
 *   {"cmd": "log"}                           the ring of recent messages
 * An answer has "error" (a sentence) or the result's members.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "csvfs/volume/volume_internal.h"
#include "util/log.h"

#define LINE_MAX_BYTES 4096u
#define CLIENT_S 10.0

struct client {
	struct list link;
	struct control *control;
	int fd;
	ev_io io;
	ev_timer timer;
	char in[LINE_MAX_BYTES];
	size_t in_len;
	char *out;
	size_t out_len, out_pos;
};

struct control {
	struct volume *vol;
	int fd;
	ev_io io;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct list clients;
};

static void client_free(struct client *c)
{
	struct ev_loop *ev = loop_ev(c->control->vol->loop);

	ev_io_stop(ev, &c->io);
	ev_timer_stop(ev, &c->timer);
	list_del(&c->link);
	close(c->fd);
	free(c->out);
	free(c);
}

static struct json_object *error_json(const char *why)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "error", json_object_new_string(why));
	return o;
}

static struct json_object *move_json(struct volume *vol, struct json_object *req)
{
	struct json_object *node;
	int to = json_object_object_get_ex(req, "node", &node) ? json_object_get_int(node) : 0;
	struct lm_status st;

	lm_status(vol->lm, &st);
	if (vol->role != ROLE_SERVING)
		return error_json("this node does not coordinate; ask the one that does");
	if (to == (int)vol->self)
		return error_json("this node coordinates already");
	if (to < 0 || to > (int)LM_MAX_NODES ||
		(to && !(st.member_mask & (1ull << (to - 1)))))
		return error_json("that node is not a member");
	if (!to && !(st.member_mask & ~(1ull << (vol->self - 1))))
		return error_json("there is no other member");
	role_close(vol, (uint32_t)to);
	return json_object_new_object();
}

static struct json_object *log_json(void)
{
	struct json_object *o = json_object_new_object();
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	if (f) {
		log_dump(f);
		fclose(f);
	}
	json_object_object_add(o, "log", json_object_new_string(text ? text : ""));
	free(text);
	return o;
}

static uint64_t number(struct json_object *req, const char *name)
{
	struct json_object *n;

	return json_object_object_get_ex(req, name, &n) ? json_object_get_uint64(n) : 0;
}

static struct json_object *answer(struct volume *vol, const char *line)
{
	struct json_object *req = json_tokener_parse(line), *cmd, *out;
	const char *name = req && json_object_object_get_ex(req, "cmd", &cmd) ?
		json_object_get_string(cmd) :
		NULL;

	if (!name)
		out = error_json("the request is not a JSON object with a \"cmd\"");
	else if (!strcmp(name, "status"))
		out = status_json(vol);
	else if (!strcmp(name, "coordinator-move"))
		out = move_json(vol, req);
	else if (!strcmp(name, "check-start"))
		out = vscrub_start(vol, number(req, "bytes_per_s"));
	else if (!strcmp(name, "check-status"))
		out = vscrub_status(vol, number(req, "from"));
	else if (!strcmp(name, "grow-start"))
		out = vgrow_start(vol, number(req, "size_bytes"));
	else if (!strcmp(name, "grow-status"))
		out = vgrow_status(vol);
	else if (!strcmp(name, "log"))
		out = log_json();
	else
		out = error_json("unknown command");
	json_object_put(req);
	return out;
}

static void client_write(struct client *c)
{
	ssize_t n = write(c->fd, c->out + c->out_pos, c->out_len - c->out_pos);

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		client_free(c);
		return;
	}
	c->out_pos += n > 0 ? (size_t)n : 0;
	if (c->out_pos == c->out_len)
		client_free(c);
}

static void client_line(struct client *c)
{
	struct ev_loop *ev = loop_ev(c->control->vol->loop);
	struct json_object *out = answer(c->control->vol, c->in);

	if (asprintf(&c->out, "%s\n", json_object_to_json_string_ext(out, JSON_C_TO_STRING_PLAIN)) <
		0)
		c->out = NULL;
	json_object_put(out);
	if (!c->out) {
		client_free(c);
		return;
	}
	c->out_len = strlen(c->out);
	ev_io_stop(ev, &c->io);
	ev_io_set(&c->io, c->fd, EV_WRITE);
	ev_io_start(ev, &c->io);
}

static void client_ready(struct ev_loop *ev, ev_io *io, int revents)
{
	struct client *c = io->data;

	if (c->out) {
		client_write(c);
		return;
	}
	ssize_t n = read(c->fd, c->in + c->in_len, sizeof(c->in) - 1 - c->in_len);
	if (n <= 0) {
		if (n == 0 || (errno != EAGAIN && errno != EINTR))
			client_free(c);
		return;
	}
	c->in_len += (size_t)n;
	c->in[c->in_len] = 0;
	char *end = strchr(c->in, '\n');
	if (end) {
		*end = 0;
		client_line(c);
	} else if (c->in_len == sizeof(c->in) - 1) {
		client_free(c);
	}
}

static void client_late(struct ev_loop *ev, ev_timer *timer, int revents)
{
	client_free(timer->data);
}

static void client_new(struct ev_loop *ev, ev_io *io, int revents)
{
	struct control *control = io->data;
	int fd = accept4(control->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct client *c = fd < 0 ? NULL : calloc(1, sizeof(*c));

	if (!c) {
		if (fd >= 0)
			close(fd);
		return;
	}
	c->control = control;
	c->fd = fd;
	list_add_tail(&control->clients, &c->link);
	ev_io_init(&c->io, client_ready, fd, EV_READ);
	c->io.data = c;
	ev_io_start(ev, &c->io);
	ev_timer_init(&c->timer, client_late, CLIENT_S, 0.0);
	c->timer.data = c;
	ev_timer_start(ev, &c->timer);
}

static const char *control_dir(const struct volume *vol)
{
	return vol->cfg.control_dir ? vol->cfg.control_dir : "/run/csvfs";
}

int control_path(const struct volume *vol, struct sockaddr_un *ret_addr)
{
	*ret_addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
	int n = snprintf(ret_addr->sun_path, sizeof(ret_addr->sun_path), "%s/%s.sock",
		control_dir(vol), vol->uuid_text);
	return n < (int)sizeof(ret_addr->sun_path) ? 0 : -ENAMETOOLONG;
}

int control_new(struct volume *vol, struct control **ret)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct control *control = calloc(1, sizeof(*control));
	int err = 0;

	if (!control)
		return -ENOMEM;
	list_init(&control->clients);
	control->vol = vol;
	if (mkdir(control_dir(vol), 0755) && errno != EEXIST)
		err = -errno;
	if (!err)
		err = control_path(vol, &addr);
	strcpy(control->path, addr.sun_path);
	control->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (!err && control->fd < 0)
		err = -errno;
	if (!err) {
		unlink(addr.sun_path); /* the lock manager knows that nobody else has this volume here */
		mode_t old = umask(0177);
		if (bind(control->fd, (struct sockaddr *)&addr, sizeof(addr)) ||
			listen(control->fd, 16))
			err = -errno;
		umask(old);
	}
	if (err) {
		log_error("control socket %s: %s", addr.sun_path, strerror(-err));
		if (control->fd >= 0)
			close(control->fd);
		free(control);
		return err;
	}
	ev_io_init(&control->io, client_new, control->fd, EV_READ);
	control->io.data = control;
	ev_io_start(loop_ev(vol->loop), &control->io);
	*ret = control;
	return 0;
}

void control_free(struct control *control)
{
	if (!control)
		return;
	while (!list_empty(&control->clients))
		client_free(list_entry(control->clients.next, struct client, link));
	ev_io_stop(loop_ev(control->vol->loop), &control->io);
	close(control->fd);
	unlink(control->path);
	free(control);
}
