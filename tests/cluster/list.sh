#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# `ls -l` of a quiet directory, again, sends no request, on any node; a change of one file costs a few,
# and shows.
# timeout: 180
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/cluster.bash"

FILES=2000

# requests N : what node N has asked the coordinator so far, but for what csvadm status itself asks
requests()
{
	node "$1" csvadm status --json | jq '.io.calls.total - (.io.calls.STATFS // 0)'
}

lab_up --nodes 3 --size 2G
node 1 mkdir /csv/lab/many
# shellcheck disable=SC2016 # for the shell in there
node 1 python3 -c 'import os, sys
for i in range(int(sys.argv[1])):
    os.close(os.open(f"/csv/lab/many/file-{i}", os.O_CREAT | os.O_WRONLY, 0o644))' "$FILES"
for n in 1 2 3; do
	node $n ls -l /csv/lab/many >"$TMP/first" # which sets the directory's access time
	node $n ls -l /csv/lab/many >"$TMP/first"
	before=$(requests $n)
	node $n ls -l /csv/lab/many >"$TMP/second"
	cmp "$TMP/first" "$TMP/second"
	same "lines on node $n" "$(wc -l <"$TMP/second")" $((FILES + 1))
	same "requests of node $n for a second listing" $(($(requests $n) - before)) 0
done
for n in 1 2 3; do
	node $n chmod $((600 + n)) /csv/lab/many/file-77
	for other in 1 2 3; do
		before=$(requests $other)
		node $other ls -l /csv/lab/many >"$TMP/out"
		grep -q "^-rw.* file-77\$" "$TMP/out" || fail "no file-77: $(head -n 3 "$TMP/out")"
		same "mode on node $other" "$(node $other stat -c %a /csv/lab/many/file-77)" $((600 + n))
		cost=$(($(requests $other) - before))
		((cost < 60)) || fail "node $other sent $cost requests after one file had changed"
	done
done
node 2 rm /csv/lab/many/file-78
for n in 1 2 3; do
	refuse node $n stat /csv/lab/many/file-78 2>/dev/null
	same "names on node $n" "$(node $n ls /csv/lab/many | wc -l)" $((FILES - 1))
done
volume_clean
