#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Names hold 255 bytes and no more, of any bytes but '/' and NUL.
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/posix.bash"

single_up 1G
program names
single_clean
