# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What the scripts of this suite share; sourced after lib.sh.

[[ -e /dev/fuse ]] || skip 'no /dev/fuse'
root_only

# program NAME [ARG…] : a C program of this suite, in an empty directory of its own on the mount
program()
{
	local name=$1
	shift
	mkdir -p "$MNT/$name.d"
	(cd "$MNT/$name.d" && "$BUILD/tests/posix/posix-$name" "$@")
}

mount_gone()
{
	! pgrep -f "mount.csvfs file:$DEV" >/dev/null
}

# single_umount : waits until the volume is closed, too
single_umount()
{
	umount "$MNT"
	wait_for 30 mount_gone
}

remount()
{
	single_umount
	single_mount "${1:-}"
}

# volume_clean : unmounts; the engine's check finds nothing wrong
volume_clean()
{
	single_umount
	"$BUILD/tests/cluster/volcheck" "file:$DEV" >"$TMP/check" || fail "$(cat "$TMP/check")"
}
