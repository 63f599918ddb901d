#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What one node has changed (sizes, bytes, names, attributes, links) is what the next call on another
# node sees, whatever that node has cached.
# timeout: 180
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/cluster.bash"

lab_up --nodes 3 --size 2G
drive <"$HERE/coherence.py"
volume_clean
