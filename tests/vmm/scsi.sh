#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# SCSI disks come to a running guest, are written, verified and taken away again, N times (default 20), while
# the guest writes another disk of the same controller; one grows live, and so does one on virtio-blk. The
# twins: a guest that is paused does not let go, and one that is not told of a size does not see it.
# run: named
# timeout: 1800
source "$(dirname "$0")/vmm.bash"
# shellcheck source=tests/vmm/guest.bash
source "$(dirname "$0")/guest.bash"
need csvvm busybox jq

CYCLES=${1:-20}

# shellcheck disable=SC2016,SC2034 # for make_guest_initrd
GUEST_INIT='
stty -echo
dd if=/dev/urandom of=/data bs=64k count=16 2>/dev/null
# the name of the disk with this serial number, once it is there; or no more
find_disk() {
	for sys in /sys/block/sd*; do
		[ -e "$sys/device/vpd_pg80" ] && grep -q "$1$" "$sys/device/vpd_pg80" && echo "${sys##*/}" && return
	done
	return 1
}
no_disk() {
	! find_disk $1 >/dev/null
}
has_size() {
	[ "$(cat /sys/block/$1/size)" = $2 ]
}
busy() {
	n=0
	while [ ! -e /calm ]; do
		dd if=/data of=/dev/$1 bs=64k oflag=direct 2>/dev/null || { echo "busy: failed"; return; }
		dd if=/dev/$1 bs=64k count=16 iflag=direct 2>/dev/null | cmp - /data || { echo "busy: differs"; return; }
		n=$((n + 1))
	done
	echo "busy: $((n > 0))"
}
echo ready
while read -r what id arg; do
	case $what in
	wait) wait_for 100 find_disk $id >/dev/null && echo "$id: there" ;;
	look) find_disk $id >/dev/null && echo "$id: there" || echo "$id: not there" ;;
	gone) wait_for 100 no_disk $id && echo "$id: gone" ;;
	use) disk=$(find_disk $id)
		dd if=/data of=/dev/$disk bs=64k oflag=direct conv=fsync 2>/dev/null
		dd if=/dev/$disk bs=64k count=16 iflag=direct 2>/dev/null | cmp - /data && echo "$id: same" ;;
	size) (wait_for 300 has_size $(find_disk $id) $arg && echo "$id: $arg") & ;;
	blksize) wait_for 100 has_size $id $arg && echo "$id: $arg" ;;
	busy) busy $(find_disk $id) & ;;
	calm) touch /calm; wait ;;
	off) poweroff -f ;;
	esac
done'
make_guest_initrd "$TMP/initrd" virtio_pci virtio_blk virtio_scsi sd_mod

# does LINE… : the guest does so; the last word is what it says then
does()
{
	echo "$1" >"$TMP/typed"
	wait_for 120 times "$2" "${3:-1}"
}

data()
{
	head -c 1M "$1" | sha256sum
}

gone()
{
	[[ ! -e $TMP/run/$1.sock ]]
}

# start APPEND DISK… : until the guest is ready
start()
{
	csvvm run -N g -b -k "$GUEST_KERNEL" -i "$TMP/initrd" -m 256M -c 2 -a "$GUEST_APPEND $1" "${@:2}"
	csvvm console g <>"$TMP/typed" >"$TMP/console" &
	csvvm events g --json >"$TMP/events" &
	wait_for 300 said ready
}

mkfifo "$TMP/typed"
truncate -s 8M "$TMP/blk.img" "$TMP/busy.img" "$TMP/hot.img"
start '' --disk="$TMP/blk.img" --disk="$TMP/busy.img,bus=scsi,id=busy"
same 'disks' "$(csvvm info g --json | jq -r '.disks[] | "\(.id) \(.bus) \(.size_bytes)"' | xargs)" \
	'disk0 blk 8388608 busy scsi 8388608'

# refused, each with a reason
code 1 csvvm detach-disk g nothing
grep -q 'there is no disk "nothing"' "$TMP/err" || fail "$(cat "$TMP/err")"
code 1 csvvm detach-disk g disk0
grep -q 'not on the bus scsi' "$TMP/err" || fail "$(cat "$TMP/err")"
code 1 csvvm attach-disk g "$TMP/busy.img"
grep -q 'uses it' "$TMP/err" || fail "$(cat "$TMP/err")"
code 1 csvvm attach-disk g "$TMP/hot.img,id=busy"
grep -q 'two disks have the id "busy"' "$TMP/err" || fail "$(cat "$TMP/err")"
code 1 csvvm attach-disk g "$TMP/hot.img,bus=blk"
code 1 csvvm attach-disk g "$TMP/none.img"
code 2 csvvm attach-disk g "$TMP/hot.img,colour=red"
code 2 csvvm attach-disk g

does 'wait busy' 'busy: there'
echo 'busy busy' >"$TMP/typed"
for ((i = 1; i <= CYCLES; i++)); do
	same 'the id' "$(csvvm attach-disk g "$TMP/hot.img,id=hot")" hot
	does 'wait hot' 'hot: there' "$i"
	does 'use hot' 'hot: same' "$i"
	code 0 csvvm detach-disk g hot
	does 'gone hot' 'hot: gone' "$i"
	# what the guest wrote is there; it has to write it anew
	[[ -n ${wanted:-} ]] || wanted=$(data "$TMP/hot.img")
	same 'what the guest wrote' "$(data "$TMP/hot.img")" "$wanted"
	rm "$TMP/hot.img"
	truncate -s 8M "$TMP/hot.img"
done
echo calm >"$TMP/typed"
wait_for 120 said 'busy: 1'
same 'the other disk' "$(data "$TMP/busy.img")" "$wanted"

# grown by the command, and beside it; on either bus
code 0 csvvm resize-disk g busy --size=16M
does 'size busy 32768' 'busy: 32768'
truncate -s 24M "$TMP/busy.img"
echo 'size busy 49152' >"$TMP/typed"
does 'look busy' 'busy: there' 2
said 'busy: 49152' && fail 'the guest knows a size that nobody has told it'
code 0 csvvm resize-disk g busy
wait_for 120 said 'busy: 49152'
code 0 csvvm resize-disk g disk0 --size=12M
does 'blksize vda 24576' 'vda: 24576'
code 1 csvvm resize-disk g busy --size=8M
grep -q 'do not shrink' "$TMP/err" || fail "$(cat "$TMP/err")"

# a guest that stands still does not let go, until it goes on; or it is taken away
code 0 csvvm attach-disk g "$TMP/hot.img,id=hot"
does 'wait hot' 'hot: there' $((CYCLES + 1))
code 0 csvvm pause g
code 5 csvvm detach-disk g hot --wait=2
grep -q 'has not let go of hot' "$TMP/err" || fail "$(cat "$TMP/err")"
csvvm info g --json | jq -e '.disks[] | select(.id == "hot").detaching' >/dev/null || fail 'it is not being detached'
code 1 csvvm detach-disk g hot
code 1 csvvm attach-disk g "$TMP/hot.img,id=hot2"
code 0 csvvm detach-disk g hot --force
code 0 csvvm resume g
does 'gone hot' 'hot: gone' $((CYCLES + 1))

echo off >"$TMP/typed"
wait_for 60 gone g
same 'events' "$(jq -r .event "$TMP/events" | sort | uniq -c | xargs)" \
	"$((CYCLES + 1)) disk-attached $((CYCLES + 1)) disk-detached 3 disk-resized 1 paused 1 powered-off 1 resumed"
