#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# statvfs(3): free space falls by what is written, and returns.
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/posix.bash"

single_up 512M
program statfs 512
single_clean
