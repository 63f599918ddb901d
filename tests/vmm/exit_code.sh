#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# An emulated host gives back a command's exit code and its output; one that does not come up
# ends with 125.
# timeout: 300
source "$(dirname "$0")/../lib.sh"

root_only
need qemu-system-x86_64 busybox

rc=0
# shellcheck disable=SC2016 # for the shell in there
out=$("$SRC/tests/vmm/host" --emulate --cpus 1 -- bash -c 'echo "$1"; exit 7' - "two  words") || rc=$?
same 'the exit code' "$rc" 7
same 'the output' "$(tr -d '\r' <<<"$out")" 'two  words'

rc=0
# too little memory for the kernel
"$SRC/tests/vmm/host" --emulate --cpus 1 --memory 16 -- true 2>/dev/null || rc=$?
same 'the exit code of a host that does not come up' "$rc" 125
