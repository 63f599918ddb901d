#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Each header compiles alone, and twice.
# timeout: 300
# shellcheck source=tests/lint/common.bash
source "$(dirname "$0")/common.bash"

flags=(-std=gnu17 -D_GNU_SOURCE -DFUSE_USE_VERSION=314 -I. -msse4.2 -fsyntax-only
	-Wall -Wextra -Wno-unused-parameter -Werror)
for library in fuse3 libiscsi libnbd gnutls json-c uuid blkid; do
	# a header that needs a library that is missing complains for itself
	read -ra more < <(pkg-config --cflags "$library" 2>/dev/null || true) || true
	flags+=(${more[@]+"${more[@]}"})
done

check()
{
	local out
	out=$(printf '#include "%s"\n#include "%s"\n' "$1" "$1" |
		"${CC:-cc}" "${flags[@]}" -x c - 2>&1) || printf '%s: does not compile alone: %s\n' "$1" \
		"$(grep -m1 error <<<"$out")"
}

mapfile -t headers < <(sources '*.h')
# as many at a time as there are CPUs; short lines do not mix
complaints < <(
	for header in ${headers[@]+"${headers[@]}"}; do
		while (($(jobs -pr | wc -l) >= $(nproc))); do
			wait -n || true
		done
		check "$header" &
	done
	wait
)
lint_end
