# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What the scripts here share, once lib.sh was sourced.

GOLDEN=$SRC/tests/golden
need xz python3 jq
root_only

# golden_unpack IMAGE : sets $DEV and $MNT
golden_unpack()
{
	DEV=$TMP/device
	MNT=$TMP/mnt
	mkdir -p "$MNT" "$TMP/control"
	xz -dc "$GOLDEN/$1.img.xz" | dd of="$DEV" bs=1M conv=sparse iflag=fullblock status=none
}

golden_mount()
{
	ASAN_OPTIONS=log_path=$TMP/sanitizer UBSAN_OPTIONS=print_stacktrace=1:log_path=$TMP/sanitizer \
		mount.csvfs "file:$DEV" "$MNT" -o "single,control=$TMP/control"
}

# golden_fsck : it only looks; $TMP/fsck is its JSON
golden_fsck()
{
	fsck.csvfs -n --json "file:$DEV" >"$TMP/fsck" || fail "fsck.csvfs: $(cat "$TMP/fsck")"
}

# golden_diff IMAGE : $TMP/diff is how what is mounted differs from the manifest; succeeds if it does not
golden_diff()
{
	python3 "$GOLDEN/manifest.py" "$MNT" >"$TMP/manifest"
	diff -u "$GOLDEN/$1.manifest" "$TMP/manifest" >"$TMP/diff"
}

golden_same()
{
	golden_diff "$1" || fail "$(head -n 60 "$TMP/diff")"
}

# golden_orphans_gone IMAGE : as many inodes and as much free space as the manifest says
golden_orphans_gone()
{
	[[ $(python3 "$GOLDEN/manifest.py" "$MNT" volume) == $(head -n 1 "$GOLDEN/$1.manifest") ]]
}

# golden_change : a little of each kind, on top of what is there
golden_change()
{
	local dir=$MNT/new
	mkdir "$dir"
	echo inline >"$dir/small"
	echo more >>"$MNT/inline/100"
	head -c 200000 /dev/urandom >"$dir/data"
	cp "$dir/data" "$TMP/data"
	cp --reflink=auto "$MNT/clones/base" "$dir/clone"
	dd if="$TMP/data" of="$MNT/clones/base" bs=4096 seek=3 count=5 conv=notrunc status=none
	dd if="$TMP/data" of="$MNT/extents/mixed" bs=4096 seek=20 count=30 conv=notrunc status=none
	dd if="$TMP/data" of="$MNT/clones/deep 8" bs=1000 seek=40 count=9 conv=notrunc status=none
	truncate -s 5000000 "$MNT/extents/in pieces"
	rm "$MNT/extents/large" "$MNT/clones/heir" "$MNT/names/two" "$MNT/xattrs/large"
	mv "$MNT/names/many" "$dir/many"
	rm "$dir/many/"*7
	python3 - "$MNT/xattrs" <<-END
		import os, sys
		os.setxattr(sys.argv[1] + '/small', 'user.new', b'n' * 9000)
		os.removexattr(sys.argv[1] + '/many', 'user.number 7')
	END
	cmp "$dir/data" "$TMP/data"
	same 'what was added' "$(tail -c 5 "$MNT/inline/100")" more
}

golden_umount()
{
	umount "$MNT"
	wait_for 30 single_gone
}
