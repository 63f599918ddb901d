/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

struct line {
	struct line *next;
	struct mount_at at;
	char text[];
};

int mounts_dev(const char *dir, dev_t *ret_dev)
{
	struct statx stx;

	if (statx(AT_FDCWD, dir, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, 0, &stx))
		return -errno;
	*ret_dev = makedev(stx.stx_dev_major, stx.stx_dev_minor);
	return 0;
}

/* \040 and its like, in place. */
static void unescape(char *s)
{
	char *to = s;

	for (; *s; to++) {
		if (s[0] == '\\' && strspn(s + 1, "01234567") >= 3) {
			*to = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 4;
		} else {
			*to = *s++;
		}
	}
	*to = 0;
}

/* proc(5): ID PARENT MAJOR:MINOR ROOT DIR OPTIONS [FIELD...] - TYPE SOURCE FS-OPTIONS */
static bool parse(char *text, dev_t dev, struct mount_at *ret)
{
	char *field[6], *state = NULL, *end = strstr(text, " - ");
	unsigned maj, min;

	if (!end)
		return false;
	*end = 0;
	for (int i = 0; i < 6; i++) {
		field[i] = strtok_r(i ? NULL : text, " ", &state);
		if (!field[i])
			return false;
	}
	if (sscanf(field[2], "%u:%u", &maj, &min) != 2 || makedev(maj, min) != dev)
		return false;
	const char *options = strrchr(end + 3, ' ');
	ret->fs_readonly = options && !strncmp(options, " ro", 3) &&
		(!options[3] || options[3] == ',' || options[3] == '\n');
	ret->whole = !strcmp(field[3], "/");
	unescape(field[4]);
	ret->dir = field[4];
	return true;
}

int mounts_each(dev_t dev, int (*fn)(void *arg, const struct mount_at *at), void *arg)
{
	struct line *last = NULL;
	char *text = NULL;
	size_t room = 0;
	ssize_t len;
	int err = 0;
	FILE *f = fopen("/proc/self/mountinfo", "re");

	if (!f)
		return -errno;
	/* All first: fn may change what is mounted. */
	while (!err && (len = getline(&text, &room, f)) >= 0) {
		struct line *line = malloc(sizeof(*line) + (size_t)len + 1);
		if (!line) {
			err = -ENOMEM;
			break;
		}
		memcpy(line->text, text, (size_t)len + 1);
		if (parse(line->text, dev, &line->at)) {
			line->next = last;
			last = line;
		} else {
			free(line);
		}
	}
	fclose(f);
	free(text);
	while (last) {
		struct line *next = last->next;
		if (!err)
			err = fn(arg, &last->at);
		free(last);
		last = next;
	}
	return err;
}
