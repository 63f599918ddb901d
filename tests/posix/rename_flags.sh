#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# renameat2(2): RENAME_NOREPLACE and RENAME_EXCHANGE.
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/posix.bash"

single_up 1G
program rename_flags
single_clean
