#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A repair that is killed again and again comes to its end, and what was not damaged is all there.
# timeout: 240
source "$(dirname "$0")/../lib.sh"
root_only
need python3

# tree_blocks : numbers of the volume's tree nodes
tree_blocks()
{
	python3 - "$DEV" <<'END'
import struct, sys
with open(sys.argv[1], 'rb') as f:
    blk = 0
    while block := f.read(4096):
        magic, crc, kind, version, length, blkno = struct.unpack_from('<IIHHIQ', block)
        if magic == 0x46565343 and kind == 5 and blkno == blk:
            print(blk)
        blk += 1
END
}

single_up 200M
for d in {1..20}; do
	mkdir "$MNT/dir$d"
	for i in {1..50}; do
		echo "$d $i" >"$MNT/dir$d/$i"
	done
done
single_umount

# every fourth node of the trees, the root block, a group, its bitmap; and the log's ring
mapfile -t blocks < <(tree_blocks)
((${#blocks[@]} > 40)) || fail "only ${#blocks[@]} tree nodes"
dd if=/dev/zero of="$DEV" bs=4096 seek=257 count=1000 conv=notrunc status=none
for ((i = 0; i < ${#blocks[@]}; i += 4)); do
	printf 'damaged!' | dd of="$DEV" bs=1 seek=$((blocks[i] * 4096 + 2000)) conv=notrunc status=none
done
printf 'damaged!' | dd of="$DEV" bs=1 seek=$((2 * 4096 + 100)) conv=notrunc status=none

kills=0
for try in {1..12}; do
	fsck.csvfs -y "delay(write_ms=2)|file:$DEV" >"$TMP/out.$try" 2>&1 &
	pid=$!
	wait_for 30 test -s "$TMP/out.$try" || true
	if kill -9 "$pid" 2>/dev/null; then
		kills=$((kills + 1))
	fi
	wait "$pid" || true
done
rc=0
fsck.csvfs -y "$DEV" >"$TMP/out" 2>&1 || rc=$?
((rc <= 1)) || fail "the last repair ended $rc: $(tail -n 5 "$TMP/out")"
fsck.csvfs -n "$DEV" >"$TMP/out" || fail "$(cat "$TMP/out")"
((kills > 0)) || fail 'no repair was killed'

# what is there is right: each file has the content of its name, or was made anew without
single_mount
found=$(find "$MNT" -type f | wc -l)
((found > 200)) || fail "only $found files of 1000 are left"
for d in {1..20}; do
	for i in {1..50}; do
		[[ -e $MNT/dir$d/$i ]] || continue
		same "dir$d/$i" "$(cat "$MNT/dir$d/$i")" "$d $i"
	done
done
echo "$kills kills, $found files left"
single_umount
