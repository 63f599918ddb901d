#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Every program has a man page; each page is correct mdoc, is installed, and refers to pages that exist.
source "$(dirname "$0")/../lib.sh"
need mandoc

cd "$SRC"
pages=(man/*.[1-9])
((${#pages[@]} >= 5)) || fail "only ${#pages[@]} pages"

for page in "${pages[@]}"; do
	# STYLE would want lines of 80 and a database of all pages
	mandoc -T lint -W warning "$page" || fail "$page"
	grep -q "'${page#man/}'" man/meson.build || fail "$page is not in man/meson.build"
	name=${page#man/}
	[[ $(sed -n 's/^\.Dt //p' "$page") == "$(tr '.' ' ' <<<"${name%.*}" | tr ' ' '.' | tr '[:lower:]' '[:upper:]') ${name##*.}" ]] ||
		fail "$page: .Dt names another page"
done

# what meson installs, and the scripts that are programs of their own
programs=$(sed -n "s/^executable('\([a-z.]*\)'.*/\1/p" tools/meson.build)
[[ $programs == *mkfs.csvfs* && $programs == *csvadm* ]] || fail "found only these programs: $programs"
for program in $programs csvlab; do
	ls man/"$program".[18] >/dev/null || fail "$program has no page"
done

# references to our own pages
sed -n 's/^\.Xr \(csv[a-z]*\|[a-z]*\.csvfs\) \([0-9]\).*/\1.\2/p' "${pages[@]}" | sort -u >"$TMP/refs"
[[ -s $TMP/refs ]] || fail 'no references at all'
while read -r ref; do
	[[ -e man/$ref ]] || fail "a page refers to $ref, which does not exist"
done <"$TMP/refs"
