#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# umount returns before the mount has left the volume; who mounts again right then waits for that, and
# who mounts a second time while it stays is refused at once.
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/posix.bash"

single_up 1G
for ((i = 0; i < 15; i++)); do
	echo "$i" >"$MNT/file"
	umount "$MNT"
	single_mount
	[[ $(<"$MNT/file") == "$i" ]] || fail "round $i: $(<"$MNT/file")"
done

mkdir "$TMP/second"
begin=$(now_ms)
if mount.csvfs "file:$DEV" "$TMP/second" -o "single,key=$TMP/key" 2>"$TMP/why"; then
	umount "$TMP/second"
	fail 'mounted twice'
fi
grep -q 'is mounted on this node already' "$TMP/why" || fail "$(cat "$TMP/why")"
(($(now_ms) - begin < 15000)) || fail 'who is refused was kept waiting'
single_clean
