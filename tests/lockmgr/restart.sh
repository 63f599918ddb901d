#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The target restarts and has forgotten every key: all members register again, reserve again, and
# their I/O goes on; nobody is fenced. A node that loses the storage network for a while likewise.
# timeout: 150
source "$(dirname "$0")/lab.sh"

cluster --nodes 3
for n in 1 2 3; do
	start "$n"
done
wait_for 10 says 3 'coordinator 1 '
for round in a b; do
	write 2 "$round"
	csvlab kill target
	tell 3 "write ${round^}"
	csvlab start target
	wait_for 30 says 3 "wrote ${round^} ok"
	wait_for 20 registered 1 1 2 3
	ask 1 keys 'keys .* type [57]'
	holds 1 "${round^}"
done

csvlab cut 3 san
tell 3 'write c'
wait_for 10 node 1 true
csvlab heal 3 san
wait_for 40 says 3 'wrote c ok'
holds 2 c
for n in 1 2 3; do
	never_said "$n" fenced
	never_said "$n" step_down
done

# whoever comes next finds no key that a lost session left behind
for n in 3 2 1; do
	tell "$n" leave
	wait_for 15 says "$n" left
done
start 1
wait_for 10 registered 1 1
