/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TLS 1.3 (RFC 8446) with an external pre-shared key and (EC)DHE, so that a key that leaks later
 * does not open recorded traffic. No certificates, no resumption: the key is the only way in, and
 * both sides check after the handshake that it was what authenticated the peer.
 */
#include "util/stream_internal.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/checked.h"
#include "util/err.h"

/* GnuTLS binds an external key to SHA-256, which leaves the ciphers that go with it. Nothing is
 * signed, but a list without signature algorithms does not parse. */
#define PRIORITY                                                                                   \
	"NONE:+VERS-TLS1.3:+AEAD:+ECDHE-PSK:+DHE-PSK:+AES-128-GCM:+CHACHA20-POLY1305:"             \
	"+GROUP-X25519:+GROUP-SECP256R1:+GROUP-FFDHE3072:+SIGN-ALL"

/* Several records are received with one call; GnuTLS alone would take two calls for each. */
#define AHEAD_BYTES ((size_t)64 << 10)

struct tls_keys {
	int refs;
	char *identity;
	uint8_t psk[STREAM_KEY_BYTES];
	gnutls_priority_t priority;
	gnutls_psk_client_credentials_t client;
	gnutls_psk_server_credentials_t server;
};

static int server_psk(gnutls_session_t session, const char *username, gnutls_datum_t *key)
{
	struct tls *tls = gnutls_session_get_ptr(session);
	const struct tls_keys *keys = tls->keys;

	/* Until the handshake is done the key counts as wrong: it fails next if it is. */
	tls->bad_key = true;
	if (strcmp(username, keys->identity) != 0)
		return -1;
	key->data = gnutls_malloc(STREAM_KEY_BYTES);
	if (!key->data)
		return -1;
	memcpy(key->data, keys->psk, STREAM_KEY_BYTES);
	key->size = STREAM_KEY_BYTES;
	return 0;
}

static int from_gnutls(int ret)
{
	return ret == GNUTLS_E_MEMORY_ERROR ? -ENOMEM : -EINVAL;
}

int tls_keys_new(const uint8_t *psk, const char *identity, struct tls_keys **ret_keys)
{
	struct tls_keys *keys = calloc(1, sizeof(*keys));
	gnutls_datum_t raw = { .data = (unsigned char *)psk, .size = STREAM_KEY_BYTES };
	int ret, err = -ENOMEM;

	if (!keys)
		return -ENOMEM;
	keys->refs = 1;
	memcpy(keys->psk, psk, STREAM_KEY_BYTES);
	keys->identity = strdup(identity);
	if (!keys->identity)
		goto fail;
	err = -EINVAL;
	if (!identity[0])
		goto fail;
	ret = gnutls_priority_init(&keys->priority, PRIORITY, NULL);
	if (ret < 0)
		goto fail_gnutls;
	ret = gnutls_psk_allocate_client_credentials(&keys->client);
	if (ret < 0)
		goto fail_gnutls;
	ret = gnutls_psk_set_client_credentials(
		keys->client, keys->identity, &raw, GNUTLS_PSK_KEY_RAW);
	if (ret < 0)
		goto fail_gnutls;
	ret = gnutls_psk_allocate_server_credentials(&keys->server);
	if (ret < 0)
		goto fail_gnutls;
	gnutls_psk_set_server_credentials_function(keys->server, server_psk);
	*ret_keys = keys;
	return 0;

fail_gnutls:
	err = from_gnutls(ret);
fail:
	tls_keys_unref(keys);
	return err;
}

struct tls_keys *tls_keys_ref(struct tls_keys *keys)
{
	keys->refs++;
	return keys;
}

void tls_keys_unref(struct tls_keys *keys)
{
	if (!keys || --keys->refs > 0)
		return;
	if (keys->client)
		gnutls_psk_free_client_credentials(keys->client);
	if (keys->server)
		gnutls_psk_free_server_credentials(keys->server);
	if (keys->priority)
		gnutls_priority_deinit(keys->priority);
	gnutls_memset(keys->psk, 0, sizeof(keys->psk));
	free(keys->identity);
	free(keys);
}

