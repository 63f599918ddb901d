#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Extended attributes: name spaces, flags, sizes, listings.
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/posix.bash"

single_up 1G
program xattr
single_clean
