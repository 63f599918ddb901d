#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# fcntl(2) locks of processes and of open files and flock(2) on one mount: who is kept out, what ends a
# lock, waiting, circles, signals.
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/posix.bash"

single_up 1G
program locks
single_clean
