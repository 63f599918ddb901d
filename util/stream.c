/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A stream's life.
 *
 *	state       edge                          function
 *	CONNECTING  socket connected              -> HANDSHAKE  on_connected
 *	HANDSHAKE   both sides know the key       -> OPEN       opened
 *	any         failure, timeout, peer gone   -> CLOSED     fail (calls on_close)
 *	any         the owner frees it            -> CLOSED     stream_free
 *
 * I1  In CLOSED no watcher is active and the socket is closed. The memory goes when the last
 *     callback on the stack has returned (busy).
 * I2  stream_send() only queues. Writing, and every failure found by it, happens in an event of
 *     its own (flush), so on_close never runs inside a call of the owner (S2), and frames sent in
 *     one turn of the loop share records.
 */
#include "util/stream_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/checked.h"
#include "util/err.h"
#include "util/le.h"
#include "util/log.h"

#define DEFAULT_MAX_FRAME (2u << 20)
#define DEFAULT_CONNECT_MS 5000
#define MAX_OUT_BYTES ((size_t)64 << 20)
#define CHUNK_BYTES ((size_t)64 << 10)
#define IN_BYTES ((size_t)64 << 10)
#define RECORD_BYTES ((size_t)16384)
/* What one stream may read before the loop turns to others. */
#define TURN_BYTES ((size_t)1 << 20)
#define HEAD sizeof(struct le32)

struct out_chunk {
	struct out_chunk *next;
	size_t at, end, cap;
	uint8_t data[];
};

