#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A node whose kernel does not show it the new size keeps the volume from being grown, and is named; when it
# has looked again the volume grows. A node that comes back without having looked is refused.
# timeout: 180
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/cluster.bash"
source "$(dirname "$0")/grow.bash"

lab_up --nodes 3 --backend file --size 256M
BACKEND='file'
loop=$(losetup -f --show --direct-io=on "$LAB_DIR/disk-1.img") || skip 'no loop devices'
cleanup "losetup -d $loop || :"
mount_loop()
{
	node 3 timeout 60 mount.csvfs "$loop" "$MNT" -o "key=$LAB_DIR/key-1"
}
node 3 umount "$MNT"
mount_loop
enlarge 1G
says 'n3.* sees 256' node 1 csvadm grow
says 'Nothing was changed' node 3 csvadm grow
same 'the volume' "$(volume_bytes 2)" $((256 << 20))
losetup -c "$loop"
same 'grown' "$(node 1 csvadm grow --json --size 512M | jq .new_bytes)" $((512 << 20))
head -c 300M /dev/urandom >"$TMP/data-3"
own_file 3
node 1 cmp "$TMP/data-3" "$MNT/new-3"

# away while it grows once more
node 3 umount "$MNT"
losetup -d "$loop"
loop=$(losetup -f --show --direct-io=on --sizelimit 512M "$LAB_DIR/disk-1.img")
cleanup "losetup -d $loop || :"
same 'grown again' "$(node 2 csvadm grow --json | jq .new_bytes)" $((1 << 30))
says 'smaller than the volume' mount_loop
volume_clean
