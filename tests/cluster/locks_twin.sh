#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The twin of locks, without them: three nodes that add to one number lose additions, so that test can
# fail.
# timeout: 120
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/cluster.bash"

lab_up --nodes 3 --size 1G
if DRIVE_WITH='HOWS=["none"]' drive <"$HERE/locks.py" >"$TMP/out" 2>&1; then
	fail 'no addition was lost'
fi
grep 'number of additions' "$TMP/out" || fail "not by a lost addition: $(cat "$TMP/out")"
