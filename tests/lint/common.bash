# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Sourced by the lint scripts: goes to the tree's root (or LINT_ROOT, for self_test.sh), lists the
# sources, counts complaints. A script ends with `lint_end`.
set -euo pipefail

cd "${LINT_ROOT:-$(dirname "${BASH_SOURCE[0]}")/../..}"
LINT_COMPLAINTS=0

# sources PATTERN… : what git knows or would take; all files where there is no git
sources()
{
	local file
	if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
		git ls-files -co --exclude-standard -- "$@" | sort -u
	else
		for pattern in "$@"; do
			find . -type f -path "*/${pattern#./}" -not -path './build*' | sed 's,^\./,,'
		done | sort -u
	fi | while read -r file; do
		# not what is deleted in the work tree, or a link
		[[ ! -f $file || -L $file ]] || echo "$file"
	done
}

# complain PLACE TEXT
complain()
{
	echo "$1: $2"
	LINT_COMPLAINTS=$((LINT_COMPLAINTS + 1))
}

# complaints : each line of standard input is one
complaints()
{
	local line
	while IFS= read -r line; do
		echo "$line"
		LINT_COMPLAINTS=$((LINT_COMPLAINTS + 1))
	done
}

lint_end()
{
	((LINT_COMPLAINTS == 0)) && exit 0
	echo "${0##*/}: $LINT_COMPLAINTS complaints"
	exit 1
}
