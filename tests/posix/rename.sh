#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# rename(2) in every shape: what moves, what it replaces, what it refuses.
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/posix.bash"

single_up 1G
program rename
single_clean
