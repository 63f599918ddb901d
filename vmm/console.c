/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/console.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/checked.h"
#include "util/list.h"
#include "util/loop.h"
#include "vmm/machine.h"

#define CHUNK 4096u
#define TYPE_AGAIN_S 0.02

/* Who reads or types. */
struct user {
	struct list link;
	struct vmm_console *console;
	int fd;
	ev_io in, out;
	uint64_t pos; /* in all that was ever written */
	bool (*filter)(void *arg, uint8_t byte); /* a terminal, which reads elsewhere; or NULL */
	void *arg;
};

struct vmm_console {
	struct loop *loop;
	struct vmm_machine *machine;
	struct list users;
	ev_timer again; /* while the guest's serial port is full */
	size_t nr_typed; /* bytes that wait for room */
	uint8_t typed[CHUNK];
	pthread_mutex_t mutex; /* taken last of all, of the rest: */
	struct loop_work work;
	bool posted;
	uint64_t written;
	uint8_t ring[VMM_SCROLLBACK];
};

/* ---- out ---- */

/* Up to a chunk of what comes at user->pos. */
static size_t peek(struct user *user, uint8_t *bytes)
{
	struct vmm_console *console = user->console;
	size_t at, len;

	pthread_mutex_lock(&console->mutex);
	if (console->written - user->pos > VMM_SCROLLBACK)
		user->pos = console->written - VMM_SCROLLBACK;
	at = user->pos % VMM_SCROLLBACK;
	len = MIN(console->written - user->pos, MIN((uint64_t)CHUNK, VMM_SCROLLBACK - at));
	memcpy(bytes, console->ring + at, len);
	pthread_mutex_unlock(&console->mutex);
	return len;
}

static void show(struct user *user)
{
	struct ev_loop *ev = loop_ev(user->console->loop);
	uint8_t bytes[CHUNK];
	ssize_t n = 0;
	size_t len;

	if (user->filter)
		return;
	while ((len = peek(user, bytes)) > 0) {
		n = send(user->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0)
			break;
		user->pos += (uint64_t)n;
	}
	/* if it is gone its reading end says so */
	if (n < 0 && errno == EAGAIN)
		ev_io_start(ev, &user->out);
	else
		ev_io_stop(ev, &user->out);
}

static void show_all(struct loop_work *work)
{
	struct vmm_console *console = container_of(work, struct vmm_console, work);
	struct list *pos;

	pthread_mutex_lock(&console->mutex);
	console->posted = false;
	pthread_mutex_unlock(&console->mutex);
	list_for_each(pos, &console->users)
		show(list_entry(pos, struct user, link));
}

void vmm_console_put(struct vmm_console *console, uint8_t byte)
{
	pthread_mutex_lock(&console->mutex);
	console->ring[console->written++ % VMM_SCROLLBACK] = byte;
	if (!console->posted)
		loop_post(console->loop, &console->work);
	console->posted = true;
	pthread_mutex_unlock(&console->mutex);
}

static void on_writable(struct ev_loop *ev, ev_io *watcher, int revents)
{
	show(watcher->data);
}

/* ---- in ---- */

static void user_free(struct user *user)
{
	struct ev_loop *ev = loop_ev(user->console->loop);

	ev_io_stop(ev, &user->in);
	ev_io_stop(ev, &user->out);
	list_del(&user->link);
	if (!user->filter)
		close(user->fd);
	free(user);
}

/* What the guest's port has no room for waits, and with it the rest of the input. */
static void type(struct vmm_console *console)
{
	struct ev_loop *ev = loop_ev(console->loop);
	size_t taken = console->nr_typed;
	struct list *pos;

	if (console->machine)
		taken = vmm_machine_type(console->machine, console->typed, console->nr_typed);
	console->nr_typed -= taken;
	memmove(console->typed, console->typed + taken, console->nr_typed);
	if (console->nr_typed > 0)
		ev_timer_again(ev, &console->again);
	else
		ev_timer_stop(ev, &console->again);
	list_for_each(pos, &console->users)
	{
		struct user *user = list_entry(pos, struct user, link);

		if (console->nr_typed < CHUNK)
			ev_io_start(ev, &user->in);
		else
			ev_io_stop(ev, &user->in);
	}
}

static void on_again(struct ev_loop *ev, ev_timer *timer, int revents)
{
	type(timer->data);
}

static void take(struct user *user, const uint8_t *bytes, size_t len_bytes)
{
	struct vmm_console *console = user->console;

	for (size_t i = 0; i < len_bytes && console->nr_typed < CHUNK; i++) {
		if (!user->filter || user->filter(user->arg, bytes[i]))
			console->typed[console->nr_typed++] = bytes[i];
	}
	type(console);
}

static void on_readable(struct ev_loop *ev, ev_io *watcher, int revents)
{
	struct user *user = watcher->data;
	uint8_t bytes[CHUNK];
	ssize_t n = read(user->fd, bytes, CHUNK - user->console->nr_typed);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0)
		user_free(user);
	else
		take(user, bytes, (size_t)n);
}

static int user_new(struct vmm_console *console, int fd, bool (*filter)(void *arg, uint8_t byte),
	void *arg, struct user **ret_user)
{
	struct user *user = calloc(1, sizeof(*user));

	if (!user)
		return -ENOMEM;
	user->console = console;
	user->fd = fd;
	user->filter = filter;
	user->arg = arg;
	ev_io_init(&user->in, on_readable, fd, EV_READ);
	ev_io_init(&user->out, on_writable, fd, EV_WRITE);
	user->in.data = user->out.data = user;
	list_add_tail(&console->users, &user->link);
	if (console->nr_typed < CHUNK)
		ev_io_start(loop_ev(console->loop), &user->in);
	*ret_user = user;
	return 0;
}

int vmm_console_attach(struct vmm_console *console, int fd, const void *bytes, size_t len_bytes)
{
	struct user *user;
	int err = user_new(console, fd, NULL, NULL, &user);

	if (err) {
		close(fd);
		return err;
	}
	show(user);
	if (len_bytes > 0)
		take(user, bytes, len_bytes);
	return 0;
}

int vmm_console_input(
	struct vmm_console *console, int fd, bool (*filter)(void *arg, uint8_t byte), void *arg)
{
	struct user *user;

	return user_new(console, fd, filter, arg, &user);
}

/* ---- life ---- */

int vmm_console_new(struct loop *loop, struct vmm_console **ret_console)
{
	struct vmm_console *console = calloc(1, sizeof(*console));

	if (!console)
		return -ENOMEM;
	console->loop = loop;
	console->work.fn = show_all;
	list_init(&console->users);
	ev_timer_init(&console->again, on_again, 0, TYPE_AGAIN_S);
	console->again.data = console;
	pthread_mutex_init(&console->mutex, NULL);
	*ret_console = console;
	return 0;
}

void vmm_console_free(struct vmm_console *console)
{
	if (!console)
		return;
	(void)loop_cancel(console->loop, &console->work);
	show_all(&console->work);
	ev_timer_stop(loop_ev(console->loop), &console->again);
	while (!list_empty(&console->users))
		user_free(list_entry(console->users.next, struct user, link));
	pthread_mutex_destroy(&console->mutex);
	free(console);
}

void vmm_console_set_machine(struct vmm_console *console, struct vmm_machine *machine)
{
	console->machine = machine;
	if (!machine) {
		console->nr_typed = 0;
		ev_timer_stop(loop_ev(console->loop), &console->again);
	}
}
