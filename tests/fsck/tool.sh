#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# fsck.csvfs: its exit codes, -n, -p and -y, JSON, progress, and that it keeps off a mounted volume.
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/fsck.bash"
need jq

DEV=$TMP/volume.img

# damage BLOCK : its bytes 100 to 107
damage()
{
	printf 'damaged!' | dd of="$DEV" bs=1 seek=$(($1 * 4096 + 100)) conv=notrunc status=none
}

truncate -s 200M "$DEV"
mkfs.csvfs -q --no-key "file:$DEV"

# ---- nothing wrong
for mode in -n -p -y ''; do
	# shellcheck disable=SC2086 # no mode at all
	status 0 $mode
	grep -q 'clean, 1 inodes' "$TMP/out" || fail "no result: $(cat "$TMP/out")"
done
status 0 -q
[[ ! -s $TMP/out ]] || fail "-q says $(cat "$TMP/out")"

# ---- wrong usage, wrong devices
for args in '' '-n -y x' '--nonsense x' 'x y'; do
	rc=0
	# shellcheck disable=SC2086 # words
	fsck.csvfs $args >"$TMP/out" 2>&1 || rc=$?
	same "exit status of fsck.csvfs $args" "$rc" 16
done
rc=0
fsck.csvfs -n "file:$TMP/nowhere" >"$TMP/out" 2>&1 || rc=$?
same 'exit status without a device' "$rc" 8
truncate -s 40M "$TMP/empty.img"
rc=0
fsck.csvfs -y "file:$TMP/empty.img" >"$TMP/out" 2>&1 || rc=$?
same 'exit status without a volume' "$rc" 8
grep -q 'holds no csvfs volume' "$TMP/out" || fail "$(cat "$TMP/out")"

# ---- -n writes nothing; without a terminal nothing is repaired unasked
damage 1   # a copy of the superblock
damage 70  # a slot
damage 130 # a session block
damage 256 # a header of the log
sum=$(sha256sum <"$DEV")
status 4 -n
same 'the volume after -n' "$(sha256sum <"$DEV")" "$sum"
for code in sb-copy bad-slot bad-block log-header; do
	grep -q "^$code: " "$TMP/out" || fail "$code was not found: $(cat "$TMP/out")"
done
status 4 -n --json
same 'the JSON status' "$(jq .status "$TMP/out")" 4
jq -e '.errors | length == 4' "$TMP/out" >"$TMP/jq" || fail "$(cat "$TMP/out")"
status 4
grep -q 'ERRORS LEFT' "$TMP/out" || fail "$(cat "$TMP/out")"

# ---- -p repairs what loses nothing
status 1 -p
grep -q 'repaired: block 1: ' "$TMP/out" || fail "$(cat "$TMP/out")"
status 0 -n

# ---- a root block: not with -p; with -y from the log
damage 2
status 4 -p
grep -q 'run fsck.csvfs -y' "$TMP/out" || fail "$(cat "$TMP/out")"
status 1 -y --json
jq -e '.repairs | length > 0' "$TMP/out" >"$TMP/jq" || fail "$(cat "$TMP/out")"
status 0 -n

# ---- both headers of the log
blocks=$((200 * 256))
last=$(mkfs.csvfs -n -f --no-key --json "file:$DEV" | jq "256 + .journal_bytes / 4096 - 1")
damage 256
damage "$last"
status 4 -n
grep -q '^bad-log: ' "$TMP/out" || fail "$(cat "$TMP/out")"
status 1 -y
status 0 -n

# ---- all three superblocks: nothing can be done
cp "$DEV" "$TMP/good.img"
damage 0
damage 1
status 1 -y
damage 0
damage 1
damage $((blocks - 1))
status 8 -y
grep -q 'no copy of the superblock' "$TMP/err" || fail "$(cat "$TMP/err")"
cp "$TMP/good.img" "$DEV"

# ---- progress: shown where it is asked for
status 0 -y --progress
grep -q '^checking 100%' "$TMP/err" || fail "no progress: $(cat "$TMP/err")"
status 0 -y --no-progress
[[ ! -s $TMP/err ]] || fail "--no-progress shows $(cat "$TMP/err")"
