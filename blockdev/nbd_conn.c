/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An NBD connection: connect, negotiate, measure, drop. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "blockdev/nbd_internal.h"

#define POLL_MS 50

int nbc_conn_fail(struct nbc_conn *conn, int err, const char *fmt, ...)
{
	va_list ap;

	if (conn->fail)
		return conn->fail;
	conn->fail = err;
	va_start(ap, fmt);
	vsnprintf(conn->why, sizeof(conn->why), fmt, ap);
	va_end(ap);
	return err;
}

/* libnbd's text without the name of the function that it begins with. */
static const char *libnbd_text(void)
{
	const char *text = nbd_get_error(), *colon;

	if (!text)
		return "unknown error";
	colon = strstr(text, ": ");
	return strncmp(text, "nbd_", 4) == 0 && colon ? colon + 2 : text;
}

void nbc_conn_fail_libnbd(struct nbc_conn *conn)
{
	const struct nbc_cfg *cfg = conn->cfg;
	int err = nbd_get_errno();

	if (conn->up)
		nbc_conn_fail(conn, -ERR_TRANSPORT, "the connection broke: %s", libnbd_text());
	else if (err == ECONNREFUSED || err == EHOSTUNREACH || err == ENETUNREACH ||
		 err == ETIMEDOUT ||
		 (!cfg->tcp && err == ENOENT && !strstr(libnbd_text(), "export")))
		nbc_conn_fail(conn, -ERR_TRANSPORT,
			"can't connect to %s: %s; check address, port and whether the server runs",
			cfg->where, strerror(err));
	else if (err == ENOENT)
		nbc_conn_fail(conn, -ENOENT, "the server at %s has no export \"%s\" (%s)",
			cfg->where, cfg->export_name, libnbd_text());
	else if (strstr(libnbd_text(), "TLS") || strstr(libnbd_text(), "gnutls") ||
		 strstr(libnbd_text(), "PSK") || strstr(libnbd_text(), "policy"))
		nbc_conn_fail(conn, -EACCES, "the server at %s and we don't agree on TLS: %s%s",
			cfg->where, libnbd_text(),
			cfg->tls ? "; check keys and certificates"
				 : "; it may insist on TLS (nbds://)");
	else
		nbc_conn_fail(conn, -ERR_TRANSPORT, "talking to %s failed: %s", cfg->where,
			libnbd_text());
}

void nbc_conn_init(struct nbc_conn *conn, const struct nbc_cfg *cfg)
{
	memset(conn, 0, sizeof(*conn));
	conn->cfg = cfg;
}

static int configure(struct nbc_conn *conn)
{
	const struct nbc_cfg *cfg = conn->cfg;
	struct nbd_handle *h = conn->h;
	int r = nbd_set_export_name(h, cfg->export_name);

	/* What a server leaves out of a read is found by nbd_aio_command_completed(). */
	r |= nbd_set_pread_initialize(h, false);
	if (!cfg->tls)
		return r;
	r |= nbd_set_tls(h, LIBNBD_TLS_REQUIRE);
	r |= nbd_set_tls_verify_peer(h, cfg->verify_peer);
	if (cfg->user)
		r |= nbd_set_tls_username(h, cfg->user);
	if (cfg->psk_file)
		r |= nbd_set_tls_psk_file(h, cfg->psk_file);
	if (cfg->certificates)
		r |= nbd_set_tls_certificates(h, cfg->certificates);
	return r;
}

static void set_socket(struct nbc_conn *conn)
{
	struct linger linger = {.l_onoff = 1, .l_linger = 0};
	int fd = nbd_aio_get_fd(conn->h), on = 1, idle = 2, interval = 1, count = 3;
	int dead_ms = NBC_DEAD_MS;

	if (!conn->cfg->tcp || fd < 0)
		return;
	if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger))) /* (N3) */
		nbc_conn_fail(conn, -errno, "can't set SO_LINGER: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)); /* (N4) */
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &dead_ms, sizeof(dead_ms));
}

static uint32_t block_size(struct nbd_handle *h, int type)
{
	int64_t n = nbd_get_block_size(h, type);

	return n > 0 && n <= UINT32_MAX ? n : 0;
}

