/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NBD URIs: nbd://host[:port]/[export], nbds://[user@]host..., nbd+unix:///[export]?socket=PATH,
 * with tls-psk-file=FILE, tls-certificates=DIR, tls-verify-peer=false, as libnbd has them.
 */
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "blockdev/nbd_internal.h"

#define NBD_PORT 10809

/* Once, here: a reconnect must not wait for a name server. */
static int cfg_tcp(struct nbc_cfg *cfg, const struct bdev_uri *uri, char **ret_error)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list, *a;
	int r;

	if (!uri->host || !uri->host[0])
		return bdev_fail(ret_error, -EINVAL,
			"%s: the host is missing; write %s://host[:port]/[export]", uri->text,
			uri->scheme);
	snprintf(cfg->port, sizeof(cfg->port), "%u", uri->port ? uri->port : NBD_PORT);
	cfg->host = strdup(uri->host);
	if (!cfg->host || asprintf(&cfg->where, "%s:%s", uri->host, cfg->port) < 0)
		return -ENOMEM;
	r = getaddrinfo(uri->host, cfg->port, &hints, &list);
	if (r)
		return bdev_fail(ret_error, -ENOENT,
			"%s: no host \"%s\" is known (%s); check the name or write its address",
			uri->text, uri->host, gai_strerror(r));
	for (a = list; a && cfg->nr_addresses < NBC_MAX_ADDRESSES; a = a->ai_next) {
		if (a->ai_addrlen > sizeof(cfg->addresses[0].sa))
			continue;
		memcpy(&cfg->addresses[cfg->nr_addresses].sa, a->ai_addr, a->ai_addrlen);
		cfg->addresses[cfg->nr_addresses++].len = a->ai_addrlen;
	}
	freeaddrinfo(list);
	cfg->tcp = true;
	if (!cfg->nr_addresses)
		return bdev_fail(
			ret_error, -ENOENT, "%s: host \"%s\" has no address", uri->text, uri->host);
	return 0;
}

static int cfg_unix(struct nbc_cfg *cfg, const struct bdev_uri *uri, char **ret_error)
{
	struct sockaddr_un *sun = (struct sockaddr_un *)&cfg->addresses[0].sa;

	cfg->where = bdev_uri_param(uri, "socket");
	if (!cfg->where || !cfg->where[0])
		return bdev_fail(ret_error, -EINVAL,
			"%s: the socket is missing; write %s:///[export]?socket=PATH", uri->text,
			uri->scheme);
	if (strlen(cfg->where) >= sizeof(sun->sun_path))
		return bdev_fail(ret_error, -EINVAL,
			"%s: the socket's path is longer than %zu bytes", uri->text,
			sizeof(sun->sun_path) - 1);
	sun->sun_family = AF_UNIX;
	strcpy(sun->sun_path, cfg->where);
	cfg->addresses[0].len = sizeof(*sun);
	cfg->nr_addresses = 1;
	return 0;
}

static int cfg_tls(
	struct nbc_cfg *cfg, const struct bdev *bdev, const struct bdev_uri *uri, char **ret_error)
{
	char *verify;

	if (!cfg->tls)
		return 0;
	cfg->psk_file = bdev->opts.tls_psk_file ? strdup(bdev->opts.tls_psk_file)
						: bdev_uri_param(uri, "tls-psk-file");
	cfg->certificates = bdev_uri_param(uri, "tls-certificates");
	verify = bdev_uri_param(uri, "tls-verify-peer");
	cfg->verify_peer = !verify || (strcmp(verify, "false") && strcmp(verify, "0"));
	free(verify);
	if (uri->user && uri->user[0]) {
		cfg->user = strdup(uri->user);
		if (!cfg->user)
			return -ENOMEM;
	}
	if (cfg->psk_file && access(cfg->psk_file, R_OK))
		return bdev_fail(ret_error, -errno, "%s: can't read the PSK file %s: %s", uri->text,
			cfg->psk_file, strerror(errno));
	if (!cfg->tcp && !cfg->psk_file && cfg->verify_peer)
		return bdev_fail(ret_error, -EINVAL,
			"%s: over a Unix socket there is no host name to check a certificate "
			"against; use a PSK file (tls-psk-file=FILE)",
			uri->text);
	return 0;
}

int nbc_cfg_make(const struct bdev *bdev, const struct bdev_uri *uri, struct nbc_cfg *ret_cfg,
	char **ret_error)
{
	struct nbc_cfg cfg = {0};
	int r;

	cfg.tls = strncmp(uri->scheme, "nbds", 4) == 0;
	cfg.export_name = strdup(uri->path ? uri->path : "");
	r = cfg.export_name ? 0 : -ENOMEM;
	if (!r)
		r = strstr(uri->scheme, "+unix") ? cfg_unix(&cfg, uri, ret_error)
						 : cfg_tcp(&cfg, uri, ret_error);
	if (!r)
		r = cfg_tls(&cfg, bdev, uri, ret_error);
	if (r) {
		nbc_cfg_done(&cfg);
		return bdev_fail(ret_error, r, "%s: %s", uri->text, err_str(r));
	}
	*ret_cfg = cfg;
	return 0;
}

void nbc_cfg_done(struct nbc_cfg *cfg)
{
	free(cfg->where);
	free(cfg->host);
	free(cfg->export_name);
	free(cfg->user);
	free(cfg->psk_file);
	free(cfg->certificates);
	memset(cfg, 0, sizeof(*cfg));
}
