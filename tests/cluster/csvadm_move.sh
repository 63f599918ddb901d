#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# csvadm coordinator move hands the role over while all nodes work, and no program sees an error.
# timeout: 180
source "$(dirname "$0")/../lib.sh"
need jq

# coordinator N : who coordinates as node N sees it
coordinator()
{
	node "$1" csvadm coordinator --json | jq .node
}

all_see()
{
	local n
	for n in 1 2 3; do
		[[ $(coordinator "$n") == "$1" ]] || return 1
	done
}

lab_up --nodes 3
from=$(coordinator 1)
wait_for 10 all_see "$from"
to=$((from % 3 + 1))
third=$((to % 3 + 1))

# only the one that has the role can give it, and who does stands in the message
refuse node "$to" csvadm coordinator move >"$TMP/out" 2>&1
grep -q "n$from (node $from) coordinates" "$TMP/out" || fail "$(cat "$TMP/out")"

# every node makes files, writes them, renames them, until it is told to stop
# shellcheck disable=SC2016 # for the shell in the node
work='cd /csv/lab && mkdir d$1 && i=0
	while [ ! -e stop ]; do
		i=$((i + 1))
		echo "$1 $i" >d$1/new && mv d$1/new d$1/f$i || exit 1
	done
	echo $i'
for n in 1 2 3; do
	node "$n" bash -c "$work" - "$n" >"$TMP/work$n" 2>&1 &
	jobs[n]=$!
done
wait_for 20 node "$third" test -e "/csv/lab/d$third/f5"

node "$from" csvadm coordinator move "n$to" >"$TMP/out" || fail "the move to n$to: $(cat "$TMP/out")"
grep -q "n$to (node $to) coordinates now" "$TMP/out" || fail "$(cat "$TMP/out")"
wait_for 10 all_see "$to"
epoch=$(node "$to" csvadm coordinator --json | jq .epoch)

# to whoever is next, and as JSON
node "$to" csvadm coordinator move --json >"$TMP/moved" || fail 'the second move'
jq -e --argjson to "$to" --argjson epoch "$epoch" '.node != $to and .epoch > $epoch and .took_ms > 0' \
	"$TMP/moved" >/dev/null || fail "$(cat "$TMP/moved")"
wait_for 10 all_see "$(jq .node "$TMP/moved")"

node 1 touch /csv/lab/stop
for n in 1 2 3; do
	wait "${jobs[n]}" || fail "node $n saw an error: $(cat "$TMP/work$n")"
	count=$(cat "$TMP/work$n")
	other=$((n % 3 + 1))
	same "files of node $n on node $other" "$(node "$other" sh -c "ls /csv/lab/d$n | wc -l")" "$count"
	same "the last of them" "$(node "$other" cat "/csv/lab/d$n/f$count")" "$n $count"
done
