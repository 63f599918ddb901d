#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A Debian root image, made with debootstrap on node 1, boots from the mount on node 2 to a login
# prompt; what is written in the guest is in the image as node 3 reads it.
# timeout: 420
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/cluster.bash"
need debootstrap mke2fs debugfs e2fsck qemu-system-x86_64 python3
root_only

# The tree is kept between runs: packages are fetched once. Whoever makes it moves it into place when
# it is whole.
CACHE=${CSVFS_TEST_CACHE:-/var/tmp/csvfs-test-cache}
TREE=$CACHE/debian-bookworm-1

mirror()
{
	local found
	found=$(sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb  *\(http[^ ]*\).*/\1/p' \
		/etc/apt/sources.list /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -n 1) || :
	echo "${found:-http://deb.debian.org/debian}"
}

make_tree()
{
	local new=$TMP/tree
	debootstrap --variant=minbase --include=init,udev,linux-image-cloud-amd64 bookworm "$new" \
		"$(mirror)" >"$TMP/debootstrap.log" 2>&1 || {
		tail -n 20 "$TMP/debootstrap.log" >&2
		fail 'debootstrap failed'
	}
	echo '/dev/vda / ext4 defaults 0 1' >"$new/etc/fstab"
	echo csvguest >"$new/etc/hostname"
	# root logs in without a password
	sed -i 's/^root:[^:]*:/root::/' "$new/etc/shadow"
	ln -sfn /dev/null "$new/etc/systemd/system/apt-daily.timer"
	ln -sfn /dev/null "$new/etc/systemd/system/apt-daily-upgrade.timer"
	rm -rf "$new"/var/cache/apt/archives/*.deb "$new"/var/lib/apt/lists/* "$new"/usr/share/{doc,man,locale}
	mv -T "$new" "$TREE"
}

[[ -d $CACHE ]] || mkdir -m 700 "$CACHE"
[[ -O $CACHE && ! -L $CACHE ]] || fail "$CACHE belongs to someone else"
exec {lock}<"$CACHE"
flock "$lock"
[[ -d $TREE ]] || make_tree
exec {lock}<&-

IMAGE=$MNT/debian.img
lab_up --nodes 3 --size 4G
node 1 mke2fs -q -t ext4 -E root_owner=0:0 -d "$TREE" "$IMAGE" 1G
node 1 e2fsck -fn "$IMAGE" >"$TMP/e2fsck" 2>&1 || fail "$(cat "$TMP/e2fsck")"

# kernel and initrd come out of the image, too
for file in vmlinuz initrd.img; do
	name=$(cd "$TREE/boot" && ls -d "$file"-*)
	node 2 debugfs -R "dump /boot/$name $TMP/$file" "$IMAGE" 2>/dev/null
	cmp "$TMP/$file" "$TREE/boot/$name"
done

# the guest's console: logs in as soon as it is asked, writes a file, powers off
cat >"$TMP/console.py" <<'END'
import os
import select
import subprocess
import sys
import time

image, tmp = sys.argv[1:]
word = os.urandom(8).hex()
guest = subprocess.Popen(
    ['qemu-system-x86_64', '-accel', 'tcg', '-m', '512', '-display', 'none', '-no-reboot',
     '-nic', 'none', '-serial', 'stdio', '-monitor', 'none',
     '-kernel', f'{tmp}/vmlinuz', '-initrd', f'{tmp}/initrd.img',
     '-append', 'root=/dev/vda rw console=ttyS0 systemd.show_status=1 random.trust_cpu=on',
     '-drive', f'file={image},format=raw,if=virtio,cache=none,aio=native'],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE)
out = guest.stdout.fileno()
seen = b''
begin = time.monotonic()


def wait_for(text, seconds):
    global seen
    deadline = time.monotonic() + seconds
    while text not in seen:
        if select.select([out], [], [], max(deadline - time.monotonic(), 0))[0]:
            chunk = os.read(out, 65536)
            seen += chunk
            if chunk:
                continue
        guest.kill()
        sys.exit(f'no {text!r} within {seconds} s; last on the console:\n' +
                 seen[-3000:].decode(errors='replace'))
    seen = seen[seen.index(text) + len(text):]
    print(f'{time.monotonic() - begin:.0f} s: {text.decode()}', flush=True)


def send(line):
    guest.stdin.write(line.encode() + b'\n')
    guest.stdin.flush()


wait_for(b'csvguest login: ', 200)
send('root')
wait_for(b'root@csvguest:~# ', 60)
# (what is typed comes back as an echo: the answer must differ from it)
send(f'echo {word} >/written-by-guest && dd if=/dev/urandom of=/random bs=64k count=64 status=none && '
     'md5sum </random >/random.md5 && sync && echo do""ne')
wait_for(b'done', 60)
send('poweroff')
wait_for(b'Power down', 90)
guest.wait(30)
with open(f'{tmp}/word', 'w') as f:
    f.write(word)
END
node 2 python3 "$TMP/console.py" "$IMAGE" "$TMP"

node 3 e2fsck -fn "$IMAGE" >"$TMP/e2fsck" 2>&1 || fail "$(cat "$TMP/e2fsck")"
same 'what the guest wrote' "$(node 3 debugfs -R 'cat /written-by-guest' "$IMAGE" 2>/dev/null)" "$(cat "$TMP/word")"
node 3 debugfs -R "dump /random $TMP/random" "$IMAGE" 2>/dev/null
same 'its checksum' "$(md5sum <"$TMP/random")" "$(node 3 debugfs -R 'cat /random.md5' "$IMAGE" 2>/dev/null)"
volume_clean
