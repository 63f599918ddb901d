#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Three nodes write into one project at once, while the coordinator is killed: together they get no more
# than its limit, and what is counted is what there is. A directory beside it without a limit (the twin)
# takes all.
# timeout: 150
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/cluster.bash"
need jq

LIMIT_MIB=48 EACH_MIB=32

# write_on N DIR : appends to a file of its own until EACH_MIB or a refusal; prints the bytes and why
write_on()
{
	node "$1" dd if=/dev/zero of="$MNT/$2/of-$1" bs=256k count=$((EACH_MIB * 4)) oflag=append \
		conv=notrunc 2>"$TMP/dd-$2-$1" || :
	node "$1" stat -c %s "$MNT/$2/of-$1"
}

# write_all DIR : on all nodes at once; TOTAL is the bytes that the files have
write_all()
{
	local n jobs=()
	TOTAL=0
	for n in 1 2 3; do
		write_on "$n" "$1" >"$TMP/bytes-$n" &
		jobs+=($!)
	done
	for n in "${jobs[@]}"; do
		wait "$n" || fail "a writer has failed: $(cat "$TMP"/dd-"$1"-*)"
	done
	for n in 1 2 3; do
		TOTAL=$((TOTAL + $(<"$TMP/bytes-$n")))
	done
}

used()
{
	node "$1" csvadm quota show --json "$MNT/limited" | jq .used
}

counted_right()
{
	local blks
	blks=$(node "$1" find "$MNT/limited" -printf '%b\n' | awk '{ n += $1 } END { print n * 512 }')
	[[ $(used "$1") == "$blks" ]]
}

lab_up --nodes 3 --size 512M
node 1 mkdir "$MNT/limited" "$MNT/twin"
node 1 csvadm quota set "$MNT/limited" --limit "${LIMIT_MIB}M" >"$TMP/out"
for n in 2 3; do
	same "the limit as node $n sees it" \
		"$(node "$n" csvadm quota show --json "$MNT/limited" | jq .limit)" $((LIMIT_MIB << 20))
	same "df on node $n" "$(node "$n" df -B1 --output=size "$MNT/limited" | tail -1 | tr -d ' ')" \
		$((LIMIT_MIB << 20))
done

write_all twin
same 'the twin' "$TOTAL" $((3 * EACH_MIB << 20))

coord=$(node 1 csvadm coordinator --json | jq .node)
pid=$(node "$coord" pgrep -x mount.csvfs)
write_all limited &
writers=$!
wait_for 30 node $((coord % 3 + 1)) test -s "$MNT/limited/of-$((coord % 3 + 1))"
node "$coord" kill -9 "$pid"
# its own writer ends with its mount; that of the others goes on
wait "$writers" || :
others=($((coord % 3 + 1)) $(((coord + 1) % 3 + 1)))
for n in "${others[@]}"; do
	write_on "$n" limited >"$TMP/bytes-$n"
done
for n in "${others[@]}"; do
	write_on "$n" limited >"$TMP/bytes-$n"
	grep -q 'Disk quota exceeded' "$TMP/dd-limited-$n" || fail "node $n: $(cat "$TMP/dd-limited-$n")"
done
(($(used "${others[0]}") <= LIMIT_MIB << 20)) || fail "used: $(used "${others[0]}")"
# space that was given to a file and never written goes back when it is closed
(($(used "${others[0]}") >= (LIMIT_MIB - 8) << 20)) || fail "used: $(used "${others[0]}")"
for n in "${others[@]}"; do
	wait_for 20 counted_right "$n"
done

# a higher limit is one for all at once
node "${others[0]}" csvadm quota set "$MNT/limited" --limit 200M >"$TMP/out"
before=$(node "${others[1]}" stat -c %s "$MNT/limited/of-${others[1]}")
write_on "${others[1]}" limited >"$TMP/bytes"
same 'above the old limit' "$(<"$TMP/bytes")" $((before + (EACH_MIB << 20)))
volume_clean
