/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Device URIs: parsing, parameters, filters in front, what the iSCSI and NBD backends make of them. A
 * password never shows in the text that is printed. Nothing is connected to: only ram: is opened.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

#include "blockdev/bdev_internal.h"
#ifdef HAVE_ISCSI
#include "blockdev/iscsi_internal.h"
#endif
#ifdef HAVE_NBD
#include "blockdev/nbd_internal.h"
#endif
#include "tests/fuzz/fuzz.h"
#include "util/log.h"

const char *const fuzz_words[] = { "iscsi://", "nbd://", "nbds://", "nbd+unix:///", "file:", "ram:", "/dev/",
	"user%pass@", "user:pass@", "%", "%2", "%00", "%41", "@", ":", "3260", "65535", "65536", "[::1]",
	"127.0.0.1", "/iqn.2026-01.org.example:disk", "/0", "/16383", "/99999999999999999999", "?", "&", "=",
	"socket=/x", "tls-psk-file=", "tls-verify-peer=false", "name=", "cache", "no=", "fua+flush", "block=512",
	"max_io=", "64M", "9P", "delay(", "read_ms=5", ",", ")", "|", "fault(", "nth=1", "err=EIO", "op=", "stats|",
	"crash|", "overlay|", "://", "//", "/", NULL };

static const char *const seeds[] = {
	"iscsi://10.0.0.1/iqn.2024-01.org.example:disk/1",
	"iscsi://me%s3%cret@127.0.0.1:3261/iqn.x/0",
	"iscsi://me%p@ss@[::1]:3260/iqn.x/16383",
	"nbd://127.0.0.1",
	"nbds://al%40ice@127.0.0.1:10810/my%20disk?tls-psk-file=/nowhere&tls-verify-peer=false",
	"nbd+unix:///exp?socket=/run/a%3Fb",
	"file:/x y%20?z",
	"file://localhost/x",
	"/dev/sda",
	"ram:1M?name=a&block=512&max_io=4k",
	"ram:1M?no=fua+flush&cache",
	"delay(read_ms=0,write_ms=0)|stats|ram:1M",
	"fault(op=read,nth=1,err=EIO)|ram:1M",
	"bdev", "", ":", "ram:", "ram:0", "ram:99999999999P",
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	log_set_level((enum log_level)-1);
	return 0;
}

void fuzz_seeds(void (*add)(const void *data, size_t len))
{
	for (size_t i = 0; i < ARRAY_SIZE(seeds); i++)
		add(seeds[i], strlen(seeds[i]));
}

/* A name would be looked up. */
static bool is_address(const char *host)
{
	uint8_t bytes[sizeof(struct in6_addr)];

	return !host || inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

static void backends(const struct bdev_uri *uri)
{
	struct bdev bdev = { 0 };
	char *error = NULL;

#ifdef HAVE_ISCSI
	struct isc_cfg isc = { 0 };
	if (!strcmp(uri->scheme, "iscsi") && is_address(uri->host) &&
		!isc_cfg_make(&bdev, uri, &isc, &error))
		isc_cfg_done(&isc);
	free(error);
	error = NULL;
#endif
#ifdef HAVE_NBD
	struct nbc_cfg nbc;
	if (!strncmp(uri->scheme, "nbd", 3) && is_address(uri->host) &&
		!nbc_cfg_make(&bdev, uri, &nbc, &error))
		nbc_cfg_done(&nbc);
	free(error);
#endif
}

static void parts(const char *text)
{
	static const char *const names[] = { "socket", "name", "cache", "tls-psk-file", "" };
	struct bdev_uri *uri = NULL;
	char *error = NULL;
	uint64_t bytes;

	(void)bdev_parse_size(text, &bytes);
	int err = bdev_uri_parse(text, &uri, &error);
	if (err && (uri || (err == -EINVAL && !error)))
		fuzz_fail("a URI that was refused, without a word or with a result");
	free(error);
	if (err)
		return;
	const char *at = uri->password ? strstr(text, uri->password) : NULL;
	/* the same word may stand elsewhere, too */
	if (at && strlen(uri->password) > 6 && !strstr(at + 1, uri->password) &&
		strstr(uri->text, uri->password))
		fuzz_fail("the password shows");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		free(bdev_uri_param(uri, names[i]));
	backends(uri);
	bdev_uri_free(uri);
}

/* Small memory devices and the filters before them are opened. */
static void stack(const char *text)
{
	const char *last = strrchr(text, '|');
	struct bdev *bdev;
	char *error = NULL;
	uint64_t bytes;
	char size[24] = "";

	last = last ? last + 1 : text;
	if (strncmp(last, "ram:", 4))
		return;
	sscanf(last + 4, "%23[^?]", size);
	if (!bdev_parse_size(size, &bytes) && bytes > 16u << 20)
		return;
	if (!bdev_open(text, NULL, &bdev, &error))
		bdev_close(bdev);
	else if (!error)
		fuzz_fail("a device that was refused without a word");
	free(error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *text = strndup((const char *)data, len);

	if (!text)
		return 0;
	parts(text);
	stack(text);
	free(text);
	return 0;
}
