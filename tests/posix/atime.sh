#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The time of the last read: as relatime; not at all with noatime; each with strictatime.
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/posix.bash"

single_up 1G
program atime
single_umount
single_mount noatime
rm -r "$MNT/atime.d"
program atime never
single_umount
single_mount strictatime
rm -r "$MNT/atime.d"
program atime strict
single_clean
