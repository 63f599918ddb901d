#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What truncate(2) cuts off is gone for good; what it adds reads as zeroes, takes no space.
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/posix.bash"

single_up 1G
program truncate
single_clean
