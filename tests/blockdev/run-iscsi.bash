#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The iSCSI backend against a tgtd of our own.
#
#   run-iscsi.bash CONFORMANCE RESTART thick|thin|4k|chap|restart|keys|hang|reset|identity|errors
#
# thick, thin, 4k, chap: the conformance suite against such a LUN
# restart: tgtd is killed under a verifying load and started again, with a larger LUN the last time
# keys: the same with reservations, which tgtd forgets: each queue's gate registers again
# hang: tgtd stops answering for longer than the keepalive allows
# reset: other initiators reset the LUN under a verifying load
# identity: another disk appears under the LUN's number, and must be left alone
# errors: what people read when it does not work
set -euo pipefail

conformance=$1
restart=$2
what=$3
target=iqn.2026-01.org.example:disk
command -v tgtd tgtadm >/dev/null || {
	echo "skipped: needs tgtd and tgtadm (package tgt)"
	exit 77
}
tmp=$(mktemp -d "${TEST_TMPDIR:-/var/tmp}/csvfs-iscsi.XXXXXX")
export TGT_IPC_SOCKET=$tmp/ipc
tgtd_pid=
load_pid=

cleanup()
{
	local rc=$?
	trap - EXIT
	[[ -z $load_pid ]] || kill -9 "$load_pid" 2>/dev/null || true
	[[ -z $tgtd_pid ]] || kill -9 "$tgtd_pid" 2>/dev/null || true
	wait 2>/dev/null || true
	if [[ $rc != 0 && $rc != 77 ]]; then
		grep -v '^ops' "$tmp/load.log" 2>/dev/null | tail -30 >&2 || true
		tail -1 "$tmp/load.log" >&2 2>/dev/null || true
	fi
	rm -rf --one-file-system "$tmp"
	exit "$rc"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail()
{
	echo "failed: $*" >&2
	exit 1
}

# wait_for SECONDS COMMAND...: until it succeeds
wait_for()
{
	local until=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		((SECONDS < until)) || fail "waited in vain for: $*"
		sleep 0.05
	done
}

listens() { (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

free_port()
{
	local p
	while :; do
		p=$((20000 + RANDOM % 12000))
		listens "$p" || break
	done
	echo "$p"
}

port=$(free_port)
uri=iscsi://127.0.0.1:$port/$target/1
admin() { tgtadm -C 1 --lld iscsi "$@"; }

# Whatever a test needs in addition goes in between start_tgtd and open_target.
start_tgtd()
{
	tgtd -f -C 1 --iscsi "portal=127.0.0.1:$port" >>"$tmp/tgtd.log" 2>&1 &
	tgtd_pid=$!
	wait_for 10 admin --mode sys --op show
}

# add_lun [PARAMS] [BLOCK_BYTES]
add_lun()
{
	admin --mode logicalunit --op new --tid 1 --lun 1 -b "$tmp/disk" --blocksize "${2:-512}"
	[[ -z ${1:-} ]] || admin --mode logicalunit --op update --tid 1 --lun 1 --params "$1"
}

start_target()
{
	start_tgtd
	admin --mode target --op new --tid 1 -T "$target"
	add_lun "$@"
	admin --mode target --op bind --tid 1 -I ALL
}

stop_target()
{
	kill -9 "$tgtd_pid"
	wait "$tgtd_pid" 2>/dev/null || true
	tgtd_pid=
	rm -f "$tmp"/ipc*
}

# ---- the verifying load ----

start_load()
{
	"$restart" "$@" >>"$tmp/load.log" 2>&1 &
	load_pid=$!
	wait_for 20 load_did 100
}

ops() { grep '^ops' "$tmp/load.log" | tail -1 | cut -d' ' -f2; }
load_did() { [[ $(ops) -ge $1 ]]; }
# The load gets on by N requests more.
load_moves() { wait_for 30 load_did $(($(ops) + $1)); }
load_says() { wait_for "$2" grep -q "$1" "$tmp/load.log"; }
forget_load_log() { : >"$tmp/load.log"; }

end_load()
{
	local rc=0
	kill -TERM "$load_pid"
	wait "$load_pid" || rc=$?
	load_pid=
	[[ $rc == 0 ]] || fail "the load ended with $rc"
	grep -q '^all right' "$tmp/load.log" || fail "the load says nothing"
}


# ---- errors ----

# refused PATTERN URI [ARGS]: opening fails with a sentence that has PATTERN and no password
refused()
{
	local pattern=$1 out
	shift
	out=$("$restart" "$@" 1 2>&1) && fail "$* could be opened"
	grep -q "$pattern" <<<"$out" || fail "$*: no \"$pattern\" in: $out"
	! grep -q 'wrongpass' <<<"$out" || fail "$*: a password in: $out"
}

truncate -s 64M "$tmp/disk"
case $what in
thick)
	start_target
	"$conformance" --require flush,fua,zeroes,pr,global "$uri"
	"$conformance" --require flush,fua,zeroes,pr,global "stats|fault|crash|$uri"
	;;
thin)
	start_target thin_provisioning=1
	"$conformance" --require flush,fua,discard,zeroes,cheap,pr,global "$uri"
	;;
4k)
	start_target thin_provisioning=1 4096
	"$conformance" --require flush,fua,discard,zeroes,cheap,pr,global "$uri"
	;;
