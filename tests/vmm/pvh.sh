#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Debian's kernel without its own unpacking: the ELF file out of its bzImage, by its PVH entry, with 1
# and 2 CPUs, an initrd and a disk.
# run: named
# timeout: 600
source "$(dirname "$0")/vmm.bash"
# shellcheck source=tests/vmm/guest.bash
source "$(dirname "$0")/guest.bash"
need csvvm busybox mkfs.ext4 python3 xz

# where the packed kernel is in a bzImage: Documentation/arch/x86/boot.rst
python3 - "$GUEST_KERNEL" >"$TMP/packed" <<'END_PYTHON'
import struct, sys
image = open(sys.argv[1], 'rb').read()
start = (image[0x1f1] + 1) * 512 + struct.unpack_from('<I', image, 0x248)[0]
sys.stdout.buffer.write(image[start:start + struct.unpack_from('<I', image, 0x24c)[0]])
END_PYTHON
# its length follows, which xz takes for garbage
xz -dc --single-stream <"$TMP/packed" >"$TMP/vmlinux"
make_guest_initrd "$TMP/initrd" virtio_pci virtio_blk ext4
make_guest_root "$TMP/root.img" <<'END_GUEST'
nproc | sed 's/^/cpus: /'
cat /proc/cmdline
END_GUEST

for cpus in 1 2; do
	timeout 400 csvvm run --kernel="$TMP/vmlinux" --initrd="$TMP/initrd" --memory=384M --cpus="$cpus" \
		--append="$GUEST_APPEND it-is-pvh" --disk="$TMP/root.img" </dev/null >"$TMP/console" || {
		tail -n 40 "$TMP/console"
		fail "csvvm with $cpus CPUs ended $?"
	}
	said "cpus: $cpus"
	said "$GUEST_APPEND it-is-pvh"
done
