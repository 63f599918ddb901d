#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# cp --reflink=auto and csvadm image clone share space, in no time whatever the size; file and clone
# are isolated from each other, under every kind of change; freed with the last one.
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/posix.bash"
need jq

used()
{
	df --output=used -B1M "$MNT" | tail -n 1
}

# info FILE MEMBER
info()
{
	csvadm image info --json "$1" | jq -r ".$2"
}

# as_before FILE : its bytes are those of FILE.was
as_before()
{
	cmp "$1" "$TMP/$(basename "$1").was" || fail "$1 has changed"
}

freed()
{
	(($(used) <= EMPTY + 1))
}

mkdir "$TMP/control"
single_up 2G "control=$TMP/control"
cd "$MNT"
EMPTY=$(used)
head -c 30000001 /dev/urandom >golden
cp golden "$TMP/golden.was"
before=$(used)
cp --reflink=auto golden a
csvadm image clone golden b
csvadm image clone a c
same 'space of three clones, MiB' "$(($(used) - before))" 0
for f in a b c; do
	cmp golden $f
	same "blocks of $f" "$(stat -c %b $f)" "$(stat -c %b golden)"
	same "written in $f" "$(info $f written)" 0
	(($(info $f shared) >= 30000000)) || fail "$f shares $(info $f shared)"
done

# each kind of change, to a clone and to what it was made from
cp a "$TMP/a.was"
# change FILE : with bytes that are the same each time
change()
{
	dd if="$TMP/bytes" of="$1" bs=4k seek=100 count=3 conv=notrunc status=none
	dd if="$TMP/bytes" of="$1" bs=1000003 seek=5 count=3 conv=notrunc status=none
	dd if="$TMP/bytes" of="$1" bs=1M seek=12 count=3 conv=notrunc status=none
	fallocate -p -o 5000 -l 200000 "$1"
	fallocate -z -o 20000001 -l 100001 "$1"
	fallocate -o 25000000 -l 3000000 "$1"
	truncate -s 29000001 "$1"
	truncate -s 29500000 "$1"
	printf end >>"$1"
}
head -c 8000000 /dev/urandom >"$TMP/bytes"
cp b "$TMP/b"
change b
change "$TMP/b"
cmp b "$TMP/b"
as_before golden
as_before a
head -c 8000000 /dev/urandom >"$TMP/bytes"
change golden
as_before a
cmp c a
cmp b "$TMP/b"

# clones of what was changed; small and empty files; holes
csvadm image clone golden g2
cmp golden g2
change g2
truncate -s 50M sparse
printf x | dd of=sparse bs=1 seek=30000000 conv=notrunc status=none
csvadm image clone sparse sparse2
cmp sparse sparse2
(($(info sparse2 hole) > 50000000)) || fail "the holes of a clone: $(info sparse2 hole)"
printf small >small
csvadm image clone small small2
printf 'small' | cmp - small2
: >empty
csvadm image clone empty empty2
same 'an empty clone' "$(stat -c %s empty2)" 0
csvadm image map --json b | jq -e '[.extents[].length] | add >= 29500003' >/dev/null

# refused, and nothing is left behind
for bad in "golden $TMP/elsewhere" 'golden a' 'missing new' '. new'; do
	# shellcheck disable=SC2086
	refuse csvadm image clone $bad 2>>"$TMP/err"
done
[[ ! -e new && ! -e $TMP/elsewhere ]] || fail 'a failed clone left its file'
grep -q "not on the volume of golden" "$TMP/err" || fail "$(cat "$TMP/err")"

# a chain of snapshots, each written: at the limit it is said what to do
cp --reflink=never small s0
head -c 300000 /dev/urandom >s0
for ((i = 1; i < 40; i++)); do
	csvadm image clone s$((i - 1)) s$i 2>"$TMP/err" || break
	dd if=/dev/urandom of=s$i bs=4k seek=$i count=1 conv=notrunc status=none
done
((i == 33)) || fail "the chain ended after $i clones"
grep -q 'cp --reflink=never' "$TMP/err" || fail "$(cat "$TMP/err")"

# what a remount shows
sha256sum ./* >"$TMP/sums"
cd /
single_umount
single_mount "control=$TMP/control"
cd "$MNT"
sha256sum -c --quiet "$TMP/sums"
rm golden
cmp a c
as_before a
rm ./*
cd /
wait_for 30 freed
single_clean