chap)
	start_target
	admin --mode account --op new --user joe --password verysecret12
	admin --mode account --op bind --tid 1 --user joe
	"$conformance" "iscsi://joe%verysecret12@${uri#iscsi://}"
	(umask 077 && echo 'joe%verysecret12' >"$tmp/auth")
	"$conformance" --only sizes --auth-file "$tmp/auth" "$uri"
	refused 'user "joe"' "iscsi://joe%wrongpass1234@${uri#iscsi://}"
	refused 'user "eve"' "iscsi://eve%wrongpass1234@${uri#iscsi://}"
	refused 'CHAP' "$uri"
	;;
restart)
	start_target thin_provisioning=1
	start_load -q 3 "$uri" 120
	for _ in 1 2; do
		load_moves 500
		stop_target
		load_says 'no path yet' 10
		forget_load_log
		start_target thin_provisioning=1
		load_says 'path is back' 20
		load_moves 500
	done
	stop_target
	load_says 'no path yet' 10
	truncate -s 96M "$tmp/disk"
	start_target thin_provisioning=1
	load_says 'has 100663296 bytes now' 20
	load_moves 500
	end_load
	;;
keys)
	start_target
	start_load -g "$uri" 120
	load_says 'registered queue 1' 5
	load_moves 200
	"$conformance" --only sizes "$uri" >"$tmp/outsider.log" 2>&1 && fail "who is not registered could write"
	grep -q 'fenced' "$tmp/outsider.log" || fail "no word of fencing"
	stop_target
	load_says 'no path yet' 10
	forget_load_log
	start_target
	load_says 'registered queue 0' 20
	load_says 'registered queue 1' 20
	load_moves 500
	end_load
	;;
hang)
	start_target
	start_load "$uri" 120
	load_moves 200
	kill -STOP "$tgtd_pid"
	load_says 'path lost' 10
	load_says 'no path yet' 10
	kill -CONT "$tgtd_pid"
	load_says 'path is back' 20
	load_moves 500
	end_load
	;;
reset)
	start_target
	start_load -b 20 -m 32 "$uri" 120
	for _ in 1 2 3 4 5 6; do
		"$conformance" --only pr_reset "$uri" >/dev/null
		load_moves 100
	done
	grep -q 'reports a reset' "$tmp/load.log" || fail "the load saw no reset"
	end_load
	;;
identity)
	start_target scsi_id=first
	start_load "$uri" 120
	load_moves 200
	stop_target
	load_says 'no path yet' 10
	mv "$tmp/disk" "$tmp/first"
	truncate -s 64M "$tmp/disk"
	start_target scsi_id=second
	load_says 'is another disk now' 20
	stop_target
	[[ $(stat -c %b "$tmp/disk") == 0 ]] || fail "something was written to the other disk"
	mv "$tmp/first" "$tmp/disk"
	start_target scsi_id=first
	load_says 'path is back' 20
	load_moves 200
	end_load
	;;
errors)
	start_target
	refused 'no host "nosuchhost.invalid"' "iscsi://nosuchhost.invalid/$target/1"
	refused 'Connection refused' "iscsi://127.0.0.1:$(free_port)/$target/1"
	refused 'there is no target iqn.2026-01.org.example:none' \
		"iscsi://127.0.0.1:$port/iqn.2026-01.org.example:none/1"
	refused 'has no LUN 7' "iscsi://127.0.0.1:$port/$target/7"
	refused 'no disk\|no LUN' "iscsi://127.0.0.1:$port/$target/0"
	refused 'LUN is missing' "iscsi://127.0.0.1:$port/$target"
	refused 'is no LUN' "iscsi://127.0.0.1:$port/$target/99999"
	refused 'without a password' "iscsi://joe@127.0.0.1:$port/$target/1"
	admin --mode target --op unbind --tid 1 -I ALL
	refused 'there is no target\|refuses initiator' "$uri"
	;;
*)
	echo "unknown: $what" >&2
	exit 2
	;;
esac
echo "ok: $what"
