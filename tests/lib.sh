# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Sourced by every test script: `source "$(dirname "$0")/../lib.sh"`. See tests/README.md.
#
# A script ends 0 = passed, 77 = skipped, else failed. An unexpected failure of any command ends it
# (set -e) and says where.

set -Eeuo pipefail
shopt -s inherit_errexit

SRC=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")
# shellcheck source=tools/lab/common.sh
source "$SRC/tools/lab/common.sh"
BUILD=$(build_dir)
export CSVFS_BUILD=$BUILD

TEST=$(basename "$0" .sh)
# /var/tmp and not /tmp: the devices of tests want O_DIRECT, which a tmpfs may not have
TMP=$(mktemp -d "${TEST_TMPDIR:-/var/tmp}/$TEST.XXXXXX")
LAB=${TEST_LAB:-t$$-${TEST//[^a-z0-9]/}}
LAB_DIR=
LAB_NODES=

CLEANUP=()

_on_err()
{
	local rc=$?
	echo "$TEST: line ${BASH_LINENO[0]}: '$BASH_COMMAND' ended $rc" >&2
}

_on_exit()
{
	local rc=$? i
	trap - ERR
	trap '' INT TERM
	set +e
	# what the test added last goes first
	for ((i = ${#CLEANUP[@]} - 1; i >= 0; i--)); do
		eval "${CLEANUP[i]}"
	done
	if [[ -n $LAB_DIR ]]; then
		((rc == 0 || rc == 77)) || csvlab logs >&2
		lab_down || rc=1
	fi
	_umount_all
	_sanitizer_reports "$TMP" || rc=1
	rm -rf --one-file-system "$TMP"
	exit "$rc"
}
trap _on_err ERR
trap _on_exit EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

link_programs "$TMP/bin"
export PATH="$TMP/bin:$PATH"

# nothing below $TMP may stay mounted: the last mounted goes first
_umount_all()
{
	local dir
	awk -v t="$TMP/" 'index($2, t) == 1 { print $2 }' /proc/self/mounts | tac |
		while read -r dir; do
			umount -l "$dir"
		done
}

# _sanitizer_reports DIR… : shows what daemons reported; fails when there is anything
_sanitizer_reports()
{
	local dir report rc=0
	for dir; do
		for report in "$dir"/sanitizer.*; do
			[[ -s $report ]] || continue
			echo "$TEST: $report:" >&2
			head -n 60 "$report" >&2
			rc=1
		done
	done
	return "$rc"
}

# cleanup COMMAND : runs at the end, whatever happens; last added, first run
cleanup()
{
	CLEANUP+=("$1")
}

fail()
{
	echo "$TEST: line ${BASH_LINENO[0]}: $*" >&2
	exit 1
}

skip()
{
	echo "SKIP: $*"
	exit 77
}

# need PROGRAM… : skips when one is not installed
need()
{
	local prog
	for prog; do
		command -v "$prog" >/dev/null || skip "$prog is not installed"
	done
}

root_only()
{
	((EUID == 0)) || skip 'must run as root'
}

# wait_for SECONDS CMD… : until CMD succeeds; fails the test when SECONDS are over. The last
# try's output shows on failure.
wait_for()
{
	local secs=$1 end out
	end=$(($(now_ms) + secs * 1000))
	shift
	until out=$("$@" 2>&1); do
		if (($(now_ms) >= end)); then
			echo "$out" >&2
			fail "not within $secs s: $*"
		fi
		sleep 0.05
	done
}

# refuse CMD… : CMD must fail
refuse()
{
	if "$@"; then
		fail "should have failed: $*"
	fi
}

# same WHAT GOT WANTED
same()
{
	[[ $2 == "$3" ]] || fail "$1 is '$2', should be '$3'"
}

# ---- the lab

csvlab()
{
	CSVLAB_NAME=$LAB "$SRC/tools/csvlab" "$@"
}

# lab_up [csvlab up's options] : a lab of the test's own; taken down at the end
lab_up()
{
	root_only
	need corosync ip nsenter
	LAB_DIR=/var/lib/csvlab/$LAB
	csvlab up "$@"
	LAB_NODES=$(sed -n 's/^NODES=//p' "$LAB_DIR/config")
}

# lab_down : also fails when a sanitizer reported anything in the lab
lab_down()
{
	local bad=0
	[[ -n $LAB_DIR ]] || return 0
	_sanitizer_reports "$LAB_DIR"/* || bad=1
	if [[ -d $LAB_DIR ]]; then
		csvlab down || bad=1
	fi
	LAB_DIR=
	return "$bad"
}

# node N CMD… : runs CMD inside node N (or `target`)
node()
{
	local n=$1
	shift
	csvlab exec "$n" -- "$@"
}

# on_all FUNCTION|CMD… : CMD inside all nodes at the same time; fails when one fails
on_all()
{
	local i rc=0 jobs=()
	for ((i = 1; i <= LAB_NODES; i++)); do
		node "$i" "$@" &
		jobs+=($!)
	done
	for i in "${jobs[@]}"; do
		wait "$i" || rc=1
	done
	return "$rc"
}

# lab_get JQ-FILTER : a value out of csvlab status
lab_get()
{
	csvlab status --json | jq -r "$1"
}

# san_bytes N : what node N has sent and received on its storage network, by the kernel's counters
san_bytes()
{
	# shellcheck disable=SC2016 # for the shell in there
	node "$1" sh -c 'cd /sys/class/net/san0/statistics && echo $(($(cat tx_bytes) + $(cat rx_bytes)))'
}

# ---- one node alone

# single_up [SIZE [MOUNT-OPTIONS]] : a volume on the file $DEV, mounted at $MNT without Corosync
single_up()
{
	DEV=$TMP/device
	MNT=$TMP/mnt
	truncate -s "${1:-1G}" "$DEV"
	mkdir -p "$MNT"
	mkfs.csvfs --key-file "$TMP/key" "file:$DEV"
	single_mount "${2:-}"
}

# single_mount [MOUNT-OPTIONS] : again, after an umount or a kill
single_mount()
{
	ASAN_OPTIONS=log_path=$TMP/sanitizer UBSAN_OPTIONS=print_stacktrace=1:log_path=$TMP/sanitizer \
		mount.csvfs "file:$DEV" "$MNT" -o "single,key=$TMP/key${1:+,$1}"
}

single_gone()
{
	! pgrep -f "mount.csvfs file:$DEV" >/dev/null
}

# single_umount : waits until the volume is closed, too
single_umount()
{
	umount "$MNT"
	wait_for 30 single_gone
}

# single_clean : unmounts; the engine's check finds nothing wrong
single_clean()
{
	single_umount
	"$BUILD/tests/cluster/volcheck" "file:$DEV" >"$TMP/check" || fail "$(cat "$TMP/check")"
}