/* Stops everything, keeps the memory (I1). */
static void shut(struct stream *s)
{
	struct ev_loop *ev = loop_ev(s->loop);

	s->state = STREAM_CLOSED;
	ev_io_stop(ev, &s->readable);
	ev_io_stop(ev, &s->writable);
	ev_timer_stop(ev, &s->deadline);
	ev_clear_pending(ev, &s->flush);
	if (s->listener)
		list_del(&s->in_listener);
	s->listener = NULL;
	tls_close(&s->tls);
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

static void destroy(struct stream *s)
{
	while (s->out_first) {
		struct out_chunk *next = s->out_first->next;

		free(s->out_first);
		s->out_first = next;
	}
	free(s->in);
	free(s);
}

/* Brackets calls out. leave() says whether the stream is still there. */
static void enter(struct stream *s)
{
	s->busy++;
}

static bool leave(struct stream *s)
{
	s->busy--;
	if (s->state != STREAM_CLOSED)
		return true;
	if (s->busy == 0)
		destroy(s);
	return false;
}

/* why: words for the log, or NULL for those of err. */
static void fail(struct stream *s, int err, const char *why)
{
	struct stream_listener *listener = s->listener;

	assert(s->state != STREAM_CLOSED && err < 0);
	if (listener)
		listener_result_internal(listener, s, err);
	else if (err == -ERR_KEY || err == -EPROTO || err == -ENOMEM)
		log_warn("connection with %s closed: %s", s->peer, why ? why : err_str(err));
	else
		log_debug("connection with %s closed: %s", s->peer, why ? why : err_str(err));
	enter(s);
	shut(s);
	if (!listener && s->ops && s->ops->on_close)
		s->ops->on_close(s, s->arg, err);
	leave(s);
}

static void fail_tls(struct stream *s, int err)
{
	char why[sizeof(s->tls.why)];

	memcpy(why, s->tls.why, sizeof(why));
	fail(s, err, why);
}

/* Writing */

static int write_out(struct stream *s)
{
	while (s->out_first) {
		struct out_chunk *c = s->out_first;
		ssize_t n = tls_write(&s->tls, c->data + c->at, MIN(c->end - c->at, RECORD_BYTES));

		if (n < 0)
			return (int)n;
		c->at += (size_t)n;
		s->out_bytes -= (size_t)n;
		if (c->at < c->end)
			continue;
		s->out_first = c->next;
		if (!s->out_first)
			s->out_last = NULL;
		free(c);
	}
	return 0;
}

static void flush(struct stream *s)
{
	int err = write_out(s);

	if (err == 0)
		ev_io_stop(loop_ev(s->loop), &s->writable);
	else if (err == -EAGAIN)
		ev_io_start(loop_ev(s->loop), &s->writable);
	else
		fail_tls(s, err);
}

static void on_flush(struct ev_loop *ev, ev_prepare *w, int revents)
{
	struct stream *s = container_of(w, struct stream, flush);

	(void)ev;
	(void)revents;
	if (s->failure)
		fail(s, s->failure, NULL);
	else if (s->state == STREAM_OPEN && !ev_is_active(&s->writable))
		flush(s);
}

static void feed_flush(struct stream *s)
{
	ev_feed_event(loop_ev(s->loop), &s->flush, EV_CUSTOM);
}

/* Room for len bytes in one piece at the end of the queue. */
static struct out_chunk *out_room(struct stream *s, size_t len)
{
	struct out_chunk *c = s->out_last;

	if (c && c->cap - c->end >= len)
		return c;
	len = MAX(len, CHUNK_BYTES);
	c = malloc(sizeof(*c) + len);
	if (!c)
		return NULL;
	*c = (struct out_chunk){ .cap = len };
	if (s->out_last)
		s->out_last->next = c;
	else
		s->out_first = c;
	s->out_last = c;
	return c;
}

int stream_send(struct stream *s, const void *data, size_t len)
{
	struct out_chunk *c;
	struct le32 head;

	assert(loop_is_owner(s->loop));
	if (s->state == STREAM_CLOSED || s->failure)
		return -ECONNRESET;
	if (len > s->max_frame)
		return -EMSGSIZE;
	if (HEAD + len > MAX_OUT_BYTES - MIN(s->out_bytes, MAX_OUT_BYTES))
		return -ENOBUFS;
	c = out_room(s, HEAD + len);
	if (!c)
		return -ENOMEM;
	head = le32_of((uint32_t)len);
	memcpy(c->data + c->end, &head, HEAD);
	memcpy(c->data + c->end + HEAD, data, len);
	c->end += HEAD + len;
	s->out_bytes += HEAD + len;
	feed_flush(s);
	return 0;
}

/* Reading */

/* Hands out the frames that are whole. False if the stream is gone. */
static bool take_frames(struct stream *s)
{
	while (s->in_end - s->in_at >= HEAD) {
		struct le32 head;
		size_t len;

		memcpy(&head, s->in + s->in_at, HEAD);
		len = le32_get(head);
		if (len > s->max_frame) {
			char why[64];

			snprintf(why, sizeof(why), "frame of %zu bytes, at most %u are allowed",
				len, (unsigned int)s->max_frame);
			fail(s, -EPROTO, why);
			return false;
		}
		if (s->in_end - s->in_at < HEAD + len)
			break;
		s->last_frame = ev_now(loop_ev(s->loop));
		s->in_at += HEAD + len;
		if (s->ops && s->ops->on_frame) {
			enter(s);
			s->ops->on_frame(s, s->arg, s->in + s->in_at - len, len);
			if (!leave(s))
				return false;
		}
	}
	return true;
}

/* Room behind what is there for the rest of the frame that has begun. */
static int in_room(struct stream *s)
{
	size_t have = s->in_end - s->in_at, need = IN_BYTES;
	uint8_t *in;

	if (have >= HEAD) {
		struct le32 head;

		memcpy(&head, s->in + s->in_at, HEAD);
		need = MAX(need, HEAD + le32_get(head));
	}
	if (s->in_at > 0) {
		memmove(s->in, s->in + s->in_at, have);
		s->in_at = 0;
		s->in_end = have;
	}
	if (need <= s->in_cap)
		return 0;
	in = realloc(s->in, need);
	if (!in)
		return -ENOMEM;
	s->in = in;
	s->in_cap = need;
	return 0;
}

static void read_in(struct stream *s)
{
	size_t turn = 0;

	for (;;) {
		ssize_t n;
		int err = in_room(s);

		if (err) {
			fail(s, err, NULL);
			return;
		}
		s->tls.hold = turn >= TURN_BYTES;
		n = tls_read(&s->tls, s->in + s->in_end, s->in_cap - s->in_end);
		s->tls.hold = false;
		if (n == -EAGAIN)
			return;
		if (n < 0) {
			fail_tls(s, (int)n);
			return;
		}
		turn += (size_t)n;
		s->in_end += (size_t)n;
		if (!take_frames(s))
			return;
	}
}

/* Getting there */

static void opened(struct stream *s)
{
	struct ev_loop *ev = loop_ev(s->loop);
	struct stream_listener *listener = s->listener;

	s->state = STREAM_OPEN;
	s->last_frame = ev_now(ev);
	ev_timer_stop(ev, &s->deadline);
	ev_io_stop(ev, &s->writable);
	if (s->idle_s > 0) {
		ev_timer_set(&s->deadline, s->idle_s, 0);
		ev_timer_start(ev, &s->deadline);
	}

	enter(s);
	if (listener) {
		list_del(&s->in_listener);
		s->listener = NULL;
		listener_result_internal(listener, s, 0);
	} else if (s->ops && s->ops->on_open) {
		s->ops->on_open(s, s->arg);
	}
	if (!leave(s))
		return;
	if (s->out_first)
		feed_flush(s);
	/* The peer's first frames may have come along with the end of the handshake. */
	read_in(s);
}

static void handshake(struct stream *s)
{
	struct ev_loop *ev = loop_ev(s->loop);
	int err = tls_handshake(&s->tls);

	if (err == 0) {
		opened(s);
	} else if (err != -EAGAIN) {
		fail_tls(s, err);
	} else if (tls_wants_write(&s->tls)) {
		ev_io_start(ev, &s->writable);
	} else {
		ev_io_stop(ev, &s->writable);
	}
}

static void on_connected(struct stream *s)
{
	socklen_t len = sizeof(int);
	int err = 0;

	if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		err = errno;
	if (err) {
		fail(s, -err, NULL);
		return;
	}
	s->state = STREAM_HANDSHAKE;
	ev_io_start(loop_ev(s->loop), &s->readable);
	handshake(s);
}

static void on_readable(struct ev_loop *ev, ev_io *w, int revents)
{
	struct stream *s = container_of(w, struct stream, readable);

	(void)ev;
	(void)revents;
	if (s->state == STREAM_HANDSHAKE)
		handshake(s);
	else if (s->state == STREAM_OPEN)
		read_in(s);
}

static void on_writable(struct ev_loop *ev, ev_io *w, int revents)
{
	struct stream *s = container_of(w, struct stream, writable);

	(void)ev;
	(void)revents;
	if (s->state == STREAM_CONNECTING)
		on_connected(s);
	else if (s->state == STREAM_HANDSHAKE)
		handshake(s);
	else if (s->state == STREAM_OPEN)
		flush(s);
}

static void on_deadline(struct ev_loop *ev, ev_timer *w, int revents)
{
	struct stream *s = container_of(w, struct stream, deadline);
	double left = s->last_frame + s->idle_s - ev_now(ev);

	(void)revents;
	if (s->state == STREAM_CONNECTING) {
		fail(s, -ETIMEDOUT, "connecting took too long");
	} else if (s->state == STREAM_HANDSHAKE) {
		fail(s, -ETIMEDOUT, "the TLS handshake took too long");
	} else if (left <= 0) {
		fail(s, -ETIMEDOUT, "the peer has fallen silent");
	} else {
		ev_timer_set(w, left, 0);
		ev_timer_start(ev, w);
	}
}

int stream_new_internal(const struct stream_cfg *cfg, struct tls_keys *keys, int fd,
	const struct sockaddr_storage *peer, struct stream_listener *listener,
	struct stream **ret_stream)
{
	struct ev_loop *ev = loop_ev(cfg->loop);
	struct stream *s = calloc(1, sizeof(*s));
	uint32_t ms = cfg->connect_timeout_ms ? cfg->connect_timeout_ms : DEFAULT_CONNECT_MS;

	if (!s || tls_open(&s->tls, keys, fd, listener != NULL) != 0) {
		free(s);
		close(fd);
		return -ENOMEM;
	}
	s->loop = cfg->loop;
	s->fd = fd;
	s->listener = listener;
	list_init(&s->in_listener);
	s->state = listener ? STREAM_HANDSHAKE : STREAM_CONNECTING;
	s->max_frame = cfg->max_frame ? cfg->max_frame : DEFAULT_MAX_FRAME;
	s->idle_s = cfg->idle_timeout_ms / 1000.0;
	s->addr = *peer;
	addr_text_internal(peer, s->peer, sizeof(s->peer));

	ev_io_init(&s->readable, on_readable, fd, EV_READ);
	ev_io_init(&s->writable, on_writable, fd, EV_WRITE);
	ev_prepare_init(&s->flush, on_flush);
	/* After the callbacks of this turn, which may send more. */
	ev_set_priority(&s->flush, EV_MINPRI);
	ev_timer_init(&s->deadline, on_deadline, ms / 1000.0, 0);
	ev_now_update(ev);
	ev_timer_start(ev, &s->deadline);
	if (listener)
		ev_io_start(ev, &s->readable);
	else
		ev_io_start(ev, &s->writable);
	*ret_stream = s;
	return 0;
}

static int bind_source(int fd, const char *source, int family)
{
	struct sockaddr_storage ss;
	socklen_t len;
	int err = addr_parse_internal(source, 0, &ss, &len);

	if (err || ss.ss_family != family)
		return err;
	return bind(fd, (struct sockaddr *)&ss, len) < 0 ? -errno : 0;
}

int stream_connect(const struct stream_cfg *cfg, const char *address, uint16_t port,
	const struct stream_ops *ops, void *arg, struct stream **ret_stream)
{
	struct sockaddr_storage ss;
	struct tls_keys *keys;
	struct stream *s;
	socklen_t len;
	int fd, err;

	assert(loop_is_owner(cfg->loop));
	err = addr_parse_internal(address, port, &ss, &len);
	if (err)
		return err;
	err = tls_keys_new(cfg->psk, cfg->identity, &keys);
	if (err)
		return err;
	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		err = -errno;
		goto out;
	}
	socket_tune_internal(fd);
	err = cfg->source ? bind_source(fd, cfg->source, ss.ss_family) : 0;
	if (err) {
		close(fd);
		goto out;
	}
	err = stream_new_internal(cfg, keys, fd, &ss, NULL, &s);
	if (err)
		goto out;
	s->ops = ops;
	s->arg = arg;
	if (connect(fd, (struct sockaddr *)&ss, len) < 0 && errno != EINPROGRESS) {
		/* Told by on_close like any other failure to connect (I2). */
		s->failure = -errno;
		ev_io_stop(loop_ev(s->loop), &s->writable);
		feed_flush(s);
	}
	*ret_stream = s;
out:
	tls_keys_unref(keys);
	return err;
}

void stream_set_ops(struct stream *s, const struct stream_ops *ops, void *arg)
{
	s->ops = ops;
	s->arg = arg;
}

const char *stream_peer(const struct stream *s)
{
	return s->peer;
}

bool stream_peer_is(const struct stream *s, const char *address)
{
	struct sockaddr_storage ss;
	socklen_t len;

	return !addr_parse_internal(address, 0, &ss, &len) && addr_same_host_internal(&s->addr, &ss);
}

void stream_free(struct stream *s)
{
	if (!s || s->state == STREAM_CLOSED)
		return;
	assert(loop_is_owner(s->loop));
	/* What the socket takes at once still goes out (a last word before leaving). */
	if (s->state == STREAM_OPEN && !s->failure && write_out(s) == 0)
		tls_bye(&s->tls);
	enter(s);
	shut(s);
	leave(s);
}
