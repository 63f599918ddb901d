#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The LUN grows (iscsi), csvadm grow on any node takes it over, under load; each node writes past the old end.
# timeout: 180
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/cluster.bash"
source "$(dirname "$0")/grow.bash"

grow_under_load iscsi
