#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A coordinator that hangs, though its Corosync runs, is found by its beat, fenced and replaced. What
# it writes when it goes on is refused by the LUN itself, also when the target has been restarted
# since and has forgotten every key. Twin: without fencing the late write goes through.
# timeout: 200
source "$(dirname "$0")/lab.sh"

freeze()
{
	mark 1 2 3
	ask 1 'late Z' armed
	signal 1 STOP
	wait_for 15 says 2 'coordinator 2 '
	wait_for 5 says 3 'coordinator 2 '
}

cluster --nodes 3

# The twin first: it leaves nothing behind that could refuse the real thing.
for n in 1 2 3; do
	start "$n" --silence-ms 2000 --no-fence
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

for after in nothing restart; do
	# no courtesy: it does not stop because the others say so; only the LUN can stop it
	for n in 1 2 3; do
		start "$n" --silence-ms 2000 --no-courtesy
	done
	wait_for 10 says 3 'coordinator 1 '
	write 2 b
	freeze
	registered 3 2 3 || fail 'its key is still registered'
	if [[ $after == restart ]]; then
		csvlab kill target
		csvlab start target
		wait_for 20 registered 3 2 3
	fi
	signal 1 CONT
	wait_for 20 says 1 'late Z fenced'
	wait_for 20 says 1 'fenced: '
	holds 3 b
	registered 3 2 3 || fail 'the fenced node is registered'
	write 3 c
	never_said 2 fenced
	never_said 3 fenced
	for n in 1 2 3; do
		signal "$n" KILL
	done
done

# A member that hangs keeps nobody waiting for its word longer than its silence lasts.
for n in 1 2 3; do
	start "$n" --silence-ms 2000
done
wait_for 10 says 3 'coordinator 1 '
mark 1 2 3
signal 3 STOP
signal 1 KILL
wait_for 15 says 2 'coordinator 2 '
registered 2 2 || fail 'the hanging member is still registered'
signal 3 CONT
wait_for 15 says 3 'fenced: '
refuse says 3 become
