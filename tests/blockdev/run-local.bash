#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs the conformance suite against the devices that a machine has without a network: memory,
# files, loop devices, each bare and below filters.
#
#   run-local.bash CONFORMANCE ram|overlay|file|tmpfs|ramfs|loop|loop4k
set -euo pipefail

conformance=$(realpath "$1")
what=$2
tmp=$(mktemp -d "${TEST_TMPDIR:-/var/tmp}/csvfs-blockdev.XXXXXX")
loop=
mounted=

cleanup()
{
	local rc=$?
	trap - EXIT
	[[ -z $loop ]] || losetup -d "$loop" || rc=1
	[[ -z $mounted ]] || umount "$mounted" || rc=1
	rm -rf --one-file-system "$tmp"
	exit "$rc"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

skip()
{
	echo "skipped: $*"
	exit 77
}

# conform CAPS URI: bare, then with a stack of filters, which must change nothing
conform()
{
	"$conformance" --require "$1" "$2"
	"$conformance" --require "$1" "stats|fault|crash|delay(flush_ms=1,zero_ms=1)|$2"
}

# on DIR: a mount of this file system, or skips; private, so that nobody copies it
scratch_fs()
{
	local type=$1
	[[ $EUID == 0 ]] || skip "mounting $type needs root"
	mkdir "$tmp/mnt"
	mount -t "$type" -o mode=700 "csvfs-test" "$tmp/mnt" || skip "cannot mount $type here"
	mounted=$tmp/mnt
}

loop_device()
{
	[[ $EUID == 0 ]] || skip "losetup needs root"
	truncate -s 64M "$tmp/disk"
	loop=$(losetup -f --show --sector-size "$1" "$tmp/disk") || skip "no loop devices here"
}

case $what in
ram)
	conform flush,fua,discard,zeroes,cheap,pr,abort,global "ram:32M?name=a"
	# what the device lacks is emulated or refused
	conform flush,pr "ram:32M?name=b&block=4096&max_io=8192&no=fua+zeroes+discard"
	conform zeroes "ram:32M?name=c&max_io=512&no=flush+fua+pr"
	;;
overlay) # it is writable on a device that is not, and keeps what it has from other handles
	for only in geometry sizes iov_shapes split random fua_flush write_zeroes refused counters; do
		"$conformance" --only "$only" "overlay|ram:32M?name=d&no=pr"
	done
	;;
file)
	truncate -s 64M "$tmp/disk ?%|(1)"
	conform flush,fua,discard,zeroes,global "file:$tmp/disk ?%|(1)"
	cd "$tmp"
	"$conformance" --only sizes "file:disk ?%|(1)"
	"$conformance" --only sizes "$tmp/disk ?%|(1)"
	;;
tmpfs | ramfs) # ramfs has neither O_DIRECT nor holes
	scratch_fs "$what"
	truncate -s 32M "$mounted/disk"
	conform flush,fua "file:$mounted/disk"
	;;
loop | loop4k)
	[[ $what == loop ]] && loop_device 512 || loop_device 4096
	conform flush,fua,zeroes,global "$loop"
	;;
*)
	echo "unknown: $what" >&2
	exit 2
	;;
esac
