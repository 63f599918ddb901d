#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Disk images, made by qemu-img and written by us, and the other way round; the conformance suite on
# each kind.
#
#   run-image.bash CONFORMANCE vhd|vhdx
set -euo pipefail

conformance=$(realpath "$1")
format=$2
tmp=$(mktemp -d "${TEST_TMPDIR:-/var/tmp}/csvfs-image.XXXXXX")
trap 'rm -rf --one-file-system "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

command -v qemu-img >/dev/null || {
	echo "skipped: needs qemu-img"
	exit 77
}

refuse()
{
	if "$@"; then
		echo "should have failed: $*" >&2
		exit 1
	fi
}

# q_create KIND FILE SIZE [OPTIONS]
q_create()
{
	local options=subformat=$1${4:+,$4}
	[[ $format == vhdx ]] || options+=,force_size=on
	qemu-img create -q -f "$qemu" -o "$options" "$2" "$3"
}

# check FILE: qemu-img cannot check a VHD
check()
{
	qemu-img info -f "$qemu" "$1" >/dev/null
	[[ $format == vhd ]] || qemu-img check -q -f "$qemu" "$1"
}

# same FILE: qemu reads what the raw file has
same()
{
	check "$1"
	qemu-img compare -q -f raw -F "$qemu" "$tmp/raw" "$1"
}

[[ $format == vhd ]] && qemu=vpc || qemu=vhdx
for kind in fixed dynamic; do
	q_create "$kind" "$tmp/$kind" 64M
	"$conformance" --require flush,fua,discard,zeroes,global "$format:file:$tmp/$kind"
	"$conformance" --require flush,fua,discard,zeroes,global \
		"stats|fault|crash|delay(flush_ms=1,zero_ms=1)|$format:stats|file:$tmp/$kind"
	check "$tmp/$kind"
done

# the same seed writes the same bytes through a file and through each image; the size is not one of
# whole blocks
truncate -s 67109376 "$tmp/raw"
"$conformance" --seed 5 --only sizes "file:$tmp/raw"
"$conformance" --seed 5 --only random "file:$tmp/raw"
for kind in fixed dynamic; do
	q_create "$kind" "$tmp/$kind" 67109376
	"$conformance" --seed 5 --only sizes "$format:file:$tmp/$kind"
	"$conformance" --seed 5 --only random "$format:file:$tmp/$kind"
	same "$tmp/$kind"
done

# what qemu writes we read: what was read is what a raw copy of it has
for kind in fixed dynamic; do
	options=subformat=$kind
	[[ $format == vhdx ]] || options+=,force_size=on
	qemu-img convert -q -f raw -O "$qemu" -o "$options" "$tmp/raw" "$tmp/q-$kind"
	"$conformance" --seed 9 --only random "$format:file:$tmp/q-$kind"
	check "$tmp/q-$kind"
done
"$conformance" --seed 9 --only random "file:$tmp/raw"
for kind in fixed dynamic; do
	same "$tmp/q-$kind"
done

case $format in
vhd) # a lost last sector comes back; damage is refused
	truncate -s -512 "$tmp/dynamic"
	"$conformance" --only geometry "vhd:file:$tmp/dynamic"
	[[ $(tail -c 512 "$tmp/dynamic" | head -c 8) == conectix ]]
	cp --sparse=always "$tmp/dynamic" "$tmp/damaged"
	printf x | dd of="$tmp/damaged" bs=1 seek=600 conv=notrunc status=none
	refuse "$conformance" --only geometry "vhd:file:$tmp/damaged"
	truncate -s -512 "$tmp/fixed"
	refuse "$conformance" --only geometry "vhd:file:$tmp/fixed"
	;;
vhdx) # a log of 2 MiB; a writer that is killed leaves a log, which qemu replays as we do
	q_create dynamic "$tmp/log" 64M log_size=2M,block_size=1M
	"$conformance" --only random "vhdx:file:$tmp/log"
	check "$tmp/log"
	q_create dynamic "$tmp/killed" 64M block_size=1M
	"$conformance" --only random "vhdx:delay(write_ms=20)|file:$tmp/killed" &
	pid=$!
	for ((i = 0; ; i++)); do
		guid=$(od -An -v -tx1 -j $((0x10030)) -N 16 "$tmp/killed" | tr -d ' 0\n')
		[[ -z $guid ]] || break
		((i < 3000)) || {
			echo 'no log after 30 s' >&2
			exit 1
		}
		sleep 0.01
	done
	kill -KILL "$pid"
	wait "$pid" || true
	cp --sparse=always "$tmp/killed" "$tmp/killed2"
	refuse qemu-img check -q -f vhdx "$tmp/killed"
	qemu-img check -q -f vhdx -r all "$tmp/killed"
	"$conformance" --only geometry "vhdx:file:$tmp/killed2"
	check "$tmp/killed2"
	qemu-img compare -q -f vhdx -F vhdx "$tmp/killed" "$tmp/killed2"
	# one header is enough, none is not
	printf x | dd of="$tmp/dynamic" bs=1 seek=$((0x10100)) conv=notrunc status=none
	"$conformance" --only geometry "vhdx:file:$tmp/dynamic"
	printf x | dd of="$tmp/dynamic" bs=1 seek=$((0x20100)) conv=notrunc status=none
	refuse "$conformance" --only geometry "vhdx:file:$tmp/dynamic"
	truncate -s 5M "$tmp/fixed"
	refuse "$conformance" --only geometry "vhdx:file:$tmp/fixed"
	;;
esac
refuse "$conformance" --only geometry "$format:file:$tmp/raw"
