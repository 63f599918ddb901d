#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Hard links, symlinks, and how directories count their names.
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/posix.bash"

single_up 1G
program links
single_clean
