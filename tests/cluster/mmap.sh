#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Shared mappings on three nodes are one memory: stores, writes, reads and truncations on any of them,
# all of them at once in the same pages. Programs run from the volume, and are replaced there.
# timeout: 240
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/cluster.bash"
source "$(dirname "$0")/mmap.bash"

lab_up --nodes 3 --backend file --size 1G
need_mmap
# A program's pages are a mapping, too.
node 1 cp /bin/true "$MNT/program"
for n in 1 2 3; do
	node "$n" "$MNT/program" || fail "node $n: true has failed"
done
node 2 cp /bin/false "$MNT/program"
for n in 1 2 3; do
	! node "$n" "$MNT/program" || fail "node $n still runs what was there before"
done

DRIVE_S=200 DRIVE_WITH='ROUNDS, STORM_S = 300, 8' drive <"$HERE/mappings.py"
volume_clean
