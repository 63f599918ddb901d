#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The main job on file: an image that node 1 wrote is the same on the others; all write at once, each
# its own image and all three one image, and every block is what was written.
# timeout: 180
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/cluster.bash"
source "$(dirname "$0")/job.bash"

job file
