#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Each code of the check stands in the sources, in docs/FORMAT.md 12, in fsck.csvfs.checks(7), and in a
# test that makes it come.
source "$(dirname "$0")/../lib.sh"

cd "$SRC"
{
	grep -rhoE 'check_say\([^;]*' --include='check*.c' csvfs/core -z | tr '\0\n' '  ' |
		grep -oE 'check_say\([^;]*' | grep -oE '"[a-z]+-[a-z]+"' | tr -d '"'
	grep -ohE '"nlink"|"unreachable"' csvfs/core/check*.c | tr -d '"'
	grep -ohE '"(bad-log|log-hole)' tools/fsck_volume.c | tr -d '"'
} | sort -u >"$TMP/source"
	# shellcheck disable=SC2016 # the backquotes are markdown's
sed -n '/^## 12/,/^## 13/s/^| `\([a-z-]*\)` .*/\1/p' docs/FORMAT.md | sort >"$TMP/format"
sed -n 's/^\.It Cm \([a-z-]*\)$/\1/p' man/fsck.csvfs.checks.7 | sort >"$TMP/page"
(($(wc -l <"$TMP/source") >= 40)) || fail "found only $(wc -l <"$TMP/source") codes in the sources"
diff "$TMP/source" "$TMP/format" || fail 'codes: < only in the sources, > only in FORMAT.md'
diff "$TMP/source" "$TMP/page" || fail 'codes: < only in the sources, > only in fsck.csvfs.checks(7)'
while read -r code; do
	grep -qrw -- "$code" tests/unit tests/fsck || fail "no test makes $code come"
done <"$TMP/source"
