#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A volume of format version 1 whose coordinator died: its log is replayed, files that were open without
# a name are freed, all the rest is there; it can be written, and has no error afterwards.
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/golden.bash"

golden_unpack v1-dirty
golden_fsck
(($(jq .log_records "$TMP/fsck") > 10)) || fail "there is no log to replay: $(cat "$TMP/fsck")"
golden_mount
wait_for 30 golden_orphans_gone v1-dirty
golden_same v1-dirty
golden_change
golden_umount
golden_fsck
same 'log records' "$(jq .log_records "$TMP/fsck")" 0
golden_mount
cmp "$MNT/new/data" "$TMP/data"
golden_umount
