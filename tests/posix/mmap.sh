#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Mappings, shared and private: what is stored, written and read is one file.
# build: san
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/posix.bash"

single_up 1G
program mmap
single_clean
