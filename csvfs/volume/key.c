/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "csvfs/volume/key.h"

static int hex_digit(char c)
{
	return isdigit((unsigned char)c) ? c - '0' :
	       isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10 :
					    -1;
}

static int key_parse(const char *text, uint8_t key[KEY_BYTES])
{
	for (unsigned i = 0; i < KEY_BYTES; i++) {
		int high = hex_digit(text[2 * i]);
		int low = high < 0 ? -1 : hex_digit(text[2 * i + 1]);
		if (low < 0)
			return -EINVAL;
		key[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

int key_read(const char *path, uint8_t key[KEY_BYTES])
{
	char text[2 * KEY_BYTES + 1] = "";
	struct stat st;
	int err = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st))
		err = -errno;
	else if (st.st_mode & 077)
		err = -EPERM;
	else if (read(fd, text, 2 * KEY_BYTES) != 2 * KEY_BYTES)
		err = -EINVAL;
	close(fd);
	return err ? err : key_parse(text, key);
}

int key_create(const char *path, uint8_t key[KEY_BYTES])
{
	char text[2 * KEY_BYTES + 2];
	char *copy = strdup(path);

	if (!copy)
		return -ENOMEM;
	mkdir(dirname(copy), 0700); /* exists, or the open below says what is wrong */
	free(copy);
	if (gnutls_rnd(GNUTLS_RND_KEY, key, KEY_BYTES))
		return -EIO;
	for (unsigned i = 0; i < KEY_BYTES; i++)
		sprintf(text + 2 * i, "%02x", key[i]);
	text[2 * KEY_BYTES] = '\n';
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	int err = write(fd, text, 2 * KEY_BYTES + 1) == 2 * KEY_BYTES + 1 && !fsync(fd) ? 0 : -EIO;
	close(fd);
	if (err)
		unlink(path);
	return err;
}

void key_id(const uint8_t key[KEY_BYTES], uint8_t id[32])
{
	gnutls_hash_fast(GNUTLS_DIG_SHA256, key, KEY_BYTES, id);
}
