#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Each device read that fails is a clean error: nothing wrong is read, nothing is lost.
# timeout: 300
# build: san
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/fault.bash"

rising read 200
