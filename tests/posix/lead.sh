#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The thread that takes requests is the one that most of them are for: the service thread while names
# are made and removed, a worker while files are read and written.
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/posix.bash"

# run_ns service|workers : how long they ran so far
run_ns()
{
	local task sum=0 ns
	for task in "/proc/$PID/task"/*; do
		[[ ${task##*/} == "$PID" ]] && [[ $1 == workers ]] && continue
		[[ ${task##*/} != "$PID" ]] && [[ $1 == service ]] && continue
		read -r ns _ <"$task/schedstat"
		sum=$((sum + ns))
	done
	echo "$sum"
}

# shares -n|-i : sets SERVICE and WORKERS to what each ran meanwhile
shares()
{
	local service workers
	service=$(run_ns service) workers=$(run_ns workers)
	program lead "$1"
	SERVICE=$(($(run_ns service) - service)) WORKERS=$(($(run_ns workers) - workers))
}

single_up 1G
PID=$(pgrep -f "mount.csvfs file:$DEV")
program lead
for _ in 1 2; do
	shares -n
	echo "names: workers $WORKERS, service $SERVICE"
	((WORKERS * 2 < SERVICE)) || fail "names: the workers ran for $WORKERS ns, the service thread $SERVICE"
	shares -i
	((SERVICE < WORKERS)) || fail "I/O: the service thread ran for $SERVICE ns, the workers $WORKERS"
done
single_clean
