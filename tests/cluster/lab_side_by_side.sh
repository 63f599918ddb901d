#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Two labs at the same time, with the same addresses, know nothing of each other.
# timeout: 120
source "$(dirname "$0")/../lib.sh"
need nbdinfo jq

other()
{
	CSVLAB_NAME=$LAB-b "$SRC/tools/csvlab" "$@"
}
root_only
cleanup 'other down 2>/dev/null'

other up --no-mount --nodes 1 --backend nbd --size 1G &
lab_up --no-mount --nodes 2 --backend nbd --size 2G
wait $!

same "members" "$(lab_get '[.nodes[].members] | join(" ")')" '2 2'
same "the other's members" "$(other status --json | jq -c '[.nodes[].members]')" '[1]'
same "LUN" "$(node 1 nbdinfo --size nbd://target)" $((2 << 30))
same "the other's LUN" "$(other exec 1 -- nbdinfo --size nbd://target)" $((1 << 30))
csvlab list | grep -qx "$LAB"
csvlab list | grep -qx "$LAB-b"

csvlab crash 1
other exec 1 -- ping -q -c 1 -W 2 target >/dev/null
other down
same "the first's state" "$(lab_get '.nodes[1].state')" up
node 2 nbdinfo --size nbd://target >/dev/null
