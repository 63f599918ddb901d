/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Device URIs: taking them apart, hiding credentials, reading them from a file. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blockdev/bdev_internal.h"

int bdev_fail(char **ret_error, int err, const char *fmt, ...)
{
	va_list ap;
	char *text;

	if (!ret_error || *ret_error)
		return err;
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) >= 0)
		*ret_error = text;
	va_end(ap);
	return err;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A copy of [s, s + n) with %XX decoded. NULL with errno EINVAL: bad escape or an encoded NUL. */
static char *decode(const char *s, size_t n)
{
	char *out = malloc(n + 1), *p = out;

	if (!out)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		if (s[i] != '%') {
			*p++ = s[i];
			continue;
		}
		int hi = i + 2 < n ? hex_digit(s[i + 1]) : -1;
		int lo = i + 2 < n ? hex_digit(s[i + 2]) : -1;

		if (hi < 0 || lo < 0 || hi * 16 + lo == 0) {
			free(out);
			errno = EINVAL;
			return NULL;
		}
		*p++ = (char)(hi * 16 + lo);
		i += 2;
	}
	*p = '\0';
	return out;
}

void bdev_uri_free(struct bdev_uri *uri)
{
	if (!uri)
		return;
	free(uri->raw);
	free(uri->text);
	free(uri->scheme);
	free(uri->user);
	if (uri->password)
		explicit_bzero(uri->password, strlen(uri->password));
	free(uri->password);
	free(uri->host);
	free(uri->path);
	free(uri->query);
	free(uri);
}

/* "user%password" of iSCSI URLs is not percent-encoded; other schemes have "user:password". */
static int parse_user(struct bdev_uri *uri, const char *s, size_t n)
{
	bool plain = strcmp(uri->scheme, "iscsi") == 0;
	const char *sep = memchr(s, plain ? '%' : ':', n);
	size_t user_len = sep ? (size_t)(sep - s) : n;
	size_t pass_len = sep ? n - user_len - 1 : 0;

	uri->user = plain ? strndup(s, user_len) : decode(s, user_len);
	if (!uri->user)
		return -errno;
	if (!sep)
		return 0;
	uri->password = plain ? strndup(sep + 1, pass_len) : decode(sep + 1, pass_len);
	return uri->password ? 0 : -errno;
}

static int parse_port(struct bdev_uri *uri, const char *s, size_t n)
{
	uint32_t port = 0;

	if (n == 0 || n > 5)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		if (!isdigit((unsigned char)s[i]))
			return -EINVAL;
		port = port * 10 + (uint32_t)(s[i] - '0');
	}
	if (port == 0 || port > 65535)
		return -EINVAL;
	uri->port = (uint16_t)port;
	return 0;
}

/* [user@]host[:port], the host may be [IPv6]. */
static int parse_authority(struct bdev_uri *uri, const char *s, size_t n)
{
	const char *at = memrchr(s, '@', n), *end = s + n, *colon;
	int err;

	if (at) {
		err = parse_user(uri, s, (size_t)(at - s));
		if (err)
			return err;
		s = at + 1;
	}
	if (s == end)
		return 0;
	if (*s == '[') {
		const char *close = memchr(s, ']', (size_t)(end - s));

		if (!close || (close + 1 != end && close[1] != ':'))
			return -EINVAL;
		uri->host = decode(s + 1, (size_t)(close - s - 1));
		colon = close + 1 == end ? NULL : close + 1;
	} else {
		colon = memchr(s, ':', (size_t)(end - s));
		uri->host = decode(s, (size_t)((colon ? colon : end) - s));
	}
	if (!uri->host)
		return -errno;
	if (uri->host[0] == '\0')
		return -EINVAL;
	return colon ? parse_port(uri, colon + 1, (size_t)(end - colon - 1)) : 0;
}

/* Paths of "file:" are taken as they are: '?' and '%' are letters of a name like any other. */
static int parse_file(struct bdev_uri *uri, const char *path)
{
	if (strncmp(path, "//localhost/", 12) == 0)
		path += 11;
	else if (strncmp(path, "///", 3) == 0)
		path += 2;
	else if (strncmp(path, "//", 2) == 0)
		return -EINVAL;
	if (*path == '\0')
		return -EINVAL;
	uri->path = strdup(path);
	uri->text = strdup(uri->raw);
	return uri->path && uri->text ? 0 : -ENOMEM;
}