static ssize_t on_pull(gnutls_transport_ptr_t ptr, void *buf, size_t len)
{
	struct tls *tls = ptr;
	size_t n;

	if (tls->ahead_at == tls->ahead_end) {
		ssize_t got;

		if (tls->hold) {
			gnutls_transport_set_errno(tls->session, EAGAIN);
			return -1;
		}
		got = recv(tls->fd, tls->ahead, AHEAD_BYTES, 0);

		if (got < 0 && errno != EAGAIN && errno != EINTR)
			tls->sock_err = -errno;
		if (got < 0)
			gnutls_transport_set_errno(tls->session, errno);
		tls->ended = got == 0;
		if (got <= 0)
			return got;
		tls->ahead_at = 0;
		tls->ahead_end = (size_t)got;
	}
	n = MIN(len, tls->ahead_end - tls->ahead_at);
	memcpy(buf, tls->ahead + tls->ahead_at, n);
	tls->ahead_at += n;
	return (ssize_t)n;
}

static ssize_t on_push(gnutls_transport_ptr_t ptr, const void *buf, size_t len)
{
	struct tls *tls = ptr;
	ssize_t n = send(tls->fd, buf, len, MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN && errno != EINTR)
		tls->sock_err = errno == EPIPE ? -ECONNRESET : -errno;
	if (n < 0)
		gnutls_transport_set_errno(tls->session, errno);
	return n;
}

/* The default would take the transport pointer for a descriptor. */
static int on_pull_timeout(gnutls_transport_ptr_t ptr, unsigned int ms)
{
	struct tls *tls = ptr;
	struct pollfd p = { .fd = tls->fd, .events = POLLIN };

	(void)ms; /* nothing here may wait */
	return tls->ahead_at < tls->ahead_end || poll(&p, 1, 0) > 0;
}

int tls_open(struct tls *tls, struct tls_keys *keys, int fd, bool server)
{
	unsigned int flags = GNUTLS_NONBLOCK | GNUTLS_NO_TICKETS | GNUTLS_NO_SIGNAL;
	int ret;

	*tls = (struct tls){ .fd = fd, .keys = tls_keys_ref(keys) };
	tls->ahead = malloc(AHEAD_BYTES);
	if (!tls->ahead)
		goto fail;
	ret = gnutls_init(&tls->session, flags | (server ? GNUTLS_SERVER : GNUTLS_CLIENT));
	if (ret < 0) {
		tls->session = NULL;
		goto fail;
	}
	if (gnutls_priority_set(tls->session, keys->priority) < 0 ||
		gnutls_credentials_set(tls->session, GNUTLS_CRD_PSK,
			server ? (void *)keys->server : (void *)keys->client) < 0)
		goto fail;
	gnutls_session_set_ptr(tls->session, tls);
	gnutls_transport_set_ptr(tls->session, tls);
	gnutls_transport_set_pull_function(tls->session, on_pull);
	gnutls_transport_set_push_function(tls->session, on_push);
	gnutls_transport_set_pull_timeout_function(tls->session, on_pull_timeout);
	return 0;
fail:
	tls_close(tls);
	return -ENOMEM;
}

void tls_close(struct tls *tls)
{
	if (tls->session)
		gnutls_deinit(tls->session);
	free(tls->ahead);
	tls_keys_unref(tls->keys);
	*tls = (struct tls){ .fd = -1 };
}

/* Names the failure ret of GnuTLS in words and as a code of ours. */
static int failure(struct tls *tls, int ret)
{
	/* an end in the middle of a record's header is told apart from one between two records */
	if (ret == GNUTLS_E_UNEXPECTED_PACKET_LENGTH && tls->ended)
		ret = GNUTLS_E_PREMATURE_TERMINATION;
	switch (ret) {
	case 0:
	case GNUTLS_E_PREMATURE_TERMINATION:
		snprintf(tls->why, sizeof(tls->why), "closed by the peer");
		return -ECONNRESET;
	case GNUTLS_E_PULL_ERROR:
	case GNUTLS_E_PUSH_ERROR:
		if (tls->sock_err) {
			snprintf(tls->why, sizeof(tls->why), "%s", err_str(tls->sock_err));
			return tls->sock_err;
		}
		snprintf(tls->why, sizeof(tls->why), "%s", gnutls_strerror(ret));
		return -ECONNRESET;
	case GNUTLS_E_FATAL_ALERT_RECEIVED:
	case GNUTLS_E_WARNING_ALERT_RECEIVED:
		snprintf(tls->why, sizeof(tls->why), "TLS alert from the peer: %s",
			gnutls_alert_get_name(gnutls_alert_get(tls->session)));
		return -EPROTO;
	case GNUTLS_E_MEMORY_ERROR:
		snprintf(tls->why, sizeof(tls->why), "out of memory");
		return -ENOMEM;
	default:
		snprintf(tls->why, sizeof(tls->why), "%s", gnutls_strerror(ret));
		return -EPROTO;
	}
}

