#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The shutdown ioctl, root only: from its answer on the mount gives EIO and nothing else, also to who
# was waiting, and the device is free; all that was acknowledged is there at the next mount.
# timeout: 240
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

# errors FILE : of what is done on an open file, before the shutdown and after it
errors()
{
	python3 - "$@" <<'END'
import errno, fcntl, mmap, os, pathlib, sys, threading, time
path = sys.argv[1]
fd = os.open(path, os.O_RDWR)
pages = mmap.mmap(fd, 4096)
other = os.open(path, os.O_RDWR)
got = []
def error(call, *args):
    try:
        call(*args)
        return 'none'
    except OSError as e:
        return errno.errorcode[e.errno]
# A lock that the daemon has been asked for, and does not answer: who waits is told, too.
def lock():
    got.append(error(fcntl.flock, other, fcntl.LOCK_EX))
fcntl.flock(fd, fcntl.LOCK_EX)
waiter = threading.Thread(target=lock)
waiter.start()
def blocked():
    return any('request_wait_answer' in t.read_text() for t in
               pathlib.Path('/proc/self/task').glob('*/stack'))
deadline = time.monotonic() + 30
while not blocked() and time.monotonic() < deadline:
    pass
pages[0:4] = b'dirt'
print(error(fcntl.ioctl, fd, 0x8004587d, b'\2\0\0\0'))
print(error(os.pread, fd, 10, 0), error(os.pwrite, fd, b'x', 0), error(os.fsync, fd),
      error(os.stat, path), error(os.listdir, os.path.dirname(path)),
      error(os.mkdir, path + '-dir'), error(fcntl.ioctl, fd, 0x8004587d, b'\2\0\0\0'))
waiter.join()
print(got[0])
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
	refuse test -e "$MNT/large"
	single_umount
	single_mount
	same 'attribute' "$(getfattr --only-values -n user.turn --absolute-names "$MNT")" "$turn"
	same 'files' "$(find "$MNT" -name 'file*' | wc -l)" 50
	for i in {1..50}; do
		same 'text' "$(cat "$MNT/file $turn $i")" "text $turn $i"
	done
	same 'large' "$(tr -d "$turn" <"$MNT/large" | wc -c) $(stat -c %s "$MNT/large")" '0 300000'
done
# Linux 6.9 has what this needs (FUSE_NOTIFY_RESEND); before, the connection ends with the daemon.
if [[ $(printf '%s\n' 6.9 "$(uname -r)" | sort -V | head -n 1) == 6.9 ]]; then
	same 'errors' "$(errors "$MNT/large" | tr '\n' ';')" 'none;EIO EIO EIO EIO EIO EIO none;EIO;'
	mkdir "$TMP/second" # the device is free already
	mount.csvfs "file:$DEV" "$TMP/second" -o single
	same 'large' "$(stat -c %s "$TMP/second/large")" 300000
	umount "$TMP/second"
	single_umount
	single_mount
fi
single_clean
