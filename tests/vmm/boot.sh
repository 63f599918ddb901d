#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Debian's kernel, as it is, boots with 1, 2 and 8 CPUs, mounts a root on virtio-blk, writes to it and
# to a second disk by every CPU, and powers off; what csvvm leaves
# on the disk has a clean file system with the bytes that the guest says it wrote.
# run: named
# timeout: 1500
source "$(dirname "$0")/vmm.bash"
# shellcheck source=tests/vmm/guest.bash
source "$(dirname "$0")/guest.bash"
need csvvm busybox mkfs.ext4 e2fsck debugfs sha256sum

make_guest_initrd "$TMP/initrd" virtio_pci virtio_blk ext4

# boot CPUS WANT-EXIT : one life of the guest
boot()
{
	local rc=0
	timeout 400 csvvm run --kernel="$GUEST_KERNEL" --initrd="$TMP/initrd" --memory=384M \
		--cpus="$1" --append="$GUEST_APPEND" --disk="$TMP/root.img" \
		--disk="$TMP/data.img" --disk="$TMP/ro.img,ro" "${@:3}" \
		</dev/null >"$TMP/console" 2>"$TMP/err" || rc=$?
	((rc == $2)) || {
		tail -n 40 "$TMP/console" "$TMP/err"
		fail "csvvm with $1 CPUs ended $rc"
	}
	tr -d '\r' <"$TMP/console" >"$TMP/lines"
}

# said TEXT : the guest wrote this line
said()
{
	grep -qxF "$1" "$TMP/lines" || {
		tail -n 40 "$TMP/lines"
		fail "the guest did not say '$1'"
	}
}

for cpus in 1 2 8; do
	make_guest_root "$TMP/root.img" <<'END_GUEST'
nproc | sed 's/^/cpus: /'
cmp /dev/vdc /expected && echo 'ro: same'
echo x 2>/dev/null >/dev/vdc && echo 'ro: written' || echo 'ro: refused'
mkdir -p /data
for cpu in $(seq 0 $(($(nproc) - 1))); do
	(dd if=/dev/urandom of=/data/$cpu bs=64k count=16 conv=fsync 2>/dev/null) &
done
wait
cat /data/* | sha256sum | sed 's/^/wrote: /'
dd if=/dev/urandom of=/pattern bs=4k count=64 2>/dev/null
dd if=/pattern of=/dev/vdb bs=4k seek=100 conv=fsync 2>/dev/null
echo 3 >/proc/sys/vm/drop_caches
dd if=/dev/vdb bs=4k skip=100 count=64 2>/dev/null | cmp - /pattern && echo 'data: same'
sha256sum </pattern | sed 's/^/pattern: /'
END_GUEST
	truncate -s 8M "$TMP/data.img"
	dd if=/dev/urandom of="$TMP/ro.img" bs=64k count=4 status=none
	debugfs -w -R "write $TMP/ro.img expected" "$TMP/root.img" >/dev/null 2>&1
	boot "$cpus" 0
	said "cpus: $cpus"
	said 'ro: same'
	said 'ro: refused'
	said 'data: same'
	# what is on the disks now, seen from outside
	e2fsck -fn "$TMP/root.img" >"$TMP/fsck" 2>&1 || {
		cat "$TMP/fsck"
		fail "the root is not clean after $cpus CPUs"
	}
	mkdir -p "$TMP/out"
	debugfs -R "rdump /data $TMP/out" "$TMP/root.img" >/dev/null 2>&1
	said "wrote: $(cat "$TMP"/out/data/* | sha256sum)"
	said "pattern: $(dd if="$TMP/data.img" bs=4k skip=100 count=64 status=none | sha256sum)"
	rm -rf "$TMP/out"
done
