#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# ShellCheck has nothing to say about the shell scripts.
# timeout: 300
# shellcheck source=tests/lint/common.bash
source "$(dirname "$0")/common.bash"

command -v shellcheck >/dev/null || {
	echo 'skipped: shellcheck is not installed'
	exit 77
}
scripts=()
while read -r file; do
	read -r first <"$file" 2>/dev/null || true
	case ${first:-} in
	'#!'*sh | '# shellcheck shell='*) scripts+=("$file") ;;
	esac
done < <(sources '*')
complaints < <(((${#scripts[@]})) && shellcheck -x -f gcc -- "${scripts[@]}")
lint_end
