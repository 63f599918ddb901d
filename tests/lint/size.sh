#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# No C file is over 800 lines (a test: 1,000), no function over 100.
# shellcheck source=tests/lint/common.bash
source "$(dirname "$0")/common.bash"

# A function's braces stand alone in column 0; so do no others but those of initialisers, which
# open at the end of a line.
mapfile -t files < <(sources '*.c' '*.h')
complaints < <(((${#files[@]})) && awk '
	function judge()
	{
		if (lines > limit)
			printf "%s: %d lines, %d are allowed\n", name, lines, limit
	}
	FNR == 1 {
		judge()
		name = FILENAME
		limit = name ~ /^tests\// ? 1000 : 800
		start = 0
	}
	{ lines = FNR }
	/^\{/ { start = FNR }
	/^\}/ {
		if (start && FNR - start - 1 > 100)
			printf "%s:%d: function of %d lines\n", name, start, FNR - start - 1
		start = 0
	}
	END { judge() }' "${files[@]}")
lint_end
