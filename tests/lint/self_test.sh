#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The lint scripts see what they are for: each is run on a tree with one fault and must complain.
set -euo pipefail

LINT=$(realpath "$(dirname "$0")")
TREE=$(mktemp -d)
trap 'rm -rf "$TREE"' EXIT
export LINT_ROOT=$TREE
failures=0

SPDX='/* SPDX-License-Identifier: GPL-2.0-or-later */'

# put FILE TEXT : a C file with its licence
put()
{
	mkdir -p "$TREE/$(dirname "$1")"
	printf '%s\n%b\n' "$SPDX" "$2" >"$TREE/$1"
}

fresh()
{
	rm -rf "${TREE:?}"/*
	put util/a.h '#ifndef A_H\n#define A_H\nstruct a;\nint f(struct a *a);\n#endif'
	put util/a_internal.h '#ifndef AI_H\n#define AI_H\n#endif'
	put journal/j.h '#ifndef J_H\n#define J_H\n#endif'
	put journal/j_format.h '#ifndef JF_H\n#define JF_H\n#endif'
	put journal/j.c '#include "journal/j.h"\n#include "journal/j_format.h"\n#include "util/a.h"'
}

# expect WHAT SCRIPT WANTED : 0 = content, 1 = complains
expect()
{
	local rc=0 out
	out=$("$LINT/$2.sh" 2>&1) || rc=$?
	if ((rc != $3)); then
		echo "$2.sh ended $rc and not $3: $1"
		printf '%s\n' "$out"
		failures=$((failures + 1))
	fi
}

fresh
for script in includes headers spdx size paths; do
	expect 'a tree without faults' "$script" 0
done

put util/b.c '#include "journal/j.h"'
expect 'a lower layer includes a higher one' includes 1
fresh
put journal/k.c '#include "util/a_internal.h"'
expect 'a private header of another folder' includes 1
fresh
put csvfs/core/k.c '#include "journal/j_format.h"'
expect "another folder's bytes" includes 1
fresh
put csvfs/node/k.c '#include <fuse_lowlevel.h>'
expect 'libfuse outside of csvfs/fuse' includes 1
fresh
put journal/k.c '#include "a.h"'
expect 'an include that is not from the root' includes 1
fresh
put newlayer/k.c '#include "util/a.h"'
expect 'a folder that the layers do not know' includes 1

fresh
put util/c.h 'int g(uint32_t x);'
expect 'a header that lacks an include' headers 1
fresh
put util/c.h 'struct twice { int x; };'
expect 'a header without a guard' headers 1

fresh
printf 'int x;\n' >"$TREE/util/d.c"
expect 'no licence' spdx 1
fresh
printf '#!/bin/sh\ntrue\n' >"$TREE/util/script"
expect 'no licence in a script without an ending' spdx 1

long()
{
	printf 'static int f(void)\\n{\\n'
	printf '\\treturn 0;\\n%.0s' $(seq "$1")
	printf '}\\n'
}
fresh
put util/e.c "$(long 100)"
expect 'a function of 100 lines' size 0
put util/e.c "$(long 101)"
expect 'a function of 101 lines' size 1
fresh
put util/e.c "$(printf 'int x;\\n%.0s' $(seq 800))"
expect 'a file of more than 800 lines' size 1

# (in two parts, or this file would be found itself)
for text in 'see /ho''me/bob/x' 'x = "/wo''rk/tree"' 'int x; ' '<<<<''<<< HEAD'; do
	fresh
	put util/f.c "$text"
	expect "'$text'" paths 1
done

if command -v shellcheck >/dev/null; then
	fresh
	# shellcheck disable=SC2016 # the script's own variable
	printf '#!/bin/sh\nx=$1\nrm $x\n' >"$TREE/util/g.sh"
	expect 'a script with an unquoted variable' shell 1
fi
exit $((failures > 0))
