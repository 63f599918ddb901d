# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Members of a lab as processes.
#
# Each member (switch, target, n1 …) is a machine of its own: network, mount, process and host name
# namespaces, held by one process, the *anchor*, which is pid 1 in there. Invariants:
#  L1  Killing the anchor ends the member: the kernel kills every process of the pid namespace, and
#      with the last one go its mounts and interfaces.
#  L2  $LAB/MEMBER/anchor holds "pid starttime" and exists only once the member's insides are ready.
#      A pid is used only while its start time matches.
#  L3  Every process of a lab that is not inside a member has CSVLAB_ID=<id> in its environment, and
#      the id is on disk before the first process starts. So `down` finds them all, also after
#      csvlab was killed at any point.

# start time of a process in clock ticks since boot: field 22 of /proc/PID/stat
proc_start()
{
	local stat
	{ stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
	# the name in brackets may hold blanks: count from behind it
	read -ra stat <<<"${stat##*) }"
	[[ ${stat[0]} != [ZX] ]] || return 1
	echo "${stat[19]}"
}

# member_pid MEMBER : prints the anchor's pid; fails when the member is not running
member_pid()
{
	local pid start
	{ read -r pid start <"$LAB/$1/anchor"; } 2>/dev/null || return 1
	[[ -n $start && $(proc_start "$pid") == "$start" ]] || return 1
	echo "$pid"
}

# enter MEMBER CMD… : runs CMD inside, as a child that dies with the caller
enter()
{
	local pid
	pid=$(member_pid "$1") || return 126
	shift
	nsenter -t "$pid" -m -u -n -p -- "$@"
}

# in_net MEMBER CMD… : runs CMD with the member's network only; cheaper, and sees host files
in_net()
{
	local pid
	pid=$(member_pid "$1") || return 126
	shift
	nsenter -t "$pid" -n -- "$@"
}

# spawn MEMBER LOG CMD… : starts a daemon inside; it belongs to the member's pid 1
spawn()
{
	local member=$1 log=$2
	shift 2
	enter "$member" setsid -f "$@" </dev/null >>"$log" 2>&1
}

# prog_pids MEMBER PROGRAM : pids (as seen from here) of a program inside a member
prog_pids()
{
	local ns pid
	pid=$(member_pid "$1") || return 1
	ns=$(readlink "/proc/$pid/ns/pid") || return 1
	find /proc -mindepth 2 -maxdepth 2 -name exe -lname "*/$2*" -printf '%h\n' 2>/dev/null |
		while read -r proc; do
			[[ $(readlink "$proc/ns/pid") == "$ns" ]] && echo "${proc#/proc/}"
		done
	return 0
}

# is_stopped PID
is_stopped()
{
	local stat
	{ stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
	[[ ${stat##*) } == T* ]]
}

# anchor_start MEMBER : begins the member; wait for it with anchor_wait
anchor_start()
{
	rm -f "$LAB/$1/anchor"
	setsid -f unshare --net --mount --uts --pid --fork --kill-child -- \
		"$CSVLAB" __anchor "$LAB" "$1" </dev/null >"$LAB/$1/anchor.log" 2>&1 9>&-
}

anchor_wait()
{
	wait_until 20 anchor_settled "$1" && member_pid "$1" >/dev/null || {
		cat "$LAB/$1/anchor.log" >&2
		die "$1 did not start"
	}
}

# ready, or failed: an anchor says nothing unless something is wrong
anchor_settled()
{
	member_pid "$1" >/dev/null || [[ -s $LAB/$1/anchor.log ]]
}

# anchor_main MEMBER : what pid 1 of a member does. Runs inside the new namespaces.
anchor_main()
{
	local member=$1 dir=$LAB/$1 self stat
	# /proc is still the outer one: it shows the pid that others know us by
	read -r self stat </proc/self/stat
	: "$stat"
	stat=$(proc_start "$self") || exit
	mount --make-rprivate / && mount -t proc proc /proc && mount -t sysfs sysfs /sys || exit
	mount -t fusectl fusectl /sys/fs/fuse/connections 2>/dev/null
	mount -t tmpfs -o mode=755 tmpfs /run && mount -t tmpfs -o mode=1777 tmpfs /dev/shm || exit
	mkdir -p /run/lock /run/tgtd
	printf '%s\n' "$member" >/proc/sys/kernel/hostname
	printf '1' >/proc/sys/net/ipv6/conf/all/disable_ipv6 2>/dev/null
	ip link set lo up || exit
	if [[ -d $dir/etc ]]; then
		mount --bind "$dir/etc" /etc/corosync || exit
		[[ ! -e /etc/hosts ]] || mount --bind "$LAB/hosts" /etc/hosts || exit
		mount -t tmpfs -o mode=755 tmpfs /csv || exit
		# so that `mount -t csvfs` finds its helper; a kernel without overlay does without
		mount -t overlay -o "ro,lowerdir=$LAB/bin:/usr/sbin" csvlab /usr/sbin 2>/dev/null
	fi
	cd / || exit
	printf '%s %s\n' "$self" "$stat" >"$dir/anchor.new" && mv "$dir/anchor.new" "$dir/anchor" || exit
	# reaps whatever loses its parent; only the anchor's death ends it
	trap '' HUP INT TERM
	while :; do
		sleep infinity &
		wait
	done
}

# anchor_kill MEMBER : at once, with all that is in it (L1)
anchor_kill()
{
	local pid
	pid=$(member_pid "$1") || return 0
	kill -KILL "$pid" 2>/dev/null
	wait_until 20 gone "$pid" || die "$1 does not die (pid $pid)"
	rm -f "$LAB/$1/anchor"
}

gone()
{
	! proc_start "$1" >/dev/null
}

# kill_lab ID : ends every process that carries the lab's mark (L3), and with them all members
kill_lab()
{
	wait_until 30 lab_is_dead "$1"
}

lab_is_dead()
{
	local files pids
	files=$(grep -lzxs "CSVLAB_ID=$1" /proc/[0-9]*/environ)
	pids=$(grep -o '[0-9]*' <<<"$files" | grep -vx "$$")
	[[ -n $pids ]] || return 0
	# shellcheck disable=SC2086 # a list of numbers
	kill -KILL $pids 2>/dev/null
	return 1
}
