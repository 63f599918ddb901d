#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A file without a name lives as long as it is open, and its space comes back after.
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/posix.bash"

single_up 1G
program unlinked
single_clean
