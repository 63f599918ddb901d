# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Sourced by the tests of lockmgr: members (lmtest.c) on real nodes with a real Corosync and target,
# without a file system. $1 of a test is the program lmtest.

LMTEST=${1:?the program lmtest}
# shellcheck source=tests/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

declare -A PID KEY SEEN JOB

# cluster [csvlab up's options] : a lab without mounts; sets URI
cluster()
{
	lab_up --no-mount --size 64M "$@" >"$TMP/up.log" || {
		cat "$TMP/up.log" >&2
		return 1
	}
	URI=$(sed -n 's/.* node(s), //p' "$TMP/up.log")
	cleanup 'show_logs'
	cleanup let_go_all
}

let_go_all()
{
	let_go "${!JOB[@]}"
}

# let_go N… : what started the member goes on: nsenter stops itself when its child is stopped, and
# nobody else continues it
let_go()
{
	local n pid
	for n; do
		for pid in "${JOB[$n]}" $(pgrep -P "${JOB[$n]}"); do
			kill -CONT "$pid" 2>/dev/null || true
		done
	done
}

show_logs()
{
	# shellcheck disable=SC2154 # of _on_exit
	((rc == 0 || rc == 77)) || tail -n 60 "$TMP"/log.* >&2
}

# start N [OPTION…] : a member on node N; sets PID (in the node) and KEY
start()
{
	local n=$1
	shift
	rm -f "$TMP/in.$n"
	mkfifo "$TMP/in.$n"
	touch "$TMP/log.$n"
	mark "$n"
	# Read and write, so that the end of one writer is not the end of the input.
	node "$n" env ASAN_OPTIONS="log_path=$TMP/sanitizer" \
		UBSAN_OPTIONS="print_stacktrace=1:log_path=$TMP/sanitizer" \
		"$LMTEST" "$@" "$URI" <>"$TMP/in.$n" >>"$TMP/log.$n" 2>&1 &
	JOB[$n]=$!
	wait_for 35 says "$n" joined
	PID[$n]=$(field "$n" 's/^joined .* pid \([0-9]*\) .*/\1/p')
	KEY[$n]=$(field "$n" 's/^joined .* key //p')
}

# tell N LINE : a command
tell()
{
	SEEN[$1]=$(wc -l <"$TMP/log.$1")
	echo "$2" >"$TMP/in.$1"
}

# mark N… : what they said so far does not count for says
mark()
{
	local n
	for n; do
		SEEN[$n]=$(wc -l <"$TMP/log.$n")
	done
}

# said N : its lines since the last tell or mark
said()
{
	tail -n "+$((SEEN[$1] + 1))" "$TMP/log.$1"
}

# says N REGEX : in a line since then, from its beginning
says()
{
	grep -q "^$2" <(said "$1")
}

field()
{
	said "$1" | sed -n "$2" | tail -n 1
}

# ask N LINE REGEX : tells it, and waits for an answer
ask()
{
	tell "$1" "$2"
	wait_for 20 says "$1" "$3"
}

# write N C : must succeed
write()
{
	ask "$1" "write $2" "wrote $2 ok"
}

# holds N C : what the block holds, as N reads it
holds()
{
	ask "$1" read 'read '
	same 'the block' "$(field "$1" 's/^read //p')" "$2"
}

# registered N M… : the nodes whose present keys node N sees registered are exactly M…
registered()
{
	local n=$1 m want=''
	shift
	ask "$n" keys 'keys '
	for m; do
		want+="$m/${KEY[$m]} "
	done
	[[ $(field "$n" 's/^keys//p' | grep -o '[0-9]*/[0-9a-f]*' | sort -u | tr '\n' ' ') == "$want" ]]
}

# signal N SIG : to its member alone; Corosync goes on
signal()
{
	node "$1" kill "-$2" "${PID[$1]}"
	[[ $2 != CONT ]] || let_go "$1"
}

# never_said N REGEX : not in all of its log
never_said()
{
	if grep "^$2" "$TMP/log.$1" >&2; then
		fail "n$1 should not have said that"
	fi
}
