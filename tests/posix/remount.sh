#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# umount returns before the mount has left the volume; who mounts again right then waits for that, and
# who mounts it on the same directory while it stays is refused at once. A mount that stays can be made read-only.
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
if single_mount 2>"$TMP/why"; then
	umount "$MNT"
	fail 'mounted twice'
fi
grep -q "is mounted on $MNT already" "$TMP/why" || fail "$(cat "$TMP/why")"
(($(now_ms) - begin < 15000)) || fail 'who is refused was kept waiting'

# -o remount: what the kernel heeds is changed in place
mount.csvfs any "$MNT" -o remount,ro,user_id=0
! touch "$MNT/new" 2>"$TMP/why" || fail 'a file was made on what is read-only now'
grep -q 'Read-only' "$TMP/why" || fail "$(cat "$TMP/why")"
mount.csvfs any "$MNT" -o remount,rw
exec 9>"$MNT/new"
if mount.csvfs any "$MNT" -o remount,ro 2>"$TMP/why"; then
	fail 'remounted read-only though a file is open for writing'
fi
grep -q 'open for writing' "$TMP/why" || fail "$(cat "$TMP/why")"
exec 9>&-
if mount.csvfs any "$TMP/second" -o remount,ro 2>"$TMP/why"; then
	fail 'remounted what is not mounted'
fi
grep -q 'no csvfs volume is mounted there' "$TMP/why" || fail "$(cat "$TMP/why")"
single_clean
