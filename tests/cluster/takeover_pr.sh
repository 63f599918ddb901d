#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The coordinator is killed while the others create, write and sync on an iSCSI LUN: no call fails,
# and each file that was acknowledged is there with its bytes, on every node.
# timeout: 240
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/cluster.bash"

lab_up --nodes 3 --size 2G
DRIVE_S=200 DRIVE_WITH=ROUNDS=3 drive <"$HERE/takeover.py"
volume_clean
