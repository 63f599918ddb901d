#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What the README files say exists: each link, each script, each command and its options.
source "$(dirname "$0")/../lib.sh"

cd "$SRC"
mapfile -t pages < <(find . -name '*.md' -not -path './.git/*' -not -path './build*' | sort)
((${#pages[@]} >= 6)) || fail "only ${#pages[@]} pages"
[[ " ${pages[*]} " == *' ./README.md '* ]] || fail 'no README.md at the top'

# ---- links: [text](target), where no scheme stands in front
nr=0
for page in "${pages[@]}"; do
	while read -r target; do
		file=${target%%#*}
		nr=$((nr + 1))
		[[ -z $file || -e $(dirname "$page")/$file ]] || fail "$page: link to $target"
		[[ $target == *'#'* ]] || continue
		# a heading "## Two words" is #two-words
		anchor=${target#*#}
		sed -n 's/^#\+ //p' "${file:+$(dirname "$page")/}${file:-$page}" | tr '[:upper:]' '[:lower:]' |
			sed 's/[^a-z0-9 _-]//g; s/ /-/g' | grep -qx -- "$anchor" || fail "$page: no heading for $target"
	done < <(grep -oE '\]\([^)]+\)' "$page" | sed 's/^](//; s/)$//; /^[a-z]*:\/\//d' || true)
done
((nr >= 10)) || fail "only $nr links"

# ---- scripts and folders of ours that are named in code
for page in "${pages[@]}"; do
	while read -r path; do
		# it may be a pattern
		compgen -G "$path" >/dev/null || compgen -G "$(dirname "$page")/$path" >/dev/null || fail "$page names $path, which does not exist"
	done < <(grep -oE '(^|[ `	])(tools|tests|bench|man|docs)/[a-zA-Z0-9_/.*-]+' "$page" |
		sed 's/^[ `	]//; s/[.,:]$//; /NAME/d' | sort -u || true)
done

# ---- the folder table at the top is complete
for folder in */; do
	[[ $folder != build* ]] || continue
	git -c safe.directory='*' ls-files --error-unmatch "$folder" >/dev/null 2>&1 || continue
	grep -q "^| \[$folder\]" README.md || fail "README.md: the table lacks $folder"
done

# ---- commands in the top README and in csvfs(7): the program and its long options exist
check_command()
{
	local program=$1 word help
	shift
	case $program in
	tools/* | tests/* | bench/*)
		[[ -x $program ]] || fail "$program is no program"
		help=$("$program" --help)
		;;
	mkfs.csvfs | mount.csvfs | csvadm) help=$("$program" --help) ;;
	*) return 0 ;;
	esac
	for word; do
		[[ $word != '#' && $word != '&&' ]] || break
		[[ $word != -* ]] || grep -q -- "$word" <<<"$help" || fail "$program has no $word"
	done
	[[ $program != csvadm || -z ${1:-} ]] || "$program" "$1" --help >/dev/null || fail "csvadm has no $1"
	seen=$((seen + 1))
}
seen=0
while read -ra words; do
	((${#words[@]} == 0)) || check_command "${words[@]}"
done < <({
	sed -n 's/^\t//p' README.md
	sed -n '/^\.Bd -literal/,/^\.Ed/p' man/*.[1-9]
	# shellcheck disable=SC2016 # those quotes are the page's
	grep -hoE '`(tools|tests|bench)/[^`]+`' README.md | tr -d '`' || true
} | sed 's/&&/\n/g')
((seen >= 10)) || fail "found only $seen commands"
