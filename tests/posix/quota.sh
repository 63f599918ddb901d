#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Projects: csvadm quota, inheritance, limits, statfs, what link and rename refuse, flags that are not
# there. Next to the directory with a limit: one without (the twin), in which the same things go.
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/posix.bash"
need jq lsattr

single_up 512M
cd "$MNT"
mkdir -p a/sub twin
head -c 1M /dev/zero >a/sub/old
ln -s old a/sub/link

below()
{
	(($(show ".$1") < $2))
}

show()
{
	csvadm quota show --json a | jq -r "$1"
}

same_as_du()
{
	local du
	sync
	du=$(find a ! -type l -printf '%b\n' | awk '{ n += $1 } END { print n * 512 }')
	[[ $(show .used) == "$du" ]] || fail "$1: counted $(show .used), du says $du"
}

csvadm quota show a 2>"$TMP/err" && fail 'a has a project before it was given one'
grep -q 'csvadm quota set' "$TMP/err" || fail "no next step: $(cat "$TMP/err")"
csvadm quota set a --limit 10M --files 20 >"$TMP/out" || fail 'quota set'
csvadm quota set a >"$TMP/out" 2>&1 && fail 'quota set without a limit'
[[ $(show .limit) == 10485760 && $(show .files_limit) == 20 ]] || fail "show: $(show .)"
[[ $(show .files) == 3 ]] || fail "counts $(show .files) of a, a/sub, a/sub/old"
same_as_du 'after set'
[[ $(lsattr -pd a) == *P*a ]] || fail "lsattr: $(lsattr -pd a)"
[[ $(lsattr -p a/sub/old | awk '{ print $1 }') == $(show .project) ]] || fail 'old has another project'

# ---- the limit of space: up to it, no further; and again when something goes
fill() # FILE : bytes that could be written
{
	dd if=/dev/zero of="$1" bs=64k count=400 oflag=append conv=notrunc 2>"$TMP/dd" || :
	stat -c %s "$1"
}
got=$(fill twin/big)
((got == 400 * 65536)) || fail "twin: $got bytes: $(cat "$TMP/dd")"
got=$(fill a/big)
grep -q 'Disk quota exceeded' "$TMP/dd" || fail "a: $(cat "$TMP/dd")"
((got > 8 << 20 && got <= 9 << 20)) || fail "a took $got bytes besides 1 MiB, of 10 MiB"
(($(show .used) <= 10 << 20)) || fail "used: $(show .used)"
same_as_du 'full'
[[ $(df -B1 --output=size a | tail -1) -eq 10485760 ]] || fail "df: $(df -B1 a)"
(($(df -B1 --output=avail a | tail -1) < 200000)) || fail "df: $(df -B1 a)"
(($(df -B1 --output=size twin | tail -1) > 400 << 20)) || fail "df twin: $(df -B1 twin)"
rm a/big
wait_for 20 below used $((2 << 20))
head -c 4M /dev/zero >a/again || fail 'no space in a after rm'
same_as_du 'again'
cp --reflink=never a/again a/copy || fail 'copy of 4 MiB'
cp --reflink=never a/again a/copy2 2>"$TMP/err" && fail 'three times 4 MiB in 10'
rm -f a/copy a/copy2 a/again
wait_for 20 below used $((2 << 20))

# ---- the limit of files; symlinks count, too, when they are made now
for i in $(seq 17); do
	: >"a/sub/f$i" || fail "file $i"
done
: 2>/dev/null >a/sub/f18 && fail 'more files than the limit'
ln -s x a/sub/s 2>/dev/null && fail 'a symlink beyond the limit'
: >twin/f18 || fail twin
rm a/sub/f1
wait_for 20 below files 20
mkdir a/sub/deep || fail mkdir
[[ $(lsattr -pd a/sub/deep) == *P*deep ]] || fail 'the new directory does not inherit'
rm a/sub/f*

# ---- names from elsewhere
: >twin/x
ln twin/x a/x 2>"$TMP/err" && fail 'a link from outside'
grep -q 'cross-device' "$TMP/err" || fail "link: $(cat "$TMP/err")"
perl -e 'rename("twin/x", "a/x") and exit 1; exit($!{EXDEV} ? 0 : 2)' || fail 'rename into a'
mv twin/x a/x || fail 'mv copies'
mv a/x twin/y || fail 'out of it is no question'
mv a/sub/old a/old || fail 'within'

# ---- flags that this file system does not have; who may not
chattr +i twin/y 2>"$TMP/err" && fail 'immutable'
grep -q 'not supported' "$TMP/err" || fail "chattr +i: $(cat "$TMP/err")"
chattr -p 77 twin/y || fail 'chattr -p'
csvadm quota list --json . | jq -s -e 'map(.project) | index(77)' >"$TMP/out" || fail 'list: no 77'
chattr -p 0 twin/y
csvadm quota list --json . | jq -s -e 'map(.project) | index(77) | not' >"$TMP/out" || fail 'list: still 77'

# ---- lower than what is there, raised again by one that keeps the rest, cleared
csvadm quota set a --limit 4K >"$TMP/out" || fail 'a limit below what is there'
head -c 64k /dev/zero 2>"$TMP/err" >a/more && fail 'above the limit'
csvadm quota set a --limit 1G >"$TMP/out" || fail raise
[[ $(show .files_limit) == 20 ]] || fail 'the limit of files is gone'
head -c 1M /dev/zero >a/more || fail 'below the new limit'
csvadm quota clear a || fail clear
csvadm quota show a 2>"$TMP/err" && fail 'a has a project still'
[[ $(csvadm quota list --json . | wc -l) == 0 ]] || fail "projects are left: $(csvadm quota list .)"
csvadm quota set a --limit 100M --project 5 >"$TMP/out" || fail 'a number of ones own'
[[ $(show .project) == 5 ]] || fail "project $(show .project)"
csvadm quota set /tmp --limit 1M 2>"$TMP/err" && fail 'a limit on another file system'
cd /
single_clean
