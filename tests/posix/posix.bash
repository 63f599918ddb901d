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
