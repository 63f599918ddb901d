#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# `meson install` puts the helpers where mount(8) and mkfs(8) look for them, and the man pages along.
set -eu
build=${CSVFS_BUILD:-build}
[ -f "$build/build.ninja" ] || { echo "skipped: $build is not built"; exit 77; }
dest=$(mktemp -d)
trap 'rm -rf "$dest"' EXIT
DESTDIR=$dest meson install -C "$build" --no-rebuild --quiet
for f in usr/sbin/mount.csvfs usr/sbin/mkfs.csvfs usr/sbin/fsck.csvfs; do
	[ -x "$dest/$f" ] || { echo "not installed: /$f"; exit 1; }
done
for f in csvadm csvfs.7 csvadm.8 mount.csvfs.8 mkfs.csvfs.8 fsck.csvfs.8 fsck.csvfs.checks.7; do
	[ -n "$(find "$dest" -name "$f*" -print -quit)" ] || { echo "not installed: $f"; exit 1; }
done
