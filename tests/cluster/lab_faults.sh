#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Each fault that the lab can make does what it says, and is undone.
# timeout: 240
source "$(dirname "$0")/../lib.sh"
need iscsi-ls jq

# members N COUNT : Corosync on node N counts COUNT members
members()
{
	[[ $(node "$1" corosync-quorumtool -s) =~ Total\ votes:\ +$2 ]]
}

lun_seen()
{
	node "$1" timeout 3 iscsi-ls -s iscsi://target | grep -q '^Lun:1'
}

state()
{
	[[ $(lab_get ".nodes[$1 - 1].state") == "$2" ]]
}

lab_up --no-mount --nodes 3
lun_seen 2

# stop: the node is silent and not dead; its processes are the same ones afterwards
pid=$(node 2 pgrep -x corosync)
csvlab stop 2
wait_for 5 state 2 stopped
wait_for 30 members 1 2
csvlab cont 2
wait_for 30 members 1 3
same "pid of corosync" "$(node 2 pgrep -x corosync)" "$pid"

# cut lan: Corosync loses the node, storage doesn't
csvlab cut 3 lan
wait_for 30 members 1 2
lun_seen 3
same "its own view" "$(lab_get '.nodes[2].quorate')" false
same "status" "$(lab_get '.nodes[2].lan.state')" cut
same "carrier" "$(node 3 cat /sys/class/net/lan0/carrier)" 1
csvlab heal 3 lan
wait_for 30 members 1 3

# cut san: the other way round
csvlab cut 3 san
refuse lun_seen 3
lun_seen 1
members 1 3
csvlab heal 3 san
wait_for 10 lun_seen 3

# crash: everything of the node is gone, and comes back new
node 1 sh -c 'sleep 300 & echo $!' >/dev/null
csvlab crash 1
state 1 down
refuse node 1 true
wait_for 30 members 2 2
csvlab start 1
wait_for 30 members 2 3
same "old processes" "$(node 1 pgrep -x -f 'sleep 300' || :)" ''
lun_seen 1
csvlab start 1

# the target's daemon dies; the LUN's bytes don't
node target sh -c "printf marked | dd of=$LAB_DIR/disk-1.img conv=notrunc status=none"
csvlab kill target
refuse lun_seen 1
csvlab start target
lun_seen 1
same "bytes" "$(head -c 6 "$LAB_DIR/disk-1.img")" marked
csvlab crash target
same "target" "$(lab_get .target.state)" down
csvlab start target
wait_for 10 lun_seen 2

refuse csvlab kill 1 2>/dev/null # nothing is mounted
