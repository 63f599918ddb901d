#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# No path of one machine or one person, no conflict marker, no blank at the end of a line.
# shellcheck source=tests/lint/common.bash
source "$(dirname "$0")/common.bash"

# ([x] keeps a pattern from finding itself.)
PATHS='(^|[^[:alnum:]_.$}>-])/([w]ork|[h]ome/[a-z]+|[r]oot/[.a-z]|[U]sers/[A-Za-z]|mnt/[c]/)'
mapfile -t files < <(sources '*')

# look PATTERN COMPLAINT
look()
{
	((${#files[@]})) || return 0
	complaints < <(grep -IHnE "$1" -- "${files[@]}" | sed "s/^\([^:]*:[0-9]*\):/\1: $2: /")
}

look "$PATHS" 'a path of one machine'
look '^([<]{7}|[>]{7}|[=]{7})( |$)' 'a conflict marker'
look '[[:blank:]]+$' 'blank at the end'
lint_end
