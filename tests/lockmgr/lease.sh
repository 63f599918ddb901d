#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Devices without reservations: a coordinator that hangs is replaced when its lease and the margin
# have passed, and what it writes when it goes on waits until it has learned that it was fenced.
# Twin: without fencing the late write goes through.
# timeout: 200
source "$(dirname "$0")/lab.sh"

[[ ${2:-file} =~ ^(file|nbd)$ ]] || fail "no backend $2"
cluster --backend "${2:-file}"
OPTS=(--lease-ms 3000 --beat-ms 300 --silence-ms 1500)

freeze()
{
	mark 1 2 3
	ask 1 'late Z' armed
	begin=$(now_ms)
	signal 1 STOP
	wait_for 20 says 2 'coordinator 2 '
	took=$(($(now_ms) - begin))
}

for n in 1 2 3; do
	start "$n" "${OPTS[@]}" --no-fence
done
wait_for 10 says 3 'coordinator 1 '
write 2 a
freeze
signal 1 CONT
wait_for 20 says 1 'late Z ok'
holds 3 Z
for n in 1 2 3; do
	signal "$n" KILL
done

for n in 1 2 3; do
	start "$n" "${OPTS[@]}" --no-courtesy
done
wait_for 20 says 3 'coordinator 1 '
ask 1 status 'status .*fencing=2'
write 2 b
freeze
# the last beat was at most one beat before the signal
((took >= 3000 + 1500 - 300)) || fail "fenced after $took ms already"
signal 1 CONT
wait_for 20 says 1 'late Z fenced'
wait_for 20 says 1 'fenced: '
holds 3 b
write 3 c
never_said 2 fenced
never_said 3 fenced

# the next one dies altogether
mark 3
signal 2 KILL
wait_for 20 says 3 'gone\|coordinator 3'
# one of three is left in the group, but the Corosyncs of all: quorate
wait_for 20 says 3 'coordinator 3 '
write 3 d
