# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The lab's two networks: bridges `lan` and `san` in the namespace of the member `switch`, a cable
# to each from every node, one from the target to `san`. Nothing of it is visible on the host, so
# every lab uses the same addresses.

# shellcheck disable=SC2034 # used by those that source this
LAN_NET=10.210.1
SAN_NET=10.210.2
# shellcheck disable=SC2034
TARGET_ADDR=$SAN_NET.254
SAN_MTU=9000

switch_up()
{
	in_net switch ip -batch - <<-END
		link add name lan type bridge forward_delay 0 mcast_snooping 0
		link add name san mtu $SAN_MTU type bridge forward_delay 0 mcast_snooping 0
		link set lan up
		link set san up
	END
}

# cable MEMBER NET ADDRESS : a fresh, connected cable. The network card's address follows from the
# member's, as on a machine that comes back after a crash: peers still have it in their tables.
cable()
{
	local member=$1 net=$2 addr=$3 mac pid mtu=1500
	# shellcheck disable=SC2086 # four numbers
	printf -v mac '02:c5:%02x:%02x:%02x:%02x' ${addr//./ }
	pid=$(member_pid "$member") || return
	[[ $net == lan ]] || mtu=$SAN_MTU
	in_net switch ip link del "$member-$net" 2>/dev/null
	in_net switch ip -batch - <<-END || return
		link add name $member-$net mtu $mtu type veth peer name ${net}0 address $mac mtu $mtu netns $pid
		link set $member-$net master $net
		link set $member-$net up
	END
	in_net "$member" ip -batch - <<-END
		addr add $addr/24 dev ${net}0
		link set ${net}0 up
	END
}

# The cut is silent: the port leaves the bridge and the node keeps its carrier, so nobody is told
# and only missing answers show it.
net_cut()
{
	in_net switch ip link set "$1-$2" nomaster
}

net_heal()
{
	in_net switch ip link set "$1-$2" master "$2"
}

# net_state MEMBER NET : ok, cut or none
net_state()
{
	local line
	line=$(in_net switch ip -o link show "$1-$2" 2>/dev/null) || {
		echo none
		return
	}
	[[ $line == *" master $2 "* ]] && echo ok || echo cut
}
