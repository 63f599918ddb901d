/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Framed messages over a stream: TCP with TLS 1.3 and a pre-shared key (GnuTLS) between nodes.
 * Each frame is a le32 length (of what follows) and that many bytes; the content is the caller's.
 *
 * S1  All calls and callbacks of a stream or listener are on the thread of its loop.
 * S2  on_frame gets each frame once, in order. on_close runs exactly once, also for a connection
 *     that never came up; nothing is called after it. stream_free() suppresses it.
 * S3  A frame longer than max_frame, a failed handshake or a TLS alert closes the stream with a
 *     log line that names the peer; the caller learns the reason in on_close.
 * S4  What stream_send() took is sent in order or lost with the stream. It never blocks.
 */
#ifndef UTIL_STREAM_H
#define UTIL_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/loop.h"

struct stream;
struct stream_listener;

#define STREAM_KEY_BYTES 32

struct stream_ops {
	/* Connected and authenticated. Not called for streams that come from a listener. */
	void (*on_open)(struct stream *stream, void *arg);
	/* frame: len bytes, valid during the call. */
	void (*on_frame)(struct stream *stream, void *arg, const void *frame, size_t len);
	/* err: -ECONNRESET (closed, cleanly or not), -ETIMEDOUT, -ERR_KEY (the keys or identities
	 * differ), -EPROTO, -ENOMEM, -ECONNREFUSED and what else connect(2) says. The stream is freed
	 * after the call. */
	void (*on_close)(struct stream *stream, void *arg, int err);
};

struct stream_cfg {
	struct loop *loop;
	const uint8_t *psk;	     /* STREAM_KEY_BYTES; copied */
	const char *source;	     /* stream_connect: from this numeric address; NULL = any */
	const char *identity;	     /* TLS PSK identity: the volume's UUID; copied, not empty */
	uint32_t max_frame;	     /* bytes; 0 = 2 MiB */
	uint32_t connect_timeout_ms; /* connect and handshake; 0 = 5,000 */
	uint32_t idle_timeout_ms;    /* no frame received for that long: -ETIMEDOUT; 0 = never */
};

/* Connects to address:port (numeric IPv4 or IPv6). Errors: -EINVAL, -ENOMEM, -EMFILE,
 * -EADDRNOTAVAIL (source). A source of another family than address does not count. */
int stream_connect(const struct stream_cfg *cfg, const char *address, uint16_t port,
	const struct stream_ops *ops, void *arg, struct stream **ret_stream)
	__attribute__((warn_unused_result, nonnull(1, 2, 4, 6)));

/* Listens on address ("::" for any, IPv4 too, or numeric) and port (0 = any; see
 * stream_listener_port). on_accept sets ops and arg of a new, authenticated stream (with
 * stream_set_ops) and owns it; if it sets none, the stream is closed. Errors: -EINVAL, -ENOMEM,
 * -EADDRINUSE, -EADDRNOTAVAIL, -EACCES, -EMFILE. */
int stream_listen(const struct stream_cfg *cfg, const char *address, uint16_t port,
	void (*on_accept)(void *arg, struct stream *stream), void *arg,
	struct stream_listener **ret_listener) __attribute__((warn_unused_result, nonnull(1, 2, 4)));
uint16_t stream_listener_port(const struct stream_listener *listener);
/* Stops listening; streams that were handed out live on. NULL is allowed; also in on_accept. */
void stream_listener_free(struct stream_listener *listener);

void stream_set_ops(struct stream *stream, const struct stream_ops *ops, void *arg);

/* Queues a frame (also before on_open); data is copied. Errors: -ENOBUFS when more than 64 MiB
 * would be queued, -EMSGSIZE over max_frame, -ENOMEM, -ECONNRESET when on_close is due. */
int stream_send(struct stream *stream, const void *data, size_t len)
	__attribute__((warn_unused_result, nonnull));

/* "10.1.0.2:41234", for messages. */
const char *stream_peer(const struct stream *stream);

/* Whether the peer's address is this numeric one, whatever its port. */
bool stream_peer_is(const struct stream *stream, const char *address);

/* Closes and frees without on_close, after one try to send what is queued. NULL is allowed. May be
 * called from a callback. */
void stream_free(struct stream *stream);

#endif
