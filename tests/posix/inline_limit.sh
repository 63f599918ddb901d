#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Files around the sizes where their bytes move: 1,024 and 4,096.
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/posix.bash"

single_up 1G
program inline_limit
single_clean
