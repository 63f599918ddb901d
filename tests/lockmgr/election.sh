#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Members elect one; it dies, is preempted and replaced in seconds; it comes back as a member; the
# role is handed over; a member that leaves in order is not fenced; one that is evicted is.
# timeout: 150
source "$(dirname "$0")/lab.sh"

cluster --nodes 3
for n in 1 2 3; do
	start "$n"
done
for n in 1 2 3; do
	wait_for 10 says "$n" 'coordinator 1 '
done
registered 2 1 2 3 || fail 'not all keys are registered'
never_said 2 become
never_said 3 become
write 2 a
holds 3 a

# the coordinator dies
mark 1 2 3
signal 1 KILL
wait_for 10 says 2 'coordinator 2 epoch 2 address 10.210.1.2'
wait_for 5 says 3 'coordinator 2 epoch 2'
never_said 3 become
registered 3 2 3 || fail 'the key of the dead node is still registered'
write 3 b

# it comes back, as a member
start 1
wait_for 10 says 1 'coordinator 2 epoch 2'
wait_for 5 registered 2 1 2 3
write 1 c
never_said 2 fenced
never_said 3 fenced

# handing over
mark 1 2 3
tell 2 'resign 3'
for n in 1 2 3; do
	wait_for 10 says "$n" 'coordinator 3 epoch 3'
done
same 'times that 3 was told' "$(grep -c '^become' "$TMP/log.3")" 1

# leaving in order: gone, and nobody is fenced for it
mark 1 2 3
tell 1 leave
wait_for 15 says 1 left
wait_for 10 says 3 'gone 1'
if says 3 '.*fencing'; then
	fail 'fenced a node that had left'
fi
registered 3 2 3 || fail 'the key of the node that left is still registered'

# a member that is evicted
mark 2 3
tell 3 'fence 2'
wait_for 10 says 3 'fence 2 ok'
says 3 'gone 2' || fail 'the evicted node was not reported'
wait_for 10 says 2 fenced
same 'times that the node was reported' "$(said 3 | grep -c '^gone 2')" 1
ask 2 'write x' 'wrote x fenced'
holds 3 c
tell 3 leave
wait_for 15 says 3 left
