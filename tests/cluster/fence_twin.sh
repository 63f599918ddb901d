#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The twin of fence_pr and fence_lease, with fencing off: late writes do land, so those tests can fail.
# timeout: 180
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/cluster.bash"

for backend in iscsi file; do
	lab_up --nodes 3 --backend "$backend" --size 2G -o lease=3,test_no_fence
	DRIVE_WITH=FENCE=False drive <"$HERE/fence.py"
	lab_down
done
