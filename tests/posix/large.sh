#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Files of 8 TiB on a small volume: far offsets, sparse, cut down again.
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/posix.bash"

single_up 1G
program large
single_clean
