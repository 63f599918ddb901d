/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between stream.c (state, frames), stream_listen.c (sockets, accepting) and stream_tls.c. */
#ifndef UTIL_STREAM_INTERNAL_H
#define UTIL_STREAM_INTERNAL_H

#include <gnutls/gnutls.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "util/list.h"
#include "util/stream.h"

/* What a TLS session is made from; shared by the streams of a listener, one thread. */
struct tls_keys;

/* psk and identity are copied. Errors: -ENOMEM, -EINVAL (identity). */
int tls_keys_new(const uint8_t *psk, const char *identity, struct tls_keys **ret_keys);
struct tls_keys *tls_keys_ref(struct tls_keys *keys);
void tls_keys_unref(struct tls_keys *keys); /* NULL is allowed */

/* One session over a connected, non-blocking socket, which it does not own. */
struct tls {
	gnutls_session_t session;
	struct tls_keys *keys;
	int fd;
	int sock_err;	      /* negative errno of the last failed send or recv */
	size_t unsent;	      /* length of the record that a tls_write() left half-sent */
	bool ended;	      /* the peer closed its side of the socket */
	bool hold;	      /* take nothing more from the socket, finish what was received */
	bool bad_key;	      /* server: the client's key or identity is not ours */
	uint8_t *ahead;	      /* received, not yet taken by GnuTLS */
	size_t ahead_at, ahead_end;
	char why[160];	      /* the last failure in words */
};

/* Error: -ENOMEM. */
int tls_open(struct tls *tls, struct tls_keys *keys, int fd, bool server);
/* Frees everything; may be called on a zeroed struct. */
void tls_close(struct tls *tls);

/* 0, -EAGAIN, or a failure: -ERR_KEY, -EPROTO, -ECONNRESET ... (in words: why). */
int tls_handshake(struct tls *tls);
/* After -EAGAIN of tls_handshake(): it waits until it can write. */
bool tls_wants_write(const struct tls *tls);

/* Bytes moved, -EAGAIN, or a failure. The end of the stream is -ECONNRESET. A reader goes on until
 * -EAGAIN, since the socket does not announce what was received already. After -EAGAIN tls_write()
 * is called again with the same bytes. */
ssize_t tls_read(struct tls *tls, void *buf, size_t len);
ssize_t tls_write(struct tls *tls, const void *buf, size_t len);

/* Tells the peer that nothing follows, if that can be done at once. */
void tls_bye(struct tls *tls);

enum stream_state {
	STREAM_CONNECTING, /* TCP */
	STREAM_HANDSHAKE,  /* TLS */
	STREAM_OPEN,
	STREAM_CLOSED, /* on_close was or must not be called */
};

struct out_chunk;

struct stream {
	struct loop *loop;
	const struct stream_ops *ops;
	void *arg;
	struct stream_listener *listener; /* of a server's stream in its handshake */
	struct list in_listener;

	enum stream_state state;
	int busy;	/* callbacks on the stack */
	int failure;	/* to be reported by the flush event */
	int fd;
	struct tls tls;
	ev_io readable, writable;
	ev_timer deadline; /* of connect and handshake, then idleness */
	ev_prepare flush;  /* never started: an event to feed */
	uint32_t max_frame;
	double idle_s, last_frame;

	uint8_t *in; /* received, frames not yet whole */
	size_t in_at, in_end, in_cap;
	struct out_chunk *out_first, *out_last;
	size_t out_bytes;

	struct sockaddr_storage addr;
	char peer[80]; /* addr as text */
};

/* Makes a stream over a connected socket (or one that connects: listener NULL) and takes fd, also
 * when it fails: -ENOMEM. */
int stream_new_internal(const struct stream_cfg *cfg, struct tls_keys *keys, int fd,
	const struct sockaddr_storage *peer, struct stream_listener *listener,
	struct stream **ret_stream);

/* stream_listen.c: a handshake ended. err 0 hands the stream to on_accept, which may free it;
 * else it is only noted. */
void listener_result_internal(struct stream_listener *listener, struct stream *stream, int err);

/* Sets what every connection gets: TCP_NODELAY, keepalive. */
void socket_tune_internal(int fd);
/* Text of an address to buf, and the address of a text: 0 or -EINVAL. */
void addr_text_internal(const struct sockaddr_storage *ss, char *buf, size_t len);
/* The same host, whatever the ports; an IPv4 address in IPv6 is one of IPv4. */
bool addr_same_host_internal(const struct sockaddr_storage *a, const struct sockaddr_storage *b);
int addr_parse_internal(const char *address, uint16_t port, struct sockaddr_storage *ret_ss,
	socklen_t *ret_len);

#endif
