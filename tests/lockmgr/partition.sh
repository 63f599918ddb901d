#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A partition without quorum does not coordinate and fences nobody; the other one fences who left
# and goes on. So does it when a whole node loses power, and when a node's Corosync dies.
# timeout: 200
source "$(dirname "$0")/lab.sh"

cluster --nodes 3
for n in 1 2 3; do
	start "$n"
done
wait_for 10 says 3 'coordinator 1 '
write 3 a

# the coordinator alone is cut off
mark 1 2 3
csvlab cut 1 lan
wait_for 20 says 2 'coordinator 2 epoch 2'
wait_for 20 says 1 'fenced: '
says 1 'step_down' || fail 'it did not stop coordinating'
registered 3 2 3 || fail 'its key is still registered'
ask 1 'write x' 'wrote x fenced'
holds 3 a
never_said 2 fenced
never_said 3 fenced
csvlab heal 1 lan
signal 1 KILL
start 1
wait_for 20 says 1 'coordinator 2 epoch 2'
wait_for 10 says 1 'members 7 quorate'

# its Corosync dies: the same
mark 1 2 3
node 2 pkill -KILL -x corosync
wait_for 20 says 2 step_down
wait_for 20 says 1 'coordinator 1 epoch 3'
wait_for 20 says 2 'fenced: '
csvlab start 2
signal 2 KILL
start 2
wait_for 20 says 2 'coordinator 1 epoch 3'

# two of three lose power: the last one has no quorum, and takes no role; I/O goes on (M6)
mark 1 2 3
csvlab crash 1
wait_for 20 says 2 'coordinator 2 epoch 4'
mark 2 3
csvlab crash 2
wait_for 20 says 3 '.*inquorate'
ask 3 status 'status coordinator=0'
write 3 d
ask 3 status 'status coordinator=0 members=4 quorate=0 .*activity=waiting for quorum'
never_said 3 become
# and when another one comes back, it does
mark 3
csvlab start 2
wait_for 30 says 3 'coordinator 3 '
write 3 e
