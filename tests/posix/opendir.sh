#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# An open directory that has lost its name is there until it is closed.
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/posix.bash"

single_up 1G
program opendir
single_clean
