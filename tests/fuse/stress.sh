#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Random file operations of several threads on one mount agree with a model, across a remount and a
# SIGKILL of the mount, and the volume is whole after it. With a build that has sanitizers, they have
# nothing to say.
source "$(dirname "$0")/../lib.sh"
[[ -e /dev/fuse ]] || skip 'no /dev/fuse'
root_only
need jq
STRESS=$BUILD/tests/fuse/fuse-stress
[[ -x $STRESS ]] || skip 'fuse-stress is not built'

mounts()
{
	grep -qF " $MNT " /proc/self/mounts
}

# status JQ-FILTER
status()
{
	csvadm --control "$TMP/control" status --json | jq -r "$1"
}

# wrote N : the mount has carried out so many writes
wrote()
{
	(($(status .io.write_ops) >= $1))
}

mkdir "$TMP/control"
single_up 1G "control=$TMP/control"
"$STRESS" -t 4 -s 7 "$MNT"
"$STRESS" -t 4 -s 5 -m shared "$MNT"
sum=$(sha256sum <"$MNT/shared")
single_umount
single_mount "control=$TMP/control"
same 'the shared file after a remount' "$(sha256sum <"$MNT/shared")" "$sum"

# Killed in the middle: the next one replays, and goes on with what was half freed.
"$STRESS" -t 4 -s 60 "$MNT" 2>/dev/null &
stress=$!
cleanup "kill $stress 2>/dev/null"
wait_for 60 wrote 400
kill -9 "$(status .node.pid)"
wait "$stress" || true
umount -l "$MNT"
refuse mounts
single_mount "control=$TMP/control"
same 'the shared file after a kill' "$(sha256sum <"$MNT/shared")" "$sum"
rm "$MNT"/shared "$MNT"/stress-*
"$STRESS" -t 4 -s 5 "$MNT"
single_clean