static void measure(struct nbc_conn *conn)
{
	struct nbd_handle *h = conn->h;
	struct nbc_info *info = &conn->info;
	uint32_t min = block_size(h, LIBNBD_SIZE_MINIMUM);
	uint32_t preferred = block_size(h, LIBNBD_SIZE_PREFERRED);
	uint32_t max = block_size(h, LIBNBD_SIZE_MAXIMUM);
	int64_t size = nbd_get_size(h);

	memset(info, 0, sizeof(*info));
	if (size < 0 || min > 4096) {
		nbc_conn_fail(conn, -ENOTSUP,
			size < 0 ? "the server does not tell the size of its export"
				 : "the export wants requests of at least %u bytes; 4096 is the "
				   "most that works",
			min);
		return;
	}
	info->block_bytes = min <= 512 ? 512 : 4096;
	info->size_bytes = ALIGN_DOWN((uint64_t)size, info->block_bytes);
	info->phys_bytes = preferred > info->block_bytes && !(preferred & (preferred - 1))
				   ? MIN(preferred, 65536)
				   : info->block_bytes;
	info->max_io_bytes = max ? MIN(max, NBC_MAX_IO_BYTES) : NBC_MAX_IO_BYTES;
	info->caps = conn->cfg->tcp ? BDEV_SHARED : 0;
	info->caps |= nbd_is_read_only(h) == 1 ? BDEV_READONLY : 0;
	info->caps |= nbd_can_flush(h) == 1 ? BDEV_CAN_FLUSH : 0;
	info->caps |= nbd_can_fua(h) == 1 ? BDEV_CAN_FUA : 0;
	info->caps |= nbd_can_trim(h) == 1 ? BDEV_CAN_DISCARD : 0;
	info->caps |= nbd_can_zero(h) == 1 ? BDEV_CAN_WRITE_ZEROES : 0;
	info->caps |= nbd_can_zero(h) == 1 && nbd_can_fast_zero(h) == 1 ? BDEV_CHEAP_ZEROES : 0;
	info->caps |= nbd_can_multi_conn(h) == 1 ? BDEV_GLOBAL_FLUSH : 0;
	info->caps |= nbd_is_rotational(h) == 1 ? BDEV_ROTATIONAL : 0;
}

/* What has become of the connection. A fast server can get it ready within any call. */
static void look(struct nbc_conn *conn)
{
	if (nbd_aio_is_dead(conn->h)) {
		nbc_conn_fail_libnbd(conn);
	} else if (nbd_aio_is_closed(conn->h)) {
		nbc_conn_fail(conn, -ERR_TRANSPORT, "the server at %s closed the connection",
			conn->cfg->where);
	} else if (!conn->up && nbd_aio_is_ready(conn->h)) {
		measure(conn);
		conn->up = !conn->fail;
	}
}

void nbc_conn_start(struct nbc_conn *conn)
{
	const struct nbc_cfg *cfg = conn->cfg;
	int r;

	conn->fail = 0;
	conn->up = false;
	conn->attempt_ns = clock_mono_ns();
	conn->h = nbd_create();
	if (!conn->h) {
		nbc_conn_fail(conn, -ENOMEM, "%s", libnbd_text());
		return;
	}
	if (configure(conn)) {
		nbc_conn_fail(conn, -EINVAL, "%s", libnbd_text());
		return;
	}
	/* To check a certificate libnbd must know the name, which it then looks up by itself. */
	if (cfg->tls && !cfg->psk_file && cfg->tcp)
		r = nbd_aio_connect_tcp(conn->h, cfg->host, cfg->port);
	else
		r = nbd_aio_connect(conn->h,
			(const struct sockaddr *)&cfg->addresses[conn->address].sa,
			cfg->addresses[conn->address].len);
	if (r) {
		nbc_conn_fail_libnbd(conn);
		return;
	}
	set_socket(conn);
	look(conn);
}

void nbc_conn_drop(struct nbc_conn *conn)
{
	nbd_close(conn->h);
	conn->h = NULL;
	conn->up = false;
	conn->fail = 0;
}

