# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# csvlab status: asks all members at once, so that one that hangs costs a timeout once.

# node_status N : one line "STATE MEMBERS QUORATE LAN SAN MOUNT…"
node_status()
{
	local state=up members=0 quorate=no out pid k mounts=
	pid=$(prog_pids "n$1" corosync)
	if ! member_pid "n$1" >/dev/null; then
		state=down
	elif [[ -n $pid ]] && is_stopped "${pid%%$'\n'*}"; then
		state=stopped
	elif [[ -n $pid ]]; then
		out=$(enter "n$1" timeout 2 corosync-quorumtool -s 2>/dev/null)
		[[ $out =~ Total\ votes:\ +([0-9]+) ]] && members=${BASH_REMATCH[1]}
		[[ $out =~ Quorate:\ +Yes ]] && quorate=yes
	fi
	for ((k = 1; k <= VOLUMES; k++)); do
		case $state in
		up) mounts+=" $(mount_state "$1" "$(mount_point "$k")")" ;;
		*) mounts+=" $state" ;;
		esac
	done
	echo "$state $members $quorate $(net_state "n$1" lan) $(net_state "n$1" san)$mounts"
}

# target_status : "STATE SAN"
target_status()
{
	local state=down pids
	pids=$(target_pids)
	[[ -z $pids ]] || state=up
	[[ -n $pids ]] && is_stopped "${pids%%$'\n'*}" && state=stopped
	echo "$state $(net_state target san)"
}

cmd_status()
{
	local tmp i json=
	[[ ${1:-} != --json ]] || json=1
	tmp=$(mktemp -d) || exit
	for ((i = 1; i <= NODES; i++)); do
		node_status "$i" >"$tmp/$i" &
	done
	! has_target || target_status >"$tmp/target"
	wait
	if [[ -n $json ]]; then
		status_json "$tmp"
	else
		status_text "$tmp"
	fi
	rm -rf "$tmp"
}

status_text()
{
	local i k f
	printf "lab '%s': %d node(s), backend %s, %s a LUN\n" "$NAME" "$NODES" "$BACKEND" \
		"$(numfmt --to=iec "$SIZE")"
	for ((k = 1; k <= VOLUMES; k++)); do
		echo "  $(mount_point "$k")  $(volume_uri "$k")"
	done
	printf '%-8s%-10s%-9s%-9s%-6s%-6s%s\n' NODE STATE MEMBERS QUORATE LAN SAN MOUNTS
	for ((i = 1; i <= NODES; i++)); do
		read -ra f <"$1/$i"
		printf '%-8s%-10s%-9s%-9s%-6s%-6s%s\n' "n$i" "${f[@]:0:5}" "${f[*]:5}"
	done
	if has_target; then
		read -ra f <"$1/target"
		printf '%-8s%-10s%-9s%-9s%-6s%s\n' target "${f[0]}" - - - "${f[1]}"
	fi
}

status_json()
{
	local i k f sep=''
	printf '{"name":"%s","backend":"%s","size_bytes":%s,"dir":"%s","nodes":[' \
		"$NAME" "$BACKEND" "$SIZE" "$LAB"
	for ((i = 1; i <= NODES; i++)); do
		read -ra f <"$1/$i"
		printf '%s{"id":%d,"name":"n%d","state":"%s","members":%d,"quorate":%s,' \
			"$sep" "$i" "$i" "${f[0]}" "${f[1]}" "$([[ ${f[2]} == yes ]] && echo true || echo false)"
		printf '"lan":{"address":"%s","state":"%s"},"san":{"address":"%s","state":"%s"},"mounts":[' \
			"$LAN_NET.$i" "${f[3]}" "$SAN_NET.$i" "${f[4]}"
		sep=
		for ((k = 1; k <= VOLUMES; k++)); do
			printf '%s{"dir":"%s","state":"%s"}' "$sep" "$(mount_point "$k")" "${f[4 + k]}"
			sep=,
		done
		printf ']}'
		sep=,
	done
	printf '],"volumes":['
	sep=
	for ((k = 1; k <= VOLUMES; k++)); do
		printf '%s{"dir":"%s","uri":"%s"}' "$sep" "$(mount_point "$k")" "$(volume_uri "$k")"
		sep=,
	done
	printf ']'
	if has_target; then
		read -ra f <"$1/target"
		printf ',"target":{"address":"%s","state":"%s","san":"%s"}' "$TARGET_ADDR" "${f[0]}" "${f[1]}"
	fi
	printf '}\n'
}
