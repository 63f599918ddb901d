#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A node that sleeps amid its writes is fenced by its reservation key: when it wakes up none of them
# lands, its mount says ESHUTDOWN, and it can be mounted again.
# timeout: 180
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/cluster.bash"

lab_up --nodes 3 --size 2G
DRIVE_WITH=FENCE=True drive <"$HERE/fence.py"
volume_clean