int nbc_conn_socket(struct nbc_conn *conn, int *ret_events)
{
	unsigned int direction;
	int fd;

	*ret_events = 0;
	if (!conn->h || conn->fail)
		return -1;
	fd = nbd_aio_get_fd(conn->h);
	direction = nbd_aio_get_direction(conn->h);
	*ret_events |= direction & LIBNBD_AIO_DIRECTION_READ ? EV_READ : 0;
	*ret_events |= direction & LIBNBD_AIO_DIRECTION_WRITE ? EV_WRITE : 0;
	return fd;
}

void nbc_conn_service(struct nbc_conn *conn, int revents)
{
	unsigned int direction = nbd_aio_get_direction(conn->h);
	int r = 0;

	if ((revents & EV_READ) && (direction & LIBNBD_AIO_DIRECTION_READ))
		r = nbd_aio_notify_read(conn->h);
	else if ((revents & EV_WRITE) && (direction & LIBNBD_AIO_DIRECTION_WRITE))
		r = nbd_aio_notify_write(conn->h);
	if (r)
		nbc_conn_fail_libnbd(conn);
	else
		look(conn);
}

void nbc_conn_tick(struct nbc_conn *conn, uint64_t now_ns)
{
	if (conn->h && !conn->up && now_ns > conn->attempt_ns + NBC_ATTEMPT_MS * 1000000ull)
		nbc_conn_fail(conn, -ERR_TRANSPORT, "%s did not answer within %d seconds",
			conn->cfg->where, NBC_ATTEMPT_MS / 1000);
}

static int wait_for(struct nbc_conn *conn, uint64_t deadline_ns)
{
	while (!conn->fail && !conn->up) {
		struct pollfd pfd;
		uint64_t now = clock_mono_ns();
		int events, n;

		if (now >= deadline_ns)
			return nbc_conn_fail(conn, -ERR_TRANSPORT, "%s did not answer in time",
				conn->cfg->where);
		pfd.fd = nbc_conn_socket(conn, &events);
		pfd.events = (events & EV_READ ? POLLIN : 0) | (events & EV_WRITE ? POLLOUT : 0);
		n = poll(&pfd, 1, MIN((int)((deadline_ns - now) / 1000000) + 1, POLL_MS));
		if (n > 0)
			nbc_conn_service(conn, (pfd.revents & ~POLLOUT ? EV_READ : 0) |
						       (pfd.revents & ~POLLIN ? EV_WRITE : 0));
		nbc_conn_tick(conn, clock_mono_ns());
	}
	return conn->fail;
}

int nbc_conn_open(struct nbc_conn *conn, uint64_t deadline_ns)
{
	int left, r = 0;

	for (left = conn->cfg->nr_addresses; left; left--) {
		uint64_t now = clock_mono_ns();
		uint64_t share = deadline_ns > now ? (deadline_ns - now) / left : 0;

		nbc_conn_start(conn);
		r = wait_for(conn, now + share);
		if (!r)
			return 0;
		nbc_conn_drop(conn);
		if (r != -ERR_TRANSPORT)
			return r;
		conn->address = (conn->address + 1) % conn->cfg->nr_addresses;
	}
	return r;
}

/* The server ends the connection after NBD_CMD_DISC; then everything that we sent has arrived. */
void nbc_conn_close(struct nbc_conn *conn, uint64_t deadline_ns)
{
	uint64_t now;

	if (conn->up && !conn->fail && !nbd_aio_disconnect(conn->h, 0)) {
		while ((now = clock_mono_ns()) < deadline_ns && !nbd_aio_is_closed(conn->h) &&
			!nbd_aio_is_dead(conn->h)) {
			int events;
			struct pollfd pfd = {.fd = nbc_conn_socket(conn, &events)};

			pfd.events =
				(events & EV_READ ? POLLIN : 0) | (events & EV_WRITE ? POLLOUT : 0);
			if (poll(&pfd, 1, MIN((int)((deadline_ns - now) / 1000000) + 1, POLL_MS)) >
				0)
				nbc_conn_service(
					conn, (pfd.revents & ~POLLOUT ? EV_READ : 0) |
						      (pfd.revents & ~POLLIN ? EV_WRITE : 0));
		}
	}
	nbc_conn_drop(conn);
}
