#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# csvadm check finds nothing wrong with a volume that is being written, names what is damaged, mends a
# copy of the superblock, keeps to its rate and stops no program.
source "$(dirname "$0")/../lib.sh"
root_only
need jq

CONTROL=$TMP/control
mkdir "$CONTROL"

check()
{
	csvadm check -c "$CONTROL" "$@"
}

# churn : files come and go until $TMP/stop is there
churn()
{
	local i=0
	while [[ ! -e $TMP/stop ]]; do
		i=$((i + 1))
		head -c $((i % 50 * 1000 + 1)) /dev/zero >"$MNT/churn.$((i % 20))" || exit 1
		((i % 3)) || rm -f "$MNT/churn.$(((i + 7) % 20))"
	done
	echo "$i" >"$TMP/churned"
}

single_up 200M "control=$CONTROL"
mkdir "$MNT/dir"
for i in {1..300}; do
	head -c 20000 /dev/zero >"$MNT/dir/$i"
done
churn &
churner=$!
for i in 1 2 3; do
	check --rate 1000 "$MNT" >"$TMP/out" || fail "of a good volume: $(cat "$TMP/out")"
	grep -q '^no errors: 3' "$TMP/out" || fail "$(cat "$TMP/out")"
done
check --rate 2 --json "$MNT" >"$TMP/out" || fail "$(cat "$TMP/out")"
blocks=$(jq .blocks "$TMP/out") took=$(jq .took_ms "$TMP/out")
((took * 2 * 1000 >= blocks * 4096 * 9 / 10)) || fail "$blocks blocks took $took ms: faster than 2 MB/s"
touch "$TMP/stop"
wait "$churner"
(($(cat "$TMP/churned") > 5)) || fail 'programs were stopped meanwhile'
single_umount

# ---- two copies of the superblock and a session block are damaged
for block in 1 135; do
	printf 'damaged!' | dd of="$DEV" bs=1 seek=$((block * 4096 + 100)) conv=notrunc status=none
done
single_mount "control=$CONTROL"
rc=0
check --json "$MNT" >"$TMP/out" || rc=$?
same 'exit status with errors' "$rc" 1
same errors "$(jq .errors "$TMP/out")" 2
jq -r '.texts[]' "$TMP/out" >"$TMP/texts"
grep -q '^sb-copy: block 1: ' "$TMP/texts" || fail "$(cat "$TMP/texts")"
grep -q '^bad-block: block 135: ' "$TMP/texts" || fail "$(cat "$TMP/texts")"
same 'a file' "$(stat -c %s "$MNT/dir/300")" 20000
rc=0
check "$MNT" >"$TMP/out" || rc=$?
! grep -q sb-copy "$TMP/out" || fail 'the superblock was not mended'
grep -q 'fsck.csvfs repairs' "$TMP/out" || fail "$(cat "$TMP/out")"
single_umount
fsck.csvfs -p "$DEV" >"$TMP/out" || same 'exit status of fsck.csvfs' "$?" 1
fsck.csvfs -n "$DEV" >"$TMP/out" || fail "$(cat "$TMP/out")"