/* The alerts by which a server says that it does not know this key (RFC 8446 6.2); GnuTLS's own
 * choice for a binder that does not verify is the last one. */
static bool alert_means_key(gnutls_alert_description_t alert)
{
	return alert == GNUTLS_A_UNKNOWN_PSK_IDENTITY || alert == GNUTLS_A_DECRYPT_ERROR ||
	       alert == GNUTLS_A_ILLEGAL_PARAMETER;
}

static int handshake_failure(struct tls *tls, int ret)
{
	int err = failure(tls, ret);

	if (ret == GNUTLS_E_FATAL_ALERT_RECEIVED) {
		if (alert_means_key(gnutls_alert_get(tls->session)))
			err = -ERR_KEY;
	} else if (tls->bad_key && err == -EPROTO) {
		gnutls_alert_send(tls->session, GNUTLS_AL_FATAL, GNUTLS_A_DECRYPT_ERROR);
		err = -ERR_KEY;
	} else if (err == -EPROTO) {
		gnutls_alert_send_appropriate(tls->session, ret);
	}
	if (err == -ERR_KEY)
		snprintf(tls->why, sizeof(tls->why), "the volume key or the volume differs");
	return err;
}

int tls_handshake(struct tls *tls)
{
	int ret;

	do {
		ret = gnutls_handshake(tls->session);
	} while (ret < 0 && ret != GNUTLS_E_AGAIN && !gnutls_error_is_fatal(ret));
	if (ret == GNUTLS_E_AGAIN)
		return -EAGAIN;
	if (ret < 0)
		return handshake_failure(tls, ret);
	tls->bad_key = false;
	/* A peer that got through without the key would be a stranger with a certificate. */
	if (gnutls_auth_server_get_type(tls->session) != GNUTLS_CRD_PSK) {
		snprintf(tls->why, sizeof(tls->why), "the peer did not prove the volume key");
		return -ERR_KEY;
	}
	return 0;
}

bool tls_wants_write(const struct tls *tls)
{
	return gnutls_record_get_direction(tls->session) == 1;
}

ssize_t tls_read(struct tls *tls, void *buf, size_t len)
{
	ssize_t ret;

	do {
		ret = gnutls_record_recv(tls->session, buf, len);
	} while (ret < 0 && ret != GNUTLS_E_AGAIN && !gnutls_error_is_fatal((int)ret));
	if (ret > 0)
		return ret;
	if (ret == GNUTLS_E_AGAIN)
		return -EAGAIN;
	return failure(tls, (int)ret);
}

ssize_t tls_write(struct tls *tls, const void *buf, size_t len)
{
	ssize_t ret;

	assert(len > 0);
	do {
		if (tls->unsent)
			ret = gnutls_record_send(tls->session, NULL, 0);
		else
			ret = gnutls_record_send(tls->session, buf, len);
		if (ret == GNUTLS_E_AGAIN || ret == GNUTLS_E_INTERRUPTED)
			tls->unsent = len;
	} while (ret < 0 && ret != GNUTLS_E_AGAIN && !gnutls_error_is_fatal((int)ret));
	if (ret == GNUTLS_E_AGAIN)
		return -EAGAIN;
	tls->unsent = 0;
	if (ret > 0)
		return ret;
	return failure(tls, (int)ret);
}

void tls_bye(struct tls *tls)
{
	if (!tls->unsent)
		gnutls_bye(tls->session, GNUTLS_SHUT_WR);
}
