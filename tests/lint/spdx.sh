#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Each source says its licence, once, in its first lines.
# shellcheck source=tests/lint/common.bash
source "$(dirname "$0")/common.bash"

LICENCE='SPDX-License-Identifier: GPL-2.0-or-later'

mapfile -t files < <(sources '*')
# Scripts without a name's ending tell by their first line.
complaints < <(((${#files[@]})) && awk -v licence="$LICENCE" '
	function judge()
	{
		if (source && !said)
			printf "%s: no line \"%s\"\n", name, licence
	}
	FNR == 1 {
		judge()
		name = FILENAME
		said = 0
		source = name ~ /\.(c|h|sh|bash|py|awk)$/ || name ~ /(^|\/)meson\.build$/ || /^#!/
	}
	FNR <= 3 && index($0, licence) { said = 1 }
	FNR > 3 { nextfile }
	END { judge() }' "${files[@]}")
lint_end
