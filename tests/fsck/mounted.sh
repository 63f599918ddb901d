#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# fsck.csvfs keeps off a volume that is mounted; it finds nothing wrong once it is not, and after a
# mount that was killed, whose log it replays.
source "$(dirname "$0")/../lib.sh"
root_only
need jq

single_up 200M
mkdir "$MNT/dir"
for i in {1..50}; do
	echo "$i" >"$MNT/dir/$i"
done
for mode in -n -y -p; do
	rc=0
	fsck.csvfs "$mode" "$DEV" >"$TMP/out" 2>&1 || rc=$?
	same "exit status of $mode on a mounted volume" "$rc" 8
	grep -qE 'mounted on (node 1|this node)|in use by node 1' "$TMP/out" || fail "$(cat "$TMP/out")"
done
same 'a file' "$(cat "$MNT/dir/50")" 50
sync -f "$MNT/dir"
single_umount
fsck.csvfs -n "$DEV" >"$TMP/out" || fail "$(cat "$TMP/out")"
grep -q '52 inodes' "$TMP/out" || fail "$(cat "$TMP/out")"

single_mount
for i in {51..99}; do
	echo "$i" >"$MNT/dir/$i"
done
sync -f "$MNT/dir"
pid=$(pgrep -f "mount.csvfs file:$DEV")
kill -9 "$pid"
wait_for 10 single_gone
umount -l "$MNT"
fsck.csvfs -n --json "$DEV" >"$TMP/out" || fail "$(cat "$TMP/out")"
same 'inodes seen without writing' "$(jq .inodes "$TMP/out")" 101
(($(jq .log_records "$TMP/out") > 0)) || fail "nothing was replayed: $(cat "$TMP/out")"
fsck.csvfs -y --json "$DEV" >"$TMP/out" || fail "$(cat "$TMP/out")"
(($(jq .log_records "$TMP/out") > 0)) || fail "-n has written: $(cat "$TMP/out")"
single_mount
same 'a file' "$(cat "$MNT/dir/99")" 99
single_umount
