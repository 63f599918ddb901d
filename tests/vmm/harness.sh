#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# In a hypervisor host there is a KVM that makes a virtual machine, and a command's exit code and
# output come back from an emulated one.
# timeout: 300
source "$(dirname "$0")/vmm.bash"

[[ -c /dev/kvm ]] || fail 'no /dev/kvm'
python3 - <<'PY'
import fcntl, os
kvm = os.open('/dev/kvm', os.O_RDWR)
assert fcntl.ioctl(kvm, 0xae00) == 12, 'KVM_GET_API_VERSION'
vm = fcntl.ioctl(kvm, 0xae01, 0)    # KVM_CREATE_VM
fcntl.ioctl(vm, 0xae41, 0)          # KVM_CREATE_VCPU
PY
[[ -f $GUEST_KERNEL ]] || fail "no $GUEST_KERNEL"
