#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Where storage fails the machine pauses with the reason, and resume has what failed done again: the
# guest sees nothing of a full file system that was then made larger, nor of a write error that passes, on
# virtio-blk and on virtio-scsi.
# A failed flush is told to the guest at the resume. The twin, with on-error=report, gets the error.
# run: named
# timeout: 1500
source "$(dirname "$0")/vmm.bash"
# shellcheck source=tests/vmm/guest.bash
source "$(dirname "$0")/guest.bash"
need csvvm busybox jq

# shellcheck disable=SC2016,SC2034 # for make_guest_initrd
GUEST_INIT='
stty -echo
dd if=/dev/urandom of=/data bs=64k count=64 2>/dev/null
echo ready
while read -r line; do
	disk=${line#* }
	case $line in
	wait*) wait_for 100 [ -b $disk ] && echo "$line: done" ;;
	write*) dd if=/data of=$disk bs=64k oflag=direct 2>/dev/null && echo "$line: done" || echo "$line: failed" ;;
	flush*) dd if=/data of=$disk bs=64k count=1 conv=fsync 2>/dev/null && echo "$line: done" ||
		echo "$line: failed" ;;
	read*) dd if=$disk bs=64k count=64 iflag=direct 2>/dev/null | cmp - /data && echo "$line: same" ;;
	off) poweroff -f ;;
	esac
done'
make_guest_initrd "$TMP/initrd" virtio_pci virtio_blk virtio_scsi sd_mod

# paused REASON : it is, for such a reason
paused()
{
	[[ $(csvvm info g --json | jq -r '"\(.state) \(.reason)"') == paused*"$1" ]]
}

full_disk()
{
	mkdir -p "$TMP/full"
	mount -t tmpfs -o size=2m none "$TMP/full"
	truncate -s 8M "$TMP/full/img"
}

# start DISK… : until the guest is ready
start()
{
	csvvm run -N g -b -k "$GUEST_KERNEL" -i "$TMP/initrd" -m 256M -c 2 -a "$GUEST_APPEND" "${@/#/--disk=}"
	csvvm console g <>"$TMP/typed" >"$TMP/console" &
	csvvm events g --json >"$TMP/events" &
	wait_for 300 said ready
}

gone()
{
	[[ ! -e $TMP/run/g.sock ]]
}

mkfifo "$TMP/typed"
cleanup "umount -l '$TMP/full' || true"
full_disk
truncate -s 8M "$TMP/eio.img" "$TMP/flush.img" "$TMP/scsi.img"
start "$TMP/full/img" "fault(ops=write,nth=3,err=EIO)|file:$TMP/eio.img" \
	"fault(ops=flush,nth=1,err=EIO)|file:$TMP/flush.img" \
	"fault(ops=write,nth=3,err=EIO)|file:$TMP/scsi.img,bus=scsi"

echo 'write /dev/vda' >"$TMP/typed"
wait_for 60 paused 'No space left on device'
said 'write /dev/vda: failed' && fail 'the guest has heard of it'
# still no room: it pauses anew
csvvm resume g
wait_for 60 paused 'No space left on device'
mount -o remount,size=32m "$TMP/full"
csvvm resume g
wait_for 60 said 'write /dev/vda: done'
echo 'read /dev/vda' >"$TMP/typed"
wait_for 60 said 'read /dev/vda: same'

echo 'wait /dev/sda' >"$TMP/typed"
wait_for 60 said 'wait /dev/sda: done'
for disk in /dev/vdb /dev/sda; do
	echo "write $disk" >"$TMP/typed"
	wait_for 60 paused 'Input/output error'
	csvvm resume g
	wait_for 60 said "write $disk: done"
	echo "read $disk" >"$TMP/typed"
	wait_for 60 said "read $disk: same"
done

echo 'flush /dev/vdc' >"$TMP/typed"
wait_for 60 paused 'Input/output error'
csvvm resume g
wait_for 60 said 'flush /dev/vdc: failed'

# a machine that waits for storage ends all the same
csvvm info g --json | jq -e '.state == "running"' >/dev/null || fail 'it is not running'
echo off >"$TMP/typed"
wait_for 60 gone
same 'events' "$(jq -r .event "$TMP/events" | uniq | xargs)" \
	"$(printf 'disk-error paused resumed %.0s' 1 2 3 4 5)powered-off"

umount "$TMP/full"
full_disk
start "$TMP/full/img"
echo 'write /dev/vda' >"$TMP/typed"
wait_for 60 paused 'No space left on device'
csvvm kill g
wait_for 10 gone

umount "$TMP/full"
full_disk
start "$TMP/full/img,on-error=report"
echo 'write /dev/vda' >"$TMP/typed"
wait_for 60 said 'write /dev/vda: failed'
csvvm info g --json | jq -e '.state == "running"' >/dev/null || fail 'the twin is not running'
csvvm kill g
