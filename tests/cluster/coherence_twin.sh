#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The twin of coherence, with recalls off: a node sees something stale, so that test can fail.
# timeout: 120
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/cluster.bash"

lab_up --nodes 3 --size 2G -o test_no_recall
if drive <"$HERE/coherence.py" >"$TMP/out" 2>&1; then
	fail 'nothing stale was seen'
fi
grep 'should be' "$TMP/out" || fail "not by something stale: $(cat "$TMP/out")"
