#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Which call moves which time, to the nanosecond; utimensat(2) sets what it is told.
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/posix.bash"

single_up 1G
program times
single_clean
