#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Each write lands where it should and nowhere else, at all alignments, buffered and direct.
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/posix.bash"

single_up 1G
program read_write
single_clean
