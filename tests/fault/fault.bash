# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What the scripts of this suite share; sourced after lib.sh.

[[ -e /dev/fuse ]] || skip 'no /dev/fuse'
root_only

WORK=$BUILD/tests/fault/fault-work
DEV=$TMP/device
MNT=$TMP/mnt
TRIED=0 BITTEN=0
mkdir -p "$MNT"
# a pristine volume: copied for each try
truncate -s 64M "$TMP/empty"
mkfs.csvfs --key-file "$TMP/key" "file:$TMP/empty" >/dev/null

daemon_gone()
{
	! pgrep -f "fault-mount file:$DEV" >/dev/null
}

# Ends the mount, whatever state it is in; the daemon must end by itself.
take_down()
{
	umount "$MNT" 2>/dev/null || umount -l "$MNT" 2>/dev/null || true
	wait_for 40 daemon_gone
}

# one WHAT NTH [sticky] : the workload with that fault; sets FIRED. Fails on wrong data, a crash, a
# volume that is not clean, or one that lost what it had acknowledged.
one()
{
	local what=$1 nth=$2 sticky=${3:-} failed=mount
	cp --sparse=always "$TMP/empty" "$DEV"
	rm -f "$TMP/fired" "$TMP/state"
	if CSVFS_FAULT=$what:$nth${sticky:+:$sticky} CSVFS_FAULT_FIRED=$TMP/fired \
		ASAN_OPTIONS=log_path=$TMP/sanitizer UBSAN_OPTIONS=print_stacktrace=1:log_path=$TMP/sanitizer \
		timeout 60 "$BUILD/tests/fault/fault-mount" "file:$DEV" "$MNT" \
		-o "single,key=$TMP/key,control=$TMP/control" 2>"$TMP/mount.log"; then
			failed=$(cd "$MNT" && timeout 60 "$WORK" run "$TMP/state" 2>"$TMP/work.log") ||
			fail "$what $nth $sticky: $(cat "$TMP/work.log" "$TMP/mount.log")"
	fi
	take_down
	# both processes have come to their end
	(($(wc -l <"$TMP/fired") == 2)) || fail "$what $nth $sticky: the daemon died: $(cat "$TMP/mount.log")"
	FIRED=$(awk '{ sum += $1 } END { print sum }' "$TMP/fired")
	_sanitizer_reports "$TMP" || fail "$what $nth $sticky: a sanitizer reported"
	[[ $failed == 0 ]] || BITTEN=$((BITTEN + 1))
	TRIED=$((TRIED + 1))
	((FIRED > 0)) || [[ $failed == 0 ]] || fail "$what $nth $sticky: $failed calls failed without a fault"
	after "$what $nth $sticky"
}

# The volume afterwards, without faults.
after()
{
	"$BUILD/tests/cluster/volcheck" "file:$DEV" >"$TMP/check" 2>&1 || fail "$1: $(cat "$TMP/check")"
	[[ -e $TMP/state ]] || return 0
	mount.csvfs "file:$DEV" "$MNT" -o "single,key=$TMP/key,control=$TMP/control"
	(cd "$MNT" && "$WORK" verify "$TMP/state") || fail "$1: the volume is not what it should be"
	single_umount
}

# rising WHAT BUDGET-SECONDS [sticky] : N rises until nothing fires: each of the first ones, then in
# steps that grow, so that the whole workload is covered in the time given.
rising()
{
	local nth=1 end
	end=$(($(now_ms) + $2 * 1000))
	while :; do
		one "$1" "$nth" "${3:-}"
		((FIRED > 0)) || break
		(($(now_ms) < end)) || fail "$1: after $2 s not beyond request $nth"
		nth=$((nth + 1 + nth / ${STRIDE:-8}))
	done
	((BITTEN > 0)) || fail "$1: no call ever failed: nothing was tested"
	echo "$1 ${3:-}: $TRIED faults up to request $nth, $BITTEN of them seen by callers"
}
