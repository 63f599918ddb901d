#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A volume that is mounted on another directory of the same node is the same file system there, with flags
# of its own, whichever of the two is unmounted first. Twins: a bind mount hands on what is mounted below
# it, and a mount in the foreground is refused.
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/posix.bash"
need findmnt

A=$TMP/mnt B=$TMP/'second one'
mkdir "$B" "$TMP/third"
cleanup "umount -q '$B' || true"

# second [OPTIONS [DIRECTORY]] : the volume's second mount
second()
{
	mount.csvfs "file:$DEV" "${2:-$B}" -o "single,key=$TMP/key${1:+,$1}"
}

# refused TEXT CMD... : CMD fails and says TEXT
refused()
{
	local text=$1
	shift
	refuse "$@" 2>"$TMP/why"
	grep -q -- "$text" "$TMP/why" || fail "wanted \"$text\", got: $(cat "$TMP/why")"
}

fs_of()
{
	findmnt -nro "${2:-MAJ:MIN,FSTYPE,SOURCE,FSROOT}" --mountpoint "$1"
}

# what mounted may take a moment to be gone
one_process()
{
	[[ $(pgrep -fc "mount.csvfs file:$DEV") == 1 ]]
}

mount --bind "$TMP" "$TMP"
cleanup "umount -l '$TMP'"
mount --make-shared "$TMP" # what is mounted in here hands on, too
single_up 1G
second
same 'the second mount' "$(fs_of "$B")" "$(fs_of "$A")"
wait_for 10 one_process
echo one >"$A/file"
same 'what is read there' "$(<"$B/file")" one
mv "$B/file" "$B/renamed"
ln "$B/renamed" "$B/link"
same 'the same file' "$(stat -c %d:%i:%h "$A/renamed")" "$(stat -c %d:%i:2 "$B/link")"

# What is mounted in the one is not seen in the other, though all mounts here hand on.
mkdir "$A/sub"
mount -t tmpfs none "$A/sub"
refuse mountpoint -q "$B/sub"
umount "$A/sub"
mount --bind "$A" "$TMP/third" # twin
mount -t tmpfs none "$A/sub"
mountpoint -q "$TMP/third/sub" || fail 'the twin: a bind mount does not hand on'
umount "$A/sub" "$TMP/third"
umount "$B"

# Flags are those of the mount.
cp "/bin/true" "$A/program"
second noexec,nosuid,noatime
[[ ,$(fs_of "$B" VFS-OPTIONS), == *,nosuid,noexec,noatime,* ]] || fail "$(fs_of "$B" VFS-OPTIONS)"
"$A/program"
refused 'Permission denied' env "$B/program"

# What would not be the same is refused, with the reason.
refused "is mounted on $A already" single_mount
refused "is mounted on $B already" second
refused 'read-write' second ro "$TMP/third"
refused 'is mounted on this node already' \
	mount.csvfs "file:$DEV" "$TMP/third" -f -o "single,key=$TMP/key" # twin: nothing to serve
refuse mountpoint -q "$TMP/third"

# The first one goes first: the volume stays until the second has gone, and something else that is
# mounted in its place then is let be.
umount "$A"
same 'what stays' "$(<"$B/link")" one
wait_for 10 one_process
mount -t tmpfs none "$A"
second '' "$TMP/third" # from the second
umount "$B" "$TMP/third"
wait_for 30 single_gone
mountpoint -q "$A" || fail 'what another one has mounted was unmounted'
umount "$A"

# A signal ends all of them.
single_mount
second
pkill -TERM -f "mount.csvfs file:$DEV"
wait_for 30 single_gone
refuse mountpoint -q "$A"
refuse mountpoint -q "$B"

# One that is made while the other one goes is one or the other.
for ((i = 0; i < 10; i++)); do
	single_mount
	umount "$A" &
	second
	wait $!
	echo "$i" >"$B/file"
	umount "$B"
	wait_for 30 single_gone
done
single_mount
same 'the last round' "$(<"$A/file")" 9
single_clean
