#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A volume of format version 1 that was unmounted in order: all that was on it is there; it can be
# written, and has no error afterwards.
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/golden.bash"

golden_unpack v1-clean
golden_fsck
same 'log records' "$(jq .log_records "$TMP/fsck")" 0
golden_mount
golden_same v1-clean
golden_change
refuse golden_diff v1-clean
golden_umount
golden_fsck
golden_mount
cmp "$MNT/new/data" "$TMP/data"
golden_umount
