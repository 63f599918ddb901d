#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Listing 5,000 entries: each once, also while others come and go; '.' and '..' are who they are.
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/posix.bash"

single_up 1G
program readdir
single_clean
