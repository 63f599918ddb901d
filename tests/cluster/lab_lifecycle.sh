#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The lab comes up on each backend, is what it says, and leaves nothing behind.
# timeout: 180
source "$(dirname "$0")/../lib.sh"
need iscsi-ls nbdinfo jq lsns

# what a lab could leave on the host
host_state()
{
	cat /proc/self/mounts
	ip -br link
	lsns -n -o NS,TYPE | sort
	find /var/lib/csvlab /csv 2>/dev/null | grep -e "$LAB" -e ^/csv/ || :
}

unchanged()
{
	diff <(echo "$before") <(host_state)
}

lun_is_seen()
{
	case $1 in
	iscsi) node "$2" iscsi-ls -s iscsi://target | grep -q '^Lun:1 *Type:DIRECT_ACCESS (Size:2' ;;
	nbd) same "nbd size" "$(node "$2" nbdinfo --size nbd://target)" $((3 << 30)) ;;
	file) same "file size" "$(node "$2" stat -c %s "$LAB_DIR/disk-1.img")" $((3 << 30)) ;;
	esac
}

before=$(host_state)
for backend in iscsi nbd file; do
	lab_up --no-mount --backend "$backend" --size 3G --nodes 3
	same "quorate nodes" "$(lab_get '[.nodes[] | select(.quorate and .members == 3)] | length')" 3
	for n in 1 2 3; do
		lun_is_seen "$backend" "$n"
	done
	same "SAN MTU" "$(node 2 cat /sys/class/net/san0/mtu)" 9000
	same "host name" "$(node 3 hostname)" n3
	same "exit code" "$(node 1 sh -c 'exit 7' || echo $?)" 7
	same "input" "$(echo through | node 1 cat)" through
	same "directory" "$(cd "$TMP" && node 1 pwd)" "$TMP"
	refuse csvlab up --no-mount 2>"$TMP/err"
	grep -q 'there is a lab' "$TMP/err" || fail "unclear: $(cat "$TMP/err")"
	lab_down
	wait_for 10 unchanged
done

# a jumbo frame gets through whole, and one byte more doesn't
lab_up --no-mount --nodes 1
node 1 ping -q -c 1 -W 2 -M 'do' -s 8972 target
refuse node 1 ping -q -c 1 -W 2 -M 'do' -s 8973 target

# bad arguments are refused by name
for args in '--nodes 0' '--nodes 65' '--backend floppy' '--size many' '--frobnicate 1'; do
	# shellcheck disable=SC2086 # two words
	refuse env CSVLAB_NAME="$LAB-x" "$SRC/tools/csvlab" up $args 2>"$TMP/err"
	grep -qe "${args% *}" "$TMP/err" || fail "unclear: $(cat "$TMP/err")"
done
refuse node 2 true
