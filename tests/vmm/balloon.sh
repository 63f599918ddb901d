#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Memory that a guest has used and freed goes back to the host by itself, and so does what the guest is told
# to give up, until it is told to keep it again. Without the driver nothing comes back.
# run: named
# timeout: 1200
source "$(dirname "$0")/vmm.bash"
# shellcheck source=tests/vmm/guest.bash
source "$(dirname "$0")/guest.bash"
need csvvm busybox jq

# shellcheck disable=SC2016,SC2034 # for make_guest_initrd
GUEST_INIT='
rmmod virtio_balloon
mkdir /t; mount -t tmpfs -o size=100m t /t
stty -echo
echo ready
while read -r line; do
	case $line in
	fill) dd if=/dev/zero of=/t/f bs=1M count=96 2>/dev/null && rm /t/f ;;
	load) insmod /m/virtio_balloon.ko ;;
	esac
	echo "did $line"
done'
make_guest_initrd "$TMP/initrd" virtio_pci virtio_balloon

# of the guest's memory, in the host
used_mib()
{
	echo $(($(stat -L -c %b "$memory") >> 11))
}

at_most()
{
	(($(used_mib) <= $1))
}

gave_up()
{
	(($(csvvm info g --json | jq .balloon_bytes) == $1 << 20))
}

refused()
{
	local rc=0
	csvvm "$@" 2>"$TMP/err" || rc=$?
	((rc == 1 || rc == 2)) || fail "csvvm $* ended $rc: $(cat "$TMP/err")"
}

csvvm run --name=g --kernel="$GUEST_KERNEL" --initrd="$TMP/initrd" --memory=256M --append="$GUEST_APPEND" \
	--daemon
pid=$(csvvm info g --json | jq .pid)
for memory in "/proc/$pid/fd"/*; do
	[[ $(readlink "$memory") != /memfd:guest* ]] || break
done
mkfifo "$TMP/typed"
csvvm console g <>"$TMP/typed" >"$TMP/console" &
wait_for 300 times ready 1

# the twin: the guest has freed it all, and the host has nothing of that
before=$(used_mib)
echo fill >"$TMP/typed"
wait_for 120 times 'did fill' 1
full=$(used_mib)
((full >= before + 64)) || fail "the guest took $((full - before)) MiB for a file of 96"
if (wait_for 10 at_most $((full - 16))) 2>/dev/null; then
	fail 'memory came back without the driver'
fi

echo load >"$TMP/typed"
wait_for 120 times 'did load' 1
wait_for 120 at_most $((full - 64))
echo "used: $before MiB, after a file of 96 MiB $full, reported as free $(used_mib)"

# again, by reports alone
echo fill >"$TMP/typed"
wait_for 120 times 'did fill' 2
wait_for 120 at_most $((full - 64))

csvvm balloon g 160M
wait_for 120 gave_up 96
(($(used_mib) <= 160)) || fail "a guest that keeps 160 MiB has $(used_mib)"
csvvm balloon g 256M
wait_for 120 gave_up 0
echo fill >"$TMP/typed" # and has use of it
wait_for 120 times 'did fill' 3
refused balloon g 257M
refused balloon g 0
refused balloon g much
csvvm kill g
