#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The man pages and --help name the same options, commands and mount options.
source "$(dirname "$0")/../lib.sh"
need mandoc

# options of a text: -x and --xyz
options_in()
{
	grep -oE "(^|[][ ,|(=\"'])--?[a-zA-Z][a-z-]*" | grep -oE -- '--?[a-zA-Z][a-z-]*' | sort -u
}

# options_of PAGE : those that have an item of their own in the page, or stand beside one
options_of()
{
	grep '^\.It Fl ' "$1" | sed -E 's/ Fl -([a-z-]+)/ --\1/g; s/ Fl ([a-zA-Z])( |$)/ -\1 /g' | options_in
}

# items HELP-FILE : what stands in the left column; the text on the right may speak of others
items()
{
	sed -nE 's/^ +-/ -/p' "$1" | sed 's/   *.*//'
}

# compare PROGRAM HELP-FILE
compare()
{
	local page
	page=$(ls "$SRC/man/$1".[18])
	options_in <"$2" >"$TMP/help-options"
	options_of "$page" >"$TMP/page-options"
	[[ -s $TMP/help-options && -s $TMP/page-options ]] || fail "$1: found no options"
	diff "$TMP/help-options" "$TMP/page-options" || fail "$1: < only in --help, > only in $page"
}

# what getopt is told must be in --help as well
getopt_has()
{
	local opt
	while read -r opt; do
		grep -q -- "--$opt" "$TMP/$1" || fail "$1 takes --$opt, and --help does not say so"
	done < <(grep -oE '\{ "[a-z-]+", [01],' "$SRC/tools/$2" | grep -oE '[a-z][a-z-]+' | sort -u)
}

mkfs.csvfs --help >"$TMP/mkfs.csvfs"
items "$TMP/mkfs.csvfs" >"$TMP/items"
compare mkfs.csvfs "$TMP/items"
getopt_has mkfs.csvfs mkfs_csvfs.c

fsck.csvfs --help >"$TMP/fsck.csvfs"
items "$TMP/fsck.csvfs" >"$TMP/items"
compare fsck.csvfs "$TMP/items"
getopt_has fsck.csvfs fsck_csvfs.c

# ---- mount options stand in a list of their own
mount.csvfs --help >"$TMP/mount.csvfs"
items "$TMP/mount.csvfs" >"$TMP/items"
compare mount.csvfs "$TMP/items"
getopt_has mount.csvfs mount_csvfs.c
sed -nE 's/^       ([a-z_]+)(=[A-Z]+)? .*/\1/p' "$TMP/mount.csvfs" | sort >"$TMP/help-o"
sed -n '/^\.Sh MOUNT OPTIONS/,/^\.Sh FILES/s/^\.It Cm \([a-z_]*\).*/\1/p' "$SRC/man/mount.csvfs.8" |
	sort >"$TMP/page-o"
[[ -s $TMP/help-o ]] || fail 'no mount options in --help'
diff "$TMP/help-o" "$TMP/page-o" || fail 'mount options: < only in --help, > only in the page'
while read -r opt; do
	[[ $opt == test_* || $opt == allow_other ]] || grep -qx "$opt" "$TMP/help-o" ||
		fail "mount.csvfs takes -o $opt, and --help does not say so"
done < <(sed -nE '/^static int parse_option/,/^}/s/.*strcmp\(name, "([a-z_]+)"\).*/\1/p' "$SRC/tools/mount_csvfs.c")

# ---- csvadm: the help of each command together
csvadm --help | sed -nE 's/^  ([a-z]+( (list|info|show|move|clone|map|convert|create|set|clear))?).*/\1/p' >"$TMP/commands"
(($(wc -l <"$TMP/commands") >= 8)) || fail "csvadm --help shows only $(wc -l <"$TMP/commands") commands"
csvadm --help >"$TMP/csvadm"
while read -r command; do
	# shellcheck disable=SC2086 # one or two words
	csvadm $command --help >>"$TMP/csvadm" || fail "csvadm $command --help"
done <"$TMP/commands"
items "$TMP/csvadm" >"$TMP/items"
compare csvadm "$TMP/items"
getopt_has csvadm csvadm.c
sed -n '/^\.Ss Commands/,/^\.Sh OPTIONS/s/^\.It Cm \(.*\)/\1/p' "$SRC/man/csvadm.8" | sort >"$TMP/page-commands"
diff <(sort "$TMP/commands") "$TMP/page-commands" || fail 'commands: < only in --help, > only in csvadm(8)'

# ---- csvlab
"$SRC/tools/csvlab" --help >"$TMP/csvlab"
sed 's/ -- / /' "$TMP/csvlab" | grep -v '^usage' >"$TMP/csvlab-options"
echo ' --name' >>"$TMP/csvlab-options"
compare csvlab "$TMP/csvlab-options"
for command in $(sed -nE 's/^  ([a-z|]+)( .*)?$/\1/p' "$TMP/csvlab" | grep -v '^-' | tr '|' ' '); do
	grep -qE "^\.It Cm.* ?Cm $command( |$)|^\.It Cm $command( |$)" "$SRC/man/csvlab.8" ||
		fail "csvlab $command is not in csvlab(8)"
done

csvvm --help >"$TMP/csvvm"
items "$TMP/csvvm" >"$TMP/items"
compare csvvm "$TMP/items"
