#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A clone made on one node is whole on the others at once, also while its source is being written; both
# are then written from all nodes at once, and no write shows in the other.
# timeout: 240
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/cluster.bash"

lab_up --nodes 3 --size 3G
drive <"$HERE/clone.py"
volume_clean
