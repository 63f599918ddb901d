# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Three nodes on a LUN that grows under them; after lib.sh and cluster.bash.

# enlarge SIZE : the LUN's backing store, and whatever tells its target of that
enlarge()
{
	truncate -s "$1" "$LAB_DIR/disk-1.img"
	[[ $BACKEND == iscsi ]] || return 0
	# tgtd looks at a backing store when it opens it, and removes no LUN that is in use
	csvlab kill target
	csvlab start target
}

# says WORD CMD… : CMD fails and speaks of WORD
says()
{
	local word=$1
	shift
	! "$@" >"$TMP/out" 2>"$TMP/err" || fail "$* succeeds"
	grep -q -- "$word" "$TMP/err" || fail "$*: '$(cat "$TMP/err")' does not say '$word'"
}

volume_bytes()
{
	echo $(($(node "$1" stat -f -c '%b * %S' "$MNT")))
}

# node N writes a file of its own, larger than the old volume had room for
own_file()
{
	node "$1" dd if="$TMP/data-$1" of="$MNT/new-$1" bs=1M oflag=direct status=none
}

# at_once F : F N for every node at the same time
at_once()
{
	local i rc=0 jobs=()
	for ((i = 1; i <= LAB_NODES; i++)); do
		"$1" "$i" &
		jobs+=($!)
	done
	for i in "${jobs[@]}"; do
		wait "$i" || rc=1
	done
	return "$rc"
}

grow_under_load()
{
	local n m load
	BACKEND=$1
	need jq
	lab_up --nodes 3 --backend "$BACKEND" --size 256M
	says 'enlarge the LUN' node 2 csvadm grow
	same 'the volume' "$(volume_bytes 1)" $((256 << 20))
	node 3 sh -c "while [ ! -e $MNT/stop ]; do echo x >>$MNT/log; mv $MNT/log $MNT/log2; mv $MNT/log2 $MNT/log; done" &
	load=$!
	enlarge 1G
	says 'more than the device' node 3 csvadm grow --size 3G
	says 'made smaller' node 3 csvadm grow --size 100M
	same 'to a part' "$(node 2 csvadm grow --json --size 512M | jq -c '[.old_bytes, .new_bytes]')" \
		"[$((256 << 20)),$((512 << 20))]"
	same 'to all' "$(node 3 csvadm grow --json | jq .new_bytes)" $((1 << 30))
	for n in 1 2 3; do
		same "node $n's view" "$(volume_bytes "$n")" $((1 << 30))
		head -c 200M /dev/urandom >"$TMP/data-$n"
	done
	at_once own_file
	for n in 1 2 3; do
		for m in 1 2 3; do
			node "$n" cmp "$TMP/data-$m" "$MNT/new-$m"
		done
	done
	node 1 touch "$MNT/stop"
	wait "$load" || fail 'the load has failed'
	volume_clean
	fsck.csvfs -n "file:$LAB_DIR/disk-1.img"
}
