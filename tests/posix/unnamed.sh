#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Files without a name, whiteouts, the time of birth.
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/posix.bash"

single_up 1G
program unnamed
single_clean
