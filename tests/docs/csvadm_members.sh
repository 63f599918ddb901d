#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Every member of csvadm's JSON stands in csvadm(8), and those that stand there exist.
source "$(dirname "$0")/../lib.sh"

# what the programs write; operations of the protocol are named by the page as a whole
sed -nE 's/.*(add_str|add_u64|add_bool|add_ops|sub)\([a-z]+, "([a-z_]+)".*/\2/p;
	s/.*json_object_object_add\(o, "([a-z_]+)".*/\1/p' "$SRC/csvfs/volume/status.c" >"$TMP/written"
# the device's operations come from a table
sed -nE '/static void add_device/,/^}/s/.*/&/p' "$SRC/csvfs/volume/status.c" |
	grep -oE '\{ "[a-z_]+", BDEV' | grep -oE '[a-z_]{3,}' >>"$TMP/written"
grep -hoE '(json_object_object_add|add)\((o|vol->status), "[a-z_0-9]+"' "$SRC"/tools/csvadm*.c |
	sed -E 's/.*"(.*)"/\1/' >>"$TMP/written"
sort -u "$TMP/written" -o "$TMP/written"
(($(wc -l <"$TMP/written") > 60)) || fail "found only $(wc -l <"$TMP/written") members in the sources"

sed -n '/^\.Sh JSON/,/^\.Sh FILES/p' "$SRC/man/csvadm.8" |
	sed -nE 's/^\.It Va //p; s/^\.Va //p' | sed 's/ Ns .*//; s/\bVa\b//g' | tr -s ' ,.' '\n' |
	grep -E '^[a-z][a-z_0-9]*$' | sort -u >"$TMP/documented"

diff "$TMP/written" "$TMP/documented" || fail '< only in the sources, > only in csvadm(8)'
