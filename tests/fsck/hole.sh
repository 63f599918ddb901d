#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A record of the log rots that a later one proves to have been stable: that is no end of the log. A mount
# refuses and says what to do, fsck.csvfs names it and keeps what comes before. Damage in the last record
# (the twin) is nothing but a record that was cut off.
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/fsck.bash"
root_only
need jq python3

# records JOURNAL-BYTES : of each record of the log where it begins, its number, and which it says was stable
records()
{
	python3 - "$DEV" "$1" <<'END'
import struct, sys
start, last = 256, 256 + int(sys.argv[2]) // 4096 - 1
with open(sys.argv[1], 'rb') as f:
    def block(blk):
        f.seek(blk * 4096)
        return f.read(4096)
    headers = [block(start), block(last)]
    newest = max(headers, key=lambda h: struct.unpack_from('<Q', h, 0x30))
    seq, pos = struct.unpack_from('<QQ', newest, 0x40)
    while True:
        d = block(start + 1 + pos)
        magic, _, kind = struct.unpack_from('<IIH', d)
        if magic != 0x46565343 or kind != 9 or struct.unpack_from('<Q', d, 0x30)[0] != seq:
            break
        print(start + 1 + pos, seq, struct.unpack_from('<Q', d, 0x58)[0])
        images, descriptors = struct.unpack_from('<II', d, 0x40)
        pos = (pos + images + descriptors) % (last - start - 1)
        seq += 1
END
}

# flip BLOCK : one bit of it
flip()
{
	python3 - "$DEV" "$1" <<'END'
import sys
with open(sys.argv[1], 'r+b') as f:
    f.seek(int(sys.argv[2]) * 4096 + 0x61)
    byte = f.read(1)[0]
    f.seek(-1, 1)
    f.write(bytes([byte ^ 0x10]))
END
}

# stable : the newest record that one in the log says was stable; 0 = none
stable()
{
	records "$BYTES" | awk '$3 > n { n = $3 } END { print n + 0 }'
}

# proved : one more record says that an earlier one was
proved()
{
	mktemp -d "$MNT/XXXXXX" >/dev/null
	(($(stable) > 3))
}

single_up 200M
mkdir "$MNT/dir1"
truncate -s 200M "$TMP/like"
BYTES=$(mkfs.csvfs -n --no-key --json "$TMP/like" | jq .journal_bytes)
wait_for 30 proved # the coordinator flushes once a second
mkdir "$MNT/last"
kill -9 "$(pgrep -f "mount.csvfs file:$DEV")"
wait_for 10 single_gone
umount -l "$MNT"
mapfile -t blocks < <(records "$BYTES" | awk '{ print $1 }')
last_stable=$(($(stable) - 1)) # the first has number 1
cp "$DEV" "$TMP/good"

# ---- the twin
flip "${blocks[-1]}"
status 0 -n --json
same 'records replayed' "$(jq .log_records "$TMP/out")" $((${#blocks[@]} - 1))

# ---- in the middle
for nth in 0 $last_stable; do
	for at in 0 1; do # the descriptor, an image
		cp "$TMP/good" "$DEV"
		flip $((blocks[nth] + at))
		status 4 -n
		grep -q '^log-hole: record [0-9]* of the log is damaged' "$TMP/out" || fail "$(cat "$TMP/out")"
	done
done
single_mount 2>"$TMP/err" && fail 'a volume with a hole in its log is mounted'
grep -q 'fsck.csvfs' "$TMP/err" || fail "no next step: $(cat "$TMP/err")"
wait_for 10 single_gone
status 1 -y --json
same 'records replayed' "$(jq .log_records "$TMP/out")" "$nth"
status 0 -n
single_mount
[[ -d $MNT/dir1 ]] || fail 'what the log held before the damage is gone'
single_umount
