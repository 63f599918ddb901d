# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What scripts of this folder share beside lib.sh; sourced after it.

# status WANTED [OPTION]… : runs it on the volume in the file DEV
status()
{
	local want=$1 rc=0
	shift
	fsck.csvfs "$@" "file:$DEV" </dev/null >"$TMP/out" 2>"$TMP/err" || rc=$?
	same "exit status of fsck.csvfs $*" "$rc" "$want"
}
