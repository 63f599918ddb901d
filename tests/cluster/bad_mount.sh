#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What cannot be mounted is refused with a sentence that says why, in time, and nothing is written.
# timeout: 150
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/cluster.bash"
need mke2fs

lab_up --nodes 1 --size 256M --volumes 2
# the LUNs as they are when nobody uses them
node 1 umount /csv/lab2
node 1 umount /csv/lab
wait_for 30 all_unmounted
TARGET=iscsi://10.210.2.254/iqn.2025-01.org.csvfs:lab
KEY=$LAB_DIR/key-1

# refused WORDS… -- DEVICE [OPTIONS [DIRECTORY]] : mounting fails within 30 s, each of WORDS in what it says
refused()
{
	local words=() word rc=0 text
	while [[ $1 != -- ]]; do
		words+=("$1")
		shift
	done
	shift
	text=$(node 1 timeout 30 mount.csvfs "$1" "${3:-/csv/lab}" -o "${2:-key=$KEY}" 2>&1 </dev/null) || rc=$?
	((rc == 1)) || fail "mounting $1 ended $rc: $text"
	for word in "${words[@]}"; do
		grep -qiF -e "$word" <<<"$text" || fail "mounting $1: '$word' is not in: $text"
	done
	! node 1 grep -q ' /csv/lab ' /proc/mounts || fail "$1 is mounted"
	echo "$text"
}

# untouched FILE CMD… : CMD leaves the file as it was
untouched()
{
	local file=$1 before
	shift
	before=$(sha256sum "$file")
	"$@"
	same "the bytes of $file" "$(sha256sum "$file")" "$before"
}

# flip FILE BLOCK… : one bit in each of these blocks
flip()
{
	local file=$1 block
	shift
	for block; do
		python3 - "$file" "$((block * 4096 + 0x5a))" <<-'END'
			import sys
			with open(sys.argv[1], 'r+b') as f:
			    f.seek(int(sys.argv[2]))
			    byte = f.read(1)[0]
			    f.seek(int(sys.argv[2]))
			    f.write(bytes([byte ^ 4]))
		END
	done
}

DISK=$LAB_DIR/disk-1.img
LAST=$(($(stat -c %s "$DISK") / 4096 - 1))

# ---- what the device holds
truncate -s 0 "$TMP/empty"
truncate -s 1M "$TMP/small"
truncate -s 64M "$TMP/zeroes"
truncate -s 64M "$TMP/ext4"
mke2fs -q -t ext4 "$TMP/ext4"
refused "$TMP/empty" -- "file:$TMP/empty"
for what in small zeroes ext4; do
	untouched "$TMP/$what" refused 'not a csvfs volume' mkfs.csvfs -- "file:$TMP/$what"
done
for what in small ext4; do
	untouched "$TMP/$what" refuse mkfs.csvfs --key-file "$TMP/new-key" "file:$TMP/$what" 2>"$TMP/err"
	cat "$TMP/err"
done
grep -q ext4 "$TMP/err" || fail 'mkfs.csvfs does not name ext4'
cp --sparse=always "$DISK" "$TMP/cut"
truncate -s 128M "$TMP/cut"
untouched "$TMP/cut" refused 'smaller than the volume' -- "file:$TMP/cut"

# ---- the superblock: any copy will do, none will not
cp --sparse=always "$DISK" "$TMP/flipped"
flip "$TMP/flipped" 0
node 1 mount.csvfs "file:$TMP/flipped" /csv/lab -o "key=$KEY"
node 1 sh -c 'echo text >/csv/lab/file && cat /csv/lab/file && umount /csv/lab'
wait_for 30 all_unmounted
flip "$TMP/flipped" 1
node 1 mount.csvfs "file:$TMP/flipped" /csv/lab -o "key=$KEY"
same 'the file' "$(node 1 cat /csv/lab/file)" text
node 1 umount /csv/lab
wait_for 30 all_unmounted
flip "$TMP/flipped" "$LAST"
untouched "$TMP/flipped" refused damaged "$TMP/flipped" -- "file:$TMP/flipped"

# ---- keys
untouched "$DISK" refused "$LAB_DIR/key-2" 'not the key of volume' -- "$TARGET/1" "key=$LAB_DIR/key-2"
untouched "$DISK" refused "$TMP/none" 'no such file' -- "$TARGET/1" "key=$TMP/none"
cp "$KEY" "$TMP/open-key"
chmod 644 "$TMP/open-key"
untouched "$DISK" refused 'chmod 600' -- "$TARGET/1" "key=$TMP/open-key"
echo rubbish >"$TMP/bad-key"
chmod 600 "$TMP/bad-key"
untouched "$DISK" refused "$TMP/bad-key" -- "$TARGET/1" "key=$TMP/bad-key"
# without one it looks for the volume's own
refused /etc/csvfs/ .key -- "$TARGET/1" defaults

# ---- the target
refused 10.210.2.253 -- 'iscsi://10.210.2.253/iqn.2025-01.org.csvfs:lab/1'
refused 10.210.2.254 -- 'iscsi://10.210.2.254:3999/iqn.2025-01.org.csvfs:lab/1'
refused no-such-target -- 'iscsi://10.210.2.254/iqn.2025-01.org.csvfs:no-such-target/1'
refused LUN -- "$TARGET/7"
refused 10.210.2.254 -- 'nbd://10.210.2.254:10999'
refused "$TMP/nothing" -- "file:$TMP/nothing"
refused floppy -- 'floppy://a'

# ---- the directory
untouched "$DISK" refused /csv/nowhere 'no such directory' -- "$TARGET/1" "key=$KEY" /csv/nowhere
untouched "$DISK" refused "$TMP/zeroes" -- "$TARGET/1" "key=$KEY" "$TMP/zeroes"

# all is as it was: both can be mounted
csvlab start 1
node 1 sh -c 'echo text >/csv/lab/file && echo text >/csv/lab2/file'
refuse node 1 mount.csvfs "$TARGET/1" /csv/lab -o "key=$KEY" # where it is already
