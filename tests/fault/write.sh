#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A device write that fails: what was acknowledged is there afterwards.
# timeout: 300
# build: san
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/fault.bash"

rising write 200
