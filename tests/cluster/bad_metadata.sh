#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# One flipped bit in a metadata block, of each type in turn: the volume can be mounted and says what is
# right, or an error is given; never other bytes, a crash or a hang.
# timeout: 240
source "$(dirname "$0")/../lib.sh"
need python3

# digest : names and bytes of all that is there; fails when something cannot be read
digest()
{
	(cd "$MNT" && find . -type f -print0 | sort -z | xargs -0 -r timeout 20 sha256sum) | sha256sum
}

unmounted()
{
	! grep -lzxs "$TMP/key" /proc/[0-9]*/cmdline >/dev/null
}

single_up 64M
mkdir "$MNT/dir"
for i in $(seq 200); do
	printf '%s' "$i" >"$MNT/dir/a-rather-long-name-that-fills-blocks-$i"
done
head -c 3000000 /dev/urandom >"$MNT/data"
for i in $(seq 0 2 400); do
	printf x | dd of="$MNT/holes" bs=1 seek=$((i * 65536)) conv=notrunc status=none
done
want=$(digest)
umount "$MNT"
wait_for 20 unmounted
cp --sparse=always "$DEV" "$TMP/good"

# TYPE BLOCK of all metadata outside of the log, and its headers
python3 - "$DEV" >"$TMP/blocks" <<'END'
import struct
import sys

with open(sys.argv[1], 'rb') as f:
    at, seen = 0, {}
    while block := f.read(4096):
        magic, _, kind = struct.unpack_from('<4sIH', block)
        number, = struct.unpack_from('<Q', block, 0x10)
        if magic == b'CSVF' and number == at and kind != 9:
            seen.setdefault(kind, []).append(at)
        at += 1
for kind, blocks in sorted(seen.items()):
    # the first, the last and one between
    for block in sorted({blocks[0], blocks[len(blocks) // 2], blocks[-1]}):
        print(kind, block)
END
cat "$TMP/blocks"
for type in 1 2 3 4 5 6 7 8; do
	grep -q "^$type " "$TMP/blocks" || fail "there is no block of type $type"
done

refused=0
while read -r type block; do
	cp --sparse=always "$TMP/good" "$DEV"
	python3 - "$DEV" $((block * 4096 + 72)) <<-'END'
		import sys
		with open(sys.argv[1], 'r+b') as f:
		    f.seek(int(sys.argv[2]))
		    byte = f.read(1)[0]
		    f.seek(int(sys.argv[2]))
		    f.write(bytes([byte ^ 16]))
	END
	rc=0
	timeout 30 mount.csvfs "file:$DEV" "$MNT" -o "single,key=$TMP/key" 2>"$TMP/err" || rc=$?
	if ((rc)); then
		((rc == 1)) || fail "type $type, block $block: mount.csvfs ended $rc: $(cat "$TMP/err")"
		[[ -s $TMP/err ]] || fail "type $type, block $block: refused without a word"
		echo "type $type, block $block: $(tail -n 1 "$TMP/err")"
		refused=$((refused + 1))
		wait_for 20 unmounted
		continue
	fi
	if got=$(digest 2>"$TMP/err"); then
		same "type $type, block $block: what is read" "$got" "$want"
	else
		grep -qE 'Input/output error|Structure needs cleaning' "$TMP/err" || fail "type $type, block $block: $(cat "$TMP/err")"
		echo "type $type, block $block: $(head -n 1 "$TMP/err")"
		refused=$((refused + 1))
	fi
	# changes go through or are refused; nothing hangs
	# shellcheck disable=SC2016 # for the shell in there
	timeout 20 sh -c 'echo more >"$1/more"; mkdir "$1/new"; rm -rf "$1/dir"' - "$MNT" 2>/dev/null || (($? < 124))
	umount "$MNT"
	wait_for 20 unmounted
done <"$TMP/blocks"
((refused >= 3)) || fail 'hardly any flip was noticed: this shows nothing'
