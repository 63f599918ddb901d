# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Sourced after cluster.bash.

# need_mmap : skips where the kernel's FUSE has no shared mappings beside direct I/O
need_mmap()
{
	local version
	version=$(uname -r)
	[[ $(printf '%s\n' 6.6 "$version" | sort -V | head -n 1) == 6.6 ]] ||
		skip "shared mappings need Linux 6.6, this is $version"
}
