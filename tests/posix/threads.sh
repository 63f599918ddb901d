#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Eight threads on one file: disjoint pieces come out as each wrote them; appends are whole.
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/posix.bash"

single_up 1G
program threads
single_clean
