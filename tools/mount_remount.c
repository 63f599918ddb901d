/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mount -o remount: flags that the kernel heeds are changed on the mount that is there. */
#include "tools/mount_remount.h"

#include <errno.h>
#include <mntent.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

bool remount_asked(const char *options)
{
	size_t len = strlen("remount");

	for (const char *at = options; (at = strstr(at, "remount")); at += len)
		if ((at == options || at[-1] == ',') && (!at[len] || at[len] == ','))
			return true;
	return false;
}

int remount_flag(const char *name, unsigned long *flags)
{
	static const struct {
		const char *name;
		unsigned long set, clear;
	} table[] = {
		{ "ro", MS_RDONLY, 0 },
		{ "rw", 0, MS_RDONLY },
		{ "nodev", MS_NODEV, 0 },
		{ "dev", 0, MS_NODEV },
		{ "nosuid", MS_NOSUID, 0 },
		{ "suid", 0, MS_NOSUID },
		{ "noexec", MS_NOEXEC, 0 },
		{ "exec", 0, MS_NOEXEC },
		{ "sync", MS_SYNCHRONOUS, 0 },
		{ "async", 0, MS_SYNCHRONOUS },
		{ "dirsync", MS_DIRSYNC, 0 },
		{ "noatime", MS_NOATIME, 0 },
		{ "relatime", 0, MS_NOATIME },
		{ "nodiratime", MS_NODIRATIME, 0 },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (!strcmp(name, table[i].name)) {
			*flags = (*flags & ~table[i].clear) | table[i].set;
			return 0;
		}
	return -ENOENT;
}

static bool is_csvfs(const char *dir)
{
	FILE *f = setmntent("/proc/self/mounts", "r");
	const struct mntent *m;
	bool is = false;

	while (f && (m = getmntent(f)))
		if (!strcmp(m->mnt_dir, dir)) /* the last one is on top */
			is = !strcmp(m->mnt_type, "fuse.csvfs");
	if (f)
		endmntent(f);
	return is;
}

int remount(const char *dir, unsigned long flags)
{
	if (!is_csvfs(dir)) {
		fprintf(stderr, "mount.csvfs: %s: no csvfs volume is mounted there that could be "
				"remounted; mount it without the option remount\n", dir);
		return 1;
	}
	if (mount("none", dir, NULL, MS_REMOUNT | flags, NULL)) {
		fprintf(stderr, "mount.csvfs: %s: cannot be remounted: %s%s\n", dir, strerror(errno),
			errno == EBUSY ? "; a file is open for writing (fuser -vm shows who has it)" : "");
		return 1;
	}
	return 0;
}
