/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who we are and where the target is. */
#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "blockdev/iscsi_internal.h"

#define ISCSI_PORT 3260
#define NAME_MAX_BYTES 223 /* RFC 7143 4.2.7.1 */
#define NAME_FILE "/etc/iscsi/initiatorname.iscsi"

/* Resolves once, here: a reconnect must not wait for a name server. */
static int cfg_resolve(struct isc_cfg *cfg, const struct bdev_uri *uri, char **ret_error)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list, *a;
	char host[NI_MAXHOST];
	unsigned port = uri->port ? uri->port : ISCSI_PORT;
	int r;

	r = getaddrinfo(uri->host, NULL, &hints, &list);
	if (r)
		return bdev_fail(ret_error, -ENOENT,
			"%s: no host \"%s\" is known (%s); check the name or write its address",
			uri->text, uri->host, gai_strerror(r));
	for (a = list; a && cfg->nr_portals < ISC_MAX_PORTALS; a = a->ai_next) {
		if (a->ai_family != AF_INET && a->ai_family != AF_INET6)
			continue;
		if (getnameinfo(
			    a->ai_addr, a->ai_addrlen, host, sizeof(host), NULL, 0, NI_NUMERICHOST))
			continue;
		r = snprintf(cfg->portals[cfg->nr_portals], sizeof(cfg->portals[0]),
			a->ai_family == AF_INET6 ? "[%s]:%u" : "%s:%u", host, port);
		if (r > 0 && (size_t)r < sizeof(cfg->portals[0]))
			cfg->nr_portals++;
	}
	freeaddrinfo(list);
	if (!cfg->nr_portals)
		return bdev_fail(ret_error, -ENOENT, "%s: host \"%s\" has no IP address", uri->text,
			uri->host);
	return 0;
}

/* "iqn.2005-03.com.example:disk/7" */
static int cfg_target(struct isc_cfg *cfg, const struct bdev_uri *uri, char **ret_error)
{
	const char *slash = uri->path ? strrchr(uri->path, '/') : NULL;
	unsigned long lun;
	char *end;

	if (!slash || slash == uri->path || !isdigit((unsigned char)slash[1]))
		return bdev_fail(ret_error, -EINVAL,
			"%s: target or LUN is missing; "
			"write iscsi://[user%%password@]host[:port]/target-name/lun-number",
			uri->text);
	lun = strtoul(slash + 1, &end, 10);
	if (*end || lun > 16383)
		return bdev_fail(ret_error, -EINVAL, "%s: \"%s\" is no LUN (0 to 16383)", uri->text,
			slash + 1);
	if (slash - uri->path > NAME_MAX_BYTES)
		return bdev_fail(ret_error, -EINVAL,
			"%s: the target's name is longer than %d bytes", uri->text, NAME_MAX_BYTES);
	cfg->lun_nr = lun;
	cfg->lun = lun < 256 ? lun : 0x4000 | lun; /* flat space addressing, SAM-5 4.7.7.3 */
	cfg->target = strndup(uri->path, slash - uri->path);
	return cfg->target ? 0 : -ENOMEM;
}

static char *name_from_file(void)
{
	char line[512], *name = NULL, *at;
	FILE *f = fopen(NAME_FILE, "re");

	if (!f)
		return NULL;
	while (!name && fgets(line, sizeof(line), f)) {
		at = line + strspn(line, " \t");
		if (strncmp(at, "InitiatorName=", 14))
			continue;
		at += 14;
		at[strcspn(at, " \t\r\n")] = 0;
		if (*at && strlen(at) <= NAME_MAX_BYTES)
			name = strdup(at);
	}
	fclose(f);
	return name;
}

static char *name_from_host(void)
{
	char host[65] = "", *name, *p;

	if (gethostname(host, sizeof(host) - 1) || !host[0])
		snprintf(host, sizeof(host), "localhost");
	for (p = host; *p; p++)
		if (!isalnum((unsigned char)*p) && *p != '-' && *p != '.')
			*p = '-';
		else
			*p = tolower((unsigned char)*p);
	return asprintf(&name, "iqn.2026-01.csvfs:%s", host) < 0 ? NULL : name;
}

static int cfg_initiator(
	struct isc_cfg *cfg, const struct bdev *bdev, const struct bdev_uri *uri, char **ret_error)
{
	if (bdev->opts.initiator) {
		if (!bdev->opts.initiator[0] || strlen(bdev->opts.initiator) > NAME_MAX_BYTES)
			return bdev_fail(ret_error, -EINVAL,
				"%s: the initiator name must have 1 to %d bytes", uri->text,
				NAME_MAX_BYTES);
		cfg->initiator = strdup(bdev->opts.initiator);
	} else {
		cfg->initiator = name_from_file();
		if (!cfg->initiator)
			cfg->initiator = name_from_host();
	}
	return cfg->initiator ? 0 : -ENOMEM;
}

static int cfg_chap(struct isc_cfg *cfg, const struct bdev_uri *uri, char **ret_error)
{
	if (!uri->user || !uri->user[0])
		return 0;
	if (!uri->password || !uri->password[0])
		return bdev_fail(ret_error, -EINVAL,
			"%s: user \"%s\" comes without a password; write user%%password, "
			"in the URI or in the file of credentials",
			uri->text, uri->user);
	if (strlen(uri->user) >= MAX_STRING_SIZE || strlen(uri->password) >= MAX_STRING_SIZE)
		return bdev_fail(ret_error, -EINVAL, "%s: user or password is longer than %d bytes",
			uri->text, MAX_STRING_SIZE - 1);
	cfg->user = strdup(uri->user);
	cfg->password = strdup(uri->password);
	return cfg->user && cfg->password ? 0 : -ENOMEM;
}

int isc_cfg_make(const struct bdev *bdev, const struct bdev_uri *uri, struct isc_cfg *ret_cfg,
	char **ret_error)
{
	struct isc_cfg cfg = {0};
	int r;

	if (!uri->host || !uri->host[0])
		return bdev_fail(ret_error, -EINVAL,
			"%s: the host is missing; write iscsi://host[:port]/target-name/lun-number",
			uri->text);
	r = cfg_target(&cfg, uri, ret_error);
	if (!r)
		r = cfg_chap(&cfg, uri, ret_error);
	if (!r)
		r = cfg_initiator(&cfg, bdev, uri, ret_error);
	if (!r)
		r = cfg_resolve(&cfg, uri, ret_error);
	if (r) {
		isc_cfg_done(&cfg);
		return bdev_fail(ret_error, r, "%s: %s", uri->text, err_str(r));
	}
	*ret_cfg = cfg;
	return 0;
}

void isc_cfg_done(struct isc_cfg *cfg)
{
	if (cfg->password)
		explicit_bzero(cfg->password, strlen(cfg->password));
	free(cfg->target);
	free(cfg->user);
	free(cfg->password);
	free(cfg->initiator);
	memset(cfg, 0, sizeof(*cfg));
}
