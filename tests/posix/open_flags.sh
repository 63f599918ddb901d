#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# open(2): each flag does what it says, each refusal has its error.
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/posix.bash"

single_up 1G
program open_flags
single_clean
