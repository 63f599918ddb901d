#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# fallocate(2): default, keep size, punch hole, zero range; bytes, size and blocks.
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/posix.bash"

single_up 1G
program fallocate
single_clean
