/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: util blockdev */
/* Device URIs: parts, credentials that stay hidden, sentences for what is wrong. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blockdev/bdev_internal.h"
#include "tests/unit/test.h"

static bool same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static void parts(const char *text, const char *scheme, const char *user, const char *password,
	const char *host, int port, const char *path, const char *shown)
{
	struct bdev_uri *uri;
	char *error = NULL;

	CHECK_OK(bdev_uri_parse(text, &uri, &error));
	CHECK(!error);
	printf("%s\n", text);
	CHECK(same(uri->raw, text));
	CHECK(same(uri->scheme, scheme));
	CHECK(same(uri->user, user));
	CHECK(same(uri->password, password));
	CHECK(same(uri->host, host));
	CHECK_EQ(uri->port, port);
	CHECK(same(uri->path, path));
	CHECK(same(uri->text, shown));
	bdev_uri_free(uri);
}

static void good(void)
{
	parts("/dev/sda", "file", NULL, NULL, NULL, 0, "/dev/sda", "/dev/sda");
	parts("file:/x y%20?z", "file", NULL, NULL, NULL, 0, "/x y%20?z", "file:/x y%20?z");
	parts("file:a/b", "file", NULL, NULL, NULL, 0, "a/b", "file:a/b");
	parts("file:///x", "file", NULL, NULL, NULL, 0, "/x", "file:///x");
	parts("file://localhost/x", "file", NULL, NULL, NULL, 0, "/x", "file://localhost/x");
	parts("ram:64M?name=a", "ram", NULL, NULL, NULL, 0, "64M", "ram:64M?name=a");
	parts("iscsi://10.0.0.1/iqn.2024-01.org.example:disk/1", "iscsi", NULL, NULL, "10.0.0.1", 0,
		"iqn.2024-01.org.example:disk/1",
		"iscsi://10.0.0.1/iqn.2024-01.org.example:disk/1");
	parts("iscsi://me%s3%cret@t.example:3261/iqn.x/0", "iscsi", "me", "s3%cret", "t.example",
		3261, "iqn.x/0", "iscsi://t.example:3261/iqn.x/0");
	parts("iscsi://me%p@ss@[fe80::1]:3260/iqn.x/0", "iscsi", "me", "p@ss", "fe80::1", 3260,
		"iqn.x/0", "iscsi://[fe80::1]:3260/iqn.x/0");
	parts("nbd://h", "nbd", NULL, NULL, "h", 0, "", "nbd://h");
	parts("nbds://al%40ice@h:10810/my%20disk", "nbds", "al@ice", NULL, "h", 10810, "my disk",
		"nbds://h:10810/my%20disk");
	parts("nbd+unix:///exp?socket=/run/a%3Fb", "nbd+unix", NULL, NULL, NULL, 0, "exp",
		"nbd+unix:///exp?socket=/run/a%3Fb");
}

static void params(void)
{
	struct bdev_uri *uri;
	char *value;

	CHECK_OK(bdev_uri_parse("nbd+unix:///e?sock=/no&socket=/a%20b&flag", &uri, NULL));
	value = bdev_uri_param(uri, "socket");
	CHECK(same(value, "/a b"));
	free(value);
	value = bdev_uri_param(uri, "flag");
	CHECK(same(value, ""));
	free(value);
	CHECK(!bdev_uri_param(uri, "fla"));
	CHECK(!bdev_uri_param(uri, "e"));
	bdev_uri_free(uri);
}

/* Opening fails with err and a sentence that has `says` in it and no password. */
static void bad(const char *text, int err, const char *says)
{
	struct bdev *bdev;
	char *error = NULL;

	CHECK_EQ(bdev_open(text, NULL, &bdev, &error), err);
	CHECK(error);
	printf("%s: %s\n", text, error);
	CHECK(strstr(error, says));
	CHECK(!strstr(error, "s3cret"));
	free(error);
	CHECK_EQ(bdev_open(text, NULL, &bdev, NULL), err);
}

