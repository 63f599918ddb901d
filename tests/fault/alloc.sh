#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Memory that runs out at any allocation: a clean error, no crash, nothing lost.
# timeout: 300
# build: san
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/fault.bash"

STRIDE=5
rising alloc 220
