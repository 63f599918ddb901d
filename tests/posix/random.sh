#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Random calls on a file against a model, buffered and direct; another mount shows the same bytes.
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/posix.bash"

single_up 1G
for seed in 1 2 3 4; do
	mode=
	((seed % 2)) || mode=direct
	program random "$seed" 1500 "$TMP/$seed" $mode 2>"$TMP/log" ||
		fail "$(tr '\r' '\n' <"$TMP/log" | tail -n 3)"
	mv "$MNT/random.d/f" "$MNT/$seed"
done
single_umount
single_mount
for seed in 1 2 3 4; do
	cmp "$MNT/$seed" "$TMP/$seed.model"
done
single_clean