static void wrong(void)
{
	bad("", -EINVAL, "scheme");
	bad("disk.img", -EINVAL, "disk.img");
	bad("http://x/", -EINVAL, "http");
	bad("file:", -EINVAL, "file:PATH");
	bad("file://host/x", -EINVAL, "file:PATH");
	bad("file:/nonexistent/x", -ENOENT, "/nonexistent/x");
	bad("/dev", -EINVAL, "directory");
	bad("/dev/null", -EINVAL, "block device");
	bad("iscsi://u%s3cret@h:99999/t/0", -EINVAL, "iscsi://");
	bad("iscsi://u%s3cret@h:/t/0", -EINVAL, "iscsi://");
	bad("nbd://u:s3cret@[::1/x", -EINVAL, "nbd");
	bad("nbd://h/%zz", -EINVAL, "nbd");
	bad("nbd://h/%0", -EINVAL, "nbd");
	bad("nbd://h/a%00b", -EINVAL, "nbd");
	bad("ram:", -EINVAL, "ram:SIZE");
	bad("ram:0", -EINVAL, "ram:SIZE");
	bad("ram:12Q", -EINVAL, "ram:SIZE");
	bad("ram:99999999999999999999", -EINVAL, "ram:SIZE");
	bad("ram:1M?colour=red", -EINVAL, "colour");
	bad("ram:1M?no=wings", -EINVAL, "no");
	bad("ram:1M?block=1024", -ENOTSUP, "1024");
	bad("delay|", -EINVAL, "scheme");
	bad("delay(read_ms=5|ram:1M", -EINVAL, "filter");
	bad("delay(read_ms=5)ram:1M", -EINVAL, "filter");
	bad("delay(read_ms=x)|ram:1M", -EINVAL, "read_ms=x");
	bad("delay(eat_ms=1)|ram:1M", -EINVAL, "eat_ms");
	bad("fault(err=EWHAT)|ram:1M", -EINVAL, "EWHAT");
	bad("stats(x=1)|ram:1M", -EINVAL, "x=1");
	bad("sieve|ram:1M", -EINVAL, "sieve");
}

static void stacks(void)
{
	struct bdev *bdev;

	CHECK_OK(bdev_open("delay(read_ms=5,write_ms=7)|stats|ram:1M", NULL, &bdev, NULL));
	CHECK(same(bdev_name(bdev), "delay|stats|ram:1M"));
	CHECK_EQ(bdev_geom(bdev).size_bytes, 1 << 20);
	bdev_close(bdev);
}

static void sizes(void)
{
	uint64_t n = 7;

	CHECK_OK(bdev_parse_size("512", &n));
	CHECK_EQ(n, 512);
	CHECK_OK(bdev_parse_size("3G", &n));
	CHECK_EQ(n, 3ull << 30);
	CHECK_EQ(bdev_parse_size("", &n), -EINVAL);
	CHECK_EQ(bdev_parse_size("-1", &n), -EINVAL);
	CHECK_EQ(bdev_parse_size("1kk", &n), -EINVAL);
	CHECK_EQ(bdev_parse_size("16384P", &n), -EINVAL);
	CHECK_EQ(n, 3ull << 30);
}

static void write_file(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	CHECK(fd >= 0);
	CHECK_EQ(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	CHECK_EQ(fchmod(fd, mode), 0);
	close(fd);
}

static void auth_file(void)
{
	char path[] = "/tmp/csvfs-auth.XXXXXX";
	struct bdev_uri *uri;
	char *error = NULL;
	int fd = mkstemp(path);

	CHECK(fd >= 0);
	close(fd);
	CHECK_OK(bdev_uri_parse("iscsi://old%pw@h/t/0", &uri, NULL));
	write_file(path, "me%s3%cret\n", 0600);
	CHECK_OK(bdev_uri_read_auth(uri, path, &error));
	CHECK(same(uri->user, "me") && same(uri->password, "s3%cret"));
	write_file(path, "me%s3cret\n", 0640);
	CHECK_EQ(bdev_uri_read_auth(uri, path, &error), -EACCES);
	CHECK(strstr(error, "chmod 600"));
	free(error);
	error = NULL;
	write_file(path, "nothing\n", 0600);
	CHECK_EQ(bdev_uri_read_auth(uri, path, &error), -EINVAL);
	free(error);
	error = NULL;
	unlink(path);
	CHECK_EQ(bdev_uri_read_auth(uri, path, &error), -ENOENT);
	free(error);
	CHECK(same(uri->user, "me"));
	bdev_uri_free(uri);
}

int main(void)
{
	good();
	params();
	wrong();
	stacks();
	sizes();
	auth_file();
	return 0;
}
