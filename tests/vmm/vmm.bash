# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Sourced by every script of this suite, instead of lib.sh, which it sources. The script runs in a
# hypervisor host: right here where KVM is, else it starts itself again in an emulated one.

set -Eeuo pipefail

# shellcheck source=tools/lab/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../tools/lab/common.sh"
if [[ -z ${VMM_EMULATED:-} ]] && ! have_kvm; then
	exec "$(dirname "${BASH_SOURCE[0]}")/host" -- "$(realpath "$0")" "$@"
fi
# a folder of the outer machine, maybe
unset TEST_TMPDIR
# shellcheck source=tests/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

# The guest's kernel: the newest of Debian's that is installed.
GUEST_VERSION=$(find /lib/modules -mindepth 1 -maxdepth 1 -printf '%f\n' 2>/dev/null | sort -V | tail -n 1)
export GUEST_KERNEL=/boot/vmlinuz-$GUEST_VERSION
