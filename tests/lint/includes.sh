#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Includes look down the layers only; private headers and foreign libraries stay in their folder.
# shellcheck source=tests/lint/common.bash
source "$(dirname "$0")/common.bash"

# What a folder's files may include, beside the folder itself.
declare -A BELOW=(
	[util]=''
	[blockdev]='util'
	[journal]='util blockdev'
	[csvfs/core]='util blockdev journal'
	[csvfs/proto]='util csvfs/core'
	[lockmgr]='util blockdev'
	[csvfs/coord]='util blockdev journal csvfs/core csvfs/proto lockmgr'
	[csvfs/node]='util blockdev csvfs/core csvfs/proto lockmgr'
	[csvfs/fuse]='util csvfs/core csvfs/proto csvfs/node'
	[csvfs/volume]='util blockdev journal csvfs/core csvfs/proto lockmgr csvfs/coord csvfs/node csvfs/fuse'
	[vmm]='util blockdev'
	[tools]='util blockdev journal csvfs/core csvfs/proto lockmgr csvfs/coord csvfs/node csvfs/fuse csvfs/volume'
	[bench]='util blockdev journal csvfs/core csvfs/proto lockmgr csvfs/coord csvfs/node csvfs/fuse csvfs/volume'
)

# Where alone a library's headers are known (extended regular expressions).
declare -A HOME_OF=(
	['^fuse']='^(csvfs/fuse)/'
	['^(iscsi|libiscsi)']='^(blockdev|bench|tests)/'
	['^libnbd']='^(blockdev|tests)/'
	['^libaio']='^(blockdev|tests)/'
	['^corosync/']='^(lockmgr|tools|tests)/'
	['^gnutls/']='^(util|csvfs/volume|tests)/'
	['^isa-l']='^util/'
)

ours()
{
	local file=$1 line=$2 header=$3 from=${1%/*} to=${3%/*}

	[[ -f $header ]] || {
		complain "$file:$line" "\"$header\" is not a path from the root"
		return
	}
	[[ $from == tests/* || $from == "$to" ]] && return
	[[ $header != *_internal.h ]] || complain "$file:$line" "$header is private to $to"
	if [[ $header == *_format.h && $from != tools && $to != csvfs/proto ]]; then
		complain "$file:$line" "only $to (and tools) knows the bytes of $header"
	fi
	if [[ ! -v BELOW[$from] ]]; then
		complain "$file" "folder $from has no place in the layers (tests/lint/includes.sh)"
	elif [[ " ${BELOW[$from]} " != *" $to "* ]]; then
		complain "$file:$line" "$from does not stand on $to ($header)"
	fi
}

foreign()
{
	local file=$1 line=$2 header=$3 library
	for library in "${!HOME_OF[@]}"; do
		if [[ $header =~ $library && ! $file =~ ${HOME_OF[$library]} ]]; then
			complain "$file:$line" "<$header> is not for this folder"
		fi
	done
}

mapfile -t files < <(sources '*.c' '*.h')
while IFS=: read -r file line text; do
	if [[ $text =~ \"([^\"]+)\" ]]; then
		ours "$file" "$line" "${BASH_REMATCH[1]}"
	elif [[ $text =~ \<([^\>]+)\> ]]; then
		foreign "$file" "$line" "${BASH_REMATCH[1]}"
	fi
done < <(((${#files[@]})) && grep -nHE '^[[:space:]]*#[[:space:]]*include' -- "${files[@]}")
lint_end
