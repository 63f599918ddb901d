#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The twin of mmap, with pages left in the kernel when a token goes: something stale is seen.
# timeout: 120
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/cluster.bash"
source "$(dirname "$0")/mmap.bash"

lab_up --nodes 3 --backend file --size 1G -o test_no_purge
need_mmap
if DRIVE_WITH='ROUNDS, STORM_S = 300, 8' drive <"$HERE/mappings.py" >"$TMP/out" 2>&1; then
	fail 'nothing stale was seen'
fi
grep 'should be' "$TMP/out" || fail "not by something stale: $(cat "$TMP/out")"
