/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A second mount of a volume on one node (V4). The process that serves it tells, by its control socket,
 * which file system of the kernel that is; the kernel makes another mount of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "csvfs/volume/volume_internal.h"
#include "util/checked.h"
#include "util/err.h"
#include "util/mounts.h"

#define ANSWER_S 10
#define RETRY_MS 50
#define RETRIES 40u

/* A line of JSON, owned by the caller; -ECONNREFUSED, -ENOENT: nobody is there. */
static int ask_status(const struct volume *vol, char **ret_text)
{
	static const char request[] = "{\"cmd\": \"status\"}\n";
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct timeval tv = { .tv_sec = ANSWER_S };
	size_t room = 0;

	int err = control_path(vol, &addr);
	if (err)
		return err;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	FILE *f = fdopen(fd, "r");
	if (!f) {
		close(fd);
		return -ENOMEM;
	}
	*ret_text = NULL;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) ||
		send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) < 0)
		err = errno ? -errno : -EIO;
	else if (getline(ret_text, &room, f) < 0)
		err = errno == EAGAIN ? -ETIMEDOUT : -ECONNREFUSED;
	fclose(f);
	if (err)
		free(*ret_text);
	return err;
}

/* -EAGAIN: not mounted yet, or just ending. */
static int ask_dev(const struct volume *vol, dev_t *ret_dev)
{
	struct json_object *v, *number;
	unsigned maj, min;
	char *text;
	int err = ask_status(vol, &text);

	if (err)
		return err == -ECONNREFUSED || err == -ENOENT ? -EAGAIN : err;
	struct json_object *o = json_tokener_parse(text);
	free(text);
	if (o && json_object_object_get_ex(o, "volume", &v) &&
		json_object_object_get_ex(v, "mount_dev", &number) &&
		sscanf(json_object_get_string(number), "%u:%u", &maj, &min) == 2)
		*ret_dev = makedev(maj, min);
	else
		err = -EAGAIN;
	json_object_put(o);
	return err;
}

static void set_attr(struct mount_attr *attr, const char *name)
{
	static const struct {
		const char *name;
		uint64_t set, clear;
	} table[] = {
		{ "nodev", MOUNT_ATTR_NODEV, 0 },
		{ "dev", 0, MOUNT_ATTR_NODEV },
		{ "nosuid", MOUNT_ATTR_NOSUID, 0 },
		{ "suid", 0, MOUNT_ATTR_NOSUID },
		{ "noexec", MOUNT_ATTR_NOEXEC, 0 },
		{ "exec", 0, MOUNT_ATTR_NOEXEC },
		{ "noatime", MOUNT_ATTR_NOATIME, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (!strcmp(name, table[i].name))
			attr->attr_set = (attr->attr_set & ~table[i].clear) | table[i].set;
}

static void attr_init(struct mount_attr *attr, const struct volume_cfg *cfg)
{
	char *flags = cfg->mount_flags ? strdup(cfg->mount_flags) : NULL, *state = NULL;

	*attr = (struct mount_attr){
		.attr_clr = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID |
			MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODIRATIME | MOUNT_ATTR__ATIME,
		.attr_set = cfg->readonly ? MOUNT_ATTR_RDONLY : 0,
		/* Else what is mounted in the one would appear in the other. */
		.propagation = MS_PRIVATE,
	};
	for (char *one = flags ? strtok_r(flags, ",", &state) : NULL; one;
		one = strtok_r(NULL, ",", &state))
		set_attr(attr, one);
	free(flags);
}

struct attach {
	struct volume *vol;
	dev_t dev;
};

/* Of the mount at->dir makes another one. 0: go on with another one. */
static int attach(void *arg, const struct mount_at *at)
{
	struct attach *a = arg;
	struct volume *vol = a->vol;
	struct mount_attr attr;
	dev_t dev;

	if (!at->whole || mounts_dev(at->dir, &dev) || dev != a->dev)
		return 0; /* another mount is on top of it */
	if (at->fs_readonly != vol->cfg.readonly)
		return volume_fail(vol, -EBUSY, "this volume is mounted on this node already, read-%s, "
						"on %s; mount it so, or that directory with -o bind%s",
			at->fs_readonly ? "only" : "write", at->dir, at->fs_readonly ? "" : ",ro");
	attr_init(&attr, &vol->cfg);
	int fd = open_tree(AT_FDCWD, at->dir, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	bool ok = fd >= 0 && !mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) &&
		!move_mount(fd, "", AT_FDCWD, vol->cfg.mountpoint, MOVE_MOUNT_F_EMPTY_PATH);
	int err = ok ? 1 :
		       volume_fail(vol, -errno, "this volume is mounted on this node already, on %s, and "
						"cannot be mounted from there: %s",
			at->dir, strerror(errno));
	if (fd >= 0)
		close(fd);
	return err;
}

static bool is_mounted_on(const char *dir, dev_t dev)
{
	struct statx stx;

	return !statx(AT_FDCWD, dir, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, 0, &stx) &&
		makedev(stx.stx_dev_major, stx.stx_dev_minor) == dev &&
		(stx.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

static int try_second(struct volume *vol)
{
	struct attach a = { .vol = vol };
	int err = ask_dev(vol, &a.dev);

	if (err == -EAGAIN)
		return err;
	if (err)
		return volume_fail(vol, err, "this volume is mounted on this node already; its process "
					     "does not tell where: %s", err_str(err));
	if (is_mounted_on(vol->cfg.mountpoint, a.dev))
		return volume_fail(vol, -EBUSY, "this volume is mounted on %s already",
			vol->cfg.mountpoint);
	err = mounts_each(a.dev, attach, &a);
	return err ? MIN(err, 0) : -EAGAIN;
}

int second_join(struct volume *vol, char **ret_why)
{
	for (unsigned i = 0;; i++) {
		int err = lm_join(vol->lm, vol->queue, ret_why);
		if (err != -ERR_MOUNTED || !vol->cfg.second)
			return err;
		int second = try_second(vol);
		if (second == -EAGAIN && i == RETRIES)
			return err;
		free(*ret_why);
		*ret_why = NULL;
		if (second != -EAGAIN) {
			vol->second = !second;
			return second;
		}
		poll(NULL, 0, RETRY_MS);
	}
}
