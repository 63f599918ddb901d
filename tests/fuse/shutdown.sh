#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The shutdown ioctl, root only: the mount ends at once; all that was acknowledged is there at the next.
source "$(dirname "$0")/../lib.sh"
root_only
need python3

# shutdown UID PATH : errno of the call
shutdown()
{
	python3 - "$@" <<'END'
import fcntl, os, sys
fd = os.open(sys.argv[2], os.O_RDONLY)
os.setuid(int(sys.argv[1]))
try:
    fcntl.ioctl(fd, 0x8004587d, b'\2\0\0\0')    # FS_IOC_SHUTDOWN
    print(0)
except OSError as e:
    print(e.errno)
END
}

single_up 256M
for turn in 1 2 3; do
	for i in {1..50}; do
		echo "text $turn $i" >"$MNT/file $turn $i"
	done
	setfattr -n user.turn -v "$turn" "$MNT"
	rm -f "$MNT"/*' '$((turn - 1))' '*
	head -c 300000 /dev/zero | tr '\0' "$turn" >"$MNT/large"
	same 'for a user' "$(shutdown 1001 "$MNT")" 1
	test -e "$MNT/large"
	same 'for root' "$(shutdown 0 "$MNT")" 0
	wait_for 10 single_gone
	refuse test -e "$MNT/large"
	umount "$MNT"
	single_mount
	same 'attribute' "$(getfattr --only-values -n user.turn --absolute-names "$MNT")" "$turn"
	same 'files' "$(find "$MNT" -name 'file*' | wc -l)" 50
	for i in {1..50}; do
		same 'text' "$(cat "$MNT/file $turn $i")" "text $turn $i"
	done
	same 'large' "$(tr -d "$turn" <"$MNT/large" | wc -c) $(stat -c %s "$MNT/large")" '0 300000'
done
single_clean
