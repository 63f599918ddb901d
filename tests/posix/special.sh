#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# mknod(2): pipes, sockets and devices.
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/posix.bash"

single_up 1G
program special
single_clean
