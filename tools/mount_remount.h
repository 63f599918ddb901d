/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mount.csvfs: -o remount. */
#ifndef TOOLS_MOUNT_REMOUNT_H
#define TOOLS_MOUNT_REMOUNT_H

#include <stdbool.h>

/* Whether "remount" is one of the comma-separated options. */
bool remount_asked(const char *options);
/* Changes *flags (MS_*, mount(2)) as the option says. -ENOENT: no option that the kernel heeds. */
int remount_flag(const char *name, unsigned long *flags);
/* Sets these flags on the volume that is mounted on dir (absolute). Returns the exit status; says on
 * standard error why it failed. */
int remount(const char *dir, unsigned long flags);

#endif
