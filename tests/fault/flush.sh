#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A flush that fails is never turned into a success; the volume is whole afterwards.
# timeout: 300
# build: san
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/fault.bash"

rising flush 200
