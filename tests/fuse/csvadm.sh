#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# csvadm shows what is true of a mount, chooses among several, and says the next step when it cannot.
source "$(dirname "$0")/../lib.sh"
need jq
[[ -e /dev/fuse ]] || skip 'no /dev/fuse'

CTL=$TMP/control
adm()
{
	csvadm --control "$CTL" "$@"
}

# ends CODE WORD CMD… : CMD ends with CODE and speaks of WORD on standard error
ends()
{
	local code=$1 word=$2 rc=0
	shift 2
	"$@" >"$TMP/out" 2>"$TMP/err" || rc=$?
	same "exit status of $*" "$rc" "$code"
	grep -q -- "$word" "$TMP/err" || fail "$*: '$(cat "$TMP/err")' does not say '$word'"
}

get()
{
	adm status --json ${3:+"$3"} | jq -r "$1"
}

# ---- nothing is mounted
ends 3 'mount -t csvfs' adm status
ends 3 'mount -t csvfs' adm io --count 1
ends 0 'no csvfs volume' adm volume list
mkdir "$CTL"
ends 3 'mount -t csvfs' adm node list
ends 2 'csvadm --help' adm
ends 2 'csvadm --help' adm volume frob
ends 2 'too much' adm status a b
ends 2 'csvadm io' adm status --count 1
ends 2 'seconds' adm io --interval x

# ---- one volume
single_up 512M "control=$CTL"
uuid=$(get .volume.uuid)
same 'mount point' "$(get .volume.mountpoint)" "$MNT"
same 'size' "$(get .volume.size_bytes)" $((512 << 20))
same 'role' "$(get .node.role)" coordinator
same 'waiting for' "$(get .node.waiting_for)" ''
same 'pid is that of the mount' "$(readlink "/proc/$(get .node.pid)/exe")" "$(realpath "$(command -v mount.csvfs)")"
ls "$CTL/$uuid.sock" >/dev/null

free=$(get .space.free_bytes)
dd if=/dev/urandom of="$MNT/file" bs=1M count=32 oflag=direct status=none
same 'writes counted' "$(get .io.write_bytes)" $((32 << 20))
(($(get .device.write.bytes) >= 32 << 20)) || fail 'the device counted less than was written'
(($(get .space.free_bytes) <= free - (32 << 20))) || fail 'free space did not shrink'
same 'files' "$(get .space.files)" "$(($(df --output=iused "$MNT" | tail -n 1)))"

adm status >"$TMP/screen"
for word in "$uuid" "$MNT" healthy coordinator fencing journal 'this node' 'free of'; do
	grep -q -- "$word" "$TMP/screen" || fail "the screen lacks '$word'"
done
(($(awk '{ if (length > n) n = length } END { print n }' "$TMP/screen") <= 200)) || fail 'lines too long'
adm volume list | grep -q "$uuid" || fail 'volume list'
adm volume info | grep -q 'cluster  *64 KiB' || fail 'volume info'
adm node list --json | jq -e '.node == 1 and .member' >/dev/null
adm coordinator --json | jq -e '.node == 1 and .journal.commits > 0' >/dev/null
ends 1 'no other member' adm coordinator move
ends 1 'csvadm node list' adm coordinator move n7
adm coordinator move 1 | grep -q 'coordinates now' || fail 'a move to the coordinator is done already'
adm log | grep -q 'took the volume over' || fail 'log'
adm log --json | jq -es 'all(.time and .level and .text)' >/dev/null

# ---- rates: what is read in the interval, and nothing of what was before
dd if="$MNT/file" of=/dev/null bs=1M iflag=direct status=none
adm io --json --interval 0.3 --count 2 >"$TMP/idle"
jq -es 'length == 2 and all(.read_ops_per_s == 0 and .write_ops_per_s == 0)' "$TMP/idle" >/dev/null ||
	fail "idle: $(cat "$TMP/idle")"
csvadm --control "$CTL" io --json --interval 0.2 >"$TMP/busy" &
job=$!
cleanup "kill $job 2>/dev/null"
wait_for 10 test -s "$TMP/busy"
dd if="$MNT/file" of=/dev/null bs=1M iflag=direct status=none
wait_for 10 jq -es 'map(.read_bytes_per_s * .interval_s) | add / 1048576 | round == 32' "$TMP/busy"
kill "$job"

# ---- two volumes: one must be named, by any of its names
DEV2=$TMP/device2 MNT2=$TMP/mnt2
truncate -s 256M "$DEV2"
mkdir "$MNT2"
mkfs.csvfs -q --label two --key-file "$TMP/key2" "file:$DEV2"
mount.csvfs "file:$DEV2" "$MNT2" -o "single,key=$TMP/key2,control=$CTL"
uuid2=$(get .volume.uuid '' two)
same 'two volumes, one a line' "$(get .volume.uuid | sort)" "$(printf '%s\n' "$uuid" "$uuid2" | sort)"
ends 2 'several volumes' adm io --count 1
for name in "$MNT2" "$MNT2/" two "$uuid2" "file:$DEV2"; do
	same "volume called $name" "$(get .volume.uuid '' "$name")" "$uuid2"
	same "the same by --volume" "$(adm node list --json --volume "$name" | jq .node)" 1
done
ends 3 "$MNT2" adm status nosuch
ends 2 'two volumes' adm status --volume one two

# ---- one that hangs: the others are shown, and it costs no more than the timeout
pid=$(get .node.pid '' two)
cleanup "kill -CONT $pid 2>/dev/null"
kill -STOP "$pid"
ends 5 "$pid" adm status --timeout 0.5
grep -q "$uuid" "$TMP/out" || fail 'the healthy one is not shown'
ends 5 'did not answer' adm status --timeout 0.5 "$uuid2"
adm volume list --timeout 0.5 --json | jq -se "any(.uuid == \"$uuid2\" and .state == \"no answer\")" >/dev/null
kill -CONT "$pid"
wait_for 10 adm status two

# ---- one that has died
kill -KILL "$pid"
wait_for 10 ends 3 'umount -l' adm status "$uuid2"
umount -l "$MNT2"
mount.csvfs "file:$DEV2" "$MNT2" -o "single,key=$TMP/key2,control=$CTL"
adm status two >/dev/null

# ---- not permitted
if ((EUID == 0)) && command -v setpriv >/dev/null; then
	chmod 755 "$TMP"
	cp -L "$(command -v csvadm)" "$TMP/adm"
	ends 4 'be root' setpriv --reuid 65534 --clear-groups "$TMP/adm" --control "$CTL" status
fi

umount "$MNT2"
umount "$MNT"
wait_for 10 test ! -e "$CTL/$uuid.sock"
ends 3 'mount -t csvfs' adm status "$uuid"
