#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Two guests on one bridge, with taps of two queues and an MTU of 9,000: what one sends the other gets,
# by its checksum, and frames of 8,972 bytes pass unfragmented.
# run: named
# timeout: 1500
source "$(dirname "$0")/vmm.bash"
# shellcheck source=tests/vmm/guest.bash
source "$(dirname "$0")/guest.bash"
need csvvm busybox mkfs.ext4 sha256sum ip unshare
# bridge and taps in a namespace go away with it
[[ -n ${VMM_NETNS:-} ]] || VMM_NETNS=1 exec unshare --net "$(realpath "$0")"

modprobe bridge || skip 'no bridge module in this host'
br=vmmbr$$
ip link add "$br" mtu 9000 type bridge
ip link set "$br" up
make_guest_initrd "$TMP/initrd" virtio_pci virtio_blk virtio_net ext4

# make_net_guest N <SCRIPT : its root, with an address, and its tap on the bridge
make_net_guest()
{
	{
		echo "ip link set lo up; ip addr add 10.9.0.$1/24 dev eth0; ip link set eth0 up"
		echo 'cat /sys/class/net/eth0/mtu | sed "s/^/mtu: /"'
		echo 'ls -d /sys/class/net/eth0/queues/rx-* | wc -l | sed "s/^/queues: /"'
		cat
	} | make_guest_root "$TMP/root$1.img"
	ip tuntap add "vm$$.$1" mode tap vnet_hdr multi_queue
	ip link set "vm$$.$1" mtu 9000 master "$br" up
}

# boot_net_guest N
boot_net_guest()
{
	timeout 900 csvvm run --name="net$$-$1" --kernel="$GUEST_KERNEL" --initrd="$TMP/initrd" \
		--memory=256M --cpus=2 --append="$GUEST_APPEND" --disk="$TMP/root$1.img" \
		--net="tap=vm$$.$1,queues=2" </dev/null >"$TMP/console$1" 2>"$TMP/err$1"
}

make_net_guest 1 <<'END_GUEST'
nc -l -p 99 >/got; wc -c </got; sha256sum </got | sed 's/^/got: /'
END_GUEST
make_net_guest 2 <<'END_GUEST'
until ping -c 1 -W 1 10.9.0.1 >/dev/null; do :; done
ping -c 3 -s 8000 10.9.0.1 >/dev/null && echo 'jumbo: passed'
dd if=/dev/urandom of=/pattern bs=64k count=128 2>/dev/null
sha256sum </pattern | sed 's/^/sent: /'
until nc -w 20 10.9.0.1 99 </pattern; do :; done
END_GUEST
boot_net_guest 1 &
pid=$!
boot_net_guest 2 || fail "guest 2: $(tail -n 20 "$TMP/console2" "$TMP/err2")"
wait "$pid" || fail "guest 1: $(tail -n 20 "$TMP/console1" "$TMP/err1")"
for n in 1 2; do
	tr -d '\r' <"$TMP/console$n" >"$TMP/lines$n"
	for line in 'mtu: 9000' 'queues: 2'; do
		grep -qxF "$line" "$TMP/lines$n" || fail "guest $n did not say '$line': $(tail "$TMP/lines$n")"
	done
done
grep -qxF 'jumbo: passed' "$TMP/lines2" || fail "no jumbo frames: $(tail "$TMP/lines2")"
sent=$(sed -n 's/^sent: //p' "$TMP/lines2")
[[ -n $sent && $sent == "$(sed -n 's/^got: //p' "$TMP/lines1")" ]] ||
	fail "other bytes arrived: $(tail -n 3 "$TMP/lines1" "$TMP/lines2")"
