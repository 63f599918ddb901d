#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Overwrites and reads of what is written send nothing to the coordinator, by root and by a user whose
# writes take set-user-id and capabilities away, on files with and without attributes. The twin: the
# first write to a file that has something to lose does ask.
source "$(dirname "$0")/../lib.sh"
root_only
need jq python3 setfattr setfacl

# requests : how many the coordinator got so far; not counting what this asks itself
requests()
{
	csvadm status --json "$MNT" | jq '.coordinator.requests | .total - .STATFS'
}

# overwrite FILE CMD… : 20 writes by one process that is started with CMD; how many requests they took
overwrite()
{
	local file=$1
	shift
	"$@" python3 - "$TMP" "${file#"$TMP"/}" <<'END' &
import os, sys, time
top, file = sys.argv[1:]
os.chdir(top) # the user may search it, and not what is above
go, ready, done, end = 'go', 'ready', 'done', 'end'
if 'AS' in os.environ:
    os.setgroups([])
    os.setgid(int(os.environ['AS']))
    os.setuid(int(os.environ['AS']))
def wait(path):
    deadline = time.monotonic() + 30
    while not os.path.exists(path):
        assert time.monotonic() < deadline, path
        time.sleep(0.01)
fd = os.open(file, os.O_RDWR)
if not os.environ.get('COLD'):
    os.pwrite(fd, b'w' * 4096, 0)
    os.pread(fd, 4096, 8192)
open(ready, 'w').close()
wait(go)
for i in range(20):
    assert os.pwrite(fd, b'x' * 4096, i * 4096) == 4096
    assert len(os.pread(fd, 4096, i * 4096)) == 4096
open(done, 'w').close()
wait(end)
END
	local pid=$! before
	wait_for 30 test -e "$TMP/ready"
	before=$(requests)
	touch "$TMP/go"
	wait_for 30 test -e "$TMP/done"
	echo $(($(requests) - before))
	touch "$TMP/end"
	wait "$pid"
	rm -f "$TMP"/{go,ready,done,end}
}

single_up 256M
chmod 777 "$TMP" "$MNT"
for file in plain attributes list; do
	dd if=/dev/zero of="$MNT/$file" bs=1M count=1 status=none
	chmod 666 "$MNT/$file"
done
setfattr -n user.name -v value "$MNT/attributes"
setfacl -m u:1001:rw "$MNT/list"
user=(env AS=1001)
for file in plain attributes list; do
	same "requests of root, $file" "$(overwrite "$MNT/$file" env)" 0
	same "requests of a user, $file" "$(overwrite "$MNT/$file" "${user[@]}")" 0
done
chmod 4777 "$MNT/plain"
same 'requests of root, set-user-id' "$(overwrite "$MNT/plain" env)" 0
same 'it is still there' "$(stat -c %a "$MNT/plain")" 4777
export COLD=1
asked=$(overwrite "$MNT/plain" "${user[@]}")
[[ $asked -ge 1 ]] || fail "a write that takes set-user-id away asked for nothing"
[[ $asked -le 3 ]] || fail "it asked $asked times"
same 'it is gone' "$(stat -c %a "$MNT/plain")" 777
single_clean
