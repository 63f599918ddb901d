# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A node of the lab: its Corosync and its mounts.

# mount_point K : /csv/lab, /csv/lab2 …
mount_point()
{
	(($1 == 1)) && echo /csv/lab || echo "/csv/lab$1"
}

# node_config N : everything a node reads, written before it starts
node_config()
{
	local i
	mkdir -p "$LAB/n$1/etc" "$LAB/n$1/corosync" || return
	{
		cat <<-END
			totem {
			    version: 2
			    cluster_name: csvlab
			    transport: knet
			    crypto_cipher: none
			    crypto_hash: none
			    token: $TOKEN_MS
			}
			system {
			    state_dir: $LAB/n$1/corosync
			    allow_knet_handle_fallback: yes
			}
			quorum {
			    provider: corosync_votequorum
			    expected_votes: $NODES
			}
			logging {
			    to_stderr: no
			    to_syslog: no
			    to_logfile: yes
			    logfile: $LAB/n$1/corosync.log
			    timestamp: hires
			}
			nodelist {
		END
		for ((i = 1; i <= NODES; i++)); do
			cat <<-END
				    node {
				        nodeid: $i
				        name: n$i
				        ring0_addr: $LAN_NET.$i
				    }
			END
		done
		echo '}'
	} >"$LAB/n$1/etc/corosync.conf"
}

# node_up N : starts what is missing of a node up to its Corosync; doesn't wait for quorum
node_up()
{
	member_pid "n$1" >/dev/null || {
		anchor_start "n$1"
		anchor_wait "n$1"
	}
	node_cables "$1"
	[[ -n $(prog_pids "n$1" corosync) ]] ||
		spawn "n$1" "$LAB/n$1/corosync.out" corosync -f
}

# node_cables N : those that are missing
node_cables()
{
	[[ $(net_state "n$1" lan) != none ]] || cable "n$1" lan "$LAN_NET.$1" || die "n$1: no cable to lan"
	[[ $(net_state "n$1" san) != none ]] || cable "n$1" san "$SAN_NET.$1" || die "n$1: no cable to san"
}

# node_sees N COUNT : the node's Corosync has quorum, with at least COUNT members
node_sees()
{
	local out
	out=$(enter "n$1" timeout 2 corosync-quorumtool -s 2>/dev/null)
	[[ $out =~ Quorate:\ +Yes && $out =~ Total\ votes:\ +([0-9]+) ]] && ((BASH_REMATCH[1] >= $2))
}

# node_wait_quorum N COUNT
node_wait_quorum()
{
	wait_until 40 node_sees "$1" "$2" && return
	tail -n 15 "$LAB/n$1/corosync.log" "$LAB/n$1/corosync.out" >&2
	die "n$1: no quorum of $2"
}

# node_run N CMD… : a program of ours inside a node, with the environment that they all get
node_run()
{
	local n=$1
	shift
	enter "n$n" env -u CSVLAB_ID PATH="$LAB/bin:$PATH" \
		ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}log_path=$LAB/n$n/sanitizer" \
		UBSAN_OPTIONS="${UBSAN_OPTIONS:+$UBSAN_OPTIONS:}print_stacktrace=1:log_path=$LAB/n$n/sanitizer" "$@"
}

node_format()
{
	local k
	for ((k = 1; k <= VOLUMES; k++)); do
		node_run 1 timeout 120 mkfs.csvfs --label "lab$k" --key-file "$LAB/key-$k" \
			"$(volume_uri "$k")" </dev/null >>"$LAB/mkfs.log" 2>&1 && continue
		cat "$LAB/mkfs.log" >&2
		die "mkfs.csvfs failed on $(volume_uri "$k")"
	done
}

# node_mount N : mounts what is not mounted, and clears away what a killed mount left
node_mount()
{
	local dir k log=$LAB/n$1/mount.log opts
	for ((k = 1; k <= VOLUMES; k++)); do
		dir=$(mount_point "$k")
		case $(mount_state "$1" "$dir") in
		mounted | hung) continue ;;
		dead) enter "n$1" umount -l "$dir" ;;
		esac
		enter "n$1" mkdir -p "$dir" || die "n$1: no directory $dir"
		opts=key=$LAB/key-$k${MOUNT_OPTS:+,$MOUNT_OPTS}
		node_run "$1" timeout 90 mount.csvfs "$(volume_uri "$k")" "$dir" -o "$opts" \
			</dev/null >>"$log" 2>&1 && continue
		tail -n 20 "$log" >&2
		die "n$1: mount.csvfs failed"
	done
}

# mount_state N DIR : mounted, dead (the kernel's part is left over), hung or none
mount_state()
{
	local rc
	enter "n$1" grep -q " $2 " /proc/mounts || {
		echo none
		return
	}
	enter "n$1" timeout -k 1 3 stat -f "$2" >/dev/null 2>&1
	rc=$?
	case $rc in
	0) echo mounted ;;
	124 | 137) echo hung ;;
	*) echo dead ;;
	esac
}

# node_kill N : SIGKILL to the mount processes alone
node_kill()
{
	local pid pids
	pids=$(prog_pids "n$1" mount.csvfs)
	[[ -n $pids ]] || die "n$1 runs no mount.csvfs"
	# shellcheck disable=SC2086 # a list of numbers
	kill -KILL $pids
	for pid in $pids; do
		wait_until 20 gone "$pid" || die "pid $pid does not die"
	done
}

# member_crash MEMBER : as if its power failed. The cables go first: the kernel would otherwise
# close its connections properly, which a machine without power doesn't do.
member_crash()
{
	local net
	for net in lan san; do
		[[ $(net_state "$1" "$net") == none ]] || printf 'link set %s nomaster\n' "$1-$net"
	done | in_net switch ip -batch -
	anchor_kill "$1"
	for net in lan san; do
		in_net switch ip link del "$1-$net" 2>/dev/null
	done
	return 0
}

# member_signal MEMBER SIGNAL : to all of its processes at once; the kernel leaves out pid 1 and
# the sender
member_signal()
{
	enter "$1" bash -c "kill -$2 -1" || die "$1 is not running"
}
