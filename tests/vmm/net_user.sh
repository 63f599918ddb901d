#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A guest with --net user: it has an address by DHCP, fetches 8 MiB from the host and sends them back
# through a port of the host's that leads into it, and does so again after a reboot.
# run: named
# timeout: 900
source "$(dirname "$0")/vmm.bash"
# shellcheck source=tests/vmm/guest.bash
source "$(dirname "$0")/guest.bash"
need csvvm busybox jq passt ip unshare sha256sum
# the host's network is one of its own, with a way out, of which passt takes the addresses
[[ -n ${VMM_NETNS:-} ]] || VMM_NETNS=1 exec unshare --net "$(realpath "$0")"
modprobe veth 2>/dev/null || true
ip link set lo up
ip link add up0 type veth peer name up1
ip link set up1 up
ip addr add 10.7.0.2/24 dev up0
ip link set up0 up
ip route add default via 10.7.0.1

mkdir "$TMP/www"
dd if=/dev/urandom of="$TMP/www/pattern" bs=64k count=128 status=none
busybox httpd -f -p 8080 -h "$TMP/www" &
CLEANUP+=("kill $!; wait $! 2>/dev/null")

# passt shows the host at the gateway's address
# shellcheck disable=SC2016 # of the guest
GUEST_INIT='
mkdir -p /usr/share/udhcpc /www
cat >/usr/share/udhcpc/default.script <<"END_DHCP"
#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add "$ip/${mask:-24}" dev "$interface"
ip link set "$interface" mtu "${mtu:-1500}"
ip route add default via "$router"
echo "address: $ip"
END_DHCP
chmod 755 /usr/share/udhcpc/default.script
ip link set eth0 up
udhcpc -i eth0 -n -q -t 20 -T 1 -O mtu -s /usr/share/udhcpc/default.script >/dev/null
ip -4 -o addr show eth0 | grep -q 10.7.0.2 && echo "has the address"
cat /sys/class/net/eth0/mtu | sed "s/^/mtu: /"
wget -q -O /www/pattern http://10.7.0.1:8080/pattern && echo "fetched"
httpd -p 80 -h /www && echo "serves"
read -r line
reboot -f
'
make_guest_initrd "$TMP/initrd" virtio_pci virtio_net
mkfifo "$TMP/typed"
exec 9<>"$TMP/typed"
csvvm run --name=g --kernel="$GUEST_KERNEL" --initrd="$TMP/initrd" --memory=256M --append="$GUEST_APPEND" \
	--net=user,tcp=2080:80,udp=none <"$TMP/typed" >"$TMP/console" 2>"$TMP/err" &
pid=$!
for life in 1 2; do
	wait_until 300 times serves "$life" || fail "life $life: $(tail -n 20 "$TMP/console" "$TMP/err")"
	times 'has the address' "$life" || fail "no address by DHCP: $(tail -n 20 "$TMP/console" "$TMP/err")"
	times 'mtu: 65520' "$life" || fail 'not the MTU of passt'
	times fetched "$life" || fail "nothing fetched: $(tail -n 20 "$TMP/console")"
	busybox wget -q -O "$TMP/back" http://127.0.0.1:2080/pattern || fail 'the port does not lead into the guest'
	cmp "$TMP/www/pattern" "$TMP/back" || fail 'other bytes came back'
	echo again >&9
done
passt=$(pgrep -P "$(csvvm info g --json | jq -r .pid)" passt)
csvvm kill g
wait "$pid" || true
[[ -n $passt && ! -e /proc/$passt ]] || fail 'passt is still there, or never was'
