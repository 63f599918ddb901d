#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Two thousand files open at once, each with its own bytes.
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/posix.bash"

single_up 1G
program many_open
single_clean
