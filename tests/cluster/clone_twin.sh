#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The twin of clone, with recalls off: a write shows where it should not, or is lost.
# timeout: 180
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/cluster.bash"

lab_up --nodes 3 --size 3G -o test_no_recall
if drive <"$HERE/clone.py" >"$TMP/out" 2>&1; then
	fail 'nothing wrong was seen'
fi
grep 'should be' "$TMP/out" || fail "not by wrong bytes: $(cat "$TMP/out")"
