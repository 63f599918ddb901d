#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Permissions as another user and group; sticky and set-group-id directories.
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/posix.bash"

single_up 1G
program permissions
single_clean
