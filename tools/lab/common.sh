# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What csvlab, quickstart and tests/run share: messages, waiting, root, the build.

CSVFS_SRC=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export PATH="$PATH:/usr/sbin:/sbin"

die()
{
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# Milliseconds since some point in the past. Never steps back with the wall clock by much here:
# /proc/uptime is the boot clock, in hundredths.
now_ms()
{
	local up rest
	read -r up rest </proc/uptime
	: "$rest"
	echo $((10#${up/./} * 10))
}

# wait_until SECONDS CMD… : runs CMD until it succeeds; fails when SECONDS are over.
wait_until()
{
	local end=$(($(now_ms) + $1 * 1000))
	shift
	until "$@"; do
		(($(now_ms) < end)) || return 1
		sleep 0.05
	done
}

# need_root ARGS… : goes on as root, through sudo if need be, with the script's own arguments.
need_root()
{
	((EUID == 0)) && return
	command -v sudo >/dev/null || die 'must run as root (sudo is not installed)'
	exec sudo --preserve-env=CSVFS_BUILD,CSVLAB_NO_MOUNT,CSVLAB_NAME -- "$0" "$@"
}

# KVM that runs any kernel. There are ones without VMX or SVM (PVM, in rented machines) that run only
# kernels made for them.
have_kvm()
{
	[[ -c /dev/kvm ]] && grep -qwE 'vmx|svm' /proc/cpuinfo
}

build_dir()
{
	echo "${CSVFS_BUILD:-$CSVFS_SRC/build}"
}

# as_owner CMD… : runs CMD as the user the source tree belongs to, so that a build through sudo
# leaves no files of root's in a user's checkout.
as_owner()
{
	local owner
	owner=$(stat -c %U "$CSVFS_SRC")
	if ((EUID == 0)) && [[ $owner != root && $owner != UNKNOWN ]]; then
		runuser -u "$owner" -- "$@"
	else
		"$@"
	fi
}

# build_programs [MESON-OPTION…] : configures when needed and builds; quiet unless it fails. Labs
# that come up at the same time take turns.
build_programs()
{
	local dir log lock rc
	dir=$(build_dir)
	as_owner mkdir -p "$dir" && exec {lock}<"$dir" && flock "$lock" || return
	log=$(mktemp) || return
	build_steps "$dir" "$@" >"$log" 2>&1 </dev/null
	rc=$?
	exec {lock}<&-
	((rc == 0)) || tail -n 40 "$log" >&2
	rm -f "$log"
	return "$rc"
}

build_steps()
{
	local dir=$1
	shift
	if [[ ! -e $dir/build.ninja ]]; then
		as_owner meson setup "$@" "$dir" "$CSVFS_SRC" || return
	elif (($#)); then
		as_owner meson configure "$@" "$dir" >/dev/null || return
	fi
	as_owner ninja -C "$dir"
}

# link_programs DIR : makes DIR hold a link to each built program, wherever the build put it.
link_programs()
{
	local dir prog
	dir=$(build_dir)
	mkdir -p "$1" || return
	[[ -d $dir ]] || return 0
	find "$dir" -type f -perm -u+x \( -name '*.csvfs' -o -name csvadm -o -name csvvm \) |
		while read -r prog; do
			ln -sfn "$(realpath "$prog")" "$1/${prog##*/}"
		done
}

# to_bytes SIZE : 512M, 8G … as a number; fails when it is none.
to_bytes()
{
	[[ $1 =~ ^[0-9]+[KMGTP]?$ ]] && numfmt --from=iec "$1"
}
