#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# `csvlab up` is killed at several points; `down` takes away what it made, and `up` works again.
# timeout: 180
source "$(dirname "$0")/../lib.sh"
root_only
need corosync tgtd lsns

lab_processes()
{
	grep -lzxs "CSVLAB_ID=$1" /proc/[0-9]*/environ || :
}

namespaces()
{
	lsns -n -t net -o NS
}

same_namespaces()
{
	[[ $(namespaces) == "$before" ]]
}

before=$(namespaces)
LAB_DIR=/var/lib/csvlab/$LAB
for point in config hosts switch/anchor n2/anchor n1/corosync.log target/tgtd.log; do
	CSVLAB_NAME=$LAB setsid "$SRC/tools/csvlab" up --no-mount >"$TMP/up.log" 2>&1 &
	up=$!
	wait_for 20 test -e "$LAB_DIR/$point"
	kill -KILL "$up"
	wait "$up" 2>/dev/null || :
	id=$(sed -n 's/^ID=//p' "$LAB_DIR/config")
	[[ -n $id ]] || fail "no id on disk at $point"
	csvlab down
	same "processes after $point" "$(lab_processes "$id")" ''
	[[ ! -e $LAB_DIR ]] || fail "$LAB_DIR is still there after $point"
	# the kernel takes a moment to end a network namespace
	wait_for 10 same_namespaces
done

# killed between making its folder and writing anything
mkdir -p "$LAB_DIR"
csvlab down
[[ ! -e $LAB_DIR ]] || fail "$LAB_DIR is still there"

# one that fails, or is told to end, cleans up by itself
CSVLAB_NAME=$LAB setsid "$SRC/tools/csvlab" up --no-mount >"$TMP/up.log" 2>&1 &
up=$!
wait_for 20 test -e "$LAB_DIR/n1/anchor"
kill -TERM "$up"
refuse wait "$up"
[[ ! -e $LAB_DIR ]] || fail "$LAB_DIR is still there after SIGTERM"

lab_up --no-mount
