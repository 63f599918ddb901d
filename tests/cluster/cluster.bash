# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What scripts of this folder share beside lib.sh; sourced after it.

HERE=$SRC/tests/cluster
MNT=/csv/lab

# drive : runs a Python program (standard input) that does file system calls on any node and looks
# at the results, see nodes.py. DRIVE_WITH: statements in front of it; DRIVE_S: most seconds.
drive()
{
	local secs=${DRIVE_S:-110}
	need python3
	{
		echo "from nodes import *; ${DRIVE_WITH:-}"
		cat
	} >"$TMP/drive.py"
	env CSVLAB="$SRC/tools/csvlab" CSVLAB_NAME="$LAB" NODES="$LAB_NODES" TMP="$TMP" \
		DRIVE_S="$secs" PYTHONPATH="$HERE" PYTHONDONTWRITEBYTECODE=1 \
		timeout -k 5 "$secs" python3 "$TMP/drive.py"
}

# all_unmounted : every mount process has ended
all_unmounted()
{
	local n
	for ((n = 1; n <= LAB_NODES; n++)); do
		node "$n" true 2>/dev/null || continue
		! node "$n" pgrep -x mount.csvfs >/dev/null || return 1
	done
}

# umount_all : in order, on every node that has it
umount_all()
{
	local n
	for ((n = 1; n <= LAB_NODES; n++)); do
		node "$n" true 2>/dev/null || continue
		node "$n" grep -q " $MNT " /proc/mounts || continue
		node "$n" umount "$MNT"
	done
	wait_for 30 all_unmounted
}

# volume_clean : unmounts everywhere; then the engine's check finds nothing wrong
volume_clean()
{
	umount_all
	"$BUILD/tests/cluster/volcheck" "file:$LAB_DIR/disk-1.img" >"$TMP/volcheck" 2>&1 || {
		cat "$TMP/volcheck" >&2
		fail 'the volume has errors'
	}
	tail -n 1 "$TMP/volcheck"
}
