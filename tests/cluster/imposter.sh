#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A node that has the volume's key and says that it is another one is refused, with a line in the log that
# names both addresses; the mounts do not notice.
# timeout: 120
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/cluster.bash"
need ss jq python3

lab_up --nodes 3 --size 512M
# said NODE JQ-FILTER : out of what csvadm says there
said()
{
	node "$1" csvadm status --json "$MNT" | jq -er "$2"
}
serves()
{
	local coord
	coord=$(said 1 '.coordinator.node | select(. > 0)') || return 1
	said "$coord" '.coordinator | select(.serving and .sessions == 3)'
}
wait_for 40 serves
COORD=$(said 1 .coordinator.node)
UUID=$(said "$COORD" .volume.uuid)
ADDRESS=$(said "$COORD" .coordinator.address)
PORT=$(node "$COORD" ss -Hltnp | sed -n 's/.*:\([0-9]*\) .*"mount.csvfs".*/\1/p')
[[ $PORT =~ ^[0-9]+$ ]] || fail "no port: $(node "$COORD" ss -Hltnp)"
ME=$((COORD % 3 + 1))
OTHER=$((ME % 3 + 1))
for ((i = 1; i <= 3; i++)); do
	# not with jq: it may round
	GEN[i]=$(node "$i" csvadm status --json "$MNT" |
		python3 -c 'import json, sys; print(json.load(sys.stdin)["node"]["generation"])')
done

# claims NODE GENERATION : what the coordinator says to node ME that is node NODE
claims()
{
	node "$ME" timeout 20 "$BUILD/tests/cluster/imposter" "$ADDRESS" "$PORT" "$LAB_DIR/key-1" "$UUID" "$1" "$2"
}
# What the refusals look like comes after what is not refused: the test can tell the two apart.
same 'its own number' "$(claims "$ME" "${GEN[ME]}")" 'answered 0'
node "$ME" touch "$MNT/mine"
for who in "$OTHER" "$COORD" 0 9 65 4294967295; do
	got=$(claims "$who" "${GEN[OTHER]}")
	[[ $got == refused:* ]] || fail "node $ME says that it is node $who: $got"
done
got=$(claims "$ME" $((GEN[ME] + 1)))
[[ $got == refused:* ]] || fail "another mount of node $ME: $got"
csvlab logs "$COORD" >"$TMP/logs"
grep "which says that it is node $OTHER: that is at" "$TMP/logs" || fail "$(cat "$TMP/logs")"
same 'the other node' "$(node "$OTHER" sh -c "echo here >$MNT/other && cat $MNT/other")" here
volume_clean
