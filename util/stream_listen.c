/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sockets and the accepting side. Before its handshake is done a peer is a stranger: it gets a
 * deadline, a place in a short queue from which the oldest is thrown out, and few log lines.
 */
#include "util/stream_internal.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/err.h"
#include "util/log.h"

#define MAX_STRANGERS 128
#define ACCEPTS_A_TURN 32
#define LINES_A_PERIOD 10
#define PERIOD_S 10.0
#define RETRY_S 0.1

struct stream_listener {
	struct stream_cfg cfg;
	struct tls_keys *keys;
	void (*on_accept)(void *arg, struct stream *stream);
	void *arg;
	int fd;
	ev_io readable;
	ev_timer retry; /* when descriptors or memory ran out */
	struct list strangers;
	unsigned int nr_strangers;

	double period_start;
	unsigned int lines, suppressed;
};

void socket_tune_internal(int fd)
{
	/* A peer that vanished without a word is noticed within about 15 s, idle or not. */
	static const struct {
		int level, name, value;
	} options[] = {
		{ IPPROTO_TCP, TCP_NODELAY, 1 },
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, 5 },
		{ IPPROTO_TCP, TCP_KEEPINTVL, 2 },
		{ IPPROTO_TCP, TCP_KEEPCNT, 5 },
		{ IPPROTO_TCP, TCP_USER_TIMEOUT, 15000 },
	};

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		if (setsockopt(fd, options[i].level, options[i].name, &options[i].value,
			    sizeof(int)) < 0)
			log_debug("setsockopt(%d, %d): %s", options[i].level, options[i].name,
				err_str(-errno));
	}
}

void addr_text_internal(const struct sockaddr_storage *ss, char *buf, size_t len)
{
	char host[INET6_ADDRSTRLEN] = "?";

	if (ss->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)ss;

		inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		snprintf(buf, len, "%s:%u", host, ntohs(in->sin_port));
	} else {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)ss;
		uint16_t port = ntohs(in6->sin6_port);

		if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
			inet_ntop(AF_INET, in6->sin6_addr.s6_addr + 12, host, sizeof(host));
			snprintf(buf, len, "%s:%u", host, port);
		} else {
			inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
			snprintf(buf, len, "[%s]:%u", host, port);
		}
	}
}

static bool addr_host(const struct sockaddr_storage *ss, struct in6_addr *ret)
{
	if (ss->ss_family == AF_INET6) {
		*ret = ((const struct sockaddr_in6 *)ss)->sin6_addr;
		return true;
	}
	*ret = (struct in6_addr){ .s6_addr = { [10] = 0xff, [11] = 0xff } };
	memcpy(ret->s6_addr + 12, &((const struct sockaddr_in *)ss)->sin_addr, 4);
	return ss->ss_family == AF_INET;
}

bool addr_same_host_internal(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	struct in6_addr ha, hb;

	return addr_host(a, &ha) && addr_host(b, &hb) && !memcmp(&ha, &hb, sizeof(ha));
}

int addr_parse_internal(const char *address, uint16_t port, struct sockaddr_storage *ret_ss,
	socklen_t *ret_len)
{
	const struct addrinfo hints = {
		.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
		.ai_socktype = SOCK_STREAM,
	};
	struct addrinfo *ai;
	char service[8];

	snprintf(service, sizeof(service), "%u", port);
	if (getaddrinfo(address, service, &hints, &ai) != 0)
		return -EINVAL;
	memcpy(ret_ss, ai->ai_addr, ai->ai_addrlen);
	*ret_len = ai->ai_addrlen;
	freeaddrinfo(ai);
	return 0;
}

/* True if a stranger's failure may be logged: a scan must not wash everything else out. */
static bool may_log(struct stream_listener *l)
{
	double now = ev_now(loop_ev(l->cfg.loop));

	if (now - l->period_start >= PERIOD_S) {
		if (l->suppressed)
			log_warn("%u more connections were refused", l->suppressed);
		l->period_start = now;
		l->lines = 0;
		l->suppressed = 0;
	}
	if (l->lines < LINES_A_PERIOD) {
		l->lines++;
		return true;
	}
	l->suppressed++;
	return false;
}

void listener_result_internal(struct stream_listener *l, struct stream *s, int err)
{
	l->nr_strangers--;
	if (err) {
		if (may_log(l))
			log_warn("refused a connection from %s: %s", stream_peer(s),
				s->tls.why[0] ? s->tls.why : err_str(err));
		return;
	}
	l->on_accept(l->arg, s);
	/* on_accept may have freed the listener. A stream that nobody took has no owner. */
	if (!s->ops)
		stream_free(s);
}

