#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Set-user-id, set-group-id and capabilities go with a write of an unprivileged user, and with chown.
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/posix.bash"

single_up 1G
program setid
single_clean