/* What follows "scheme:" for all but files. */
static int parse_rest(struct bdev_uri *uri, const char *rest)
{
	const char *query = strchr(rest, '?');
	const char *end = query ? query : rest + strlen(rest);
	const char *path = rest, *at = NULL, *auth = NULL;
	int err;

	if (strncmp(rest, "//", 2) == 0) {
		auth = rest + 2;
		path = memchr(auth, '/', (size_t)(end - auth));
		if (!path)
			path = end;
		at = memrchr(auth, '@', (size_t)(path - auth));
		err = parse_authority(uri, auth, (size_t)(path - auth));
		if (err)
			return err;
		if (path < end)
			path++;
	}
	uri->path = decode(path, (size_t)(end - path));
	if (!uri->path)
		return -errno;
	if (query) {
		uri->query = strdup(query + 1);
		if (!uri->query)
			return -ENOMEM;
	}
	if (asprintf(&uri->text, "%s:%s%s", uri->scheme, auth ? "//" : "",
		    at ? at + 1 : (auth ? auth : rest)) < 0) {
		uri->text = NULL;
		return -ENOMEM;
	}
	return 0;
}

int bdev_uri_parse(const char *text, struct bdev_uri **ret_uri, char **ret_error)
{
	struct bdev_uri *uri = calloc(1, sizeof(*uri));
	size_t n = 0;
	int err = -ENOMEM;

	if (!uri)
		return -ENOMEM;
	uri->raw = strdup(text);
	if (!uri->raw)
		goto out;
	if (text[0] != '/') {
		n = strspn(
			text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");
		if (n == 0 || text[n] != ':') {
			/* not what follows "//": it may hold a password */
			err = bdev_fail(ret_error, -EINVAL,
				"\"%.*s\" is not a device: it needs a scheme (iscsi://, nbd://, "
				"file:, ram:) or an absolute path",
				(int)MIN(strcspn(text, "/"), 80u), text);
			goto out;
		}
	}
	uri->scheme = n ? strndup(text, n) : strdup("file");
	if (!uri->scheme)
		goto out;
	if (strcmp(uri->scheme, "file") == 0)
		err = parse_file(uri, n ? text + n + 1 : text);
	else
		err = parse_rest(uri, text + n + 1);
	if (err == -EINVAL) /* not the text itself: it may hold a password */
		bdev_fail(ret_error, err, "bad %s URI: expected %s", uri->scheme,
			strcmp(uri->scheme, "file") == 0 ? "file:PATH"
			: strcmp(uri->scheme, "iscsi") == 0
				? "iscsi://[user%password@]host[:port]/target/lun"
			: strcmp(uri->scheme, "ram") == 0 ? "ram:SIZE"
							  : "scheme://host[:port]/[name]");
out:
	if (err) {
		bdev_uri_free(uri);
		return err;
	}
	*ret_uri = uri;
	return 0;
}

char *bdev_uri_param(const struct bdev_uri *uri, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = uri->query; p && *p;) {
		size_t n = strcspn(p, "&");

		if (strncmp(p, name, len) == 0 && (p[len] == '=' || len == n))
			return len == n ? strdup("") : decode(p + len + 1, n - len - 1);
		p += n;
		p += *p == '&';
	}
	return NULL;
}

int bdev_uri_read_auth(struct bdev_uri *uri, const char *file, char **ret_error)
{
	char buf[600];
	struct stat st;
	ssize_t n;
	char *sep;
	int err = 0, fd = open(file, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return bdev_fail(ret_error, -errno, "cannot open the credentials file %s: %s", file,
			strerror(errno));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (st.st_mode & 077)) {
		close(fd);
		return bdev_fail(ret_error, -EACCES,
			"the credentials file %s must be a file that only its owner may read "
			"(chmod 600)",
			file);
	}
	n = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	if (n < 0)
		n = 0;
	buf[n] = '\0';
	buf[strcspn(buf, "\r\n")] = '\0';
	sep = strchr(buf, '%');
	if (!sep || sep == buf) {
		err = bdev_fail(ret_error, -EINVAL,
			"the credentials file %s must hold one line \"user%%password\"", file);
		goto out;
	}
	*sep = '\0';
	free(uri->user);
	free(uri->password);
	uri->user = strdup(buf);
	uri->password = strdup(sep + 1);
	if (!uri->user || !uri->password)
		err = -ENOMEM;
out:
	explicit_bzero(buf, sizeof(buf));
	return err;
}

int bdev_parse_size(const char *text, uint64_t *ret_bytes)
{
	static const char units[] = "kmgtp";
	char *end;
	unsigned long long n;
	const char *unit;
	int shift = 0;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno)
		return -EINVAL;
	if (*end) {
		unit = strchr(units, tolower((unsigned char)*end));
		if (!unit || end[1] != '\0')
			return -EINVAL;
		shift = 10 * (int)(unit - units + 1);
	}
	if (shift && n >> (64 - shift))
		return -EINVAL;
	*ret_bytes = (uint64_t)n << shift;
	return 0;
}