static void drop_oldest(struct stream_listener *l)
{
	struct stream *s = list_entry(l->strangers.next, struct stream, in_listener);

	snprintf(s->tls.why, sizeof(s->tls.why), "too many unfinished handshakes");
	listener_result_internal(l, s, -EBUSY);
	stream_free(s);
}

static void add_stranger(struct stream_listener *l, int fd, const struct sockaddr_storage *peer)
{
	struct stream *s;
	int err;

	if (l->nr_strangers >= MAX_STRANGERS)
		drop_oldest(l);
	socket_tune_internal(fd);
	err = stream_new_internal(&l->cfg, l->keys, fd, peer, l, &s);
	if (err) {
		if (may_log(l))
			log_warn("cannot accept a connection: %s", err_str(err));
		return;
	}
	list_add_tail(&l->strangers, &s->in_listener);
	l->nr_strangers++;
}

static void on_readable(struct ev_loop *ev, ev_io *w, int revents)
{
	struct stream_listener *l = container_of(w, struct stream_listener, readable);

	(void)revents;
	for (int i = 0; i < ACCEPTS_A_TURN; i++) {
		struct sockaddr_storage peer = { 0 };
		socklen_t len = sizeof(peer);
		int fd = accept4(l->fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			add_stranger(l, fd, &peer);
			continue;
		}
		if (errno == EAGAIN)
			return;
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			/* The connection stays in the backlog and would wake us for ever. */
			if (may_log(l))
				log_error("cannot accept a connection: %s", err_str(-errno));
			ev_io_stop(ev, w);
			ev_timer_set(&l->retry, RETRY_S, 0);
			ev_timer_start(ev, &l->retry);
			return;
		}
		/* Else the connection failed before it was accepted: accept(2). */
	}
}

static void on_retry(struct ev_loop *ev, ev_timer *w, int revents)
{
	struct stream_listener *l = container_of(w, struct stream_listener, retry);

	(void)revents;
	ev_io_start(ev, &l->readable);
}

static int listen_socket(const struct sockaddr_storage *ss, socklen_t len, int *ret_fd)
{
	int fd = socket(ss->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1, off = 0, err;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (ss->ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, (const struct sockaddr *)ss, len) < 0 || listen(fd, SOMAXCONN) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	*ret_fd = fd;
	return 0;
}

int stream_listen(const struct stream_cfg *cfg, const char *address, uint16_t port,
	void (*on_accept)(void *arg, struct stream *stream), void *arg,
	struct stream_listener **ret_listener)
{
	struct stream_listener *l;
	struct sockaddr_storage ss;
	socklen_t len;
	int err;

	assert(on_accept);
	err = addr_parse_internal(address, port, &ss, &len);
	if (err)
		return err;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	err = tls_keys_new(cfg->psk, cfg->identity, &l->keys);
	if (err)
		goto fail;
	err = listen_socket(&ss, len, &l->fd);
	if (err == -EAFNOSUPPORT && strcmp(address, "::") == 0) {
		/* A kernel without IPv6: "any address" is still meant. */
		addr_parse_internal("0.0.0.0", port, &ss, &len);
		err = listen_socket(&ss, len, &l->fd);
	}
	if (err)
		goto fail;

	l->cfg = *cfg;
	l->cfg.psk = NULL; /* the caller's; keys has copies */
	l->cfg.identity = NULL;
	l->on_accept = on_accept;
	l->arg = arg;
	l->period_start = -PERIOD_S;
	list_init(&l->strangers);
	ev_timer_init(&l->retry, on_retry, RETRY_S, 0);
	ev_io_init(&l->readable, on_readable, l->fd, EV_READ);
	ev_io_start(loop_ev(cfg->loop), &l->readable);
	*ret_listener = l;
	return 0;
fail:
	tls_keys_unref(l->keys);
	free(l);
	return err;
}

uint16_t stream_listener_port(const struct stream_listener *l)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);

	if (getsockname(l->fd, (struct sockaddr *)&ss, &len) < 0)
		return 0;
	return ntohs(ss.ss_family == AF_INET ? ((struct sockaddr_in *)&ss)->sin_port :
					       ((struct sockaddr_in6 *)&ss)->sin6_port);
}

void stream_listener_free(struct stream_listener *l)
{
	if (!l)
		return;
	while (!list_empty(&l->strangers))
		stream_free(list_entry(l->strangers.next, struct stream, in_listener));
	ev_io_stop(loop_ev(l->cfg.loop), &l->readable);
	ev_timer_stop(loop_ev(l->cfg.loop), &l->retry);
	close(l->fd);
	tls_keys_unref(l->keys);
	free(l);
}
